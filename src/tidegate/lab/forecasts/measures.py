"""What a path model is judged by: every step of every path, accumulated origin by origin.

All series are shares of capacity. Missing samples don't count. Sums are kept, not samples, so that a
million paths need no more memory than a few numbers per origin, per series and per step ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.model.paths import Paths

LEVELS: Final = PATH_LEVELS.astype(np.float64).round(6)
LOSS_LEVELS: Final = 9
"""The loss is taken at the first nine levels, 0.1 to 0.9: pinned."""
MEDIAN: Final = int(np.flatnonzero(LEVELS == 0.5)[0])
COVERAGE_LEVELS: Final = (0.9, 0.95, 0.99)
DAY_SECONDS: Final = 86_400
HOUR_SECONDS: Final = 3600
HOURS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMeasures:
    """One model's figures for one resource and horizon; None where nothing defines them."""

    wql: float | None
    """Weighted quantile loss: 2 x sum of pinball over 0.1 to 0.9 / (9 x sum |u|), pooled."""
    mase_median: float | None
    """Over series: mean absolute error of the median / that of yesterday's value, in sample."""
    mase_mean: float | None
    coverage: Mapping[float, float | None]
    """Share of samples at or below the quantile, by level."""
    series: int
    """How many had a sample that counts."""
    series_without_scale: int
    """Of those, how many never differ from the day before, or have no day before: they have no MASE."""


class PathTally:
    """Sums while origins are worked through; the last axis of each array is named by it."""

    def __init__(
        self, *, scale: NDArray[np.float64], horizons_steps: Sequence[int], origins: int, step_seconds: int
    ) -> None:
        """Start with nothing counted; ``scale`` (series,) is from `seasonal_scale`."""
        self.scale = scale
        self.horizons_steps = tuple(horizons_steps)
        self._step_seconds = step_seconds
        horizons, series, longest = len(self.horizons_steps), scale.size, self.horizons_steps[-1]
        self.loss_by_origin = np.zeros((horizons, origins))
        """Sum of pinball losses over `LOSS_LEVELS` levels."""
        self.size_by_origin = np.zeros((horizons, origins))
        """Sum of |u|."""
        self.loss_by_series = np.zeros((horizons, series))
        self.size_by_series = np.zeros((horizons, series))
        self.error_by_series = np.zeros((horizons, series))
        """Sum of absolute errors of the median."""
        self.samples_by_series = np.zeros((horizons, series), dtype=np.int64)
        self.hits_by_level = np.zeros((horizons, LEVELS.size), dtype=np.int64)
        """Samples at or below each quantile."""
        self.loss_by_step = np.zeros(longest)
        self.size_by_step = np.zeros(longest)
        self.loss_by_hour = np.zeros(HOURS)
        """By the hour of day, UTC, in which the step begins; over the longest horizon."""
        self.size_by_hour = np.zeros(HOURS)

    def add(self, origin: int, paths: Paths, came: NDArray[np.float32]) -> None:
        """Count the paths of the origin with number ``origin`` against what ``came`` (steps, series)."""
        present = ~np.isnan(came)
        u = np.where(present, came, 0).astype(np.float64)
        size = np.abs(u)
        loss = np.zeros(u.shape)
        error = np.zeros(u.shape)
        for at, level in enumerate(LEVELS):
            over = np.where(present, u - paths.quantiles[at], 0)
            if at < LOSS_LEVELS:
                loss += np.maximum(level * over, (level - 1) * over)
            if at == MEDIAN:
                error = np.abs(over)
            below = present & (came <= paths.quantiles[at])
            for row, steps in enumerate(self.horizons_steps):
                self.hits_by_level[row, at] += np.count_nonzero(below[:steps])
        for row, steps in enumerate(self.horizons_steps):
            self.loss_by_origin[row, origin] += loss[:steps].sum()
            self.size_by_origin[row, origin] += size[:steps].sum()
            self.loss_by_series[row] += loss[:steps].sum(axis=0)
            self.size_by_series[row] += size[:steps].sum(axis=0)
            self.error_by_series[row] += error[:steps].sum(axis=0)
            self.samples_by_series[row] += present[:steps].sum(axis=0)
        self.loss_by_step += loss.sum(axis=1)
        self.size_by_step += size.sum(axis=1)
        begins = paths.end_seconds + np.arange(u.shape[0]) * self._step_seconds
        hour = begins // HOUR_SECONDS % HOURS
        self.loss_by_hour += np.bincount(hour, loss.sum(axis=1), HOURS)
        self.size_by_hour += np.bincount(hour, size.sum(axis=1), HOURS)

    def mase_by_series(self, horizon: int) -> NDArray[np.float64]:
        """Return each series' scaled error (series,) at a horizon (row); NaN without sample or scale."""
        with np.errstate(invalid="ignore", divide="ignore"):
            error = self.error_by_series[horizon] / self.samples_by_series[horizon]
            return np.where(self.scale > 0, error / self.scale, np.nan)

    def calibration(self, horizon: int) -> NDArray[np.float64]:
        """Return the share of samples at or below each of `LEVELS`, at a horizon (row); NaN if none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.hits_by_level[horizon] / self.samples_by_series[horizon].sum()

    def measures(self, horizon: int) -> PathMeasures:
        """Return the figures of a horizon (row)."""
        mase = self.mase_by_series(horizon)
        known = mase[~np.isnan(mase)]
        counted = self.samples_by_series[horizon] > 0
        loss = wql(self.loss_by_origin[horizon].sum(), self.size_by_origin[horizon].sum())
        reached = self.calibration(horizon)
        return PathMeasures(
            wql=_known(float(loss)),
            mase_median=float(np.median(known)) if known.size else None,
            mase_mean=float(known.mean()) if known.size else None,
            coverage={
                level: _known(float(reached[np.flatnonzero(level == LEVELS)[0]])) for level in COVERAGE_LEVELS
            },
            series=int(counted.sum()),
            series_without_scale=int((counted & ~(self.scale > 0)).sum()),
        )


def wql(loss: NDArray[np.float64] | float, size: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return the weighted quantile loss of sums of pinball losses and of |u|; NaN where |u| sums to 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = 2 * np.asarray(loss) / (LOSS_LEVELS * np.asarray(size))
    return np.where(np.asarray(size) > 0, ratio, np.nan)


def seasonal_scale(shares: NDArray[np.float32], step_seconds: int) -> NDArray[np.float64]:
    """Return mean |y_t - y_(t - 1 day)| of each series (steps, series); NaN without such a pair.

    Hyndman and Koehler, Another look at measures of forecast accuracy, 2006, with a season of one day.
    """
    season = max(1, round(DAY_SECONDS / step_seconds))
    if shares.shape[0] <= season:
        return np.full(shares.shape[1], np.nan)
    moved = np.abs(shares[season:].astype(np.float64) - shares[:-season])
    pairs = np.count_nonzero(~np.isnan(moved), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(moved, axis=0) / pairs


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
