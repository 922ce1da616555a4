"""A loop with a journal finishes its checkpoints however short its lives are."""

from __future__ import annotations

from tidegate.app import service as services
from tidegate.app.service import Service
from tidegate.app.stopwatch import StageTimer
from tidegate.app.wiring import guards
from tidegate.forecast.nothing import NothingForecaster
from tidegate.forecast.profile import Profile
from tidegate.journal.sql import checkpoint
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.writer import opened
from tidegate.lab.bench.made_up import STEP_SECONDS, MadeUpFleet
from tidegate.learn.observing import Observing
from tidegate.loop import Loop
from tidegate.plan.difference import difference
from tidegate.plan.policies.static import Static
from tidegate.score.nothing import NothingScorer

LIFE_TICKS = 3
REPEATED_MAX = 6


def test_lives_too_short_to_finish_a_checkpoint_dont_repeat_ever_more(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SLICE_BYTES", 64)
    monkeypatch.setattr(services, "CHECKPOINT_TICKS", REPEATED_MAX)
    where, fleet, repeated = location(str(tmp_path / "journal.db")), MadeUpFleet(50, 0), []
    for _ in range(8):
        with opened(where, {"loop": "test"}) as journal:
            service = Service(loop=_loop(fleet, journal), journal=journal)
            resumed = service.go_on(where)
            repeated.append(0 if resumed is None else resumed.repeated_ticks)
            for _ in range(LIFE_TICKS):
                service.tick()
    assert max(repeated) > LIFE_TICKS, "no checkpoint was too long for a life: this tests nothing"
    assert max(repeated) <= REPEATED_MAX + LIFE_TICKS


def _loop(fleet, journal):
    profile = Profile(step_seconds=STEP_SECONDS)
    return Loop(
        telemetry=fleet,
        forecaster=NothingForecaster(),
        scorer=NothingScorer(),
        planner=Static(),
        guards=guards(fleet),
        difference=difference,
        actuator=fleet,
        journal=journal,
        learner=Observing(profile, profile),
        stopwatch=StageTimer(),
    )
