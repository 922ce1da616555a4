"""The league: what each policy reserved and where it ran short, by day, and over a restart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.plan.league import DAY_SECONDS, TODAY, YESTERDAY, League
from tidegate.testing import roster_of, snapshot_of

START = 1_704_067_200
STEP = 3600
POLICIES = ("one", "other")


def seen(hour, used=(1.0, 2.0), ids=(1, 2)):
    return replace(
        snapshot_of([used], capacity=4.0, roster=roster_of(len(ids), ids=ids)),
        time_seconds=START + (hour + 1) * STEP,
        step_seconds=STEP,
    )


def counted(league, snapshot, *, held=2.0, short=False):
    scale = league.begin(snapshot)
    for policy in range(len(POLICIES)):
        amounts = np.full(snapshot.used.shape, held * (policy + 1), dtype=np.float32)
        league.count(policy, amounts, np.full(snapshot.used.shape, short and policy == 0), scale)


def test_figures_are_shares_of_what_was_sold_and_regret_is_over_what_was_used():
    league = League(POLICIES)
    counted(league, seen(0))
    counted(league, seen(1), short=True)
    one, other = league.standings(0)
    assert (one.policy, one.samples, one.violation_ratio) == ("one", 4, 0.5)
    assert (one.reserved_ratio, other.reserved_ratio) == pytest.approx((0.5, 1.0))
    assert one.regret_ratio == pytest.approx(0.5 - 3 / 8)
    assert other.violation_ratio == 0
    (mine, _) = league.standings(0, workload=1)
    assert (mine.samples, mine.regret_ratio) == (2, pytest.approx(0.0))


def test_a_missing_sample_counts_for_nobody():
    league = League(POLICIES)
    counted(league, seen(0, used=(1.0, np.nan)), short=True)
    assert league.standings(0)[0].samples == 1
    assert league.standings(0, workload=1) == ()


def test_nothing_is_said_before_the_first_sample():
    assert League(POLICIES).standings(0) == ()


def test_a_day_ends_at_midnight_utc_and_is_yesterday_then():
    league = League(POLICIES)
    for hour in range(24):
        counted(league, seen(hour), short=True)
    assert league.standings(0, day=TODAY)[0].samples == 48
    counted(league, seen(24))
    assert [league.standings(0, day=day)[0].samples for day in (TODAY, YESTERDAY)] == [2, 48]
    assert [league.standings(0, day=day)[0].violation_ratio for day in (TODAY, YESTERDAY)] == [0, 1]


@pytest.mark.parametrize("days", [2, 9])
def test_a_day_that_nobody_saw_leaves_no_yesterday(days):
    league = League(POLICIES)
    counted(league, seen(0))
    counted(league, seen(days * DAY_SECONDS // STEP))
    assert league.standings(0, day=YESTERDAY) == ()
    assert league.standings(0, day=TODAY)[0].samples == 2


@pytest.mark.parametrize("stop", [1, 20, 30])
def test_it_goes_on_from_its_state_as_if_it_had_never_stopped(stop):
    never, first = League(POLICIES), League(POLICIES)
    for hour in range(40):
        counted(never, seen(hour), short=hour % 3 == 0)
        if hour == stop:
            second = League(POLICIES)
            second.restore(first.state())
            first = second
        counted(first, seen(hour), short=hour % 3 == 0)
    for name, values in never.state().items():
        np.testing.assert_array_equal(values, first.state()[name], name)


def test_whoever_comes_starts_at_nothing_and_whoever_goes_takes_its_figures_along():
    league = League(POLICIES)
    counted(league, seen(0), short=True)
    counted(league, seen(1, used=(2.0, 2.0), ids=(2, 3)))
    assert league.standings(0, workload=0)[0].samples == 2
    assert league.standings(0, workload=0)[0].violation_ratio == 0.5
    assert league.standings(0, workload=1)[0].samples == 1
