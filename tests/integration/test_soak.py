"""Months through the real loop while everything that can happen to a fleet does: nothing breaks or grows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.forecast.nothing import NothingForecaster
from tidegate.lab.archive import generated_trace, load_trace
from tidegate.lab.soak import SoakSettings, coarser, joined, soak
from tidegate.lab.soak.happenings import JUMPS_SECONDS
from tidegate.model.errors import InputError
from tidegate.model.plan import Reason, host_plan
from tidegate.model.resources import Resource
from tidegate.plan.policies.static import Static

MEMORY_GROWTH_MAX = 64 * 2**20


def only(trace, vms):
    """Every so manieth VM of a trace, so many in all."""
    at = slice(0, len(trace.vms) // vms * vms, len(trace.vms) // vms)
    return replace(
        trace,
        vms=trace.vms[at],
        servers=trace.servers[at],
        used=trace.used[:, :, at],
        capacity=trace.capacity[:, :, at],
    )


def require_sound(result, ticks):
    assert result.problems == []
    assert result.ticks == ticks
    assert all(result.happened.values()), f"something never happened: {result.happened}"
    assert result.happened["clock_jumps"] == len(JUMPS_SECONDS)
    assert len(set(result.state_bytes_per_series)) == 1
    assert result.memory_growth_bytes < MEMORY_GROWTH_MAX
    assert result.violations / result.samples < 0.03
    assert result.reserved_sum / result.samples < 0.7


def test_two_made_up_weeks_leave_nothing_broken():
    trace = generated_trace(vms=12, days=14, step_seconds=1800, seed=1)
    require_sound(soak(trace, SoakSettings(seed=1)), trace.ticks)


def test_the_same_seed_soaks_the_same():
    trace = generated_trace(vms=4, days=4, step_seconds=1800, seed=3)
    one, other = (soak(trace, SoakSettings(seed=3)) for _ in range(2))
    assert (one.reserved_sum, one.violations, one.happened) == (
        other.reserved_sum,
        other.violations,
        other.happened,
    )


class Asks(Static):
    """Wants so many times what was sold."""

    def __init__(self, factor):
        self._factor = factor

    def plan(self, snapshot, forecast, scores):
        return host_plan(snapshot, snapshot.capacity * np.float32(self._factor), Reason.HOLD)


@pytest.mark.parametrize(
    ("factor", "sentence"),
    [
        (2, "more is wanted than was sold"),
        (0, "less is wanted than the floor"),
        (np.nan, "an unknown grant is wanted"),
        (np.inf, "an infinite grant is wanted"),
    ],
)
def test_a_policy_that_asks_for_nonsense_is_noticed(factor, sentence, monkeypatch):
    monkeypatch.setattr(
        "tidegate.lab.soak.run.policy", lambda _: lambda _: (NothingForecaster(), Asks(factor))
    )
    trace = generated_trace(vms=4, days=2, step_seconds=1800, seed=3)
    assert any(sentence in problem for problem in soak(trace, SoakSettings(seed=3)).problems)


def test_months_of_other_vms_are_no_soak():
    trace = generated_trace(vms=2, days=1, step_seconds=1800, seed=3)
    with pytest.raises(InputError, match="share no VM"):
        joined([trace, replace(trace, vms=("a", "b"))])


@pytest.mark.shared
@pytest.mark.slow
def test_july_and_august_of_real_vms_leave_nothing_broken(shared_traces):
    months = ("2013-07.parquet", "2013-08-vms-001-250.parquet")
    resources = (Resource.CPU, Resource.MEMORY)
    both = joined(
        [load_trace([shared_traces / "bitbrains" / month], resources=resources) for month in months]
    )
    trace = coarser(only(both, 25), 3)
    require_sound(soak(trace, SoakSettings(seed=7)), trace.ticks)
