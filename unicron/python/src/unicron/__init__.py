"""Training that survives its failures: the worker's side of Unicron.

Two levels, beside a script that knows nothing of Unicron:

- ``unicron.attach()``, one line: iterations and uncaught exceptions are told to the agent, which notices
  hangs and failures at once instead of after a time-out.
- ``unicron.Trainer``, a few lines: after a failure the surviving processes keep what they have computed of
  the running iteration, compute what was lost, and finish it.

Outside of Unicron both do nothing: the same script runs anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .agent import AgentLost, Stopped
from .attach import Attachment, attach

if TYPE_CHECKING:
    from .elastic.trainer import Step, Trainer

__version__ = "0.1.0"
__all__ = ["AgentLost", "Attachment", "Step", "Stopped", "Trainer", "attach"]


def __getattr__(name: str) -> Any:
    # PyTorch is imported only by who uses it.
    if name in ("Step", "Trainer"):
        from .elastic import trainer

        return getattr(trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
