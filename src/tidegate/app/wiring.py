"""Plugs loops together: which part stands behind which port, and the guards in their order.

The programs and `tidegate up` take their loops from here; names become parts in `tidegate.app.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tidegate.app.registry import ENGINE, Settings, engine, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.forecast.server_sums import WithServerSums
from tidegate.journal.nothing import NothingJournal
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.plan.difference import difference
from tidegate.plan.guards import (
    BlastRadius,
    CoolDown,
    Expiry,
    FloorAndCeiling,
    HoldUnknown,
    Pace,
    PlaceCapacity,
)
from tidegate.score.nothing import NothingScorer

if TYPE_CHECKING:
    from tidegate.drivers.simulated.build import World
    from tidegate.drivers.simulated.fleet import SimulatedFleet
    from tidegate.ports import Clock, Forecaster, Guard, Journal, Learner, Scorer, Stopwatch


SCORE_HORIZON_SECONDS: Final = 3600
"""How far ahead scores look: long enough to move what a card can't take elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """How far the guards let one tick go."""

    cool_down_seconds: int = 900
    """A share that grew is not shrunk for this long."""
    shrink_ratio_max: float = 0.25
    """Largest share of its capacity a workload may lose in one tick."""
    shrinking_workloads_ratio_max: float = 0.25
    """Largest share of the workloads that may shrink in one tick."""


def guards(clock: Clock, limits: GuardLimits | None = None) -> tuple[Guard, ...]:
    """Return every guard in its order: first what is allowed at all, then how fast, then what fits."""
    limits = limits or GuardLimits()
    return (
        HoldUnknown(),
        Expiry(clock),
        FloorAndCeiling(),
        CoolDown(limits.cool_down_seconds),
        Pace(limits.shrink_ratio_max),
        BlastRadius(limits.shrinking_workloads_ratio_max),
        PlaceCapacity(),
    )


def simulated(
    world: World,
    fleet: SimulatedFleet,
    *,
    policy_name: str,
    seed: int = 0,
    model: str = ENGINE,
    scorer: Scorer | None = None,
    journal: Journal | None = None,
    learner: Learner | None = None,
    stopwatch: Stopwatch | None = None,
    limits: GuardLimits | None = None,
) -> Loop:
    """Return the loop of a policy over a fleet that was started from ``world``.

    With a scorer, and where cards serve servers, the servers' sums are forecast for it beside the workloads.

    Raises:
        InputError: nobody goes by the policy's name, or it runs in replay only.

    """
    settings = Settings(
        resources=world.trace.resources,
        step_seconds=world.trace.step_seconds,
        seed=seed,
        model=model,
    )
    forecaster, planner = policy(policy_name)(settings)
    if scorer is not None and world.fleet.places.link_server.size:
        forecaster = WithServerSums(forecaster, engine_of_sums(settings))
    return Loop(
        telemetry=fleet,
        forecaster=forecaster,
        scorer=scorer or NothingScorer(),
        planner=planner,
        guards=guards(fleet, limits),
        difference=difference,
        actuator=fleet,
        journal=journal or NothingJournal(),
        learner=learner or NothingLearner(),
        stopwatch=stopwatch or StageTimer(),
    )


def engine_of_sums(settings: Settings) -> Forecaster:
    """Return what forecasts the servers' sums: the engine, with the scores' horizon as its lead."""
    return engine(replace(settings, lead_steps=max(1, SCORE_HORIZON_SECONDS // settings.step_seconds)))
