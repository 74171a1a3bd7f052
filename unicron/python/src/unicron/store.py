"""A client of the rendezvous store that agents keep: PyTorch's ``TCPStore`` on the wire, in plain Python.

Why not PyTorch's own client: its waits can be ended by their time-outs only, and who waits for a peer that
has died must hear at once that there is a new group. Here every wait also watches an :class:`.Interrupt`,
and every call has a deadline. Values go from and into the caller's memory without a copy of ours.

It speaks the protocol of PyTorch up to 2.0 (no ``VALIDATE`` first), which our server tells apart from the
newer one. Keys are the same as seen by PyTorch's client.
"""

from __future__ import annotations

import struct
from typing import Callable, List, Optional, Sequence

from .interrupt import Interrupt
from .wire import U64, Answer, Buffer, Connection, StoreError, StoreTimeout

__all__ = ["Buffer", "Store", "StoreError", "StoreTimeout"]

MOST_KEY_BYTES = 4096
"""Bytes of the longest key."""

USUAL_TIMEOUT_S = 30.0
"""How long a call may take where nothing else is said."""

_SET, _COMPARE_SET, _GET, _ADD, _CHECK, _WAIT, _COUNT, _, _DELETE = range(9)
_I64 = struct.Struct("<q")


class Store:
    """Keys and values that the workers of a task share. Keys begin with ``prefix``, which isn't said."""

    def __init__(self, address: str, prefix: str = "", interrupt: Optional[Interrupt] = None) -> None:
        self._connection = Connection(address, interrupt)
        self._prefix = prefix

    @property
    def address(self) -> str:
        """Of its server, ``host:port``."""
        return self._connection.address

    def under(self, prefix: str) -> "Store":
        """The keys that begin so, over the same connection."""
        child = Store.__new__(Store)
        child._connection, child._prefix = self._connection, self._prefix + prefix
        return child

    def apart(self) -> "Store":
        """The same keys over a connection of its own, which nothing interrupts: for a second question while
        the first waits for its answer."""
        return Store(self.address, self._prefix)

    def interrupt_by(self, interrupt: Interrupt) -> None:
        """Lets this flag interrupt whatever waits from now on."""
        self._connection.interrupt = interrupt

    def close(self) -> None:
        """Ends the conversation; the next call begins another."""
        self._connection.close()

    def set(self, key: str, value: Buffer, timeout_s: float = USUAL_TIMEOUT_S) -> None:
        """Sets a value. There is no answer: what is asked next is answered after it."""
        view = memoryview(value).cast("B")
        request: List[Buffer] = [_op(_SET), self._key(key), U64.pack(len(view)), view]
        self._connection.ask(request, None, timeout_s)

    def get(
        self,
        key: str,
        timeout_s: Optional[float] = USUAL_TIMEOUT_S,
        each_s: Optional[float] = None,
        meanwhile: Optional[Callable[[], None]] = None,
    ) -> bytearray:
        """Waits for a value."""
        self.wait([key], timeout_s, each_s, meanwhile)
        value = self._connection.ask([_op(_GET), self._key(key)], Answer.value, timeout_s)
        assert isinstance(value, bytearray)
        return value

    def get_into(self, key: str, into: memoryview, timeout_s: float = USUAL_TIMEOUT_S) -> None:
        """Waits for a value of this very length, and puts it there."""
        self.wait([key], timeout_s)

        def read(answer: Answer) -> None:
            length = answer.length()
            if length != len(into):
                raise StoreError(f"store at {self.address}: {key} has {length} bytes, not {len(into)}")
            answer.fill(into)

        self._connection.ask([_op(_GET), self._key(key)], read, timeout_s)

    def find(self, key: str, timeout_s: float = USUAL_TIMEOUT_S) -> Optional[bytearray]:
        """A value, if it is there."""
        return self.get(key, timeout_s) if self.check([key], timeout_s) else None

    def add(self, key: str, amount: int, timeout_s: float = USUAL_TIMEOUT_S) -> int:
        """Adds to a number, which begins at 0; the result."""
        request = [_op(_ADD), self._key(key), _I64.pack(amount)]
        return _int(self._connection.ask(request, lambda answer: answer.number(_I64), timeout_s))

    def compare_set(
        self, key: str, expected: Buffer, desired: Buffer, timeout_s: float = USUAL_TIMEOUT_S
    ) -> bytearray:
        """Sets a value if it is as expected, where no value is an empty one; the value afterwards."""
        request: List[Buffer] = [_op(_COMPARE_SET), self._key(key)]
        for part in (expected, desired):
            request += [U64.pack(len(part)), part]
        value = self._connection.ask(request, Answer.value, timeout_s)
        assert isinstance(value, bytearray)
        return value

    def check(self, keys: Sequence[str], timeout_s: float = USUAL_TIMEOUT_S) -> bool:
        """Whether all of these are there."""
        return _int(self._connection.ask(self._all(_CHECK, keys), Answer.byte, timeout_s)) == 0

    def wait(
        self,
        keys: Sequence[str],
        timeout_s: Optional[float] = USUAL_TIMEOUT_S,
        each_s: Optional[float] = None,
        meanwhile: Optional[Callable[[], None]] = None,
    ) -> None:
        """Waits until all of these are there; every ``each_s`` seconds ``meanwhile`` is called."""
        request = self._all(_WAIT, keys)
        self._connection.ask(request, Answer.byte, timeout_s, each_s, meanwhile)

    def delete(self, key: str, timeout_s: float = USUAL_TIMEOUT_S) -> bool:
        """Removes a value; whether it was there."""
        request = [_op(_DELETE), self._key(key)]
        return _int(self._connection.ask(request, lambda a: a.number(_I64), timeout_s)) > 0

    def count(self, timeout_s: float = USUAL_TIMEOUT_S) -> int:
        """How many keys there are, of whatever prefix."""
        answer = self._connection.ask([_op(_COUNT)], lambda a: a.number(_I64), timeout_s)
        return _int(answer)

    def _key(self, key: str) -> bytes:
        # PyTorch's client puts a slash before its users' keys.
        data = ("/" + self._prefix + key).encode()
        if len(data) > MOST_KEY_BYTES:
            raise ValueError(f"a key of {len(data)} bytes; at most {MOST_KEY_BYTES}")
        return U64.pack(len(data)) + data

    def _all(self, operation: int, keys: Sequence[str]) -> List[Buffer]:
        return [_op(operation), U64.pack(len(keys)), *map(self._key, keys)]


def _op(operation: int) -> bytes:
    return bytes([operation])


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
