"""One tick over a whole cell: from samples to a journalled plan with dry-run actuation.

Every tick of the measured kind sees fresh samples; grants stay where they are, since a dry run applies
nothing, so the change set is as large as it gets.
"""

from __future__ import annotations

import resource as operating_system
import statistics
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.actuate.dry_run import DryRun
from tidegate.app.registry import Settings, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.app.wiring import engine_of_sums
from tidegate.forecast.server_sums import WithServerSums
from tidegate.journal.memory import MemoryJournal
from tidegate.lab.bench.made_up import RESOURCES, STEP_SECONDS, MadeUpFleet
from tidegate.lab.bench.result import Benchmark, Row, machine, row
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.plan.difference import difference
from tidegate.plan.guards import BlastRadius, CoolDown, Expiry, FloorAndCeiling, Pace, PlaceCapacity
from tidegate.score.card_pressure import CardPressure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.ports import Guard

WARM_TICKS: Final = 13
"""Enough that every staggered piece of work has had its turn."""
MEASURED_TICKS: Final = 12
COPIES: Final = 3
"""Copies of the state to time; the first one also pays for its memory."""
TICK_SECONDS_LIMIT: Final = 10.0
STATE_BYTES_LIMIT: Final = 1024.0
PEAK_MEMORY_LIMIT: Final = 6e9
LIMITED_WORKLOADS: Final = 1_000_000
"""The limits are for this many workloads."""


def bench_tick(sizes: Sequence[int], *, policy_name: str, seed: int) -> Benchmark:
    """Measure one tick at each number of workloads, smallest first."""
    rows: list[Row] = []
    for workloads in sorted(sizes):
        prefix = "" if len(sizes) == 1 else f"{workloads}."
        measured = _one_size(workloads, policy_name, seed)
        rows += [msgspec.structs.replace(made, name=prefix + made.name) for made in measured]
    return Benchmark(area="tick", machine=machine(), seed=seed, rows=tuple(rows))


def _one_size(workloads: int, policy_name: str, seed: int) -> list[Row]:
    fleet = MadeUpFleet(workloads, seed)
    settings = Settings(resources=RESOURCES, step_seconds=STEP_SECONDS, seed=seed)
    workloads_forecaster, planner = policy(policy_name)(settings)
    forecaster = WithServerSums(workloads_forecaster, engine_of_sums(settings))
    watch = StageTimer()
    loop = Loop(
        telemetry=fleet,
        forecaster=forecaster,
        scorer=CardPressure(),
        planner=planner,
        guards=_guards(fleet),
        difference=difference,
        actuator=DryRun(),
        journal=MemoryJournal(),
        learner=NothingLearner(),
        stopwatch=watch,
    )
    for _ in range(WARM_TICKS):
        loop.tick()
    watch.total_seconds.clear()
    ticks = []
    for _ in range(MEASURED_TICKS):
        before = sum(watch.total_seconds.values())
        loop.tick()
        ticks.append(sum(watch.total_seconds.values()) - before)
    peak = _peak_memory_bytes()
    stages = {name: spent / MEASURED_TICKS for name, spent in watch.total_seconds.items()}
    arrays, copy_seconds = _state(forecaster, planner, watch)
    series = workloads * len(RESOURCES)
    by_series = sum(array.nbytes for array in arrays if array.shape[-2:] == (len(RESOURCES), workloads))
    shared = sum(array.nbytes for array in arrays) - by_series
    limited = workloads >= LIMITED_WORKLOADS
    tick_seconds = statistics.median(ticks)
    return [
        row("tick_seconds", tick_seconds, "s", TICK_SECONDS_LIMIT if limited else None),
        row("tick_seconds_max", max(ticks), "s"),
        row("state_bytes_per_series", by_series / series, "bytes", STATE_BYTES_LIMIT),
        row("state_bytes_shared", shared, "bytes"),
        row("peak_memory_bytes", peak, "bytes", PEAK_MEMORY_LIMIT if limited else None),
        row("tick_over_copy_ratio", tick_seconds / copy_seconds, "ratio"),
        *(row(f"stage_{name}_seconds", spent, "s") for name, spent in stages.items()),
    ]


def _guards(fleet: MadeUpFleet) -> list[Guard]:
    return [
        Expiry(fleet),
        FloorAndCeiling(),
        Pace(0.5),
        CoolDown(600),
        BlastRadius(0.2),
        PlaceCapacity(),
    ]


def _state(forecaster: object, planner: object, watch: StageTimer) -> tuple[list[NDArray[np.generic]], float]:
    """Return a copy of everything the policy remembers, and the least time that copying it took.

    What is kept by series has (resources, workloads) as its last axes; the networks and the lessons they
    learn from are shared by all series and bounded.
    """
    seconds = []
    arrays: list[NDArray[np.generic]] = []
    for turn in range(COPIES):
        arrays.clear()
        with watch.stage(f"copy {turn}"):
            for part in (forecaster, planner):
                state = getattr(part, "state", None)
                arrays += list(state().values()) if state is not None else []
        seconds.append(watch.total_seconds[f"copy {turn}"])
    return arrays, max(min(seconds), 1e-9)


def _peak_memory_bytes() -> float:
    peak = operating_system.getrusage(operating_system.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
