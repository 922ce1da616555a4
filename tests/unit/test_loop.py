"""The loop: who is asked, in which order, timed under which name, with what in hand."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from tidegate.actuate.dry_run import DryRun
from tidegate.app.stopwatch import StageTimer
from tidegate.drivers.simulated.fleet import Fleet, SimulatedFleet
from tidegate.forecast.recent_peak import RecentPeak
from tidegate.journal.memory import MemoryJournal
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, NO_CARD, one_unbounded_server
from tidegate.model.trace import Trace
from tidegate.plan.difference import difference
from tidegate.plan.guards import CoolDown, FloorAndCeiling
from tidegate.plan.policies.calibrated_reactive import CalibratedReactive
from tidegate.plan.policies.margin import WithMargin
from tidegate.score.nothing import NothingScorer
from tidegate.testing import ScriptedTelemetry, roster_of, snapshot_of
from tidegate.testing.story import Story

STAGES = ["telemetry", "forecast", "score", "plan", "guard", "actuate", "journal", "learn"]


class Noting:
    """Wraps a part and notes which of its methods was called."""

    def __init__(self, part, calls):
        self._part, self._calls = part, calls

    def __getattr__(self, name):
        method = getattr(self._part, name)

        def noted(*arguments):
            self._calls.append(name)
            return method(*arguments)

        return noted


class NotingWatch:
    """A stopwatch that notes what starts and ends."""

    def __init__(self, calls):
        self._calls = calls

    @contextmanager
    def stage(self, name):
        self._calls.append(f"<{name}")
        yield
        self._calls.append(f"{name}>")

    def seconds(self):
        return {}


def loop_of(snapshots, *, calls=None, **parts):
    calls = [] if calls is None else calls
    default = {
        "telemetry": ScriptedTelemetry(snapshots),
        "forecaster": RecentPeak(step_seconds=300),
        "scorer": NothingScorer(),
        "planner": WithMargin(margin_ratio=0.5),
        "guards": (FloorAndCeiling(),),
        "actuator": DryRun(),
        "journal": MemoryJournal(),
        "learner": NothingLearner(),
    } | parts
    noted = {name: Noting(part, calls) for name, part in default.items() if name != "guards"}
    return Loop(
        **noted,
        guards=tuple(Noting(guard, calls) for guard in default["guards"]),
        difference=lambda plan, snapshot: calls.append("difference") or difference(plan, snapshot),
        stopwatch=NotingWatch(calls),
    )


def test_a_tick_reads_like_the_flow():
    calls = []
    loop_of([snapshot_of([1.0])], calls=calls).tick()
    assert calls == [
        "<telemetry", "collect", "read", "telemetry>",
        "<forecast", "observe", "forecast", "forecast>",
        "<score", "score", "score>",
        "<plan", "plan", "plan>",
        "<guard", "shrink", "guard>",
        "<actuate", "difference", "submit", "actuate>",
        "<journal", "append", "journal>",
        "<learn", "learn", "learn>",
    ]  # fmt: skip


def test_guards_see_what_the_one_before_left():
    snapshot = snapshot_of([1.0], capacity=2, held=1)
    loop = loop_of([snapshot], guards=(FloorAndCeiling(), CoolDown(600)))
    loop.planner = WithMargin(margin_ratio=9.0)
    assert loop.tick().plan.wanted[HOST].tolist() == [[2.0]]


def test_a_tick_is_numbered_journalled_and_whole():
    journal, skipped = MemoryJournal(), DryRun()
    roster = roster_of(1)
    snapshots = [snapshot_of([1.0], roster=roster, time_seconds=300 * k) for k in range(3)]
    loop = loop_of(snapshots, journal=journal, actuator=skipped)
    ticks = [loop.tick() for _ in snapshots]
    assert [tick.number for tick in ticks] == [0, 1, 2]
    assert [tick.snapshot for tick in ticks] == snapshots
    assert [tick.time_seconds for tick in journal] == [0, 300, 600]
    assert skipped.actions_skipped == sum(len(tick.actions) for tick in ticks) == 3


def test_every_stage_is_timed_under_its_own_name():
    roster = roster_of(1)
    loop = loop_of([snapshot_of([1.0], roster=roster) for _ in range(3)])
    loop.stopwatch = timer = StageTimer()
    first, second = loop.tick(), loop.tick()
    # The tick is made before it is journalled: those two stages are in the next one's account.
    assert list(first.stage_seconds) == STAGES[:-2]
    assert sorted(second.stage_seconds) == sorted(STAGES)
    assert set(timer.total_seconds) == set(STAGES)
    assert all(seconds >= 0 for seconds in second.stage_seconds.values())


def test_workloads_come_and_go_while_it_runs():
    story = Story()
    fleets = [(0, 1, 2), (0, 1, 2), (2, 7, 0), (), (7,), (3, 7, 1, 0)]
    loop = loop_of(
        [story.snapshot(tick, ids) for tick, ids in enumerate(fleets)],
        planner=CalibratedReactive(),
        guards=(FloorAndCeiling(), CoolDown(900)),
    )
    for ids in fleets:
        tick = loop.tick()
        assert tick.plan.wanted.shape == (2, 2, len(ids))
        assert set(tick.actions.workload_id.tolist()) <= set(ids)


@pytest.mark.parametrize("lead_steps", [1, 2, 3])
def test_a_steady_fleet_comes_to_rest(lead_steps):
    ticks = 40
    used = np.full((1, ticks, 3), 0.1, dtype=np.float32) * np.float32([1, 7, 13])
    trace = Trace(
        name="steady", start_seconds=0, step_seconds=300, resources=(Resource.CPU,), vms=("a", "b", "c"),
        servers=(), used=used, capacity=np.full_like(used, 4),
    )  # fmt: skip
    fleet = Fleet(
        roster=roster_of(3), places=one_unbounded_server(1), host=np.zeros(3, dtype=np.int32),
        card=np.full(3, NO_CARD, dtype=np.int32),
    )  # fmt: skip
    world = SimulatedFleet(trace, fleet, lead_steps=lead_steps)
    loop = loop_of([], telemetry=world, actuator=world)
    counts = [len(loop.tick().actions) for _ in range(ticks)]
    assert counts == [3] + [0] * (ticks - 1)
