"""Checkpoints on disk. One counts when the coordinator has said so: it was then written by a member of the
present group, and groups to come are told of it."""

from __future__ import annotations

import os
import re
import threading
from typing import Any, Callable, Optional

from ..agent import Agent
from ..protocol import checkpoint
from ..store import Buffer

_NAME = re.compile(r"iteration-(\d{8,})-epoch-\d+\.pt")


class Disk:
    """The writer. ``every`` is the number of iterations between checkpoints; 0 is never."""

    def __init__(
        self,
        agent: Agent,
        folder: Optional[str],
        every: int,
        write: Callable[[Any], Buffer],
        failed: Callable[[str], None],
    ) -> None:
        self._agent, self._folder, self._every = agent, folder, every
        self._write, self._failed = write, failed
        self._thread: Optional[threading.Thread] = None

    def is_due(self, iteration: int) -> bool:
        """Whether this iteration is to have one."""
        return self._folder is not None and self._every > 0 and iteration % self._every == 0

    def keep(self, iteration: int, epoch: int, snapshot: Any) -> None:
        """Writes a copy of the state, from a thread of its own, after the one before."""
        self.join()
        self._clean()
        assert self._folder is not None, "one is due"
        path = os.path.join(self._folder, f"iteration-{iteration:08}-epoch-{epoch}.pt")
        arguments = (iteration, epoch, snapshot, path)
        self._thread = threading.Thread(target=self._keep, args=arguments, name="unicron-disk", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Waits until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _keep(self, iteration: int, epoch: int, snapshot: Any, path: str) -> None:
        try:
            write_file(path, self._write(snapshot))
        except OSError as error:
            return self._failed(f"a checkpoint is not written: {error}")
        self._agent.send(checkpoint(epoch, iteration, path))

    def _clean(self) -> None:
        """Removes what is older than the newest that counts, whoever has written it."""
        assert self._folder is not None, "one is due"
        counts = self._agent.checkpoint_committed
        names = os.listdir(self._folder) if os.path.isdir(self._folder) else []
        for name in names:
            found = _NAME.fullmatch(name)
            if found is not None and int(found.group(1)) < counts:
                try:
                    os.remove(os.path.join(self._folder, name))
                except OSError:
                    # Somebody else has, or nobody may.
                    pass


def write_file(path: str, payload: Buffer) -> None:
    """Writes a file so that it is there as a whole or not at all."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        try:
            os.remove(temporary)
        except OSError:
            pass
        raise
