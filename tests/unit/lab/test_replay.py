"""Replays: what is refused, what is the same every time, and who is in the table."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from tidegate.app.registry import POLICIES
from tidegate.lab.replay import (
    ReplaySettings,
    Run,
    check,
    demand_by_time,
    replay,
    replay_all,
    runs_of,
    with_known_capacity,
)
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace

NAN = np.nan
SETTINGS = ReplaySettings(
    sla=0.05, warmup_seconds=3600, decide_every_seconds=300, lead_steps=1, censored=False, seed=3
)


def recorded(*, ticks=160, vms=5, seed=11):
    rng = np.random.default_rng(seed)
    day = np.sin(np.arange(ticks) * 2 * np.pi / 96)[:, None] * 0.2 + 0.4
    capacity = np.full((2, ticks, vms), 8, dtype=np.float32)
    used = ((day + 0.2 * rng.random((2, ticks, vms))) * capacity).astype(np.float32)
    used[rng.random(used.shape) < 0.02] = np.nan
    late = vms - 1
    capacity[:, : ticks // 4, late] = used[:, : ticks // 4, late] = np.nan
    return Trace(
        name="recorded",
        start_seconds=1_704_067_200,
        step_seconds=300,
        resources=(Resource.CPU, Resource.MEMORY),
        vms=tuple(f"vm-{number}" for number in range(vms)),
        servers=(),
        used=used,
        capacity=capacity,
    )


def figures(result):
    return [asdict(measured) for measured in result.measures]


def test_a_replay_is_the_same_every_time():
    trace = with_known_capacity(recorded())
    for name in POLICIES:
        run = Run(policy=name, sla=0.05)
        assert figures(replay(trace, run, SETTINGS)) == figures(replay(trace, run, SETTINGS)), name


def test_two_processes_find_what_one_finds():
    trace = with_known_capacity(recorded(ticks=60))
    runs = [Run(policy="calibrated_reactive", sla=0.05, with_history=True), Run(policy="oracle", sla=0.01)]
    ticks = []
    alone = replay_all(trace, runs, SETTINGS, processes=1)
    together = replay_all(trace, runs, SETTINGS, processes=2, progress=lambda done: ticks.append(tuple(done)))
    assert [figures(result) for result in together] == [figures(result) for result in alone]
    assert [result.run for result in together] == runs
    assert ticks[-1] == (60, 60)
    for here, there in zip(alone[0].history.exemplars, together[0].history.exemplars, strict=True):
        np.testing.assert_array_equal(here.grant, there.grant)


def test_what_goes_wrong_in_a_process_is_said_here():
    trace = with_known_capacity(recorded(ticks=20))
    too_long = replace(SETTINGS, warmup_seconds=20 * 300)
    runs = [Run(policy="static", sla=0.05), Run(policy="oracle", sla=0.05)]
    with pytest.raises(InputError, match="no sample is left after the warm-up"):
        replay_all(trace, runs, too_long, processes=2)


def test_static_reserves_everything_and_breaks_nothing():
    (cpu, _) = replay(with_known_capacity(recorded()), Run(policy="static", sla=0.05), SETTINGS).measures
    assert (cpu.violation_ratio, cpu.reserved_ratio, cpu.changes_per_vm_day_p99) == (0, 1, 0)


def test_the_oracle_reserves_what_is_used_and_breaks_nothing():
    (cpu, _) = replay(with_known_capacity(recorded()), Run(policy="oracle", sla=0.05), SETTINGS).measures
    assert (cpu.violation_ratio, cpu.unmet_ratio) == (0, 0)
    assert cpu.slack_ratio == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("lead_steps", [2, 3])
def test_the_oracle_sees_as_far_as_it_must(lead_steps):
    settings = replace(SETTINGS, lead_steps=lead_steps)
    (cpu, _) = replay(with_known_capacity(recorded()), Run(policy="oracle", sla=0.05), settings).measures
    assert cpu.violation_ratio < 0.03  # what it missed are samples after a hole
    assert cpu.slack_ratio < 0.03


def test_what_is_censored_teaches_less():
    trace = with_known_capacity(recorded())
    run = Run(policy="reactive", sla=0.05)
    open_eyes = replay(trace, run, SETTINGS).measures[0]
    blinkers = replay(trace, run, replace(SETTINGS, censored=True)).measures[0]
    assert blinkers.reserved_ratio <= open_eyes.reserved_ratio


def test_deciding_seldom_changes_seldom():
    trace = with_known_capacity(recorded())
    run = Run(policy="oracle", sla=0.05)
    often = replay(trace, run, SETTINGS).measures[0]
    seldom = replay(trace, run, replace(SETTINGS, decide_every_seconds=1800)).measures[0]
    assert seldom.changes_per_vm_day_p99 < often.changes_per_vm_day_p99 / 3


def test_capacity_is_held_until_the_next_one_is_known():
    trace = recorded(ticks=4, vms=2)
    capacity = trace.capacity.copy()
    capacity[0, :, 0] = [8, NAN, 4, NAN]
    capacity[1] = NAN
    used = trace.used.copy()
    used[0, :, 0] = [9, 9, 9, NAN]
    known = with_known_capacity(replace(trace, used=used, capacity=capacity))
    assert known.resources == (Resource.CPU,)
    assert known.capacity[0, :, 0].tolist() == [8, 8, 4, 4]
    assert known.used[0, :3, 0].tolist() == [8, 8, 4]


def test_a_trace_without_any_capacity_can_t_be_replayed():
    trace = recorded(ticks=4)
    with pytest.raises(InputError, match="choose others with --resource"):
        with_known_capacity(replace(trace, capacity=np.full_like(trace.capacity, np.nan)))


def test_demand_is_looked_up_by_the_end_of_its_step_and_unknown_outside():
    trace = recorded(ticks=3)
    look_up = demand_by_time(trace)
    np.testing.assert_array_equal(look_up(trace.start_seconds + 300), trace.used[:, 0])
    np.testing.assert_array_equal(look_up(trace.start_seconds + 900), trace.used[:, 2])
    assert np.isnan(look_up(trace.start_seconds)).all()
    assert np.isnan(look_up(trace.start_seconds + 1200)).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sla": 0.0}, "outside"),
        ({"sla": 0.51}, "outside"),
        ({"sla": NAN}, "outside"),
        ({"lead_steps": 0}, "at least 1 step"),
        ({"decide_every_seconds": 400}, "multiple of the trace's step"),
        ({"decide_every_seconds": 0}, "multiple of the trace's step"),
        ({"warmup_seconds": 160 * 300}, "shorter --warmup"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        check(replace(SETTINGS, **wrong), recorded())


def test_a_report_runs_further_slas_of_the_policies_that_have_one():
    settings = replace(SETTINGS, sla=0.01)
    runs = runs_of(["vpa", "calibrated_reactive"], settings, frontier=True)
    assert [(run.policy, run.sla) for run in runs] == [
        ("vpa", 0.01),
        *[("calibrated_reactive", sla) for sla in (0.01, 0.05, 0.001)],
    ]  # fmt: skip
    assert [run.with_history for run in runs] == [True, True, False, False]


def test_a_policy_named_twice_or_unknown_is_refused_before_anything_runs():
    with pytest.raises(InputError, match="twice"):
        runs_of(["vpa", "vpa"], SETTINGS, frontier=False)
    with pytest.raises(InputError, match="choose from"):
        runs_of(["vpa", "nobody"], SETTINGS, frontier=False)
