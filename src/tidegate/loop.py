"""The system on one screen: a tick reads top to bottom like the flow.

telemetry -> forecast -> score -> plan -> guard -> actuate -> journal -> learn
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.model.tick import Tick
from tidegate.ports import Thinker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.model.plan import Actions, Plan
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import (
        Actuator,
        Forecaster,
        Guard,
        Journal,
        Learner,
        Planner,
        Scorer,
        Stopwatch,
        TelemetrySource,
    )


@dataclass(slots=True, kw_only=True)
class Loop:
    """Everything one program runs, each part behind its port."""

    telemetry: TelemetrySource
    forecaster: Forecaster
    scorer: Scorer
    planner: Planner
    guards: Sequence[Guard]
    difference: Callable[[Plan, Snapshot], Actions]
    actuator: Actuator
    journal: Journal
    learner: Learner
    stopwatch: Stopwatch
    number: int = 0
    """Of the next tick."""

    def tick(self) -> Tick:
        """Turn once: observe, decide, act, remember. Returns the tick as it was journalled."""
        stage = self.stopwatch.stage
        with stage("telemetry"):
            outcome = self.actuator.collect()
            snapshot = self.telemetry.read()
        with stage("forecast"):
            self.forecaster.observe(snapshot)
            forecast = self.forecaster.forecast(snapshot)
        with stage("score"):
            scores = self.scorer.score(snapshot, forecast)
        with stage("plan"):
            plan = planned = self.planner.plan(snapshot, forecast, scores)
        with stage("guard"):
            for guard in self.guards:
                plan = guard.shrink(plan, snapshot)
        with stage("actuate"):
            actions = self.difference(plan, snapshot)
            self.actuator.submit(actions)
        tick = Tick(
            number=self.number,
            snapshot=snapshot,
            forecast=forecast,
            scores=scores,
            planned=planned,
            plan=plan,
            actions=actions,
            outcome=outcome,
            stage_seconds=self.stopwatch.seconds(),
        )
        with stage("journal"):
            self.journal.append(tick)
        with stage("learn"):
            self.learner.learn(tick)
        self.number += 1
        return tick

    def think(self) -> None:
        """Use the time between two ticks for what the next would otherwise begin with."""
        if isinstance(self.forecaster, Thinker):
            with self.stopwatch.stage("forecast"):
                self.forecaster.think()
