"""Plugs loops together: which part stands behind which port, and the guards in their order.

The programs and `tidegate up` take their loops from here; names become parts in `tidegate.app.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tidegate.app.registry import ENGINE, LIVE, PLAIN_MODEL, Settings, engine, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.forecast.server_sums import WithServerSums
from tidegate.journal.nothing import NothingJournal
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.plan.caution import KeepInUse, Newcomers
from tidegate.plan.consent import Consent
from tidegate.plan.difference import difference
from tidegate.plan.guards import (
    BlastRadius,
    CoolDown,
    Deadband,
    Expiry,
    FloorAndCeiling,
    HoldUnknown,
    Pace,
    PlaceCapacity,
)
from tidegate.plan.reach import WithinReach
from tidegate.plan.shadows import Shadow, Shadows
from tidegate.score.nothing import NothingScorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.app.sources import LiveServer, Steps
    from tidegate.drivers.simulated.build import World
    from tidegate.model.autonomy import Autonomy
    from tidegate.ports import Clock, Forecaster, Guard, Journal, Learner, Planner, Scorer, Stopwatch


SCORE_HORIZON_SECONDS: Final = 3600
"""How far ahead scores look: long enough to move what a card can't take elsewhere."""
WITHOUT_FORECAST: Final = "without_forecast"
"""The shadow that is ours with its forecast switched off: what it wants is the counterfactual."""
SHADOWS: Final[Mapping[str, tuple[str, str]]] = {
    WITHOUT_FORECAST: ("tidegate", PLAIN_MODEL),
    "calibrated_reactive": ("calibrated_reactive", ENGINE),
    "vpa": ("vpa", ENGINE),
    "autopilot_window": ("autopilot_window", ENGINE),
    "n_sigma": ("n_sigma", ENGINE),
}
"""Who runs in the shadow of the policy that acts, by name: the policy and its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """How far the guards let one tick go."""

    cool_down_seconds: int = 900
    """A share that grew is not shrunk for this long."""
    shrink_ratio_max: float = 0.25
    """Largest share of its capacity a workload may lose in one tick."""
    shrinking_workloads_ratio_max: float = 0.25
    """Largest share of the workloads that may shrink in one tick."""
    shrink_ratio_min: float = 0.01
    """Least share of its capacity worth taking from a workload."""
    watched_seconds: int = 0
    """How long a workload is watched before anything is taken from it."""


LOCAL_LIMITS: Final = GuardLimits(
    cool_down_seconds=2,
    shrink_ratio_max=1.0,
    shrinking_workloads_ratio_max=1.0,
    watched_seconds=60,
)
"""This machine's quotas move in a second and back: what a burst needed is given back after it."""


def guards(
    clock: Clock,
    limits: GuardLimits | None = None,
    autonomy: Callable[[], Autonomy] | None = None,
    settable: Callable[[], NDArray[np.bool_]] | None = None,
) -> tuple[Guard, ...]:
    """Return every guard in its order: what is allowed at all, how fast, what fits, who agreed, what can be.

    Without ``settable`` everything can be set; without ``autonomy`` everyone agreed: the fleet is nobody's.
    """
    limits = limits or GuardLimits()
    reach: tuple[Guard, ...] = () if settable is None else (WithinReach(settable),)
    consent: tuple[Guard, ...] = () if autonomy is None else (Consent(autonomy),)
    return (
        HoldUnknown(),
        Expiry(clock),
        FloorAndCeiling(),
        KeepInUse(),
        Newcomers(limits.watched_seconds),
        Deadband(limits.shrink_ratio_min),
        CoolDown(limits.cool_down_seconds),
        Pace(limits.shrink_ratio_max),
        BlastRadius(limits.shrinking_workloads_ratio_max),
        PlaceCapacity(),
        *consent,
        *reach,
    )


def in_company(planner: Planner, name: str, settings: Settings, stopwatch: Stopwatch) -> Shadows:
    """Return a policy's planner with the league in its shadow.

    Raises:
        InputError: a shadow's model or policy is unknown.

    """
    shadows = []
    for shadow, (rule, model) in SHADOWS.items():
        forecaster, rule_planner = policy(rule)(replace(settings, model=model))
        shadows.append(Shadow(name=shadow, forecaster=forecaster, planner=rule_planner))
    return Shadows(
        planner,
        name=name,
        shadows=shadows,
        counterfactual=WITHOUT_FORECAST,
        stopwatch=stopwatch,
    )


def simulated(
    world: World,
    fleet: Steps,
    *,
    policy_name: str,
    seed: int = 0,
    model: str = ENGINE,
    scorer: Scorer | None = None,
    journal: Journal | None = None,
    learner: Learner | None = None,
    stopwatch: Stopwatch | None = None,
    limits: GuardLimits | None = None,
    autonomy: Callable[[], Autonomy] | None = None,
    league: bool = False,
    around: Callable[[Forecaster], Forecaster] | None = None,
) -> Loop:
    """Return the loop of a policy over a fleet that was started from ``world``.

    With a scorer, and where cards serve servers, the servers' sums are forecast for it beside the workloads.
    With ``league`` the pinned rules run in its shadow. ``around`` wraps the forecaster of workloads.

    Raises:
        InputError: nobody goes by the policy's name, or it runs in replay only.

    """
    settings = Settings(
        resources=world.trace.resources,
        step_seconds=world.trace.step_seconds,
        seed=seed,
        model=model,
    )
    stopwatch = stopwatch or StageTimer()
    forecaster, planner = policy(policy_name)(settings)
    if league:
        planner = in_company(planner, policy_name, settings, stopwatch)
    forecaster = forecaster if around is None else around(forecaster)
    if scorer is not None and world.fleet.places.link_server.size:
        forecaster = WithServerSums(forecaster, engine_of_sums(settings))
    return Loop(
        telemetry=fleet,
        forecaster=forecaster,
        scorer=scorer or NothingScorer(),
        planner=planner,
        guards=guards(fleet, limits, autonomy),
        difference=difference,
        actuator=fleet,
        journal=journal or NothingJournal(),
        learner=learner or NothingLearner(),
        stopwatch=stopwatch,
    )


def local(
    server: LiveServer,
    *,
    policy_name: str,
    model: str = LIVE,
    step_seconds: int,
    seed: int = 0,
    journal: Journal | None = None,
    learner: Learner | None = None,
    stopwatch: Stopwatch | None = None,
    limits: GuardLimits = LOCAL_LIMITS,
    autonomy: Callable[[], Autonomy] | None = None,
    around: Callable[[Forecaster], Forecaster] | None = None,
) -> Loop:
    """Return the loop of a policy over this very machine, with the league in its shadow.

    ``around`` wraps the forecaster of workloads.

    Raises:
        InputError: nobody goes by the policy's name, or it runs in replay only.

    """
    settings = Settings(resources=server.resources, step_seconds=step_seconds, seed=seed, model=model)
    stopwatch = stopwatch or StageTimer()
    forecaster, planner = policy(policy_name)(settings)
    return Loop(
        telemetry=server,
        forecaster=forecaster if around is None else around(forecaster),
        scorer=NothingScorer(),
        planner=in_company(planner, policy_name, settings, stopwatch),
        guards=guards(server, limits, autonomy, settable=lambda: server.settable),
        difference=difference,
        actuator=server,
        journal=journal or NothingJournal(),
        learner=learner or NothingLearner(),
        stopwatch=stopwatch,
    )


def engine_of_sums(settings: Settings) -> Forecaster:
    """Return what forecasts the servers' sums: the engine, with the scores' horizon as its lead."""
    return engine(replace(settings, lead_steps=max(1, SCORE_HORIZON_SECONDS // settings.step_seconds)))
