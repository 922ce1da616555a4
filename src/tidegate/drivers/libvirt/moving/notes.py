"""Moves under way, each noted in a file of its own before anything is changed.

Who moves a VM holds its file's lock as long as it lives: a file that nobody holds is of a mover that died,
and whoever finds it puts things right.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from tidegate.drivers.libvirt.moving.port import Route
from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, refusal

MOVES_PATH: Final = Path("/run/tidegate/moves")
OPEN_TRIES_MAX: Final = 8
"""A file may be put away between its opening and its locking; then a new one is made."""


class Note:
    """The note of one move, held until it is dropped or closed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Hold an open, locked file."""
        self._path, self._descriptor = path, descriptor

    @classmethod
    def taken(cls, folder: Path, uuid: str) -> Self:
        """Take a VM's note, made if there is none.

        Raises:
            Refusal: somebody moves this VM.
            InputError: notes can't be kept there.

        """
        path = folder / f"{uuid}.json"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for _ in range(OPEN_TRIES_MAX):
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(path, flags, 0o600)
                if _locked(descriptor) and os.fstat(descriptor).st_nlink:
                    return cls(path, descriptor)
                is_put_away = not os.fstat(descriptor).st_nlink
                os.close(descriptor)
                if not is_put_away:
                    break
        except OSError as error:
            raise InputError(
                f"moves can't be noted in {folder} ({error.strerror}); run as root or name another folder"
            ) from error
        raise refusal(Because.NOT_NOW, f"VM {uuid} is being moved by another process; wait until it is done")

    def read(self) -> Route | None:
        """Return what is noted; None where nothing is, or no more than a beginning of it."""
        try:
            return msgspec.json.decode(os.pread(self._descriptor, 65536, 0), type=Route)
        except msgspec.DecodeError:
            return None

    def write(self, route: Route) -> None:
        """Note a move; when this returns, it may begin."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(route), 0)
        os.fsync(self._descriptor)

    def drop(self) -> None:
        """Forget the move: nothing of it is left."""
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go; what is noted stays. Again: nothing to do."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def left(folder: Path) -> list[Note]:
    """Return the notes of movers that are gone; each is held."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            if _locked(descriptor) and os.fstat(descriptor).st_nlink:
                found.append(Note(path, descriptor))
            else:
                os.close(descriptor)
    return found


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
