"""The losses of committed iterations in a file, ``iteration,loss`` a line, each exactly once.

A member may die between an iteration's commit and its line; another one writes it then. It may also be
slow: stopped, given up, and gone on with the line that another has written meanwhile. So whoever writes
locks the file, looks at its last line, and adds what comes after that, and nothing else.
"""

from __future__ import annotations

import fcntl
import os
from typing import Mapping

KEPT = 64
"""Losses that members keep in memory: far more than can be committed and not written."""

_TAIL_BYTES = 4096


class LossFile:
    """The file. Any process may have it open."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, losses: Mapping[int, float], until: int) -> None:
        """Adds the lines of these iterations, up to one, that aren't there yet.

        Raises :class:`OSError` if the file can't be written.
        """
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            last = self._repair()
            lines = [
                f"{iteration},{losses[iteration]!r}\n"
                for iteration in sorted(losses)
                if last < iteration <= until
            ]
            if lines:
                os.lseek(self._file, 0, os.SEEK_END)
                os.write(self._file, "".join(lines).encode())
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def go_back(self, iteration: int) -> None:
        """Removes the lines of later iterations: they are done again."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._repair()
            content = os.pread(self._file, os.fstat(self._file).st_size, 0)
            end = 0
            for line in content.splitlines(keepends=True):
                if _iteration(line) > iteration:
                    break
                end += len(line)
            os.ftruncate(self._file, end)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._file)

    def _repair(self) -> int:
        """The last iteration that is written; half a line behind it goes."""
        size = os.fstat(self._file).st_size
        start = max(0, size - _TAIL_BYTES)
        tail = os.pread(self._file, size - start, start)
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            os.ftruncate(self._file, start + whole)
        lines = tail[:whole].splitlines()
        return _iteration(lines[-1]) if lines else 0


def _iteration(line: bytes) -> int:
    try:
        return int(line.split(b",")[0])
    except ValueError:
        # A heading, or somebody else's.
        return 0
