"""Checkpoints in the memory of nodes, taken while training goes on.

Each node's agent keeps a store that outlives the task's processes there. One member copies the state after a
committed step, and a thread of its own writes the copy, as ``torch.save`` does, into its own node's store and
into that of one other node: so whatever dies, short of both nodes at once, one is left, and most often a near
one. A store keeps the last two, as the newest may be half-way when everything ends.

Replicas have the same state, so one of them is enough.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import parcel
from .interrupt import Interrupted
from .store import Buffer, Store, StoreError

KEPT = 2
"""Checkpoints that a store keeps."""

PAUSES = 100.0
"""Where no interval is set: the pause after a checkpoint, as many times as it took. So the thread that
writes takes at most a hundredth of a core, and the copy far less of the training."""

LEAST_PAUSE_S = 1.0

_INDEX = "memory/index"


class Memory:
    """The writer. ``every`` is the number of iterations between checkpoints; 0 is never, and nothing lets
    their cost decide."""

    def __init__(
        self,
        worker: int,
        every: Optional[int],
        write: Callable[[Any], Buffer],
        failed: Callable[[str], None],
    ) -> None:
        self._worker, self._every, self._write, self._failed = worker, every, write, failed
        self._not_before = 0.0
        self._thread: Optional[threading.Thread] = None
        self.written = 0
        """The iteration of the last checkpoint that is whole."""

    def is_due(self, iteration: int) -> bool:
        """Whether one is to be taken now. One at a time: what comes meanwhile is skipped."""
        if self._thread is not None and self._thread.is_alive():
            return False
        if self._every is None:
            return time.monotonic() >= self._not_before
        return self._every > 0 and iteration % self._every == 0

    def keep(self, iteration: int, snapshot: Any, addresses: List[str]) -> None:
        """Writes a copy of the state into these stores, from a thread of its own."""
        arguments = (iteration, snapshot, addresses)
        self._thread = threading.Thread(target=self._keep, args=arguments, name="unicron-memory", daemon=True)
        self._thread.start()

    def _keep(self, iteration: int, snapshot: Any, addresses: List[str]) -> None:
        began = time.monotonic()
        payload = self._write(snapshot)
        for address in addresses:
            store = Store(address)
            try:
                put(store, iteration, f"{iteration}-{self._worker}", payload)
                self.written = iteration
            except (StoreError, OSError, ValueError) as error:
                # Training goes on; the next one may get there.
                self._failed(f"a checkpoint in memory is not written: {error}")
            finally:
                store.close()
        took = time.monotonic() - began
        self._not_before = time.monotonic() + max(LEAST_PAUSE_S, PAUSES * took)


def put(store: Store, iteration: int, name: str, payload: Buffer) -> None:
    """Puts a checkpoint into a store, and takes the oldest out."""
    parcel.send(store, f"memory/{name}", payload)
    while True:
        before = store.find(_INDEX) or bytearray()
        kept = sorted({*_read(before), (iteration, name)})
        old, kept = kept[:-KEPT], kept[-KEPT:]
        after = json.dumps(kept).encode()
        # Another member may write as well, just after it has taken over.
        if store.compare_set(_INDEX, before, after) == after:
            break
    for _, gone in old:
        parcel.remove(store, f"memory/{gone}")


def kept(store: Store, timeout_s: float) -> Dict[int, str]:
    """The checkpoints of a store: names by iteration. None of a store that can't be reached."""
    try:
        if not store.check([_INDEX], timeout_s):
            return {}
        return dict(_read(store.get(_INDEX, timeout_s)))
    except Interrupted:
        raise
    except StoreError:
        return {}


def fetch(
    store: Store,
    iteration: int,
    each_s: Optional[float] = None,
    meanwhile: Optional[Callable[[], None]] = None,
) -> bytearray:
    """A checkpoint out of a store.

    Raises :class:`.StoreError` if it isn't there, or isn't what was put there.
    """
    name = dict(_read(store.get(_INDEX))).get(iteration)
    if name is None:
        raise StoreError(f"store at {store.address}: no checkpoint of iteration {iteration}")
    return parcel.receive(store, f"memory/{name}", each_s, meanwhile)


def _read(index: Buffer) -> List[Tuple[int, str]]:
    try:
        return [(int(iteration), str(name)) for iteration, name in json.loads(bytes(index) or b"[]")]
    except (ValueError, TypeError) as error:
        raise StoreError(f"the index of checkpoints in memory: {error}") from None
