"""The plain policies and what wraps them, on numbers small enough to check by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tidegate.model.plan import Reason
from tidegate.model.roster import HOST
from tidegate.plan.every import Every
from tidegate.plan.policies.calibrated_reactive import CalibratedReactive, next_margin
from tidegate.plan.policies.margin import WithMargin
from tidegate.plan.policies.oracle import Oracle
from tidegate.plan.policies.static import Static
from tidegate.testing import forecast_of, roster_of, snapshot_of

NAN = float("nan")


def wanted(planner, snapshot, predicted):
    return planner.plan(snapshot, forecast_of(snapshot, predicted), None).wanted[HOST, 0].tolist()


def test_static_wants_what_was_sold():
    assert wanted(Static(), snapshot_of([1.0, 2.0], capacity=[4, 8]), NAN) == [4, 8]


def test_a_margin_is_added_up_to_what_was_sold():
    snapshot = snapshot_of([1.0, 1.0, 1.0], capacity=4)
    assert wanted(WithMargin(margin_ratio=0.5), snapshot, [2.0, 3.0, NAN]) == [3.0, 4.0, 4.0]


def test_the_oracle_wants_what_the_step_it_acts_in_will_use():
    asked = []

    def demand_at(seconds):
        asked.append(seconds)
        return np.float32([[1.5, NAN, NAN]])

    snapshot = snapshot_of([1.0] * 3, capacity=4, held=[4, 2, NAN])
    assert wanted(Oracle(demand_at, lead_steps=2), snapshot, NAN) == [1.5, 2.0, 4.0]
    assert asked == [snapshot.time_seconds + 2 * 300]


def test_the_calibrated_margin_grows_with_violations_and_shrinks_without():
    # m starts at 0.05; after a violation 0.05 e^(1 - 0.25) + 0.00001, after a calm sample 0.05 e^-0.25.
    snapshot = snapshot_of(
        [1.0, 1.0, NAN, 1.0], capacity=8, pressed=[True, False, False, False],
        roster=roster_of(4, violation_rate=0.25),
    )  # fmt: skip
    found = wanted(CalibratedReactive(), snapshot, [2.0, 2.0, 2.0, NAN])
    up, down = 0.05 * math.exp(0.75) + 0.00001, 0.05 * math.exp(-0.25)
    assert found == pytest.approx([2 + 8 * up, 2 + 8 * down, 2 + 8 * 0.05, 8.0], rel=1e-6)


def test_a_margin_stops_at_its_bounds():
    margin = np.array([[0.9, 0.0001, 0.0001]])
    short = np.array([[True, False, True]])
    moved = next_margin(margin, short, np.ones_like(short), np.float32([0.01] * 3))
    assert moved[0, 0] == 1.0
    assert moved[0, 1] == 0.0001
    assert moved[0, 2] == pytest.approx(0.0001 * math.exp(0.99) + 0.00001)


def test_the_baseline_says_that_it_decides():
    snapshot = snapshot_of([1.0])
    assert (
        CalibratedReactive().plan(snapshot, forecast_of(snapshot, 1.0), None).reason[0, 0] == Reason.BASELINE
    )


# --- Every ---------------------------------------------------------------------------------------


def test_a_decision_stands_until_the_next_is_due():
    planner = Every(WithMargin(margin_ratio=0.0), 3)
    snapshots = [snapshot_of([1.0], roster=roster_of(1), time_seconds=300 * tick) for tick in range(7)]
    found = [wanted(planner, snapshot, float(tick)) for tick, snapshot in enumerate(snapshots)]
    assert found == [[0.0], [0.0], [0.0], [3.0], [3.0], [3.0], [4.0]]


def test_a_standing_decision_does_not_expire_between_decisions():
    planner = Every(Static(), 3)
    roster = roster_of(1)
    for tick in range(5):
        snapshot = snapshot_of([1.0], roster=roster, time_seconds=1000 + 300 * tick)
        plan = planner.plan(snapshot, forecast_of(snapshot, 1.0), None)
        assert plan.expires_seconds == snapshot.time_seconds + 300


def test_a_newcomer_is_decided_at_once():
    planner = Every(WithMargin(margin_ratio=0.0), 3)
    first = snapshot_of([1.0, 1.0], roster=roster_of(2, ids=[1, 2]))
    assert wanted(planner, first, [1.0, 2.0]) == [1.0, 2.0]
    second = snapshot_of([1.0, 1.0], roster=roster_of(2, ids=[2, 9]))
    assert wanted(planner, second, [3.0, 3.5]) == [2.0, 3.5]


def test_deciding_at_every_sample_needs_no_wrapper():
    static = Static()
    assert Every.wrap(static, 300, 300) is static
    assert isinstance(Every.wrap(static, 900, 300), Every)


def test_the_planner_behind_learns_from_every_sample():
    asked = []

    class Counting(Static):
        def plan(self, snapshot, forecast, scores):
            asked.append(snapshot.time_seconds)
            return super().plan(snapshot, forecast, scores)

    planner = Every(Counting(), 4)
    for tick in range(8):
        snapshot = snapshot_of([1.0], time_seconds=300 * tick)
        planner.plan(snapshot, forecast_of(snapshot, 1.0), None)
    assert len(asked) == 8
