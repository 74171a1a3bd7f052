"""A flag that can be waited for together with a socket.

Whoever waits for a peer has to hear at once when the peer isn't coming any more: its wait watches this
flag's file beside its own socket.
"""

from __future__ import annotations

import os
import select
from typing import Optional


class Interrupted(Exception):
    """What was waited for has been overtaken by something else."""


class Interrupt:
    """Set by one thread, seen by others that wait with :func:`select.poll`."""

    def __init__(self) -> None:
        self._reading = self._writing = -1
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def fileno(self) -> int:
        """A file that can be read while the flag is set."""
        return self._reading

    def set(self) -> None:
        """Sets the flag."""
        try:
            os.write(self._writing, b"!")
        except (BlockingIOError, OSError):
            # Full is set; closed is of no use to anybody.
            pass

    def clear(self) -> None:
        """Takes the flag down."""
        try:
            while os.read(self._reading, 4096):
                pass
        except (BlockingIOError, OSError):
            pass

    def is_set(self) -> bool:
        """Whether the flag is up."""
        return self.wait(0.0)

    def wait(self, timeout_s: Optional[float]) -> bool:
        """Waits for the flag; whether it is up."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1e3))

    def close(self) -> None:
        """Gives its files back."""
        files, self._reading, self._writing = (self._reading, self._writing), -1, -1
        for file in files:
            if file >= 0:
                os.close(file)

    def __del__(self) -> None:
        self.close()
