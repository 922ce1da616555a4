"""What is in use is never taken, and nothing from whom little is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.plan import Reason, host_plan
from tidegate.model.roster import HOST
from tidegate.model.snapshot import expected, in_server_units
from tidegate.plan.caution import KeepInUse, Newcomers
from tidegate.testing import roster_of, snapshot_of
from tidegate.testing.random_fleets import random_plan, random_snapshot

seeds = st.integers(0, 2**32 - 1)


def plan_of(snapshot, total):
    return host_plan(snapshot, np.full(snapshot.used.shape, total, dtype=np.float32), Reason.BASELINE)


def total(plan, snapshot):
    return in_server_units(plan.wanted, snapshot)


@given(seed=seeds)
def test_a_plan_is_only_pulled_back_toward_what_is_held_and_never_below_use(seed):
    snapshot = random_snapshot(seed)
    plan = random_plan(seed, snapshot)
    kept = KeepInUse().shrink(plan, snapshot)
    held = expected(snapshot)
    assert (kept.wanted <= np.fmax(held, plan.wanted) * 1.00001).all()
    assert (kept.wanted >= np.fmin(held, plan.wanted) * 0.99999).all()
    before = in_server_units(held, snapshot)
    least = np.fmin(np.nan_to_num(snapshot.used), before)
    stays = plan.card == snapshot.card
    assert (total(kept, snapshot) >= np.fmin(least, before) * 0.9999 - 1e-6)[:, stays].all()


@pytest.mark.parametrize(
    ("used", "pressed", "wanted", "left"),
    [
        (0.6, False, 0.05, 0.6),
        (0.6, False, 0.9, 0.9),
        (0.6, True, 0.05, 2.0),
        (float("nan"), False, 0.05, 2.0),
        (0.0, False, 0.05, 0.05),
        (3.0, False, 2.5, 2.5),
    ],
)
def test_a_shrink_ends_at_what_is_in_use_and_is_refused_where_that_is_not_known(used, pressed, wanted, left):
    snapshot = snapshot_of([used], capacity=4, held=2, pressed=[pressed])
    kept = KeepInUse().shrink(plan_of(snapshot, wanted), snapshot)
    assert kept.wanted[HOST, 0, 0] == pytest.approx(left)
    assert (kept.reason[0, 0] == Reason.GUARD_IN_USE) == (left != wanted)


def test_a_newcomer_loses_nothing_until_it_was_watched_for_long_enough():
    guard, roster, left = Newcomers(900), roster_of(1), []
    for tick, used in enumerate([1.0, 1.0, float("nan"), 1.0, 1.0]):
        snapshot = snapshot_of([used], capacity=4, held=3, time_seconds=300 * tick, roster=roster)
        left.append(float(guard.shrink(plan_of(snapshot, 1.5), snapshot).wanted[HOST, 0, 0]))
    assert left == [3.0, 3.0, 3.0, 1.5, 1.5]


def test_a_newcomer_may_grow_at_once():
    snapshot = snapshot_of([1.0], capacity=4, held=1)
    assert Newcomers(900).shrink(plan_of(snapshot, 2.0), snapshot).wanted[HOST, 0, 0] == 2.0


def test_who_was_watched_before_a_restart_is_no_newcomer_after_it():
    snapshot = snapshot_of([1.0], capacity=4, held=3)
    before, after = Newcomers(600), Newcomers(600)
    before.shrink(plan_of(snapshot, 1.5), snapshot)
    after.restore(before.state())
    assert after.shrink(plan_of(snapshot, 1.5), snapshot).wanted[HOST, 0, 0] == 1.5
