"""A worker: a member of one group after the other, until its agent says stop.

Everything happens in the script's own thread, between two micro-batches and within the reduction: there a
new group is noticed, the old one left, and the iteration finished from what everybody has.

| what | file |
|---|---|
| from one group to the next | ``joining.py`` |
| reduction, vote, step | this |
| what is decided | ``decide.py`` |
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Set, Tuple

import torch

from .. import parcel, protocol
from ..agent import Agent
from ..faults import Faults
from ..interrupt import Interrupted
from ..memory import Memory
from ..protocol import Group
from ..store import Store, StoreError
from . import state as states
from .collectives import Backend, Collectives, PeerLost
from .decide import deal
from .disk import Disk
from .gradients import Gradients
from .losses import KEPT, LossFile
from .round import Round
from .settings import Place, Settings, micro_batch_seed
from .state import State

NEWS_S = 1.0
"""Who has nothing to do says so this often, in seconds."""


class Member:
    """A worker of a task."""

    def __init__(
        self,
        agent: Agent,
        place: Place,
        settings: Settings,
        state: State,
        gradients: Gradients,
        step: Callable[[Callable[[], None]], None],
        faults: Faults,
    ) -> None:
        """``step`` takes the optimiser's step by the gradient in ``.grad``; it calls its argument in the
        midst of it."""
        self.agent, self.place, self.settings = agent, place, settings
        self.state, self.gradients, self.faults = state, gradients, faults
        self.round = Round(1)
        self.highest = 0
        self.epoch = 0
        self.group: Optional[Group] = None
        self.ended_in: Optional[Group] = None
        """The one that this member works in; nothing between two."""
        self.last_group: Optional[Group] = None
        self.store: Optional[Store] = None
        """The group's, with this group's keys only."""
        self.progress: Optional[Store] = None
        """In the same store: what each worker has begun."""
        self.sent: List[Tuple[Store, str]] = []
        """Parcels for members of this group."""
        self.collectives: Optional[Collectives] = None
        self.dealt: Dict[int, Tuple[int, ...]] = {}
        """By worker: what each was to compute when the group, or its iteration, began."""
        self.dealt_in: Optional[Group] = None
        self.suspects: List[int] = []
        """For whom this member waits while it is in no group."""
        self.unusable: Set[int] = set()
        """Iterations of checkpoints in memory that could not be read."""
        self.last_iteration = 0
        """The task is done after it."""
        self.backend = Backend(settings.backend, place.host)
        self._step = step
        self._has_warmed_up = False
        self._loss_file: Optional[LossFile] = None
        write = states.write
        self.memory = Memory(place.worker, settings.memory_every, write, self.say_not_stored)
        folder = place.checkpoints
        self.disk = Disk(agent, folder, settings.disk_every, write, self.say_not_stored)

    @property
    def is_first(self) -> bool:
        """Whether this member stands for its group, or stood for the last one at the end: it writes what is
        the group's."""
        group = self.group or self.ended_in
        return group is not None and group.members[0].worker == self.place.worker

    @property
    def timeout_s(self) -> float:
        """How long a connection may be silent, when nobody tells of another group: by then, the lease of
        whoever is cut off has run out on either side."""
        return max(10.0, 3.0 * self.agent.lease_s)

    def say_waiting(self, workers: List[int]) -> None:
        """Says for whom this member waits."""
        self.agent.send(protocol.waiting(self.epoch, workers))

    def say_waiting_for(self, ranks: List[int]) -> None:
        """The same, by their ranks in the group."""
        members = self.group.members if self.group is not None else ()
        self.say_waiting([members[rank].worker for rank in ranks])

    def say_not_stored(self, problem: str) -> None:
        """Training goes on: a checkpoint that is missing costs nothing yet."""
        self.agent.send(protocol.exception(problem, "", "storage-error"))

    def begin(self, kind: Optional[str] = None) -> None:
        """Says that an iteration begins, or goes on in another group; or something of another kind."""
        if self.round.iteration > self.last_iteration:
            return
        usual = "warm-up" if not self._has_warmed_up else "train"
        if self._has_warmed_up and self.disk.is_due(self.round.iteration):
            usual = "checkpoint"
        self.agent.send(protocol.iteration(self.epoch, self.round.iteration, kind or usual))

    def next_micro_batch(self) -> Optional[int]:
        """What this member is to compute next; nothing once its share is done."""
        micro_batch = self.round.next()
        if micro_batch is None:
            return None
        self._say_progress()
        if self.settings.seed is not None:
            seed = micro_batch_seed(self.settings.seed, self.round.iteration, micro_batch)
            torch.manual_seed(seed)
        return micro_batch

    def _say_progress(self) -> None:
        """Lets others know what is lost with this member, should it die."""
        if self.progress is None or self.collectives is None or self.collectives.size == 1:
            return
        progress = f"{self.epoch} {self.round.iteration} {self.round.handed_out}"
        try:
            # Agents remove a group's own keys when there is another.
            self.progress.set(str(self.place.worker), progress.encode())
        except (StoreError, Interrupted):
            # Then more is counted as lost than is.
            pass

    def finish_micro_batch(self, loss: torch.Tensor) -> None:
        """The one that was handed out has gone backward."""
        self.gradients.add(loss)
        is_redone = self.round.running in self.round.redone
        finished = self.round.finish()
        iteration = self.round.iteration
        self.agent.send(protocol.micro_batch(self.epoch, iteration, finished, is_redone))
        self.faults.note(iteration, finished)
        self.faults.at("micro-batch", iteration)

    def reduce_and_vote(self) -> None:
        """Reduces the gradient and votes for it, with all members.

        Raises :class:`.Interrupted`, :class:`.PeerLost` and :class:`.StoreError`; what is finished stays.
        """
        group = self.collectives
        assert group is not None, "it is in a group"
        iteration = self.round.iteration
        if self.gradients.name is None:
            self.faults.at("summed", iteration)
        group.arrive(self.say_waiting_for)
        if self.gradients.name is None:
            reduced = self.gradients.copy()
            for number, part in enumerate(reduced):
                if number == len(reduced) - 1:
                    self.faults.at("reducing", iteration)
                group.all_reduce(part, self.say_waiting_for)
            self.gradients.keep(reduced, self.epoch)
        self.faults.at("reduced", iteration)
        device = self.gradients.device
        vote = torch.tensor([1.0, float(iteration)], dtype=torch.float64, device=device)
        votes, sum_of_iterations = group.all_reduce(vote, self.say_waiting_for).tolist()
        if (votes, sum_of_iterations) != (group.size, group.size * iteration):
            raise RuntimeError(
                f"{votes} votes with the sum {sum_of_iterations} for iteration {iteration}, by "
                f"{group.size} members: they don't work on the same iteration"
            )
        self.faults.at("voted", iteration)

    def commit(self) -> None:
        """All have voted: takes the step. From here on the iteration counts."""
        iteration, loss, name = self.round.iteration, self.gradients.loss(), self.gradients.name
        redone = len(self.round.redone)
        # Others may do this step's work if it has run out.
        self.agent.check_lease()
        self.gradients.install()
        self._step(lambda: self.faults.at("stepping", iteration))
        self.gradients.clear()
        state = self.state
        state.applied, state.stepped = iteration, name
        state.losses[iteration] = loss
        for old in [known for known in state.losses if known <= iteration - KEPT]:
            del state.losses[old]
        self.highest = max(self.highest, iteration)
        self._has_warmed_up = True
        self.faults.at("committed", iteration)
        self.agent.send(protocol.committed(self.epoch, iteration, loss, redone))

    def record(self) -> None:
        """What is kept of a commit by one member for all."""
        self._remove_parcels()
        iteration = self.state.applied
        if not self.is_first or iteration is None:
            return
        self.write_losses()
        is_for_disk, is_for_memory = self.disk.is_due(iteration), self.memory.is_due(iteration)
        if not is_for_disk and not is_for_memory:
            return
        snapshot = self.state.snapshot()
        if is_for_disk:
            self.disk.keep(iteration, self.epoch, snapshot)
        if is_for_memory and self.store is not None:
            self.memory.keep(iteration, snapshot, self._near_and_far())

    def _remove_parcels(self) -> None:
        """Everybody has taken part in an iteration, and has taken what was sent before."""
        while self.sent:
            store, key = self.sent.pop()
            try:
                parcel.remove(store, key)
            except (StoreError, Interrupted):
                # The next group's agents do it.
                pass
            finally:
                store.close()

    def write_losses(self) -> None:
        """Brings the file of losses up to the last iteration that counts."""
        if self.settings.losses is None or self.state.applied is None:
            return
        try:
            if self._loss_file is None:
                self._loss_file = LossFile(self.settings.losses)
            self._loss_file.write(self.state.losses, self.state.applied)
        except OSError as error:
            self.say_not_stored(f"{self.settings.losses}: {error}")

    def forget_losses(self, iteration: int) -> None:
        """Takes back what is done again."""
        self.state.losses = {k: v for k, v in self.state.losses.items() if k <= iteration}
        if self.settings.losses is None or not self.is_first:
            return
        try:
            if self._loss_file is None:
                self._loss_file = LossFile(self.settings.losses)
            self._loss_file.go_back(iteration)
        except OSError as error:
            self.say_not_stored(f"{self.settings.losses}: {error}")

    def _near_and_far(self) -> List[str]:
        """The own node's store and that of the next node, if there is one."""
        assert self.group is not None, "it is in a group"
        addresses = list(dict.fromkeys(member.address for member in self.group.members))
        place = addresses.index(self.place.store)
        return list(dict.fromkeys([self.place.store, addresses[(place + 1) % len(addresses)]]))

    def begin_at(self, iteration: int) -> None:
        """Begins an iteration of which nobody has anything: shares it out."""
        assert self.group is not None, "it is in a group"
        self.round = Round(iteration)
        workers = [member.worker for member in self.group.members]
        self.dealt, self.dealt_in = deal(range(self.settings.micro_batches), workers), self.group
        self.round.adopt(self.dealt[self.place.worker], True, (), ())
        self.begin()

    def leave(self) -> None:
        """Leaves the group at once. What is finished stays."""
        collectives, self.collectives = self.collectives, None
        self.group = None
        if collectives is not None:
            collectives.leave()
        if self.store is not None:
            self.store.close()
        self.store = self.progress = None
        # Agents have removed them with the group's other keys, or will.
        self.sent.clear()

    def lose(self, error: Exception) -> None:
        """The group is of no use any more: leaves it, and says who seems to be gone."""
        group = self.group or self.last_group
        members = group.members if group is not None else ()
        me = self.place.worker
        others = [member.worker for member in members if member.worker != me]
        if isinstance(error, PeerLost) and error.rank is not None:
            others = [members[error.rank].worker]
        elif isinstance(error, StoreError):
            others = others[:1]
        self.leave()
        self.suspects = others
        for worker in others:
            self.agent.send(protocol.lost_peer(self.epoch, worker, str(error)))

    def await_news(self) -> None:
        """Waits until the agent has something to say."""
        while not self.agent.news.wait(NEWS_S):
            if not self.is_done():
                self.say_waiting(self.suspects)

    def is_done(self) -> bool:
        """Whether the last iteration counts."""
        return (self.state.applied or 0) >= self.last_iteration

    def end(self) -> None:
        """Lets go of everything, and says the last of it."""
        self.ended_in = self.group or self.last_group
        self.leave()
        self.disk.join()
        self.agent.flush(1.0)
