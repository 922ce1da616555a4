"""What the journal and the league cost beside a tick, at 100 000 workloads with three resources each.

The journal is measured as `tidegate up` keeps it: with the league and the profile, whose memory is most of
what it saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.app.registry import Settings, policy
from tidegate.app.service import Service
from tidegate.app.stopwatch import StageTimer
from tidegate.app.wiring import guards, in_company
from tidegate.forecast.profile import Profile
from tidegate.journal.nothing import NothingJournal
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.writer import opened
from tidegate.lab.bench.made_up import RESOURCES, STEP_SECONDS, MadeUpFleet
from tidegate.lab.bench.result import Row, row
from tidegate.learn.observing import Observing
from tidegate.loop import Loop
from tidegate.plan.difference import difference
from tidegate.plan.shadows import STAGE
from tidegate.score.nothing import NothingScorer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.ports import Journal

WORKLOADS: Final = 100_000
WARM_TICKS: Final = 13
JOURNAL_TICKS: Final = 120
"""A whole turn of anchors and checkpoints: what is done now and then has its share in the mean."""
SHADOW_TICKS: Final = 12
JOURNAL_SHARE_LIMIT: Final = 0.2
ROW_BYTES_LIMIT: Final = 50.0
SHADOW_SHARE_LIMIT: Final = 0.3


def journal_rows(path: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Measure a fleet whose grants are really set, journalled to a file with every checkpoint."""
    watch = StageTimer()
    fleet = MadeUpFleet(WORKLOADS, seed)
    with opened(location(str(path)), {"loop": "benchmark"}) as journal:
        service = Service(loop=_loop(fleet, watch, journal, seed=seed), journal=journal)
        for _ in range(WARM_TICKS):
            service.tick()
        watch.total_seconds.clear()
        before = journal.written
        longest = 0.0
        for done in range(JOURNAL_TICKS):
            progress("journal of 100 000 workloads", done, JOURNAL_TICKS)
            begun = watch.total_seconds.get("journal", 0.0)
            service.tick()
            longest = max(longest, watch.total_seconds["journal"] - begun)
        written = journal.written
    series = WORKLOADS * len(RESOURCES) * JOURNAL_TICKS
    changed = written.rows - before.rows
    whole = sum(watch.total_seconds.values())
    return [
        row("journal_share_of_tick", watch.total_seconds["journal"] / whole, "ratio", JOURNAL_SHARE_LIMIT),
        row(
            "journal_bytes_per_row",
            (written.changes_bytes - before.changes_bytes) / changed,
            "bytes",
            ROW_BYTES_LIMIT,
        ),
        row("journal_bytes_per_sample", (written.samples_bytes - before.samples_bytes) / series, "bytes"),
        row("journal_rows_per_tick", changed / JOURNAL_TICKS, "rows"),
        row("journal_seconds_per_tick", watch.total_seconds["journal"] / JOURNAL_TICKS, "s"),
        row("journal_seconds_per_tick_max", longest, "s"),
        row("journalled_tick_seconds", whole / JOURNAL_TICKS, "s"),
    ]


def shadow_rows(*, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Measure the league in the shadow of the policy, over the tick it is part of."""
    watch = StageTimer()
    loop = _loop(MadeUpFleet(WORKLOADS, seed), watch, NothingJournal(), seed=seed)
    for _ in range(WARM_TICKS):
        loop.tick()
    watch.total_seconds.clear()
    for done in range(SHADOW_TICKS):
        progress("league of 100 000 workloads", done, SHADOW_TICKS)
        loop.tick()
    share = watch.total_seconds[STAGE] / sum(watch.total_seconds.values())
    return [row("shadow_share_of_tick", share, "ratio", SHADOW_SHARE_LIMIT)]


def _loop(fleet: MadeUpFleet, watch: StageTimer, journal: Journal, *, seed: int) -> Loop:
    settings = Settings(resources=RESOURCES, step_seconds=STEP_SECONDS, seed=seed)
    forecaster, planner = policy("tidegate")(settings)
    profile = Profile(step_seconds=STEP_SECONDS)
    return Loop(
        telemetry=fleet,
        forecaster=forecaster,
        scorer=NothingScorer(),
        planner=in_company(planner, "tidegate", settings, watch),
        guards=guards(fleet),
        difference=difference,
        actuator=fleet,
        journal=journal,
        learner=Observing(profile, profile),
        stopwatch=watch,
    )


__all__ = ["journal_rows", "shadow_rows"]
