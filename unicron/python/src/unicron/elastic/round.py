"""A member's part of one iteration: which micro-batches are to be computed, which are in its sums."""

from __future__ import annotations

from typing import FrozenSet, Iterable, List, Optional, Set


class Round:
    """The iteration that runs, without its numbers: those are in :class:`.gradients.Gradients`."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration
        self.done: Set[int] = set()
        """Micro-batches that are in the sums."""
        self.begun: Set[int] = set()
        """Those that anybody is known to have begun."""
        self.redone: FrozenSet[int] = frozenset()
        """Those of them that are begun a second time."""
        self._queue: List[int] = []
        self._running: Optional[int] = None
        self.handed_out = 0
        """How many of those that the group has dealt to this member it has begun."""

    def adopt(self, queue: Iterable[int], keeps: bool, begun: Iterable[int], redone: Iterable[int]) -> None:
        """Goes on as the group has decided. ``keeps`` is whether the sums count."""
        if not keeps:
            self.done.clear()
        self._queue = list(queue)
        self.begun = set(begun)
        self.redone = frozenset(redone)
        self.handed_out = 0

    def next(self) -> Optional[int]:
        """What is to be computed next; nothing once all is done."""
        if not self._queue:
            return None
        self._running = self._queue.pop(0)
        self.handed_out += 1
        self.begun.add(self._running)
        return self._running

    def finish(self) -> int:
        """The one that was handed out is in the sums."""
        assert self._running is not None, "one was handed out"
        finished, self._running = self._running, None
        self.done.add(finished)
        return finished

    @property
    def running(self) -> Optional[int]:
        """The one that was handed out and isn't finished."""
        return self._running
