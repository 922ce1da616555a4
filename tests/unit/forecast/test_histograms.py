"""The histograms of VPA and Autopilot, with the arithmetic written out."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.histogram import AutopilotWindow, VpaPercentile
from tidegate.model.resources import Resource
from tidegate.testing import roster_of, snapshot_of

MONDAY = 1_704_067_200
DAY = 86_400
HOUR = 3600
ROSTER = roster_of(1)


def shown(forecaster, samples, *, capacity, resource=Resource.CPU):
    """Show (seconds, use) samples of one workload and return the forecast after the last."""
    snapshot = None
    for seconds, used in samples:
        snapshot = snapshot_of(
            [used], capacity=capacity, roster=ROSTER, resources=[resource], time_seconds=MONDAY + seconds
        )
        forecaster.observe(snapshot)
    return float(forecaster.forecast(snapshot).quantiles[-1, 0, 0])


def vpa(samples, *, resource=Resource.CPU):
    capacity = 8.0 if resource is Resource.CPU else 64e9
    return shown(VpaPercentile(resources=[resource]), samples, capacity=capacity, resource=resource)


def cpu_bucket_end(number):
    """Buckets start at 0.01 cores and grow by 5 %: bucket n ends at 0.01 (1.05^(n + 1) - 1) / 0.05."""
    return 0.2 * (1.05 ** (number + 1) - 1)


def test_one_core_is_in_bucket_36_which_ends_at_1_016():
    # 0.2 (1.05^n - 1) <= 1 up to n = ln 6 / ln 1.05 = 36.7.
    assert vpa([(0, 1.0)]) == pytest.approx(cpu_bucket_end(36), rel=1e-6) == pytest.approx(1.0163, rel=1e-4)


@pytest.mark.parametrize(("high", "bucket"), [(1, 25), (3, 36)])
def test_the_ninetieth_percentile_is_the_end_of_its_bucket(high, bucket):
    # 0.5 cores are in bucket ln 3.5 / ln 1.05 = 25.7. One of 20 is above the 90th percentile, three are not.
    samples = [(300 * k, 1.0 if k < high else 0.5) for k in range(20)]
    assert vpa(samples) == pytest.approx(cpu_bucket_end(bucket), rel=1e-6)


@pytest.mark.parametrize(("days", "bucket"), [(3, 36), (4, 25)])
def test_a_sample_loses_half_its_weight_in_a_day(days, bucket):
    # The old one weighs 1 / (1 + 2^days) of all: 1/9 is above a tenth, 1/17 below.
    assert vpa([(0, 1.0), (days * DAY, 0.5)]) == pytest.approx(cpu_bucket_end(bucket), rel=1e-6)


def memory_bucket_end(number):
    """The same from 10 MB."""
    return 2e8 * (1.05 ** (number + 1) - 1)


def test_of_a_day_of_memory_only_the_peak_counts():
    # 3e9 is in bucket ln 16 / ln 1.05 = 56.8. Were all counted, 1e9 (ln 6: 36) would be it.
    samples = [(300, 1e9), (600, 2e9), (900, 3e9), *[(1200 + 300 * k, 1e9) for k in range(40)]]
    assert vpa(samples, resource=Resource.MEMORY) == pytest.approx(memory_bucket_end(56), rel=1e-6)


def test_a_higher_peak_replaces_the_day_s_lower_one():
    forecaster = VpaPercentile(resources=[Resource.MEMORY])
    shown(forecaster, [(300, 1e9), (600, 3e9)], capacity=64e9, resource=Resource.MEMORY)
    held = np.flatnonzero(forecaster.state()["weights"][:, 0, 0])
    assert held.tolist() == [56]


@pytest.mark.parametrize(("low_days", "bucket"), [(2, 56), (3, 36)])
def test_a_peak_of_memory_fades_day_by_day(low_days, bucket):
    # One high day, then low ones: it weighs 1/7 after two and 1/15 after three.
    samples = [(day * DAY + HOUR, 3e9 if day == 0 else 1e9) for day in range(low_days + 1)]
    assert vpa(samples, resource=Resource.MEMORY) == pytest.approx(memory_bucket_end(bucket), rel=1e-6)


def test_weights_stay_finite_over_a_year():
    samples = [(day * DAY, 1.0 if day < 300 else 0.5) for day in range(400)]
    assert vpa(samples) == pytest.approx(cpu_bucket_end(25), rel=1e-6)


def autopilot(samples, *, resource=Resource.CPU, capacity=4.0):
    return shown(
        AutopilotWindow(resources=[resource], step_seconds=300), samples, capacity=capacity, resource=resource
    )


def test_a_quarter_of_capacity_is_the_hundredth_of_400_buckets():
    assert autopilot([(0, 1.0)]) == pytest.approx(1.0)
    assert autopilot([(0, 1.001)]) == pytest.approx(101 / 400 * 4)


def test_a_sample_weighs_as_much_as_it_used():
    # 30 samples at a tenth weigh 3, one at a half 0.5: 14 % of the load, though 3 % of the samples.
    samples = [(0, 2.0), *[(300 * (k + 1), 0.4) for k in range(30)]]
    assert autopilot(samples) == pytest.approx(2.0)


def test_cpu_fades_in_half_a_day_and_memory_in_two():
    # After a day of nothing, one high sample weighs 0.5 / 4 = 0.125 of CPU; 40 low ones at a tenth weigh 4:
    # 3 %, less than the 5 % above the 95th percentile. Memory's 0.5 / 2^(1/2) = 0.35 is 8 %, more than 2 %.
    samples = [(0, 2.0), *[(DAY + 300 * k, 0.4) for k in range(40)]]
    assert autopilot(samples) == pytest.approx(0.4)
    assert autopilot(samples, resource=Resource.MEMORY) == pytest.approx(2.0)


def test_the_highest_recommendation_of_the_last_hour_holds():
    low = [(300 * k, 0.4) for k in range(1000)]
    end = 300 * 1000
    assert autopilot(low) == pytest.approx(0.4)
    # With half-lives of 144 steps the low ones weigh 0.1 / (1 - 2^(-1/144)) = 21 together. One sample of
    # all capacity weighs 1: 4.6 %, no recommendation; three in a row do.
    assert autopilot([*low, (end, 4.0)]) == pytest.approx(0.4)
    high = [(end + 300 * k, 4.0) for k in range(3)]
    assert autopilot([*low, *high]) == pytest.approx(4.0)
