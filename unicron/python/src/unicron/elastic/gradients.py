"""The gradients of one member: sums of its micro-batches, and the reduced gradient of the iteration.

The gradients of all parameters lie in one flat tensor (one for each kind of parameter), and each ``.grad``
is a part of it: autograd adds into it in place, and the all-reduce takes it as a whole. It is reduced *out
of place*: the local sums stay as they are until the iteration is committed, so that a member that dies in
the midst of the all-reduce takes nothing along but its own.

The sum of losses and the number of micro-batches are the last two numbers of the tensor: whoever has the
reduced gradient has the loss, too, and knows that every micro-batch is in it once.

What sums are kept in (``accumulate``):

- ``float32`` adds as ``loss.backward()`` always does. Who adds what changes the last bits.
- ``float64`` adds each micro-batch's gradient in double precision, reduces in it, and rounds once. A sum then
  hardly ever depends on who computed what, so a run with failures has the losses of one without. It takes
  more memory, and twice the bytes on the network.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Tuple

import torch

TAIL = 2
"""Numbers behind the gradients: the sum of losses, and of how many."""


class _Part:
    """Parameters of one type on one device."""

    def __init__(self, parameters: List[torch.nn.Parameter], accumulate: torch.dtype) -> None:
        self.parameters = parameters
        first = parameters[0]
        length = sum(parameter.numel() for parameter in parameters)
        self.sums = torch.zeros(length + TAIL, dtype=accumulate, device=first.device)
        self.is_direct = accumulate == first.dtype
        self.grads = self.sums[:length]
        if not self.is_direct:
            self.grads = torch.zeros(length, dtype=first.dtype, device=first.device)
        self.views = []
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            self.views.append(self.grads[start:end].view_as(parameter))
            start = end
        for parameter, view in zip(parameters, self.views):
            parameter.grad = view

    def collect(self) -> None:
        """What autograd has put elsewhere comes where it belongs: it makes a new tensor after a
        ``zero_grad`` that has dropped ours."""
        for parameter, view in zip(self.parameters, self.views):
            if parameter.grad is not view:
                if parameter.grad is not None:
                    view.add_(parameter.grad)
                parameter.grad = view
        if not self.is_direct:
            self.sums[:-TAIL].add_(self.grads)
            self.grads.zero_()

    def install(self, reduced: torch.Tensor, count: int) -> None:
        """Puts the mean where the optimiser finds it."""
        torch.div(reduced, count, out=reduced)
        self.grads.copy_(reduced[:-TAIL])
        for parameter, view in zip(self.parameters, self.views):
            parameter.grad = view

    def clear(self) -> None:
        self.sums.zero_()
        if not self.is_direct:
            self.grads.zero_()


class Gradients:
    """Of all parameters that learn."""

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], micro_batches: int, accumulate: torch.dtype
    ) -> None:
        kinds: Dict[Tuple[torch.dtype, torch.device], List[torch.nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.requires_grad:
                kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
        if not kinds:
            raise ValueError("the model has no parameters that learn")
        self._micro_batches = micro_batches
        self._parts = [_Part(of_kind, accumulate) for of_kind in kinds.values()]
        self._tail = self._parts[0].sums[-TAIL:]
        self._reduced: Optional[List[torch.Tensor]] = None
        self.name: Optional[int] = None
        """The epoch of the group that has reduced it; ``None`` while it isn't reduced."""

    @property
    def device(self) -> torch.device:
        """Where the first parameters are."""
        device: torch.device = self._tail.device
        return device

    def add(self, loss: torch.Tensor) -> None:
        """A micro-batch's ``backward`` is done. Nothing waits for the device."""
        for part in self._parts:
            part.collect()
        self._tail[0] += loss.detach().to(self._tail)
        self._tail[1] += 1

    def drop(self) -> None:
        """The sums don't count."""
        for part in self._parts:
            part.clear()

    def copy(self) -> List[torch.Tensor]:
        """The sums, to be reduced in place."""
        return [part.sums.clone() for part in self._parts]

    def keep(self, reduced: List[torch.Tensor], name: int) -> None:
        """The reduced gradient is there.

        Raises :class:`RuntimeError` if it isn't that of all micro-batches: something is wrong that no
        retry cures.
        """
        shapes = [tuple(part.sums.shape) for part in self._parts]
        if [tuple(one.shape) for one in reduced] != shapes:
            raise RuntimeError(f"a reduced gradient has not the shapes {shapes}")
        reduced = [one.to(part.sums) for one, part in zip(reduced, self._parts)]
        count = float(reduced[0][-1])
        if count != self._micro_batches:
            raise RuntimeError(
                f"the reduced gradient is of {count} micro-batches, not of {self._micro_batches}"
            )
        self._reduced, self.name = reduced, name

    def reduced(self) -> List[torch.Tensor]:
        """The reduced gradient, for those who lack it."""
        assert self._reduced is not None, "it is reduced"
        return self._reduced

    def loss(self) -> float:
        """The mean loss of all micro-batches, once it is reduced."""
        return float(self.reduced()[0][-TAIL]) / self._micro_batches

    def install(self) -> None:
        """Puts the mean gradient into ``.grad``. The sums are gone with that: the step follows."""
        for part, reduced in zip(self._parts, self.reduced()):
            part.install(reduced, self._micro_batches)

    def clear(self) -> None:
        """For the next iteration."""
        self.drop()
        self._reduced, self.name = None, None
