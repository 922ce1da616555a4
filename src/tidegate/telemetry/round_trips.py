"""Latency and jitter of links from their round trips, many links at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def quantile(round_trips: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Return a quantile (links,) of round trips (links, probes); NaN are none, and where all are, so is it.

    Between two round trips it is interpolated (type 7 of Hyndman and Fan, "Sample quantiles in statistical
    packages", The American Statistician, 1996).
    """
    ordered = np.sort(round_trips, axis=1)  # NaN last
    last = np.count_nonzero(~np.isnan(ordered), axis=1) - 1
    if ordered.shape[1] == 0:
        return np.full(ordered.shape[0], np.nan)
    at = np.maximum(last, 0) * level
    below = np.floor(at).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(last, 0))
    low = np.take_along_axis(ordered, below[:, None], axis=1)[:, 0]
    high = np.take_along_axis(ordered, above[:, None], axis=1)[:, 0]
    return low + (high - low) * (at - below)


def jitter(round_trips: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean absolute difference (links,) of round trips (links, probes) that follow each other.

    Of those that came back, in the order of columns; NaN where fewer than two did. The differences are those
    of RFC 3550, 6.4.1, taken over the round trip; its running mean forgets by packets, a window by time.
    """
    lost = np.isnan(round_trips)
    back_first = np.take_along_axis(round_trips, np.argsort(lost, axis=1, kind="stable"), axis=1)
    apart = np.abs(np.diff(back_first, axis=1))
    pairs = np.count_nonzero(~lost, axis=1) - 1
    total = np.nansum(apart, axis=1)
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)
