"""Totals at two moments become rates, and what can't be known is NaN."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tidegate.drivers.cgroups.counters import Sample, Total
from tidegate.drivers.local.largest import Largest
from tidegate.drivers.local.rates import folded, rates

TOTALS = arrays(np.float64, (len(Total), 3), elements=st.floats(0, 1e15) | st.just(np.nan))


def sample(time_seconds, totals, *, ids=(1, 2, 3), instance=(0, 0, 0), namespace=(0, 0, 0), from_zero=False):
    columns = np.broadcast_to(np.asarray(totals, dtype=np.float64), (len(Total), len(ids))).copy()
    return Sample(
        time_seconds=time_seconds,
        ids=np.array(ids, dtype=np.int64),
        instance=np.array(instance, dtype=np.int64),
        namespace=np.array(namespace, dtype=np.int64),
        totals=columns,
        amounts=np.empty((0, len(ids))),
        from_zero=from_zero,
    )


def test_a_rate_is_the_rise_over_the_time_that_passed():
    found = rates(sample(10.0, [1.0, 2.0, 3.0]), sample(12.5, [2.0, 2.0, 13.0]))
    assert found[0].tolist() == [0.4, 0.0, 4.0]


def test_the_first_sample_has_no_rates():
    assert np.isnan(rates(None, sample(10.0, 1.0))).all()


def test_no_time_between_samples_gives_no_rates():
    assert np.isnan(rates(sample(10.0, 1.0), sample(10.0, 2.0))).all()


@given(before=TOTALS, now=TOTALS, seconds=st.floats(0.001, 1e6))
def test_a_rate_is_never_negative_and_nan_where_a_total_fell(before, now, seconds):
    found = rates(sample(1.0, before), sample(1.0 + seconds, now))
    with np.errstate(invalid="ignore"):
        rose = now >= before
    assert (found[rose] >= 0).all()
    assert np.isnan(found[~rose]).all()


def test_who_was_made_anew_has_no_rate_even_if_the_total_is_higher():
    found = rates(sample(1.0, 5.0), sample(2.0, 9.0, instance=(0, 7, 0)))
    assert np.isnan(found[:, 1]).all()
    assert (found[:, [0, 2]] == 4.0).all()


def test_traffic_read_in_another_namespace_than_before_is_unknown():
    found = rates(sample(1.0, 5.0, namespace=(7, 7, 7)), sample(2.0, 9.0, namespace=(7, 8, 0)))
    np.testing.assert_array_equal(found[Total.RECEIVED_BYTES], [4.0, np.nan, np.nan])
    np.testing.assert_array_equal(found[Total.SENT_BYTES], [4.0, np.nan, np.nan])
    assert (found[Total.CPU_SECONDS] == 4.0).all()


def test_rows_follow_their_workload_and_a_new_one_has_no_rate():
    found = rates(sample(1.0, [1.0, 2.0, 3.0]), sample(2.0, [4.0, 9.0, 2.0], ids=(3, 9, 1)))
    np.testing.assert_array_equal(found[0], [1.0, np.nan, 1.0])


def test_a_new_process_counts_from_zero_but_not_on_the_first_sample():
    before = sample(1.0, [1.0, 2.0, 3.0], from_zero=True)
    now = sample(2.0, [1.5, 2.0, 7.0], ids=(1, 2, 4), from_zero=True)
    assert rates(before, now)[0].tolist() == [0.5, 0.0, 7.0]
    assert np.isnan(rates(sample(1.0, 1.0), now)[0, 2]), "they were cgroups before: nothing is known of it"


def test_a_sum_leaves_out_the_unknown_and_is_unknown_where_all_are():
    values = np.array([[1.0, np.nan, 3.0, np.nan]])
    np.testing.assert_array_equal(folded(values, np.array([0, 0, 0, 1]), 3), [[4.0, np.nan, np.nan]])


def test_the_largest_have_a_row_and_keep_it_until_another_is_twice_as_large():
    largest = Largest(2)
    ids = np.array([1, 2, 3])
    assert largest.choose(ids, np.array([0.3, 0.2, 0.1])).tolist() == [True, True, False]
    assert largest.choose(ids, np.array([0.3, 0.2, 0.35])).tolist() == [True, True, False]
    assert largest.choose(ids, np.array([0.3, 0.2, 0.45])).tolist() == [True, False, True]
    assert largest.choose(ids[:2], np.array([np.nan, np.nan])).tolist() == [True, True]
