"""The histograms of VPA and Autopilot, with the arithmetic written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.forecast.histogram import (
    AUTOPILOT_BUCKETS,
    AUTOPILOT_PERCENTILE,
    VPA_PERCENTILE,
    AutopilotWindow,
    VpaPercentile,
)
from tidegate.forecast.histogram_percentile import CHUNK_SERIES, PercentileHistograms
from tidegate.forecast.windows import slot_of
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


def test_of_the_last_bucket_which_has_no_end_the_start_is_told():
    # VPA's 176 buckets begin below 1000 cores and 1 TB: whatever is above is in the last, number 175.
    told_of_cpu = shown(VpaPercentile(resources=[Resource.CPU]), [(0, 2000.0)], capacity=4096.0)
    assert told_of_cpu == pytest.approx(cpu_bucket_end(174), rel=1e-6) == pytest.approx(1021.1, rel=1e-4)
    told_of_memory = shown(
        VpaPercentile(resources=[Resource.MEMORY]), [(0, 1.8e12)], capacity=2e12, resource=Resource.MEMORY
    )
    assert told_of_memory == pytest.approx(memory_bucket_end(174), rel=1e-6)


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


BUCKETS = 30
ROUNDING = 1e-9
"""Of the total weight: a percentile this near to the edge of a bucket may be found on either side."""


def by_summing(weights, percentile):
    """Sum all weights (buckets, ...): the lowest and the highest bucket that may be the percentile's."""
    cumulated = np.cumsum(weights, axis=0, dtype=np.float64)
    wanted = percentile * cumulated[-1]
    slack = ROUNDING * cumulated[-1]
    return (cumulated >= wanted - slack).argmax(axis=0), (cumulated >= wanted + slack).argmax(axis=0)


def assert_found(bucket, weights, percentile):
    lowest, highest = by_summing(weights, percentile)
    assert ((lowest <= bucket) & (bucket <= highest)).all()


def show_to(histograms, rng, ids, weight, added):
    """Add a sample to about two thirds of the series, and take back about one in four added before."""
    histograms.follow(snapshot_of(np.zeros((2, ids.size)), roster=roster_of(ids.size, resources=2, ids=ids)))
    series = np.flatnonzero(rng.random(2 * ids.size) < 2 / 3)
    keys = [(int(ids[one % ids.size]), int(one // ids.size)) for one in series]
    back = [at for at, key in enumerate(keys) if key in added and rng.random() < 1 / 4]
    taken = [added.pop(keys[at]) for at in back]
    if taken:
        bucket, lost = (np.array(part) for part in zip(*taken, strict=True))
        histograms.add(series[back], bucket.astype(np.int16), -lost.astype(np.float32))
    bucket = (BUCKETS * rng.beta(0.4, 0.9, series.size)).astype(np.int16)
    gained = (weight * rng.integers(1, 4, series.size)).astype(np.float32)
    histograms.add(series, bucket, gained)
    added.update(zip(keys, zip(bucket.tolist(), gained.tolist(), strict=True), strict=True))
    histograms.settle()


@given(seed=st.integers(0, 2**32 - 1), growth=st.sampled_from([1.0, 1.01, 1.5]))
def test_the_bucket_is_always_the_one_found_by_summing_all(seed, growth):
    rng = np.random.default_rng(seed)
    percentile = np.array([[0.9], [0.5]])
    histograms = PercentileHistograms(buckets=BUCKETS, percentile=percentile)
    ids, weight, added = np.arange(6), 1.0, {}
    for tick in range(40):
        if rng.random() < 0.15:  # some go, some come, the others change places
            ids = rng.permutation(9)[: rng.integers(0, 9)]
            added = {key: value for key, value in added.items() if key[0] in ids}
        if tick and rng.random() < 0.05:
            factor = np.float32(1 / weight)
            histograms.scale(np.full((2, 1), factor))
            weight, added = 1.0, {key: (bucket, lost * factor) for key, (bucket, lost) in added.items()}
        if rng.random() < 0.1:
            state, histograms = (
                histograms.state(),
                PercentileHistograms(buckets=BUCKETS, percentile=percentile),
            )
            histograms.restore(state)
        show_to(histograms, rng, ids, weight, added)
        weights = histograms.state()["weights"]
        assert_found(histograms.bucket, weights, percentile)
        np.testing.assert_array_equal(histograms.seen, weights.any(axis=0))
        weight *= growth


def test_more_series_than_are_worked_on_together_are_all_found():
    number = 2 * CHUNK_SERIES + 10
    histograms = PercentileHistograms(buckets=BUCKETS, percentile=np.array([[0.9]]))
    histograms.follow(snapshot_of(np.zeros((1, number)), roster=roster_of(number)))
    series, there = np.arange(number), (np.arange(number) % BUCKETS).astype(np.int16)
    for bucket, weight in ((there, 1), (there[::-1], 20)):
        histograms.add(series, bucket, np.full(number, weight, dtype=np.float32))
        histograms.settle()
        np.testing.assert_array_equal(histograms.bucket[0], bucket)


def test_sums_that_follow_the_weights_do_not_drift_from_them():
    # Two half-lives of a thousand samples; a bucket high and one low, so that most samples lie below.
    rng = np.random.default_rng(1)
    histograms = PercentileHistograms(buckets=400, percentile=np.array([[0.95]]))
    snapshot = snapshot_of(np.zeros((1, 50)), roster=roster_of(50))
    histograms.follow(snapshot)
    for tick in range(2000):
        bucket = (400 * rng.beta(0.5, 2, 50)).astype(np.int16)
        weight = ((bucket + 1) / 400 * 2 ** (tick / 1000)).astype(np.float32)
        histograms.add(np.arange(50), bucket, weight)
        histograms.settle()
        if tick % 50 == 0:
            lowest, highest = by_summing(histograms.state()["weights"], 0.95)
            assert (lowest == highest).mean() > 0.9  # the comparison is sharp
            assert ((lowest <= histograms.bucket) & (histograms.bucket <= highest)).all()


BOTH = [Resource.CPU, Resource.MEMORY]
SOLD = np.array([[4.0], [16e9]])


def fleets(rng, ticks):
    """Two resources of a small fleet: samples get lost, VMs come, go, change places and are resized."""
    ids, size, seconds = np.arange(5), np.ones(9), MONDAY + 20 * HOUR
    for _ in range(ticks):
        if rng.random() < 0.1:
            ids = rng.permutation(9)[: rng.integers(1, 9)]
        size[rng.random(9) < 0.05] *= rng.choice([0.5, 2])
        seconds += int(
            rng.choice([300, 300, 300, 600, 3 * HOUR, 70 * DAY], p=[0.3, 0.3, 0.2, 0.1, 0.08, 0.02])
        )
        capacity = SOLD * size[ids]
        used = capacity * rng.beta(0.5, 2, capacity.shape) * 1.1
        used[rng.random(used.shape) < 0.1] = np.nan
        yield snapshot_of(
            used,
            capacity=capacity,
            roster=roster_of(ids.size, resources=2, ids=ids),
            resources=BOTH,
            time_seconds=seconds,
        )


def told(make, seed, ticks=40):
    """Snapshots of a random fleet and the forecaster that has seen them, now and then a restarted one."""
    rng = np.random.default_rng(seed)
    forecaster = make()
    for snapshot in fleets(rng, ticks):
        if rng.random() < 0.05:
            state, forecaster = forecaster.state(), make()
            forecaster.restore(state)
        forecaster.observe(snapshot)
        yield snapshot, forecaster


def assert_between(found, lowest, highest):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(lowest))
    assert (np.isnan(found) | ((found >= lowest * (1 - 1e-6)) & (found <= highest * (1 + 1e-6)))).all()


@given(seed=st.integers(0, 2**32 - 1))
@example(seed=2529)  # a VM grows to 2 TB: all that it uses is in the bucket without an end
def test_vpa_forecasts_the_percentile_found_by_summing_all(seed):
    first = np.array([[0.01], [1e7]])
    for snapshot, forecaster in told(lambda: VpaPercentile(resources=BOTH), seed):
        weights = forecaster.state()["weights"]
        ends = [
            np.where(weights.any(axis=0), first * (1.05 ** np.minimum(bucket + 1, 175) - 1) / 0.05, np.nan)
            for bucket in by_summing(weights, VPA_PERCENTILE)
        ]
        assert_between(forecaster.forecast(snapshot).quantiles[-1], *ends)


@given(seed=st.integers(0, 2**32 - 1))
def test_autopilot_recommends_the_percentile_found_by_summing_all(seed):
    percentile = np.array([[AUTOPILOT_PERCENTILE[resource]] for resource in BOTH])
    for snapshot, forecaster in told(lambda: AutopilotWindow(resources=BOTH, step_seconds=300), seed):
        state = forecaster.state()
        weights = state["weights"]
        needs = [
            np.where(weights.any(axis=0), (bucket + 1) / AUTOPILOT_BUCKETS * snapshot.capacity, np.nan)
            for bucket in by_summing(weights, percentile)
        ]
        assert_between(state["recommended"][slot_of(snapshot.time_seconds, 300, 12)], *needs)
