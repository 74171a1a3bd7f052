"""Failures on purpose, for tests: at a moment of an iteration a process ends or stops itself.

A test puts files into the folder that ``UNICRON_FAULTS`` names, each called ``ACTION@MOMENT`` or
``ACTION@MOMENT:ITERATION`` or ``ACTION@MOMENT:ITERATION:WORKER``. At each moment a worker tries to rename
the files that would be for it: who succeeds has the failure to itself. Without the variable nothing is
ever looked at.

The same folder's ``computed`` gets a line for each micro-batch, so that a test can count them.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Callable, Optional

MOMENTS = (
    "micro-batch",  # A micro-batch is in the sums.
    "summed",  # All own micro-batches are; nothing is sent: before the all-reduce.
    "reducing",  # In the midst of the all-reduce: others may have it.
    "reduced",  # The whole gradient is there, the vote isn't given.
    "voted",  # All have voted: between reduction and optimiser step.
    "stepping",  # In the midst of the optimiser's step.
    "committed",  # The step is taken, and nobody was told.
    "regrouping",  # The own status is said, the others' isn't heard.
    "sending",  # In the midst of sending the state to another.
    "receiving",  # In the midst of getting it.
)
"""When one may fail, in the order of an iteration; the last three are of a change of groups."""

ACTIONS = ("kill", "stop", "throw", "hang")
"""How: by SIGKILL, by SIGSTOP, by an exception, by doing nothing any more."""


class Fault(Exception):
    """As was asked for."""


class Faults:
    """The failures that are asked for of this process."""

    def __init__(self, folder: str, worker: int) -> None:
        self._folder = folder
        self._worker = worker

    def at(self, moment: str, iteration: int, before: Optional[Callable[[], None]] = None) -> None:
        """It is this moment of this iteration. ``before`` is called first if one fails."""
        for action in ACTIONS:
            for which in ("", f":{iteration}", f":{iteration}:{self._worker}"):
                if self._claim(f"{action}@{moment}{which}"):
                    if before is not None:
                        before()
                    _fail(action, f"{moment} of iteration {iteration}")

    def is_asked_for(self, moment: str) -> bool:
        """Whether anybody is to fail at this moment."""
        return any(f"@{moment}" in name and ".claimed" not in name for name in os.listdir(self._folder))

    def note(self, iteration: int, micro_batch: int) -> None:
        """A micro-batch was computed."""
        line = f"{self._worker} {iteration} {micro_batch}\n".encode()
        file = os.open(os.path.join(self._folder, "computed"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def _claim(self, name: str) -> bool:
        path = os.path.join(self._folder, name)
        try:
            os.rename(path, f"{path}.claimed-{self._worker}")
            return True
        except OSError:
            return False


class NoFaults(Faults):
    """Nothing fails on purpose."""

    def __init__(self) -> None:
        super().__init__("", 0)

    def at(self, moment: str, iteration: int, before: Optional[Callable[[], None]] = None) -> None:
        """Nothing."""

    def is_asked_for(self, moment: str) -> bool:
        """No."""
        return False

    def note(self, iteration: int, micro_batch: int) -> None:
        """Nothing."""


def of_environment(worker: int) -> Faults:
    """What is asked for of this worker."""
    folder = os.environ.get("UNICRON_FAULTS")
    return Faults(folder, worker) if folder else NoFaults()


def _fail(action: str, when: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "throw":
        raise Fault(f"as asked for: at {when}")
    else:
        while True:
            time.sleep(3600)
