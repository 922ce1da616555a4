"""One process at a time writes: it holds a lock on a file, which names the process for who comes second."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HOLDER_BYTES_MAX: Final = 32


def locked(
    file: Path,
    *,
    what: str,
    remedy: str,
    doing: str,
    folders: Iterable[Path] = (),
    folder_mode: int = 0o700,
) -> int:
    """Open and lock a file, and return its descriptor: the lock ends by closing it, or with this process.

    The file is never removed: a lock on a removed file is none. It is made with its folder and
    ``folders`` where those are not there.

    Raises:
        InputError: another process holds it, and is ``doing`` something; or ``what`` is kept there can't be
            written, for which ``remedy`` is what to do.

    """
    try:
        for folder in (file.parent, *folders):
            folder.mkdir(mode=folder_mode, parents=True, exist_ok=True)
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(f"{what} can't be written ({error.strerror}); {remedy}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, HOLDER_BYTES_MAX).decode("ascii", "replace").strip()
        os.close(lock)
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise InputError(f"{who} {doing}; stop that one first") from error
    with contextlib.suppress(OSError):  # on a full disk the lock holds as well, and nobody is named
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def locked_ledger(path: Path, changes: str) -> int:
    """Lock the ledger of those who change one kind of thing, which ``changes`` names; as `locked`.

    Raises:
        InputError: another process holds it, or it can't be written.

    """
    return locked(
        path.with_name(f"{path.name}.lock"),
        what=f"the ledger {path}",
        remedy="run as root or name another file",
        doing=f"is changing {changes} with the ledger {path}",
    )


__all__ = ["locked", "locked_ledger"]
