"""Each branch of a claim: held already, from the card, else from the host, else FAILURE; and giving back."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.model.refusals import Because, Refusal
from tidegate.model.resources import Resource
from tidegate.vral.books import Books
from tidegate.vral.claiming import LEASES_MAX, Asked, Short, claimed, released, renewed
from tidegate.vral.claims import Claim, Health


def served(lease):
    return {part.supply: part.amount for part in lease.parts}


def test_what_is_held_already_is_leased_at_once(world):
    lease = world.claim(wanted=2.0, may_be_slower=True)
    assert served(lease) == {"host": 2.0}
    assert lease.health is Health.HEALTHY


def test_the_shortfall_comes_from_the_card_first(world):
    lease = world.claim(wanted=3.5, may_be_slower=True)
    assert served(lease) == {"card": 1.5, "host": 2.0}
    assert lease.health is Health.APPLYING


def test_what_the_card_has_not_comes_from_the_host(world):
    world.card_amount = 1.0
    lease = world.claim(wanted=4.0, may_be_slower=True)
    assert served(lease) == {"card": 1.0, "host": 3.0}


@pytest.mark.parametrize("constraint", [{"near": True, "may_be_slower": True}, {}])
def test_who_must_be_near_or_fast_is_not_served_by_the_card(world, constraint):
    assert served(world.claim(wanted=3.0, **constraint)) == {"host": 3.0}


def test_failure_names_the_shortfall_and_takes_nothing(world):
    with pytest.raises(Short) as failed:
        world.claim(wanted=9.0, least=8.0, may_be_slower=True)
    assert (failed.value.resource, failed.value.missing, failed.value.found) == (Resource.CPU, 2.0, 6.0)
    assert failed.value.looked == ("card", "host")
    assert "2 cores of cpu are missing" in str(failed.value)
    assert len(world.books) == 0


def test_less_than_wanted_and_no_less_than_the_least_is_a_lease_that_is_short(world):
    lease = world.claim(wanted=9.0, least=3.0, may_be_slower=True)
    assert (lease.amount, lease.short) == (6.0, 3.0)


def test_a_forecast_above_what_is_wanted_is_served_up_to_the_burst(world):
    world.predicted = [3.0, np.nan, np.nan]
    assert world.claim(wanted=1.0, burst=2.5).amount == 2.5
    assert world.claim(wanted=0.25, burst=4.0, request="s").amount == 0.5


def test_what_others_need_and_what_they_leased_is_kept_for_them(world):
    world.host_amount = 6.5
    assert world.claim(wanted=2.5).amount == 2.5
    with pytest.raises(Short) as failed:
        world.claim("b", wanted=2.5)
    assert failed.value.missing == pytest.approx(0.5)


def test_no_vm_is_leased_more_than_it_was_sold(world):
    with pytest.raises(Short):
        world.claim(wanted=4.5, near=True)


def test_the_same_request_is_the_same_lease(world):
    first = world.claim(wanted=1.5)
    assert world.claim(wanted=1.5) is first
    assert len(world.books) == 1
    with pytest.raises(Refusal) as refused:
        world.claim(wanted=1.25)
    assert refused.value.because is Because.EXISTS


def test_the_same_request_of_another_vm_is_another(world):
    assert world.claim("a").name != world.claim("b").name


def test_a_vm_has_so_many_leases_and_no_more(world):
    for at in range(LEASES_MAX):
        world.claim(wanted=0.01, request=f"r{at}")
    with pytest.raises(Refusal) as refused:
        world.claim(wanted=0.01, request="more")
    assert refused.value.because is Because.NOT_ALLOWED
    assert world.claim("b", wanted=0.01).vm == "b"


def test_a_class_above_the_vms_own_is_its_own(world):
    assert world.claim("b", priority=8).priority == 2
    assert world.claim("b", priority=1, request="s").priority == 1


def test_who_is_not_seen_and_what_is_not_there_is_refused(world):
    with pytest.raises(Refusal) as refused:
        world.claim("nobody")
    assert refused.value.because is Because.NOT_NOW
    claim = Claim(request_id="g", resource=Resource.GPU, least=1, wanted=1, burst=1)
    with pytest.raises(Refusal) as refused:
        claimed(world.books, "a", claim, world.market, world.now)
    assert refused.value.because is Because.UNSUPPORTED


def test_renewing_for_less_gives_back_the_hosts_share_first(world):
    lease = world.claim(wanted=4.0, may_be_slower=True)
    assert served(lease) == {"card": 2.0, "host": 2.0}
    world.now += 5
    change = world.do(
        renewed(world.books, "a", lease.name, Asked(wanted=3.0, least=1.0), world.market, world.now)
    )
    assert served(change.put) == {"card": 2.0, "host": 1.0}
    assert change.put.expires_seconds == world.now + 60


def test_renewing_for_more_takes_more_or_stays_as_it_was(world):
    lease = world.claim(wanted=2.0)
    grown = world.do(renewed(world.books, "a", lease.name, Asked(wanted=3.0), world.market, world.now))
    assert (grown.put.amount, grown.put.health) == (3.0, Health.APPLYING)
    with pytest.raises(Short):
        renewed(world.books, "a", lease.name, Asked(least=9.0, wanted=9.0), world.market, world.now)
    with pytest.raises(Refusal, match="must not fall"):
        renewed(world.books, "a", lease.name, Asked(least=9.0), world.market, world.now)
    assert world.books.get("a", lease.name) == grown.put


def test_a_release_that_is_sent_again_is_done_already(world):
    lease = world.claim()
    assert world.do(released(world.books, "a", lease.name, "q")).ended.name == lease.name
    assert released(world.books, "a", lease.name, "q").ended is None
    with pytest.raises(Refusal) as refused:
        released(world.books, "a", "lease-99", "q")
    assert refused.value.because is Because.NOT_FOUND


def test_nobody_sees_or_releases_the_lease_of_another(world):
    lease = world.claim("a")
    with pytest.raises(Refusal):
        released(world.books, "b", lease.name, "q")
    assert world.books.of("b") == ()


def test_names_are_not_given_again_after_a_restart(world):
    first = world.claim()
    world.do(released(world.books, "a", first.name, "q"))
    again = Books((), world.books.all_ended)
    assert again.next_name() != first.name
