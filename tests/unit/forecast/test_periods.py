"""The finder of periods: of bursts on a schedule the shortest, also between two steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.forecast.cycles.periods import find_periods


@settings(max_examples=40, deadline=None)
@given(
    period=st.floats(4, 60),
    duty=st.sampled_from([0.2, 0.35, 0.5]),
    seen=st.floats(3.2, 12),
    phase=st.floats(0, 1),
)
@example(period=8.5, duty=0.2, seen=10.8, phase=0.5)  # bursts of one and two samples, by turns 8 and 9 apart
@example(period=9.5, duty=0.2, seen=4.188, phase=0.0499)  # few of these, two wide ones at the edges
@example(period=8.3, duty=0.2, seen=6.1, phase=0.156)  # 8, 8 and 9 apart
@example(period=8.2552, duty=0.2, seen=8.282, phase=1.0)  # 8, 8, 8 and 9 apart
@example(period=9.3558, duty=0.2, seen=3.237, phase=0.0)  # the second cycle at the last lag looked at
@example(period=8.5, duty=0.2, seen=3.6, phase=0.75)  # too few bursts of a sample or two to be no chance
def test_the_period_found_is_the_shortest_that_fits(period, duty, seen, phase):
    at = np.arange(int(period * seen) + 1)
    samples = (((at / period + phase) % 1) < duty).astype(np.float32)
    found = float(find_periods(samples[None])[0])
    whole = round(found / period)
    # Half a step is what the second cycle tells; of 3.2 it ends where nothing is looked at any more.
    assert found == 0 or abs(found / whole - period) <= (0.5 if seen >= 3.3 else 1)
    # Autocorrelation must reach 4 / sqrt(n): bursts of one sample or two by turns may have but 0.6 of it.
    likely = at.size >= (4 / (0.7 if period * duty >= 3 else 0.6)) ** 2
    if likely and period >= 8:
        assert whole == 1


def test_two_bursts_of_which_one_comes_late_are_one_period():
    at = np.arange(170)
    late, even = ((at % 17 == 0) | (at % 17 == second) for second in (6, 8))
    found = find_periods(np.stack([late, even]).astype(np.float32))
    assert found.tolist() == pytest.approx([17, 8.5], abs=0.1)
