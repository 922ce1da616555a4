"""Nothing is asked that would be refused anyway."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.plan import Reason, host_plan
from tidegate.plan.difference import difference
from tidegate.plan.reach import WithinReach
from tidegate.testing import snapshot_of
from tidegate.testing.random_fleets import check_guard, random_plan, random_snapshot


def test_what_is_out_of_reach_holds_and_says_so_only_where_it_would_have_changed():
    snapshot = snapshot_of([[1.0, 1.0], [1.0, 1.0]], held=2)
    plan = host_plan(snapshot, np.array([[3, 3], [2, 1]], dtype=np.float32), Reason.BASELINE)
    guard = WithinReach(lambda: np.array([[True, False], [False, False]]))
    left = guard.shrink(plan, snapshot)
    assert left.wanted[0].tolist() == [[3, 2], [2, 2]]
    out = Reason.HELD_OUT_OF_REACH
    assert left.reason.tolist() == [[Reason.BASELINE, out], [Reason.BASELINE, out]]
    assert len(difference(left, snapshot)) == 1


@pytest.mark.parametrize("settable", [True, False])
@given(seed=st.integers(0, 2**32 - 1), unknown=st.booleans())
def test_on_any_fleet_all_or_nothing_is_left(settable, seed, unknown):
    snapshot = random_snapshot(seed, unknown=unknown)
    plan = random_plan(seed, snapshot)
    guard = WithinReach(lambda: np.full(snapshot.used.shape, settable))
    left = check_guard(guard, plan, snapshot)
    actions = difference(left, snapshot)
    assert len(actions) == (len(difference(plan, snapshot)) if settable else 0)


def test_it_is_asked_anew_at_every_tick():
    snapshot = snapshot_of([1.0], held=2)
    plan = host_plan(snapshot, np.array([[3]], dtype=np.float32), Reason.BASELINE)
    answers = iter([np.array([[False]]), np.array([[True]])])
    guard = WithinReach(lambda: next(answers))
    assert [float(guard.shrink(plan, snapshot).wanted[0, 0, 0]) for _ in range(2)] == [2, 3]
