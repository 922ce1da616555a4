"""Drift: notices that a series is not what it was, in level, in variance or in its day, and shortens memory.

Five running sums a series, one a question: is it above, below, noisier, calmer, or unlike yesterday for
longer than its own past explains? Each adds how far a sample is from usual, in mean deviations, less what
is let pass, and never falls below zero; past a limit it is an alarm, and the change began when the sum
last was zero: CUSUM (Page, "Continuous inspection schemes", Biometrika 41, 1954) over bounded scores,
since series of VMs are spikes and steps (as Huber's, "A robust version of the probability ratio test",
1965). The limit of a series doubles with each of its alarms, and comes back in weeks: a VM that changes
all the time is not new each time.

58 bytes a series. After an alarm the means start again, and for a day nothing more is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.forecast.engine.past import REFERENCE_SECONDS, ROOT_STEPS, Chunk, Slots, weight_per_step
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS
from tidegate.model.columns import Column, Columns
from tidegate.model.forecast import Drift

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT: Final = np.float32(144)
"""Scores times five minutes: a shift by four mean deviations or more is noticed after five hours, one by
two after a day. A daily job that is on for a ninth of the day, the worst for this, adds up to 88."""
LIMIT_FACTOR_MAX: Final = np.float32(16)
LIMIT_WEIGHT: Final = 1 / 4032
"""The factor on the limit is back at one in two weeks or so."""
SCORE_MAX: Final = np.float32(4)
"""No sample counts for more than four mean deviations, however far it is."""
LEVEL_LET: Final = np.float32(1.5)
"""A sine is 1.57 mean deviations at its peak, office hours 1.3."""
NOISE_LET: Final = np.float32(2)
CALM_LET: Final = np.float32(0.3)
"""Steps from sample to sample below this share of the usual are calm."""
CALM_SCALE: Final = np.float32(1.7)
"""Calm adds at most half a score a sample: a daily spike is 144 short of an alarm."""
SEASON_LET: Final = np.float32(2)
SEASON_RATIO: Final = np.float32(0.5)
"""A series has a daily season where yesterday's same time is this much nearer than its mean."""
SPREAD_MIN: Final = np.float32(0.01)
NOISE_MIN: Final = np.float32(0.004)
"""In shares of capacity: smaller swings don't matter to grants."""
SLOW_WEIGHT: Final = 1 / 864
"""What is usual is the mean of three days."""
START_STEPS: Final = 12
"""How many samples the means stand for when they start again after an alarm."""
PACE: Final = np.float32(2)
"""For a day after an alarm margins and losses move this much faster."""

STEPS_MAX: Final = 65_535

UP, DOWN, NOISIER, CALMER, UNLIKE = range(5)
KINDS: Final = np.array(
    [Drift.LEVEL, Drift.LEVEL, Drift.VARIANCE, Drift.VARIANCE, Drift.SEASON], dtype=np.uint8
)
ORDER: Final = (UNLIKE, UP, DOWN, NOISIER, CALMER)
"""Of two at once the first is told."""
CENTRE, SPREAD, NOISE, ERROR = range(4)


def columns() -> Columns:
    """Return the empty sums of a fleet."""
    return Columns(
        usually=Column(dtype=np.float32, fill=0.0, leading=(4,)),
        sums=Column(dtype=np.float32, fill=0.0, leading=(5,)),
        steps=Column(dtype=np.uint16, fill=0.0, leading=(5,)),
        limit=Column(dtype=np.float32, fill=1.0),
        known=Column(dtype=np.float32, fill=0.0),
        lag=Column(dtype=np.uint16, fill=0.0),
        kind=Column(dtype=np.uint8, fill=Drift.NONE),
        due=Column(dtype=np.uint8, fill=0.0),
    )


class Alarms(NamedTuple):
    """Which series of a chunk have just been seen to have changed, and how; (alarms,) each."""

    rows: NDArray[np.intp]
    cause: NDArray[np.intp]
    """Which of the five sums it was."""


NO_ALARMS: Final = Alarms(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp))


def watch(
    drift: Chunk,
    past: Chunk,
    present: NDArray[np.bool_],
    *,
    time_seconds: int,
    step_seconds: int,
    slots: Slots,
) -> Alarms:
    """Add up what the last sample of each series says; return who raises an alarm now."""
    day = DAY_SECONDS / step_seconds
    np.copyto(drift["kind"], np.uint8(Drift.NONE), where=drift["known"] >= day)
    scores = _scores(drift, past, day)
    ready = present & (drift["known"] >= day)
    weight = np.float32(step_seconds / REFERENCE_SECONDS)
    sums, steps = drift["sums"], drift["steps"]
    scores *= weight
    scores += sums
    np.maximum(scores, 0, out=scores)
    np.copyto(sums, scores, where=ready)
    steps += steps < np.uint16(STEPS_MAX)
    steps *= sums > 0
    _learn(drift, past, present, step_seconds)
    _expect(drift, past, time_seconds, step_seconds, slots)
    over = sums > LIMIT * drift["limit"]
    rows = np.flatnonzero(over.any(axis=0))
    if not rows.size:
        return NO_ALARMS
    alarms = Alarms(rows, np.array(ORDER)[over[:, rows][list(ORDER)].argmax(axis=0)])
    _note(drift, past, alarms)
    return alarms


def _scores(drift: Chunk, past: Chunk, day_steps: float) -> NDArray[np.float32]:
    """Return how far each series' sample is from usual (5, series), less what is let pass."""
    usually, last = drift["usually"], past["last"]
    spread = np.maximum(usually[SPREAD], SPREAD_MIN)
    away = np.clip((last[0] - usually[CENTRE]) / spread, -SCORE_MAX, SCORE_MAX)
    noise = np.abs(last[0] - last[1]) / np.maximum(usually[NOISE], NOISE_MIN)
    error = np.maximum(usually[ERROR], SPREAD_MIN)
    unlike = np.minimum(np.abs(last[0] - _due(drift)) / error, SCORE_MAX)
    out = np.empty((5, spread.size), dtype=np.float32)
    np.subtract(away, LEVEL_LET, out=out[UP])
    np.subtract(-LEVEL_LET, away, out=out[DOWN])
    np.subtract(np.minimum(noise, SCORE_MAX), NOISE_LET, out=out[NOISIER])
    np.multiply(CALM_LET - noise, CALM_SCALE, out=out[CALMER])
    out[CALMER] = np.where(usually[NOISE] > NOISE_MIN, out[CALMER], -1)
    seasonal = (error < SEASON_RATIO * spread) & (drift["known"] >= 2 * day_steps)
    out[UNLIKE] = np.where(seasonal, unlike - SEASON_LET, -1)
    return out


def _due(drift: Chunk) -> NDArray[np.float32]:
    """Return what came at this time yesterday, in shares of capacity."""
    return np.square(drift["due"].astype(np.float32) * (1 / ROOT_STEPS))


def _learn(drift: Chunk, past: Chunk, present: NDArray[np.bool_], step_seconds: int) -> None:
    """Move what is usual toward the sample: a plain mean at first, then of about three days."""
    usually, last, known = drift["usually"], past["last"], drift["known"]
    known += present
    slow = weight_per_step(SLOW_WEIGHT, step_seconds)
    weight = np.maximum(slow, 1 / np.maximum(known, 1))
    weight *= present
    # Of the first day, and of the first after an alarm, there is no yesterday to compare with.
    days_known = known - np.float32(DAY_SECONDS / step_seconds)
    weight_error = np.maximum(slow, 1 / np.maximum(days_known, 1)) * (present & (days_known > 0))
    usually[CENTRE] += (last[0] - usually[CENTRE]) * weight
    usually[SPREAD] += (np.abs(last[0] - usually[CENTRE]) - usually[SPREAD]) * weight
    usually[NOISE] += (np.abs(last[0] - last[1]) - usually[NOISE]) * weight
    usually[ERROR] += (np.abs(last[0] - _due(drift)) - usually[ERROR]) * weight_error
    limit = drift["limit"]
    limit += (1 - limit) * weight_per_step(LIMIT_WEIGHT, step_seconds)


def _expect(drift: Chunk, past: Chunk, time_seconds: int, step_seconds: int, slots: Slots) -> None:
    """Note what came yesterday in the slot of the next sample, before that slot is emptied for it."""
    coming = time_seconds // slots.seconds
    if coming != (time_seconds - step_seconds) // slots.seconds:
        drift["due"][...] = past["yesterday"][coming % slots.day]


def _note(drift: Chunk, past: Chunk, alarms: Alarms) -> None:
    """Say which change it was and since when; start the means again."""
    rows, cause = alarms
    drift["kind"][rows] = KINDS[cause]
    drift["lag"][rows] = drift["steps"][cause, rows]
    drift["limit"][rows] = np.minimum(2 * drift["limit"][rows], LIMIT_FACTOR_MAX)
    drift["known"][rows] = START_STEPS
    drift["sums"][:, rows] = 0
    drift["steps"][:, rows] = 0
    usually = drift["usually"]
    usually[CENTRE, rows] = past["mean_short"][rows]
    usually[NOISE, rows] = past["noise_short"][rows]


def shorten(past: Chunk, drift: Chunk, alarms: Alarms, *, time_seconds: int, step_seconds: int) -> None:
    """Forget what was before the change.

    Where the level moved, the day's mean; where demand sank, peaks from before it; where that or the
    day's pattern changed, the usual day but for yesterday. What says that more may come is kept, also
    where a series only calmed down: forgetting it saves nothing and costs a miss.
    """
    rows, cause = alarms
    level, sank, noisier = rows[cause <= DOWN], rows[cause == DOWN], rows[cause == NOISIER]
    other = rows[(cause == DOWN) | (cause == UNLIKE)]
    past["mean_long"][level] = past["mean_short"][level]
    past["noise_long"][noisier] = np.maximum(past["noise_long"], past["noise_short"])[noisier]
    past["usual"][:, other] = past["yesterday"][:, other]
    now = (time_seconds - 1) // HOUR_SECONDS
    age_seconds = (now - np.arange(24)) % 24 * HOUR_SECONDS
    before = age_seconds[:, None] > drift["lag"][sank] * np.float32(step_seconds)
    past["hours"][:, sank] = np.where(before, 0, past["hours"][:, sank])
    past["days"][:, sank] = 0
    past["days"][(time_seconds - 1) // DAY_SECONDS % 7, sank] = past["hours"][:, sank].max(axis=0)


def resize(drift: Columns, changed: NDArray[np.bool_], factor: NDArray[np.float32]) -> None:
    """Express what is usual in shares of the new capacities: ``factor`` (changed series,)."""
    drift["usually"][:, changed] = np.minimum(drift["usually"][:, changed] * factor, 1)
    root = np.ceil(drift["due"][changed] * np.sqrt(factor))
    drift["due"][changed] = np.minimum(root, ROOT_STEPS).astype(np.uint8)


def pace(drift: Chunk, step_seconds: int) -> NDArray[np.float32]:
    """Return how much faster each series' margins and losses are to move: more for a day after an alarm."""
    fresh = (drift["kind"] != Drift.NONE) & (drift["known"] < DAY_SECONDS / step_seconds)
    return np.where(fresh, PACE, np.float32(1))


def age_seconds(drift: Columns, step_seconds: int) -> NDArray[np.float32]:
    """Return how long ago each change began (resources, workloads); 0 where there is none."""
    since = drift["lag"] + np.maximum(drift["known"] - START_STEPS, 0)
    return np.where(drift["kind"] == Drift.NONE, np.float32(0), (since * step_seconds).astype(np.float32))
