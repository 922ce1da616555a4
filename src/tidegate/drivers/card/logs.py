"""What programs write to their output: a file each, kept short from outside.

A program writes into its file by itself and goes on doing so when the card's program is gone. Only while that
is there is the file cut; lines written in the moment of cutting may be lost.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

LOG_BYTES_MAX: Final = 4 << 20
"""A longer one is cut: what it held is kept once beside it, up to this length."""
LOGS_OF_GONE_MAX: Final = 64
"""Logs of applications that are no more; above this many the oldest go."""
COPY_BYTES: Final = 1 << 20
END: Final = ".log"


class Logs:
    """The logs of one card."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder."""
        self._folder = folder

    def file(self, name: str) -> Path:
        """Return where an application's output goes."""
        return self._folder / f"{name}{END}"

    def cut(self, name: str) -> None:
        """Keep the last of a log that is too long as ``NAME.log.1``, and empty it."""
        with contextlib.suppress(OSError), open(self.file(name), "r+b") as log:  # noqa: PTH123 - it is a descriptor
            size = os.fstat(log.fileno()).st_size
            if size <= LOG_BYTES_MAX:
                return
            log.seek(size - LOG_BYTES_MAX)
            with open(f"{self.file(name)}.1", "wb") as beside:  # noqa: PTH123 - as above
                left = LOG_BYTES_MAX
                while left and (piece := log.read(min(COPY_BYTES, left))):
                    left -= beside.write(piece)
            log.truncate(0)

    def drop(self, running: set[str]) -> None:
        """Delete the oldest logs of those that run no more, where there are too many."""
        logs: list[tuple[float, str]] = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            logs = [
                (entry.stat().st_mtime, entry.name)
                for entry in entries
                if entry.name.endswith(END) and entry.name.removesuffix(END) not in running
            ]
        for _, name in sorted(logs, reverse=True)[LOGS_OF_GONE_MAX:]:
            (self._folder / name).unlink(missing_ok=True)
            (self._folder / f"{name}.1").unlink(missing_ok=True)
