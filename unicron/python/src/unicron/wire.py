"""One conversation with a store's server: requests out, answers in, with deadlines and interrupts."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from typing import Callable, Optional, Sequence, Union

from .interrupt import Interrupt, Interrupted

Buffer = Union[bytes, bytearray, memoryview]

MOST_VALUE_BYTES = 1 << 34
"""Bytes of the largest value that is believed. Memory is taken as it is filled."""

U64 = struct.Struct("<Q")
"""Lengths, as they are sent."""

_RETRY_S = 0.02


class StoreError(Exception):
    """The store can't be reached, or doesn't say what a store says."""


class StoreTimeout(StoreError):
    """The deadline of a call has passed."""


class Connection:
    """One conversation with a server, begun when it is needed. Of one thread at a time."""

    def __init__(self, address: str, interrupt: Optional[Interrupt] = None) -> None:
        self.address = address
        self.interrupt = interrupt
        self._host, self._port = _split(address)
        self._socket: Optional[socket.socket] = None

    def close(self) -> None:
        """Ends the conversation; the next call begins another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(
        self,
        request: Sequence[Buffer],
        answer: Optional[Callable[["Answer"], object]],
        timeout_s: Optional[float],
        each_s: Optional[float] = None,
        meanwhile: Optional[Callable[[], None]] = None,
    ) -> object:
        """Says something and reads the answer, if one is expected.

        ``meanwhile`` is called every ``each_s`` seconds that the server says nothing. Raises
        :class:`StoreError`, :class:`StoreTimeout` and :class:`Interrupted`; the conversation is over then,
        as nobody knows where it stands.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            connected = self._connect(until)
            self._send(connected, request, until)
            if answer is None:
                return None
            return answer(Answer(self, connected, until, each_s, meanwhile))
        except OSError as error:
            self.close()
            raise StoreError(f"store at {self.address}: {error}") from None
        except BaseException:
            self.close()
            raise

    def _connect(self, until: Optional[float]) -> socket.socket:
        while self._socket is None:
            self._socket = self._try_to_connect(until)
            if self._socket is None:
                # Nobody listens yet: an agent that starts takes a moment.
                self._wait(None, 0, _sooner(until, time.monotonic() + _RETRY_S), until)
        return self._socket

    def _try_to_connect(self, until: Optional[float]) -> Optional[socket.socket]:
        family, kind, proto, _, where = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0]
        connecting = socket.socket(family, kind, proto)
        try:
            connecting.setblocking(False)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = connecting.connect_ex(where)
            if code == errno.EINPROGRESS:
                self._wait(connecting, select.POLLOUT, until, until)
                code = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except BaseException:
            connecting.close()
            raise
        if code == 0:
            return connecting
        connecting.close()
        if code == errno.ECONNREFUSED:
            return None
        raise OSError(code, errno.errorcode.get(code, "no connection"))

    def _send(self, to: socket.socket, request: Sequence[Buffer], until: Optional[float]) -> None:
        # Small parts go together, in one packet.
        small = b"".join(part for part in request if len(part) < 1 << 16)
        is_small = sum(map(len, request)) == len(small)
        for part in [small] if is_small else request:
            left = memoryview(part).cast("B")
            while left:
                try:
                    left = left[to.send(left) :]
                except BlockingIOError:
                    self._wait(to, select.POLLOUT, until, until)

    def _wait(
        self,
        what: Optional[socket.socket],
        events: int,
        wake: Optional[float],
        until: Optional[float],
    ) -> bool:
        """Waits for a socket; false at ``wake``, an error at ``until`` and when interrupted."""
        poll = select.poll()
        if what is not None:
            poll.register(what, events)
        if self.interrupt is not None:
            poll.register(self.interrupt, select.POLLIN)
        left_ms = None if wake is None else max(0.0, wake - time.monotonic()) * 1e3
        ready = [file for file, _ in poll.poll(left_ms)]
        if self.interrupt is not None and self.interrupt.fileno() in ready:
            raise Interrupted(f"store at {self.address}")
        if not ready and until is not None and time.monotonic() >= until:
            raise StoreTimeout(f"store at {self.address}: no answer in time")
        return bool(ready)


class Answer:
    """What comes back."""

    def __init__(
        self,
        connection: Connection,
        source: socket.socket,
        until: Optional[float],
        each_s: Optional[float],
        meanwhile: Optional[Callable[[], None]],
    ) -> None:
        self._connection, self._source, self._until = connection, source, until
        self._each_s, self._meanwhile = each_s, meanwhile

    def fill(self, into: memoryview) -> None:
        """Puts the next bytes there."""
        while into:
            try:
                count = self._source.recv_into(into)
            except BlockingIOError:
                self._be_patient()
                continue
            if count == 0:
                raise StoreError(f"store at {self._connection.address}: it has hung up")
            into = into[count:]

    def _be_patient(self) -> None:
        wake = self._until
        if self._each_s is not None:
            wake = _sooner(self._until, time.monotonic() + self._each_s)
        if not self._connection._wait(self._source, select.POLLIN, wake, self._until):
            assert self._meanwhile is not None, "only with it there is a time to wake at"
            self._meanwhile()

    def number(self, form: struct.Struct) -> int:
        """The next number."""
        data = bytearray(form.size)
        self.fill(memoryview(data))
        return int(form.unpack(data)[0])

    def byte(self) -> int:
        """The next byte."""
        data = bytearray(1)
        self.fill(memoryview(data))
        return data[0]

    def length(self) -> int:
        """The length of a value that follows."""
        length = self.number(U64)
        if length > MOST_VALUE_BYTES:
            raise StoreError(f"store at {self._connection.address}: a value of {length} bytes")
        return length

    def value(self) -> bytearray:
        """A value, with its length before it."""
        data = bytearray(self.length())
        self.fill(memoryview(data))
        return data


def _sooner(one: Optional[float], other: float) -> float:
    return other if one is None else min(one, other)


def _split(address: str) -> "tuple[str, int]":
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{address!r} is no host:port")
    return host.strip("[]"), int(port)
