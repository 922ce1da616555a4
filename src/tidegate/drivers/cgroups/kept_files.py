"""Kernel files that are read again and again: kept open, so that a read is one call instead of four."""

from __future__ import annotations

import contextlib
import os
import resource
import weakref
from typing import Final

from tidegate.drivers.cgroups.kernel_files import READ_BYTES_MAX, read_bytes

FILES_MAX: Final = 8192
"""Files kept open by one reader: those of some 700 cgroups. The others are opened for every read."""
PROCESS_SHARE: Final = 0.5
"""Of the descriptors this process may have (RLIMIT_NOFILE), how many are kept at most: others need some."""
ABSENT_ROUNDS_MAX: Final = 8
"""A file that is absent is looked for after 1, 2, 4 and then always 8 rounds: most never come."""
PREAD_BYTES: Final = 1 << 14
"""Several times what any of these files holds; a larger one is read again, whole."""
_CLOSED: Final = -1


class _File:
    """One file: open, absent, or neither."""

    __slots__ = ("descriptor", "inode", "look_again", "round", "wait")

    def __init__(self) -> None:
        self.descriptor = _CLOSED
        self.inode = 0
        self.round = 0
        self.wait = 1
        self.look_again = 0


class KeptFiles:
    """Reads kernel files whole, and keeps those open that every round of reading asks for.

    The kernel writes such a file anew at every read from its start. It answers ENODEV once the cgroup is
    gone, also when another one has its name: then the file is opened anew. So what is read is what opening
    each time would have brought, but for files that come into being late (`ABSENT_ROUNDS_MAX`).

    Not for lists of processes, which version 1 keeps as they were, nor below /proc: what is open there
    keeps a namespace alive.
    """

    def __init__(self, files_max: int | None = None) -> None:
        """Keep up to ``files_max`` open; without it, as many as this process can spare."""
        self._files_max = _spare() if files_max is None else files_max
        self._files: dict[str, _File] = {}
        self._open = 0
        self._round = 0
        self._closing = weakref.finalize(self, _close_all, self._files)

    def __len__(self) -> int:
        """Return how many are open."""
        return self._open

    def read(self, path: str) -> bytes | None:
        """Return what a file holds now, or None where it can't be read."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File()
        file.round = self._round
        if file.descriptor != _CLOSED:
            try:
                data = os.pread(file.descriptor, PREAD_BYTES, 0)
            except OSError:
                self._close(file)
            else:
                return data if len(data) < PREAD_BYTES else _whole(file.descriptor)
        return None if file.look_again > self._round else self._first(path, file)

    def inode(self, path: str) -> int:
        """Return the number of a file that was read: another one when it was made anew, 0 when it is gone."""
        file = self._files.get(path)
        if file is None or file.look_again > self._round:
            return 0
        if file.descriptor != _CLOSED:
            return file.inode
        with contextlib.suppress(OSError):
            return os.stat(path).st_ino  # noqa: PTH116 - hundreds a read
        return 0

    def next_round(self) -> None:
        """End a round of reading: what nobody read in it is closed and forgotten."""
        left = [path for path, file in self._files.items() if file.round != self._round]
        for path in left:
            self._close(self._files.pop(path))
        self._round += 1

    def close(self) -> None:
        """Give all descriptors back; from now on every read opens its file anew. Again: nothing to do."""
        self._closing()
        self._files_max = self._open = 0

    def _first(self, path: str, file: _File) -> bytes | None:
        """Read a file that is not open, and keep it open while there is room."""
        if self._open >= self._files_max:
            return read_bytes(path)
        try:
            file.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            file.look_again, file.wait = self._round + file.wait, min(2 * file.wait, ABSENT_ROUNDS_MAX)
            return None
        self._open += 1
        file.wait = 1
        try:
            file.inode = os.fstat(file.descriptor).st_ino
            return _whole(file.descriptor)
        except OSError:
            self._close(file)
            return None

    def _close(self, file: _File) -> None:
        if file.descriptor != _CLOSED:
            os.close(file.descriptor)
            file.descriptor, file.inode = _CLOSED, 0
            self._open -= 1


def _whole(descriptor: int) -> bytes:
    """Return a file from its start, in one call, since two may be of two moments.

    Raises:
        OSError: what it told of is gone.

    """
    count = PREAD_BYTES
    while len(data := os.pread(descriptor, count, 0)) == count < READ_BYTES_MAX:
        count *= 4
    return data


def _close_all(files: dict[str, _File]) -> None:
    """Close what is open, also of a reader that was dropped."""
    for file in files.values():
        if file.descriptor != _CLOSED:
            os.close(file.descriptor)
    files.clear()


def _spare() -> int:
    """Return how many files may be kept open: part of what this process may open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return FILES_MAX
    return min(FILES_MAX, int(allowed * PROCESS_SHARE))
