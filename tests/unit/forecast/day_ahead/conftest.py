"""A made-up fleet whose days are alike, and wrappers over it that work at once."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.day_ahead import Speaker, WithDayAhead
from tidegate.forecast.nothing import NothingForecaster
from tidegate.forecast.paths.usual import Usual
from tidegate.model.resources import Resource
from tidegate.testing import roster_of, snapshot_of

STEP = 900
DAY = 86_400 // STEP
START = 1_704_067_200
"""2024-01-01 00:00 UTC."""


class Fleet:
    """Workloads of four cores, busy at an hour of their own."""

    def __init__(self, workloads=8, seed=0, step=STEP):
        self.seed, self.step = seed, step
        rng = np.random.default_rng(seed)
        self.phase = rng.uniform(0, 2 * np.pi, workloads)
        self.roster = roster_of(workloads)
        self.raised = {}
        """Cores a workload uses more, from a tick on."""

    def used(self, tick):
        """What everybody used in the step that ends at a tick."""
        turn = 2 * np.pi * (tick * self.step % 86_400) / 86_400
        noise = np.random.default_rng((self.seed, tick)).normal(0, 0.05, self.phase.size)
        used = 1.2 + np.sin(turn + self.phase) + noise
        for workload, (since, cores) in self.raised.items():
            used[workload] += cores * (tick >= since)
        return np.clip(used, 0, 4)

    def snapshot(self, tick, *, roster=None, rows=slice(None), time_seconds=None, capacity=4.0, used=None):
        return snapshot_of(
            self.used(tick)[rows] if used is None else used,
            capacity=capacity,
            roster=self.roster if roster is None else roster,
            time_seconds=START + tick * self.step if time_seconds is None else time_seconds,
            step_seconds=self.step,
        )


@pytest.fixture
def fleet():
    return Fleet


@pytest.fixture
def wrapped():
    """Make a wrapper; ``speaks`` makes the model of each series, unless ``speaker`` is given."""

    def wrapped(forecaster=None, *, speaks=Usual, speaker=None, step=STEP, **given):
        usual = Speaker(name="usual", paths_seconds=0.1, fit_seconds=0.9, fresh=speaks)
        return WithDayAhead(
            forecaster or NothingForecaster(),
            speakers={Resource.CPU: speaker or usual},
            resources=(Resource.CPU,),
            step_seconds=step,
            **{"refit_seconds_max": 60} | given,
        )

    return wrapped


@pytest.fixture
def turned():
    """Show a wrapper some ticks and return the day of the last."""

    def turned(made, of, ticks, **given):
        day = None
        for tick in ticks:
            snapshot = of.snapshot(tick, **given)
            made.observe(snapshot)
            day = made.forecast(snapshot).day
        return day

    return turned
