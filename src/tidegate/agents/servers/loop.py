"""The fast loop of a device over its servers: the same tick as everywhere, plugged together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.app.registry import LIVE, Settings, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.app.wiring import LOCAL_LIMITS, guards
from tidegate.journal.nothing import NothingJournal
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.plan.difference import difference
from tidegate.score.nothing import NothingScorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.agents.agent.agent import Server
    from tidegate.agents.servers.servers import Servers
    from tidegate.app.wiring import GuardLimits
    from tidegate.model.autonomy import Autonomy
    from tidegate.model.resources import Resource
    from tidegate.ports import Journal, Learner

BASELINE: Final = "calibrated_reactive"
"""What an agent falls back to: it needs nothing but its own last hour."""


def device_loop(
    servers: Servers,
    *,
    resources: tuple[Resource, ...],
    step_seconds: int,
    policy_name: str = "tidegate",
    model: str = LIVE,
    seed: int = 0,
    limits: GuardLimits = LOCAL_LIMITS,
    journal: Journal | None = None,
    learner: Learner | None = None,
    autonomy: Callable[[], Autonomy] | None = None,
) -> Loop:
    """Return the loop of a policy over all servers of a card; without ``autonomy`` everyone agreed.

    Raises:
        InputError: nobody goes by the policy's or model's name, or it runs in replay only.

    """
    settings = Settings(resources=resources, step_seconds=step_seconds, seed=seed, model=model)
    forecaster, planner = policy(policy_name)(settings)
    return Loop(
        telemetry=servers,
        forecaster=forecaster,
        scorer=NothingScorer(),
        planner=planner,
        guards=guards(servers, limits, autonomy, settable=lambda: servers.settable),
        difference=difference,
        actuator=servers,
        journal=journal or NothingJournal(),
        learner=learner or NothingLearner(),
        stopwatch=StageTimer(),
    )


def baseline_loop(server: Server, *, step_seconds: int, limits: GuardLimits = LOCAL_LIMITS) -> Loop:
    """Return the loop an agent falls back to: the safe baseline over its server."""
    settings = Settings(resources=server.resources, step_seconds=step_seconds)
    forecaster, planner = policy(BASELINE)(settings)
    return Loop(
        telemetry=server,
        forecaster=forecaster,
        scorer=NothingScorer(),
        planner=planner,
        guards=guards(server, limits, settable=lambda: server.settable),
        difference=difference,
        actuator=server,
        journal=NothingJournal(),
        learner=NothingLearner(),
        stopwatch=StageTimer(),
    )
