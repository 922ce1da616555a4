"""`Cycles`: forecasts bursts on a schedule from the same phase of their last cycles.

For machines sampled every second or few, where a daily profile is out of reach for a day and the peak of
the last hour never comes down between bursts. A series is forecast so only while its own record says
that it pays; everywhere else the plain baseline, the recent peak and a calibrated margin, speaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.cycles import memory as memories
from tidegate.forecast.cycles import record as records
from tidegate.forecast.cycles.backtest import CYCLES_BACK, TOLERANCES_STEPS
from tidegate.forecast.cycles.memory import BASELINE, CYCLES, NARROW, NOTHING, WIDE, Sample
from tidegate.forecast.cycles.search import awaited, due, search, wake
from tidegate.forecast.engine.past import Slots
from tidegate.forecast.point import CERTAIN
from tidegate.forecast.windows import HOUR_SECONDS, Passed, steps_in
from tidegate.model.columns import flat, part_of
from tidegate.model.errors import InputError
from tidegate.model.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

MODELS: Final = ("recent_peak", "cycles")
WINDOW_STEPS: Final = 4096
"""Samples kept: three cycles of 22 minutes at a sample a second."""
WINDOW_STEPS_MIN: Final = 64


class Cycles:
    """Forecasts the peak over the lead: of the last cycles' same phase where that has earned trust."""

    def __init__(self, *, step_seconds: int, lead_steps: int = 1, window_steps: int = WINDOW_STEPS) -> None:
        """Keep ``window_steps`` samples of each series; periods up to a third of that are found.

        Raises:
            InputError: the window is too short to hold three cycles of anything.

        """
        if window_steps < WINDOW_STEPS_MIN:
            raise InputError(
                f"a window of {window_steps} steps is too short to find cycles in; "
                f"give at least {WINDOW_STEPS_MIN}"
            )
        self._step_seconds = step_seconds
        self._lead_steps = lead_steps
        self._slots = Slots(step_seconds)
        self._passed = Passed(step_seconds, window_steps)
        self._last_seconds: int | None = None
        self._unsearched: tuple[int, NDArray[np.float32]] | None = None
        """The tick after which no search was yet, and everyone's SLA then."""
        self._memory = memories.columns(window_steps=window_steps, lead_steps=lead_steps, slots=self._slots)

    def observe(self, snapshot: Snapshot) -> None:
        """Take in one sample of every series: judge what was said of it, remember, forecast.

        What was seen before is searched for cycles first, unless `think` did, and at once where a cycle was
        waited for.
        """
        self.think()
        memory = self._memory
        memory.follow(snapshot)
        memories.resize(memory, snapshot.capacity)
        tick = snapshot.time_seconds // self._step_seconds
        said = memory["said"][tick % self._lead_steps]
        lost = self._passed.lost(snapshot.time_seconds)
        memory["ring"][lost] = np.nan
        if lost:
            memory["said"][...] = NOTHING
            records.excuse(memory, steps=len(lost))
        sample = memories.sample_of(snapshot)
        sla = snapshot.roster.violation_rate
        records.judge(memory, said, sample, sla=sla, lead_steps=self._lead_steps)
        records.withdraw(memory, said, sample, tick=tick, lead_steps=self._lead_steps)
        wake(memory, sample.share, tick=tick)
        self._remember(sample, snapshot.time_seconds - self._step_seconds, tick)
        self._search(awaited(memory, tick), tick, sla)
        self._say(said, sample, tick)
        self._unsearched = tick, sla

    def think(self) -> None:
        """Search a few series for cycles, once after each sample."""
        if self._unsearched is None:
            return
        tick, sla = self._unsearched
        self._unsearched = None
        self._search(due(self._memory, tick), tick, sla)

    def _search(self, series: NDArray[np.int64], tick: int, sla: NDArray[np.float32]) -> None:
        search(
            self._memory,
            series,
            tick=tick,
            sla=sla,
            lead_steps=self._lead_steps,
            hour_steps=steps_in(HOUR_SECONDS, self._step_seconds),
        )

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return what was said when the snapshot was observed; NaN where no sample was seen."""
        memory = self._memory
        said = memory["said"][snapshot.time_seconds // self._step_seconds % self._lead_steps]
        acts = said[CYCLES] >= 0
        amount = np.where(acts, said[CYCLES], said[BASELINE])
        amount = np.where(amount >= 0, amount, np.float32(np.nan)) * memory["capacity"]
        return Forecast(
            time_seconds=snapshot.time_seconds,
            lead_seconds=self._lead_steps * snapshot.step_seconds,
            levels=CERTAIN,
            quantiles=amount[None].astype(np.float32),
            models=MODELS,
            model=acts.astype(np.uint8),
            skill=records.skill(memory),
            coverage=np.where(acts, memory["coverage"], np.float32(np.nan)),
            profiling=np.isnan(amount),
        )

    def period_seconds(self) -> NDArray[np.float32]:
        """Return the period of each series that cycles act for, 0 elsewhere: (resources, workloads)."""
        period: NDArray[np.float32] = self._memory["period"] * np.float32(self._step_seconds)
        return period

    def _remember(self, sample: Sample, at_seconds: int, tick: int) -> None:
        since = at_seconds if self._last_seconds is None else self._last_seconds
        memories.turn_hour(self._memory, from_seconds=since, to_seconds=at_seconds, slots=self._slots)
        self._last_seconds = at_seconds
        hour_slot = at_seconds // self._slots.seconds % self._slots.hour
        memories.remember(self._memory, sample, tick=tick, hour_slot=hour_slot)

    def _say(self, said: NDArray[np.float32], sample: Sample, tick: int) -> None:
        """Write what is expected over the lead, in shares of capacity, into ``said``."""
        memory = self._memory
        said[CYCLES] = said[WIDE] = said[NARROW] = NOTHING
        baseline = np.minimum(memory["peak"] + memory["peak_margin"], 1)
        said[BASELINE] = np.where(np.isnan(baseline), NOTHING, baseline)
        trusted = np.flatnonzero(memory["period"])
        if trusted.size == 0:
            return
        tolerance = flat(memory["tolerance"])[trusted]
        for index in np.unique(tolerance):
            series = trusted[tolerance == index]
            narrow, wide = self._phase_peaks(series, int(index), tick)
            flat(said[NARROW])[series] = narrow
            flat(said[WIDE])[series] = wide
        records.forget(memory, (memory["period"] > 0) & (said[WIDE] < 0), tick=tick)
        margin = memory["margin"]
        known = said[NARROW] >= 0
        expected = np.where(known, said[NARROW] + margin, NOTHING)
        # Demand that was cut off may be a burst of any height, and what was above its phase's peak may go
        # on: the next sample must show it.
        seen = np.nan_to_num(sample.at_least) + margin
        floor = np.where(seen > expected + margin, seen, 0)
        floor = np.where(sample.censored, np.maximum(seen, memory["high"] + margin), floor)
        said[CYCLES] = np.where(known, np.minimum(np.maximum(expected, floor), 1), NOTHING)
        said[WIDE] = np.where(said[WIDE] >= 0, said[WIDE] + margin, NOTHING)

    def _phase_peaks(
        self, series: NDArray[np.int64], tolerance: int, tick: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the peak of the lead's phase in the last cycles, within the tolerance and within the next.

        ``series`` are flat numbers; both results (series,), -1 where none of those samples is present.
        """
        ring = flat(self._memory["ring"])
        near = TOLERANCES_STEPS[tolerance]
        far = TOLERANCES_STEPS[min(tolerance + 1, len(TOLERANCES_STEPS) - 1)]
        offsets = np.arange(1 - far, self._lead_steps + far + 1)
        period = flat(self._memory["period"])[series]
        lags = [np.rint(period * cycle).astype(np.int64) for cycle in range(1, CYCLES_BACK + 1)]
        at = tick + offsets[:, None, None] - np.stack(lags)
        # A tolerance wider than what has passed would look at samples not yet seen, in old slots.
        seen = np.where(at <= tick, ring[at % ring.shape[0], series], np.float16(np.nan))
        peaks = np.fmax.reduce(seen, axis=1).astype(np.float32)
        wide = np.fmax.reduce(peaks, axis=0)
        inside = (offsets >= 1 - near) & (offsets <= self._lead_steps + near)
        narrow = np.fmax.reduce(peaks[inside], axis=0)
        return np.where(np.isnan(narrow), NOTHING, narrow), np.where(np.isnan(wide), NOTHING, wide)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the samples and the record, once the last search is done."""
        self.think()
        last = -1 if self._last_seconds is None else self._last_seconds
        return self._memory.state() | {
            "passed_seconds": self._passed.state(),
            "last_seconds": np.array(last, dtype=np.int64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
        self._passed.restore(part_of(state, "passed_seconds"))
        last = int(part_of(state, "last_seconds"))
        self._last_seconds = None if last < 0 else last
