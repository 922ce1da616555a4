"""The plain models on series small enough to forecast by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tidegate.forecast.n_sigma import NSigma
from tidegate.forecast.nothing import NothingForecaster
from tidegate.forecast.profile import SLOTS, Profile, slot_of_week
from tidegate.forecast.recent_peak import RecentPeak, last_value
from tidegate.forecast.seasonal import SeasonalNaive
from tidegate.forecast.server_sums import WithServerSums, offloadable_sums
from tidegate.testing import places_of, roster_of, snapshot_of

NAN = float("nan")
MONDAY = 1_704_067_200
DAY = 86_400
ROSTER = roster_of(1)


def shown(forecaster, samples, *, start=MONDAY, step=300, capacity=8.0):
    """Show one workload's samples and return the highest level of the last forecast."""
    snapshot = None
    for tick, used in enumerate(samples):
        snapshot = snapshot_of(
            [used], capacity=capacity, roster=ROSTER, time_seconds=start + tick * step, step_seconds=step
        )
        forecaster.observe(snapshot)
    return float(forecaster.forecast(snapshot).quantiles[-1, 0, 0])


# --- Recent peak, last, nothing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "peak"),
    [
        ([3.0] + [1.0] * 11, 3.0),  # twelve five-minute samples are an hour
        ([3.0] + [1.0] * 12, 1.0),  # the thirteenth pushes the first out
        ([3.0, NAN, NAN], 3.0),  # what is missing is not there
        ([3.0] + [NAN] * 20, 3.0),  # the last known peak where the hour is empty
        ([9.0], 8.0),  # more than was sold is what was sold
        ([NAN], NAN),
    ],
)
def test_the_recent_peak_is_the_highest_of_the_last_hour(samples, peak):
    assert shown(RecentPeak(step_seconds=300), samples) == pytest.approx(peak, nan_ok=True)


def test_the_recent_peak_forgets_what_is_older_than_an_hour_though_ticks_were_lost():
    forecaster = RecentPeak(step_seconds=300)
    shown(forecaster, [5.0, 5.0])
    assert shown(forecaster, [1.0], start=MONDAY + 3 * 3600 + 900) == 1.0


def test_the_last_value_is_the_last_one_known():
    assert shown(last_value(step_seconds=300), [3.0, 1.0, 2.0]) == 2.0
    assert shown(last_value(step_seconds=300), [3.0, NAN]) == 3.0


def test_who_does_not_forecast_says_that_nothing_may_act():
    snapshot = snapshot_of([1.0, 2.0])
    forecast = NothingForecaster().forecast(snapshot)
    assert np.isnan(forecast.quantiles).all()
    assert forecast.profiling.all()


# --- Seasonal naive --------------------------------------------------------------------------------


def test_tomorrow_will_be_like_today():
    # Steps of six hours: four a day. After 1 2 3 4 | 5 the next is the second of the day: 2.
    forecaster = SeasonalNaive(step_seconds=6 * 3600)
    assert shown(forecaster, [1.0, 2.0, 3.0, 4.0, 5.0], step=6 * 3600) == 2.0


def test_the_peak_of_the_lead_window_a_day_ago_is_expected():
    forecaster = SeasonalNaive(step_seconds=6 * 3600, lead_steps=3)
    assert shown(forecaster, [1.0, 2.0, 3.0, 4.0, 5.0], step=6 * 3600) == 4.0


def test_a_hole_yesterday_is_filled_by_the_last_value():
    forecaster = SeasonalNaive(step_seconds=6 * 3600)
    assert shown(forecaster, [1.0, NAN, 3.0, 4.0, 5.0], step=6 * 3600) == 5.0


# --- N-sigma ---------------------------------------------------------------------------------------


def test_mean_and_five_sigma_by_hand():
    # Shares of 8 cores: 1/8, 2/8, 3/8. Mean 2/8; variance ((1/8)^2 + 0 + (1/8)^2) / 3.
    sigma = math.sqrt(2 * 0.125**2 / 3)
    assert shown(NSigma(step_seconds=300), [1.0, 2.0, 3.0]) == pytest.approx(8 * (0.25 + 5 * sigma), rel=1e-6)


def test_what_is_sure_has_no_sigma_and_what_is_wild_ends_at_capacity():
    assert shown(NSigma(step_seconds=300), [2.0] * 30) == pytest.approx(2.0, rel=1e-6)
    assert shown(NSigma(step_seconds=300), [1.0, 8.0]) == 8.0


def test_after_ten_hours_a_sample_is_forgotten():
    assert shown(NSigma(step_seconds=300), [8.0] + [2.0] * 119) > 2.5
    assert shown(NSigma(step_seconds=300), [8.0] + [2.0] * 120) == pytest.approx(2.0, rel=1e-4)


# --- Profile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "seconds", "slot"),
    [(0, 0, 0), (0, 900, 1), (1, 0, SLOTS), (6, DAY - 1, 7 * SLOTS - 1), (7, 0, 0)],
)
def test_a_slot_is_a_quarter_of_an_hour_of_the_week_from_monday(days, seconds, slot):
    assert slot_of_week(MONDAY + days * DAY + seconds) == slot


def told_profile(days, *, monday=6.0, weekday=4.0, weekend=1.0):
    """A profile that saw whole days: every Monday, the other weekdays and weekends each at a level."""
    forecaster = Profile(step_seconds=900)
    level = [monday, *[weekday] * 4, *[weekend] * 2]
    for tick in range(days * SLOTS + 1):
        time = MONDAY + (tick + 1) * 900
        day = (tick // SLOTS) % 7
        forecaster.observe(
            snapshot_of([level[day]], capacity=8, roster=ROSTER, time_seconds=time, step_seconds=900)
        )
    return forecaster


def test_until_three_weeks_weekdays_share_a_day_and_weekends_another():
    forecaster = told_profile(14)
    monday, saturday = 5, 5 * SLOTS + 5
    # The mean of the five weekdays: (6 + 4 x 4) / 5 = 4.4 of 8 cores.
    assert forecaster.usual(monday)[0, 0] == pytest.approx(4.4 / 8, rel=1e-3)
    assert forecaster.usual(monday + SLOTS)[0, 0] == pytest.approx(4.4 / 8, rel=1e-3)
    assert forecaster.usual(saturday)[0, 0] == pytest.approx(1 / 8, rel=1e-3)


def test_after_three_weeks_every_day_is_its_own():
    forecaster = told_profile(21)
    for day, level in enumerate((6, 4, 4, 4, 4, 1, 1)):
        assert forecaster.usual(day * SLOTS + 5)[0, 0] == pytest.approx(level / 8, rel=1e-3)


def test_a_new_habit_counts_three_tenths_a_week():
    forecaster = told_profile(28)
    assert forecaster.usual(5)[0, 0] == pytest.approx(6 / 8, rel=1e-3)
    for tick in range(2 * SLOTS):
        time = MONDAY + 28 * DAY + (tick + 1) * 900
        forecaster.observe(snapshot_of([2.0], capacity=8, roster=ROSTER, time_seconds=time, step_seconds=900))
    assert forecaster.usual(5)[0, 0] == pytest.approx((6 + 0.3 * (2 - 6)) / 8, rel=1e-3)


def test_a_workload_is_profiling_until_it_was_seen_for_two_days():
    forecaster = Profile(step_seconds=900)
    seen = []
    for tick in range(2 * SLOTS + 2):
        snapshot = snapshot_of([1.0], roster=ROSTER, time_seconds=MONDAY + (tick + 1) * 900, step_seconds=900)
        forecaster.observe(snapshot)
        seen.append(bool(forecaster.forecast(snapshot).profiling[0, 0]))
    assert seen == [True] * (2 * SLOTS - 1) + [False] * 3


def test_the_lead_window_touches_the_slot_it_ends_in():
    # Ten past the hour, ten minutes ahead: both the first and the second quarter of the hour matter.
    forecaster = Profile(step_seconds=300, lead_steps=2)
    for tick in range(2 * SLOTS * 3 + 3):
        time = MONDAY + (tick + 1) * 300
        used = 7.0 if slot_of_week(time - 300) % SLOTS == 1 else 1.0
        snapshot = snapshot_of([used], capacity=8, roster=ROSTER, time_seconds=time)
        forecaster.observe(snapshot)
        if time % DAY == 600 and tick > 300:
            assert forecaster.forecast(snapshot).quantiles[0, 0, 0] == pytest.approx(7.0, rel=1e-3)


# --- Sums per server -------------------------------------------------------------------------------


def two_servers(used, seconds=0):
    return snapshot_of(
        used, time_seconds=MONDAY + seconds, host=[0, 0, 1], card=[2, 2, -1],
        places=places_of(servers=[8, 8], cards=[8], worth=0.5),
        roster=roster_of(3, offloadable_ratio=[0.5, 1.0, 0.25]),
    )  # fmt: skip


def test_offloadable_demand_is_summed_in_card_units():
    # Server 1: 2 x 0.5 / 0.5 + 1 x 1 / 0.5 = 4; server 2: 4 x 0.25 (no card: its unit is the server's).
    sums = offloadable_sums(two_servers([2.0, 1.0, 4.0]), np.float32([[2.0, 1.0, 4.0]]))
    assert sums.tolist() == [[4.0, 1.0, 0.0]]


def test_missing_samples_are_stood_for_in_proportion_to_capacity():
    # The second VM is missing: weights 4 x 0.5 / 0.5 = 4 of 4 + 8 are known, so 2 becomes 2 x 12 / 4 = 6.
    sums = offloadable_sums(two_servers([2.0, NAN, NAN]), np.float32([[2.0, NAN, NAN]]))
    assert sums[0, 0] == pytest.approx(6.0)
    assert np.isnan(sums[0, 1])


def test_the_sums_are_forecast_as_series_of_their_own():
    # The two peak at different times: the sum's peak is 4 + 1 (in card units), not 4 + 2.
    forecaster = WithServerSums(RecentPeak(step_seconds=300), RecentPeak(step_seconds=300, lead_steps=12))
    for seconds, used in ((0, [4.0, 0.5, 0.0]), (300, [1.0, 1.0, 0.0])):
        snapshot = two_servers(used, seconds)
        forecaster.observe(snapshot)
    forecast = forecaster.forecast(snapshot)
    assert forecast.servers is not None
    assert forecast.servers.horizon_seconds == 3600
    assert forecast.servers.quantiles[-1, 0, 0] == pytest.approx(5.0)
    assert forecast.quantiles[-1, 0].tolist() == [4.0, 1.0, 0.0]
