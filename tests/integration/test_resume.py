"""A loop that is stopped and started again decides as one that was never stopped, byte for byte."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from tidegate.app.registry import Settings, policy
from tidegate.app.resume import memory_of
from tidegate.app.service import Service
from tidegate.app.stopwatch import StageTimer
from tidegate.app.threads import one_blas_thread
from tidegate.app.wiring import guards, in_company, simulated
from tidegate.drivers.simulated.build import World
from tidegate.drivers.simulated.fleet import MoveCosts, SimulatedFleet
from tidegate.forecast.profile import Profile
from tidegate.journal.sql import checkpoint, writer
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.lab.archive import generated_trace
from tidegate.lab.replay import bare_fleet, with_known_capacity
from tidegate.learn.observing import Observing
from tidegate.loop import Loop
from tidegate.model.autonomy import Level
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import nothing_confirmed
from tidegate.model.roster import HOST
from tidegate.plan.difference import difference
from tidegate.score.nothing import NothingScorer
from tidegate.testing import roster_of, snapshot_of

TICKS = 62
STEP_SECONDS = 300
SHORT = (
    (writer, "ANCHOR_TICKS", 7),
    (writer, "CHECKPOINT_TICKS", 12),
    (writer, "SAVING_TICKS", 5),
    (checkpoint, "SLICE_BYTES", 2048),
)
"""So that a few ticks hold several of everything."""
EVERYTHING = Retention(keep_seconds=10**9, samples_seconds=10**9)
LEAST = Retention(keep_seconds=0, samples_seconds=0, bytes_max=1)
COSTS = MoveCosts(
    rehome_pause_seconds=0.0,
    migrate_pause_seconds=0.0,
    state_ratio=0.0,
    rehome_failure_ratio=0.0,
    migrate_failure_ratio=0.0,
    timeout_seconds=60.0,
    seed=0,
)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    for owner, name, value in SHORT:
        monkeypatch.setattr(owner, name, value)


class RecordedWorld:
    """A simulated fleet over a recorded series, where a restart makes a new one."""

    def __init__(self, seed):
        made = generated_trace(vms=6, days=1, step_seconds=STEP_SECONDS, seed=seed)
        used = made.used.copy()
        used[:, 5:25, 2] = np.nan
        self._trace = with_known_capacity(replace(made, used=used))
        self._world = World(trace=self._trace, fleet=bare_fleet(self._trace, 0.02), costs=COSTS)

    def loop(self, journal, learner):
        self._fleet = SimulatedFleet(self._trace, self._world.fleet, censored=True)
        return simulated(
            self._world,
            self._fleet,
            policy_name="tidegate",
            journal=journal,
            learner=learner,
            autonomy=journal.controls(Level.AUTO).autonomy,
            league=True,
        )

    def go_on(self, resumed):
        self._fleet.go_on(resumed.after)


class ChangingWorld:
    """Workloads come and go every few steps; the world outlives the process that looks at it."""

    WORKLOADS = 9

    def __init__(self, seed):
        self._seed = seed
        self._step = 0
        rng = np.random.default_rng(seed)
        self._capacity = rng.choice([2.0, 4.0, 8.0], (2, self.WORKLOADS)).astype(np.float32)
        self._grant = self._capacity.copy()
        self._roster = None

    def now_seconds(self):
        return 1_704_067_200 + self._step * STEP_SECONDS

    def read(self):
        self._step += 1
        era = self._step // 8
        if self._roster is None or self._step % 8 == 0:
            there = np.random.default_rng((self._seed, era)).permutation(self.WORKLOADS)[: 5 + era % 4]
            # Whoever comes again holds what it was sold.
            gone = np.setdiff1d(np.arange(self.WORKLOADS), there)
            self._grant[:, gone] = self._capacity[:, gone]
            self._roster = roster_of(there.size, resources=2, ids=there, violation_rate=0.02)
        at = self._roster.ids
        share = np.random.default_rng((self._seed, self._step, 1)).beta(1, 3, self._capacity.shape)
        demand = (share * self._capacity).astype(np.float32)
        demand[:, (np.arange(self.WORKLOADS) * 7 + self._step) % 11 == 0] = np.nan
        held = self._grant[:, at]
        return snapshot_of(
            np.minimum(demand[:, at], held),
            capacity=self._capacity[:, at],
            held=held,
            pressed=demand[:, at] > held,
            roster=self._roster,
            time_seconds=self.now_seconds(),
            step_seconds=STEP_SECONDS,
        )

    def submit(self, actions):
        assert (actions.share == HOST).all()
        self._grant[actions.resource_row, actions.workload_id] = actions.amount_to

    def collect(self):
        return nothing_confirmed()

    def loop(self, journal, learner):
        resources = snapshot_of(np.zeros((2, 1))).resources
        settings = Settings(resources=resources, step_seconds=STEP_SECONDS, seed=1)
        forecaster, planner = policy("tidegate")(settings)
        watch = StageTimer()
        return Loop(
            telemetry=self,
            forecaster=forecaster,
            scorer=NothingScorer(),
            planner=in_company(planner, "tidegate", settings, watch),
            guards=guards(self, autonomy=journal.controls(Level.AUTO).autonomy),
            difference=difference,
            actuator=self,
            journal=journal,
            learner=learner,
            stopwatch=watch,
        )

    def go_on(self, resumed):
        assert resumed.last.time_seconds == self.now_seconds()
        np.testing.assert_array_equal(resumed.after.grant[HOST], self._grant[:, resumed.last.roster.ids])


WORLDS = {"recorded": RecordedWorld, "changing": ChangingWorld}


class Told(NamedTuple):
    """What a tick decided, and what everyone remembered after it."""

    planned: bytes
    plan: bytes
    reason: bytes
    counterfactual: bytes
    actions: tuple
    memory: bytes
    journal_memory: bytes


def digest(state):
    found = hashlib.blake2b()
    for name, array in sorted(state.items()):
        found.update(f"{name}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return found.digest()


def told_of(tick, service):
    journal = service.journal
    return Told(
        planned=tick.planned.wanted.tobytes(),
        plan=tick.plan.wanted.tobytes(),
        reason=tick.plan.reason.tobytes(),
        counterfactual=tick.plan.counterfactual.tobytes(),
        actions=tuple(tick.actions),
        memory=digest(memory_of(service.loop)),
        journal_memory=digest({**journal._changes.state(), "rows": journal._last_row["number"]}),
    )


def thought(service):
    """Turn once and then think, as a device does when its orders are out."""
    tick = service.decide()
    service.think()
    return tick


def live(world, where, stops, *, retention=EVERYTHING, between=lambda *_: None, turn=Service.tick):
    """Run to the end, with a restart before each of ``stops``; return what each tick told and the restarts.

    ``between`` may tell the running loop something after any tick.
    """
    told, restarts, done = [], [], 0
    for stop in (*stops, TICKS):
        with one_blas_thread(), opened(where, {"loop": "test"}, retention) as journal:
            profile = Profile(step_seconds=STEP_SECONDS)
            service = Service(loop=world.loop(journal, Observing(profile, profile)), journal=journal)
            resumed = service.go_on(where)
            assert (resumed is None) == (done == 0)
            if resumed is not None:
                world.go_on(resumed)
                restarts.append(resumed)
                assert digest(memory_of(service.loop)) == told[-1].memory, f"memory after tick {done - 1}"
            while done < stop:
                tick = turn(service)
                assert tick.number == done
                told.append(told_of(tick, service))
                between(done, journal)
                done += 1
    return told, restarts


def require_same(never, stopped, stops):
    for number, (one, other) in enumerate(zip(never, stopped, strict=True)):
        for name in Told._fields:
            assert getattr(one, name) == getattr(other, name), f"{name} of tick {number}, stopped at {stops}"


def rows_of(where):
    """What the journal says of every tick: what changed, and what was seen."""
    reader = Reader.of(where)
    span = reader.span()
    changes = [
        (of.number, of.time_seconds, *(of.rows[name].tobytes() for name in sorted(of.rows)))
        for of in reader.changes(span.first, span.last)
    ]
    snapshots = [
        (number, seen.used.tobytes(), seen.grant.tobytes(), seen.roster.ids.tobytes())
        for number, seen in reader.snapshots(span.first, span.last)
    ]
    last = reader.last_rows(span.last).tolist()
    reader.close()
    return changes, snapshots, last


@pytest.fixture(scope="module", params=[("recorded", 4), ("changing", 5)], ids=lambda of: f"{of[0]}-{of[1]}")
def never_stopped(request, tmp_path_factory):
    """A world's kind and seed, what it told when it was never stopped, and its journal."""
    kind, seed = request.param
    where = location(str(tmp_path_factory.mktemp("never") / "journal.db"))
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, value in SHORT:
            patch.setattr(owner, name, value)
        told, _ = live(WORLDS[kind](seed), where, ())
    assert len({one.plan for one in told}) > TICKS / 2, "whoever never decides anew always decides alike"
    return kind, seed, told, where


@pytest.mark.parametrize("turn", [Service.tick, thought])
@pytest.mark.parametrize("stops", [(1,), (3, 24, 40, 56), (12, 13, 14, 15, 16, 17), (25, 26, 61)], ids=str)
def test_a_loop_stopped_between_ticks_goes_on_as_if_nothing_had_happened(
    never_stopped, stops, turn, tmp_path
):
    kind, seed, told, its_journal = never_stopped
    where = location(str(tmp_path / "journal.db"))
    stopped, restarts = live(WORLDS[kind](seed), where, stops, turn=turn)
    require_same(told, stopped, stops)
    assert rows_of(where) == rows_of(its_journal)
    assert [of.last.time_seconds for of in restarts] == [
        1_704_067_200 + stop * STEP_SECONDS for stop in stops
    ]


def test_stops_fall_before_within_and_after_a_checkpoint(tmp_path):
    world = ChangingWorld(5)
    _, restarts = live(world, location(str(tmp_path / "j.db")), (3, 17, 18, 50))
    before, *others = restarts
    assert (before.checkpoint, before.repeated_ticks) == (None, 3)
    assert all(of.checkpoint is not None for of in others)
    assert any(of.repeated_ticks > 5 for of in others)


def test_a_loop_stopped_after_every_tick_goes_on(never_stopped, tmp_path):
    kind, seed, told, _ = never_stopped
    stops = tuple(range(1, 18))
    stopped, restarts = live(WORLDS[kind](seed), location(str(tmp_path / "journal.db")), stops)
    require_same(told, stopped, stops)
    assert len(restarts) == len(stops)


def test_a_journal_that_kept_only_what_a_restart_needs_is_enough(never_stopped, tmp_path):
    kind, seed, told, _ = never_stopped
    where = location(str(tmp_path / "journal.db"))
    stops = (20, 33, 47, 60)
    stopped, restarts = live(WORLDS[kind](seed), where, stops, retention=LEAST)
    require_same(told, stopped, stops)
    reader = Reader.of(where)
    span = reader.span()
    reader.close()
    assert span.first > 30, "nothing was forgotten"
    assert all(of.checkpoint is not None for of in restarts)


@pytest.mark.parametrize("told_before", [True, False], ids=["told in the run", "told between the runs"])
def test_who_was_told_to_pause_since_remembers_what_was_asked_before(tmp_path, told_before):
    """What is repeated was decided under the autonomy of then: what holds now must not change it."""
    pause_at, stop = 36, 37

    def pause(number, journal):
        if number == pause_at:
            journal.controls(Level.AUTO).pause(now_seconds=0)

    never, _ = live(ChangingWorld(6), location(str(tmp_path / "never.db")), (), between=pause)
    where = location(str(tmp_path / "journal.db"))
    if told_before:
        stopped, _ = live(ChangingWorld(6), where, (stop,), between=pause)
    else:
        stopped, _ = live(_PausedByAnother(where, stop), where, (stop,))
    require_same(never, stopped, (stop,))
    assert not any(one.actions for one in never[stop:])
    assert any(one.actions for one in never[:stop])


class _PausedByAnother(ChangingWorld):
    """A world whose loop is paused while it does not run."""

    def __init__(self, where, stop):
        super().__init__(6)
        self._where, self._stop = where, stop

    def loop(self, journal, learner):
        if self._step == self._stop:
            journal.controls(Level.AUTO).pause(now_seconds=0)
        return super().loop(journal, learner)


HARMS = {
    "flipped": lambda data: data[:-9] + bytes([data[-9] ^ 0x55]) + data[-8:],
    "cut short": lambda data: data[: len(data) // 2],
}


@pytest.mark.parametrize("harm", [*HARMS, "gone"])
def test_a_checkpoint_with_a_damaged_part_is_refused_in_a_sentence_and_left_alone(tmp_path, harm):
    path = tmp_path / "journal.db"
    where = location(str(path))
    with pytest.raises(_Enough):
        live(ChangingWorld(7), where, (), between=_stop_after(30))
    with sqlite3.connect(path) as connection:
        digest_, data = connection.execute("SELECT * FROM slices ORDER BY length(data) DESC").fetchone()
        connection.execute("DELETE FROM slices WHERE digest = ?", (digest_,))
        if harm in HARMS:
            connection.execute("INSERT INTO slices VALUES (?, ?)", (digest_, HARMS[harm](data)))
    connection.close()
    with opened(where, {"loop": "test"}):
        pass  # drops what no checkpoint needs, as every start does
    before = path.read_bytes()
    with pytest.raises(TidegateError) as refused:
        live(ChangingWorld(7), where, ())
    said = str(refused.value)
    assert "\n" not in said
    assert "backup" in said
    assert path.read_bytes() == before


class _Enough(Exception):  # noqa: N818 - it is no error
    """Ends a run in the middle, as whoever pulls the plug does."""


def _stop_after(last):
    def between(number, _journal):
        if number == last:
            raise _Enough

    return between


def test_ticks_that_are_gone_from_the_middle_are_refused(tmp_path):
    where = location(str(tmp_path / "journal.db"))
    with pytest.raises(_Enough):
        live(ChangingWorld(8), where, (), between=_stop_after(30))
    with sqlite3.connect(where.path) as connection:
        connection.execute("DELETE FROM ticks WHERE number = (SELECT number + 1 FROM checkpoints)")
    connection.close()
    with pytest.raises(TidegateError, match="journal"):
        live(ChangingWorld(8), where, ())


def test_different_worlds_tell_different_stories(tmp_path):
    stories = [live(ChangingWorld(seed), location(str(tmp_path / f"{seed}.db")), ())[0] for seed in (8, 9)]
    for one, other in itertools.islice(zip(*stories, strict=True), 2, None):
        assert one.memory != other.memory
