"""From one group to the next: leave the old one at once, say what is there, go on as is decided."""

from __future__ import annotations

from typing import Mapping, Set

from .. import memory, parcel, protocol
from ..interrupt import Interrupted
from ..protocol import Group
from ..store import Store, StoreError
from . import decide as deciding
from . import state as states
from .collectives import Collectives, PeerLost
from .decide import Decision, Source, Status
from .exchange import WAITING_AFTER_S, exchange
from .member import Member
from .round import Round

LOOK_S = 0.5
"""How long a store of the last group may take to say what the dead had begun. A store that doesn't answer
is gone with them, and then all that they were to do counts as begun."""

MEMORY_S = 5.0
"""How long the own node's store may take to say which checkpoints it has."""


def follow(member: Member) -> None:
    """Sees to it that the member works in the newest group; returns at once if it does.

    Raises :class:`.Stopped` and :class:`.AgentLost`.
    """
    while True:
        group = member.agent.newest()
        if group is not None and group.epoch > member.epoch:
            try:
                _join(member, group)
            except Interrupted:
                member.leave()
            except (PeerLost, StoreError) as error:
                member.lose(error)
        elif member.group is not None:
            return
        else:
            member.await_news()


def _join(member: Member, group: Group) -> None:
    member.leave()
    member.epoch, member.last_group, member.suspects = group.epoch, group, []
    me = member.place.worker
    rank = group.rank(me)
    if rank is None:
        # Others work without this one; it keeps what it has, and waits.
        return
    member.round.begun |= _begun_by_departed(member, group)
    address = group.members[0].address
    everything = Store(address, "", member.agent.news)
    member.store = everything.under(f"epoch/{group.epoch}/")
    member.progress = everything.under("progress/")
    count = member.settings.micro_batches
    status = _status(member)
    regrouping = lambda: member.faults.at("regrouping", member.round.iteration)  # noqa: E731
    statuses = exchange(member.store, group, me, status, count, member.say_waiting, regrouping)
    disk = group.checkpoint.iteration if group.checkpoint is not None else None
    decision = deciding.decide(group.members, statuses, count, disk)
    hosts = [m.address.rpartition(":")[0].strip("[]") for m in group.members]
    member.collectives = Collectives(
        member.backend, member.store, rank, hosts, member.timeout_s, member.agent.news
    )
    _adopt(member, group, decision, statuses)
    member.group = group
    _tell(member, decision)


def _status(member: Member) -> Status:
    """What the member holds."""
    state, round_ = member.state, member.round
    highest = member.highest
    if state.applied is None:
        store = Store(member.place.store, "", member.agent.news)
        try:
            kept = frozenset(memory.kept(store, MEMORY_S)) - member.unusable
            return Status(memory=kept, highest=highest)
        finally:
            store.close()
    return Status(
        applied=state.applied,
        sums=frozenset(round_.done),
        reduced=member.gradients.name,
        stepped=state.stepped,
        begun=frozenset(round_.begun),
        redone=round_.redone,
        highest=highest,
    )


def _begun_by_departed(member: Member, group: Group) -> Set[int]:
    """Micro-batches that members of the last group had begun who aren't in this one."""
    begun: Set[int] = set()
    before, dealt = member.dealt_in, member.dealt
    if before is None:
        return begun
    address = before.members[0].address
    is_there = any(m.address == address for m in group.members)
    store = Store(address, "progress/", member.agent.news)
    for worker in {m.worker for m in before.members} - {m.worker for m in group.members}:
        queue = dealt.get(worker, ())
        count = _count_begun(member, store, before.epoch, worker) if is_there else len(queue)
        begun |= set(queue[:count])
    store.close()
    return begun


def _count_begun(member: Member, store: Store, epoch: int, worker: int) -> int:
    """How many of those that it was to compute; all, if nobody knows."""
    try:
        said = (store.find(str(worker), LOOK_S) or b"").decode().split()
        begun_in, iteration, count = map(int, said or ("0", "0", "0"))
        return count if (begun_in, iteration) == (epoch, member.round.iteration) else 0
    except (StoreError, ValueError):
        return member.settings.micro_batches


def _adopt(member: Member, group: Group, decision: Decision, statuses: Mapping[int, Status]) -> None:
    """Goes on as the group does."""
    me = member.place.worker
    source = decision.sources[me]
    if source.kind == deciding.STEP:
        member.commit()
    elif source.kind == deciding.INITIAL:
        member.state.applied, member.state.stepped = 0, None
    _serve(member, group, decision)
    _obtain(member, group, decision, source)
    member.highest = max(member.highest, decision.highest)
    if source.kind != deciding.OWN:
        member.gradients.clear()
        member.round = Round(decision.applied + 1)
    is_reduced = decision.reduced_from is not None
    keeps = source.kind == deciding.OWN and (is_reduced or me in decision.counted)
    if not keeps:
        member.gradients.drop()
    member.dealt, member.dealt_in = dict(decision.queues), group
    member.round.adopt(decision.queues[me], keeps, decision.begun, decision.redone)
    if is_reduced:
        _share_gradient(member, decision, statuses)


def _serve(member: Member, group: Group, decision: Decision) -> None:
    """Sends the state to those who get it from this member: into the stores of their nodes."""
    me = member.place.worker
    wanting = [m for m in group.members if decision.sources[m.worker] == _from(me)]
    if not wanting:
        return
    payload = states.write(member.state.collect())
    halfway = lambda: member.faults.at("sending", decision.applied + 1)  # noqa: E731
    for address in dict.fromkeys(m.address for m in wanting):
        store = Store(address, f"epoch/{group.epoch}/", member.agent.news)
        member.sent.append((store, f"state/{me}"))
        parcel.send(store, f"state/{me}", payload, halfway)


def _from(worker: int) -> Source:
    return Source(deciding.REPLICA, worker)


def _obtain(member: Member, group: Group, decision: Decision, source: Source) -> None:
    """Gets the state of the iteration, if the member hasn't it."""
    own = Store(member.place.store, "", member.agent.news)
    halfway = lambda: member.faults.at("receiving", decision.applied + 1)  # noqa: E731
    try:
        if source.kind == deciding.REPLICA:
            assert source.worker is not None, "a replica is somebody's"
            sender = source.worker
            waits = lambda: member.say_waiting([sender])  # noqa: E731
            key = f"epoch/{group.epoch}/state/{sender}"
            payload = parcel.receive(own, key, WAITING_AFTER_S, waits, halfway)
            member.state.load(payload)
        elif source.kind == deciding.MEMORY:
            _recall(member, group, decision.applied, source, own)
        elif source.kind == deciding.DISK:
            assert group.checkpoint is not None, "it was in the decision"
            with open(group.checkpoint.path, "rb") as file:
                member.state.load(file.read())
    finally:
        own.close()


def _recall(member: Member, group: Group, iteration: int, source: Source, own: Store) -> None:
    """Takes a checkpoint out of a node's memory."""
    store = own
    if source.worker is not None:
        address = next(m.address for m in group.members if m.worker == source.worker)
        store = Store(address, "", member.agent.news)
    try:
        member.state.load(memory.fetch(store, iteration))
    except StoreError:
        # The next group has to do without it.
        member.unusable.add(iteration)
        raise
    finally:
        if store is not own:
            store.close()


def _share_gradient(member: Member, decision: Decision, statuses: Mapping[int, Status]) -> None:
    """Whoever has the reduced gradient sends it to those who lack it, or have another."""
    holder = decision.reduced_from
    assert holder is not None and member.store is not None, "it is decided, in a group"
    name = statuses[holder].reduced
    assert name is not None, "it is held"
    has = {
        worker: source.kind == deciding.OWN and statuses[worker].reduced == name
        for worker, source in decision.sources.items()
    }
    key = "gradient"
    if holder == member.place.worker and not all(has.values()):
        parts = [part.cpu() for part in member.gradients.reduced()]
        member.sent.append((member.store.apart(), key))
        parcel.send(member.store, key, states.write(parts))
    elif not has[member.place.worker]:
        waits = lambda: member.say_waiting([holder])  # noqa: E731
        payload = parcel.receive(member.store, key, WAITING_AFTER_S, waits)
        member.gradients.keep(states.read(payload), name)


def _tell(member: Member, decision: Decision) -> None:
    """Says where the group is, and writes what the one before had no time for."""
    if decision.goes_back():
        member.agent.send(protocol.rolled_back(member.epoch, decision.applied))
        member.forget_losses(decision.applied)
    if member.is_first:
        member.write_losses()
    member.begin()
