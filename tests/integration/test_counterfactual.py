"""What a live tick says would have been done without the forecast is what a replay without it does.

The same holds for every rule in the shadow: over the same samples it runs short as often, and reserves as
much, as when it is replayed alone.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from tidegate.app.explain import explain
from tidegate.app.registry import PLAIN_MODEL
from tidegate.app.threads import one_blas_thread
from tidegate.app.wiring import SHADOWS, WITHOUT_FORECAST, simulated
from tidegate.drivers.simulated.build import World
from tidegate.drivers.simulated.fleet import MoveCosts, SimulatedFleet
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.lab.archive import generated_trace
from tidegate.lab.replay import ReplaySettings, Run, _loop, bare_fleet, replay, with_known_capacity
from tidegate.model.snapshot import in_server_units
from tidegate.plan.league import TODAY

SLA = 0.02
STEP_SECONDS = 600
DAYS = 2.5
VMS = 7
COSTS = MoveCosts(
    rehome_pause_seconds=0.0,
    migrate_pause_seconds=0.0,
    state_ratio=0.0,
    rehome_failure_ratio=0.0,
    migrate_failure_ratio=0.0,
    timeout_seconds=60.0,
    seed=0,
)
RULES = tuple(name for name in SHADOWS if name != WITHOUT_FORECAST)
EXPLAINED_EVERY = 29
"""Ticks from one that is explained to the next: no divisor of a day, so that all hours are."""


class Lived(NamedTuple):
    """A live run, and where its journal is."""

    trace: object
    where: object
    counterfactual: list
    days: dict
    """Sums of the league by day."""
    last: object


def made_trace(seed):
    """A few VMs with gaps, one that comes late, and two that are resized."""
    trace = generated_trace(vms=VMS, days=DAYS, step_seconds=STEP_SECONDS, seed=seed)
    rng = np.random.default_rng(seed)
    used, capacity = trace.used.copy(), trace.capacity.copy()
    for vm, factor in ((1, 2.0), (2, 0.6)):
        capacity[:, int(rng.integers(60, 200)) :, vm] *= np.float32(factor)
    start = int(rng.integers(40, 120))
    used[:, start : start + 25, 3] = np.nan
    used[:, :50, 4], capacity[:, :50, 4] = np.nan, np.nan
    used[:, rng.random(trace.ticks) < 0.05, 5] = np.nan
    return with_known_capacity(replace(trace, used=used, capacity=capacity))


@pytest.fixture(scope="module", params=[3, 8], ids="seed {}".format)
def lived(request, tmp_path_factory):
    """A live run of `tidegate` with the league in its shadow, journalled."""
    trace = made_trace(request.param)
    assert np.isnan(trace.used).any()
    assert not np.isnan(trace.used).all(axis=(0, 1)).any()
    where = location(str(tmp_path_factory.mktemp("lived") / "journal.db"))
    world = World(trace=trace, fleet=bare_fleet(trace, SLA), costs=COSTS)
    wanted, days = [], {}
    with one_blas_thread(), opened(where, {"league": ",".join(("tidegate", *SHADOWS))}) as journal:
        loop = simulated(
            world,
            SimulatedFleet(trace, world.fleet),
            policy_name="tidegate",
            journal=journal,
            league=True,
        )
        for _ in range(trace.ticks):
            tick = loop.tick()
            wanted.append(tick.plan.counterfactual)
            state = dict(loop.planner.league.state())
            days[int(state["day"])] = state
    return Lived(trace, where, wanted, days, loop.planner.league)


@pytest.fixture(scope="module")
def replayed(lived):
    """What `tidegate replay --no-forecast` wants in each step of the same samples."""
    settings = replay_settings(lived.trace)
    fleet = SimulatedFleet(lived.trace, bare_fleet(lived.trace, SLA))
    loop = _loop(lived.trace, Run(policy="tidegate", sla=SLA), settings, fleet)
    decided = []
    for _ in range(lived.trace.ticks):
        tick = loop.tick()
        total = in_server_units(tick.plan.wanted, tick.snapshot)
        decided.append(np.where(np.isnan(total), tick.snapshot.held, total))
    return decided


def replay_settings(trace):
    return ReplaySettings(
        sla=SLA,
        warmup_seconds=0,
        decide_every_seconds=trace.step_seconds,
        lead_steps=1,
        censored=False,
        seed=0,
        model=PLAIN_MODEL,
    )


def test_the_counterfactual_of_every_tick_is_what_a_replay_without_forecast_decides(lived, replayed):
    for number, (live, alone) in enumerate(zip(lived.counterfactual, replayed, strict=True)):
        assert live.tobytes() == alone.tobytes(), f"tick {number}: {live.tolist()} {alone.tolist()}"
    moved = [np.nanmax(np.abs(b - a)) for a, b in itertools.pairwise(replayed[50:])]
    assert np.count_nonzero(moved) > 50, "a constant would agree with anything"


def test_the_journal_says_so_of_every_decision(lived, replayed):
    reader = Reader.of(lived.where)
    seen = 0
    for changes in reader.changes(0, lived.trace.ticks - 1):
        rows = changes.rows
        alone = replayed[changes.number][rows["resource"], rows["workload"]]
        np.testing.assert_array_equal(rows["counterfactual"], alone, f"tick {changes.number}")
        seen += alone.size
    reader.close()
    assert seen > lived.trace.ticks


def test_an_explanation_says_so_for_every_workload(lived, replayed):
    reader, told = Reader.of(lived.where), 0
    trace = lived.trace
    for number in (*range(0, trace.ticks, EXPLAINED_EVERY), trace.ticks - 1):
        for column, name in enumerate(trace.vms):
            for row, said in enumerate(
                explain(reader, name, trace.start_seconds + (number + 1) * trace.step_seconds)
            ):
                assert said.tick == number
                if said.decided is not None:
                    alone = replayed[said.decided.tick][row, column]
                    assert said.decided.without_forecast == pytest.approx(float(alone), rel=0, abs=0)
                    told += 1
    reader.close()
    assert told > VMS * len(trace.resources) * trace.ticks / EXPLAINED_EVERY * 0.8


@pytest.mark.parametrize("rule", [WITHOUT_FORECAST, *RULES])
def test_a_shadow_runs_short_and_reserves_as_its_replay_does(lived, rule):
    policy, _ = SHADOWS[rule]
    alone = replay(lived.trace, Run(policy=policy, sla=SLA), replay_settings(lived.trace))
    at = lived.last.policies.index(rule)
    steady = np.array([0, 3, 4, 5, 6])
    for row, measured in enumerate(alone.measures):
        samples = sum(day["samples"][TODAY, row].sum() for day in lived.days.values())
        short = sum(day["short"][TODAY, at, row].sum() for day in lived.days.values())
        assert short == round(measured.violation_ratio * samples)
        # Reserves are weighed by the last capacity: that of whom nobody resized.
        reserved = sum(day["reserved"][TODAY, at, row, steady] for day in lived.days.values())
        counted = sum(day["samples"][TODAY, row, steady] for day in lived.days.values())
        capacity = lived.trace.capacity[row, -1, steady]
        assert (counted > 0).all()
        np.testing.assert_allclose(
            (reserved * capacity).sum() / (counted * capacity).sum(),
            reserved_of(lived.trace, policy, row, steady),
            rtol=1e-5,
        )


def reserved_of(trace, policy, row, columns):
    """What a replay of some VMs alone reserves: nobody minds the others."""
    some = replace(
        trace,
        vms=tuple(trace.vms[column] for column in columns),
        used=trace.used[:, :, columns],
        capacity=trace.capacity[:, :, columns],
    )
    return replay(some, Run(policy=policy, sla=SLA), replay_settings(some)).measures[row].reserved_ratio
