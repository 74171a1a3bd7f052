"""What has to be the same in all replicas: parameters, buffers, optimiser, and what else has a state.

It travels and is kept as PyTorch writes it, ``torch.save`` of ``state_dict``: a checkpoint can be read with
PyTorch alone. Random number generators are no part of it: with a ``seed``, the trainer sets them for each
micro-batch, so that it doesn't matter who computes it; without, they are the process's own.
"""

from __future__ import annotations

import io
from typing import Any, Dict, Mapping, Optional, Union

import torch

from . import unpickling

Buffer = Union[bytes, bytearray, memoryview]


class State:
    """The parts of a training's state."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        others: Mapping[str, Any],
        allow_pickle: bool = False,
    ) -> None:
        """``others`` have ``state_dict`` and ``load_state_dict``, such as a scheduler.

        ``allow_pickle`` lets states contain any object: whoever can write to the store or to the disk can
        then run code in this process.
        """
        self._parts: Dict[str, Any] = {"model": model, "optimizer": optimizer, **others}
        self._allow_pickle = allow_pickle
        self.applied: Optional[int] = None
        """The last iteration that is in it; ``None`` while nothing in it counts."""
        self.stepped: Optional[int] = None
        """The name of the gradient by which it got there."""
        self.losses: Dict[int, float] = {}
        """Of the last iterations, so that whoever takes over can write down what isn't yet."""

    def collect(self) -> Dict[str, Any]:
        """The state, as far as possible without a copy."""
        about = {"iteration": self.applied, "stepped": self.stepped, "losses": dict(self.losses)}
        return {"unicron": about, **{name: part.state_dict() for name, part in self._parts.items()}}

    def snapshot(self) -> Dict[str, Any]:
        """A copy in main memory, that stays as it is while training goes on."""
        copied = _copied(self.collect())
        assert isinstance(copied, dict)
        return copied

    def load(self, payload: Buffer) -> None:
        """Takes a state.

        Raises :class:`ValueError` for what isn't one, or is of another model.
        """
        try:
            state = read(payload, self._allow_pickle)
            about = state["unicron"]
            iteration, stepped, losses = about["iteration"], about["stepped"], about["losses"]
            # What fails half-way leaves nothing that counts.
            self.applied = None
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"this is no state of this model: {error}") from None
        self.applied, self.stepped, self.losses = int(iteration), stepped, dict(losses)


def write(state: Any) -> memoryview:
    """As bytes."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getbuffer()


def read(payload: Buffer, allow_pickle: bool = False) -> Any:
    """Out of bytes, into main memory.

    Raises :class:`ValueError` for what can't be read.
    """
    try:
        if allow_pickle:
            return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=False)
        return unpickling.read(payload)
    except Exception as error:
        # It may raise whatever the bytes make it raise.
        hint = "" if allow_pickle else " (a state of more than tensors and numbers needs allow_pickle)"
        raise ValueError(f"a state can't be read: {error}{hint}") from None


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return type(value)((key, _copied(inner)) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(inner) for inner in value)
    return value
