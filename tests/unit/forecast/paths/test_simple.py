"""The yardsticks on series small enough to draw by hand, and their spreads on series of which it is known."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.paths.simple import Last, Percentile, RecentPeak, SeasonalNaive
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS

NAN = float("nan")
MEDIAN = 4
P90 = 8


def panel(shares, step_seconds=3600):
    shares = np.array(shares, dtype=np.float32)
    shares = shares[:, None] if shares.ndim == 1 else shares
    names = tuple(f"vm-{at}" for at in range(shares.shape[1]))
    return Panel(
        start_seconds=0,
        step_seconds=step_seconds,
        names=names,
        shares=shares,
        capacity=np.ones(len(names), dtype=np.float32),
    )


def medians(model, of, horizon):
    return model.paths(of, horizon).quantiles[MEDIAN, :, 0]


def test_last_says_what_was_used_last_over_a_gap_too():
    np.testing.assert_allclose(medians(Last(), panel([0.1, 0.7, 0.3]), 3), 0.3)
    np.testing.assert_allclose(medians(Last(), panel([0.1, 0.7, NAN, NAN]), 3), 0.7)


def test_seasonal_naive_says_yesterday_again_every_day_and_last_where_that_is_missing():
    day = np.arange(24) / 100
    history = np.concatenate((day[::-1], day))
    np.testing.assert_allclose(medians(SeasonalNaive(), panel(history), 48), np.tile(day, 2), atol=1e-6)
    history[24:27] = NAN
    found = medians(SeasonalNaive(), panel(history), 4)
    np.testing.assert_allclose(found, [0.23, 0.23, 0.23, 0.03], atol=1e-6)
    np.testing.assert_allclose(medians(SeasonalNaive(), panel([0.2, 0.4]), 2), 0.4)


def test_recent_peak_says_how_much_less_usually_follows():
    chance = np.random.default_rng(4)
    shares = np.where(chance.random(2000) < 0.1, 0.9, 0.1)
    shares[-12:] = 0.1
    shares[-5] = 0.9
    found = RecentPeak().paths(panel(shares, 300), 12).quantiles[:, :, 0]
    assert (found[MEDIAN] < 0.3).all(), "the peak is not what usually follows"
    assert (found[-1] > 0.85).all(), "but it may come again"


def test_percentile_knows_the_last_seven_days_alone():
    history = np.concatenate((np.full(24, 0.9), np.linspace(0, 0.5, 24 * 7)))
    found = Percentile().paths(panel(history), 3).quantiles[:, :, 0]
    np.testing.assert_allclose(found, np.repeat(PATH_LEVELS[:, None] / 2, 3, axis=1), atol=0.005)


@pytest.mark.parametrize("kind", [Last, SeasonalNaive, RecentPeak, Percentile])
def test_spreads_are_honest(kind):
    """Of series that stay as they are, about nine in ten samples are below the 0.9 level."""
    chance = np.random.default_rng(2)
    noise = chance.standard_normal((288 * 8, 40))
    for at in range(1, noise.shape[0]):
        noise[at] += 0.9 * noise[at - 1]
    shares = np.clip(0.4 + 0.05 * noise, 0, 1).astype(np.float32)
    now = 288 * 7
    found = kind().paths(panel(shares[:now], 300), 288).quantiles
    assert (shares[now:] <= found[P90]).mean() == pytest.approx(0.9, abs=0.04)
    assert (shares[now:] <= found[MEDIAN]).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", [Last, SeasonalNaive, RecentPeak, Percentile])
def test_who_knows_nothing_says_so(kind):
    found = kind().paths(panel([NAN, NAN, NAN]), 2).quantiles[:, :, 0]
    np.testing.assert_allclose(found, np.repeat(PATH_LEVELS[:, None], 2, axis=1), atol=1e-6)
    one = kind().paths(panel([NAN, 0.2, NAN]), 2).quantiles[:, 0, 0]
    np.testing.assert_allclose(one[[0, MEDIAN, P90]], [0.04, 0.2, 0.84], atol=1e-6)
