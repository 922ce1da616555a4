"""Drift: a change is noticed, dated and told apart; noise, days and jobs are not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.engine import drift as drifts
from tidegate.forecast.engine import past as pasts
from tidegate.model.forecast import Drift
from tidegate.testing import snapshot_of

STEP = 300
DAY = 288
START = 1_704_067_200
CAPACITY = 10.0


class Watched:
    """What a chunk of the engine does but for learning and forecasting."""

    def __init__(self, series, step=STEP):
        self._slots = pasts.Slots(step)
        self._step, self._ticks = step, 0
        self.past, self.drift = pasts.columns(self._slots), drifts.columns()
        nobody = snapshot_of(np.full(series, np.nan), capacity=CAPACITY, time_seconds=START)
        self.past.follow(nobody)
        self.drift.follow(nobody)
        self.told = []
        """Per tick: kind, age and whether it was noticed, (series,) each."""

    def show(self, used):
        """Show the samples (ticks, series)."""
        names = [name for name in self.past.state() if name not in {"ids", "capacity"}]
        part = {"time_seconds": 0, "step_seconds": self._step, "slots": self._slots}
        for samples in used:
            self._ticks += 1
            now = part["time_seconds"] = START + self._step * self._ticks
            pasts.turn_rings(
                self.past,
                from_seconds=now - 2 * self._step,
                to_seconds=now - self._step,
                slots=self._slots,
            )
            past = {name: self.past[name][..., 0, :] for name in names}
            drift = {name: self.drift[name][..., 0, :] for name in self.drift.state() if name != "ids"}
            share = (samples / CAPACITY).astype(np.float32)
            pasts.remember(past, pasts.Sample(share, np.zeros(share.size, dtype=np.bool_)), **part)
            alarms = drifts.watch(drift, past, ~np.isnan(share), **part)
            drifts.shorten(past, drift, alarms, time_seconds=now, step_seconds=self._step)
            age = drifts.age_seconds(self.drift, self._step)[0]
            self.told.append((drift["kind"].copy(), age, np.isin(np.arange(share.size), alarms.rows)))
        return self

    def noticed(self, series=0):
        return [tick for tick, (_, _, new) in enumerate(self.told) if new[series]]

    def kind(self, tick, series=0):
        return self.told[tick][0][series]

    def age(self, tick, series=0):
        return self.told[tick][1][series]


def shown(used, step=STEP):
    return Watched(used.shape[1], step).show(used)


def noise(days, series=1, seed=3, scale=0.2):
    return np.random.default_rng(seed).normal(0, scale, (round(days * DAY), series))


@pytest.mark.parametrize("level", [5.0, 1.0])
def test_a_level_that_moves_is_noticed_within_hours_and_dated(level):
    at = 3 * DAY + 128  # 10:40
    used = 3 + noise(5)
    used[at:] += level - 3
    found = shown(used.clip(0))
    (tick,) = found.noticed()
    assert at < tick <= at + 72
    assert found.kind(tick) == Drift.LEVEL
    began = (tick + 1) - found.age(tick) / STEP
    assert began == pytest.approx(at, abs=2)


def test_it_is_told_for_a_day_and_its_age_grows():
    used = 3 + noise(6)
    used[3 * DAY :] += 3
    found = shown(used)
    (tick,) = found.noticed()
    told = [at for at in range(used.shape[0]) if found.kind(at) == Drift.LEVEL]
    assert told == list(range(tick, told[-1] + 1))
    assert len(told) == pytest.approx(DAY, abs=24)
    ages = [found.age(at) for at in told]
    assert np.diff(ages) == pytest.approx(STEP)
    assert found.age(told[-1] + 1) == 0


def test_a_series_that_gets_noisier_or_calmer_changed_in_variance():
    used = 4 + np.concatenate([noise(3, 2), noise(3, 2, seed=4)])
    used[3 * DAY :, 0] = 4 + 5 * (used[3 * DAY :, 0] - 4)
    used[3 * DAY :, 1] = 4 + 0.02 * (used[3 * DAY :, 1] - 4)
    found = shown(used.clip(0))
    for series in (0, 1):
        tick = found.noticed(series)[0]
        assert 3 * DAY < tick <= 4.5 * DAY
        assert found.kind(tick, series) == Drift.VARIANCE


def test_a_day_that_moves_by_hours_changed_in_season():
    ticks = np.arange(8 * DAY)
    used = 4 + 3 * np.sin(2 * np.pi * np.where(ticks < 5 * DAY, ticks, ticks + 100) / DAY)
    found = shown(used[:, None] + noise(8, scale=0.05))
    ticks = found.noticed()
    assert 5 * DAY < ticks[0] <= 6 * DAY
    assert found.kind(ticks[0]) == Drift.SEASON


def test_noise_days_and_daily_jobs_are_no_change():
    ticks = np.arange(14 * DAY)
    job = np.where(ticks % DAY < 12, 6.0, 0.0)
    office = np.where((ticks % DAY > 96) & (ticks % DAY < 204), 3.0, 0.0)
    wave = 2 * np.sin(2 * np.pi * ticks / DAY)
    used = 3 + np.stack([0 * wave, job, office, wave, 0.01 * wave], axis=1)
    found = shown((used + noise(14, 5, scale=0.1)).clip(0, CAPACITY))
    assert [found.noticed(series) for series in range(5)] == [[]] * 5


def test_who_changes_all_the_time_is_soon_believed_less():
    ticks = np.arange(48 * DAY)
    used = 2 + 4.0 * (ticks % (6 * DAY) > 4 * DAY)
    found = shown(used[:, None] + noise(48))
    early = sum(tick < 16 * DAY for tick in found.noticed())
    late = sum(tick >= 32 * DAY for tick in found.noticed())
    assert late < early


def test_a_missing_day_is_no_change():
    used = 3 + noise(7, 2)
    used[3 * DAY : 4 * DAY] = np.nan
    found = shown(used)
    assert found.noticed(0) == found.noticed(1) == []


def test_after_a_fall_the_peaks_of_before_are_forgotten():
    used = 7 + noise(5)
    used[3 * DAY :] -= 6
    found = shown(used.clip(0))
    (tick,) = found.noticed()
    assert tick < 4 * DAY
    assert found.past["days"][:, 0, 0].max() < 0.3  # the week's peak was 0.8
    fresh = drifts.pace({"kind": np.array([Drift.LEVEL]), "known": np.array([20.0])}, STEP)
    assert fresh[0] == drifts.PACE


@pytest.mark.parametrize("step", [60, 900])
def test_other_steps_notice_in_about_the_same_time(step):
    day = 86_400 // step
    used = 3 + np.random.default_rng(5).normal(0, 0.2, (4 * day, 1))
    used[3 * day :] += 3
    found = shown(used, step=step)
    (tick,) = found.noticed()
    assert 3 * day < tick <= 3.3 * day
