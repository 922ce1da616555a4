"""How far off a point path has been: quantiles from a model's own past errors, by steps ahead.

Errors are taken at past origins, spread over the history, and at a few horizons (knots); between knots
they are interpolated over the logarithm of the steps ahead. No distribution is assumed: series of VMs are
spiky and one-sided. The same past decides how much of the newest residual a path carries to each knot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.windows import DAY_SECONDS, steps_in
from tidegate.model.paths import PATH_LEVELS, Paths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel

KNOT_STEPS: Final = (1, 2, 3, 6, 12, 24, 48, 96, 144, 192, 288)
"""Where errors are looked at, in steps ahead; beyond, each next is twice as far."""
ORIGINS_MAX: Final = 300
"""Past origins an error distribution is made from: the 0.99 level of fewer is a guess."""
ORIGIN_DAYS_MAX: Final = 14
"""How far back the origins reach: what a workload did a month ago says little of its spread now."""
ERRORS_MIN: Final = 8
"""With fewer errors at a knot, those of the knot before serve; with fewer everywhere, nothing is known."""
CARRIED: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Shares of the newest residual a path may carry to a knot."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """What past origins taught about each series, by knot."""

    knots: NDArray[np.intp]
    """(knots,) steps ahead, rising."""
    errors: NDArray[np.float32]
    """(levels, knots, series) quantiles of sample minus point; NaN where too few were seen."""
    carried: NDArray[np.float32] | None = None
    """(knots, series) share of the newest residual that still counts, 0-1; None: there is no residual."""

    def of(self, series: NDArray[np.intp]) -> Spread:
        """Return the spread of some of the series."""
        carried = None if self.carried is None else self.carried[:, series]
        return replace(self, errors=self.errors[:, :, series], carried=carried)


def knots_to(steps: int) -> NDArray[np.intp]:
    """Return the knots up to ``steps`` ahead, which is the last."""
    knots = [knot for knot in KNOT_STEPS if knot < steps]
    while knots and knots[-1] >= KNOT_STEPS[-1] and knots[-1] * 2 < steps:
        knots.append(knots[-1] * 2)
    return np.array([*knots, steps], dtype=np.intp)


def origins_of(steps: int, step_seconds: int, first: int = 0) -> NDArray[np.intp]:
    """Return rows of past origins, evenly over the newest days, the last row excluded.

    Their stride shares no factor with the day, so that every time of day has its turn.
    """
    day = steps_in(DAY_SECONDS, step_seconds)
    start = max(first, steps - 1 - ORIGIN_DAYS_MAX * day)
    stride = max(1, -(-(steps - 1 - start) // ORIGINS_MAX))
    while gcd(stride, day) > 1:
        stride += 1
    return np.arange(steps - 2, start - 1, -stride, dtype=np.intp)[::-1]


def ahead_of(
    samples: NDArray[np.float32], origins: NDArray[np.intp], knots: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the samples (origins, knots, series) that followed; NaN after the end and before the start."""
    rows = origins[:, None] + knots
    inside = (rows >= 0) & (rows < samples.shape[0])
    found = samples[np.where(inside, rows, 0)]
    found[~inside] = np.nan
    return found


def quantiles_present(values: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return quantiles (levels, ...) over the first axis of what is present; NaN where nothing is.

    Level p of n values is the one of rank p (n + 1), between ranks the line (Weibull 1939): the next value
    passes the largest of n with probability 1 / (n + 1), so tails are not told too thin.
    """
    if values.shape[0] == 0:
        return np.full((levels.size, *values.shape[1:]), np.nan, dtype=np.float32)
    ordered = np.sort(np.moveaxis(values, 0, -1), axis=-1)  # NaN last
    count = (~np.isnan(ordered)).sum(axis=-1)
    last = np.maximum(count - 1, 0)
    rank = np.clip(levels.reshape(-1, *[1] * count.ndim) * (count + 1) - 1, 0, last)
    low = rank.astype(np.intp)
    high = np.minimum(low + 1, last)
    lower = np.take_along_axis(ordered[None], low[..., None], axis=-1)[..., 0]
    upper = np.take_along_axis(ordered[None], high[..., None], axis=-1)[..., 0]
    return (lower + (upper - lower) * (rank - low)).astype(np.float32)


def spread_of(
    errors: NDArray[np.float32], knots: NDArray[np.intp], carried: NDArray[np.float32] | None = None
) -> Spread:
    """Return the spread of errors (origins, knots, series), NaN where there was no sample."""
    enough = (~np.isnan(errors)).sum(axis=0) >= ERRORS_MIN
    found = np.where(enough, quantiles_present(errors, PATH_LEVELS), np.float32(np.nan))
    for at in range(1, knots.size):
        found[:, at] = np.where(enough[at], found[:, at], found[:, at - 1])
        enough[at] |= enough[at - 1]
    return Spread(knots=knots, errors=found, carried=carried)


def learned_spread(
    samples: NDArray[np.float32],
    base: NDArray[np.float32],
    residual: NDArray[np.float32],
    knots: NDArray[np.intp],
) -> tuple[Spread, NDArray[np.float32]]:
    """Learn how much of the residual to carry and what errors are left, and the loss that had.

    ``samples`` and ``base`` (origins, knots, series) are what came and what was expected without the
    newest residual (origins, series). Returns the spread and its mean absolute error (knots, series),
    NaN where nothing came: absolute, because that is what the median of a path is judged by.
    """
    left = samples - base
    best = np.full(left.shape[1:], np.inf, dtype=np.float32)
    carried = np.zeros(left.shape[1:], dtype=np.float32)
    present = ~np.isnan(left) & ~np.isnan(residual)[:, None]
    count = present.sum(axis=0)
    for share in CARRIED:
        off = np.abs(left - np.float32(share) * residual[:, None])
        loss = np.where(present, off, 0).sum(axis=0) / np.maximum(count, 1)
        better = (loss < best) & (count >= ERRORS_MIN)
        best = np.where(better, loss, best)
        carried = np.where(better, np.float32(share), carried)
    for at in range(1, knots.size):  # too few errors so far out: as at the knot before
        carried[at] = np.where(count[at] >= ERRORS_MIN, carried[at], carried[at - 1])
    point = np.clip(base + carried * residual[:, None], 0, 1)
    spread = spread_of(samples - point, knots, carried)
    return spread, np.where(np.isfinite(best), best, np.float32(np.nan))


def at_steps(knots: NDArray[np.intp], values: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Interpolate values (..., knots, series) to (..., steps, series) over log steps; flat after the last."""
    position = np.interp(np.log(np.arange(1, steps + 1)), np.log(knots), np.arange(knots.size))
    low = np.minimum(position.astype(np.intp), max(knots.size - 2, 0))
    high = np.minimum(low + 1, knots.size - 1)
    part = (position - low).astype(np.float32)[:, None]
    lower, upper = values[..., low, :], values[..., high, :]
    return np.where(part == 0, lower, np.where(part == 1, upper, lower + (upper - lower) * part))


def paths_around(
    panel: Panel,
    point: NDArray[np.float32],
    spread: Spread,
    residual: NDArray[np.float32] | None = None,
    *,
    median_is_point: bool = False,
) -> Paths:
    """Return a point path (steps, series) and its newest residual (series,) with the spread around it.

    Where no errors were seen the quantiles run evenly from 0 over the point to 1; where the point is NaN
    too, evenly from 0 to 1. ``median_is_point`` keeps the point as the median, however biased it was.
    """
    steps = point.shape[0]
    if residual is not None and spread.carried is not None:
        still = at_steps(spread.knots, spread.carried, steps)
        point = point + still * np.where(np.isnan(residual), np.float32(0), residual)
    point = np.clip(np.where(np.isnan(point), np.float32(0.5), point), 0, 1)
    errors = at_steps(spread.knots, spread.errors, steps)
    if median_is_point:
        level = PATH_LEVELS[:, None, None]
        errors = np.where(level < 0.5, np.minimum(errors, 0), np.where(level > 0.5, np.maximum(errors, 0), 0))
        errors = np.where(np.isnan(spread.errors).any(axis=(0, 1)), np.float32(np.nan), errors)
    known = ~np.isnan(errors)
    quantiles = np.where(known, point + np.where(known, errors, 0), evenly(point))
    return paths_of(panel, quantiles)


def evenly(point: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return quantiles (levels, ...) of which only the median is known: evenly from 0 to it, and on to 1."""
    level = PATH_LEVELS.reshape(-1, *[1] * point.ndim)
    return np.where(level < 0.5, 2 * level * point, point + (2 * level - 1) * (1 - point))


def paths_of(panel: Panel, quantiles: NDArray[np.float32]) -> Paths:
    """Return quantiles (levels, steps, series) as paths of a panel: within 0-1, rising."""
    rising = np.maximum.accumulate(np.clip(quantiles, 0, 1), axis=0)
    return Paths(
        end_seconds=panel.end_seconds,
        step_seconds=panel.step_seconds,
        quantiles=rising.astype(np.float32, copy=False),
    )


def last_known(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each row with the newest sample known by then (steps, series); NaN before the first."""
    rows = np.where(np.isnan(shares), 0, np.arange(shares.shape[0])[:, None])
    return np.take_along_axis(shares, np.maximum.accumulate(rows, axis=0), axis=0)
