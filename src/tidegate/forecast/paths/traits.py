"""What the gate knows of a series: where it stands, how it moves, what is usual at the time asked about.

Amounts are taken relative to the last sample and in units of the series' own restlessness, on a scale that
is linear near zero and logarithmic far out (inverse hyperbolic sine): one gate serves quiet and busy VMs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.histories import (
    lagged,
    mean_before,
    running_peak,
    running_sum,
    sample_quantiles,
)
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, WEEK_SECONDS, steps_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOWS_SECONDS: Final = (
    900,
    1800,
    HOUR_SECONDS,
    3 * HOUR_SECONDS,
    12 * HOUR_SECONDS,
    DAY_SECONDS,
    WEEK_SECONDS,
)
BACK_SECONDS: Final = (300, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200)
NOISE_SECONDS: Final = (HOUR_SECONDS, DAY_SECONDS, WEEK_SECONDS)
DAY_LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
DAY_SAMPLES_MAX: Final = 72
LEAST: Final = np.float32(0.001)
"""The restlessness of a series that does not move, as a share of capacity."""
HOUR_OF_DAY: Final = 2 * np.pi / DAY_SECONDS
EPOCH_WEEKDAY: Final = 3
WEEKEND: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traits:
    """How series look from some origins."""

    level: NDArray[np.float32]
    """(origins, series) the last sample."""
    scale: NDArray[np.float32]
    """(origins, series) restlessness: half the day's and the week's spread, and the day's noise."""
    numbers: NDArray[np.float16]
    """(origins, series, traits)."""


def traits(history: NDArray[np.float32], origins: NDArray[np.intp], step_seconds: int) -> Traits:
    """Describe series (steps, series) as seen from each origin, which is how many steps are known."""
    newest = origins - 1
    level = history[newest]
    windows = [steps_in(seconds, step_seconds) for seconds in WINDOWS_SECONDS]
    sums, squares = running_sum(history), running_sum(np.square(history))
    moved = running_sum(np.abs(np.diff(history, axis=0, prepend=history[:1])))
    means = [mean_before(sums, origins, window) for window in windows]
    spreads = [
        np.sqrt(np.maximum(mean_before(squares, origins, window) - mean**2, 0))
        for window, mean in zip(windows, means, strict=True)
    ]
    noises = [mean_before(moved, origins, steps_in(seconds, step_seconds)) for seconds in NOISE_SECONDS]
    scale = 0.5 * spreads[-2] + 0.5 * spreads[-1] + noises[1] + LEAST
    week_peak = running_peak(history, windows[-1])[newest]
    amounts = [history[np.maximum(newest - steps_in(seconds, step_seconds), 0)] for seconds in BACK_SECONDS]
    for window, mean in zip(windows, means, strict=True):
        amounts += [mean, running_peak(history, window)[newest], -running_peak(-history, window)[newest]]
    amounts += list(_day_quantiles(history, origins, step_seconds))
    numbers = [relative(amount, level, scale) for amount in amounts]
    numbers += [np.log(spread / scale + LEAST) for spread in (*spreads, *noises)]
    numbers += [np.log(amount + LEAST) for amount in (level, means[-2], scale)]
    numbers += [level, week_peak]
    return Traits(level=level, scale=scale, numbers=np.stack(numbers, axis=-1).astype(np.float16))


def relative(
    amount: NDArray[np.float32], level: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return amounts relative to the last sample, in units of restlessness, far ones drawn in."""
    return np.arcsinh((amount - level) / scale)


def usual_amounts(
    history: NDArray[np.float32], at: NDArray[np.intp], step_seconds: int
) -> NDArray[np.float16]:
    """Return single amounts about each position's time of day: (positions, series, amounts).

    Yesterday's and last week's, single and smoothed; the highest about it yesterday and in the week; the
    week's mean. Smoothing of yesterday looks back only: see `candidates.usual`.
    """
    day = steps_in(DAY_SECONDS, step_seconds)
    near = steps_in(300, step_seconds)
    around = running_sum(history)
    smooth = mean_before(around, np.arange(1, history.shape[0] + 1), 2 * near + 1)
    peak = running_peak(history, 4 * near + 1)
    days = [lagged(history, at, back * day, day) for back in range(1, 8)]
    smoothed = [lagged(smooth, at, day, day)] + [
        lagged(smooth, at, back * day - near, day) for back in range(2, 8)
    ]
    peaks = [lagged(peak, at, day, day)] + [
        lagged(peak, at, back * day - 2 * near, day) for back in range(2, 8)
    ]
    amounts = (
        *(days[0], smoothed[0], days[6], smoothed[6], peaks[0]),
        *(np.mean(smoothed, axis=0), np.maximum.reduce(peaks)),
    )
    return np.stack(amounts, axis=-1).astype(np.float16)


def moments(seconds: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the time of day, twice round and once, and whether it is a weekend (UTC): (times, 5)."""
    turn = HOUR_OF_DAY * (seconds % DAY_SECONDS)
    weekend = (seconds // DAY_SECONDS + EPOCH_WEEKDAY) % 7 >= WEEKEND
    return np.stack(
        (np.sin(turn), np.cos(turn), np.sin(2 * turn), np.cos(2 * turn), weekend), axis=-1
    ).astype(np.float32)


def _day_quantiles(
    history: NDArray[np.float32], origins: NDArray[np.intp], step_seconds: int
) -> NDArray[np.float32]:
    """Return quantiles of the day before each origin: (levels, origins, series)."""
    day = steps_in(DAY_SECONDS, step_seconds)
    back = np.unique(np.linspace(0, day - 1, min(day, DAY_SAMPLES_MAX)).astype(np.intp))
    found = [sample_quantiles(history[np.maximum(origin - 1 - back, 0)], DAY_LEVELS) for origin in origins]
    return np.stack(found, axis=1)
