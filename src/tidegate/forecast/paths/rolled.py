"""Seasons taken off and linear models of the rest, rolled forward over newer samples without a new fit.

The rest is looked at in means of 15 minutes that end on the quarter of an hour; between their centres the
path is a line, the season keeps the panel's own step, and the newest sample anchors it as far as residuals
lasted in the past.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.baseline import at_times, ends_of
from tidegate.forecast.paths.linear import Linear, ahead, filtered
from tidegate.forecast.paths.spread import (
    Spread,
    ahead_of,
    knots_to,
    last_known,
    learned_spread,
    origins_of,
    paths_around,
)
from tidegate.forecast.windows import DAY_SECONDS, steps_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths

MEAN_SECONDS: Final = 900
"""Fits see means of this long: a third of the points of 5-minute steps, a tenth of the time for ARIMA."""
ROLLED_DAYS: Final = 3
"""How far back the filter starts when newer samples come: innovations of older days have faded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rolled:
    """What is rolled forward: the season of each series, the model of the rest, and what errors both had."""

    table: NDArray[np.float32]
    """(2, slots, series): the season of a weekday and of a weekend day, at the panel's step."""
    linear: Linear
    spread: Spread

    def of(self, series: NDArray[np.intp]) -> Rolled:
        """Return what is rolled forward of some of the series."""
        return Rolled(
            table=self.table[:, :, series], linear=self.linear.of(series), spread=self.spread.of(series)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Means:
    """Means over spans of `MEAN_SECONDS` that lie whole within some rows."""

    shares: NDArray[np.float32]
    """(spans, series); NaN where nothing is present."""
    last_row: NDArray[np.intp]
    """(spans,) the row each ends with."""
    span_steps: int


def span_steps(step_seconds: int) -> int:
    """Return how many steps one mean covers: one where steps are as long already."""
    return max(1, round(MEAN_SECONDS / step_seconds))


def means_of(values: NDArray[np.float32], start_seconds: int, step_seconds: int) -> Means:
    """Return the means of values (steps, series) of which the first step starts at ``start_seconds``."""
    span = span_steps(step_seconds)
    first = -(start_seconds // step_seconds) % span
    count = max(0, (values.shape[0] - first) // span)
    whole = values[first : first + count * span].reshape(count, span, values.shape[1])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        means = np.nanmean(whole, axis=1) if count else whole.reshape(0, values.shape[1])
    return Means(shares=means, last_row=first - 1 + span * np.arange(1, count + 1), span_steps=span)


def learned_rolling(
    panel: Panel,
    table: NDArray[np.float32],
    past: NDArray[np.float32],
    linear: Linear,
    *,
    first_origin_row: int = 0,
) -> Rolled:
    """Roll a fit over the past it is from and learn its errors.

    ``past`` (newest steps, series) is the season as it could be said without the day it is compared with;
    origins before ``first_origin_row`` of it do not count.
    """
    first = panel.steps - past.shape[0]
    samples = panel.shares[first:]
    left = samples - past
    means = means_of(left, panel.start_seconds + first * panel.step_seconds, panel.step_seconds)
    knots = knots_to(steps_in(DAY_SECONDS, panel.step_seconds))
    begin = int(np.searchsorted(means.last_row, first_origin_row))
    at = origins_of(means.shares.shape[0], means.span_steps * panel.step_seconds, begin)
    rows = means.last_row[at]
    filled, innovations = filtered(linear, means.shares)
    spans = int(knots[-1]) // means.span_steps + 2
    rest = ahead(linear, filled, innovations, at, spans)
    base = np.moveaxis(between(rest, means.span_steps, knots), 0, 1) + ahead_of(past, rows, knots)
    now = between(rest, means.span_steps, np.zeros(1, dtype=np.intp))[0]
    residual = last_known(left)[rows] - now
    spread, _ = learned_spread(ahead_of(samples, rows, knots), base, residual.astype(np.float32), knots)
    return Rolled(table=table, linear=linear, spread=spread)


def rolled_paths(panel: Panel, rolled: Rolled, horizon_steps: int) -> Paths:
    """Return the paths of a panel of the same series, from its newest samples."""
    newest = min(panel.steps, ROLLED_DAYS * steps_in(DAY_SECONDS, panel.step_seconds))
    ends = ends_of(panel, panel.steps - newest, panel.steps)
    left = panel.shares[panel.steps - newest :] - at_times(rolled.table, ends, panel.step_seconds)
    season = at_times(
        rolled.table, ends_of(panel, panel.steps, panel.steps + horizon_steps), panel.step_seconds
    )
    means = means_of(left, panel.end_seconds - newest * panel.step_seconds, panel.step_seconds)
    if means.shares.shape[0] == 0:
        return paths_around(panel, season, rolled.spread, np.full(season.shape[1], np.nan, dtype=np.float32))
    filled, innovations = filtered(rolled.linear, means.shares)
    since = newest - 1 - int(means.last_row[-1])
    steps = since + np.arange(horizon_steps + 1)
    spans = int(steps[-1]) // means.span_steps + 2
    last = np.array([filled.shape[0] - 1])
    rest = ahead(rolled.linear, filled, innovations, last, spans)[:, 0]
    path = between(rest, means.span_steps, steps)
    return paths_around(panel, season + path[1:], rolled.spread, last_known(left)[-1] - path[0])


def between(rest: NDArray[np.float32], span_steps: int, steps: NDArray[np.intp]) -> NDArray[np.float32]:
    """Read means (1 + spans, ...) off at single steps (steps, ...): on the line between their centres.

    Mean 0 is the last one seen; step k is the k-th after its end, and 0 its last.
    """
    position = np.maximum((steps - 0.5) / span_steps + 0.5, 0)
    low = np.minimum(position.astype(np.intp), rest.shape[0] - 2)
    part = (position - low).astype(np.float32).reshape(-1, *[1] * (rest.ndim - 1))
    return rest[low] + (rest[low + 1] - rest[low]) * part
