"""Every forecaster keeps the public contract; the registry's new entries are covered as they come."""

from __future__ import annotations

import pytest

from tidegate.app import registry
from tidegate.forecast.day_ahead import Speaker, WithDayAhead
from tidegate.forecast.histogram import AutopilotWindow, VpaPercentile
from tidegate.forecast.n_sigma import NSigma
from tidegate.forecast.nothing import NothingForecaster
from tidegate.forecast.paths.usual import Usual
from tidegate.forecast.profile import Profile
from tidegate.forecast.recent_peak import RecentPeak, last_value
from tidegate.forecast.seasonal import SeasonalNaive
from tidegate.forecast.server_sums import WithServerSums
from tidegate.model.resources import Resource
from tidegate.testing import forecaster_checks

STEP_SECONDS = 300
TWO = (Resource.CPU, Resource.MEMORY)
ORDERS = {"two": TWO, "turned": TWO[::-1], "one": (Resource.GPU,)}


def day_ahead(resources):
    """Beside the engine's forecast the coming day, from the first hour on."""
    speaker = Speaker(name="profile", paths_seconds=1, fit_seconds=1, fresh=Usual)
    return WithDayAhead(
        registry.engine(registry.Settings(resources=resources, step_seconds=STEP_SECONDS)),
        speakers=dict.fromkeys(resources, speaker),
        resources=resources,
        step_seconds=STEP_SECONDS,
        seen_seconds_min=3600,
    )


def makers(resources):
    """Name and maker of every forecaster: those of the table by its policies, the rest by hand."""
    step = {"step_seconds": STEP_SECONDS}
    made = {
        "nothing": NothingForecaster,
        "last": lambda: last_value(**step),
        "recent_peak": lambda: RecentPeak(**step),
        "seasonal_naive": lambda: SeasonalNaive(**step, lead_steps=3),
        "profile": lambda: Profile(**step, lead_steps=6),
        "percentile": lambda: VpaPercentile(resources=resources),
        "window": lambda: AutopilotWindow(resources=resources, **step),
        "n_sigma": lambda: NSigma(**step),
        "day_ahead": lambda: day_ahead(resources),
        "server_sums": lambda: WithServerSums(RecentPeak(**step), Profile(**step, lead_steps=12)),
    }
    settings = registry.Settings(resources=resources, **step, future=lambda _: None)
    tried = {type(make()) for make in made.values()}
    for name, factory in registry.POLICIES.items():
        if type(factory(settings)[0]) not in tried:
            made[f"of_{name}"] = lambda factory=factory: factory(settings)[0]
    for name, factory in getattr(registry, "FORECASTERS", {}).items():
        made[f"registered_{name}"] = lambda factory=factory: factory(settings)
    return made


def cases():
    for order, resources in ORDERS.items():
        for name, make in makers(resources).items():
            cards = name == "server_sums" or order == "turned"
            for check in forecaster_checks(make, resources=resources, cards=cards):
                yield pytest.param(check, id=f"{name}-{order}-{check.name}")


@pytest.mark.parametrize("check", list(cases()))
def test_a_forecaster_keeps(check):
    check()
