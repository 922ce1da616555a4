"""Servers as one fleet: samples side by side, orders to whom they concern, silence told from zero."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from tidegate.agents.servers.servers import ORDERS_WAITING_MAX, SERVERS_MAX
from tidegate.agents.servers.turning import Turning
from tidegate.model.outcome import Phase, nothing_confirmed
from tidegate.model.refusals import Refusal
from tidegate.wire.orders import ServerOutcomes


def test_two_servers_are_one_fleet(card):
    card.add("one", 2)
    card.add("two", 3)
    snapshot = card.turn().snapshot
    assert snapshot.places.names == ("one", "two")
    assert snapshot.host.tolist() == [0, 0, 1, 1, 1]
    assert len(set(snapshot.roster.ids.tolist())) == 5  # both count from one
    np.testing.assert_array_equal(snapshot.used, np.ones((2, 5)))


def test_what_the_policy_wants_arrives_at_each_server(card):
    servers = [card.add("one", 2), card.add("two", 3)]
    servers[1].demand[:] = 3.0
    card.turn(80)
    assert (servers[0].grant < 2).all()
    assert ((servers[1].grant > 3) & (servers[1].grant < 4)).all()
    assert card.servers.read().in_flight.sum() == 0


def test_the_roster_stays_one_object_while_nobody_comes_or_goes(card):
    server = card.add("one", 2)
    first = card.turn().snapshot.roster
    assert card.turn().snapshot.roster is first
    server.named(["vm-0", "vm-9"])
    assert card.turn().snapshot.roster is not first


def test_a_server_that_falls_silent_is_missing_not_idle(card):
    card.add("one", 2)
    card.add("two", 2)
    card.turn(3)
    card.wires["two"].cut = True
    snapshot = card.turn(4).snapshot
    assert np.isnan(snapshot.used[:, 2:]).all()
    assert not np.isnan(snapshot.used[:, :2]).any()
    assert (snapshot.grant[0][:, 2:] == 4).all()


def test_nothing_is_ordered_at_a_lost_server(card):
    server = card.add("one", 2)
    card.turn(61)
    card.wires["one"].cut = True
    card.turn(61)
    assert card.servers.is_lost("one")
    assert not card.servers.settable.any()
    while card.servers.next_orders("one"):
        pass
    server.demand[:] = 3.5
    card.turn(5)
    assert card.servers.next_orders("one") is None


def test_orders_in_flight_are_columns_and_time_out_when_nobody_answers(card):
    card.add("one", 1)
    wire = card.wires["one"]
    wire.deliver = lambda: None
    while not card.turn().actions:
        pass
    flying = card.servers.read().in_flight[0]
    assert (flying < 0).all()
    wire.cut = True
    card.time.seconds += 20
    outcome = card.servers.collect()
    assert (outcome.phase == Phase.TIMED_OUT).all()
    assert len(outcome) > 0
    assert card.servers.read().in_flight.sum() == 0


def test_a_late_outcome_of_orders_nobody_gave_is_left_out(card):
    card.add("one", 1)
    card.turn()
    card.servers.outcomes("one", ServerOutcomes(number=99, outcome=nothing_confirmed()))
    assert len(card.servers.collect()) == 0


def test_orders_wait_for_a_server_up_to_a_limit_and_then_are_refused(card):
    server = card.add("one", 1)
    card.turn(70)
    card.wires["one"].deliver = lambda: None
    phases = []
    for at in range(3 * ORDERS_WAITING_MAX):
        server.demand[:] = 0.5 + at * 0.1
        server.grant[:] = 4.0
        phases += card.turn().outcome.phase.tolist()
    assert phases.count(Phase.REFUSED) > 0
    waiting = [card.servers.next_orders("one") for _ in range(2 * ORDERS_WAITING_MAX)]
    assert sum(orders is not None for orders in waiting) == ORDERS_WAITING_MAX


def test_more_servers_than_the_limit_are_refused(card):
    for at in range(SERVERS_MAX):
        card.add(f"s{at}", 1)
    with pytest.raises(Refusal, match=f"serves {SERVERS_MAX} servers"):
        card.add("one-more", 1)


def test_a_device_that_is_not_the_latest_is_told_so(card):
    card.add("one", 1)
    card.turn(70)
    assert card.wires["one"].agent._memory.epoch == 1
    card.begin(epoch=0)
    greeting = card.wires["one"].agent.greeting()
    with pytest.raises(Refusal, match="not the latest"):
        card.servers.greet(greeting)


def test_a_reconnected_server_goes_on(card):
    server = card.add("one", 1)
    card.turn(3)
    card.wires["one"].connect()
    server.demand[:] = 2.0
    snapshot = card.turn(2).snapshot
    assert snapshot.used[0, 0] == 2.0


def test_orders_hold_to_the_end_of_the_second_the_plan_names(card):
    card.add("one", 1)
    card.wires["one"].deliver = lambda: None
    card.time.seconds += 0.9  # late in its second: it has as long as any other
    while not (tick := card.turn()).actions:
        pass
    orders = card.servers.next_orders("one")
    assert orders.expires_nanoseconds == (tick.plan.expires_seconds + 1) * 10**9
    assert orders.expires_nanoseconds - card.time.nanoseconds() >= 10**9


def test_orders_that_no_server_has_taken_can_be_withdrawn(card):
    card.add("one", 1)
    card.wires["one"].deliver = lambda: None
    while not card.turn().actions:
        pass
    card.servers.withdraw()
    assert card.servers.next_orders("one") is None
    assert (card.servers.collect().phase == Phase.REFUSED).all()
    assert card.servers.read().in_flight.sum() == 0


def test_a_loop_turns_on_its_servers_samples_and_each_step_where_there_are_none(card):
    turned = []
    turning = Turning(card.servers, lambda: turned.append(1), step_seconds=0.01, own="own")

    async def runs(ticks):
        await asyncio.wait_for(turning.run(ticks=ticks), 5)

    card.add("own", 1)
    turning.due()  # nobody to wait for
    asyncio.run(runs(1))
    card.add("one", 1)
    turning._step_seconds = 1000.0
    turning.due()  # one server is there: its samples count
    assert not turning._woken.is_set()
    card.wires["one"].sample()
    turning.arrived()
    asyncio.run(runs(1))
    assert len(turned) == 2


def test_a_device_makes_ready_only_for_the_sample_that_its_turn_waits_for(card):
    ready = []
    turning = Turning(
        card.servers,
        lambda: None,
        step_seconds=1,
        rehearse=lambda: ready.append(1),
        own="own",
    )
    for name in ("own", "one", "two"):
        card.add(name, 1)
    card.turn()
    turning.follows("one")  # two is waited for as well
    assert not ready
    card.wires["one"].sample()
    turning.follows("one")  # and its own has come already
    assert not ready
    turning.follows("two")
    assert ready == [1]
    card.wires["two"].sample()
    turning.follows("two")
    assert ready == [1]


def test_a_server_that_samples_too_seldom_is_told_so(card):
    card.add("one", 1)
    greeting = replace(card.wires["one"].greeting, step_seconds=10.0)
    with pytest.raises(Refusal, match="start its agent with --step 1s"):
        card.servers.greet(greeting)


def test_a_clock_that_is_put_back_makes_nobody_fresh_or_heard_for_ever(card):
    card.add("one", 1)
    card.turn(3)
    card.time.seconds -= 3600
    assert np.isnan(card.servers.read().used).all()
    assert not card.servers.is_lost("one")
    card.wires["one"].cut = True
    card.turn(61)
    assert card.servers.is_lost("one")
