"""One process at a time runs a card: it holds a lock in the card's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.drivers.ledgers.locks import locked

if TYPE_CHECKING:
    from pathlib import Path

FOLDER_MODE: Final = 0o750
"""Of everything a card keeps."""


def owned(folder: Path, card: str) -> int:
    """Make the card's folders and return the lock, which ends with this process or by closing it.

    Raises:
        InputError: another process holds it, or the folder can't be used.

    """
    return locked(
        folder / "lock",
        what=f"the folder {folder} of card {card}",
        remedy="use root",
        doing=f"runs card {card} in {folder}",
        folders=(folder / "records", folder / "logs", folder / "control"),
        folder_mode=FOLDER_MODE,
    )
