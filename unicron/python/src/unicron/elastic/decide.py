"""What a new group does with what its members have: a pure function of what all of them say.

Whatever has changed (a member died, joined, or lost a connection), every member says what it holds, all
hear the same, and all decide alike from that alone: at which iteration they go on, who gets the state from
whom (section 6.2 of the paper), and who computes what is left of the running iteration (section 6.1). It
is ``unicron::transition::regroup`` for one pipeline stage.

- What a member holds is kept. Only what nobody holds any more is computed again.
- A reduced gradient contains everybody's share, that of the dead, too: whoever has it sends it, and nothing
  is computed.
- Whoever has taken a step proves that all had voted for it, so the others of its group hold the reduced
  gradient, and take the step as well.
- A gradient that is reduced anew may differ in its last bits, so it has a name: the epoch of the group that
  reduced it. Nobody goes on from a step by another gradient than the rest: a member that comes back after it
  was given up gets the others' state.

Every micro-batch counts exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ..protocol import Member

OWN = "own"
"""The member has it."""
STEP = "step"
"""It has the reduced gradient of that iteration, for which all have voted: it takes the step."""
REPLICA = "replica"
"""Another member sends it."""
MEMORY = "memory"
"""A checkpoint in the memory of a node."""
DISK = "disk"
"""The checkpoint on disk that counts."""
INITIAL = "initial"
"""The beginning."""


@dataclass(frozen=True)
class Status:
    """What a member holds."""

    applied: Optional[int] = None
    """The last iteration that is in its parameters; ``None`` if it has none that count."""
    sums: FrozenSet[int] = frozenset()
    """Micro-batches of the iteration behind that, whose gradients it has added up."""
    reduced: Optional[int] = None
    """The name of the reduced gradient of that iteration, if it has one."""
    stepped: Optional[int] = None
    """The name of the gradient by which it took its last step."""
    begun: FrozenSet[int] = frozenset()
    """Micro-batches of it that anybody is known to have begun."""
    redone: FrozenSet[int] = frozenset()
    """Those of them that were begun a second time."""
    memory: FrozenSet[int] = frozenset()
    """Iterations of the checkpoints in its node's memory. Asked only of who has no state."""
    highest: int = 0
    """The highest iteration that it knows to have been committed."""

    def to_json(self) -> Dict[str, Any]:
        """As it is said."""
        return {
            "applied": self.applied,
            "sums": sorted(self.sums),
            "reduced": self.reduced,
            "stepped": self.stepped,
            "begun": sorted(self.begun),
            "redone": sorted(self.redone),
            "memory": sorted(self.memory),
            "highest": self.highest,
        }

    @classmethod
    def from_json(cls, said: Any, micro_batches: int) -> "Status":
        """As it was said. Raises :class:`ValueError` for what is no status."""
        try:
            return cls(
                _optional(said["applied"]),
                _numbers(said["sums"], micro_batches),
                _optional(said["reduced"]),
                _optional(said["stepped"]),
                _numbers(said["begun"], micro_batches),
                _numbers(said["redone"], micro_batches),
                _numbers(said["memory"], 1 << 63),
                _number(said["highest"], 1 << 63),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"no status: {error}") from None


def _number(value: Any, end: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        raise ValueError(f"{value!r} is not in 0 to {end - 1}")
    return value


def _optional(value: Any) -> Optional[int]:
    return None if value is None else _number(value, 1 << 63)


def _numbers(values: Any, end: int) -> FrozenSet[int]:
    if not isinstance(values, list):
        raise ValueError(f"{values!r} is no list")
    return frozenset(_number(value, end) for value in values)


@dataclass(frozen=True)
class Source:
    """Where a member's state comes from."""

    kind: str
    worker: Optional[int] = None
    """Of a replica: who sends it. Of memory: of whose node, nobody for the own one."""


@dataclass(frozen=True)
class Decision:
    """How a group goes on."""

    applied: int
    """The last iteration that is in everybody's parameters, as soon as they have them."""
    highest: int
    """The highest iteration that was ever committed. Greater than ``applied`` where all go back."""
    sources: Mapping[int, Source]
    """By worker."""
    queues: Mapping[int, Tuple[int, ...]]
    """By worker: which micro-batches of the next iteration it computes."""
    counted: FrozenSet[int] = frozenset()
    """Workers whose sums count. Others drop theirs: a member that had been given up may come back with
    what was computed again meanwhile."""
    reduced_from: Optional[int] = None
    """Who sends the reduced gradient to those who lack it."""
    begun: FrozenSet[int] = frozenset()
    """What is known to have been begun of the next iteration."""
    redone: FrozenSet[int] = field(default=frozenset())
    """What is begun a second time, by now."""

    def goes_back(self) -> bool:
        """Whether nobody had a state that lives, or committed iterations are done again."""
        is_alive = any(source.kind in (OWN, STEP) for source in self.sources.values())
        return not is_alive or self.applied < self.highest


def decide(
    members: Sequence[Member],
    statuses: Mapping[int, Status],
    micro_batches: int,
    disk: Optional[int] = None,
) -> Decision:
    """Decides for a group. ``disk`` is the iteration of the checkpoint on disk that counts.

    A member without a status counts as one that has nothing.
    """
    nothing = Status()
    status = {member.worker: statuses.get(member.worker, nothing) for member in members}
    applied, sources = _recover(members, status, disk)
    highest = max([applied, *(max(s.highest, s.applied or 0) for s in status.values())])
    # What members have counts if it is of the very iteration that runs, from the very same state.
    held = {worker: s for worker, s in status.items() if sources[worker].kind == OWN}
    reduced = [m.worker for m in members if m.worker in held and held[m.worker].reduced is not None]
    if reduced:
        redone = frozenset().union(*(s.redone for s in held.values()))
        nothing_left: Dict[int, Tuple[int, ...]] = {member.worker: () for member in members}
        return Decision(applied, highest, sources, nothing_left, reduced_from=reduced[0], redone=redone)
    counted = _choose_sums(members, held)
    covered = frozenset().union(*(held[worker].sums for worker in counted))
    begun = frozenset().union(*(s.begun | s.sums for s in held.values()))
    left = [m for m in range(micro_batches) if m not in covered]
    redone = frozenset().union(*(s.redone for s in held.values()), begun.intersection(left))
    # Who has the state already begins first, and gets what doesn't divide.
    order = sorted(members, key=lambda m: sources[m.worker].kind not in (OWN, STEP))
    queues = deal(left, [member.worker for member in order])
    return Decision(applied, highest, sources, queues, frozenset(counted), None, begun, redone)


def deal(micro_batches: Iterable[int], workers: Sequence[int]) -> Dict[int, Tuple[int, ...]]:
    """Deals micro-batches evenly, one after the other."""
    left = list(micro_batches)
    return {worker: tuple(left[place :: len(workers)]) for place, worker in enumerate(workers)}


def _recover(
    members: Sequence[Member], status: Mapping[int, Status], disk: Optional[int]
) -> Tuple[int, Dict[int, Source]]:
    """At which iteration all go on, and each member's source: the nearest."""
    alive = [s.applied for s in status.values() if s.applied is not None]
    if alive:
        applied = max(alive)
        return applied, _of_living(members, status, applied)
    in_memory = [iteration for s in status.values() for iteration in s.memory]
    kept = [*in_memory, *([] if disk is None else [disk])]
    if not kept:
        # All begin as the first does, whatever their own parameters were.
        first = members[0].worker
        rest = {m.worker: Source(REPLICA, first) for m in members[1:]}
        return 0, {first: Source(INITIAL), **rest}
    applied = max(kept)
    holders = [m for m in members if applied in status[m.worker].memory]
    return applied, {m.worker: _of_kept(m, holders) for m in members}


def _of_living(members: Sequence[Member], status: Mapping[int, Status], applied: int) -> Dict[int, Source]:
    """Sources where somebody has the state of the newest iteration."""
    # The first of them stands for all; those who came there by another gradient are not as it is.
    name = next(s.stepped for s in map(_of(status), members) if s.applied == applied)

    def own(member: Member) -> Optional[str]:
        held = status[member.worker]
        if (held.applied, held.stepped) == (applied, name):
            return OWN
        can_step = held.applied == applied - 1 and name is not None and held.reduced == name
        return STEP if can_step else None

    can_send = [member for member in members if own(member) is not None]
    sources = {}
    for member in members:
        kind = own(member)
        nearest = None if kind else _nearest(member, can_send).worker
        sources[member.worker] = Source(kind or REPLICA, nearest)
    return sources


def _of(status: Mapping[int, Status]) -> Callable[[Member], Status]:
    return lambda member: status[member.worker]


def _of_kept(member: Member, holders: List[Member]) -> Source:
    if not holders:
        return Source(DISK)
    nearest = _nearest(member, holders)
    return Source(MEMORY, None if nearest.address == member.address else nearest.worker)


def _nearest(member: Member, others: List[Member]) -> Member:
    return min(others, key=lambda other: (other.node != member.node, other.worker))


def _choose_sums(members: Sequence[Member], held: Mapping[int, Status]) -> List[int]:
    """Workers whose sums count: a sum can't be taken apart, so of two that overlap the larger stays, and of
    equals the first member's."""
    candidates = [m.worker for m in members if m.worker in held and held[m.worker].sums]
    candidates.sort(key=lambda worker: -len(held[worker].sums))
    chosen: List[int] = []
    covered: Set[int] = set()
    for worker in candidates:
        if covered.isdisjoint(held[worker].sums):
            chosen.append(worker)
            covered |= held[worker].sums
    return chosen
