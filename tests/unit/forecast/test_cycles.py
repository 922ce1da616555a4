"""Short cycles: found after three bursts, trusted by their record, and out of the way everywhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.forecast.cycles import Cycles, WithCycles, search
from tidegate.forecast.cycles.backtest import trailing_maximum, widened
from tidegate.forecast.cycles.periods import find_periods
from tidegate.forecast.engine import Engine
from tidegate.forecast.recent_peak import RecentPeak
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST
from tidegate.plan.policies.tidegate import Tidegate
from tidegate.testing import forecaster_checks, roster_of, snapshot_of

START = 1_704_067_200
LOW, HIGH = 0.05, 0.7
CORES = 4.0
PERIODS = (20, 45, 60.5, 97, 300, 600)
DUTIES = (0.1, 0.3, 0.5)
FIRST_EXPECTED = (3, 5)
"""The first burst that must be expected, counted from 0; bursts of two samples that come a sample early or
late look like chance for longer."""


# --- Series, and how they are shown ----------------------------------------------------------


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


def shown(demand, forecaster, *, step=1, roster=None, start=0):
    """Show uncut demand (ticks, workloads); return where cycles act and what is said, per tick."""
    roster = roster_of(demand.shape[1]) if roster is None else roster
    acts = np.zeros(demand.shape, dtype=bool)
    said = np.zeros(demand.shape)
    for tick in range(demand.shape[0]):
        snapshot = snapshot_of(
            demand[tick] * CORES,
            capacity=CORES,
            roster=roster,
            time_seconds=START + (start + tick) * step,
            step_seconds=step,
        )
        forecaster.observe(snapshot)
        forecast = forecaster.forecast(snapshot)
        acts[tick] = forecast.model[0] == len(forecast.models) - 1
        said[tick] = forecast.quantiles[-1, 0] / CORES
    return acts, said


def cycles_over_the_engine():
    return WithCycles(Engine(resources=(Resource.CPU,), step_seconds=1), Cycles(step_seconds=1))


# --- The contract ----------------------------------------------------------------------------------


def makers():
    def engine():
        return Engine(resources=(Resource.CPU, Resource.MEMORY), step_seconds=300, lead_steps=2)

    def cycles(lead_steps=1):
        return Cycles(step_seconds=300, lead_steps=lead_steps, window_steps=64)

    return {
        "alone": cycles,
        "over a peak": lambda: WithCycles(RecentPeak(step_seconds=300), cycles()),
        "over the engine": lambda: WithCycles(engine(), cycles(2)),
    }


CHECKS = [
    pytest.param(check, id=f"{name}-{check.name}")
    for name, make in makers().items()
    for check in forecaster_checks(make, cards=name == "over a peak")
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_contract_is_kept(check):
    check()


def test_a_window_that_holds_no_three_cycles_is_refused():
    with pytest.raises(InputError, match="a window of 10 steps is too short"):
        Cycles(step_seconds=1, window_steps=10)


# --- Finding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", PERIODS)
def test_after_three_cycles_every_burst_is_expected_before_it_begins(period):
    made = [bursts(period, duty, seed=seed, cycles=9) for duty in DUTIES for seed in range(3)]
    demand = np.stack([series for series, _ in made], axis=1)
    forecaster = Cycles(step_seconds=1)
    acts, said = shown(demand, forecaster)
    for column, (_, onsets) in enumerate(made):
        assert not acts[: onsets[0] + int(2.5 * period), column].any()
        before = onsets[FIRST_EXPECTED[period * DUTIES[column // 3] < 3] :] - 1
        assert acts[before, column].all()
        assert (said[before, column] > HIGH - 0.05).all()
        assert said[before[0] :, column].mean() < 0.95 * HIGH
    assert np.allclose(forecaster.period_seconds(), period, rtol=0.02, atol=0.7)


@pytest.mark.parametrize("lead_steps", [2, 5])
def test_with_a_longer_lead_bursts_are_expected_earlier(lead_steps):
    demand, onsets = bursts(60.5, 0.2, seed=1, cycles=8)
    _, said = shown(demand[:, None], Cycles(step_seconds=1, lead_steps=lead_steps))
    for onset in onsets[4:]:
        assert (said[onset - lead_steps : onset, 0] > HIGH - 0.05).all()


@pytest.mark.parametrize("step", [2, 5])
def test_steps_of_some_seconds_do_as_well(step):
    demand, onsets = bursts(24, 0.2, seed=2, cycles=8)
    acts, _ = shown(demand[:, None], Cycles(step_seconds=step), step=step)
    assert acts[onsets[4] :].all()


def test_a_new_habit_is_found_behind_an_old_one():
    rng = np.random.default_rng(3)
    old, new = np.arange(10, 1200, 60), np.arange(1230, 2600, 97)
    demand = at_onsets([*old, *new], 12, 2600, rng)
    forecaster = Cycles(step_seconds=1)
    acts, _ = shown(demand[:, None], forecaster)
    assert acts[-97:].all()
    assert forecaster.period_seconds()[0, 0] == pytest.approx(97, abs=0.5)


# --- Trust -------------------------------------------------------------------------------------------


def aperiodic(ticks, rng):
    """Load without a schedule, by name."""
    walk = np.cumsum(rng.standard_normal(ticks)) * 0.01
    made = {
        "white noise": rng.uniform(0.1, 0.6, ticks),
        "quiet noise": 0.3 + 0.05 * rng.standard_normal(ticks),
        "random walk": 0.5 + walk,
        "constant": np.full(ticks, 0.3),
        "leak": np.linspace(0.1, 0.9, ticks) + rng.normal(0, 0.01, ticks),
        "step": np.where(np.arange(ticks) < rng.integers(100, ticks), 0.2, 0.7) + rng.normal(0, 0.01, ticks),
    }
    for mean in (20, 60, 200):
        gaps = rng.exponential(mean, ticks // mean * 3) + max(2, mean // 6)
        made[f"bursts by chance, {mean} s apart"] = at_onsets(np.cumsum(gaps), mean // 6, ticks, rng)
    made["cron with a random delay"] = at_onsets(np.cumsum(rng.uniform(30, 90, ticks // 30)), 8, ticks, rng)
    return {name: np.clip(series, 0, 1) for name, series in made.items()}


def test_load_without_a_schedule_is_hardly_ever_trusted():
    ticks, seeds = 3600, 16
    made = [aperiodic(ticks, np.random.default_rng(seed)) for seed in range(seeds)]
    demand = np.concatenate([np.stack([one[name] for one in made], axis=1) for name in made[0]], axis=1)
    acts, _ = shown(demand, Cycles(step_seconds=1))
    wrong = {name: acts[:, at * seeds : (at + 1) * seeds].mean() for at, name in enumerate(made[0])}
    assert max(wrong.values()) < 0.01, wrong
    for name in ("white noise", "quiet noise", "constant", "leak", "step"):
        assert wrong[name] == 0, wrong


def scheduled(after, *, period=60, duration=12, ticks=2400):
    """Demand that keeps a schedule up to the half, then does what ``after`` (onsets) says."""
    rng = np.random.default_rng(4)
    before = np.arange(10, ticks // 2, period) + rng.integers(-1, 2, ticks // 2 // period)
    return at_onsets([*before, *after], duration, ticks, rng), before


def test_a_burst_at_an_unexpected_time_ends_trust_at_once_and_the_peak_is_held():
    demand, before = scheduled(np.arange(1191 - 20 + 60, 2390, 60))
    shifted = 1191 - 20 + 60
    assert before[-1] == pytest.approx(1151, abs=1)
    acts, said = shown(demand[:, None], cycles_over_the_engine())
    assert acts[shifted - 1, 0]
    assert not acts[shifted, 0]
    untrusted = np.flatnonzero(~acts[shifted:, 0])
    assert (said[shifted + untrusted, 0] > HIGH - 0.05).all()
    assert acts[shifted + 6 * 60 :, 0].all()


def test_one_burst_left_out_costs_nothing_and_two_end_trust():
    demand, before = scheduled([])
    resumed = demand.copy()
    resumed[before[-1] + 120 : before[-1] + 132] = HIGH
    skipped, _ = shown(resumed[: before[-1] + 160, None], Cycles(step_seconds=1))
    assert skipped[300:].all()
    stopped, _ = shown(demand[:, None], Cycles(step_seconds=1))
    assert not stopped[before[-1] + 2 * 60 + 30 :].any()


def test_cycles_that_drift_are_followed():
    rng = np.random.default_rng(5)
    onsets = 10 + np.cumsum(rng.choice([58, 59, 60, 61, 62], 38))
    acts, said = shown(at_onsets(onsets, 12, 2400, rng)[:, None], Cycles(step_seconds=1))
    expected = said[onsets[5:] - 1, 0] > HIGH - 0.05
    assert acts[600:].mean() > 0.8
    assert expected.mean() > 0.95


@pytest.mark.parametrize("missing_ratio", [0.05, 0.2])
def test_missing_samples_are_no_quiet(missing_ratio):
    demand, onsets = bursts(60.5, 0.3, seed=6, cycles=10)
    lost = np.random.default_rng(7).random(demand.size) < missing_ratio
    acts, said = shown(np.where(lost, np.nan, demand)[:, None], Cycles(step_seconds=1))
    assert acts[onsets[5] :].all()
    assert (said[onsets[5:] - 1] > HIGH - 0.05).all()


def test_lost_ticks_keep_the_phase_and_a_long_pause_ends_it():
    demand, onsets = bursts(60, 0.2, seed=8, cycles=12, jitter=0)
    forecaster = Cycles(step_seconds=1, window_steps=512)
    away = slice(onsets[5] + 20, onsets[6] + 30)
    shown(demand[: away.start, None], forecaster)
    acts, said = shown(demand[away.stop :, None], forecaster, start=away.stop)
    assert acts.all()
    assert (said[onsets[7:] - 1 - away.stop] > HIGH - 0.05).all()
    acts, _ = shown(demand[:100, None], forecaster, start=10_000)
    assert not acts.any()


def test_what_is_sold_may_change():
    demand, onsets = bursts(45, 0.2, seed=9, cycles=8)
    forecaster, roster = Cycles(step_seconds=1), roster_of(1)
    for tick, share in enumerate(demand):
        capacity = CORES if tick < onsets[5] - 10 else 2 * CORES
        snapshot = snapshot_of(
            [share * CORES], capacity=capacity, roster=roster, time_seconds=START + tick, step_seconds=1
        )
        forecaster.observe(snapshot)
        if tick in onsets[5:] - 1:
            said = forecaster.forecast(snapshot).quantiles[-1, 0, 0]
            assert said == pytest.approx(HIGH * CORES, rel=0.15)


# --- Around another forecaster -----------------------------------------------------------------------


def test_where_cycles_act_everything_is_theirs_and_elsewhere_nothing():
    scheduled_one, onsets = bursts(45, 0.2, seed=18, cycles=8)
    demand = np.stack([scheduled_one, np.random.default_rng(19).uniform(0.1, 0.6, scheduled_one.size)])
    both, inner = cycles_over_the_engine(), Engine(resources=(Resource.CPU,), step_seconds=1)
    roster = roster_of(2)
    for tick in range(onsets[5]):
        snapshot = snapshot_of(
            demand[:, tick] * CORES,
            capacity=CORES,
            roster=roster,
            time_seconds=START + tick,
            step_seconds=1,
        )
        both.observe(snapshot)
        inner.observe(snapshot)
    found, plain = both.forecast(snapshot), inner.forecast(snapshot)
    assert found.models == (*plain.models, "cycles")
    assert found.model[0].tolist() == [len(plain.models), plain.model[0, 1]]
    assert found.profiling.tolist() == [[False, True]]
    assert found.skill[0, 0] > 0.2
    assert found.coverage[0, 0] > 0.95
    expected = found.quantiles[-1, 0, 0]
    curve, before = found.exceedance, plain.exceedance
    rung = curve.base[0, 0] + curve.offsets * curve.scale[0, 0]
    assert (curve.probability[rung < expected, 0, 0] == 1).all()
    assert (curve.probability[rung >= expected, 0, 0] < 0.01).all()
    assert curve.acts.tolist() == [[True, False]]
    np.testing.assert_array_equal(curve.safe, before.safe)
    np.testing.assert_array_equal(curve.probability[:, 0, 1], before.probability[:, 0, 1])
    np.testing.assert_array_equal(found.quantiles[:, 0, 1], plain.quantiles[:, 0, 1])


def test_over_a_forecaster_without_a_curve_the_safe_baseline_stays_calibrated():
    demand = np.random.default_rng(20).uniform(0.1, 0.6, (200, 3))
    plain, wrapped = Tidegate(), Tidegate()
    alone = RecentPeak(step_seconds=1, window_seconds=5)
    both = WithCycles(RecentPeak(step_seconds=1, window_seconds=5), Cycles(step_seconds=1))
    roster, held = roster_of(3), np.full(3, CORES)
    for tick, shares in enumerate(demand):
        wanted = shares * CORES
        snapshot = snapshot_of(
            wanted,
            capacity=CORES,
            held=held,
            pressed=wanted > held,
            roster=roster,
            time_seconds=START + tick,
            step_seconds=1,
        )
        plans = []
        for forecaster, planner in ((alone, plain), (both, wrapped)):
            forecaster.observe(snapshot)
            plans.append(planner.plan(snapshot, forecaster.forecast(snapshot), None).wanted[HOST])
        np.testing.assert_allclose(plans[1], plans[0], rtol=1e-4)
        held = plans[0][0]


# --- Memory ------------------------------------------------------------------------------------------


def two_at_work(ticks):
    made = [bursts(20, 0.3, seed=21, cycles=30)[0], bursts(45, 0.2, seed=22, cycles=20)[0]]
    return np.stack([series[:ticks] for series in made], axis=1)


def test_a_restart_while_cycles_act_changes_nothing():
    demand, one = two_at_work(400), cycles_over_the_engine()
    acts, _ = shown(demand[:300], one, roster=roster_of(2))
    assert acts[-1].all()
    other = cycles_over_the_engine()
    other.restore(one.state())
    wanted = shown(demand[300:], one, roster=roster_of(2), start=300)
    found = shown(demand[300:], other, roster=roster_of(2), start=300)
    np.testing.assert_array_equal(found[1], wanted[1])


def test_thinking_between_samples_changes_when_it_searches_and_nothing_else(monkeypatch):
    searched, demand = [], two_at_work(400)
    monkeypatch.setattr(
        "tidegate.forecast.cycles.cycles.due",
        lambda memory, tick: searched.append(tick) or search.due(memory, tick),
    )
    lazy, eager = cycles_over_the_engine(), cycles_over_the_engine()
    wanted = shown(demand, lazy, roster=roster_of(2))
    searched.clear()
    for tick in range(400):
        _, said = shown(demand[tick : tick + 1], eager, roster=roster_of(2), start=tick)
        np.testing.assert_array_equal(said[0], wanted[1][tick])
        before = len(searched)
        eager.think()
        assert len(searched) == before + 1, "nothing was left for the next sample"
        eager.think()
        assert len(searched) == before + 1, "one search a sample"
    assert len(searched) == 400


def test_rows_follow_their_workload_while_cycles_act():
    demand = two_at_work(400)
    one, other = Cycles(step_seconds=1), Cycles(step_seconds=1)
    shown(demand[:200], one, roster=roster_of(2))
    shown(demand[:200], other, roster=roster_of(2))
    wanted = shown(demand[200:], one, roster=roster_of(2), start=200)
    turned = np.stack([demand[200:, 1], np.full(200, 0.4), demand[200:, 0]], axis=1)
    found = shown(turned, other, roster=roster_of(3, ids=[2, 9, 1]), start=200)
    assert wanted[0].all()
    np.testing.assert_allclose(found[1][:, [2, 0]], wanted[1], rtol=1e-5)


def test_a_tick_looks_at_no_more_than_its_limits(monkeypatch):
    looked = []

    def counted(samples):
        looked.append(samples.shape)
        return find_periods(samples)

    monkeypatch.setattr(search, "find_periods", counted)
    demand = np.random.default_rng(23).uniform(0.1, 0.6, (700, 200))
    shown(demand, Cycles(step_seconds=1, window_steps=1024))
    assert max(series for series, _ in looked) <= search.SERIES_PER_TICK_MAX
    assert max(series * steps for series, steps in looked) <= search.SAMPLES_PER_TICK_MAX
    assert max(steps for _, steps in looked) > 600


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 30), count=st.integers(1, 60))
def test_running_maxima_are_what_a_loop_would_find(seed, steps, count):
    samples = np.random.default_rng(seed).random((3, count)).astype(np.float32)
    trailing, wide = trailing_maximum(samples, steps), widened(samples, min(steps, count - 1))
    for at in range(count):
        np.testing.assert_array_equal(trailing[:, at], samples[:, max(at - steps + 1, 0) : at + 1].max(1))
        near = slice(max(at - min(steps, count - 1), 0), at + min(steps, count - 1) + 1)
        np.testing.assert_array_equal(wide[:, at], samples[:, near].max(1))
