"""How long an explanation takes in a journal of a day of 10 000 workloads at 10 seconds, and its size.

The journal is written by the journal's own code from a made-up fleet in which a few series change at every
tick, as they do under a policy that has settled; what decides is no part of the measure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.explain import explain
from tidegate.app.stopwatch import StageTimer
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.lab.bench.made_up import RESOURCES, MadeUpFleet
from tidegate.lab.bench.result import Row, row
from tidegate.model.forecast import no_forecast
from tidegate.model.plan import Reason, host_plan
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORKLOADS: Final = 10_000
STEP_SECONDS: Final = 10
TICKS: Final = 86_400 // STEP_SECONDS
CHANGES_PER_SERIES_DAY: Final = 20
"""What `tidegate` budgets."""
QUESTIONS: Final = 300
SECONDS_LIMIT: Final = 0.2


def explain_rows(path: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Write a day, then ask about random workloads at random times."""
    where = location(str(path))
    fleet = MadeUpFleet(WORKLOADS, seed, step_seconds=STEP_SECONDS)
    random = np.random.default_rng(seed)
    with opened(where, {"loop": "benchmark"}) as journal:
        for number in range(TICKS):
            if number % 60 == 0:
                progress("a day of 10 000 workloads", number, TICKS)
            tick = _tick(number, fleet, random)
            journal.append(tick)
            fleet.submit(tick.actions)
            if journal.wants_checkpoint:
                journal.checkpoint(number, {})
    size = sum(part.stat().st_size for part in path.parent.glob(path.name + "*"))
    seconds = _answers(Reader.of(where), random, progress)
    return [
        row("explain_seconds_p99", float(np.percentile(seconds, 99)), "s", SECONDS_LIMIT),
        row("explain_seconds_p50", float(np.median(seconds)), "s"),
        row("journal_bytes_per_day", size, "bytes", Retention().bytes_max),
    ]


def _answers(
    reader: Reader, random: np.random.Generator, progress: Callable[[str, int, int], None]
) -> list[float]:
    span = reader.span()
    assert span is not None, "a day was written"
    names = reader.fleet_of(span.last).roster.names
    seconds = []
    for question in range(QUESTIONS):
        progress("explanations", question, QUESTIONS)
        at = None if question % 2 else int(random.integers(span.first_seconds, span.last_seconds + 1))
        name = names[int(random.integers(len(names)))]
        watch = StageTimer()
        with watch.stage("explain"):
            explain(reader, name, at)
        seconds.append(watch.total_seconds["explain"])
    reader.close()
    return seconds


def _tick(number: int, fleet: MadeUpFleet, random: np.random.Generator) -> Tick:
    """Return a tick in which as many series change as a day's budget allows."""
    snapshot = fleet.read()
    chance = CHANGES_PER_SERIES_DAY * STEP_SECONDS / 86_400
    moved = random.random(snapshot.used.shape, dtype=np.float32) < chance
    share = random.random(snapshot.used.shape, dtype=np.float32)
    total = np.where(moved, share * snapshot.capacity, snapshot.held)
    plan = replace(host_plan(snapshot, total, Reason.GROW_ON_FORECAST), counterfactual=snapshot.capacity)
    return Tick(
        number=number,
        snapshot=snapshot,
        forecast=no_forecast(snapshot.time_seconds, STEP_SECONDS, len(RESOURCES), WORKLOADS),
        scores=None,
        planned=plan,
        plan=plan,
        actions=difference(plan, snapshot),
        outcome=fleet.collect(),
        stage_seconds={},
    )


__all__ = ["explain_rows"]
