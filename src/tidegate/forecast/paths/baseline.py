"""A baseline by time of day, weekday or weekend: what is usual, before anything of today is known.

Which of a few baselines describes a series is decided by its own past: flat, each slot of the day by itself
(backups and cron jobs), neighbouring slots together (people), and both with weekends apart. Each is a median
over days; for the past, a median without the day itself, so that errors against it are honest ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel

BASELINE_DAYS: Final = 14
"""Days of history a baseline is made from: two of each weekday, four of a weekend."""
SMOOTHED_SECONDS: Final = HOUR_SECONDS
"""Neighbouring slots that are taken together where single slots are noise."""
DAYS_MIN: Final = 2
"""Days of one kind, the day itself not counted, below which all days serve."""
KINDS: Final = ("flat", "slots", "smooth", "weekday slots", "weekday smooth")
DAYS_THURSDAY: Final = 4
"""1970-01-01 was a Thursday: days since then plus this, modulo 7, count from Sunday."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baselines:
    """Each kind of baseline for each series: of the days to come, and of the past days without themselves."""

    table: NDArray[np.float32]
    """(kinds, 2, slots, series): of a weekday and of a weekend day; NaN where nothing is known."""
    past: NDArray[np.float32]
    """(kinds, steps, series) over the newest `BASELINE_DAYS` of the panel."""


def slot_and_kind(
    end_seconds: NDArray[np.int64], step_seconds: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the slot of the day, and 1 on weekend days else 0, of steps that end at these times (UTC)."""
    start = end_seconds - step_seconds
    day, second = start // DAY_SECONDS, start % DAY_SECONDS
    weekend = ((day + DAYS_THURSDAY) % 7 % 6 == 0).astype(np.intp)
    return (second // step_seconds).astype(np.intp), weekend


def at_times(
    table: NDArray[np.float32], end_seconds: NDArray[np.int64], step_seconds: int
) -> NDArray[np.float32]:
    """Return the values (times, ...) of a table (2, slots, ...) for steps that end at these times."""
    slot, kind = slot_and_kind(end_seconds, step_seconds)
    return table[kind, np.minimum(slot, table.shape[1] - 1)]


def ends_of(panel: Panel, first: int, last: int) -> NDArray[np.int64]:
    """Return when the steps ``first`` to ``last`` (excluded) end, seconds since 1970."""
    return panel.start_seconds + panel.step_seconds * (np.arange(first, last, dtype=np.int64) + 1)


def baselines_of(panel: Panel) -> Baselines:
    """Make every kind of baseline of every series."""
    slots = steps_in(DAY_SECONDS, panel.step_seconds)
    first = max(0, panel.steps - BASELINE_DAYS * slots)
    ends = ends_of(panel, first, panel.steps)
    slot, weekend = slot_and_kind(ends, panel.step_seconds)
    day = (ends - panel.step_seconds) // DAY_SECONDS
    day = (day - (day[0] if day.size else 0)).astype(np.intp)
    series = panel.shares.shape[1]
    days = int(day[-1]) + 1 if day.size else 1
    grid = np.full((days, slots, series), np.nan, dtype=np.float32)
    at = np.minimum(slot, slots - 1)
    grid[day, at] = panel.shares[first:]
    kind = np.zeros(days, dtype=np.intp)
    kind[day] = weekend
    flat = _flat(grid)
    table, past = _slots(grid, flat)
    weekly, weekly_past = _by_kind(grid, kind, table, past)
    width = steps_in(SMOOTHED_SECONDS, panel.step_seconds)
    always = np.stack((table, table))
    tables = (np.broadcast_to(flat, weekly.shape), always, _smoothed(always, width), weekly)
    pasts = (np.broadcast_to(flat, grid.shape), past, _smoothed(past, width), weekly_past)
    return Baselines(
        table=np.stack((*tables, _smoothed(weekly, width))),
        past=np.stack([each[day, at] for each in (*pasts, _smoothed(weekly_past, width))]),
    )


def _flat(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each series (series,)."""
    median, _ = _medians(grid.reshape(-1, grid.shape[2]))
    return median


def _slots(
    grid: NDArray[np.float32], flat: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the median day (slots, series), each day's without itself; flat where there are no days."""
    median, without = _medians(grid)
    return np.where(np.isnan(median), flat, median), np.where(np.isnan(without), flat, without)


def _by_kind(
    grid: NDArray[np.float32], kind: NDArray[np.intp], table: NDArray[np.float32], past: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the same for weekdays and weekends apart, where there are days enough of a kind."""
    tables, pasts = [table, table], past.copy()
    for of in (0, 1):
        days = kind == of
        if days.sum() < DAYS_MIN:
            continue
        median, without = _medians(grid[days])
        count = (~np.isnan(grid[days])).sum(axis=0)
        tables[of] = np.where(count >= DAYS_MIN, median, table)
        pasts[days] = np.where(count > DAYS_MIN, without, past[days])
    return np.stack(tables), pasts


def _medians(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the median over the first axis of what is present, and for each entry that of the others.

    One sort serves both: without its entry of rank r, the ranks above r move down by one.
    """
    order = np.argsort(values, axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(values.shape[0]).reshape(-1, *[1] * (values.ndim - 1)), axis=0)
    count = (~np.isnan(values)).sum(axis=0)
    others = np.where(rank < count, count - 1, count)  # a missing entry leaves all the others

    def between(low: NDArray[np.intp], high: NDArray[np.intp]) -> NDArray[np.float32]:
        lower = np.take_along_axis(ordered, np.maximum(low, 0), axis=0)
        upper = np.take_along_axis(ordered, np.maximum(high, 0), axis=0)
        return (lower + upper) / np.float32(2)

    median = between(((count - 1) // 2)[None], (count // 2)[None])[0]
    low, high = (others - 1) // 2, others // 2
    without = between(low + (low >= rank), np.minimum(high + (high >= rank), values.shape[0] - 1))
    return median, np.where(others > 0, without, np.float32(np.nan))


def _smoothed(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return the mean over ``width`` neighbouring slots (..., slots, series), around midnight too."""
    half = min(width // 2, values.shape[-2] - 1)
    if half == 0:
        return values
    around = np.concatenate((values[..., -half:, :], values, values[..., :half, :]), axis=-2)
    total = np.cumsum(around, axis=-2, dtype=np.float64)
    total = np.concatenate((np.zeros_like(total[..., :1, :]), total), axis=-2)
    span = 2 * half + 1
    return ((total[..., span:, :] - total[..., :-span, :]) / span).astype(np.float32)
