"""Paths: quantiles of demand at every step ahead, for models that look further than the next decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATH_LEVELS: Final = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99], dtype=np.float32)
"""Levels every path model answers: nine for the loss, the upper three for coverage."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """What is coming, step by step, for the series of a panel."""

    end_seconds: int
    """The end of the panel it was made from; step k ends at ``end_seconds + (k + 1) * step_seconds``."""
    step_seconds: int
    quantiles: NDArray[np.float32]
    """(levels, steps, series) at `PATH_LEVELS`, shares of capacity 0-1, rising with the level. Never NaN:
    who knows nothing of a series says 0 to 1, evenly."""

    @property
    def steps(self) -> int:
        """How many steps ahead it looks."""
        return int(self.quantiles.shape[1])
