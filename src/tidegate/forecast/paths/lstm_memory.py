"""What the LSTM remembers of each series beside its own state, and what it sees of it.

Everything is a recurrence with a bounded state: a day of values and usual values by time of day, and
averages that fade. So a context read cold and a state carried sample by sample are the same thing, and
nothing here can look ahead. Arrays are (..., series): a step is a few operations over the whole fleet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_SECONDS: Final = 86_400
WEEK_SECONDS: Final = 7 * DAY_SECONDS
HOUR_SECONDS: Final = 3_600
RECENT_SECONDS: Final = 2 * HOUR_SECONDS
"""How far back the recent quantiles look."""
USUAL_DAYS: Final = 7
"""The usual value of a time of day is the mean of the first days and fades with this many days after."""
AROUND_SECONDS: Final = 1_800
"""Usual values are smoothed over this much before and after a time of day."""
SCALE_MIN: Final = np.float32(0.001)
"""Least scale of a series, in shares: a constant series has none of its own."""
UNKNOWN: Final = np.float32(1e-20)
"""An average with less weight than this has seen nothing."""

FADE_SECONDS: Final = (
    *(HOUR_SECONDS, 6 * HOUR_SECONDS, DAY_SECONDS, 5 * DAY_SECONDS),
    *(5 * DAY_SECONDS, DAY_SECONDS),
    *(3 * HOUR_SECONDS, 5 * DAY_SECONDS),
    *(2 * DAY_SECONDS, 2 * DAY_SECONDS, 3 * HOUR_SECONDS, 5 * DAY_SECONDS),
)
"""What each of the fading averages below forgets in."""
HOUR, QUARTER, DAY, WEEK, SPREAD, QUARTER_SPREAD, JUMP, JUMP_WEEK, TO_DAY_BEFORE, TO_USUAL, OFF, HOUR_JUMP = (
    range(12)
)
"""Averages: the value over four spans; its distance from the week's and from the six hours' average, from
the sample before (twice), from yesterday and from the usual; how far it is off the usual, with its
sign; its distance from the hour's average."""

INPUTS: Final = 20
"""How many numbers the recurrent part sees at each step."""
STANDING: Final = 21
"""How many numbers the outputs see once, whatever the horizon."""
AHEAD: Final = 6
"""How many numbers the outputs see of each time ahead."""
LEVELS: Final = PATH_LEVELS.size


@dataclass(slots=True, kw_only=True, eq=False)
class Memory:
    """The recurrences' state; `advance` writes into it."""

    step_seconds: int
    end_seconds: int
    """When the last sample ended."""
    last: NDArray[np.float32]
    """(series,) the last sample that arrived, 0 before any."""
    before: NDArray[np.float32]
    """(series,) the one before it."""
    missing: NDArray[np.float32]
    """(series,) 1 where the last sample did not arrive."""
    sums: NDArray[np.float32]
    """(averages, series) fading sums of what `FADE_SECONDS` lists."""
    weights: NDArray[np.float32]
    """(averages, series) the fading weights of the sums."""
    day: NDArray[np.float32]
    """(slots, series) the latest sample at each time of day; NaN before any."""
    usual: NDArray[np.float32]
    """(slots, series) the usual sample at each time of day; NaN before any."""
    days: NDArray[np.uint8]
    """(slots, series) how many samples are in it, up to `USUAL_DAYS`."""
    week_quantiles: NDArray[np.float32]
    """(levels, series) daily quantiles, fading over the days; NaN before the first midnight."""

    @property
    def slots(self) -> int:
        """How many steps a day has."""
        return int(self.day.shape[0])

    def slot(self, steps_ahead: int = 0) -> int:
        """Return the time of day, in slots, of the step that ends ``steps_ahead`` after the last sample."""
        return (self.end_seconds // self.step_seconds + steps_ahead) % self.slots


def fresh(series: int, *, step_seconds: int, end_seconds: int) -> Memory:
    """Return the memory of series that nothing has been seen of, at ``end_seconds``."""
    slots = max(1, round(DAY_SECONDS / step_seconds))
    averages = len(FADE_SECONDS)
    return Memory(
        step_seconds=step_seconds,
        end_seconds=end_seconds,
        last=np.zeros(series, dtype=np.float32),
        before=np.zeros(series, dtype=np.float32),
        missing=np.ones(series, dtype=np.float32),
        sums=np.zeros((averages, series), dtype=np.float32),
        weights=np.zeros((averages, series), dtype=np.float32),
        day=np.full((slots, series), np.nan, dtype=np.float32),
        usual=np.full((slots, series), np.nan, dtype=np.float32),
        days=np.zeros((slots, series), dtype=np.uint8),
        week_quantiles=np.full((LEVELS, series), np.nan, dtype=np.float32),
    )


def advance(memory: Memory, sample: NDArray[np.float32]) -> None:
    """Take in the next sample (series,) of every series; NaN where it did not arrive."""
    memory.end_seconds += memory.step_seconds
    slot = memory.slot()
    here = ~np.isnan(sample)
    value = np.where(here, sample, memory.last)
    known = averages(memory)
    seen_before = memory.weights[HOUR] > UNKNOWN
    day_before, usual = memory.day[slot], memory.usual[slot]
    terms = np.empty_like(memory.sums)
    terms[:SPREAD] = value
    terms[SPREAD] = np.abs(value - known[WEEK])
    terms[QUARTER_SPREAD] = np.abs(value - known[QUARTER])
    terms[JUMP] = terms[JUMP_WEEK] = np.abs(value - memory.last)
    terms[TO_DAY_BEFORE] = np.abs(value - day_before)
    terms[TO_USUAL] = np.abs(value - usual)
    terms[OFF] = value - usual
    terms[HOUR_JUMP] = np.abs(value - known[HOUR])
    counts = np.broadcast_to(here, terms.shape) & ~np.isnan(terms)
    counts[SPREAD:] &= seen_before
    keep = _keep(memory.step_seconds)
    memory.sums *= keep
    memory.sums += np.where(counts, terms, np.float32(0)) * (1 - keep)
    memory.weights *= keep
    memory.weights += counts * (1 - keep)
    _remember_the_day(memory, slot, value, here)
    memory.before, memory.last = np.where(here, memory.last, memory.before), value
    memory.before = np.where(seen_before, memory.before, value)
    memory.missing = 1 - here.astype(np.float32)


def _remember_the_day(memory: Memory, slot: int, value: NDArray[np.float32], here: NDArray[np.bool_]) -> None:
    days, usual = memory.days[slot], memory.usual[slot]
    share = 1 / np.minimum(days + np.float32(1), np.float32(USUAL_DAYS))
    usual = np.where(days == 0, value, usual + (value - usual) * share)
    np.copyto(memory.usual[slot], usual, where=here)
    np.copyto(memory.day[slot], value, where=here)
    memory.days[slot] += here & (days < USUAL_DAYS)
    if slot == 0:
        today = day_quantiles(memory)
        faded = memory.week_quantiles + (today - memory.week_quantiles) * np.float32(1 / 5)
        memory.week_quantiles = np.where(np.isnan(memory.week_quantiles), today, faded)


def _keep(step_seconds: int) -> NDArray[np.float32]:
    """Return the share of each average that a step keeps, (averages, 1)."""
    return np.exp(-step_seconds / np.array(FADE_SECONDS, dtype=np.float32))[:, None]


def averages(memory: Memory) -> NDArray[np.float32]:
    """Return the fading averages (averages, series); values fall back on the last sample, distances on 0."""
    known = memory.sums / np.maximum(memory.weights, UNKNOWN)
    fallback = np.zeros_like(known)
    fallback[:SPREAD] = memory.last
    return np.where(memory.weights > UNKNOWN, known, fallback)


def scale(known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale of each series (series,), in shares: how far it usually is from its average."""
    return np.maximum(known[SPREAD], SCALE_MIN)


def seen(memory: Memory) -> NDArray[np.bool_]:
    """Return which series (series,) anything is known of."""
    return memory.weights[WEEK] > UNKNOWN


def day_quantiles(memory: Memory) -> NDArray[np.float32]:
    """Return the quantiles (levels, series) of the latest sample at each time of day."""
    return _quantiles(memory.day, averages(memory)[DAY])


def recent_quantiles(memory: Memory) -> NDArray[np.float32]:
    """Return the quantiles (levels, series) of the last two hours."""
    steps = int(np.clip(RECENT_SECONDS // memory.step_seconds, 3, memory.slots))
    rows = (memory.slot() - np.arange(steps)) % memory.slots
    return _quantiles(memory.day[rows], memory.last)


def _quantiles(values: NDArray[np.float32], fallback: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the quantiles (levels, series) of the rows of ``values``, interpolated between ranks."""
    lanes = np.where(np.isnan(values), fallback, values).T.copy()
    lanes.sort(axis=1)
    rank = PATH_LEVELS * np.float32(values.shape[0] - 1)
    low = rank.astype(np.intp)
    high = np.minimum(low + 1, values.shape[0] - 1)
    found = lanes[:, low] + (lanes[:, high] - lanes[:, low]) * (rank - low)
    return np.ascontiguousarray(found.T.astype(np.float32))


def inputs(memory: Memory) -> NDArray[np.float32]:
    """Return what the recurrent part sees of the last sample, (INPUTS, series), of order one."""
    known = averages(memory)
    spread, level, last = scale(known), known[WEEK], memory.last
    jump = np.maximum(known[JUMP_WEEK], SCALE_MIN / 4)
    slot = memory.slot()
    angle = 2 * np.pi * (memory.end_seconds % DAY_SECONDS) / DAY_SECONDS
    week = 2 * np.pi * (memory.end_seconds % WEEK_SECONDS) / WEEK_SECONDS
    found = np.empty((INPUTS, last.size), dtype=np.float32)
    found[0] = (last - level) / spread
    found[1] = (last - memory.before) / jump
    found[2] = (_or(memory.day[(slot + 1) % memory.slots], level) - level) / spread
    found[3] = (_or(memory.usual[(slot + 1) % memory.slots], level) - level) / spread
    found[4] = (_or(memory.usual[slot], level) - level) / spread
    found[5] = (known[HOUR] - level) / spread
    found[6] = (known[QUARTER] - level) / spread
    found[7] = (last - known[HOUR]) / jump
    found[8] = known[OFF] / spread
    np.arcsinh(found[:9], out=found[:9])
    found[9] = 2 * np.sqrt(np.maximum(last, 0)) - 1
    found[10] = 2 * np.sqrt(np.maximum(level, 0)) - 1
    found[11] = _log(spread / SCALE_MIN) / 3
    found[12] = _log(known[JUMP] / spread) / 2
    found[13] = _log(known[TO_DAY_BEFORE] / spread)
    found[14] = _log(known[TO_USUAL] / spread)
    found[15:17] = np.array([[np.sin(angle)], [np.cos(angle)]])
    found[17:19] = np.array([[np.sin(week)], [np.cos(week)]])
    found[19] = memory.missing
    return found


def standing(
    memory: Memory, recent: NDArray[np.float32], day: NDArray[np.float32], week: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what the outputs see whatever the horizon (STANDING, series): spreads, from three quantiles."""
    known = averages(memory)
    spread, last = scale(known), memory.last
    found = np.empty((STANDING, last.size), dtype=np.float32)
    found[0:3] = (recent[[0, 4, 8]] - last) / spread
    found[3:7] = (day[[0, 4, 8, 10]] - last) / spread
    found[7:11] = (week[[0, 4, 8, 10]] - last) / spread
    np.arcsinh(found[:11], out=found[:11])
    found[11] = _log(known[JUMP] / spread) / 2
    found[12] = _log(known[JUMP_WEEK] / spread) / 2
    found[13] = _log(known[TO_DAY_BEFORE] / spread)
    found[14] = _log(known[TO_USUAL] / spread)
    found[15] = _log(known[QUARTER_SPREAD] / spread)
    found[16] = _log((recent[8] - recent[0]) / spread)
    found[17] = _log((day[8] - day[0]) / spread)
    found[18] = _log(spread / SCALE_MIN) / 3
    found[19] = np.minimum(memory.days.sum(axis=0, dtype=np.float32) / memory.slots, USUAL_DAYS) / USUAL_DAYS
    found[20] = _log(known[HOUR_JUMP] / spread)
    return found


def ahead(memory: Memory, steps: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return yesterday's, the usual and the smoothed usual value at times ahead, and what outputs see.

    ``steps`` (times,) counts from 1, the next sample; the results are (3, times, series) in shares and
    (AHEAD, times, series).
    """
    known = averages(memory)
    spread, last, level = scale(known), memory.last, known[DAY]
    slots = (memory.slot() + steps) % memory.slots
    usual = np.where(np.isnan(memory.usual), level, memory.usual)
    beside = AROUND_SECONDS // memory.step_seconds
    around = (slots[:, None] + np.arange(-beside, beside + 1)) % memory.slots
    values = np.stack([_or(memory.day[slots], level), usual[slots], usual[around].mean(axis=1)])
    seen_of = np.empty((AHEAD, *values.shape[1:]), dtype=np.float32)
    seen_of[:3] = (values - last) / spread
    seen_of[3] = (usual[around].max(axis=1) - last) / spread
    seen_of[4] = (values[1] - usual[around].min(axis=1)) / spread
    seen_of[5] = (values[2] + known[OFF] - last) / spread
    return values.astype(np.float32, copy=False), np.arcsinh(seen_of, out=seen_of)


def _or(values: NDArray[np.float32], fallback: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isnan(values), fallback, values)


def _log(ratio: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(ratio + np.float32(0.01))
