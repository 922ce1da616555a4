"""What becomes of a lease as time passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidegate.vral.claims import Health, Why
from tidegate.vral.tending import GIVE_BACK_AFTER_SECONDS, NOTICE_SECONDS, tended


def tend(world, lease, seconds=0.0):
    """Let time pass and look after the lease once; returns it and what was told."""
    world.now += seconds
    change = world.do(tended(world.books, world.books.get(lease.vm, lease.name), world.market, world.now))
    told = () if change is None else tuple(notice.why for notice in change.notices)
    return world.books.get(lease.vm, lease.name), told


def test_it_is_healthy_once_it_is_read_back(world):
    lease = world.claim(wanted=3.0)
    lease, told = tend(world, lease, 1)
    assert (lease.health, told) == (Health.APPLYING, ())
    world.held[0] = 2.99
    lease, told = tend(world, lease, 1)
    assert (lease.health, told) == (Health.HEALTHY, (Why.HEALTHY,))
    world.held[0] = 2.0
    lease, told = tend(world, lease, 1)
    assert (lease.health, told) == (Health.DEGRADED, (Why.DEGRADED,))


def test_what_is_not_in_force_by_its_deadline_has_failed(world):
    lease = world.claim(wanted=3.0, deadline_seconds=5)
    assert tend(world, lease, 4)[0] is not None
    lease, told = tend(world, lease, 1)
    assert (lease, told) == (None, (Why.FAILED,))


def test_what_of_it_is_of_use_stays(world):
    lease = world.claim(wanted=3.0, least=2.0, deadline_seconds=5)
    lease, told = tend(world, lease, 5)
    assert (lease.amount, lease.health, told) == (2.0, Health.HEALTHY, (Why.SHRUNK,))


def test_it_expires(world):
    lease = world.claim(ttl_seconds=10)
    assert tend(world, lease, 9.9)[0] is not None
    assert tend(world, lease, 0.1) == (None, (Why.EXPIRED,))


def test_another_vm_of_the_same_name_holds_no_lease(world):
    lease = replace(world.claim(), workload_id=77)
    world.books.commit(type(tended(world.books, lease, world.market, world.now))(put=lease))
    assert tend(world, lease)[1] == (Why.EXPIRED,)


def test_lower_demand_gives_back_after_a_while_and_after_notice(world):
    lease = world.claim(wanted=2.0, least=0.5, ttl_seconds=3600)
    world.predicted[0] = 1.0
    assert tend(world, lease, GIVE_BACK_AFTER_SECONDS - 1)[1] == ()
    lease, told = tend(world, lease, 1)
    assert (lease.amount, lease.shrinks_to, told) == (2.0, 1.0, (Why.SHRINKING,))
    assert tend(world, lease, NOTICE_SECONDS - 1)[1] == ()
    lease, told = tend(world, lease, 1)
    assert (lease.amount, told) == (1.0, (Why.SHRUNK,))
    assert tend(world, lease, 100)[0].amount == 1.0


def test_never_below_the_least(world):
    lease = world.claim(wanted=2.0, least=1.5, ttl_seconds=3600)
    world.predicted[0] = 0.1
    tend(world, lease, GIVE_BACK_AFTER_SECONDS)
    assert tend(world, lease, NOTICE_SECONDS)[0].amount == 1.5


def test_demand_that_comes_back_calls_the_shrink_off(world):
    lease = world.claim(wanted=2.0, least=0.5, ttl_seconds=3600)
    world.predicted[0] = 1.0
    tend(world, lease, GIVE_BACK_AFTER_SECONDS)
    world.predicted[0] = 2.0
    tend(world, lease, 1)
    assert tend(world, lease, NOTICE_SECONDS)[0].amount == 2.0


def test_predicted_demand_grows_it_up_to_the_burst(world):
    lease = world.claim(wanted=2.0, burst=3.0)
    world.predicted[0] = 3.5
    lease, told = tend(world, lease, 1)
    assert (lease.amount, lease.health, told) == (3.0, Health.APPLYING, (Why.GROWN,))


def test_where_there_is_none_the_guest_is_told_of_the_pressure_now_and_then(world):
    world.host_amount, world.has_card = 6.0, False
    lease = world.claim(wanted=2.0, burst=3.0)
    world.predicted[0] = 3.0
    assert tend(world, lease, 1)[1] == (Why.PRESSURE,)
    assert tend(world, lease, 1)[1] == ()
    assert tend(world, lease, 30)[1] == (Why.PRESSURE,)


def test_a_lease_that_was_short_is_filled_up(world):
    world.host_amount = 6.5
    lease = world.claim(wanted=3.0, least=1.0, near=True)
    assert lease.short == 0.5
    world.host_amount = 8.0
    assert tend(world, lease, 1)[0].short == 0.0


def test_a_card_that_is_lost_is_replaced_by_the_host_and_the_guest_is_not_told_where(world):
    lease = world.claim(wanted=3.0, may_be_slower=True)
    assert {part.supply for part in lease.parts} == {"card", "host"}
    world.has_card = False
    lease, told = tend(world, lease, 1)
    assert [(part.supply, part.amount) for part in lease.parts] == [("host", 3.0)]
    assert told == ()


def test_a_card_that_is_lost_with_a_full_host_is_told_before_it_shrinks(world):
    lease = world.claim(wanted=3.0, least=1.0, may_be_slower=True)
    world.on_card[0] = 1.0
    tend(world, lease, 1)
    world.has_card, world.host_amount = False, 6.0
    lease, told = tend(world, lease, 1)
    assert (lease.amount, lease.shrinks_to, told) == (3.0, 2.0, (Why.SHRINKING,))
    lease, told = tend(world, lease, NOTICE_SECONDS)
    assert (lease.amount, told) == (2.0, (Why.SHRUNK,))


def test_when_a_supply_shrinks_the_lowest_class_gives_way(world):
    low, high = world.claim("a", wanted=2.0, least=1.0), world.claim("b", wanted=2.0)
    world.has_card, world.host_amount, world.reserved = False, 3.5, [0.0] * 3
    assert tend(world, high, 1) == (high, ())
    assert tend(world, low)[1] == (Why.SHRINKING,)
    assert tend(world, low, NOTICE_SECONDS)[0].amount == pytest.approx(1.5)


def test_what_is_left_and_of_no_use_ends(world):
    low = world.claim("a", wanted=2.0)
    world.claim("b", wanted=2.0)
    world.has_card, world.host_amount, world.reserved = False, 3.5, [0.0] * 3
    tend(world, low, 1)
    assert tend(world, low, NOTICE_SECONDS) == (None, (Why.FAILED,))


def test_while_notice_runs_it_does_not_say_that_it_is_in_force(world):
    lease = world.claim(wanted=3.0, least=1.0, may_be_slower=True)
    world.on_card[0] = 1.0
    assert tend(world, lease, 1)[0].health is Health.HEALTHY
    world.has_card, world.host_amount = False, 6.0
    assert tend(world, lease, 1)[1] == (Why.SHRINKING,)
    assert tend(world, lease, 1)[0].health is Health.DEGRADED


def test_what_is_lacking_by_rounding_is_not_lacking(world):
    lease = world.claim(wanted=0.1)
    parts = (
        replace(lease.parts[0], amount=0.1 - 1e-17),
        replace(lease.parts[0], supply="card", amount=1e-18),
    )
    assert world.changed(lease, parts=parts).short == 0.0
