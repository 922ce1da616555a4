"""Every path model of the table keeps the public contract; new entries are covered as they come."""

from __future__ import annotations

import pytest

from tidegate.app.path_models import PATH_MODELS, path_model
from tidegate.model.errors import InputError
from tidegate.testing import path_forecaster_checks

SEED = 5
OF_ITS_SERIES = {"last", "seasonal_naive", "percentile", "recent_peak", "profile"}
"""Plain models answer from the panel alone; those fitted daily and these know the series they saw."""


def made(name):
    try:
        return path_model(name, seed=SEED)
    except (ImportError, InputError) as error:
        pytest.skip(f"model '{name}' cannot be made here: {error}")


def cases():
    for name, model in PATH_MODELS.items():
        any_series = not model.daily and name not in OF_ITS_SERIES
        for check in path_forecaster_checks(
            lambda name=name: made(name), of_any_series=any_series, days=5 if model.daily else 3
        ):
            yield pytest.param(check, id=f"{name}-{check.name}")


@pytest.mark.parametrize("check", list(cases()))
def test_a_path_forecaster_keeps(check):
    check()
