"""Fits of statsforecast, rolled forward here: the same forecasts, no new fits, and nobody is left out."""

from __future__ import annotations

import numpy as np
import pytest
from statsforecast.models import AutoARIMA, AutoETS

from tidegate.forecast.paths import statistical
from tidegate.forecast.paths.fitting import quietly
from tidegate.forecast.paths.linear import ahead, arima, filtered, invertible, side_by_side, smoothing
from tidegate.forecast.paths.rolled import between, means_of
from tidegate.forecast.paths.statistical import Arima, Ets, Mstl, Theta, arima_of, ets_of, theta_of
from tidegate.forecast.paths.usual import Usual, learned_from
from tidegate.model.panel import Panel

NAN = np.float32(np.nan)
MONDAY = 1_704_067_200
MEDIAN, P90 = 4, 8
KINDS = [Arima, Ets, Theta, Mstl]


def panel(shares, *, start=MONDAY, step_seconds=900):
    shares = np.asarray(shares, dtype=np.float32)
    names = tuple(f"vm-{at}" for at in range(shares.shape[1]))
    return Panel(
        start_seconds=start,
        step_seconds=step_seconds,
        names=names,
        shares=shares,
        capacity=np.ones(len(names), dtype=np.float32),
    )


def persistent(steps, series=1, *, seed=0, ar=0.9, spread=0.03):
    chance = np.random.default_rng(seed)
    values = np.zeros((steps, series))
    for at in range(1, steps):
        values[at] = ar * values[at - 1] + spread * chance.standard_normal(series)
    return values


def rolled(equation, values, steps):
    linear = side_by_side([equation])
    filled, innovations = filtered(linear, values[:, None].astype(np.float32))
    return ahead(linear, filled, innovations, np.array([values.size - 1]), steps)[1:, 0, 0]


def test_an_arima_rolled_forward_is_statsforecasts_own():
    values = persistent(400, ar=0.6)[:, 0]
    model = AutoARIMA(
        season_length=1, seasonal=False, allowdrift=False, approximation=True, max_d=1, max_p=3, max_q=2
    )
    with quietly():
        wanted = model.fit(values)
    np.testing.assert_allclose(rolled(arima_of(values), values, 20), wanted.predict(20)["mean"], atol=2e-3)


@pytest.mark.parametrize("ar", [0.0, 0.99])
def test_smoothing_rolled_forward_is_statsforecasts_own(ar):
    values = 0.3 + persistent(300, ar=ar)[:, 0]
    wanted = AutoETS(season_length=1, model="ANN").fit(values).predict(5)["mean"]
    alpha = AutoETS(season_length=1, model="ANN").fit(values).model_["par"][0]
    np.testing.assert_allclose(rolled(smoothing(alpha), values, 5), wanted, atol=2e-3)


def test_a_damped_trend_rolled_forward_is_statsforecasts_own():
    values = np.cumsum(persistent(300, ar=0.95, spread=0.001)[:, 0])
    model = AutoETS(season_length=1, model="AAN", damped=True).fit(values)
    alpha, beta, _, phi = model.model_["par"][:4]
    found = rolled(smoothing(alpha, beta, phi), values, 10)
    np.testing.assert_allclose(found, np.clip(model.predict(10)["mean"], -1, 1), atol=2e-3)
    np.testing.assert_allclose(found, rolled(ets_of(values), values, 10), atol=2e-3)


def test_theta_drifts_by_half_the_slope():
    values = np.linspace(0, 0.5, 200) + 0.001 * persistent(200)[:, 0]
    found = rolled(theta_of(values), values, 11)
    assert found[10] - found[0] == pytest.approx(10 * 0.5 / 199 / 2, rel=0.05)


def test_differences_are_multiplied_out():
    equation = arima((0.5,), (0.3,), differences=1, drift=0.1)
    np.testing.assert_allclose(equation.ar, [1.5, -0.5])
    assert equation.constant == pytest.approx(0.05)
    assert arima((0.5,), (), differences=0, mean=0.4).constant == pytest.approx(0.2)


def test_a_moving_average_beyond_the_unit_circle_is_turned_back():
    """Roots at 0.5 and 2: the first is turned to 2; autocorrelations stay, innovations fade."""
    np.testing.assert_allclose(invertible(np.array([-2.5, 1.0])), [-1.0, 0.25], atol=1e-9)
    np.testing.assert_allclose(invertible(np.array([0.4, 0.1])), [0.4, 0.1], atol=1e-9)
    assert -1 < invertible(np.array([-1.0]))[0] < -0.99


def test_a_gap_is_filled_with_what_was_expected():
    values = np.array([[0.4], [0.2], [NAN], [NAN], [0.1]], dtype=np.float32)
    filled, innovations = filtered(side_by_side([arima((0.5,), (), differences=0)]), values)
    np.testing.assert_allclose(filled[:, 0], [0.4, 0.2, 0.1, 0.05, 0.1], rtol=1e-6)
    np.testing.assert_allclose(innovations[:, 0], [0, 0, 0, 0, 0.075], atol=1e-6)


def test_means_end_on_the_quarter_hour_and_are_read_off_at_their_centres():
    means = means_of(np.arange(11, dtype=np.float32)[:, None], MONDAY + 600, 300)
    np.testing.assert_array_equal(means.shares[:, 0], [2, 5, 8])
    np.testing.assert_array_equal(means.last_row, [3, 6, 9])
    rest = np.array([[2.0], [5], [8], [11]], dtype=np.float32)
    np.testing.assert_allclose(between(rest, 3, np.array([0, 1, 2, 5]))[:, 0], [3, 4, 5, 8])


@pytest.mark.parametrize("kind", KINDS)
def test_what_persists_is_told_better_than_by_the_day_alone_and_as_surely_as_is_said(kind):
    slot = np.arange(96 * 12)[:, None] % 96
    shares = 0.4 + 0.1 * np.sin(2 * np.pi * slot / 96) + persistent(96 * 12, 6, ar=0.97, spread=0.01)
    model, covered, off, flat = kind(seed=1), [], [], []
    model.fit(panel(shares[: 96 * 10]))
    for now in range(96 * 10, 96 * 11, 7):
        found = model.paths(panel(shares[:now]), 24).quantiles
        coming = shares[now : now + 24]
        covered.append(coming <= found[P90])
        off.append(np.abs(coming - found[MEDIAN]))
        flat.append(np.abs(coming - shares[: 96 * 10].mean(axis=0)))
    assert model.failed == ()
    assert np.mean(off) < 0.5 * np.mean(flat)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.07)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [MONDAY, MONDAY + 5 * 3600 + 600])
def test_a_season_is_in_its_place_whenever_the_history_starts(kind, start):
    """The wave of the day is seen at 5 minutes, from a start between two quarters of an hour."""
    ends = start + 300 * (np.arange(288 * 9) + 1)
    wave = 0.5 + 0.3 * np.sin(2 * np.pi * (ends - 150) / 86_400)
    shares = wave + 0.01 * np.random.default_rng(0).standard_normal(wave.size)
    now = 288 * 8
    model = kind(seed=1)
    model.fit(panel(shares[: now - 100, None], start=start, step_seconds=300))
    found = model.paths(panel(shares[:now, None], start=start, step_seconds=300), 288).quantiles
    np.testing.assert_allclose(found[MEDIAN, :, 0], wave[now:], atol=0.05)


def test_newer_samples_are_rolled_forward_without_a_fit(monkeypatch):
    shares = 0.4 + persistent(96 * 5, 3)
    model = Ets(seed=1)
    model.fit(panel(shares[: 96 * 4]))
    monkeypatch.setattr(statistical, "fit_all", None)
    for now in (96 * 4 + 1, 96 * 4 + 50, 96 * 5):
        median = model.paths(panel(shares[:now]), 4).quantiles[MEDIAN, 0]
        np.testing.assert_allclose(median, shares[now - 1], atol=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_its_series_are_answered_alike_without_a_fit(kind, monkeypatch):
    of = panel(0.4 + persistent(96 * 5, 3))
    model = kind(seed=1)
    model.fit(of)
    monkeypatch.setattr(statistical, "fit_all", None)
    some = np.array([2, 0])
    wanted = model.paths(of, 8).quantiles[:, :, some]
    np.testing.assert_allclose(model.paths(of.of(some), 8).quantiles, wanted, atol=1e-6)


def test_a_series_that_fails_falls_back_to_the_profile_and_is_counted(monkeypatch):
    def picky(means):
        if means[0] > 0:
            raise FloatingPointError("no convergence")
        return smoothing(0.5)

    shares = np.concatenate((0.4 + persistent(96 * 5, 2), np.full((96 * 5, 1), 0.3)), axis=1)
    of = panel(shares)
    lefts = shares[0] - learned_from(of).past[0]
    monkeypatch.setattr(statistical, "ets_of", picky)
    model, usual = Ets(seed=1), Usual()
    model.fit(of)
    usual.fit(of)
    failed = [at for at in (0, 1) if lefts[at] > 0]
    assert failed, "the data should make at least one fail"
    assert model.failed == tuple(f"vm-{at}" for at in failed), "a constant series needs no fit"
    same = (model.paths(of, 4).quantiles == usual.paths(of, 4).quantiles).all(axis=(0, 1))
    assert same.tolist() == [at in failed or at == 2 for at in range(3)]
