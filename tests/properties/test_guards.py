"""On any fleet: guards only shrink a plan, and what fits a place keeps fitting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.app.wiring import guards
from tidegate.model.roster import CARD, HOST, NO_CARD, SHARES
from tidegate.model.snapshot import expected, in_server_units
from tidegate.plan.difference import difference
from tidegate.plan.guards import (
    BlastRadius,
    CoolDown,
    Expiry,
    FloorAndCeiling,
    Pace,
    PlaceCapacity,
    charged,
)
from tidegate.plan.placement import Placement
from tidegate.testing import ManualClock
from tidegate.testing.random_fleets import applied, check_guard, random_plan, random_snapshot

seeds = st.integers(0, 2**32 - 1)
MAKERS = {
    "expiry": lambda: Expiry(ManualClock(2**40)),
    "floor_and_ceiling": FloorAndCeiling,
    "place_capacity": PlaceCapacity,
    "pace": lambda: Pace(0.2),
    "cool_down": lambda: CoolDown(900),
    "blast_radius": lambda: BlastRadius(0.1, workloads_min=1),
}


def at_place(amounts, place, number):
    """Sum of amounts (resources, workloads) at one place, unknown ones left out."""
    return np.nansum(amounts[:, place == number].astype(np.float64), axis=1)


def assert_places_hold(plan, snapshot, before):
    """No place is charged more than it has, unless it was before; then no more than before."""
    for share, place in ((HOST, snapshot.host), (CARD, plan.card)):
        after = np.fmax(before[share], plan.wanted[share])
        for number in range(len(snapshot.places.names)):
            charged_before = at_place(before[share], place, number)
            limit = np.maximum(snapshot.places.allocatable[:, number], charged_before)
            assert (at_place(after, place, number) <= limit * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", MAKERS)
@given(seed=seeds, unknown=st.booleans())
def test_a_guard_only_shrinks(name, seed, unknown):
    guard = MAKERS[name]()
    for turn in range(2):
        snapshot = random_snapshot(seed, unknown=unknown)
        check_guard(guard, random_plan(seed + turn, snapshot), snapshot)


@given(seed=seeds, unknown=st.booleans(), late_seconds=st.integers(0, 600))
def test_the_whole_chain_only_shrinks_and_fits(seed, unknown, late_seconds):
    snapshot = random_snapshot(seed, unknown=unknown)
    plan = random_plan(seed, snapshot)
    guarded = plan
    for guard in guards(ManualClock(snapshot.time_seconds + late_seconds)):
        guarded = check_guard(guard, guarded, snapshot)
    assert_places_hold(guarded, snapshot, charged(snapshot))


@given(seed=seeds, unknown=st.booleans())
def test_growth_never_overfills_a_place(seed, unknown):
    snapshot = random_snapshot(seed, unknown=unknown)
    guarded = PlaceCapacity().shrink(random_plan(seed, snapshot), snapshot)
    assert_places_hold(guarded, snapshot, charged(snapshot))


@given(seed=seeds)
def test_a_migration_never_overfills_a_card(seed):
    snapshot = random_snapshot(seed, in_flight=False)
    plan = random_plan(seed, snapshot, migrating=True)
    guarded = PlaceCapacity().shrink(plan, snapshot)
    before = charged(snapshot).copy()
    before[CARD] = np.where(guarded.card == snapshot.card, before[CARD], 0)
    assert_places_hold(guarded, snapshot, before)


@given(seed=seeds)
def test_whoever_is_cut_at_a_full_place_has_nobody_below_him_growing(seed):
    snapshot = random_snapshot(seed, in_flight=False)
    plan = random_plan(seed, snapshot)
    guarded = PlaceCapacity().shrink(plan, snapshot)
    grew = guarded.wanted[HOST] > snapshot.grant[HOST] * (1 + 1e-6)
    cut = guarded.wanted[HOST] < plan.wanted[HOST] * (1 - 1e-4)
    for row, workload in np.argwhere(cut):
        below = (snapshot.host == snapshot.host[workload]) & (
            snapshot.roster.priority < snapshot.roster.priority[workload]
        )
        given_below = (guarded.wanted[HOST] - snapshot.grant[HOST])[row, below & grew[row]]
        # What rounding left of the room (1e-6 of it) may go to the next class.
        assert (given_below <= 1e-5 * snapshot.places.allocatable[row].sum()).all()


@given(seed=seeds)
def test_a_rehome_that_does_not_fit_takes_nothing_below_the_floor(seed):
    """The totals come from our own placement, as in production; the whole chain runs behind it."""
    snapshot = random_snapshot(seed, in_flight=False)
    total = np.random.default_rng(seed).random(snapshot.capacity.shape).astype(np.float32) * snapshot.capacity
    placed = Placement().place(np.maximum(total, snapshot.roster.floor), snapshot)
    plan = replace(
        random_plan(seed, snapshot), wanted=np.stack([placed.host, placed.card]), card=snapshot.card
    )
    before = plan
    for guard in guards(ManualClock(snapshot.time_seconds)):
        before, plan = plan, guard.shrink(plan, snapshot)
    kept = in_server_units(before.wanted, snapshot)
    assert isinstance(guard, PlaceCapacity)
    left = in_server_units(plan.wanted, snapshot)
    held = in_server_units(expected(snapshot), snapshot)
    slack = 1e-4 * snapshot.capacity
    assert (left >= np.minimum(kept, held) - slack).all()


@given(seed=seeds, ratio=st.floats(0.01, 1.0))
def test_pace_bounds_what_a_host_share_loses(seed, ratio):
    snapshot = random_snapshot(seed)
    plan = random_plan(seed, snapshot)
    guarded = Pace(ratio).shrink(plan, snapshot)
    held = in_server_units(expected(snapshot), snapshot)
    lost = held - in_server_units(guarded.wanted, snapshot)
    assert (lost <= ratio * snapshot.capacity + 1e-5 * np.maximum(snapshot.capacity, held)).all()


@given(seed=seeds, ratio=st.floats(0.05, 1.0), least=st.integers(1, 5))
def test_at_most_the_blast_radius_shrinks(seed, ratio, least):
    snapshot = random_snapshot(seed)
    guarded = BlastRadius(ratio, workloads_min=least).shrink(random_plan(seed, snapshot), snapshot)
    held = in_server_units(expected(snapshot), snapshot)
    shrinks = (in_server_units(guarded.wanted, snapshot) < held * (1 - 1e-6)).any(axis=0)
    assert shrinks.sum() <= max(least, int(ratio * len(snapshot.roster)))


@given(seed=seeds)
def test_totals_end_between_floor_and_capacity_unless_held_outside(seed):
    snapshot = random_snapshot(seed)
    plan = random_plan(seed, snapshot)
    guarded = FloorAndCeiling().shrink(plan, snapshot)
    held = expected(snapshot)
    most = in_server_units(np.maximum(plan.wanted, held), snapshot)
    least = in_server_units(np.minimum(plan.wanted, held), snapshot)
    total = in_server_units(guarded.wanted, snapshot)
    slack = 1e-4 * np.maximum(snapshot.capacity, most)
    assert (total >= np.minimum(snapshot.roster.floor, most) - slack).all()
    assert (total <= np.maximum(snapshot.capacity, least) + slack).all()


@given(seed=seeds, migrating=st.booleans(), unknown=st.booleans())
def test_what_was_done_need_not_be_done_again(seed, migrating, unknown):
    snapshot = random_snapshot(seed, unknown=unknown)
    plan = random_plan(seed, snapshot, migrating=migrating)
    actions = difference(plan, snapshot)
    grant, in_flight, card = snapshot.grant.copy(), snapshot.in_flight.copy(), snapshot.card.copy()
    at = actions.share, actions.resource_row, actions.workload
    grant[at], in_flight[at] = actions.amount_to, 0
    on_card = actions.share == CARD
    card[actions.workload[on_card]] = actions.place_to[on_card]
    known = ~np.isnan(plan.wanted)
    np.testing.assert_array_equal((grant + in_flight)[known], plan.wanted[known])
    after = applied(plan, snapshot)
    assert len(difference(plan, after)) == 0
    holds = (plan.wanted[CARD] > 0).any(axis=0)
    np.testing.assert_array_equal(card[holds], plan.card[holds])


@given(seed=seeds, migrating=st.booleans())
def test_every_action_can_be_read(seed, migrating):
    snapshot = random_snapshot(seed)
    actions = difference(random_plan(seed, snapshot, migrating=migrating), snapshot)
    assert [action.workload_id for action in actions] == actions.workload_id.tolist()
    assert (actions.place_to >= 0).all()
    assert set(np.unique(actions.share)) <= set(range(SHARES))
    assert (snapshot.card[actions.workload[actions.share == CARD]] != NO_CARD).all()
