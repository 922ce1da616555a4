"""Names people type and what they stand for: one table per kind.

A plug-in adds to a table by an entry point in the group of that table's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict, TypeVar

from tidegate.forecast.cycles import Cycles, WithCycles
from tidegate.forecast.engine import Engine
from tidegate.forecast.engine.variants import Plain, Quantile, Trusting, WithoutDrift, WithoutPeers
from tidegate.forecast.histogram import AutopilotWindow, VpaPercentile
from tidegate.forecast.n_sigma import NSigma
from tidegate.forecast.nothing import NothingForecaster
from tidegate.forecast.profile import Profile
from tidegate.forecast.recent_peak import RecentPeak, last_value
from tidegate.forecast.seasonal import SeasonalNaive
from tidegate.model.errors import InputError
from tidegate.plan.policies.calibrated_reactive import CalibratedReactive
from tidegate.plan.policies.margin import WithMargin
from tidegate.plan.policies.offload_first import OffloadFirst
from tidegate.plan.policies.oracle import Oracle
from tidegate.plan.policies.static import Static
from tidegate.plan.policies.tidegate import Tidegate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource
    from tidegate.ports import Forecaster, Planner

REACTIVE_MARGIN_RATIO: Final = 0.2
"""What operators' autoscaling rules commonly add to the recent peak."""
REACTIVE_SAMPLES: Final = 12
"""How many samples back they look: an hour at five minutes, 12 seconds at one."""
VPA_MARGIN_RATIO: Final = 0.15
"""recommendation-margin-fraction of Kubernetes VPA."""
AUTOPILOT_MARGIN_RATIO: Final = 0.10
"""Low end of the 10-15 % of the Autopilot paper, which gives less to large limits."""


ENGINE: Final = "engine"
LIVE: Final = "live"
"""The engine with short cycles: for samples of a few seconds, on machines rather than fleets."""
PLAIN_MODEL: Final = "recent_peak"
"""The forecaster that leaves `tidegate` with its safe baseline: prediction switched off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a policy may depend on; all of it the same for every policy of a run."""

    resources: tuple[Resource, ...]
    step_seconds: int
    lead_steps: int = 1
    """Steps until a decision takes effect."""
    hold_steps: int = 1
    """Steps from one decision to the next: each must last that long."""
    seed: int = 0
    model: str = ENGINE
    """Name of the forecaster behind `tidegate`; one that knows no curve gets a calibrated margin."""
    future: Callable[[int], NDArray[np.float32]] | None = None
    """Demand by time, for the oracle; None where there is no future to look at."""


Pair: TypeAlias = "tuple[Forecaster, Planner]"
PolicyFactory: TypeAlias = "Callable[[Settings], Pair]"
ForecasterFactory: TypeAlias = "Callable[[Settings], Forecaster]"


class _EngineArguments(TypedDict):
    resources: tuple[Resource, ...]
    step_seconds: int
    lead_steps: int
    seed: int


def _ahead(settings: Settings) -> int:
    """Return how many steps ahead a decision must look: until the next one has taken effect."""
    return settings.lead_steps + settings.hold_steps - 1


def _recent_peak(settings: Settings) -> RecentPeak:
    return RecentPeak(step_seconds=settings.step_seconds, lead_steps=settings.lead_steps)


def engine(settings: Settings) -> Engine:
    """Return the default forecaster, as `tidegate` runs it."""
    return Engine(**_engine_arguments(settings))


def _last(settings: Settings) -> Forecaster:
    return last_value(step_seconds=settings.step_seconds, lead_steps=_ahead(settings))


def _seasonal_naive(settings: Settings) -> Forecaster:
    return SeasonalNaive(step_seconds=settings.step_seconds, lead_steps=_ahead(settings))


def _percentile(settings: Settings) -> Forecaster:
    return VpaPercentile(resources=settings.resources, lead_steps=_ahead(settings))


def _profile(settings: Settings) -> Forecaster:
    return Profile(step_seconds=settings.step_seconds, lead_steps=_ahead(settings))


def _engine_arguments(settings: Settings) -> _EngineArguments:
    return {
        "resources": settings.resources,
        "step_seconds": settings.step_seconds,
        "lead_steps": _ahead(settings),
        "seed": settings.seed,
    }


def _without(kind: type[Engine]) -> ForecasterFactory:
    return lambda settings: kind(**_engine_arguments(settings))


def _around(wrap: Callable[[Engine], Forecaster]) -> ForecasterFactory:
    return lambda settings: wrap(engine(settings))


def _live(settings: Settings) -> Forecaster:
    cycles = Cycles(step_seconds=settings.step_seconds, lead_steps=_ahead(settings))
    return WithCycles(engine(settings), cycles)


FORECASTERS: Final[Mapping[str, ForecasterFactory]] = {
    "last": _last,
    "seasonal_naive": _seasonal_naive,
    "percentile": _percentile,
    "recent_peak": _recent_peak,
    "profile": _profile,
    ENGINE: engine,
    LIVE: _live,
    "engine_plain": _around(Plain),
    "engine_quantile": _around(Quantile),
    "engine_trusting": _around(Trusting),
    "engine_no_drift": _without(WithoutDrift),
    "engine_no_peers": _without(WithoutPeers),
}
"""The last five are the engine with a part taken out, for `docs/reference/ablation.md`."""


def _static(settings: Settings) -> Pair:
    return NothingForecaster(), Static()


def _reactive(settings: Settings) -> Pair:
    recent = RecentPeak(
        step_seconds=settings.step_seconds,
        lead_steps=settings.lead_steps,
        window_seconds=REACTIVE_SAMPLES * settings.step_seconds,
    )
    return recent, WithMargin(margin_ratio=REACTIVE_MARGIN_RATIO)


def _calibrated_reactive(settings: Settings) -> Pair:
    return _recent_peak(settings), CalibratedReactive()


def _vpa(settings: Settings) -> Pair:
    forecaster = VpaPercentile(resources=settings.resources, lead_steps=settings.lead_steps)
    return forecaster, WithMargin(margin_ratio=VPA_MARGIN_RATIO)


def _autopilot_window(settings: Settings) -> Pair:
    forecaster = AutopilotWindow(
        resources=settings.resources, step_seconds=settings.step_seconds, lead_steps=settings.lead_steps
    )
    return forecaster, WithMargin(margin_ratio=AUTOPILOT_MARGIN_RATIO)


def _n_sigma(settings: Settings) -> Pair:
    forecaster = NSigma(step_seconds=settings.step_seconds, lead_steps=settings.lead_steps)
    return forecaster, WithMargin(margin_ratio=0.0)


def _tidegate(settings: Settings) -> Pair:
    return forecaster(settings.model)(settings), Tidegate()


def _offload_first(settings: Settings) -> Pair:
    return _recent_peak(settings), OffloadFirst()


def _oracle(settings: Settings) -> Pair:
    if settings.future is None:
        raise InputError("policy 'oracle' sees the future and runs in replay only; choose another policy")
    return NothingForecaster(), Oracle(settings.future, settings.lead_steps, settings.hold_steps)


POLICIES: Final[Mapping[str, PolicyFactory]] = {
    "static": _static,
    "reactive": _reactive,
    "calibrated_reactive": _calibrated_reactive,
    "vpa": _vpa,
    "autopilot_window": _autopilot_window,
    "n_sigma": _n_sigma,
    "offload_first": _offload_first,
    "tidegate": _tidegate,
    "oracle": _oracle,
}

SLA_POLICIES: Final = frozenset({"calibrated_reactive", "tidegate"})
"""Policies whose grants follow the SLA: these get a frontier in reports."""


def policy(name: str) -> PolicyFactory:
    """Return the factory of a policy by name: ours first, then plug-ins.

    Raises:
        InputError: nobody goes by that name.

    """
    return _named("policy", name, POLICIES)


def forecaster(name: str) -> ForecasterFactory:
    """Return the factory of a forecaster by name: ours first, then plug-ins.

    Raises:
        InputError: nobody goes by that name.

    """
    return _named("model", name, FORECASTERS)


_GROUPS: Final = {"policy": "tidegate.policies", "model": "tidegate.forecasters"}
_Factory = TypeVar("_Factory")


def _named(kind: str, name: str, table: Mapping[str, _Factory]) -> _Factory:
    if name in table:
        return table[name]
    plug_ins = {entry.name: entry for entry in entry_points(group=_GROUPS[kind])}
    if name in plug_ins:
        factory: _Factory = plug_ins[name].load()
        return factory
    known = ", ".join(sorted([*table, *plug_ins]))
    raise InputError(f"unknown {kind} '{name}'; choose from {known}")
