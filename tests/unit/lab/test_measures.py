"""The measures by hand: two VMs, five samples."""

from __future__ import annotations

import pytest

from tidegate.lab.measures import Tally
from tidegate.lab.replay import gap_closed
from tidegate.model.errors import InputError
from tidegate.testing import snapshot_of

NAN = float("nan")
SIX_HOURS = 6 * 3600


def counted(steps, *, warmup_ticks=0, step_seconds=SIX_HOURS, capacity=10.0):
    """A tally of steps, each the grants and the demands of all VMs."""
    tally = Tally(1, len(steps[0][0]), step_seconds=step_seconds, warmup_ticks=warmup_ticks)
    for grants, demands in steps:
        snapshot = snapshot_of(demands, capacity=capacity, held=grants)
        tally.add(snapshot, snapshot.used)
    return tally


STEPS = (
    ((4, 10), (3, 5)),
    ((4, 10), (6, 5)),  # the first runs short by 2
    ((8, 10), (6, NAN)),  # the second is missing: it doesn't count
    ((8, 6), (8, 6)),  # pressed against the grant, but not short
    ((8.05, 6), (0, 7)),  # the second runs short by 1; half a percent is no change
)


def test_every_measure_by_hand():
    measured = counted(STEPS).measures(0, 0.2)
    demand = 3 + 6 + 6 + 8 + 0 + 5 + 5 + 6 + 7
    reserved = 4 + 4 + 8 + 8 + 8.05 + 10 + 10 + 6 + 6
    assert measured.violation_ratio == 2 / 9
    assert measured.vms_within_sla_ratio == 0.5  # 1 of 5 is the SLA, 1 of 4 is above 1.2 x 0.2
    assert measured.unmet_ratio == pytest.approx(3 / demand)
    assert measured.reserved_ratio == pytest.approx(reserved / 90)
    assert measured.slack_ratio == pytest.approx(1 - (demand - 3) / reserved)
    # 5 samples of six hours are 1.25 days; one change each.
    assert measured.changes_per_vm_day_p50 == pytest.approx(0.8)
    assert measured.changes_per_vm_day_p99 == pytest.approx(0.8)


def test_the_warm_up_is_not_measured():
    measured = counted(STEPS, warmup_ticks=2).measures(0, 0.2)
    assert measured.violation_ratio == 1 / 5
    assert measured.changes_per_vm_day_p50 == pytest.approx(0.5 / 0.75)  # none and one in 3 x 6 hours


@pytest.mark.parametrize(("demand", "violation"), [(5.0, 0), (5.009, 0), (5.011, 1), (6.0, 1)])
def test_a_thousandth_of_capacity_is_no_violation(demand, violation):
    assert counted([((5,), (demand,))]).measures(0, 0.01).violation_ratio == violation


@pytest.mark.parametrize(("grant", "changes"), [(5.09, 0), (5.11, 4), (4.8, 4)])
def test_a_change_is_more_than_a_hundredth_of_capacity(grant, changes):
    # Two samples of three hours are a quarter of a day: one change in it is four a day.
    measured = counted([((5,), (1,)), ((grant,), (1,))], step_seconds=SIX_HOURS // 2).measures(0, 0.01)
    assert measured.changes_per_vm_day_p50 == changes


def test_a_grant_above_capacity_reserves_capacity():
    assert counted([((40,), (1,))]).measures(0, 0.01).reserved_ratio == 1


def test_a_vm_that_never_sends_is_neither_in_nor_out_of_its_sla():
    measured = counted([((5, 5), (6, NAN)), ((5, 5), (1, NAN))]).measures(0, 0.01)
    assert (measured.violation_ratio, measured.vms_within_sla_ratio) == (0.5, 0.0)


def test_no_sample_after_the_warm_up_is_an_error():
    with pytest.raises(InputError, match="no sample is left"):
        counted([((5,), (NAN,))]).measures(0, 0.01)


def test_the_gap_is_closed_by_what_the_oracle_leaves_of_the_rule():
    def reserving(grant):
        return counted([((grant,), (1,))]).measures(0, 0.01)

    rule, oracle = reserving(5), reserving(1)
    assert gap_closed(reserving(4), rule, oracle) == pytest.approx(0.25)
    assert gap_closed(rule, rule, oracle) == 0
    assert gap_closed(oracle, rule, oracle) == 1
    assert gap_closed(reserving(6), rule, oracle) == pytest.approx(-0.25)
    assert gap_closed(reserving(4), rule, None) is None
    assert gap_closed(reserving(4), None, oracle) is None
    assert gap_closed(reserving(4), rule, rule) is None
