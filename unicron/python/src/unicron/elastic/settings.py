"""What a training is set to, and where it runs."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

import torch


@dataclass(frozen=True)
class Settings:
    """The same for all members of a task."""

    micro_batches: int
    """Of an iteration, over all members."""
    accumulate: torch.dtype = torch.float32
    """What sums of gradients are kept in."""
    backend: str = "gloo"
    seed: Optional[int] = None
    """Decides the random numbers of each micro-batch, whoever computes it."""
    memory_every: Optional[int] = None
    """Iterations between checkpoints in memory; 0 is never, and nothing lets their cost decide."""
    disk_every: int = 0
    """Iterations between checkpoints on disk; 0 is never."""
    losses: Optional[str] = None
    """Where the losses of committed iterations go."""


@dataclass(frozen=True)
class Place:
    """Where this process is: what its agent has put into its environment."""

    worker: int
    node: str
    host: str
    """The address of the node that other workers reach."""
    store: str
    """Of the node's store, ``host:port``."""
    checkpoints: Optional[str]
    """A folder that all nodes see."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> "Place":
        """Raises :class:`ValueError` for what is missing."""
        names = ("UNICRON_WORKER", "UNICRON_NODE", "UNICRON_HOST", "UNICRON_STORE")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise ValueError(
                f"{', '.join(missing)} is not in the environment: this process was not started by an "
                "agent, or by one that is too old for unicron.Trainer"
            )
        worker, node, host, store = (environment[name] for name in names)
        return cls(int(worker), node, host, store, environment.get("UNICRON_CHECKPOINTS"))


def micro_batch_seed(seed: int, iteration: int, micro_batch: int) -> int:
    """The seed of a micro-batch: far from that of any other."""
    text = f"{seed} {iteration} {micro_batch}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def fingerprint(model: torch.nn.Module, optimizer: torch.optim.Optimizer, settings: Settings) -> str:
    """Of what has to be the same, in hexadecimal: workers of a group have the same."""
    shapes: Dict[str, Any] = {
        name: [list(tensor.shape), str(tensor.dtype)]
        for name, tensor in model.state_dict(keep_vars=True).items()
        if isinstance(tensor, torch.Tensor)
    }
    what = [
        torch.__version__,
        type(optimizer).__qualname__,
        settings.micro_batches,
        str(settings.accumulate),
        settings.backend,
        settings.seed,
        shapes,
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
