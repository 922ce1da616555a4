"""The engine: remembers, learns and forecasts a whole fleet, a chunk of series at a time.

Chunks fit a core's cache; within a chunk everything is arrays, so the cost per series does not depend on
how many there are. Of a small fleet one chunk holds all resources. Each resource has a network of its own:
what is learned of CPU does not depend on whether memory is watched too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from tidegate.forecast.engine import drift as drifts
from tidegate.forecast.engine import newcomers
from tidegate.forecast.engine import past as pasts
from tidegate.forecast.engine import record as records
from tidegate.forecast.engine.chunks import chunks
from tidegate.forecast.engine.features import COUNT, features, peaks
from tidegate.forecast.engine.lessons import BATCH, DRAWN_MAX, Pool, schedule
from tidegate.forecast.engine.network import OFFSETS, Network, exceedance
from tidegate.forecast.engine.past import Sample, Slots
from tidegate.model.columns import flat, part_of, prefixed, under
from tidegate.model.forecast import Drifts, Exceedance, Forecast
from tidegate.model.roster import source_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.model.columns import Columns
    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot

LEVELS: Final = np.array([0.5, 0.9, 0.99, 0.999], dtype=np.float32)
"""Levels read off each curve for charts and scores."""
PROFILING_SECONDS: Final = 86_400
"""Until the fleet has been seen this long the plain models decide."""
NEWCOMER_SECONDS: Final = 3_600
"""And of a newcomer this long: what the network learned of the others holds for it, too."""


class Engine:
    """Forecasts the peak over the lead window: a curve per series, and a safe amount beside it."""

    newcomer_seconds: ClassVar[int] = NEWCOMER_SECONDS

    def __init__(
        self, *, resources: Sequence[Resource], step_seconds: int, lead_steps: int = 1, seed: int = 0
    ) -> None:
        """Draw first weights from ``seed`` and each resource's number; know nobody yet."""
        self._slots = Slots(step_seconds)
        self._step_seconds = step_seconds
        self._lead_steps = lead_steps
        self._past = pasts.columns(self._slots)
        self._record = records.columns(lead_steps)
        self._drift = drifts.columns()
        self._random = [np.random.default_rng((seed, int(resource))) for resource in resources]
        self._networks = [Network(COUNT, random) for random in self._random]
        self._pools = [Pool(lead_steps) for _ in resources]
        self._ticks = 0
        self._draws = 0
        self._last_seconds: int | None = None
        self._by_id: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._forecast: Forecast | None = None

    def observe(self, snapshot: Snapshot) -> None:
        """Take in one sample of every series, learn from it, and make the forecast."""
        self._follow(snapshot)
        due = self._turn(snapshot.time_seconds - self._step_seconds)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip(snapshot.used / snapshot.capacity, 0, 1).astype(np.float32)
            held = (snapshot.held / snapshot.capacity).astype(np.float32)
        sample = Sample(share, pasts.censored_samples(snapshot) & (held < 1))
        self._welcome(snapshot, share)
        for row in range(len(self._networks)):
            self._pools[row].observe(Sample(sample.share[row], sample.censored[row]))
            if due:
                self._learn(row)
        self._forecast = self._look_ahead(snapshot, sample, held, due=due)
        self._ticks += 1
        self._draws += due

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the forecast made when the snapshot was observed.

        Raises:
            RuntimeError: nothing was observed yet.

        """
        if self._forecast is None:
            raise RuntimeError("a forecast was asked for before the first observation")
        return self._forecast

    def _follow(self, snapshot: Snapshot) -> None:
        """Bring memory, record and open lessons in step with who is there and what they were sold."""
        before = self._past.ids
        if self._past.follow(snapshot):
            ids = snapshot.roster.ids
            self._by_id = np.argsort(ids, kind="stable")
            for pool in self._pools:
                pool.follow(source_rows(ids, before))
        self._record.follow(snapshot)
        self._drift.follow(snapshot)
        changed, factor = pasts.resize(self._past, snapshot.capacity)
        if factor.size:
            records.resize(self._record, changed, factor)
            drifts.resize(self._drift, changed, factor)
            for row, pool in enumerate(self._pools):
                pool.follow(np.where(changed[row], -1, np.arange(changed.shape[1])))

    def _welcome(self, snapshot: Snapshot, share: NDArray[np.float32]) -> None:
        """Let series whose first sample this is start from the record of their peers."""
        settled = PROFILING_SECONDS / self._step_seconds
        newcomers.start(self._past, self._record, snapshot, share, settled_steps=settled)

    def _turn(self, at_seconds: int) -> bool:
        """Turn the rings to the time of the sample; True where a slot begins, which is when to learn."""
        since = at_seconds if self._last_seconds is None else self._last_seconds
        pasts.turn_rings(self._past, from_seconds=since, to_seconds=at_seconds, slots=self._slots)
        first = self._last_seconds is None
        self._last_seconds = at_seconds
        return first or at_seconds // self._slots.seconds != since // self._slots.seconds

    def _learn(self, row: int) -> None:
        pool, random = self._pools[row], self._random[row]
        if len(pool) < BATCH // 2:
            return
        batches, rate = schedule(self._draws)
        for _ in range(batches):
            self._networks[row].learn(*pool.batch(random), rate)

    def _look_ahead(
        self, snapshot: Snapshot, sample: Sample, held: NDArray[np.float32], *, due: bool
    ) -> Forecast:
        """Go over all chunks once: judge, remember, describe, forecast; open lessons where ``due``."""
        shape = snapshot.used.shape
        curve = np.empty((OFFSETS.size, *shape), dtype=np.float32)
        quantiles = np.empty((LEVELS.size, *shape), dtype=np.float32)
        safe = np.empty(shape, dtype=np.float32)
        drawn = [self._draw(row) if due else _NOBODY for row in range(shape[0])]
        turn = self._ticks % self._lead_steps
        kept = [np.empty((COUNT, rows.size), dtype=np.float32) for rows in drawn]
        noticed = np.zeros(shape, dtype=np.bool_)
        slas = np.broadcast_to(snapshot.roster.violation_rate, shape).reshape(-1)
        for chunk in chunks(*shape):
            part = chunk.series
            past, record, drift = (_views(of, part) for of in (self._past, self._record, self._drift))
            mine = Sample(sample.share.reshape(-1)[part], sample.censored.reshape(-1)[part])
            sla = slas[part]
            said = record["said"][turn]
            records.judge(
                record,
                said,
                mine,
                held=held.reshape(-1)[part],
                sla=sla,
                step_seconds=self._step_seconds,
                lead_steps=self._lead_steps,
                pace=drifts.pace(drift, self._step_seconds),
            )
            alarms = self._remember(past, drift, mine, snapshot.time_seconds)
            flat(noticed)[part.start + alarms.rows] = True
            peak = peaks(past, time_seconds=snapshot.time_seconds, slots=self._slots)
            seen = features(past, peak, time_seconds=snapshot.time_seconds)
            masses = np.empty((OFFSETS.size + 1, part.stop - part.start), dtype=np.float32)
            for run in chunk.runs:
                here = seen[:, run.inside]
                masses[:, run.inside] = self._networks[run.row].masses(here)
                inside = (drawn[run.row] >= run.workloads.start) & (drawn[run.row] < run.workloads.stop)
                kept[run.row][:, inside] = here[:, drawn[run.row][inside] - run.workloads.start]
            passed = exceedance(masses, out=flat(curve)[:, part])
            last = past["last"][0]
            for at, level in enumerate(LEVELS):
                flat(quantiles)[at, part] = amount_at(passed, last, 1 - level)
            flat(safe)[part] = records.say(record, said, peak, amount_at(passed, last, sla))
        for row, pool in enumerate(self._pools if due else ()):
            pool.draw(drawn[row], kept[row])
        return self._made(snapshot, curve, quantiles, safe, noticed)

    def _remember(
        self, past: pasts.Chunk, drift: pasts.Chunk, sample: Sample, time_seconds: int
    ) -> drifts.Alarms:
        """Take in a chunk's sample, and forget what was before a change; return who changed."""
        step, slots = self._step_seconds, self._slots
        pasts.remember(past, sample, time_seconds=time_seconds, step_seconds=step, slots=slots)
        present = ~np.isnan(sample.share)
        alarms = drifts.watch(drift, past, present, time_seconds=time_seconds, step_seconds=step, slots=slots)
        if alarms.rows.size:
            drifts.shorten(past, drift, alarms, time_seconds=time_seconds, step_seconds=step)
        return alarms

    def _made(
        self,
        snapshot: Snapshot,
        curve: NDArray[np.float32],
        quantiles: NDArray[np.float32],
        safe: NDArray[np.float32],
        noticed: NDArray[np.bool_],
    ) -> Forecast:
        unknown = self._past["seen"] == 0
        young = self._past["seen"] * self._step_seconds < self.newcomer_seconds
        fleet_young = self._ticks * self._step_seconds < PROFILING_SECONDS
        acts = self._record["trusted"] & ~young & (not fleet_young)
        np.copyto(quantiles, safe, where=~acts)
        quantiles *= snapshot.capacity
        quantiles[:, unknown] = np.nan
        return Forecast(
            time_seconds=snapshot.time_seconds,
            lead_seconds=self._lead_steps * self._step_seconds,
            levels=LEVELS,
            quantiles=quantiles,
            models=records.MODELS,
            model=records.acting_model(self._record, acts),
            skill=records.skill(self._record, acts),
            coverage=self._record["coverage"].copy(),
            profiling=young | fleet_young,
            exceedance=Exceedance(
                base=self._past["last"][0] * snapshot.capacity,
                offsets=OFFSETS,
                scale=snapshot.capacity,
                probability=curve,
                acts=acts,
                safe=np.where(unknown, np.float32(np.nan), safe * snapshot.capacity),
            ),
            drift=Drifts(
                kind=self._drift["kind"].copy(),
                age_seconds=drifts.age_seconds(self._drift, self._step_seconds),
                noticed=noticed,
            ),
        )

    def _draw(self, row: int) -> NDArray[np.int64]:
        """Draw the series to learn from at this tick, by identifier so that row order does not matter."""
        count = self._by_id.size
        if count <= DRAWN_MAX:
            return self._by_id
        return self._by_id[np.sort(self._random[row].choice(count, DRAWN_MAX, replace=False))]

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return everything the engine would need to go on after a restart."""
        named = prefixed("past", self._past.state()) | prefixed("record", self._record.state())
        named |= prefixed("drift", self._drift.state())
        for row, (network, pool, random) in enumerate(
            zip(self._networks, self._pools, self._random, strict=True)
        ):
            named |= prefixed(f"network.{row}", network.state())
            named |= prefixed(f"lessons.{row}", pool.state())
            named[f"random.{row}"] = _random_state(random)
        named |= {"ticks": np.array(self._ticks), "draws": np.array(self._draws)}
        named["last_seconds"] = np.array(-1 if self._last_seconds is None else self._last_seconds)
        return named

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._past.restore(under(state, "past"))
        self._record.restore(under(state, "record"))
        self._drift.restore(under(state, "drift"))
        for row, (network, pool) in enumerate(zip(self._networks, self._pools, strict=True)):
            network.restore(under(state, f"network.{row}"))
            pool.restore(under(state, f"lessons.{row}"))
            _restore_random(self._random[row], part_of(state, f"random.{row}"))
        self._by_id = np.argsort(part_of(state, "past.ids"), kind="stable")
        self._ticks = int(part_of(state, "ticks"))
        self._draws = int(part_of(state, "draws"))
        last = int(part_of(state, "last_seconds"))
        self._last_seconds = None if last < 0 else last


_NOBODY = np.empty(0, dtype=np.int64)


def _views(columns: Columns, part: slice) -> pasts.Chunk:
    """Return views of all columns for some series, by their flat numbers."""
    return {name: flat(columns[name])[..., part] for name in columns.names}


def amount_at(
    exceedance: NDArray[np.float32], last: NDArray[np.float32], probability: NDArray[np.float32] | np.float32
) -> NDArray[np.float32]:
    """Return the least amount on the ladder that is passed with at most ``probability``: (series,).

    In shares of capacity, between 0 and 1; capacity where even the ladder's top is passed too often.
    """
    passed: NDArray[np.bool_] = exceedance > probability
    above = np.add.reduce(passed.view(np.uint8), axis=0, dtype=np.uint8)
    ladder = np.append(OFFSETS, np.float32(1))
    return np.clip(last + ladder[above], 0, 1)


def _random_state(random: np.random.Generator) -> NDArray[np.uint64]:
    """Return the generator's state as six 64-bit words."""
    held: dict[str, Any] = dict(random.bit_generator.state)
    inner = held["state"]
    words = [inner["state"] >> 64, inner["state"] & _LOW, inner["inc"] >> 64, inner["inc"] & _LOW]
    return np.array([*words, held["has_uint32"], held["uinteger"]], dtype=np.uint64)


def _restore_random(random: np.random.Generator, words: NDArray[np.uint64]) -> None:
    state_high, state_low, inc_high, inc_low, has, integer = (int(word) for word in words)
    random.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state_high << 64 | state_low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has,
        "uinteger": integer,
    }


_LOW: Final = (1 << 64) - 1
