"""A worker's end of the connection to its agent.

One daemon thread listens, and watches the lease by which the worker lives: a worker that is cut off from
everybody can't be told to stop, so it stops by itself when its lease runs out. After that, others may have
its work. Whatever hangs, this thread doesn't: it only ever waits for the agent.

Nobody waits for the agent to listen: what the socket doesn't take at once is sent by the thread, so that
an agent that stands still holds up no training.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import weakref
from typing import Callable, Mapping, Optional

from . import protocol
from .interrupt import Interrupt
from .protocol import Group, Message

LEASE_HAS_RUN_OUT = 75
"""The exit code of a worker whose lease has run out: try again later (``EX_TEMPFAIL``)."""

MOST_PENDING_BYTES = 1 << 20
"""What waits to be sent. An agent that takes no more is as good as gone: what is beyond isn't sent."""

_agents: "weakref.WeakSet[Agent]" = weakref.WeakSet()


class AgentLost(Exception):
    """The agent has ended, or what it says is no message: the worker has to end."""


class Stopped(Exception):
    """This worker is to end, for the reason given."""


class Agent:
    """The connection to the agent. What was heard is in its fields; ``news`` is set when they change."""

    def __init__(
        self,
        path: str,
        worker: int,
        lease_has_run_out: Optional[Callable[[], None]] = None,
    ) -> None:
        """Connects, and says who this is.

        Raises :class:`OSError` if there is no agent.
        """
        self.worker = worker
        self.lease_s = 0.0
        self.group: Optional[Group] = None
        """The newest."""
        self.stop_reason: Optional[str] = None
        """Why this worker is to end, once it is."""
        self.lost: Optional[str] = None
        """Why nothing more is heard, once that is so."""
        self.checkpoint_committed = 0
        """The last iteration of the newest checkpoint of this worker's that counts."""
        self.refused: Optional[protocol.Refused] = None
        """What didn't count, last."""
        self.news = Interrupt()
        self._hearing = threading.Lock()
        self._lease_has_run_out = lease_has_run_out or _end_at_once
        self._lease_until: Optional[float] = None
        self._sending = threading.RLock()
        self._pending = bytearray()
        self._kick = Interrupt()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self.send(protocol.hello(worker, os.getpid()))
        _agents.add(self)
        self._thread = threading.Thread(target=self._listen, name="unicron-agent", daemon=True)
        self._thread.start()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Optional["Agent"]:
        """The agent that has started this process; nothing outside of Unicron.

        Raises :class:`OSError` if it can't be reached, :class:`ValueError` for an environment that no
        agent makes.
        """
        path = environment.get("UNICRON_SOCKET")
        if not path:
            return None
        return cls(path, int(environment["UNICRON_WORKER"]))

    def send(self, message: Message) -> None:
        """Says something. Never waits and never raises: whether the agent lives is for the listener."""
        line = protocol.encode(message)
        with self._sending:
            if self.lost is not None:
                return
            sent = 0
            if not self._pending:
                try:
                    sent = self._socket.send(line)
                except BlockingIOError:
                    pass
                except OSError:
                    return
            if sent < len(line) and len(self._pending) < MOST_PENDING_BYTES:
                self._pending += line[sent:]
                self._kick.set()

    def flush(self, timeout_s: float) -> bool:
        """Waits until all is said, so that an end doesn't cut it off; whether it is."""
        until = time.monotonic() + timeout_s
        while self._pending and self.lost is None and time.monotonic() < until:
            time.sleep(0.002)
        return not self._pending

    def newest(self) -> Optional[Group]:
        """The newest group. Its news are old from now on; those of an end stay, so that whatever would
        wait is interrupted.

        Raises :class:`Stopped` if this worker is to end, :class:`AgentLost` if nobody says so any more.
        """
        with self._hearing:
            if self.stop_reason is not None:
                raise Stopped(self.stop_reason)
            if self.lost is not None:
                raise AgentLost(self.lost)
            self.news.clear()
            return self.group

    def stop(self, reason: str) -> None:
        """This worker is to end. May be called by a handler of signals, whatever it has interrupted."""
        self.stop_reason = reason
        self.news.set()

    def check_lease(self) -> None:
        """Ends the process if the lease has run out: before something that others may do by now."""
        until = self._lease_until
        if until is not None and time.monotonic() >= until:
            self._lease_has_run_out()

    def forget(self) -> None:
        """Lets go of the connection without a word, as in a process that was forked."""
        self.lost = "this is another process"
        self._sending = threading.RLock()
        self._pending = bytearray()
        self._socket.close()

    def _listen(self) -> None:
        lines = protocol.Lines()
        try:
            while True:
                data = self._next_data()
                if data == b"":
                    return self._end("the agent has closed the connection")
                for message in lines.feed(data or b""):
                    self._hear(message)
        except protocol.ProtocolError as error:
            self._end(str(error))
        except (OSError, ValueError) as error:
            # Of a socket that was closed meanwhile.
            self._end(f"the connection to the agent is gone: {error}")

    def _next_data(self) -> Optional[bytes]:
        poll = select.poll()
        events = select.POLLIN | (select.POLLOUT if self._pending else 0)
        poll.register(self._socket, events)
        poll.register(self._kick, select.POLLIN)
        until = self._lease_until
        left_ms = None if until is None else max(0.0, until - time.monotonic()) * 1e3
        ready = {file: event for file, event in poll.poll(left_ms)}
        # Before anything is heard: what had come before this process was stopped prolongs nothing.
        self.check_lease()
        if self._kick.fileno() in ready:
            self._kick.clear()
        event = ready.get(self._socket.fileno(), 0)
        if event & select.POLLOUT:
            self._send_pending()
        if not event & ~select.POLLOUT:
            return None
        try:
            return self._socket.recv(1 << 16)
        except BlockingIOError:
            return None

    def _send_pending(self) -> None:
        with self._sending:
            try:
                sent = self._socket.send(self._pending)
            except BlockingIOError:
                return
            except OSError:
                # The agent is gone, which reading tells.
                sent = len(self._pending)
            del self._pending[:sent]

    def _hear(self, message: protocol.FromAgent) -> None:
        if isinstance(message, protocol.Lease):
            self._renew(message.seconds)
        elif isinstance(message, protocol.Welcome):
            self.lease_s = message.lease_s
            self._renew(message.lease_s)
        elif isinstance(message, protocol.Group):
            with self._hearing:
                if self.group is None or self.group.epoch < message.epoch:
                    self.group = message
                    self.news.set()
        elif isinstance(message, protocol.CheckpointCommitted):
            self.checkpoint_committed = max(self.checkpoint_committed, message.iteration)
        elif isinstance(message, protocol.Refused):
            self.refused = message
        elif isinstance(message, protocol.Stop):
            self.stop(message.reason)

    def _renew(self, seconds: Optional[float]) -> None:
        self._lease_until = None if seconds is None else time.monotonic() + max(0.0, seconds)

    def _end(self, why: str) -> None:
        with self._hearing:
            self.lost = self.lost or why
            self.news.set()
        self._watch_lease()

    def _watch_lease(self) -> None:
        """Nobody renews the lease any more; until its end the worker may finish what it is at."""
        while self._lease_until is not None and self in _agents:
            left = self._lease_until - time.monotonic()
            if left <= 0.0:
                return self._lease_has_run_out()
            time.sleep(min(left, 1.0))


def _end_at_once() -> None:
    """Ends the process without cleaning up: whatever it would still write, others may have written."""
    os.write(2, b"unicron: the lease has run out: this worker stops, others may have its work\n")
    os._exit(LEASE_HAS_RUN_OUT)


def _forget_in_child() -> None:
    for agent in list(_agents):
        agent.forget()
    _agents.clear()


# A process that was forked, such as one that loads data, is no worker: it must not speak in its name.
os.register_at_fork(after_in_child=_forget_in_child)
