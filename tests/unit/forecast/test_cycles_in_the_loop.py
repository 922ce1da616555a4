"""Short cycles in the loop: grants rise before each burst, fall between, and find what was cut off."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.app.stopwatch import StageTimer
from tidegate.drivers.simulated.fleet import SimulatedFleet
from tidegate.forecast.cycles import Cycles, WithCycles
from tidegate.forecast.engine import Engine
from tidegate.forecast.recent_peak import RecentPeak
from tidegate.journal.nothing import NothingJournal
from tidegate.lab.replay import bare_fleet
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace
from tidegate.plan.difference import difference
from tidegate.plan.policies.margin import WithMargin
from tidegate.plan.policies.tidegate import Tidegate
from tidegate.score.nothing import NothingScorer

START = 1_704_067_200
LOW, HIGH = 0.05, 0.7
CORES = 4.0
PERIODS = (20, 45, 60.5, 97, 300, 600)
DUTIES = (0.1, 0.3, 0.5)
FIRST_EXPECTED = (3, 5)
"""The first burst that must be expected, counted from 0; bursts of two samples that come a sample early or
late look like chance for longer."""


def noisy(levels, rng, noise=0.02):
    return np.clip(levels + rng.normal(0, noise, levels.size) * (0.2 + levels), 0.005, 1)


def at_onsets(onsets, duration, ticks, rng, high=HIGH):
    levels = np.full(ticks, LOW)
    for onset in onsets:
        levels[max(int(onset), 0) : int(onset) + duration] = high
    return noisy(levels, rng)


def bursts(period, duty, *, seed, cycles=14, jitter=1):
    """Demand in shares of capacity, and where each burst begins; the first has no complete rise."""
    rng = np.random.default_rng((seed, int(period * 10), int(duty * 10)))
    ticks = int(period * cycles)
    exact = np.arange(rng.uniform(2, period), ticks - 2, period)
    onsets = np.rint(exact).astype(int) + rng.integers(-jitter, jitter + 1, exact.size)
    return at_onsets(onsets, max(1, round(period * duty)), ticks, rng), onsets


def looped(demand, forecaster, planner, *, sla=0.01):
    """Run the real loop: use is cut off at the grant.

    Return the shares held, where demand ran short, and what would be held without the forecast.
    """
    ticks, workloads = demand.shape
    trace = Trace(
        name="bursts",
        start_seconds=START,
        step_seconds=1,
        resources=(Resource.CPU,),
        vms=tuple(f"vm-{number}" for number in range(workloads)),
        servers=(),
        used=(demand[None] * CORES).astype(np.float32),
        capacity=np.full((1, ticks, workloads), CORES, dtype=np.float32),
    )
    fleet = SimulatedFleet(trace, bare_fleet(trace, sla), censored=True)
    loop = Loop(
        telemetry=fleet,
        forecaster=forecaster,
        scorer=NothingScorer(),
        planner=planner,
        guards=(),
        difference=difference,
        actuator=fleet,
        journal=NothingJournal(),
        learner=NothingLearner(),
        stopwatch=StageTimer(),
    )
    held, safe = np.zeros(demand.shape), np.ones(demand.shape)
    short = np.zeros(demand.shape, dtype=bool)
    for number in range(ticks):
        tick = loop.tick()
        held[number], short[number] = tick.snapshot.held[0] / CORES, tick.snapshot.pressed[0]
        if tick.plan.counterfactual is not None:
            safe[number] = tick.plan.counterfactual[0] / CORES
    return held, short, safe


def reactive():
    return RecentPeak(step_seconds=1, window_seconds=12), WithMargin(margin_ratio=0.2)


@pytest.mark.parametrize("period", PERIODS)
def test_grants_that_follow_the_forecast_rise_in_time_and_fall_between(period):
    made = [bursts(period, duty, seed=seed, cycles=8) for duty in DUTIES for seed in (11, 12)]
    demand = np.stack([series for series, _ in made], axis=1)
    forecaster = Cycles(step_seconds=1)
    held, short, _ = looped(demand, forecaster, WithMargin(margin_ratio=0.0))
    for column, (_, onsets) in enumerate(made):
        first = FIRST_EXPECTED[period * DUTIES[column // 2] < 3]
        assert (held[onsets[first:], column] > HIGH - 0.05).all()
        assert short[onsets[first] :, column].sum() <= max(2, 0.01 * demand.shape[0])
    assert held[int(4 * period) :].mean() < 0.9 * HIGH


@pytest.mark.parametrize("period", PERIODS)
def test_tidegate_runs_short_far_less_than_a_reactive_rule_and_holds_less_than_the_safe_one(period):
    made = [bursts(period, duty, seed=seed, cycles=9) for duty in DUTIES for seed in (13, 14)]
    demand = np.stack([series for series, _ in made], axis=1)
    forecaster = WithCycles(RecentPeak(step_seconds=1), Cycles(step_seconds=1))
    held, short, safe = looped(demand, forecaster, Tidegate(), sla=0.001)
    _, reactive_short, _ = looped(demand, *reactive())
    late = np.zeros(demand.shape, dtype=bool)
    for column, (_, onsets) in enumerate(made):
        first = FIRST_EXPECTED[period * DUTIES[column // 2] < 3]
        late[onsets[first] - 2 :, column] = True
        assert (held[onsets[first:], column] > HIGH - 0.05).all()
    assert (short & late).sum() <= 0.2 * (reactive_short & late).sum()
    assert held[late].mean() < 0.95 * safe[late].mean()


def test_workloads_of_different_periods_do_not_mind_each_other():
    made = [bursts(20, 0.3, seed=15, cycles=60), bursts(97, 0.2, seed=16, cycles=13)]
    ticks = min(series.size for series, _ in made)
    demand = np.stack([series[:ticks] for series, _ in made], axis=1)
    engine = Engine(resources=(Resource.CPU,), step_seconds=1)
    forecaster = WithCycles(engine, Cycles(step_seconds=1))
    _, short, _ = looped(demand, forecaster, Tidegate(), sla=0.001)
    _, reactive_short, _ = looped(demand, *reactive())
    after = made[1][1][3]
    assert short[after:].sum() <= 0.2 * reactive_short[after:].sum()


def test_demand_that_was_cut_off_is_found_within_a_cycle():
    rng = np.random.default_rng(17)
    onsets = np.arange(10, 1200, 60)
    demand = np.fmax(
        at_onsets(onsets[:10], 12, 1200, rng, high=0.35), at_onsets(onsets[10:], 12, 1200, rng, high=0.9)
    )
    forecaster = Cycles(step_seconds=1)
    held, short, _ = looped(demand[:, None], forecaster, WithMargin(margin_ratio=0.0))
    assert short[onsets[10] : onsets[11]].sum() <= 5
    assert short[onsets[12] :].mean() < 0.01
    assert (held[onsets[12:]] > 0.85).all()
