"""Totals at two moments become rates; pure, and never negative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.drivers.cgroups.counters import Total
from tidegate.model.roster import realigned, source_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.drivers.cgroups.counters import Sample


def rates(before: Sample | None, now: Sample) -> NDArray[np.float64]:
    """Return how fast each total rose, a second: (`Total`, entities), in the order of ``now``.

    NaN where nothing can be said: on a first sample, for who is new, for who was made anew in between,
    where a total fell (it wrapped, or was reset), and for traffic read in another namespace than before.
    Who is new and began at zero counts from zero.
    """
    unknown = np.full(now.totals.shape, np.nan)
    if before is None or now.time_seconds <= before.time_seconds:
        return unknown
    rows = source_rows(before.ids, now.ids)
    fill = 0.0 if now.from_zero and before.from_zero else np.nan
    rise = now.totals - realigned(before.totals, rows, fill)
    replaced = (rows >= 0) & (realigned(before.instance, rows, 0) != now.instance)
    rise[:, replaced] = np.nan
    elsewhere = realigned(before.namespace, rows, 0) != now.namespace
    rise[Total.RECEIVED_BYTES : Total.SENT_BYTES + 1, elsewhere] = np.nan
    rise[~(rise >= 0)] = np.nan
    return rise / (now.time_seconds - before.time_seconds)


def folded(values: NDArray[np.float64], group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
    """Sum (rows, entities) by group: (rows, groups). Unknown ones are left out; NaN where all are."""
    if values.shape[1] == groups and np.array_equal(group, np.arange(groups)):
        return values
    known = ~np.isnan(values)
    sums = [np.bincount(group, weights=row, minlength=groups) for row in np.nan_to_num(values)]
    counts = [np.bincount(group, weights=row, minlength=groups) for row in known]
    return np.where(np.array(counts) > 0, np.array(sums), np.nan).reshape(values.shape[0], groups)
