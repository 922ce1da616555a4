"""Small path models under names that only these tests know, and a trace for them."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from tidegate.app import path_models
from tidegate.app.path_models import PathModel
from tidegate.model.paths import PATH_LEVELS, Paths
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace

HOUR = 12
STEP_SECONDS = 300
START_SECONDS = 1_704_067_200
"""2024-01-01 00:00 UTC."""


class Spy:
    """Remembers what it was shown; answers with the same band for all."""

    seen: list[tuple[str, object]]

    def __init__(self, *, seed):
        self.seed = seed

    def fit(self, panel):
        self.seen.append(("fit", panel))

    def paths(self, panel, horizon_steps):
        self.seen.append(("paths", panel))
        shape = (PATH_LEVELS.size, horizon_steps, len(panel.names))
        quantiles = np.broadcast_to(self.band(panel)[:, None, :], shape).astype(np.float32)
        return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=quantiles)

    def band(self, panel):
        return np.repeat(PATH_LEVELS[:, None], len(panel.names), axis=1)


class Near(Spy):
    """The last sample, plus or minus a little."""

    def band(self, panel):
        last = np.nan_to_num(panel.shares[-1], nan=0.5)
        return np.clip(last + 0.4 * (PATH_LEVELS[:, None] - 0.5), 0, 1)


class Silent(Spy):
    """Leaves what it should say open."""

    def band(self, panel):
        return np.full((PATH_LEVELS.size, len(panel.names)), np.nan)


class Short(Spy):
    """Answers for one series too few."""

    def paths(self, panel, horizon_steps):
        return super().paths(panel.of(np.arange(len(panel.names) - 1)), horizon_steps)


class Spread(Spy):
    """Can spread its work."""

    def __init__(self, *, seed, engine="local", processes=None):
        super().__init__(seed=seed)
        self.seen.append(("spread", (engine, processes)))


@pytest.fixture
def seen(monkeypatch):
    """Register the models; what they are shown is collected in this list."""
    module = ModuleType("tidegate.forecast.paths.made_up")
    for kind in (Spy, Near, Silent, Short, Spread):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = {
        "spy": PathModel(where="made_up:Spy"),
        "daily_spy": PathModel(where="made_up:Spy", daily=True),
        "near": PathModel(where="made_up:Near"),
        "silent": PathModel(where="made_up:Silent"),
        "short": PathModel(where="made_up:Short"),
        "spread": PathModel(where="made_up:Spread"),
        "absent": PathModel(where="made_up:Spy", needs="models", modules=("no_such_package",)),
    }
    monkeypatch.setattr(path_models, "PATH_MODELS", known)
    collected: list[tuple[str, object]] = []
    monkeypatch.setattr(Spy, "seen", collected, raising=False)
    return collected


@pytest.fixture
def trace():
    """Eleven days of five VMs: a wave by day, gaps, one resize, one that comes late and one never seen."""
    ticks = 11 * 24 * HOUR
    rng = np.random.default_rng(2)
    wave = 0.5 + 0.3 * np.sin(np.arange(ticks) * 2 * np.pi / (24 * HOUR))[:, None]
    capacity = np.full((2, ticks, 5), 4, dtype=np.float32)
    capacity[:, 9 * 24 * HOUR :, 1] = 8
    used = (capacity * np.clip(wave + rng.normal(0, 0.05, (2, ticks, 5)), 0, 1)).astype(np.float32)
    missing = rng.uniform(size=used.shape) < 0.05
    missing[:, : 8 * 24 * HOUR, 2] = True
    missing[:, :, 3] = True
    used[missing] = capacity[missing] = np.nan
    return Trace(
        name="made up",
        start_seconds=START_SECONDS,
        step_seconds=STEP_SECONDS,
        resources=(Resource.CPU, Resource.MEMORY),
        vms=("a", "b", "late", "never", "<e>"),
        servers=("s1", "s1", "s1", "s2", "s2"),
        used=used,
        capacity=capacity,
    )
