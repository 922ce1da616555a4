"""Quantiles of past errors: by hand where they can be, and honest where they cannot."""

from __future__ import annotations

from math import gcd

import numpy as np
import pytest

from tidegate.forecast.paths.spread import (
    KNOT_STEPS,
    at_steps,
    knots_to,
    last_known,
    learned_spread,
    origins_of,
    quantiles_present,
    spread_of,
)

NAN = float("nan")
HALF = np.array([0.5], dtype=np.float32)


def test_quantiles_are_ranks_of_what_is_present():
    values = np.array([[3, NAN], [1, NAN], [NAN, NAN], [2, NAN]], dtype=np.float32)
    levels = np.array([0.1, 0.25, 0.375, 0.5, 0.99], dtype=np.float32)
    found = quantiles_present(values, levels)
    np.testing.assert_allclose(found[:, 0], [1, 1, 1.5, 2, 3])
    assert np.isnan(found[:, 1]).all()
    assert np.isnan(quantiles_present(values[:0], HALF)).all()


def test_the_next_value_is_below_a_quantile_as_often_as_it_says():
    values = np.random.default_rng(3).exponential(size=(20, 4000)).astype(np.float32)
    found = quantiles_present(values[:19], np.array([0.5, 0.9], dtype=np.float32))
    np.testing.assert_allclose((values[19] <= found).mean(axis=1), [0.5, 0.9], atol=0.02)


@pytest.mark.parametrize(
    ("steps", "last"), [(1, [1]), (5, [3, 5]), (288, [192, 288]), (1440, [576, 1152, 1440])]
)
def test_knots_end_with_the_horizon(steps, last):
    knots = knots_to(steps).tolist()
    assert knots[-len(last) :] == last
    assert knots[:-1] == sorted(set(knots[:-1]))
    assert set(KNOT_STEPS[:11]) >= {knot for knot in knots[:-1] if knot <= 288}


@pytest.mark.parametrize(
    ("steps", "step_seconds"), [(8640, 300), (43_200, 60), (720, 3600), (1, 300), (0, 300)]
)
def test_origins_have_their_turn_at_every_time_of_day(steps, step_seconds):
    origins = origins_of(steps, step_seconds)
    day = 86_400 // step_seconds
    assert origins.size <= 300
    assert (origins < max(steps - 1, 0)).all()
    if origins.size > 1:
        assert gcd(int(origins[1] - origins[0]), day) == 1
        assert origins[0] >= steps - 14 * day - 1


def test_between_knots_is_a_line_over_the_logarithm_and_flat_after_the_last():
    values = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    found = at_steps(np.array([1, 4, 16]), values, 20)[:, 0]
    np.testing.assert_allclose(found[[0, 1, 3, 7, 15, 19]], [0, 0.5, 1, 2, 3, 3], atol=1e-6)


def test_who_has_too_few_errors_far_out_takes_those_of_nearer():
    errors = np.random.default_rng(0).normal(size=(30, 2, 1)).astype(np.float32)
    errors[5:, 1] = NAN
    spread = spread_of(errors, np.array([1, 12]))
    np.testing.assert_array_equal(spread.errors[:, 1], spread.errors[:, 0])
    assert np.isnan(spread_of(errors[:5], np.array([1, 12])).errors).all()


def test_a_residual_is_carried_as_far_as_it_lasted():
    chance = np.random.default_rng(1)
    residual = chance.normal(size=(400, 2)).astype(np.float32) * 0.1
    stays = 0.5 + residual[:, None] + 0.001 * chance.normal(size=(400, 1, 2)).astype(np.float32)
    goes = 0.5 + 0.05 * chance.normal(size=(400, 1, 2)).astype(np.float32)
    samples = np.concatenate((stays, goes), axis=1)
    spread, loss = learned_spread(samples, np.full_like(samples, 0.5), residual, np.array([1, 12]))
    np.testing.assert_array_equal(spread.carried, [[1, 1], [0, 0]])
    assert loss[0].max() < 0.01 < loss[1].min()


def test_the_last_known_is_nan_only_before_the_first():
    shares = np.array([[NAN], [1], [NAN], [NAN], [2]], dtype=np.float32)
    np.testing.assert_array_equal(last_known(shares)[:, 0], [NAN, 1, 1, 1, 2])
