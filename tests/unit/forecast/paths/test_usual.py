"""The profile finds what is usual where something is, and does not make it up where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.paths.baseline import baselines_of, slot_and_kind
from tidegate.forecast.paths.usual import Usual
from tidegate.model.panel import Panel

DAY = 86_400
MONDAY = 1_704_067_200
"""2024-01-01 00:00 UTC."""
MEDIAN = 4
NAN = np.float32(np.nan)


def panel(shares, step_seconds=300, start=MONDAY):
    shares = np.asarray(shares, dtype=np.float32)
    names = tuple(f"vm-{at}" for at in range(shares.shape[1]))
    return Panel(
        start_seconds=start,
        step_seconds=step_seconds,
        names=names,
        shares=shares,
        capacity=np.ones(len(names), dtype=np.float32),
    )


def habits(days, seed=0, step_seconds=300):
    """Flat noise, a backup at 3:00, a smooth day, a day that weekends lack."""
    chance = np.random.default_rng(seed)
    steps = days * DAY // step_seconds
    ends = MONDAY + step_seconds * (np.arange(steps) + 1)
    slot, weekend = slot_and_kind(ends, step_seconds)
    second = slot * step_seconds
    smooth = 0.3 * np.sin(np.pi * second / DAY) ** 2
    backup = np.where((second >= 3 * 3600) & (second < 3 * 3600 + 600), 0.6, 0.0)
    shares = np.stack((0 * smooth, backup, smooth, np.where(weekend == 1, 0, smooth)), axis=1)
    return (0.2 + shares + 0.03 * chance.standard_normal(shares.shape)).astype(np.float32), 0.2 + shares


def test_weekends_are_told_from_weekdays():
    ends = MONDAY + DAY * np.arange(7) + 300
    slot, weekend = slot_and_kind(ends, 300)
    assert weekend.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert slot.tolist() == [0] * 7


def test_the_median_of_the_other_days_is_that():
    chance = np.random.default_rng(1)
    shares = chance.random((6 * 24, 3)).astype(np.float32)
    shares[chance.random(shares.shape) < 0.2] = NAN
    found = baselines_of(panel(shares, 3600))
    grid = shares.reshape(6, 24, 3)
    others = np.stack([np.nanmedian(np.delete(grid, day, axis=0), axis=0) for day in range(6)])
    np.testing.assert_allclose(found.past[1].reshape(6, 24, 3), others, rtol=1e-6)
    np.testing.assert_allclose(found.table[1, 0], np.nanmedian(grid, axis=0), rtol=1e-6)


def test_each_habit_has_its_baseline():
    shares, _ = habits(21)
    model = Usual()
    model.fit(panel(shares))
    flat, backup, smooth, weekdays = model.kinds
    assert flat == "flat"
    assert backup in {"slots", "weekday slots"}
    assert smooth in {"smooth", "weekday smooth"}
    assert weekdays == "weekday smooth"


@pytest.mark.parametrize("day", [14, 18, 19])
def test_the_day_to_come_is_known(day):
    """A Monday, a Friday and a Saturday; a median over days, and the noise is not forecast."""
    shares, usual = habits(21)
    now = day * 288
    model = Usual()
    model.fit(panel(shares[:now]))
    found = model.paths(panel(shares[:now]), 288).quantiles[MEDIAN]
    off = np.abs(found - usual[now : now + 288]).mean(axis=0)
    assert (off < 0.02).all(), off


def test_what_is_unusual_now_fades_as_it_used_to():
    chance = np.random.default_rng(5)
    wandering = np.zeros((288 * 10, 1), dtype=np.float32)
    for at in range(1, wandering.shape[0]):
        wandering[at] = 0.97 * wandering[at - 1] + 0.01 * chance.standard_normal(1)
    shares = 0.4 + wandering
    shares[-3:] = 0.8
    model = Usual()
    model.fit(panel(shares[:-3]))
    found = model.paths(panel(shares), 288).quantiles[MEDIAN, :, 0]
    assert found[0] > 0.7
    assert found[-1] < 0.5


def test_newer_samples_need_no_new_fit_and_newcomers_are_learned_on_the_way():
    shares, _ = habits(10)
    shares[: 8 * 288, 0] = NAN
    model = Usual()
    model.fit(panel(shares[: 8 * 288]))
    found = model.paths(panel(shares[: 9 * 288]), 12).quantiles
    assert abs(float(found[MEDIAN, :, 0].mean()) - 0.2) < 0.05, "unknown at the fit, known now"
    assert abs(float(found[MEDIAN, :, 2].mean()) - 0.2) < 0.05
