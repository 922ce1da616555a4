"""What a feed's values were at many times, as known at many others; without a loop where possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.feed import Feed


def known_at(
    feed: Feed, now_seconds: NDArray[np.int64], at_seconds: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the values (nows, times) at ``at_seconds`` (nows, times) as known at each of ``now_seconds``.

    The same as `Feed.as_known`, row by row. Feeds whose values are known exactly when they hold, or
    all known before the first now, and never revised, are looked up at once.
    """
    if feed.values.size == 0 or now_seconds.size == 0:
        return np.full(at_seconds.shape, np.nan, dtype=np.float32)
    order = np.argsort(feed.valid_seconds, kind="stable")
    valid = feed.valid_seconds[order]
    revised = bool((valid[1:] == valid[:-1]).any())
    measured = np.array_equal(feed.issued_seconds, feed.valid_seconds)
    if measured or (not revised and int(feed.issued_seconds.max()) <= int(now_seconds.min())):
        asked = np.minimum(at_seconds, now_seconds[:, None]) if measured else at_seconds
        return _looked_up(valid, feed.values[order], asked, at_seconds, feed.holds_seconds)
    rows = (feed.as_known(int(now), at) for now, at in zip(now_seconds, at_seconds, strict=True))
    return np.stack(list(rows))


def known_then(feed: Feed, times_seconds: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the values (times,) at rising times, each as it was known at that time; NaN if not."""
    if feed.values.size == 0:
        return np.full(times_seconds.shape, np.nan, dtype=np.float32)
    order = np.lexsort((feed.issued_seconds, feed.valid_seconds))
    valid, issued = feed.valid_seconds[order], feed.issued_seconds[order]
    # A point counts from when it holds and is known; of those that count, the one that stands last.
    counts_from = np.maximum(valid, issued)
    seen = np.argsort(counts_from, kind="stable")
    standing_last = np.maximum.accumulate(seen)
    at = np.searchsorted(counts_from[seen], times_seconds, side="right") - 1
    point = standing_last[np.maximum(at, 0)]
    fresh = (at >= 0) & (times_seconds - valid[point] < feed.holds_seconds)
    return np.where(fresh, feed.values[order][point], np.float32(np.nan)).astype(np.float32)


def _looked_up(
    valid: NDArray[np.int64],
    values: NDArray[np.float32],
    asked: NDArray[np.int64],
    at: NDArray[np.int64],
    holds_seconds: int,
) -> NDArray[np.float32]:
    """Return the last point at or before ``asked``, where it still holds ``at``; of equal times the last."""
    point = np.searchsorted(valid, asked, side="right") - 1
    fresh = (point >= 0) & (at - valid[np.maximum(point, 0)] < holds_seconds)
    return np.where(fresh, values[np.maximum(point, 0)], np.float32(np.nan)).astype(np.float32)
