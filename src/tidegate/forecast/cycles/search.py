"""Looks for cycles in a few series a tick: those that have waited longest, within a budget of samples.

Trust is proposed here and nowhere else: a period is found, as many cycles as are needed were seen, and
the back-test was won.

| the series so far                          | cycles that must have been seen            |
|--------------------------------------------|--------------------------------------------|
| all it ever did agrees                     | 3                                          |
| only its last half, quarter or eighth does | 6                                          |
| it was trusted before, and it was a mistake| 2 more for each mistake not yet forgiven   |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.forecast.cycles.backtest import SWING_MIN, Verdict, back_test, tolerance_floor
from tidegate.forecast.cycles.memory import BASELINE, CYCLES, NEVER
from tidegate.forecast.cycles.periods import find_periods
from tidegate.model.columns import flat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.columns import Columns

SERIES_PER_TICK_MAX: Final = 64
"""Series looked at in one tick."""
SAMPLES_PER_TICK_MAX: Final = 24_576
"""Samples looked at in one tick, in all: six series with 4096, 64 with 384."""
CYCLES_NEEDED: Final = 3
CYCLES_NEEDED_OF_PART: Final = 6
CYCLES_PER_BURN: Final = 2
STEPS_MIN: Final = 32
LOOK_STEPS_MIN: Final = 8
LOOK_RATIO: Final = 1 / 16
"""A series is looked at again once a sixteenth of what was looked at has been added."""
QUIET_LOOK_STEPS: Final = 256
"""A series that doesn't move is looked at this seldom, and soon after it jumps."""
JUMP_RATIO: Final = np.float32(0.02)
RECHECK_CYCLES: Final = (3, 8)
"""Trust is looked at again after so many cycles, first and later, over the last 16."""
RECHECK_SPAN_CYCLES: Final = 16
RECHECK_STEPS_MIN: Final = 64
PART_STEPS_MIN: Final = 64
LOOKS_IN_TURN: Final = (0, 1, 0, 2, 0, 3)
"""How often what was seen is halved at successive looks: old habits must not hide new ones."""
DRIFT_RATIO_MAX: Final = 1 / 16
"""A trusted period moves by at most this share at a recheck."""


class _Looked(NamedTuple):
    """The series of one look; ``series`` are flat numbers, the rest (series, steps) or (series,)."""

    series: NDArray[np.int64]
    samples: NDArray[np.float32]
    whole: NDArray[np.float32]
    part: NDArray[np.int64]


def wake(memory: Columns, share: NDArray[np.float32], *, tick: int) -> None:
    """Bring forward the look at series that jumped after they had not moved."""
    jumped = memory["quiet"] & (np.abs(share - memory["last"]) > JUMP_RATIO)
    np.copyto(memory["quiet"], np.bool_(0), where=jumped)
    soon = np.minimum(memory["look_at"], tick + LOOK_STEPS_MIN)
    np.copyto(memory["look_at"], soon, where=jumped)


def search(
    memory: Columns,
    due: NDArray[np.int64],
    *,
    tick: int,
    sla: NDArray[np.float32],
    lead_steps: int,
    hour_steps: int,
) -> None:
    """Look at the series of flat numbers ``due``: propose trust, renew it, or say when to look again."""
    if due.size == 0:
        return
    looked = _gathered(memory, due, tick)
    period = find_periods(looked.samples)
    trusted = flat(memory["period"])[due]
    period = _renewed(period, trusted)
    steps = looked.samples.shape[1]
    begins = (~np.isnan(looked.samples)).argmax(axis=1)
    length = np.where(np.isnan(looked.samples).all(axis=1), 0, steps - begins)
    slack = 2 * tolerance_floor(period) + lead_steps
    needed = CYCLES_NEEDED + CYCLES_PER_BURN * flat(memory["burns"])[due].astype(np.int64)
    needed = np.where(looked.part > 0, np.maximum(needed, CYCLES_NEEDED_OF_PART), needed)
    fitting = (memory["ring"].shape[0] / np.maximum(period, 1)).astype(np.int64)
    needed = np.minimum(needed, np.maximum(fitting, CYCLES_NEEDED))
    ripe_in = np.ceil(needed * period).astype(np.int64) - slack - length
    ripe = (period > 0) & (ripe_in <= 0)
    earned = np.zeros(due.shape, dtype=np.bool_)
    if ripe.any():
        verdict = back_test(
            looked.samples[ripe],
            looked.whole[ripe],
            period=period[ripe],
            baseline_margin=flat(memory["peak_margin"])[due[ripe]],
            sla=sla[due[ripe] % sla.size],
            lead_steps=lead_steps,
            hour_steps=hour_steps,
        )
        earned[ripe] = verdict.earned
        _trust(memory, due[ripe], verdict, tick, before=trusted[ripe], period=period[ripe])
    whole = looked.part == 0
    ripe_at = np.where((period > 0) & ~ripe, tick + ripe_in, NEVER)
    flat(memory["ripe_at"])[due[whole]] = ripe_at[whole]
    _plan_next(memory, looked, tick, length=length, period=period, earned=earned)


def awaited(memory: Columns, tick: int) -> NDArray[np.int64]:
    """Return who has just shown as many cycles as were waited for: the next burst may be close."""
    ripe_at = flat(memory["ripe_at"])
    ripe = (ripe_at != NEVER) & (ripe_at <= tick)
    return _chosen(memory, np.flatnonzero(ripe & _waiting(memory, tick)), tick)


def due(memory: Columns, tick: int) -> NDArray[np.int64]:
    """Return the flat numbers of the series to look at now, longest waiting first, by identifier."""
    return _chosen(memory, np.flatnonzero(_waiting(memory, tick)), tick)


def _waiting(memory: Columns, tick: int) -> NDArray[np.bool_]:
    since, look_at = flat(memory["since"]), flat(memory["look_at"])
    return (look_at <= tick) & (since != NEVER) & (tick - since >= STEPS_MIN)


def _chosen(memory: Columns, waiting: NDArray[np.int64], tick: int) -> NDArray[np.int64]:
    """Return those who have waited longest, within the budgets of a tick."""
    if waiting.size == 0:
        return waiting
    workloads = memory.ids.size
    look_at = flat(memory["look_at"])[waiting]
    order = np.lexsort((memory.ids[waiting % workloads], waiting // workloads, look_at))
    chosen = waiting[order[:SERIES_PER_TICK_MAX]]
    span = _span(memory, chosen, tick)
    samples = np.maximum.accumulate(span) * np.arange(1, chosen.size + 1)
    return chosen[: max(1, int((samples <= SAMPLES_PER_TICK_MAX).sum()))]


def _span(memory: Columns, series: NDArray[np.int64], tick: int) -> NDArray[np.int64]:
    """Return how many of the last samples are looked at: (series,)."""
    span = np.minimum(tick - flat(memory["since"])[series] + 1, memory["ring"].shape[0])
    period = flat(memory["period"])[series]
    enough = np.maximum(RECHECK_SPAN_CYCLES * np.ceil(period), RECHECK_STEPS_MIN).astype(np.int64)
    return np.where(period > 0, np.minimum(span, enough), span)


def _gathered(memory: Columns, due: NDArray[np.int64], tick: int) -> _Looked:
    """Return the samples of the due series, each from its first burst on or from where its part begins."""
    ring = flat(memory["ring"])
    looks = flat(memory["looks"])[due]
    window = ring.shape[0]
    span = _span(memory, due, tick)
    steps = int(span.max())
    slots = (tick - steps + 1 + np.arange(steps)) % window
    whole = ring[slots[:, None], due].T.astype(np.float32)
    ripe_at = flat(memory["ripe_at"])[due]
    part = np.array(LOOKS_IN_TURN)[looks % len(LOOKS_IN_TURN)]
    awaited = (ripe_at != NEVER) & (ripe_at <= tick)
    part = np.where((span >> part >= PART_STEPS_MIN) & ~awaited, part, 0)
    at = np.arange(steps)
    inside = at >= (steps - (span >> part))[:, None]
    samples = np.where(inside, whole, np.float32(np.nan))
    low, high = np.fmin.reduce(samples, axis=1), np.fmax.reduce(samples, axis=1)
    with np.errstate(invalid="ignore"):
        active = samples > ((low + high) / 2)[:, None]
    first = np.where(active.any(axis=1), active.argmax(axis=1), steps)
    samples[at < first[:, None]] = np.nan
    swing = np.fmax.reduce(samples, axis=1) - np.fmin.reduce(samples, axis=1)
    samples[~(swing >= SWING_MIN)] = np.nan
    return _Looked(due, samples, whole, part)


def _renewed(found: NDArray[np.float32], trusted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the periods to try: of a trusted series only one close to its own, else its own."""
    close = np.abs(found - trusted) <= np.maximum(DRIFT_RATIO_MAX * trusted, 1)
    return np.where((trusted > 0) & ~close, trusted, found)


def _trust(
    memory: Columns,
    series: NDArray[np.int64],
    verdict: Verdict,
    tick: int,
    *,
    before: NDArray[np.float32],
    period: NDArray[np.float32],
) -> None:
    """Write what was earned; what is trusted already keeps its losses and gets fresh levels."""
    won = verdict.earned
    at = series[won]
    flat(memory["period"])[at] = period[won]
    flat(memory["tolerance"])[at] = verdict.tolerance[won]
    for name in ("margin", "low", "high"):
        flat(memory[name])[at] = getattr(verdict, name)[won]
    new = series[won & (before == 0)]
    is_new = (before == 0)[won]
    flat(memory["loss"])[CYCLES, new] = verdict.loss[CYCLES][won][is_new]
    flat(memory["loss"])[BASELINE, new] = verdict.loss[BASELINE][won][is_new]
    flat(memory["coverage"])[new] = verdict.coverage[won][is_new]
    flat(memory["burst_at"])[new] = tick - verdict.burst_age[won][is_new]
    flat(memory["proven"])[new] = False
    old = series[won & (before > 0)]
    flat(memory["proven"])[old] = True
    burns = flat(memory["burns"])
    burns[old] = np.maximum(burns[old], 1) - 1


def _plan_next(
    memory: Columns,
    looked: _Looked,
    tick: int,
    *,
    length: NDArray[np.int64],
    period: NDArray[np.float32],
    earned: NDArray[np.bool_],
) -> None:
    """Say when each series is looked at again: at the latest when a period seen has come three times."""
    due = looked.series
    unmoved = length == 0
    quiet = unmoved & (looked.part == 0)
    length = np.where(unmoved, looked.whole.shape[1] >> looked.part, length)
    soon = np.maximum((length * LOOK_RATIO).astype(np.int64), LOOK_STEPS_MIN)
    soon = np.where(quiet, QUIET_LOOK_STEPS, soon)
    ripe_in = flat(memory["ripe_at"])[due] - tick
    soon = np.where(ripe_in > 0, np.minimum(soon, ripe_in), soon)
    trusted = flat(memory["period"])[due] > 0
    cycles = np.where(flat(memory["proven"])[due], *RECHECK_CYCLES[::-1])
    renewal = np.maximum(cycles * np.ceil(period), RECHECK_STEPS_MIN).astype(np.int64)
    soon = np.where(trusted, renewal, soon)
    flat(memory["quiet"])[due] = quiet
    flat(memory["look_at"])[due] = tick + soon
    looks = flat(memory["looks"])
    looks[due] = np.where(trusted | earned, 0, (looks[due] + 1) % len(LOOKS_IN_TURN))
