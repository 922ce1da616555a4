"""Plain distributions of what comes next, which the gate blends: each is right for some, some of the time.

| candidate        | says                                                                              |
|------------------|-----------------------------------------------------------------------------------|
| `last`           | the last sample                                                                   |
| `drifting`       | the last sample, and how far the series strays from it in so much time            |
| `hour` .. `week` | what was seen in the last hour, three hours, day, week                            |
| `profile`        | what was seen at this time of day in the last week                                |
| `recentred`      | the same, moved by how far the last sample is from what is usual now              |

All are quantiles at `PATH_LEVELS`, in shares of capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.histories import lagged, sample_quantiles
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, WEEK_SECONDS, steps_in
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANDIDATES: Final = (*("last", "drifting", "hour", "three_hours", "day", "week", "profile", "recentred"),)
WINDOWS_SECONDS: Final = (HOUR_SECONDS, 3 * HOUR_SECONDS, DAY_SECONDS, WEEK_SECONDS)
"""Of the candidates `hour` .. `week`."""
KNOTS_SECONDS: Final = (300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 57_600, DAY_SECONDS)
"""Horizons at which straying is measured; linear between them, and the last one's beyond."""
SAMPLES_MAX: Final = 160
"""Samples a window's quantiles are taken from: longer windows are thinned evenly."""
STRAYS_MAX: Final = 400
"""Past moments that straying is measured from, evenly over `STRAY_SECONDS`."""
STRAY_SECONDS: Final = WEEK_SECONDS
USUAL_DAYS: Final = 7
_LEVELS: Final = tuple(float(level) for level in PATH_LEVELS)
MEDIAN: Final = _LEVELS.index(0.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strays:
    """How far series strayed from their last sample, as measured at some moments."""

    ends: NDArray[np.intp]
    """(moments,) rising steps; what is measured at one holds until the next."""
    knots: NDArray[np.intp]
    """(knots,) horizons in steps."""
    quantiles: NDArray[np.float32]
    """(moments, knots, series, levels) of the change from one sample to that so many steps later."""

    def at(
        self, origins: NDArray[np.intp], ahead: NDArray[np.intp], series: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return (rows, levels) for rows of one origin, one horizon and one series each."""
        moment = np.maximum(np.searchsorted(self.ends, origins, side="right") - 1, 0)
        upper = np.minimum(np.searchsorted(self.knots, ahead), self.knots.size - 1)
        lower = np.maximum(upper - 1, 0)
        span = np.maximum(self.knots[upper] - self.knots[lower], 1)
        part = np.clip((ahead - self.knots[lower]) / span, 0, 1).astype(np.float32)[:, None]
        low = self.quantiles[moment, lower, series]
        return low + part * (self.quantiles[moment, upper, series] - low)


def strays(history: NDArray[np.float32], ends: NDArray[np.intp], step_seconds: int) -> Strays:
    """Measure how far series stray within each horizon, from the week before each of ``ends``."""
    knots = np.unique([steps_in(seconds, step_seconds) for seconds in KNOTS_SECONDS]).astype(np.intp)
    week = steps_in(STRAY_SECONDS, step_seconds)
    measured = [_strays_before(history, int(end), knots, week) for end in ends]
    quantiles = np.stack(measured).transpose(0, 1, 3, 2)
    return Strays(ends=ends, knots=knots, quantiles=np.ascontiguousarray(quantiles))


def _strays_before(
    history: NDArray[np.float32], end: int, knots: NDArray[np.intp], week: int
) -> NDArray[np.float32]:
    """Return quantiles of how far series strayed in each horizon before ``end``: (knots, levels, series).

    Where the history is too short for a horizon, they are those of the longest that it is not too short for.
    """
    found = np.zeros((knots.size, len(_LEVELS), history.shape[1]), dtype=np.float32)
    for at, knot in enumerate(knots):
        first, last = max(0, end - week), end - int(knot) - 1
        if last <= first:
            found[at] = found[max(at - 1, 0)]
            continue
        starts = np.unique(np.linspace(first, last, min(STRAYS_MAX, last - first + 1)).astype(np.intp))
        found[at] = sample_quantiles(history[starts + knot] - history[starts], _LEVELS)
    return found


def recent(history: NDArray[np.float32], origins: NDArray[np.intp], step_seconds: int) -> NDArray[np.float16]:
    """Return what was seen in each of the windows before each origin: (origins, windows, series, levels)."""
    found = np.empty((origins.size, len(WINDOWS_SECONDS), history.shape[1], len(_LEVELS)), dtype=np.float16)
    for at, seconds in enumerate(WINDOWS_SECONDS):
        window = steps_in(seconds, step_seconds)
        back = np.unique(np.linspace(0, window - 1, min(window, SAMPLES_MAX)).astype(np.intp))
        for row, origin in enumerate(origins):
            seen = history[np.maximum(origin - 1 - back, 0)]
            found[row, at] = sample_quantiles(seen, _LEVELS).T
    return found


def usual(history: NDArray[np.float32], at: NDArray[np.intp], step_seconds: int) -> NDArray[np.float16]:
    """Return what was seen about each position's time of day on days before: (positions, series, levels).

    A position may lie up to a day after the end. Of the day just before it only what is no later in the
    day counts: what comes after is not known yet to who looks a whole day ahead.
    """
    day = steps_in(DAY_SECONDS, step_seconds)
    near = max(1, steps_in(600, step_seconds)) if day > USUAL_DAYS else 0
    shifts = [(back, shift) for back in range(1, USUAL_DAYS + 1) for shift in (-near, 0, near)]
    lags = [back * day - shift for back, shift in shifts if back > 1 or shift <= 0]
    seen = np.stack([lagged(history, at, lag, day) for lag in lags])
    return sample_quantiles(seen, _LEVELS).transpose(1, 2, 0).astype(np.float16)
