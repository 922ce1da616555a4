"""The yardsticks: paths a person would draw by hand, with the spread of their own past errors around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from tidegate.forecast.paths.spread import (
    ahead_of,
    evenly,
    knots_to,
    last_known,
    origins_of,
    paths_around,
    paths_of,
    quantiles_present,
    spread_of,
)
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths

PERCENTILE_DAYS: Final = 7
PRESENT_MIN: Final = 8
"""A distribution of fewer samples is none: the newest of them is then the median of an even spread."""


class _Point:
    """A point path that needs no fit; who knows its past answers can say how far off it was."""

    median_is_point: ClassVar[bool] = True

    def __init__(self, *, seed: int = 0) -> None:
        """Nothing here is left to chance."""

    def fit(self, panel: Panel) -> None:
        """Learn nothing: the panel asked about holds it all."""

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return the point path with the spread of its errors over the panel's past."""
        if panel.steps == 0:
            return paths_of(panel, _unknown(panel, horizon_steps))
        history = self._history(panel)
        knots = knots_to(horizon_steps)
        origins = origins_of(panel.steps, panel.step_seconds)
        past = self._points(panel, history, origins, knots)
        spread = spread_of(ahead_of(panel.shares, origins, knots) - past, knots)
        now = np.array([panel.steps - 1], dtype=np.intp)
        point = self._points(panel, history, now, np.arange(1, horizon_steps + 1))[0]
        return paths_around(panel, point, spread, median_is_point=self.median_is_point)

    def _history(self, panel: Panel) -> NDArray[np.float32]:
        """Return what the points are read from (steps, series)."""
        return last_known(panel.shares)

    def _points(
        self, panel: Panel, history: NDArray[np.float32], origins: NDArray[np.intp], ahead: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return what was said at the origins (origins, ahead, series)."""
        return np.repeat(history[origins][:, None], ahead.size, axis=1)


class Last(_Point):
    """What was used last will be used."""


class SeasonalNaive(_Point):
    """What was used at this time yesterday; the last value where that is missing."""

    def _points(
        self, panel: Panel, history: NDArray[np.float32], origins: NDArray[np.intp], ahead: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        day = steps_in(DAY_SECONDS, panel.step_seconds)
        yesterday = ahead_of(panel.shares, origins, ahead - day * (-(-ahead // day)))
        return np.where(np.isnan(yesterday), history[origins][:, None], yesterday)


class RecentPeak(_Point):
    """The maximum of the last hour, as the point; what usually follows is less, and its quantiles say so."""

    median_is_point = False

    def _history(self, panel: Panel) -> NDArray[np.float32]:
        peak = panel.shares.copy()
        for back in range(1, min(steps_in(HOUR_SECONDS, panel.step_seconds), panel.steps)):
            np.fmax(peak[back:], panel.shares[:-back], out=peak[back:])
        return last_known(peak)


class Percentile:
    """The quantiles of the last seven days, the same at every step ahead."""

    def __init__(self, *, seed: int = 0) -> None:
        """Nothing here is left to chance."""

    def fit(self, panel: Panel) -> None:
        """Learn nothing: the panel asked about holds it all."""

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return the quantiles of the last seven days."""
        if panel.steps == 0:
            return paths_of(panel, _unknown(panel, horizon_steps))
        week = panel.shares[-PERCENTILE_DAYS * steps_in(DAY_SECONDS, panel.step_seconds) :]
        last = last_known(week)[-1]
        known = (~np.isnan(week)).sum(axis=0) >= PRESENT_MIN
        unknown = evenly(np.where(np.isnan(last), np.float32(0.5), last))
        quantiles = np.where(known, quantiles_present(week, PATH_LEVELS), unknown)
        return paths_of(panel, np.repeat(quantiles[:, None], horizon_steps, axis=1))


def _unknown(panel: Panel, horizon_steps: int) -> NDArray[np.float32]:
    """Return what is known of series without a history (levels, steps, series): 0 to 1, evenly."""
    return evenly(np.full((horizon_steps, len(panel.names)), 0.5, dtype=np.float32))
