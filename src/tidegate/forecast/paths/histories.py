"""Histories as arrays: gaps filled from the past alone, running means and peaks, quantiles of few samples.

Everything here looks back only: what it says of a moment depends on nothing later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def filled(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return histories (steps, series) with each gap filled by the sample before it; 0 before the first."""
    steps = np.arange(shares.shape[0])[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(shares), 0, steps), axis=0)
    return np.nan_to_num(np.take_along_axis(shares, last, axis=0)).astype(np.float32, copy=False)


def running_peak(history: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Return the highest of the last ``window`` samples at every step (steps, series).

    By doubling: the peak of 2n samples is that of two peaks of n, so it takes log2(window) passes.
    """
    peak, covered = history, 1
    while covered < window:
        step = min(covered, window - covered)
        wider = peak.copy()
        np.maximum(peak[step:], peak[:-step], out=wider[step:])
        peak, covered = wider, covered + step
    return peak


def running_sum(history: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return sums (steps + 1, series) from which `mean_before` takes any window's mean."""
    sums = np.zeros((history.shape[0] + 1, history.shape[1]))
    np.cumsum(history, axis=0, dtype=np.float64, out=sums[1:])
    return sums


def mean_before(sums: NDArray[np.float64], ends: NDArray[np.intp], window: int) -> NDArray[np.float32]:
    """Return the mean of the last ``window`` samples before each end (ends, series)."""
    starts = np.maximum(ends - window, 0)
    return ((sums[ends] - sums[starts]) / (ends - starts)[:, None]).astype(np.float32)


def sample_quantiles(samples: NDArray[np.float32], levels: Sequence[float]) -> NDArray[np.float32]:
    """Return quantiles (levels, ...) of samples along the first axis, linear between order statistics."""
    ordered = np.sort(samples, axis=0)
    last = ordered.shape[0] - 1
    found = []
    for level in levels:
        below = int(level * last)
        part = np.float32(level * last - below)
        above = min(below + 1, last)
        found.append(ordered[below] + part * (ordered[above] - ordered[below]))
    return np.stack(found)


def lagged(history: NDArray[np.float32], at: NDArray[np.intp], lag: int, day: int) -> NDArray[np.float32]:
    """Return the samples ``lag`` steps before each position (positions, series).

    Positions may lie up to ``lag`` steps after the end. What is before the beginning is taken from the
    first day instead, at the same time of day.
    """
    wanted = at - lag
    wanted = np.where(wanted < 0, wanted % day, wanted)
    return history[np.minimum(wanted, history.shape[0] - 1)]
