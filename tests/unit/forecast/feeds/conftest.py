"""A plain path model and made-up fleets, for tests of feeds."""

from __future__ import annotations

from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest

from tidegate.model.feed import Feed, FeedKind
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS, Paths

DAY = 86_400
START = 1_700_006_400  # a midnight, UTC
SCORES = np.array([NormalDist().inv_cdf(float(level)) for level in PATH_LEVELS], dtype=np.float32)


class TimeOfDay:
    """The mean at the time of day, and of what is left the last with a half-life of two hours."""

    def __init__(self, *, half_life_seconds=7_200):
        self.half_life_seconds = half_life_seconds
        self.fits = []

    def fit(self, panel):
        self.fits.append(panel.steps)

    def paths(self, panel, horizon_steps):
        step, shares = panel.step_seconds, panel.shares[-14 * DAY // panel.step_seconds :]
        day = DAY // step
        first = panel.steps - shares.shape[0]
        slot = (panel.start_seconds // step + first + np.arange(shares.shape[0])) % day
        seen = ~np.isnan(shares)
        total, count = np.zeros((day, shares.shape[1])), np.zeros((day, shares.shape[1]))
        np.add.at(total, slot, np.where(seen, shares, 0))
        np.add.at(count, slot, seen)
        overall = total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)
        usual = np.where(count > 0, total / np.maximum(count, 1), overall)
        left = np.nan_to_num(shares - usual[slot], nan=0.0)
        spread = np.maximum(left.std(axis=0), 0.005)
        ahead = np.arange(1, horizon_steps + 1)
        fade = 0.5 ** (ahead * step / self.half_life_seconds)
        coming = (panel.start_seconds // step + panel.steps - 1 + ahead) % day
        middle = usual[coming] + fade[:, None] * left[-1]
        wide = spread * np.sqrt(1 - 0.9 * fade[:, None] ** 2)
        quantiles = np.clip(middle + SCORES[:, None, None] * wide, 0, 1).astype(np.float32)
        return Paths(end_seconds=panel.end_seconds, step_seconds=step, quantiles=quantiles)


def fleet(*, series, days, step_seconds=900, seed=0, noise=0.04, groups=None):
    """Daily waves and noise with a memory of an hour, (steps, series): a panel without feeds."""
    random = np.random.default_rng(seed)
    steps = days * DAY // step_seconds
    memory = np.exp(-step_seconds / 3_600)
    drift = random.normal(0, noise * np.sqrt(1 - memory**2), (steps, series))
    for step in range(1, steps):
        drift[step] += memory * drift[step - 1]
    turn = 2 * np.pi * (np.arange(steps)[:, None] * step_seconds / DAY + random.random(series))
    shares = 0.4 + 0.1 * np.sin(turn) + drift + random.normal(0, noise / 3, (steps, series))
    return Panel(
        start_seconds=START,
        step_seconds=step_seconds,
        names=tuple(f"vm-{at}" for at in range(series)),
        shares=np.clip(shares, 0, 1).astype(np.float32),
        capacity=np.ones(series, dtype=np.float32),
        groups=groups or tuple(f"server-{at}" for at in range(series)),
    )


def measured(name, values, *, start=START, every=900, kind=FeedKind.SERIES, vms=None, issued=None):
    """A feed with a value every so many seconds, known when it holds."""
    valid = start + every * np.arange(len(values), dtype=np.int64)
    return Feed(
        name=name,
        kind=kind,
        valid_seconds=valid,
        issued_seconds=valid if issued is None else issued,
        values=np.asarray(values, dtype=np.float32),
        holds_seconds=3 * every,
        vms=vms,
    )


def days_of(name, days, *, start=START, issued=0):
    """An event feed that is 1 on some days, counted from the start."""
    valid, values = [start - 30 * DAY], [0.0]
    for day in sorted(days):
        valid += [start + day * DAY, start + (day + 1) * DAY]
        values += [1.0, 0.0]
    return Feed(
        name=name,
        kind=FeedKind.EVENT,
        valid_seconds=np.array(valid),
        issued_seconds=np.full(len(valid), issued),
        values=np.array(values, dtype=np.float32),
        holds_seconds=366 * DAY,
    )


@pytest.fixture(scope="session")
def made():
    """What the tests make their worlds of."""
    return SimpleNamespace(TimeOfDay=TimeOfDay, fleet=fleet, measured=measured, days_of=days_of, START=START)
