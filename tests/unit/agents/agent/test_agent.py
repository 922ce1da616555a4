"""An agent: does as it is ordered once, refuses what is late or about something else, falls back in steps."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from tidegate.agents.agent.agent import MEMORY_FILE
from tidegate.agents.agent.connection import Connection
from tidegate.agents.agent.standing import ALONE_SECONDS, SILENT_SECONDS, Standing, standing
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import Phase
from tidegate.wire.orders import ServerOrders


def ordered(card, name="one", **other):
    """Orders that would be carried out now, unless something is changed."""
    agent = card.wires[name].agent
    made = ServerOrders(
        number=1_000,
        epoch=1,
        roster_version=agent.who.version,
        batch_number=agent.number,
        ttl_nanoseconds=10**9,
        workload_id=np.array([1], dtype=np.int64),
        resource_row=np.array([0], dtype=np.uint8),
        amount_from=np.array([4.0], dtype=np.float32),
        amount_to=np.array([2.5], dtype=np.float32),
    )
    return replace(made, **other)


@pytest.fixture
def one(card):
    server = card.add("one", 2)
    card.turn()
    return card, card.wires["one"].agent, server


def test_orders_are_carried_out_and_read_back(one):
    card, agent, server = one
    done = agent.carry_out(ordered(card))
    assert done.refused == ""
    assert done.outcome.phase.tolist() == [Phase.APPLIED]
    assert done.outcome.amount_read_back.tolist() == [2.5]
    assert server.grant[0, 0] == 2.5


def test_the_same_orders_are_done_once_and_answered_twice(one):
    card, agent, server = one
    first = agent.carry_out(ordered(card))
    server.grant[0, 0] = 3.0
    assert agent.carry_out(ordered(card)) is first
    assert server.grant[0, 0] == 3.0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"batch_number": 99}, "expired"),
        ({"roster_version": 99}, "roster 99"),
        ({"workload_id": np.array([77], dtype=np.int64)}, "workload 77"),
    ],
)
def test_what_may_not_be_done_is_refused_whole(one, change, why):
    card, agent, server = one
    done = agent.carry_out(ordered(card, **change))
    assert why in done.refused
    assert server.submitted == []


def test_orders_of_a_replaced_device_are_refused_also_after_a_restart(one):
    card, agent, server = one
    agent.carry_out(ordered(card, epoch=5))
    assert "epoch 4" in agent.carry_out(ordered(card, number=1_001, epoch=4)).refused
    again = card.agent("one", server)
    again.step()
    assert "epoch 4" in again.carry_out(ordered(card, number=1_002, epoch=4, roster_version=1)).refused


def test_a_grant_that_has_moved_since_is_left_alone(one):
    card, agent, server = one
    both = ordered(
        card,
        workload_id=np.array([1, 2], dtype=np.int64),
        resource_row=np.zeros(2, dtype=np.uint8),
        amount_from=np.array([4.0, 3.0], dtype=np.float32),
        amount_to=np.array([2.5, 2.5], dtype=np.float32),
    )
    done = agent.carry_out(both).outcome
    assert dict(zip(done.workload_id.tolist(), done.phase.tolist(), strict=True)) == {
        1: Phase.APPLIED,
        2: Phase.REFUSED,
    }
    assert server.grant[0].tolist() == [2.5, 4.0]


def test_what_can_not_be_remembered_is_not_done(one, monkeypatch):
    card, agent, server = one

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tidegate.agents.agent.agent._write", full)
    done = agent.carry_out(ordered(card, epoch=7))
    assert "No space left" in done.refused
    assert server.submitted == []


def test_a_damaged_memory_is_told_with_its_remedy(one):
    card, _, server = one
    (card.folder / "one").mkdir(exist_ok=True)
    (card.folder / "one" / MEMORY_FILE).write_text("{")
    with pytest.raises(TidegateError, match="remove it if"):
        card.agent("one", server)


def test_standing_goes_from_led_to_alone():
    assert standing(0) is Standing.LED
    assert standing(SILENT_SECONDS) is Standing.HOLDING
    assert standing(ALONE_SECONDS) is Standing.ALONE
    assert standing(float("inf")) is Standing.ALONE


def test_a_silent_device_holds_grants_then_the_baseline_decides_until_it_is_back(card):
    server = card.add("one", 1)
    server.demand[:] = 0.5
    card.turn(90)
    led = server.grant.copy()
    assert (led < 1).all()
    server.demand[:] = 3.0
    card.wires["one"].cut = True
    card.turn(30)
    assert card.wires["one"].agent.standing is Standing.HOLDING
    np.testing.assert_array_equal(server.grant, led)
    card.turn(60)
    assert card.wires["one"].agent.standing is Standing.ALONE
    assert (server.grant > led).all()
    card.wires["one"].cut = False
    card.wires["one"].connect()
    before = len(server.submitted)
    card.turn(1)
    assert card.wires["one"].agent.standing is Standing.LED
    assert len(server.submitted) - before <= 1


def test_an_agent_that_may_not_decide_alone_leaves_grants_for_as_long_as_its_device_is_silent(card):
    server = card.add("one", 1)
    agent = card.agent("held", server, decides_alone=False)
    server.demand[:] = 0.5
    for _ in range(200):
        card.time.seconds += 1
        agent.step()
    assert agent.standing is Standing.ALONE
    assert server.submitted == []


def test_an_agent_that_never_heard_a_device_waits_before_it_decides(card):
    server = card.add("lone", 1)
    agent = card.agent("lone", server)
    server.demand[:] = 0.5
    for _ in range(50):
        card.time.seconds += 1
        agent.step()
    assert server.submitted == []
    for _ in range(60):
        card.time.seconds += 1
        agent.step()
    assert server.submitted != []


def test_a_clock_that_is_put_back_does_not_keep_an_agent_led(card):
    card.add("one", 1)
    card.turn(3)
    card.wires["one"].cut = True
    card.time.seconds -= 3600
    card.turn(int(SILENT_SECONDS))
    assert card.wires["one"].agent.standing is Standing.LED
    card.turn(2)
    assert card.wires["one"].agent.standing is Standing.HOLDING
    card.turn(int(ALONE_SECONDS))
    assert card.wires["one"].agent.standing is Standing.ALONE


def test_orders_expire_by_how_long_ago_the_agent_itself_took_their_batch(one):
    card, agent, _ = one
    late = ordered(card)
    card.time.seconds += 1.5  # it was held up on its way
    assert "expired" in agent.carry_out(late).refused
    assert agent.carry_out(replace(late, number=1_001, ttl_nanoseconds=2 * 10**9)).refused == ""


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_device_whose_clock_is_hours_off_is_obeyed_all_the_same(card, hours):
    card.servers._now = lambda: card.time.nanoseconds() + hours * 3600 * 10**9
    server = card.add("one", 1)
    server.demand[:] = 0.5
    before = server.grant.copy()
    card.turn(90)
    assert (server.grant < before).all()


def test_orders_on_a_batch_of_long_ago_are_late_whatever_they_say(one):
    card, agent, _ = one
    old = ordered(card, ttl_nanoseconds=10**15)
    card.turn(70)
    assert "expired" in agent.carry_out(replace(old, roster_version=agent.who.version)).refused


class Failing:
    """A server that can't be read for some steps."""

    def __init__(self, agent, times):
        self.sample, self.left, self.calls = agent.sample, times, 0

    def __call__(self):
        self.calls += 1
        if self.calls > 1 and self.left:
            self.left -= 1
            raise TidegateError("the disk is slow")
        return self.sample()


def connected(agent, times, tmp_path):
    told, failing = [], Failing(agent, times)
    agent.sample = failing
    made = Connection(agent, address=f"unix:{tmp_path}/nobody.sock", clock=SystemClock(), told=told.append)
    return made, told, failing


def test_one_that_can_t_be_read_for_a_while_is_read_again_and_tells_it_once(one, tmp_path):
    _, agent, _ = one
    made, told, failing = connected(agent, 3, tmp_path)
    asyncio.run(made.run(step_seconds=0.005, ticks=6))
    assert failing.calls == 7
    said = [sentence for sentence in told if sentence.startswith("this server")]
    assert len(said) == 2
    assert "the disk is slow" in said[0]
    assert "after 3 steps" in said[1]


def test_one_that_can_never_be_read_ends_after_so_many_steps(one, tmp_path, monkeypatch):
    monkeypatch.setattr("tidegate.agents.agent.connection.READS_FAILED_MAX", 4)
    _, agent, _ = one
    made, _, failing = connected(agent, 99, tmp_path)
    with pytest.raises(TidegateError, match="disk is slow"):
        asyncio.run(made.run(step_seconds=0.005, ticks=50))
    assert failing.calls == 5
