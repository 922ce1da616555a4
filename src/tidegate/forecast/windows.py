"""Sliding windows over the last samples, one ring of time slots for the whole fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400
WEEK_SECONDS = 604_800


def steps_in(seconds: int, step_seconds: int) -> int:
    """Return how many samples a span holds, at least one."""
    return max(1, round(seconds / step_seconds))


def slot_of(time_seconds: int, step_seconds: int, slots: int) -> int:
    """Return the ring slot a time falls in; the same clock time falls in the same slot each turn."""
    return (time_seconds // step_seconds) % slots


def maximum_present(ring: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the maximum over the first axis of the samples present; NaN where there are none."""
    largest: NDArray[np.float32] = np.fmax.reduce(ring, axis=0)
    return largest
