"""From what cards tell to columns: what is unknown is no end, and nobody needs less than it uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.agents.fleet.columns import (
    FIELDS,
    IDLE_RATIO,
    budget_of,
    columns,
    needed,
)
from tidegate.agents.fleet.records import ApplicationSeen, CardSeen, Placed
from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState
from tidegate.plan.cards import CardPlanner


def spec(**amounts):
    return ApplicationSpec(command=("serve",), amounts=Amounts(**amounts), hands_off=True)


def seen(name, its, **other):
    return ApplicationSeen(name=name, epoch=0, state=ApplicationState.RUNNING, spec=its, **other)


def placed(name, card, its):
    return Placed(name=name, card=card, epoch=0, epoch_asked=0, spec=its, since_seconds=0.0)


def test_a_resource_a_card_does_not_count_is_never_full():
    writes = spec(cpu_cores=1.0, storage_bytes_per_second=1000)
    there = seen("db", writes, used=Amounts(cpu_cores=1.0, storage_bytes_per_second=5_000))
    card = CardSeen(name="a", address="", allocatable=Amounts(cpu_cores=4.0), applications=(there,))
    fleet = columns(
        [card],
        [placed("db", "a", writes), placed("new", "", spec(cpu_cores=1.0))],
        heard=["a"],
        held_back={},
        now_seconds=1_000.0,
    )
    plan = CardPlanner().plan(fleet)
    assert plan.card.tolist() == [0, 0]
    told = budget_of(plan.budget[:, 0], writes)
    assert told.storage_bytes_per_second is None
    assert 1.0 < told.cpu_cores < 4.0


def test_a_gpu_nobody_knows_of_is_none():
    card = CardSeen(name="a", address="", allocatable=Amounts(cpu_cores=4.0))
    wants = spec(gpu_fraction=0.5)
    fleet = columns([card], [placed("new", "", wants)], heard=["a"], held_back={}, now_seconds=0.0)
    assert "lacks 0.5" in CardPlanner().plan(fleet).unplaced[0].reason


def test_nobody_needs_less_than_it_uses_whatever_is_forecast():
    one = seen("x", spec(cpu_cores=1.0), used=Amounts(cpu_cores=2.0), expected=Amounts(cpu_cores=0.5))
    assert needed(one.spec, one).cpu_cores == 2.0


def test_who_idles_keeps_enough_to_begin_again():
    its = spec(cpu_cores=1.0, storage_bytes_per_second=1_000)
    one = seen("x", its, used=Amounts(cpu_cores=0.0, storage_bytes_per_second=0))
    assert needed(its, one).cpu_cores == pytest.approx(IDLE_RATIO)
    assert needed(its, one).storage_bytes_per_second == 1_000 * IDLE_RATIO
    full = CardSeen(
        name="a",
        address="",
        allocatable=Amounts(cpu_cores=2.0, storage_bytes_per_second=1_000),
        applications=(one, seen("busy", its, used=Amounts(cpu_cores=3.0, storage_bytes_per_second=800))),
    )
    fleet = columns(
        [full], [placed("x", "a", its), placed("busy", "a", its)], heard=["a"], held_back={}, now_seconds=0.0
    )
    budget = CardPlanner(moves_max=0).plan(fleet).budget
    assert (budget[[FIELDS.index("cpu_cores"), FIELDS.index("storage_bytes_per_second")], 0] > 0).all()
    assert np.isfinite(budget[0]).all()


def test_a_newcomer_needs_its_floor_where_it_names_no_amount():
    its = ApplicationSpec(command=("serve",), floor=Amounts(memory_bytes=2**30))
    assert needed(its, None).memory_bytes == 2**30


def test_what_is_needed_is_what_its_latency_needs_if_that_is_more():
    one_core = spec(cpu_cores=1.0)
    seen = ApplicationSeen(
        name="x",
        epoch=0,
        state=ApplicationState.RUNNING,
        spec=one_core,
        used=Amounts(cpu_cores=1.0),
        cpu_cores_for_sla=2.5,
    )
    assert needed(seen.spec, seen).cpu_cores == 2.5
    assert needed(seen.spec, replace(seen, expected=Amounts(cpu_cores=3.0))).cpu_cores == 3.0
    assert needed(seen.spec, replace(seen, cpu_cores_for_sla=None)).cpu_cores == pytest.approx(1.2)
    assert needed(seen.spec, None).cpu_cores == 1.0
