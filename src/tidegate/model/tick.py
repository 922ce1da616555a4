"""One turn of the loop, whole: the only thing a journal stores and a learner reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.model.forecast import Forecast
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions, Plan
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tick:
    """Snapshot, forecast, scores, plan, actions, outcome; and how long each stage took."""

    number: int
    snapshot: Snapshot
    forecast: Forecast
    scores: Scores | None
    """None where no card serves any server: there is nothing to score."""
    planned: Plan
    """What the planner wanted."""
    plan: Plan
    """What the guards left of it."""
    actions: Actions
    outcome: Outcome
    """What the actions of earlier ticks did, as confirmed since the last tick."""
    stage_seconds: Mapping[str, float]
