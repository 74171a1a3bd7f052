"""What a script sees: iterations, and the micro-batches of each that are this worker's.

.. code-block:: python

    trainer = unicron.Trainer(model, optimizer, micro_batches=16)
    for step in trainer.steps(1000):
        for micro_batch in step:
            step.backward(loss_of(model, batch_of(step.number, micro_batch)))
        print(step.number, step.loss)

The inner loop ends when the iteration is committed and the optimiser has stepped. Should anybody fail before,
it hands out more micro-batches: those that were lost. The script has no part in it, but that a micro-batch's
data depend on the iteration and the micro-batch alone, never on a rank.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any, Callable, Iterator, Mapping, Optional, Union

import torch

from .. import protocol
from ..agent import Agent, Stopped
from ..attach import report_exceptions, take_over
from ..faults import Faults, of_environment
from ..interrupt import Interrupted
from ..store import StoreError
from . import alone, joining
from . import state as states
from .collectives import PeerLost
from .disk import write_file
from .gradients import Gradients
from .member import Member
from .settings import Place, Settings, fingerprint
from .state import State
from .weights import write_weights

ACCUMULATE = {"float32": torch.float32, "float64": torch.float64}
"""What sums of gradients may be kept in."""


class Trainer:
    """A model in training, of which this process is one replica."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        micro_batches: int,
        *,
        scheduler: Any = None,
        others: Optional[Mapping[str, Any]] = None,
        before_step: Optional[Callable[[], Any]] = None,
        accumulate: str = "float32",
        seed: Optional[int] = None,
        backend: Optional[str] = None,
        memory_every: Optional[int] = None,
        disk_every: int = 0,
        losses: Optional[str] = None,
        weights: Optional[str] = None,
        allow_pickle: bool = False,
    ) -> None:
        """``micro_batches`` is their number in an iteration, over all workers.

        :param scheduler: steps after the optimiser does, and is part of the state.
        :param others: what else has ``state_dict`` and ``load_state_dict`` and belongs to the state.
        :param before_step: called when the mean gradient is in ``.grad``: to clip it.
        :param accumulate: what sums of gradients are kept in: ``float32``, or ``float64``, with which losses
            don't depend on who computed what.
        :param seed: sets PyTorch's random numbers for each micro-batch, so that dropout doesn't depend on
            it, either.
        :param backend: ``gloo`` or ``nccl``; by where the parameters are, if absent.
        :param memory_every: iterations between checkpoints in memory; 0 is never; if absent, as often as it
            costs next to nothing.
        :param disk_every: iterations between checkpoints on disk, in the task's folder; 0 is never.
        :param losses: a file for the losses of committed iterations, ``iteration,loss`` a line.
        :param weights: a file for the model's ``state_dict`` at the end.
        :param allow_pickle: lets states hold other things than tensors and numbers.

        Raises :class:`ValueError` for settings out of range, or an environment that no agent makes;
        :class:`OSError` if the agent can't be reached.
        """
        if not 1 <= micro_batches <= 1 << 20:
            raise ValueError(f"micro_batches: {micro_batches} is not in 1 to {1 << 20}")
        if accumulate not in ACCUMULATE:
            raise ValueError(f"accumulate: {accumulate!r} is none of {', '.join(ACCUMULATE)}")
        self._optimizer, self._scheduler, self._before_step = optimizer, scheduler, before_step
        self._model, self._weights = model, weights
        gradients = Gradients(model.parameters(), micro_batches, ACCUMULATE[accumulate])
        settings = Settings(
            micro_batches=micro_batches,
            accumulate=ACCUMULATE[accumulate],
            backend=backend or ("nccl" if gradients.device.type == "cuda" else "gloo"),
            seed=seed,
            memory_every=memory_every,
            disk_every=disk_every,
            losses=losses,
        )
        parts = {**({} if scheduler is None else {"scheduler": scheduler}), **(others or {})}
        state = State(model, optimizer, parts, allow_pickle)
        attached = take_over()
        agent = attached or Agent.of_environment(os.environ)
        self._is_alone = agent is None
        place = alone.PLACE if agent is None else Place.of_environment()
        self._follow = alone.follow if agent is None else joining.follow
        self._faults: Faults = of_environment(place.worker)
        self._member = Member(
            agent or alone.NoAgent(), place, settings, state, gradients, self._step, self._faults
        )
        if agent is not None and attached is None:
            report_exceptions(agent)
        if agent is not None:
            _end_on_sigterm(agent)

    @property
    def iteration(self) -> int:
        """The last one that counts here."""
        return self._member.state.applied or 0

    @property
    def size(self) -> int:
        """How many workers there are, by what is known at this moment."""
        group = self._member.group or self._member.last_group
        return 1 if group is None else len(group.members)

    @property
    def is_first(self) -> bool:
        """Whether this worker stands for all, to write what one has to write. Another may at the next
        moment: what must be written once is better left to ``losses``, ``weights`` and checkpoints. After
        the last step it stays as it was."""
        return self._member.is_first

    def steps(self, iterations: int) -> "Iterator[Step]":
        """The iterations from where the task is up to this one. Ends when the task is done everywhere; for
        what follows, the task's ``grace_s`` is left.

        Ends the process, with exit code 0, when the agent says so. Raises :class:`.AgentLost` if the agent
        is gone.
        """
        member = self._member
        member.last_iteration = iterations
        if not self._is_alone:
            print_of = fingerprint(self._model, self._optimizer, member.settings)
            member.agent.send(protocol.ready(member.place.store, print_of))
        while True:
            self._follow_or_exit()
            if member.is_done():
                break
            step = Step(self, self.iteration + 1)
            yield step
            if not step.is_over:
                raise RuntimeError(
                    f"iteration {step.number} isn't over: the loop over its micro-batches has to run to "
                    "its end"
                )
        self._finish(iterations)

    @contextlib.contextmanager
    def evaluation(self) -> Iterator[None]:
        """What is within, between two steps, takes as long as an evaluation, not as an iteration.

        All workers evaluate, each its part or all the same: whoever went on alone would wait for the others,
        and they would be taken for hung.
        """
        self._member.begin("evaluation")
        try:
            yield
        finally:
            self._member.begin()

    def save(self, path: str) -> None:
        """Writes the state into a file, as ``torch.save`` does; it is there as a whole or not at all.

        Raises :class:`OSError` if it can't be written.
        """
        write_file(path, states.write(self._member.state.collect()))

    def load(self, path: str) -> None:
        """Takes the state out of a file that :meth:`save` has written, or the trainer itself. To be called
        before the first step, and then it counts only where no other worker has a state.

        Raises :class:`OSError` and :class:`ValueError` if that can't be done.
        """
        with open(path, "rb") as file:
            self._member.state.load(file.read())

    def _step(self, midway: Callable[[], None]) -> None:
        if self._before_step is not None:
            self._before_step()
        if self._faults.is_asked_for("stepping"):
            _step_in_halves(self._optimizer, midway)
        else:
            self._optimizer.step()
        if self._scheduler is not None:
            self._scheduler.step()

    def _follow_or_exit(self) -> None:
        try:
            self._follow(self._member)
        except Stopped as stop:
            self._exit(stop)

    def _exit(self, stop: Stopped) -> None:
        self._member.end()
        raise SystemExit(0) from stop

    def _finish(self, iterations: int) -> None:
        """Says that the work is done, and stays for whoever needs the state, until the agent says stop."""
        member = self._member
        said_in = None
        try:
            while not self._is_alone:
                self._follow(member)
                if said_in != member.epoch:
                    said_in = member.epoch
                    path, sha256 = (None, None)
                    if self._weights is not None and member.is_first:
                        path, sha256 = write_weights(self._weights, self._model)
                    member.agent.send(protocol.done(said_in, iterations, path, sha256))
                member.await_news()
        except Stopped:
            pass
        if self._is_alone and self._weights is not None:
            write_weights(self._weights, self._model)
        member.end()


class Step:
    """An iteration."""

    def __init__(self, trainer: Trainer, number: int) -> None:
        self._trainer, self._member = trainer, trainer._member
        self.number = number
        """From 1."""
        self.loss: Optional[float] = None
        """The mean over all micro-batches, of all workers, once it is committed. ``None`` in a worker that
        was left out while others committed it."""
        self.is_over = False
        """Whether it is committed: here, or by others."""
        self._said: Optional[torch.Tensor] = None

    def backward(self, loss: torch.Tensor) -> None:
        """Computes a micro-batch's gradient. It isn't to be divided by the number of micro-batches: the
        optimiser gets the mean."""
        loss.backward()  # type: ignore[no-untyped-call]
        self.done(loss)

    def done(self, loss: Union[torch.Tensor, float]) -> None:
        """The same, where the script itself has called ``loss.backward()``."""
        self._said = loss if isinstance(loss, torch.Tensor) else torch.tensor(float(loss))

    def __iter__(self) -> Iterator[int]:
        """The micro-batches that this worker is to compute, by their numbers from 0."""
        try:
            yield from self._run()
        except Stopped as stop:
            self._trainer._exit(stop)

    def _run(self) -> Iterator[int]:
        member = self._member
        while not self.is_over:
            self._trainer._follow(member)
            if member.round.iteration != self.number:
                self.loss, self.is_over = member.state.losses.get(self.number), True
                return
            micro_batch = member.next_micro_batch()
            if micro_batch is not None:
                self._said = None
                yield micro_batch
                if self._said is None:
                    raise RuntimeError(
                        f"micro-batch {micro_batch} of iteration {self.number} has no loss: call "
                        "step.backward(loss), or step.done(loss) after loss.backward()"
                    )
                member.finish_micro_batch(self._said)
                continue
            self._commit()

    def _commit(self) -> None:
        member = self._member
        try:
            member.reduce_and_vote()
        except Interrupted:
            # There is another group, or an end.
            member.leave()
            return
        except (PeerLost, StoreError) as error:
            member.lose(error)
            return
        member.commit()
        member.record()
        member.begin_at(self.number + 1)
        self.loss, self.is_over = member.state.losses[self.number], True


def _step_in_halves(optimizer: torch.optim.Optimizer, midway: Callable[[], None]) -> None:
    """The optimiser's step, with a moment in its midst for a test."""
    whole = [group["params"] for group in optimizer.param_groups]
    for is_second in (False, True):
        for group, parameters in zip(optimizer.param_groups, whole):
            half = len(parameters) // 2
            group["params"] = parameters[half:] if is_second else parameters[:half]
        optimizer.step()
        if not is_second:
            midway()
    for group, parameters in zip(optimizer.param_groups, whole):
        group["params"] = parameters


def _end_on_sigterm(agent: Agent) -> None:
    """The agent says stop, and sends the signal at once: what is under way is finished first."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: agent.stop("SIGTERM"))
