"""Prophet's sum: day, week, feeds and holidays, as known at the panel's end, and not a word in the log."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from tidegate.forecast.paths.additive import Prophet
from tidegate.forecast.paths.regressors import columns_of
from tidegate.model.errors import InputError
from tidegate.model.feed import Feed, FeedKind
from tidegate.model.panel import Panel

DAY = 86_400
MONDAY = 1_704_067_200
"""2024-01-01 00:00 UTC."""
STEP = 1800
MEDIAN = 4
NAN = np.float32(np.nan)


def panel(shares, *, feeds=(), start=MONDAY):
    shares = np.asarray(shares, dtype=np.float32)
    names = tuple(f"vm-{at}" for at in range(shares.shape[1]))
    return Panel(
        start_seconds=start,
        step_seconds=STEP,
        names=names,
        shares=shares,
        capacity=np.ones(len(names), dtype=np.float32),
        feeds=feeds,
    )


def feed(name, kind, valid, values, *, issued=None, holds=STEP, vms=None):
    valid = np.asarray(valid, dtype=np.int64)
    return Feed(
        name=name,
        kind=kind,
        valid_seconds=valid,
        issued_seconds=valid if issued is None else np.broadcast_to(np.int64(issued), valid.shape),
        values=np.asarray(values, dtype=np.float32),
        holds_seconds=holds,
        vms=vms,
    )


def noise(steps, series=1, seed=0):
    return 0.01 * np.random.default_rng(seed).standard_normal((steps, series))


def test_a_strong_day_comes_again_and_the_log_stays_empty(caplog, capfd):
    steps = 48 * 8
    wave = 0.4 + 0.2 * np.sin(2 * np.pi * np.arange(steps)[:, None] / 48)
    model = Prophet(seed=1)
    with caplog.at_level(logging.INFO):
        model.fit(panel((wave + noise(steps))[: 48 * 7]))
        found = model.paths(panel((wave + noise(steps))[: 48 * 7]), 48).quantiles[MEDIAN]
    np.testing.assert_allclose(found, wave[48 * 7 :], atol=0.05)
    assert model.failed == ()
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def with_events():
    """Two VMs; events an hour long at odd times, known long before, raise the first alone."""
    steps = 48 * 12
    chance = np.random.default_rng(3)
    at = np.sort(chance.choice(np.arange(0, steps - 2, 2), 40, replace=False))
    at[-1] = 48 * 10 + 6
    at = np.unique(at)
    shares = 0.2 + noise(steps, 2)
    for begin in at:
        shares[begin : begin + 2, 0] += 0.3
    known = feed(
        "sale", FeedKind.EVENT, MONDAY + at * STEP, np.ones(at.size), issued=0, holds=2 * STEP, vms=("vm-0",)
    )
    nothing = feed("broken", FeedKind.WEATHER, [MONDAY], [NAN])
    now = panel(shares[: 48 * 10], feeds=(known, nothing))
    model = Prophet(seed=1)
    model.fit(now)
    return model, now


def test_an_event_that_is_announced_is_forecast_for_whom_it_is_about(with_events):
    model, now = with_events
    found = model.paths(now, 12).quantiles[MEDIAN]
    assert found[6:8, 0].min() > found[:5, 0].max() + 0.2
    assert np.ptp(found[:, 1]) < 0.1


def test_an_event_issued_later_is_not_known(with_events):
    model, now = with_events
    sale = now.feeds[0]
    late = replace(sale, issued_seconds=np.where(sale.valid_seconds > now.end_seconds, sale.valid_seconds, 0))
    found = model.paths(replace(now, feeds=(late,)), 12).quantiles[MEDIAN, :, 0]
    assert np.ptp(found) < 0.1


def test_without_its_feeds_it_still_answers(with_events):
    model, now = with_events
    found = model.paths(replace(now, feeds=()), 12).quantiles[MEDIAN]
    np.testing.assert_allclose(found.mean(axis=0), [0.2, 0.2], atol=0.1)


def test_columns_hold_what_was_told_last_and_leave_out_what_was_never():
    load = feed("load", FeedKind.APPLICATION, MONDAY + STEP * np.array([2, 3]), [5, 7])
    event = feed("event", FeedKind.EVENT, [MONDAY + 3 * STEP], [1])
    silent = feed("silent", FeedKind.NETWORK, [MONDAY + 99 * STEP], [1])
    of = panel(np.full((5, 1), 0.1), feeds=(load, event, silent))
    columns = columns_of(of, 0, 7)
    assert [name for _, name, _ in columns.keys] == ["load", "event"]
    np.testing.assert_array_equal(columns.told.T, [[5, 5, 5, 7, 7, 7, 7], [0, 0, 0, 1, 0, 0, 0]])


def test_holidays_are_days_of_their_own():
    days = 14
    slots = np.arange(48 * days)
    shares = 0.5 + noise(slots.size)
    shares[slots // 48 == 8] -= 0.3  # 2024-12-25, a Wednesday; the next day is a holiday too
    shares[slots // 48 == 9] -= 0.3
    christmas = 1_735_084_800 - 8 * DAY
    of = panel(shares, start=christmas)
    columns = columns_of(of, 0, slots.size, country="DE")
    holiday = columns.told[:, 0].reshape(days, 48)
    assert holiday.all(axis=1).tolist() == [at in {8, 9} for at in range(days)] or holiday[8:10].all()
    with pytest.raises(InputError, match="Atlantis"):
        Prophet(seed=1, country="Atlantis")


def test_short_histories_are_left_to_the_profile():
    model = Prophet(seed=1)
    model.fit(panel(0.3 + noise(60)))
    found = model.paths(panel(0.3 + noise(60)), 4).quantiles
    np.testing.assert_allclose(found[MEDIAN], 0.3, atol=0.05)
    assert model.failed == ()
