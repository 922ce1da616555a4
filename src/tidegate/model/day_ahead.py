"""What the coming day looks like: quantiles of the peak of each hour, said by models that look further."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_LEVELS: Final = np.array([0.5, 0.9, 0.95, 0.99], dtype=np.float32)
"""Levels of a day ahead: all of them are among those of paths."""
DAY_HOURS: Final = 24
HOUR_SECONDS: Final = 3600
NOBODY: Final = 255
"""In a column of models: nobody has spoken for the series yet."""
NEVER_SECONDS: Final = -1
"""In a column of times: not yet."""


class Turn(IntEnum):
    """Why a series was refreshed when it was."""

    NONE = 0
    SCHEDULED = 1
    DRIFTED = 2
    RESIZED = 3

    @property
    def words(self) -> str:
        """The same words on every screen."""
        return _TURN_WORDS[self]


_TURN_WORDS = {
    Turn.NONE: "not yet",
    Turn.SCHEDULED: "it was its turn",
    Turn.DRIFTED: "it changed",
    Turn.RESIZED: "it was resized",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DayAhead:
    """The coming day of the whole fleet, hour by hour; frames are (resources, workloads).

    It is older than the forecast it comes with: each series as old as ``refreshed_seconds`` says.
    """

    start_seconds: int
    """Where the first hour begins: the one in progress, UTC."""
    levels: NDArray[np.float32]
    """(levels,) rising probabilities."""
    quantiles: NDArray[np.float32]
    """(levels, hours, resources, workloads) highest slot mean in each hour, base units; NaN: unknown."""
    slot_seconds: int
    """Over how long means are taken: a second's spike inside of it is not seen."""
    refreshed_seconds: NDArray[np.int64]
    """Up to when what was said is based on samples, since 1970 UTC; `NEVER_SECONDS` where nothing was."""
    turn: NDArray[np.uint8]
    """The `Turn` at which it was said."""
    models: tuple[str, ...]
    model: NDArray[np.uint8]
    """Which of ``models`` said it, or `NOBODY`."""
    loss: NDArray[np.float32]
    """Mean quantile loss, in shares of capacity, of what was said a day before; NaN until measured."""
    coverage: NDArray[np.float32]
    """(levels, resources, workloads) share of hours whose peak stayed at or below what was said a day
    before; NaN until measured."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where anything is said of the coming day: (resources, workloads)."""
        return ~np.isnan(self.quantiles[0]).all(axis=0)
