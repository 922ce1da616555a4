"""How far Tidegate may go with each workload: watch it, advise, or act."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Level(IntEnum):
    """What may be done, in rising order."""

    OBSERVE = 0
    """Nothing but looking and learning."""
    RECOMMEND = 1
    """Advice is shown, and nothing is done."""
    AUTO = 2
    """It acts."""

    @property
    def label(self) -> str:
        """The name people type and read."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Autonomy:
    """Levels by name; of the rules whose pattern matches a workload's name, the last decides."""

    default: Level
    rules: tuple[tuple[str, Level], ...] = ()
    """Patterns as in a shell (``*``, ``?``, ``[abc]``), and what holds for whom they match."""
    paused: bool = False
    """Nobody is acted on, whatever the rules say."""

    def levels(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Return each workload's level (workloads,)."""
        found = np.full(len(names), self.default, dtype=np.uint8)
        for pattern, level in self.rules:
            matches = np.fromiter((fnmatchcase(name, pattern) for name in names), np.bool_, len(names))
            found[matches] = level
        return found


def level(text: str) -> Level:
    """Return a level by the name people type.

    Raises:
        InputError: there is none of that name.

    """
    for known in Level:
        if known.label == text.lower():
            return known
    raise InputError(f"unknown autonomy '{text}'; choose from {', '.join(known.label for known in Level)}")


__all__ = ["Autonomy", "Level", "level"]
