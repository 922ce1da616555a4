"""Makes a promise of 90 % one: how much wider or narrower forecasts must be, as measured on days held out.

Per level and band of horizons, the distance from the median is stretched by the quantile of how far what came
lay, in units of that distance: split conformal prediction with a scaled score (Romano, Patterson & Candes,
NeurIPS 2019; Sesia & Candes, Stat 2020), one-sided for each level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.candidates import MEDIAN
from tidegate.forecast.windows import HOUR_SECONDS, steps_in
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS_SECONDS: Final = (HOUR_SECONDS, 6 * HOUR_SECONDS)
"""Upper ends of all bands of horizons but the last."""
FROM_LEVEL: Final = 0.895
"""Levels from here on are promises; those below are scored by loss alone, which the gate has learned."""
LEAST: Final = np.float32(1e-6)
"""A distance below this share of capacity is none."""
RARE_LEVEL: Final = 0.985
"""From this level on too few misses are seen to narrow by: these are only ever widened."""
STRETCH_MIN: Final = 0.6
STRETCH_MAX: Final = 2.0
ROWS_MIN: Final = 500
"""Fewer forecasts than this in a band say nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Width:
    """How much to stretch."""

    bands: NDArray[np.intp]
    """(bands - 1,) upper ends in steps."""
    stretch: NDArray[np.float32]
    """(bands, levels)."""

    def eased(self) -> Width:
        """Return half of the correction, for whoever learns on after it was measured and so errs less."""
        return Width(bands=self.bands, stretch=1 + (self.stretch - 1) * np.float32(0.5))

    def applied(self, quantiles: NDArray[np.float32], ahead: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return quantiles (..., levels) stretched about their medians, rising; ``ahead`` (...) in steps."""
        median = quantiles[..., MEDIAN, None]
        stretched = median + self.stretch[np.searchsorted(self.bands, ahead)] * (quantiles - median)
        return np.maximum.accumulate(stretched, axis=-1)


def measured(
    quantiles: NDArray[np.float32],
    came: NDArray[np.float32],
    ahead: NDArray[np.intp],
    step_seconds: int,
) -> Width:
    """Measure on forecasts (rows, levels), what came (rows,) and how far ahead it was (rows,), in steps."""
    bands = bands_of(step_seconds)
    band = np.searchsorted(bands, ahead)
    stretch = np.ones((bands.size + 1, PATH_LEVELS.size), dtype=np.float32)
    for at in range(bands.size + 1):
        inside = band == at
        if inside.sum() >= ROWS_MIN:
            stretch[at] = _stretch(quantiles[inside], came[inside])
    return Width(bands=bands, stretch=stretch)


def bands_of(step_seconds: int) -> NDArray[np.intp]:
    """Return the upper ends of all bands of horizons but the last, in steps."""
    return np.array([steps_in(seconds, step_seconds) for seconds in BANDS_SECONDS], dtype=np.intp)


def _stretch(quantiles: NDArray[np.float32], came: NDArray[np.float32]) -> NDArray[np.float32]:
    median = quantiles[:, MEDIAN]
    found = np.ones(PATH_LEVELS.size)
    for at, level in enumerate(PATH_LEVELS):
        if level < FROM_LEVEL:
            continue
        distance = np.maximum(quantiles[:, at] - median, LEAST)
        found[at] = np.quantile((came - median) / distance, level)
    least = np.where(PATH_LEVELS >= RARE_LEVEL, 1.0, STRETCH_MIN)
    return np.clip(found, least, STRETCH_MAX).astype(np.float32)
