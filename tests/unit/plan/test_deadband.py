"""A shrink that saves next to nothing is not made; growth and moves between places always are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.plan import Reason, host_plan
from tidegate.model.roster import CARD, HOST
from tidegate.model.snapshot import expected, in_server_units
from tidegate.plan.difference import difference
from tidegate.plan.guards import CoolDown, Deadband
from tidegate.testing import places_of, snapshot_of
from tidegate.testing.random_fleets import check_guard, random_plan, random_snapshot

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("wanted", "left", "reason"),
    [
        (1.97, 2.0, Reason.GUARD_SMALL),
        (1.95, 1.95, Reason.BASELINE),
        (2.0, 2.0, Reason.BASELINE),
        (2.001, 2.001, Reason.BASELINE),
    ],
)
def test_only_a_shrink_of_less_than_the_band_is_held(wanted, left, reason):
    snapshot = snapshot_of([1.0], capacity=4, held=2)
    plan = host_plan(snapshot, np.array([[wanted]], dtype=np.float32), Reason.BASELINE)
    kept = Deadband(0.01).shrink(plan, snapshot)
    assert float(kept.wanted[HOST, 0, 0]) == pytest.approx(left)
    assert kept.reason[0, 0] == reason


@given(seed=seeds, unknown=st.booleans(), band=st.floats(0, 0.5))
def test_on_any_fleet_it_only_shrinks_and_refuses_no_growth(seed, unknown, band):
    snapshot = random_snapshot(seed, unknown=unknown)
    plan = random_plan(seed, snapshot)
    left = check_guard(Deadband(band), plan, snapshot)
    held = expected(snapshot)
    grows = plan.wanted > held
    np.testing.assert_array_equal(left.wanted[grows], plan.wanted[grows])
    untouched = left.reason != Reason.GUARD_SMALL
    np.testing.assert_array_equal(left.wanted[:, untouched], plan.wanted[:, untouched])
    saved = in_server_units(held - plan.wanted, snapshot)
    assert (saved[~untouched] < band * snapshot.capacity[~untouched] * (1 + 1e-5)).all()


def test_a_share_that_comes_home_is_no_small_saving():
    """Half a card's worth of a core is traded for the same at the host, less what rounding takes."""
    snapshot = snapshot_of(
        [3.0], held=2.0, on_card=2.0, card=1, places=places_of(servers=[8.0], cards=[8.0], worth=0.5)
    )
    plan = host_plan(snapshot, np.array([[2.9999]], dtype=np.float32), Reason.TAKE_FROM_HOST)
    kept = Deadband(0.01).shrink(plan, snapshot)
    assert kept.wanted[:, 0, 0].tolist() == pytest.approx([2.9999, 0])
    assert len(difference(kept, snapshot)) == 2


def test_a_migration_is_no_small_saving():
    snapshot = snapshot_of(
        [3.0], held=2.0, on_card=2.0, card=1, places=places_of(servers=[8.0], cards=[8.0, 8.0])
    )
    plan = host_plan(snapshot, np.array([[2.0]], dtype=np.float32), Reason.BASELINE)
    wanted = plan.wanted.copy()
    wanted[CARD] = 1.999
    moved = replace(plan, wanted=wanted, card=np.array([2], dtype=np.int32))
    assert Deadband(0.01).shrink(moved, snapshot).card.tolist() == [2]
    np.testing.assert_array_equal(Deadband(0.01).shrink(moved, snapshot).wanted, wanted)


# --- What a cool-down remembers over a restart ---------------------------------------------------


def after(snapshot, seconds, held):
    grant = np.zeros_like(snapshot.grant)
    grant[HOST] = held
    return replace(snapshot, grant=grant, time_seconds=snapshot.time_seconds + seconds)


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "starts again"])
def test_who_grew_is_remembered_over_a_restart(restarts):
    guard, first = CoolDown(900), snapshot_of([1.0], held=2)
    guard.shrink(host_plan(first, first.grant[HOST], Reason.HOLD), first)
    grown = after(first, 300, 3)
    guard.shrink(host_plan(grown, grown.grant[HOST], Reason.HOLD), grown)
    if restarts:
        saved, guard = guard.state(), CoolDown(900)
        guard.restore(saved)
    for seconds, left in ((600, 3), (1100, 3), (1200, 2)):
        now = after(first, seconds, 3)
        plan = guard.shrink(host_plan(now, np.array([[2]], dtype=np.float32), Reason.BASELINE), now)
        assert float(plan.wanted[HOST, 0, 0]) == left
