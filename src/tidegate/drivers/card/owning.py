"""One process at a time runs a card: it holds a lock in the card's folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

FOLDER_MODE: Final = 0o750
"""Of everything a card keeps."""


def locked(folder: Path, card: str) -> int:
    """Make the card's folders and return the lock, which ends with this process or by closing it.

    Raises:
        InputError: another process holds it, or the folder can't be used.

    """
    try:
        for each in (folder, folder / "records", folder / "logs", folder / "control"):
            each.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(
            f"the folder {folder} of card {card} can't be written ({error.strerror}); use root"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise InputError(f"another process runs card {card} in {folder}; stop that one first") from error
    return lock
