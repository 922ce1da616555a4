"""From paths of steps to the peaks of hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.day_ahead import DAY_LEVELS, HOUR_SECONDS
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.paths import Paths

INDEPENDENT_PER_HOUR: Final = 3.0
"""The peak of an hour is that of so many independent samples: steps beside each other move together.

Of 1 to 12, three to six lose least for `profile` and `ridge` on 80 VMs of Bitbrains, August 2013, CPU and
memory, a day ahead. With three, 87 to 92 % of peaks are at or below their 90 % quantile; with one 53 to 78 %.
"""


def hour_peaks(paths: Paths, first_hour: int, hours: int) -> NDArray[np.float16]:
    """Return quantiles of the peak of each hour (levels, hours, series), shares of capacity.

    An hour's peak stays below what each of its steps stays below: were its steps one sample, at the steps'
    own level; were they n independent ones, at its n-th root. The n is `INDEPENDENT_PER_HOUR`, or how many
    steps an hour has where that is less.
    """
    steps = -(-HOUR_SECONDS // paths.step_seconds)
    wanted = DAY_LEVELS.astype(np.float64) ** (1 / min(INDEPENDENT_PER_HOUR, steps))
    said = at_levels(paths.quantiles, wanted)
    peaks = []
    for hour in range(first_hour, first_hour + hours):
        begin = (hour * HOUR_SECONDS - paths.end_seconds) // paths.step_seconds
        end = -(-((hour + 1) * HOUR_SECONDS - paths.end_seconds) // paths.step_seconds)
        peaks.append(said[:, max(begin, 0) : max(end, 1)].max(axis=1))
    return np.stack(peaks, axis=1).astype(np.float16)


def at_levels(quantiles: NDArray[np.float32], wanted: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return quantiles (levels, ...) at other levels, linear between those of paths; 1 at most.

    Above the highest the tail goes on as it fell between the highest two, exponentially.
    """
    levels = PATH_LEVELS.astype(np.float64)
    found = []
    for level in wanted.tolist():
        above = int(np.clip(np.searchsorted(levels, level), 1, levels.size - 1))
        low, high = levels[above - 1], levels[above]
        if level > high:
            part = 1 + float(np.log((1 - high) / (1 - level)) / np.log((1 - low) / (1 - high)))
        else:
            part = (level - low) / (high - low)
        found.append(quantiles[above - 1] + np.float32(part) * (quantiles[above] - quantiles[above - 1]))
    return np.minimum(np.stack(found), 1)
