"""Each guard on its own, with numbers small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.model.plan import Reason, host_plan
from tidegate.model.roster import CARD, HOST
from tidegate.model.snapshot import summed_by_place
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
from tidegate.testing import ManualClock, places_of, read_only, roster_of, snapshot_of


def wants(snapshot, host, on_card=0.0, card=None):
    """A plan for host and card shares, one number a workload."""
    plan = host_plan(snapshot, np.zeros(snapshot.used.shape, dtype=np.float32), Reason.BASELINE)
    wanted = np.empty(snapshot.grant.shape, dtype=np.float32)
    wanted[HOST], wanted[CARD] = host, on_card
    chosen = snapshot.card if card is None else np.array(card, dtype=np.int32)
    return read_only(replace(plan, wanted=wanted, card=chosen))


def host_shares(plan):
    return plan.wanted[HOST, 0].tolist()


# --- Expiry --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("late_seconds", "granted"), [(0, 1.0), (300, 1.0), (301, 4.0)])
def test_a_plan_is_good_until_it_expires(late_seconds, granted):
    snapshot = snapshot_of([2.0], held=4)
    guard = Expiry(ManualClock(snapshot.time_seconds + late_seconds))
    plan = guard.shrink(wants(snapshot, 1.0), snapshot)
    assert host_shares(plan) == [granted]
    assert plan.reason[0, 0] == (Reason.BASELINE if granted == 1 else Reason.GUARD_EXPIRED)


def test_an_expired_plan_undoes_nothing_that_is_in_flight():
    flying = np.zeros((2, 1, 1))
    flying[HOST] = 1
    snapshot = snapshot_of([2.0], held=2, in_flight=flying)
    plan = Expiry(ManualClock(2**40)).shrink(wants(snapshot, 1.0), snapshot)
    assert len(difference(plan, snapshot)) == 0


def test_an_expired_plan_migrates_nobody():
    snapshot = snapshot_of([2.0], held=2, on_card=1, card=1, places=places_of(servers=[8], cards=[4, 4]))
    plan = Expiry(ManualClock(2**40)).shrink(wants(snapshot, 2.0, 1.0, card=[2]), snapshot)
    assert len(difference(plan, snapshot)) == 0


# --- Floor and ceiling ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "wanted", "granted"),
    [
        (4, 0.5, 1.0),  # a shrink stops at the floor
        (4, 2.0, 2.0),  # between floor and ceiling nothing happens
        (4, 9.0, 8.0),  # a growth stops at what was sold
        (0.5, 0.25, 0.5),  # below its floor nobody shrinks further
        (0.5, 3.0, 3.0),  # and growing is free
    ],
)
def test_a_total_stays_between_floor_and_what_was_sold(held, wanted, granted):
    snapshot = snapshot_of([1.0], capacity=8, held=held, roster=roster_of(1, floor=1.0))
    plan = FloorAndCeiling().shrink(wants(snapshot, wanted), snapshot)
    assert host_shares(plan) == [granted]
    assert plan.reason[0, 0] == (Reason.BASELINE if wanted == granted else Reason.GUARD_FLOOR)


def test_a_card_share_counts_toward_the_floor_by_its_worth():
    # 2 card cores at 0.5 are worth 1 core: the host share may fall to 3 - 1 = 2.
    snapshot = snapshot_of(
        [1.0], capacity=8, held=4, on_card=2, card=1,
        places=places_of(servers=[8], cards=[8], worth=0.5), roster=roster_of(1, floor=3.0),
    )  # fmt: skip
    assert host_shares(FloorAndCeiling().shrink(wants(snapshot, 0.0, 2.0), snapshot)) == [2]


# --- Place capacity ------------------------------------------------------------------------------


def test_growth_is_scaled_to_what_a_place_has_left():
    # 8 there, 4 held: 4 left for 6 + 2 asked, so each gets half.
    snapshot = snapshot_of([1.0, 1.0], capacity=16, held=2, places=places_of(servers=[8]))
    plan = PlaceCapacity().shrink(wants(snapshot, [8.0, 4.0]), snapshot)
    assert host_shares(plan) == pytest.approx([5.0, 3.0], rel=1e-5)
    assert plan.reason[0].tolist() == [Reason.GUARD_CAPACITY] * 2


def test_the_higher_class_grows_first():
    snapshot = snapshot_of(
        [1.0, 1.0], capacity=16, held=2, places=places_of(servers=[8]), roster=roster_of(2, priority=[1, 2])
    )
    assert host_shares(PlaceCapacity().shrink(wants(snapshot, [5.0, 5.0]), snapshot)) == pytest.approx([3, 5])


def test_what_shrinks_frees_nothing_in_the_same_tick():
    snapshot = snapshot_of([1.0, 1.0], capacity=16, held=4, places=places_of(servers=[8]))
    assert host_shares(PlaceCapacity().shrink(wants(snapshot, [1.0, 7.0]), snapshot)) == [1.0, 4.0]


def test_growth_in_flight_is_charged_and_a_shrink_in_flight_frees_nothing():
    flying = np.zeros((2, 1, 3))
    flying[HOST, 0] = [2, -2, 0]
    snapshot = snapshot_of(
        [1.0] * 3, capacity=16, held=[2, 4, 1], in_flight=flying, places=places_of(servers=[9])
    )
    assert charged(snapshot)[HOST, 0].tolist() == [4, 4, 1]
    # 9 - (4 + 4 + 1) = 0 left: the third may not grow.
    assert host_shares(PlaceCapacity().shrink(wants(snapshot, [4.0, 2.0, 3.0]), snapshot)) == [4, 2, 1]


def test_a_place_without_limit_and_an_overfull_one_side_by_side():
    snapshot = snapshot_of(
        [1.0, 1.0], capacity=16, held=4, host=[0, 1], places=places_of(servers=[np.inf, 3])
    )
    assert host_shares(PlaceCapacity().shrink(wants(snapshot, [9.0, 9.0]), snapshot)) == [9.0, 4.0]


def test_an_unknown_amount_does_not_open_the_gate_for_others():
    snapshot = snapshot_of([1.0, 1.0], capacity=[np.nan, 16], held=[np.nan, 4], places=places_of(servers=[6]))
    plan = PlaceCapacity().shrink(wants(snapshot, [np.nan, 16.0]), snapshot)
    assert plan.wanted[HOST, 0, 1] == pytest.approx(6.0)


def test_sums_by_place_leave_out_who_is_nowhere():
    amounts = np.float32([[1, 2, 4, 8, np.nan]])
    sums = summed_by_place(amounts, np.array([0, -1, 1, 1, 0], dtype=np.int32), 3)
    assert sums.tolist() == [[1, 12, 0]]


# --- Pace, cool-down, blast radius ----------------------------------------------------------------


def test_nobody_loses_more_than_a_pace_step_of_what_was_sold():
    snapshot = snapshot_of([1.0, 1.0, 1.0], capacity=8, held=6)
    plan = Pace(0.25).shrink(wants(snapshot, [1.0, 5.0, 8.0]), snapshot)
    assert host_shares(plan) == [4.0, 5.0, 8.0]  # 6 - 0.25 x 8; less than a step; growth is never slowed
    assert plan.reason[0].tolist() == [Reason.GUARD_PACE, Reason.BASELINE, Reason.BASELINE]


def test_what_moves_to_the_card_is_no_loss():
    snapshot = snapshot_of(
        [1.0], capacity=8, held=6, card=1, places=places_of(servers=[8], cards=[8], worth=1)
    )
    assert host_shares(Pace(0.25).shrink(wants(snapshot, 1.0, 5.0), snapshot)) == [1.0]


def test_a_little_card_share_is_no_licence_to_lose_the_host_share():
    snapshot = snapshot_of(
        [1.0], capacity=8, held=6, card=1, places=places_of(servers=[8], cards=[8], worth=1)
    )
    assert host_shares(Pace(0.25).shrink(wants(snapshot, 0.0, 0.1), snapshot))[0] >= 3.9


def test_who_grew_lately_does_not_shrink():
    guard = CoolDown(600)
    start = 1_704_067_200
    granted = []
    for held, seconds in ((2, 0), (4, 300), (4, 600), (4, 900)):
        snapshot = snapshot_of([1.0], capacity=8, held=held, time_seconds=start + seconds)
        granted += host_shares(guard.shrink(wants(snapshot, 1.0), snapshot))
    # Nothing grew at first; grown at 300, so 300 and 600 hold, 900 is ten minutes later.
    assert granted == [1.0, 4.0, 4.0, 1.0]


def test_a_cool_down_follows_its_workload_when_others_go():
    guard = CoolDown(600)
    for held, ids in (([2, 2, 2], [1, 2, 3]), ([2, 4, 2], [1, 2, 3])):
        roster = roster_of(3, ids=ids)
        snapshot = snapshot_of([1.0] * 3, capacity=8, held=held, roster=roster)
        guard.shrink(wants(snapshot, [1.0] * 3), snapshot)
    snapshot = snapshot_of([1.0] * 3, capacity=8, held=[4, 2, 9], roster=roster_of(3, ids=[2, 3, 7]))
    plan = guard.shrink(wants(snapshot, [1.0] * 3), snapshot)
    assert host_shares(plan) == [4.0, 1.0, 1.0]
    assert plan.reason[0, 0] == Reason.GUARD_COOL_DOWN


def test_only_the_largest_savings_shrink_at_once():
    snapshot = snapshot_of([1.0] * 4, capacity=8, held=8)
    plan = BlastRadius(0.5, workloads_min=1).shrink(wants(snapshot, [7.0, 2.0, 8.0, 4.0]), snapshot)
    assert host_shares(plan) == [8.0, 2.0, 8.0, 4.0]
    assert plan.reason[0].tolist() == [Reason.GUARD_BLAST_RADIUS, *[Reason.BASELINE] * 3]


def test_a_small_fleet_may_shrink_whole_and_growth_is_never_refused():
    snapshot = snapshot_of([1.0] * 4, capacity=8, held=4)
    shrinks, grows = wants(snapshot, 1.0), wants(snapshot, 8.0)
    assert BlastRadius(0.01).shrink(shrinks, snapshot) is shrinks
    assert BlastRadius(0.01, workloads_min=1).shrink(grows, snapshot) is grows
