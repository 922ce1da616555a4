"""Finds the period of many series at once, by autocorrelation.

A series of n samples is compared with itself moved by every lag up to n / 2. The period is the least lag
with a clear peak: multiples of it peak as high. Of a short period between two steps only a multiple peaks
clearly, at 17 steps for 8.5: its parts are then tried. Peaks at multiples make it finer than a step:

| seen       | farthest multiple | period known to about |
|------------|-------------------|-----------------------|
| 3 cycles   | 2                 | half a step           |
| 12 cycles  | 8                 | an eighth of a step   |
| 100 cycles | 64                | 0.02 steps            |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERIOD_STEPS_MIN: Final = 4
LIKENESS_MIN: Final = np.float32(0.4)
"""Autocorrelation a period must reach: bursts of two samples that each come a sample early or late still
have 0.5."""
LIKENESS_BY_CHANCE: Final = np.float32(4)
"""White noise of n samples has autocorrelations of about 1 / sqrt(n): four times that, of so many lags and
blurred by two steps, is hardly chance."""
PROMINENCE_MIN: Final = np.float32(0.3)
"""How far autocorrelation must have fallen below the peak at some shorter lag: a slope never does."""
FUNDAMENTAL_RATIO: Final = np.float32(0.85)
"""The least lag whose peak has this share of the highest one is the period, later ones are multiples."""
PARTS_MAX: Final = 7
"""One of the first six multiples of any period is within 1/7 of a step of a lag (Dirichlet's theorem) and
peaks almost in full: where that is the first lag found, the period is at least so large a part of it."""
PART_SLACK: Final = np.float32(2.5)
"""A period some share of a step off a lag brings so many onsets a step beside it, and so many ends: a burst
loses twice what it loses by a step, and half as much again for the chance of few bursts."""
MISSING_RATIO_MAX: Final = 0.5
FARTHEST_RATIO: Final = 0.7
"""Multiples are looked at up to this share of what was seen: beyond, too few samples overlap."""
DOUBLINGS_MAX: Final = 10
SEARCH_RATIO: Final = 1 / 16
SEARCH_STEPS_MAX: Final = 16
"""How far from its place a multiple's peak is looked for: a sixteenth of the period, at least 2 steps."""
_NARROW: Final = np.array([3, 2, 1], dtype=np.float32) / 9
"""Half of the triangle that forgives a sample of jitter at either end."""


def next_smooth(size: int) -> int:
    """Return the least 2^a or 3 x 2^a that is at least ``size``: lengths whose transform is fast."""
    power = 1 << max(size - 1, 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= size else power


def autocorrelation(samples: NDArray[np.float32], lags: int) -> NDArray[np.float32]:
    """Return each series' autocorrelation (series, lags) at lags 0, 1, ...

    ``samples`` is (series, steps), NaN where missing; every series ends at the last step. Peaks are not
    lowered by the overlap's shrinking with the lag, nor by missing samples.
    """
    present = ~np.isnan(samples)
    count = np.maximum(present.sum(axis=1), 1)
    start = present.argmax(axis=1)
    length = np.maximum(samples.shape[1] - start, 1)
    mean = np.where(present, samples, 0).sum(axis=1, dtype=np.float32) / count.astype(np.float32)
    centred = np.where(present, samples - mean[:, None], 0).astype(np.float32)
    size = next_smooth(samples.shape[1] + lags)
    spectrum = np.fft.rfft(centred, size)
    product = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[:, : lags + 2].astype(np.float32)
    overlap = length[:, None] - np.arange(lags + 2)
    present_ratio = (count / length).astype(np.float32)
    scale = length[:, None] / np.maximum(overlap, 1) / present_ratio[:, None]
    scale[:, 0] = 1
    product *= scale.astype(np.float32)
    mirrored = np.concatenate([product[:, 2:0:-1], product], axis=1)
    smooth = sum(
        weight * (mirrored[:, 2 + at : 2 + at + lags] + mirrored[:, 2 - at : 2 - at + lags])
        for at, weight in enumerate(_NARROW / np.array([2, 1, 1], dtype=np.float32))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        sharp = product[:, :lags] / product[:, :1]
        blurred = smooth / smooth[:, :1]
    return np.nan_to_num(np.maximum(sharp, np.where(smooth[:, :1] > 0, blurred, sharp)))


def find_periods(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the period of each series (series,) in steps, 0 where there is none.

    ``samples`` is (series, steps), NaN where missing and before each series begins.
    """
    lags = max(int(samples.shape[1] * FARTHEST_RATIO), PERIOD_STEPS_MIN + 2)
    likeness = autocorrelation(samples, lags)
    length = samples.shape[1] - (~np.isnan(samples)).argmax(axis=1)
    first = _fundamental(likeness, length)
    found = first > 0
    period = np.zeros(first.shape, dtype=np.float32)
    if found.any():
        period[found] = _refined(likeness[found], first[found], length[found])
    missing = np.isnan(samples).sum(axis=1) - (samples.shape[1] - length)
    return np.where(missing > MISSING_RATIO_MAX * length, np.float32(0), period)


def _fundamental(likeness: NDArray[np.float32], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lag of the first clear peak (series,), 0 where there is none."""
    lags = np.arange(likeness.shape[1])
    inner = likeness[:, 1:-1]
    is_peak = np.zeros(likeness.shape, dtype=np.bool_)
    is_peak[:, 1:-1] = (inner >= likeness[:, :-2]) & (inner >= likeness[:, 2:])
    fallen = likeness - np.minimum.accumulate(likeness, axis=1)
    least = np.maximum(LIKENESS_BY_CHANCE / np.sqrt(np.maximum(length, 1)), LIKENESS_MIN)
    clear = is_peak & (likeness >= least[:, None]) & (fallen >= PROMINENCE_MIN)
    clear &= (lags >= PERIOD_STEPS_MIN) & (lags <= length[:, None] // 2)
    height = np.where(clear, likeness, 0)
    highest = height.max(axis=1)
    first = (height >= np.maximum(FUNDAMENTAL_RATIO * highest, LIKENESS_MIN)[:, None]).argmax(axis=1)
    top = _highest_near(likeness, first, np.minimum(first // 4, SEARCH_STEPS_MAX))
    return np.where(highest > 0, _divided(likeness, fallen, top), 0)


def _divided(
    likeness: NDArray[np.float32], fallen: NDArray[np.float32], top: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the lag next to the least whole fraction of ``top`` that is a period too, else ``top``."""
    height = np.minimum(np.take_along_axis(likeness, top[:, None], axis=1)[:, 0], 1)
    shortest = top
    for parts in range(2, PARTS_MAX + 1):
        lag = (2 * top + parts) // (2 * parts)
        away = np.abs(top / np.float32(parts) - lag)
        expected = height * (1 - PART_SLACK * away * (1 - likeness[:, 1]))
        there = np.take_along_axis(likeness, lag[:, None], axis=1)[:, 0]
        clear = np.take_along_axis(fallen, lag[:, None], axis=1)[:, 0] >= PROMINENCE_MIN
        least = np.maximum(FUNDAMENTAL_RATIO * expected, LIKENESS_MIN)
        fits = clear & (lag >= PERIOD_STEPS_MIN) & (there >= least)
        shortest = np.where(fits, lag, shortest)
    return shortest


def _highest_near(
    likeness: NDArray[np.float32], lag: NDArray[np.int64], reach: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the lag of the highest value within ``reach`` of each ``lag`` (series,)."""
    offset = np.arange(-SEARCH_STEPS_MAX, SEARCH_STEPS_MAX + 1)
    at = np.clip(lag[:, None] + offset, 0, likeness.shape[1] - 1)
    near = np.take_along_axis(likeness, at, axis=1)
    near = np.where(np.abs(offset) <= reach[:, None], near, -np.inf)
    return np.take_along_axis(at, near.argmax(axis=1)[:, None], axis=1)[:, 0]


def _refined(
    likeness: NDArray[np.float32], first: NDArray[np.int64], length: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the period by the farthest multiple (1, 2, 4, ...) that still peaks near its place."""
    period = first.astype(np.float32)
    height = np.take_along_axis(likeness, first[:, None], axis=1)[:, 0]
    reach = np.clip((first * SEARCH_RATIO).astype(np.int64), 2, SEARCH_STEPS_MAX)
    reach = np.minimum(reach, first // 4)
    last = np.minimum(length * FARTHEST_RATIO, likeness.shape[1] - 1).astype(np.int64)
    going = np.ones(first.shape, dtype=np.bool_)
    for multiple in (1 << power for power in range(1, DOUBLINGS_MAX)):
        lag = np.rint(period * multiple).astype(np.int64)
        going &= lag - reach < last
        if not going.any():
            break
        top = _highest_near(likeness, np.minimum(lag, likeness.shape[1] - 1), reach)
        going &= top < last  # a peak is one that falls on both sides
        going &= np.take_along_axis(likeness, top[:, None], axis=1)[:, 0] >= height / 2
        period = np.where(going, top / np.float32(multiple), period).astype(np.float32)
    return period
