"""The profile: what is usual at this time of day, and how much of today's difference is still to come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.baseline import KINDS, at_times, baselines_of, ends_of
from tidegate.forecast.paths.spread import (
    Spread,
    ahead_of,
    knots_to,
    last_known,
    learned_spread,
    origins_of,
    paths_around,
)
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths

LEVEL_SECONDS: Final = (0, HOUR_SECONDS // 2, 2 * HOUR_SECONDS, 6 * HOUR_SECONDS, DAY_SECONDS)
"""Over how long the mean difference from the baseline is taken for a level that stays; 0: none is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learned:
    """What `fit` keeps of a panel."""

    names: tuple[str, ...]
    step_seconds: int
    kind: NDArray[np.intp]
    """(series,) which of `KINDS` describes each."""
    level: NDArray[np.intp]
    """(series,) which of `LEVEL_SECONDS` tells its level."""
    table: NDArray[np.float32]
    """(2, slots, series): the baseline of a weekday and of a weekend day."""
    past: NDArray[np.float32]
    """(steps, series): the newest days' baselines, each day's made without itself."""
    spread: Spread

    def rows_of(self, panel: Panel) -> NDArray[np.intp] | None:
        """Return where a panel's series are among those learned; None if not all are, or at another step."""
        if self.step_seconds != panel.step_seconds:
            return None
        if self.names == panel.names:
            return np.arange(len(self.names))
        at = {name: row for row, name in enumerate(self.names)}
        rows = [at.get(name, -1) for name in panel.names]
        return None if -1 in rows else np.array(rows, dtype=np.intp)

    def of(self, series: NDArray[np.intp]) -> Learned:
        """Return what was learned of some of the series."""
        return replace(
            self,
            names=tuple(self.names[at] for at in series),
            kind=self.kind[series],
            level=self.level[series],
            table=self.table[:, :, series],
            past=self.past[:, series],
            spread=self.spread.of(series),
        )


def learned_from(panel: Panel) -> Learned:
    """Choose each series' baseline and level, how long its residual lasts, and how far off they have been."""
    baselines = baselines_of(panel)
    kind, level, spread = learned_anchor(panel, baselines.past)
    series = np.arange(len(panel.names))
    return Learned(
        names=panel.names,
        step_seconds=panel.step_seconds,
        kind=kind,
        level=level,
        table=np.moveaxis(baselines.table[kind, :, :, series], 0, -1),
        past=baselines.past[kind, :, series].T,
        spread=spread,
    )


def learned_anchor(
    panel: Panel, pasts: NDArray[np.float32], *, first_origin_row: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp], Spread]:
    """Return which of several bases suits each series best, at which of `LEVEL_SECONDS`, and the spread.

    ``pasts`` (bases, newest steps, series) are what each base said of the newest steps; origins before
    ``first_origin_row`` of them do not count. Best is the least mean absolute error over all knots.
    """
    steps = pasts.shape[1]
    samples = panel.shares[panel.steps - steps :]
    knots = knots_to(steps_in(DAY_SECONDS, panel.step_seconds))
    origins = origins_of(steps, panel.step_seconds, first_origin_row)
    ahead = ahead_of(samples, origins, knots)
    spreads, losses = [], []
    for past in pasts:
        left = samples - past
        residual, base = last_known(left)[origins], ahead_of(past, origins, knots)
        for level in levels_of(left, panel.step_seconds):
            stays = level[origins]
            spread, loss = learned_spread(ahead, base + stays[:, None], residual - stays, knots)
            spreads.append(spread)
            losses.append(np.nan_to_num(loss).sum(axis=0))
    best = np.argmin(losses, axis=0)
    return best // len(LEVEL_SECONDS), best % len(LEVEL_SECONDS), _of_best(spreads, best)


def _of_best(spreads: list[Spread], best: NDArray[np.intp]) -> Spread:
    """Return each series' best spread."""
    series = np.arange(best.size)
    errors = np.stack([spread.errors for spread in spreads])[best, :, :, series]
    carried = np.stack([np.asarray(spread.carried) for spread in spreads])[best, :, series]
    return Spread(knots=spreads[0].knots, errors=np.moveaxis(errors, 0, -1), carried=carried.T)


def levels_of(left: NDArray[np.float32], step_seconds: int) -> list[NDArray[np.float32]]:
    """Return the mean of what is present of ``left`` (steps, series) over each trailing level window."""
    present = ~np.isnan(left)
    start = np.zeros_like(left[:1], dtype=np.float64)
    total = np.concatenate((start, np.cumsum(np.where(present, left, 0), axis=0, dtype=np.float64)))
    count = np.concatenate((start, np.cumsum(present, axis=0)))
    end = np.arange(1, left.shape[0] + 1)
    levels = []
    for seconds in LEVEL_SECONDS:
        begin = end if seconds == 0 else np.maximum(end - steps_in(seconds, step_seconds), 0)
        mean = (total[end] - total[begin]) / np.maximum(count[end] - count[begin], 1)
        levels.append(mean.astype(np.float32))
    return levels


class Usual:
    """The baseline by time of day and a level, plus the newest residual as far as it lasted in the past."""

    def __init__(self, *, seed: int = 0) -> None:
        """Nothing here is left to chance."""
        self._learned: Learned | None = None

    def fit(self, panel: Panel) -> None:
        """Learn the baseline of each series, how long its residuals last, and its errors."""
        self._learned = learned_from(panel)

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return the baseline and what is left of the newest residual; other series are learned here."""
        return usual_paths(panel, learned_for(panel, self._learned), horizon_steps)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which baseline each series of the last fit has."""
        return () if self._learned is None else tuple(KINDS[at] for at in self._learned.kind)


def learned_for(panel: Panel, learned: Learned | None) -> Learned:
    """Return what was learned of the panel's series, else learn from the panel."""
    rows = None if learned is None else learned.rows_of(panel)
    return learned_from(panel) if learned is None or rows is None else learned.of(rows)


def usual_paths(panel: Panel, learned: Learned, horizon_steps: int) -> Paths:
    """Return the paths of a panel from what was learned of the same series.

    Series of which nothing was known then, but is now, are learned on the spot.
    """
    paths = _paths(panel, learned, horizon_steps)
    new = np.isnan(learned.table).all(axis=(0, 1)) & ~np.isnan(panel.shares).all(axis=0)
    if new.any():
        some = panel.of(np.flatnonzero(new))
        paths.quantiles[:, :, new] = _paths(some, learned_from(some), horizon_steps).quantiles
    return paths


def _paths(panel: Panel, learned: Learned, horizon_steps: int) -> Paths:
    ends = ends_of(panel, panel.steps, panel.steps + horizon_steps)
    base = at_times(learned.table, ends, panel.step_seconds)
    newest = min(panel.steps, steps_in(DAY_SECONDS, panel.step_seconds))
    now = at_times(learned.table, ends_of(panel, panel.steps - newest, panel.steps), panel.step_seconds)
    return anchored_paths(panel, now, base, learned.spread, learned.level)


def anchored_paths(
    panel: Panel, now: NDArray[np.float32], base: NDArray[np.float32], spread: Spread, level: NDArray[np.intp]
) -> Paths:
    """Return paths on a base (steps, series): its level and newest residual are those against ``now``.

    ``now`` (newest steps, series) is what the base says of the panel's newest steps, of a day at least.
    """
    left = panel.shares[panel.steps - now.shape[0] :] - now
    if left.shape[0] == 0:
        return paths_around(panel, base, spread, np.full(base.shape[1], np.nan, dtype=np.float32))
    levels = np.stack([each[-1] for each in levels_of(left, panel.step_seconds)])
    stays = np.take_along_axis(levels, level[None], axis=0)[0]
    return paths_around(panel, base + stays, spread, last_known(left)[-1] - stays)
