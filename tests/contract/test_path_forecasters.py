"""Every path model of the table keeps the public contract; new entries are covered as they come."""

from __future__ import annotations

import pytest

from tidegate.app.path_models import PATH_MODELS, path_model
from tidegate.forecast.paths.engine import PathEngine
from tidegate.forecast.paths.lessons import Schedule as GateSchedule
from tidegate.forecast.paths.lstm import Lstm
from tidegate.forecast.paths.lstm_training import Schedule
from tidegate.model.errors import InputError
from tidegate.testing import path_forecaster_checks

SEED = 5
BRIEF = Schedule(batch=16, round=20, rounds_max=1)
BRIEFLY = {
    "lstm": lambda: Lstm(seed=SEED, schedule=BRIEF),
    "engine": lambda: PathEngine(
        seed=SEED,
        members={"lstm": Lstm(seed=SEED, schedule=BRIEF)},
        schedule=GateSchedule(batches=20, rows=256),
    ),
    "gates": lambda: PathEngine(seed=SEED, members={}, schedule=GateSchedule(batches=20, rows=256)),
}
"""The same classes, trained for less long: the contract is about what they answer, not how well."""
DAYS = {"lstm": 11, "engine": 11}
"""The LSTM needs 254 samples, and the engine nine days to ask it."""
OF_ITS_SERIES = {"last", "seasonal_naive", "percentile", "recent_peak", "profile"}
"""Plain models answer from the panel alone; those fitted daily and these know the series they saw."""


def made(name):
    try:
        if name in BRIEFLY:
            return BRIEFLY[name]()
        return path_model(name, seed=SEED)
    except (ImportError, InputError) as error:
        pytest.skip(f"model '{name}' cannot be made here: {error}")


def cases():
    for name, model in PATH_MODELS.items():
        any_series = not model.daily and name not in OF_ITS_SERIES
        for check in path_forecaster_checks(
            lambda name=name: made(name),
            of_any_series=any_series,
            days=DAYS.get(name, 5 if model.daily else 3),
        ):
            yield pytest.param(check, id=f"{name}-{check.name}")


@pytest.mark.parametrize("check", list(cases()))
def test_a_path_forecaster_keeps(check):
    check()
