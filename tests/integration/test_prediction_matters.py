"""A forecast that is ignored is noticed: switching it off must change plans, figures and screens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.app.registry import PLAIN_MODEL, Settings, policy
from tidegate.lab.archive import generated_trace
from tidegate.lab.replay import ReplaySettings, Run, replay, with_known_capacity
from tidegate.model.resources import Resource
from tidegate.testing import snapshot_of

DAY_SECONDS = 86_400
SEED = 11


@pytest.fixture(scope="module")
def trace():
    return with_known_capacity(generated_trace(vms=12, days=4, step_seconds=300, seed=SEED))


def settings_of(**changes):
    settings = ReplaySettings(
        sla=0.01,
        warmup_seconds=2 * DAY_SECONDS,
        decide_every_seconds=300,
        lead_steps=1,
        censored=False,
        seed=SEED,
    )
    return replace(settings, **changes)


@pytest.fixture(scope="module")
def with_forecast(trace):
    return replay(trace, Run(policy="tidegate", sla=0.01), settings_of())


def test_switched_off_the_figures_change(trace, with_forecast):
    without = replay(trace, Run(policy="tidegate", sla=0.01), settings_of(model=PLAIN_MODEL))
    for ours, theirs in zip(with_forecast.measures, without.measures, strict=True):
        assert ours.reserved_ratio != pytest.approx(theirs.reserved_ratio, rel=1e-3)


def test_switched_off_it_is_the_safe_baseline(trace):
    without = replay(trace, Run(policy="tidegate", sla=0.01), settings_of(model=PLAIN_MODEL))
    rule = replay(trace, Run(policy="calibrated_reactive", sla=0.01), settings_of())
    for ours, theirs in zip(without.measures, rule.measures, strict=True):
        assert ours.reserved_ratio == pytest.approx(theirs.reserved_ratio, rel=1e-3)
        assert ours.violation_ratio == pytest.approx(theirs.violation_ratio, abs=2e-3)


def test_a_higher_forecast_gets_a_higher_grant():
    forecaster, planner = policy("tidegate")(Settings(resources=(Resource.CPU,), step_seconds=300, seed=SEED))
    snapshot = snapshot_of([1.0, 1.0], capacity=8, held=2)
    forecaster.observe(snapshot)
    forecast = forecaster.forecast(snapshot)
    curve = forecast.exceedance
    acting = np.ones_like(curve.acts)
    sure, unsure = np.zeros_like(curve.probability), np.zeros_like(curve.probability)
    unsure[curve.offsets < 0.3] = 0.9  # demand is likely to pass anything less than 1 + 0.3 x 8 cores
    plans = [
        planner.plan(snapshot, replace(forecast, exceedance=replace(curve, acts=acting, probability=p)), None)
        for p in (sure, unsure)
    ]
    assert (plans[1].wanted[0] > plans[0].wanted[0]).all()
    assert (plans[1].wanted[0] >= 1 + 0.3 * 8).all()
