"""A full card is shared by class: who holds more than its budget gives back in steps, down to its floor."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agents.device.conftest import GIB, SPEC
from tidegate.agents.device.budgeting import BUDGETED, LAPSE_SECONDS, STEP_RATIO, budget_of, cuts, has_lapsed
from tidegate.agents.device.card import SECOND
from tidegate.agents.device.deciding import Deciding, Sizes
from tidegate.agents.device.records import Application, Temporary
from tidegate.agents.device.services.device import Device
from tidegate.agents.device.services.messages import application_message
from tidegate.model.application import Amounts, ApplicationState
from tidegate.model.autonomy import Level
from tidegate.model.refusals import Refusal
from tidegate.wire.card.v1 import amounts_pb2

NOW = 10**9 * SECOND


def holding(cores, budget, *, floor=0.25, memory=GIB, **other):
    spec = replace(SPEC, amounts=Amounts(), floor=Amounts(cpu_cores=floor), ceiling=Amounts(), budget=budget)
    amounts = Amounts(cpu_cores=cores, memory_bytes=memory)
    return Application(
        name="web",
        spec=spec,
        epoch=0,
        wanted=ApplicationState.RUNNING,
        amounts=amounts,
        held=amounts,
        **{"budget_told_nanoseconds": NOW} | other,
    )


def next_cores(one, used=None):
    return cuts([one], {} if used is None else {"web": used}, NOW).get("web", Amounts()).cpu_cores


def test_who_is_over_its_budget_is_cut_whatever_it_uses():
    assert next_cores(holding(2.0, Amounts(cpu_cores=0.5)), Amounts(cpu_cores=2.0)) == 1.5
    assert next_cores(holding(0.6, Amounts(cpu_cores=0.5))) == 0.5
    assert next_cores(holding(0.4, Amounts(cpu_cores=0.5))) is None


@given(
    st.floats(0.02, 64.0),
    st.floats(0.0, 64.0),
    st.floats(0.0, 8.0),
)
def test_each_step_is_small_and_they_end_at_budget_or_floor(cores, budget, floor):
    least = max(budget, floor)
    for _ in range(200):
        lower = next_cores(holding(cores, Amounts(cpu_cores=budget), floor=floor))
        if lower is None:
            break
        assert lower < cores
        assert lower >= least
        assert lower >= cores * (1 - STEP_RATIO) or cores < 0.05
        cores = lower
    else:
        raise AssertionError("it never comes to an end")
    assert cores <= least * 1.011 + 0.011


def test_of_memory_only_what_is_not_in_use_is_taken():
    one = holding(1.0, Amounts(memory_bytes=GIB // 8))
    assert cuts([one], {}, NOW) == {}
    lower = cuts([one], {"web": Amounts(memory_bytes=GIB // 2)}, NOW)["web"].memory_bytes
    assert lower == GIB * 3 // 4
    assert cuts([one], {"web": Amounts(memory_bytes=GIB)}, NOW) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"migration": "m"},
        {"wanted": ApplicationState.STANDBY},
        {"wanted": ApplicationState.STOPPED},
        {"temporary": {"cpu_cores": Temporary(until_nanoseconds=2 * NOW, adjustment="a")}},
        {"budget_told_nanoseconds": NOW - round((LAPSE_SECONDS + 1) * SECOND)},
    ],
)
def test_who_moves_or_is_sized_by_a_person_for_a_time_or_was_long_not_told_is_left_alone(other):
    assert cuts([replace(holding(2.0, Amounts(cpu_cores=0.5)), **other)], {}, NOW) == {}


def test_a_budget_lapses_to_what_was_agreed():
    one = holding(2.0, Amounts(cpu_cores=0.5))
    assert budget_of(one, NOW + round(LAPSE_SECONDS * SECOND)).cpu_cores == 0.5
    late = NOW + round((LAPSE_SECONDS + 1) * SECOND)
    assert budget_of(one, late) == Amounts()
    assert has_lapsed(one, late)
    assert not has_lapsed(holding(2.0, Amounts()), late)


def budgeted(stage, name, **amounts):
    def change(spec):
        return replace(spec, budget=Amounts(**amounts))

    return stage.lifecycle.update(name, change, tells_budget=True)


def test_telling_a_budget_again_keeps_the_etag_and_is_remembered_over_a_restart(stage, spec):
    stage.lifecycle.create("web", spec)
    first = budgeted(stage, "web", cpu_cores=0.5)
    stage.clock.advance(200)
    again = budgeted(stage, "web", cpu_cores=0.5)
    assert again.etag == first.etag
    stage.restart()
    stage.clock.advance(200)
    assert not has_lapsed(stage.app(), stage.card.now())
    stage.clock.advance(200)
    assert has_lapsed(stage.app(), stage.card.now())
    assert budgeted(stage, "web", cpu_cores=0.7).etag != first.etag
    assert not has_lapsed(stage.app(), stage.card.now())


def deciding_on(stage, level=Level.AUTO):
    device = Device(card=stage.card, moving=None, threads=ThreadPoolExecutor(1))
    return Deciding(device=device, sizes=Sizes(policy="reactive", autonomy=level))


def test_a_pressed_low_class_gives_a_full_card_to_a_higher_one(stage, spec):
    """The higher one finds room only once the lower has given it back, step by step."""
    greedy = replace(spec, amounts=Amounts(cpu_cores=2.5), ceiling=Amounts())
    stage.lifecycle.create("low", greedy)
    stage.lifecycle.create("high", replace(spec, ports=(7001,)))
    stage.runtime.program("low").cpu_cores_wanted = 9.0
    made = deciding_on(stage)
    with pytest.raises(Refusal, match="short by"):
        stage.sizing.adjust("high", Amounts(cpu_cores=2.5))
    budgeted(stage, "low", cpu_cores=0.5)
    held = []
    for _ in range(8):
        stage.clock.advance(5)
        made.device.profiling.turn()
        asyncio.run(made.keep_budgets())
        held.append(stage.held("low").cpu_cores)
    made.device.threads.shutdown()
    assert held[0] == pytest.approx(2.5 * (1 - STEP_RATIO))
    assert held[-1] == pytest.approx(0.5, abs=0.02)
    stage.sizing.adjust("high", Amounts(cpu_cores=2.5))
    assert stage.store.adjustments("low")[0].reason == BUDGETED


def test_who_may_not_be_acted_on_keeps_what_it_holds(stage, spec):
    stage.lifecycle.create("web", spec)
    budgeted(stage, "web", cpu_cores=0.5)
    made = deciding_on(stage, Level.RECOMMEND)
    asyncio.run(made.keep_budgets())
    made.device.threads.shutdown()
    assert stage.held().cpu_cores == 1.0


def test_whether_a_budget_holds_is_told(stage, spec):
    stage.lifecycle.create("web", spec)
    budgeted(stage, "web", cpu_cores=0.5)
    made = deciding_on(stage)

    def told():
        message = application_message(made.device, stage.app())
        return {one.type: (one.truth, one.message) for one in message.status.conditions}["BudgetFresh"]

    assert told() == (amounts_pb2.TRUTH_TRUE, "")
    stage.clock.advance(int(LAPSE_SECONDS) + 1)
    assert told()[0] == amounts_pb2.TRUTH_FALSE
    assert "up to its ceiling" in told()[1]
    made.device.threads.shutdown()
