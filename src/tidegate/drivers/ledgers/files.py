"""Files that are replaced whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, data: bytes, *, beside: Path | None = None) -> None:
    """Replace a file: who reads it, even after a crash, finds the old or the new.

    What is new is first written ``beside``: a file in the same folder, by default the name and ``.new``.

    Raises:
        OSError: it can't be written; the old is untouched.

    """
    beside = path.with_name(f"{path.name}.new") if beside is None else beside
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


__all__ = ["write_whole"]
