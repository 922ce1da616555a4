"""Peaks of hours from paths of steps of any length."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.day_ahead.hours import INDEPENDENT_PER_HOUR, at_levels, hour_peaks
from tidegate.model.day_ahead import DAY_LEVELS
from tidegate.model.paths import PATH_LEVELS, Paths


def paths(step_seconds, steps, end_seconds=0, series=1):
    """What rises by 1 % a step from the second on, and is as sure as it is."""
    rising = np.arange(steps, dtype=np.float32)[None, :, None] * 0.01
    quantiles = np.repeat(np.clip(rising + 0 * PATH_LEVELS[:, None, None], 0, 1), series, axis=2)
    return Paths(end_seconds=end_seconds, step_seconds=step_seconds, quantiles=quantiles.astype(np.float32))


@pytest.mark.parametrize(("step", "steps"), [(300, 36), (900, 12), (3600, 3)])
def test_an_hour_holds_the_steps_that_end_in_it(step, steps):
    found = hour_peaks(paths(step, steps), 0, 3)
    per_hour = 3600 // step
    wanted = [0.01 * (per_hour * (hour + 1) - 1) for hour in range(3)]
    np.testing.assert_allclose(found[0, :, 0], wanted, atol=1e-3)


def test_the_hour_under_way_is_told_by_what_is_left_of_it():
    found = hour_peaks(paths(300, 24, end_seconds=3600 + 1800), 1, 2)
    np.testing.assert_allclose(found[0, :, 0], [0.05, 0.17], atol=1e-3)


def test_a_step_longer_than_an_hour_tells_every_hour_of_it():
    found = hour_peaks(paths(7200, 2), 0, 4)
    np.testing.assert_allclose(found[0, :, 0], [0, 0, 0.01, 0.01], atol=1e-3)


def test_a_step_of_an_hour_is_its_own_peak_and_many_steps_are_higher():
    spread = np.repeat(PATH_LEVELS[:, None, None], 12, axis=1)
    one = hour_peaks(Paths(end_seconds=0, step_seconds=3600, quantiles=spread[:, :1]), 0, 1)
    np.testing.assert_allclose(one[:, 0, 0], DAY_LEVELS, atol=1e-3)
    many = hour_peaks(Paths(end_seconds=0, step_seconds=300, quantiles=spread), 0, 1)
    assert (many > one).all()
    np.testing.assert_allclose(many[0, 0, 0], 0.5 ** (1 / INDEPENDENT_PER_HOUR), atol=1e-2)


def test_the_tail_goes_on_as_it_fell():
    # An exponential: each tenth of what is left above costs the same.
    quantiles = (-np.log(1 - PATH_LEVELS.astype(np.float64)) / 10).astype(np.float32)[:, None]
    found = at_levels(quantiles, np.array([0.99, 0.999]))
    np.testing.assert_allclose(found[:, 0], [np.log(100) / 10, np.log(1000) / 10], rtol=1e-4)
    assert (at_levels(quantiles * 2, np.array([0.9999])) <= 1).all()
