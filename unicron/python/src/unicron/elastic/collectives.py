"""The process group of one group of workers, which can be left at any moment.

Process groups wait in C++, where nothing reaches them. So the group is made by a thread, whose result is
awaited together with the agent's news, and collectives are awaited a moment at a time. Whoever hears of
another group ends this one's connections (see :mod:`.sockets`) and is free.

The group is made from the constructors of PyTorch's back ends, not by ``init_process_group``: the script may
have a default group of its own.

What was run: gloo. For NCCL the same calls are made, and its communicators are aborted; nobody has run that
here.
"""

from __future__ import annotations

import re
import select
import threading
import time
from datetime import timedelta
from typing import Any, Callable, List, Optional, Sequence

import torch
import torch.distributed as dist

from ..interrupt import Interrupt, Interrupted
from ..store import Store
from . import sockets

SLICE_S = 0.05
"""A collective is awaited for so long at a time: news of another group is noticed so late at most."""

WAITING_AFTER_S = 1.0
"""After so long it is said for whom one waits, and again."""

LEAVING_S = 5.0
"""A collective whose connections were ended fails within milliseconds. One that doesn't is left behind."""


class PeerLost(Exception):
    """A collective has failed: some peer is gone. ``rank`` is whose connection it was, where that is
    known."""

    def __init__(self, problem: str, rank: Optional[int] = None) -> None:
        super().__init__(problem)
        self.rank = rank


class StoreOfPython(dist.Store):  # type: ignore[misc,name-defined]
    """Our store as PyTorch sees it: its waits can be interrupted."""

    def __init__(self, store: Store, timeout_s: float) -> None:
        super().__init__()
        self._store = store
        self._timeout_s = timeout_s

    def set(self, key: str, value: Any) -> None:
        self._store.set(key, value.encode() if isinstance(value, str) else bytes(value))

    def get(self, key: str) -> bytes:
        return bytes(self._store.get(key, self._timeout_s))

    def add(self, key: str, amount: int) -> int:
        return self._store.add(key, amount)

    def check(self, keys: Sequence[str]) -> bool:
        return self._store.check(list(keys))

    def wait(self, keys: Sequence[str], timeout: Optional[timedelta] = None) -> None:
        seconds = self._timeout_s if timeout is None else timeout.total_seconds()
        self._store.wait(list(keys), seconds)

    def delete_key(self, key: str) -> bool:
        return self._store.delete(key)

    def num_keys(self) -> int:
        return self._store.count()

    def set_timeout(self, timeout: timedelta) -> None:
        self._timeout_s = timeout.total_seconds()


class Backend:
    """How a process group is made and left."""

    def __init__(self, name: str, host: str) -> None:
        if name not in ("gloo", "nccl"):
            raise ValueError(f"backend: {name!r} is none of gloo, nccl")
        self.name = name
        self._host = host

    def make(self, store: Any, rank: int, size: int, timeout: timedelta) -> Any:
        """Makes one; waits until all members do."""
        if self.name == "nccl":
            return dist.ProcessGroupNCCL(store, rank, size, timeout)
        gloo: Any = dist.ProcessGroupGloo
        options = gloo._Options()
        # By the address at which others reach this node, whatever its name resolves to.
        options._devices = [gloo.create_device(hostname=self._host)]
        options._timeout = timeout
        return gloo(store, rank, size, options)

    def is_done(self, work: Any) -> bool:
        """Waits a moment; whether the collective has ended well. Raises what it ended with."""
        if self.name == "nccl":
            # Its `wait` doesn't wait for the device.
            if not work.is_completed():
                time.sleep(0.0005)
                return False
            work.wait()
            return True
        try:
            work.wait(timedelta(seconds=SLICE_S))
            return True
        except RuntimeError:
            # Both a time-out, and what it ended with.
            if work.is_completed():
                raise
            return False

    def abort(self, group: Any) -> None:
        """Ends what the back end itself can end."""
        for name in ("abort", "_abort", "_shutdown"):
            if self.name == "nccl" and hasattr(group, name):
                getattr(group, name)()
                return


class Collectives:
    """A process group of these members, of which this process is one."""

    def __init__(
        self,
        backend: Backend,
        store: Optional[Store],
        rank: int,
        hosts: List[str],
        timeout_s: float,
        news: Interrupt,
    ) -> None:
        """Waits for all members. ``store`` holds this group's keys only; who is alone needs none.

        Raises :class:`.Interrupted` and :class:`PeerLost`.
        """
        self.size = len(hosts)
        self._backend, self._rank, self._news = backend, rank, news
        self._group: Any = None
        self._before = sockets.open_now()
        self._hosts = set().union(*map(sockets.addresses_of, set(hosts)))
        self._connections: List[sockets.Connection] = []
        self._arrivals = 0
        if store is not None:
            self._store = store
        if self.size > 1:
            self._make(timeout_s)

    def _make(self, timeout_s: float) -> None:
        made = Interrupt()
        outcome: List[Any] = []
        own_store = self._store.under("group/").apart()
        given_up = Interrupt()
        own_store.interrupt_by(given_up)
        store = StoreOfPython(own_store, timeout_s)

        def make() -> None:
            try:
                timeout = timedelta(seconds=timeout_s)
                outcome.append(self._backend.make(store, self._rank, self.size, timeout))
            except BaseException as error:
                outcome.append(error)
            own_store.close()
            made.set()

        threading.Thread(target=make, name="unicron-group", daemon=True).start()
        try:
            _wait_for_either(made, self._news)
        except Interrupted:
            given_up.set()
            sockets.end(self._opened())
            raise
        if isinstance(outcome[0], BaseException):
            raise PeerLost(f"the group can't be made: {outcome[0]}")
        self._group = outcome[0]
        self._connections = self._opened()
        locals_ = " ".join(c.local for c in self._connections if c.local and c.peer)
        self._store.set(f"ends/{self._rank}", locals_.encode())

    def _opened(self) -> List[sockets.Connection]:
        return sockets.opened_since(self._before, self._hosts)

    def arrive(self, say_waiting: Callable[[List[int]], None]) -> None:
        """Waits until all members are here, so that collectives only ever run among those who take part.

        ``say_waiting`` is told the ranks that are missing. Raises :class:`.Interrupted` and
        :class:`.StoreError`.
        """
        if self.size == 1:
            return
        self._arrivals += 1
        key = f"here/{self._arrivals}"
        self._store.set(f"arrived/{self._rank}", str(self._arrivals).encode())
        if self._store.add("arrivals", 1) == self.size * self._arrivals:
            self._store.set(key, b"")
            # Everybody has passed the one before.
            self._store.delete(f"here/{self._arrivals - 1}")
            return
        looking = self._store.apart()

        def say_who() -> None:
            say_waiting([r for r in range(self.size) if not self._has_arrived(looking, r)])

        try:
            self._store.wait([key], None, WAITING_AFTER_S, say_who)
        finally:
            looking.close()

    def _has_arrived(self, store: Store, rank: int) -> bool:
        said = store.find(f"arrived/{rank}")
        return said is not None and int(said) >= self._arrivals

    def all_reduce(self, tensor: torch.Tensor, say_waiting: Callable[[List[int]], None]) -> torch.Tensor:
        """Sums a tensor over all members, in place. All have arrived: who keeps the others waiting is not
        known, and not said; the agents see whose process is stopped.

        Raises :class:`PeerLost` and :class:`.Interrupted`.
        """
        if self.size == 1:
            return tensor
        began = time.monotonic()
        try:
            work = self._group.allreduce([tensor])
            while not self._backend.is_done(work):
                if self._news.is_set():
                    raise Interrupted("there is another group")
                if time.monotonic() >= began + WAITING_AFTER_S:
                    began = time.monotonic()
                    say_waiting([])
        except RuntimeError as error:
            raise PeerLost(str(error), self._who_is_named(str(error))) from None
        return tensor

    def _who_is_named(self, problem: str) -> Optional[int]:
        """The rank whose address an error names."""
        named = re.search(r"\[[0-9a-fA-F:.]+\]:\d+", problem)
        if named is None:
            return None
        store = self._store.apart()
        try:
            for rank in range(self.size):
                ends = store.find(f"ends/{rank}", 1.0)
                if ends is not None and named.group(0) in ends.decode().split():
                    return rank
        except Exception:
            # Without a name all are asked about.
            return None
        finally:
            store.close()
        return None

    def leave(self) -> None:
        """Leaves at once, whatever the others do."""
        group, self._group = self._group, None
        if group is None:
            return
        self._backend.abort(group)
        sockets.end(self._connections)
        # Where ending connections didn't help, this would wait for the time-out, with Python's lock held.
        del group


def _wait_for_either(made: Interrupt, news: Interrupt) -> None:
    poll = select.poll()
    poll.register(made, select.POLLIN)
    poll.register(news, select.POLLIN)
    while True:
        ready = [file for file, _ in poll.poll()]
        if made.fileno() in ready:
            return
        if news.fileno() in ready:
            raise Interrupted("there is another group")
