"""The result of a training: the model's ``state_dict`` in a file, with its checksum."""

from __future__ import annotations

import hashlib
import os
from typing import Tuple

import torch

from . import state as states
from .disk import write_file


def write_weights(path: str, model: torch.nn.Module) -> Tuple[str, str]:
    """Writes it; the absolute path, and the SHA-256 in hexadecimal, by which others know it.

    Raises :class:`OSError` if it can't be written.
    """
    payload = states.write(model.state_dict())
    write_file(path, payload)
    return os.path.abspath(path), hashlib.sha256(payload).hexdigest()
