"""Known days make forecasts of a real series better: taxis in New York over holidays, a marathon, a blizzard.

The series is the only real one at hand with events beside it. The days are those its publisher names as
known causes, with the eves and days off around them, and public holidays that close the markets. All is
learned from the past alone: the model is fitted again every week, and forecasts a day ahead four times a day.
"""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest

from tidegate.drivers.feeds import read_feeds
from tidegate.forecast.feeds import WithFeeds
from tidegate.forecast.feeds.samples import LEVELS, pinball
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS, Paths

STEP = 1_800
DAY = 86_400 // STEP
WEEK = 7 * DAY
MOST = 40_000
FIRST, LAST = 62, 213
"""Days from 2014-07-01: tested from September to the end of January."""
KNOWN_DAYS = """start,end,name,issued
2014-07-04,2014-07-05,known,2014-01-01
2014-09-01,2014-09-01,known,2014-01-01
2014-11-02,2014-11-02,known,2014-01-01
2014-11-27,2014-11-28,known,2014-01-01
2014-12-24,2014-12-26,known,2014-01-01
2014-12-31,2015-01-02,known,2014-01-01
2015-01-19,2015-01-19,known,2014-01-01
2015-01-26T12:00:00,2015-01-27T23:59:59,known,2015-01-25T12:00:00
"""
"""The blizzard was forecast the day before; the rest stood in every calendar."""


class Weekly:
    """The median of four weeks at the same time, and of what is left the last, halved every two hours."""

    def fit(self, panel):
        """Nothing is kept."""

    def paths(self, panel, horizon_steps):
        steps, ahead = panel.steps, np.arange(1, horizon_steps + 1)
        past = np.arange(max(0, steps - 4 * WEEK), steps)
        left = np.nan_to_num(panel.shares[past] - self._usual(panel, past), nan=0.0)
        fade = (0.5 ** (ahead * STEP / 7_200))[:, None]
        middle = np.nan_to_num(self._usual(panel, steps - 1 + ahead), nan=0.5) + fade * left[-4:].mean(axis=0)
        spread = np.quantile(left, PATH_LEVELS, axis=0)[:, None] * np.sqrt(1 - 0.9 * fade**2)
        return Paths(
            end_seconds=panel.end_seconds,
            step_seconds=STEP,
            quantiles=np.clip(middle + spread, 0, 1).astype(np.float32),
        )

    @staticmethod
    def _usual(panel, rows):
        weeks = [np.where((rows >= back)[:, None], panel.shares[np.maximum(rows - back, 0)], np.nan)
                 for back in WEEK * np.arange(1, 5)]  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of weeks before the first
            return np.nanmedian(np.stack(weeks), axis=0)


@pytest.fixture(scope="module")
def taxis(shared_traces):
    path = shared_traces / "nab/realKnownCause/nyc_taxi.csv"
    if not path.exists():
        pytest.skip(f"no {path.name} among the research traces")
    return pl.read_csv(path)["value"].to_numpy().astype(np.float32)[:, None] / MOST


def panel_of(shares, feeds):
    return Panel(
        start_seconds=1_404_172_800 - STEP,  # 2014-07-01; the file names when a step begins
        step_seconds=STEP,
        names=("taxis",),
        shares=shares,
        capacity=np.full(1, MOST, dtype=np.float32),
        feeds=feeds,
    )


def losses(taxis, feeds):
    """The loss of every forecast, and the record of the last fit."""
    found, model = [], WithFeeds(Weekly(), seed=0, horizon_seconds=86_400, grouping="all")
    for day in range(FIRST, LAST, 7):
        model.fit(panel_of(taxis[: day * DAY], feeds))
        for origin in range(day * DAY, min((day + 7) * DAY, len(taxis) - DAY), DAY // 4):
            paths = model.paths(panel_of(taxis[:origin], feeds), DAY)
            found.append(float(pinball(paths.quantiles[:LEVELS], taxis[origin : origin + DAY]).mean()))
    return np.array(found), model.gains


@pytest.mark.shared
def test_known_days_make_taxis_easier_to_forecast(taxis, tmp_path):
    known = tmp_path / "known.csv"
    known.write_text(KNOWN_DAYS)
    without, _ = losses(taxis, ())
    with_days, gains = losses(taxis, read_feeds(f"events={known}"))
    saved = without - with_days
    assert with_days.mean() < 0.98 * without.mean()
    # Before anything was shown to help, nothing is changed.
    assert (saved[: 28 * 8] == 0).all()
    (gain,) = gains
    assert gain.on
    assert gain.low > 0.01


@pytest.mark.shared
def test_days_that_mean_nothing_change_nothing(taxis, tmp_path):
    random = np.random.default_rng(5)
    rows = "start\n" + "".join(
        f"{np.datetime64('2014-07-01') + int(day)}\n" for day in sorted(random.choice(214, 12, replace=False))
    )
    other = tmp_path / "other.csv"
    other.write_text(rows)
    without, _ = losses(taxis, ())
    with_days, _ = losses(taxis, read_feeds(f"events={other}"))
    assert with_days.mean() < 1.002 * without.mean()
