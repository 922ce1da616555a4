"""Tries a period on the cycles already seen: what would have been said, and what that would have cost.

Judged like every model here: pinball loss at the workload's SLA rate, beside the plain baseline's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from numpy.typing import NDArray

CYCLES_BACK: Final = 3
"""The peak is taken over the same phase of this many last cycles, those that are present."""
TOLERANCES_STEPS: Final = (0, 1, 2, 3, 4, 6, 8)
"""How far from its phase a burst may come; each is tried and the cheapest kept."""
TOLERANCE_FLOORS: Final = ((16, 2), (8, 1), (0, 0))
"""Least tolerance by period, both in steps: a sample of jitter at either of two onsets."""
YOUNG_CYCLES: Final = 6
"""Until so many cycles were seen, only the least tolerance is tried, since a wide one makes chance look
like a schedule."""
YOUNG_WIDER_FROM_STEPS: Final = (16, 32)
"""A young trust is granted a step more from either period on: its period is known to half a step only."""
TOLERANCE_RATIO_MAX: Final = 1 / 5
CYCLES_TRIED: Final = 8
"""Cycles a back-test looks at, the last ones."""
SURPRISE_RATIO: Final = np.float32(0.35)
"""A sample that is above what a quiet phase promised by this share of the series' swing is a burst at an
unexpected time; less than that is noise, which the margin covers."""
SWING_MIN: Final = np.float32(0.08)
"""Series that move less than this share of capacity are left alone: nothing is to be gained."""
MARGIN_MIN: Final = np.float32(0.01)
MARGIN_RATIO_MAX: Final = np.float32(0.5)
"""A margin of half the swing says that levels don't repeat."""
BEATS_RATIO: Final = np.float32(0.8)
"""Trust begins where the loss is below this share of the plain baseline's."""
_NOTHING: Final = np.float32(-np.inf)


class Verdict(NamedTuple):
    """What a back-test found, (series,) each."""

    earned: NDArray[np.bool_]
    tolerance: NDArray[np.int64]
    """Index into `TOLERANCES_STEPS`."""
    margin: NDArray[np.float32]
    loss: NDArray[np.float32]
    """(2, series): of the cycles and of the plain baseline."""
    coverage: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    burst_age: NDArray[np.int64]
    """Steps since the last sample of a burst."""


def tolerance_floor(period: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the least tolerance in steps for each period (series,)."""
    conditions = [period >= steps for steps, _ in TOLERANCE_FLOORS]
    return np.select(conditions, [np.int64(floor) for _, floor in TOLERANCE_FLOORS])


def widened(samples: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Return for each step the maximum within ``by`` steps of it: (series, steps)."""
    edge = np.full((samples.shape[0], by), _NOTHING, dtype=np.float32)
    return trailing_maximum(np.concatenate([samples, edge], axis=1), 2 * by + 1)[:, by:]


def trailing_maximum(samples: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Return for each step the maximum of the last ``steps`` samples, itself included: (series, steps).

    By running maxima forwards and backwards within blocks of ``steps`` (van Herk, 1992).
    """
    series, count = samples.shape
    if steps >= count:
        return np.maximum.accumulate(samples, axis=1)
    blocks = -(-count // steps)
    padded = np.full((series, blocks * steps), _NOTHING, dtype=np.float32)
    padded[:, :count] = samples
    split = padded.reshape(series, blocks, steps)
    forward = np.maximum.accumulate(split, axis=2).reshape(series, -1)
    backward = np.maximum.accumulate(split[:, :, ::-1], axis=2)[:, :, ::-1].reshape(series, -1)
    whole = forward[:, :count].copy()
    np.maximum(whole[:, steps - 1 :], backward[:, : count - steps + 1], out=whole[:, steps - 1 :])
    return whole


def back_test(
    samples: NDArray[np.float32],
    whole: NDArray[np.float32],
    *,
    period: NDArray[np.float32],
    baseline_margin: NDArray[np.float32],
    sla: NDArray[np.float32],
    lead_steps: int,
    hour_steps: int,
) -> Verdict:
    """Return what each tolerance would have cost on the last cycles of ``samples``, and the best.

    ``samples`` (series, steps) are those the period was found in, NaN elsewhere; ``whole`` has those
    before them too, for the baseline. The rest is (series,).
    """
    steps = samples.shape[1]
    at = np.arange(steps)
    present = ~np.isnan(samples)
    recent = present & (at >= (steps - CYCLES_TRIED * period)[:, None])
    shares = np.where(present, samples, _NOTHING)
    low = np.where(recent, samples, np.inf).min(axis=1)
    high = np.where(recent, samples, _NOTHING).max(axis=1)
    peak = trailing_maximum(np.where(np.isnan(whole), _NOTHING, whole), hour_steps)
    plain = np.full_like(shares, 1)
    plain[:, lead_steps:] = np.minimum(peak[:, :-lead_steps] + baseline_margin[:, None], 1)
    lags = [at - np.rint(cycle * period).astype(np.int64)[:, None] for cycle in range(1, CYCLES_BACK + 1)]
    best: Verdict | None = None
    young = steps - present.argmax(axis=1) < YOUNG_CYCLES * period
    floor = tolerance_floor(period)
    ceiling = np.where(young, floor, np.maximum(floor, period * TOLERANCE_RATIO_MAX))
    for index, tolerance in enumerate(TOLERANCES_STEPS):
        allowed = (tolerance >= floor) & (tolerance <= ceiling)
        if not allowed.any():
            continue
        base = _phase_peak(widened(shares, tolerance), lags, lead_steps)
        tried = _judged(
            samples, base, plain, scored=recent & (base >= 0), period=period, sla=sla, low=low, high=high
        )
        tried = tried._replace(earned=tried.earned & allowed, tolerance=np.full(period.shape, index))
        best = tried if best is None else _better(best, tried)
    assert best is not None, "there is at least one tolerance"
    extra = sum((young & (period >= steps)).astype(np.int64) for steps in YOUNG_WIDER_FROM_STEPS)
    return best._replace(tolerance=best.tolerance + extra)


def _phase_peak(
    wide: NDArray[np.float32], lags: list[NDArray[np.int64]], lead_steps: int
) -> NDArray[np.float32]:
    """Return the peak over the lead's phase of the last cycles, as known ``lead_steps`` before."""
    ahead = trailing_maximum(wide, lead_steps) if lead_steps > 1 else wide
    peak = np.full_like(wide, _NOTHING)
    for lag in lags:
        past = np.take_along_axis(ahead, np.maximum(lag, 0), axis=1)
        np.maximum(peak, np.where(lag >= 0, past, _NOTHING), out=peak)
    return peak


def _judged(
    samples: NDArray[np.float32],
    base: NDArray[np.float32],
    plain: NDArray[np.float32],
    *,
    scored: NDArray[np.bool_],
    period: NDArray[np.float32],
    sla: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
) -> Verdict:
    """Charge cycles and baseline for the scored samples."""
    steps = samples.shape[1]
    swing, middle = high - low, (low + high) / 2
    excess = np.where(scored, samples - np.where(scored, base, 0), _NOTHING)
    surprise = (excess > (SURPRISE_RATIO * swing)[:, None]) & (base < middle[:, None])
    late = np.arange(steps) >= (steps - CYCLES_BACK * period)[:, None]
    onsets = (surprise[:, 1:] & ~surprise[:, :-1]).sum(axis=1) + surprise[:, 0]
    count = np.maximum(scored.sum(axis=1), 1)
    rare = (onsets <= count / (period * CYCLES_TRIED)) & ~(surprise & late).any(axis=1)
    margin = np.maximum(np.where(surprise, _NOTHING, excess).max(axis=1), MARGIN_MIN)
    said = np.minimum(base + margin[:, None], 1)
    losses = np.stack([_loss(samples, each, scored, sla) for each in (said, plain)])
    missed = (scored & (samples > said + np.float32(VIOLATION_TOLERANCE_RATIO))).sum(axis=1)
    # The margin was fitted to these very samples: one more of its kind is to be expected.
    above = np.where(scored & ~surprise, excess, 0).clip(min=0)
    above_mean = above.sum(axis=1) / np.maximum((above > 0).sum(axis=1), 1)
    losses[0] += above_mean * (1 - sla) / (count + 1)
    known = (count >= period) & (swing >= SWING_MIN)
    earned = known & rare & (margin <= MARGIN_RATIO_MAX * swing) & (losses[0] < BEATS_RATIO * losses[1])
    coverage = (1 - missed / count).astype(np.float32)
    in_burst = scored & (samples > middle[:, None])
    age = in_burst[:, ::-1].argmax(axis=1)
    return Verdict(earned, age, margin, losses, coverage, low, high, age)


def _loss(
    samples: NDArray[np.float32],
    said: NDArray[np.float32],
    scored: NDArray[np.bool_],
    sla: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the mean pinball loss over the scored samples (series,)."""
    over = np.where(scored, said - samples, 0)
    cost = np.maximum(over * sla[:, None], over * (sla[:, None] - 1))
    mean: NDArray[np.float32] = cost.sum(axis=1) / np.maximum(scored.sum(axis=1), 1)
    return mean.astype(np.float32)


def _better(one: Verdict, other: Verdict) -> Verdict:
    """Return per series the one that earned trust at the lower loss."""
    take = other.earned & (~one.earned | (other.loss[0] < one.loss[0]))
    chosen = {name: np.where(take, getattr(other, name), getattr(one, name)) for name in Verdict._fields}
    return Verdict(**chosen)
