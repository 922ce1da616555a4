"""The `tidegate` policy: price, regret and calm, case by case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.model.forecast import Exceedance
from tidegate.model.plan import Reason
from tidegate.model.roster import HOST
from tidegate.plan.policies.tidegate import Tidegate, aim
from tidegate.testing import forecast_of, snapshot_of

OFFSETS = np.array([-0.1, 0.0, 0.1, 0.3, 0.5], dtype=np.float32)
CAPACITY = 8.0


def curve_of(snapshot, probabilities, *, acts=True):
    """The same curve for every series: P(demand > last + offset x capacity)."""
    shape = snapshot.used.shape
    probability = np.broadcast_to(np.array(probabilities, np.float32)[:, None, None], (OFFSETS.size, *shape))
    return Exceedance(
        base=snapshot.used,
        offsets=OFFSETS,
        scale=snapshot.capacity,
        probability=probability.copy(),
        acts=np.full(shape, acts),
        safe=np.full(shape, 5.0, dtype=np.float32),
    )


def planned(planner, snapshot, probabilities, *, acts=True):
    forecast = replace(forecast_of(snapshot, 1.0), exceedance=curve_of(snapshot, probabilities, acts=acts))
    return planner.plan(snapshot, forecast, None)


def test_it_grows_at_once_before_a_likely_peak():
    snapshot = snapshot_of([1.0], capacity=CAPACITY, held=1.2)
    plan = planned(Tidegate(), snapshot, [1.0, 0.9, 0.8, 0.0, 0.0])
    assert plan.wanted[HOST, 0, 0] == pytest.approx(1.0 + 0.3 * CAPACITY)
    assert plan.reason[0, 0] == Reason.GROW_ON_FORECAST


def test_it_shrinks_only_when_regret_has_lasted():
    planner, held = Tidegate(), 1.1
    totals = []
    for step in range(12):
        snapshot = snapshot_of([1.0], capacity=CAPACITY, held=held, time_seconds=1_700_000_100 + 300 * step)
        held = float(planned(planner, snapshot, [1.0, 0.001, 0.0, 0.0, 0.0]).wanted[HOST, 0, 0])
        totals.append(held)
    # Holding costs 0.1 / 8 of capacity more a step; the threshold is 0.05: the fifth step is one too many.
    assert totals[:3] == pytest.approx([1.1] * 3)
    assert totals[-1] == pytest.approx(1.0)


def test_a_refused_change_is_asked_for_again():
    planner = Tidegate()
    for step in range(3):
        snapshot = snapshot_of([1.0], capacity=CAPACITY, held=7.0, time_seconds=1_700_000_100 + 300 * step)
        plan = planned(planner, snapshot, [1.0, 0.0, 0.0, 0.0, 0.0])
        assert plan.wanted[HOST, 0, 0] < 7.0


def test_without_the_right_to_act_the_safe_amount_stands():
    snapshot = snapshot_of([1.0], capacity=CAPACITY, held=7.0)
    plan = planned(Tidegate(), snapshot, [1.0, 0.0, 0.0, 0.0, 0.0], acts=False)
    assert plan.wanted[HOST, 0, 0] == pytest.approx(5.0)
    assert plan.reason[0, 0] == Reason.BASELINE


def test_misses_make_it_dearer():
    cheap, dear = Tidegate(), Tidegate()
    for step in range(30):
        now = 1_700_000_100 + 300 * step
        calm = snapshot_of([1.0], capacity=CAPACITY, held=1.5, time_seconds=now)
        short = replace(calm, pressed=np.ones_like(calm.pressed))
        spared = planned(cheap, calm, [1.0, 0.01, 0.002, 0.0005, 0.0])
        paid = planned(dear, short, [1.0, 0.01, 0.002, 0.0005, 0.0])
    assert paid.wanted[HOST, 0, 0] > spared.wanted[HOST, 0, 0]


def test_a_missing_sample_holds():
    planner = Tidegate()
    planned(planner, snapshot_of([1.0], capacity=CAPACITY, held=7.0), [1.0, 0.0, 0.0, 0.0, 0.0])
    silent = snapshot_of([np.nan], capacity=CAPACITY, held=3.0, time_seconds=1_700_000_400)
    plan = planned(planner, silent, [1.0, 0.0, 0.0, 0.0, 0.0])
    assert plan.wanted[HOST, 0, 0] == pytest.approx(3.0)
    assert plan.reason[0, 0] == Reason.MISSING_SAMPLES


@pytest.mark.parametrize(("sla", "ratio"), [(0.05, 0.986), (0.01, 0.968), (0.001, 0.898), (1e-6, 0.5)])
def test_it_aims_a_little_below_the_sla(sla, ratio):
    assert aim(np.array([sla], np.float32), 300)[0] == pytest.approx(ratio * sla, rel=1e-3)


def test_a_capacity_that_was_unknown_at_first_does_not_stop_regret():
    planner, totals = Tidegate(), []
    for step in range(30):
        now = 1_700_000_100 + 300 * step
        known = step > 1
        snapshot = snapshot_of(
            [1.0 if known else np.nan],
            capacity=CAPACITY if known else np.nan,
            held=1.1 if known else np.nan,
            time_seconds=now,
        )
        plan = planned(planner, snapshot, [1.0, 0.001, 0.0, 0.0, 0.0])
        totals.append(float(plan.wanted[HOST, 0, 0]))
    assert totals[2] == pytest.approx(1.1)
    assert totals[-1] == pytest.approx(1.0)
