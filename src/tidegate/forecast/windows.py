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


class Passed:
    """Which slots of a ring time went by without a sample, when ticks were lost."""

    def __init__(self, step_seconds: int, slots: int) -> None:
        """Have seen nothing yet."""
        self._step_seconds = step_seconds
        self._slots = slots
        self._last_seconds: int | None = None

    def lost(self, time_seconds: int) -> list[int]:
        """Return the slots between the last sample and this one; all of them after a long pause."""
        last, self._last_seconds = self._last_seconds, time_seconds
        if last is None:
            return []
        now, before = time_seconds // self._step_seconds, last // self._step_seconds
        return [slot % self._slots for slot in range(max(before + 1, now - self._slots), now)]

    def state(self) -> NDArray[np.int64]:
        """Return the time of the last sample, -1 before any."""
        return np.array(-1 if self._last_seconds is None else self._last_seconds)

    def restore(self, state: NDArray[np.int64]) -> None:
        """Go on from what `state` returned."""
        self._last_seconds = None if int(state) < 0 else int(state)
