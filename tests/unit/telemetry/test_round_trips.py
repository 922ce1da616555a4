"""Latency and jitter, against numpy and against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tidegate.telemetry.round_trips import jitter, quantile

ROUND_TRIPS = arrays(
    np.float64,
    st.tuples(st.integers(0, 5), st.integers(0, 30)),
    elements=st.one_of(st.just(float("nan")), st.floats(1e-6, 1.0)),
)


@given(ROUND_TRIPS, st.sampled_from((0.0, 0.5, 0.95, 1.0)))
def test_a_quantile_is_that_of_what_came_back(round_trips, level):
    found = quantile(round_trips, level)
    for row, said in zip(round_trips, found, strict=True):
        back = row[~np.isnan(row)]
        if back.size:
            assert said == pytest.approx(np.quantile(back, level))
        else:
            assert np.isnan(said)


@given(ROUND_TRIPS)
def test_jitter_is_the_mean_step_between_those_that_came_back(round_trips):
    for row, said in zip(round_trips, jitter(round_trips), strict=True):
        back = row[~np.isnan(row)]
        if back.size > 1:
            assert said == pytest.approx(np.abs(np.diff(back)).mean())
        else:
            assert np.isnan(said)


def test_jitter_steps_over_what_was_lost():
    assert jitter(np.array([[0.010, np.nan, 0.014, 0.012]])) == pytest.approx([0.003])
