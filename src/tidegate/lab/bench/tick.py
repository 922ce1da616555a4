"""One tick over a whole cell: from samples to a journalled plan with dry-run actuation.

The fleet is made up: 50 workloads a server, a card per four servers, demand that wanders and spikes.
Every tick of the measured kind sees fresh samples; grants stay where they are, since a dry run applies
nothing, so the change set is as large as it gets.
"""

from __future__ import annotations

import resource as operating_system
import statistics
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from tidegate.actuate.dry_run import DryRun
from tidegate.app.registry import Settings, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.app.wiring import engine_of_sums
from tidegate.forecast.server_sums import WithServerSums
from tidegate.journal.memory import MemoryJournal
from tidegate.lab.bench.result import Benchmark, Row, machine, row
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, SHARES, Places, Roster
from tidegate.model.snapshot import Snapshot
from tidegate.plan.difference import difference
from tidegate.plan.guards import BlastRadius, CoolDown, Expiry, FloorAndCeiling, Pace, PlaceCapacity
from tidegate.score.card_pressure import CardPressure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.ports import Guard

RESOURCES: Final = (Resource.CPU, Resource.MEMORY, Resource.NETWORK)
WORKLOADS_PER_SERVER: Final = 50
SERVERS_PER_CARD: Final = 4
STEP_SECONDS: Final = 300
START_SECONDS: Final = 1_700_000_100
FRAMES: Final = 4
"""Different sample frames made before the clock starts; they take turns."""
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


class _MadeUpFleet:
    """Clock and telemetry of a fleet whose samples were made before."""

    def __init__(self, workloads: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._tick = 0
        servers = max(1, workloads // WORKLOADS_PER_SERVER)
        self._host = (np.arange(workloads) % servers).astype(np.int32)
        self._places = _places(servers)
        self._card = (servers + self._host // SERVERS_PER_CARD).astype(np.int32)
        shape = (len(RESOURCES), workloads)
        scale = np.array([4.0, 16e9, 1e8], dtype=np.float32)[:, None]
        self._capacity = (scale * random.choice([0.5, 1, 2], workloads)).astype(np.float32)
        level = random.beta(1, 6, shape).astype(np.float32)
        self._frames = [
            np.minimum(level * random.gamma(4, 0.25, shape).astype(np.float32), 1) * self._capacity
            for _ in range(FRAMES)
        ]
        self._grant = np.zeros((SHARES, *shape), dtype=np.float32)
        self._grant[HOST] = self._capacity
        self._nothing = np.zeros_like(self._grant)
        self._pressed = np.zeros(shape, dtype=np.bool_)
        self._roster = Roster(
            ids=np.arange(workloads, dtype=np.int64),
            names=_Numbered(workloads),
            violation_rate=np.full(workloads, 0.01, dtype=np.float32),
            priority=(random.integers(0, 3, workloads)).astype(np.uint8),
            floor=0.02 * self._capacity,
            offloadable_ratio=np.full(shape, 0.3, dtype=np.float32),
        )

    def now_seconds(self) -> int:
        return START_SECONDS + self._tick * STEP_SECONDS

    def read(self) -> Snapshot:
        self._tick += 1
        return Snapshot(
            time_seconds=self.now_seconds(),
            step_seconds=STEP_SECONDS,
            resources=RESOURCES,
            roster=self._roster,
            places=self._places,
            host=self._host,
            card=self._card,
            used=self._frames[self._tick % FRAMES],
            capacity=self._capacity,
            pressed=self._pressed,
            grant=self._grant,
            in_flight=self._nothing,
        )


class _Numbered(Sequence[str]):
    """A million names that take no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row_number: int) -> str:  # type: ignore[override]
        if row_number >= self._count:
            raise IndexError(row_number)
        return f"vm{row_number:07d}"


def _places(servers: int) -> Places:
    cards = -(-servers // SERVERS_PER_CARD)
    names = [f"server{n}" for n in range(servers)] + [f"card{n}" for n in range(cards)]
    is_card = np.arange(servers + cards) >= servers
    per_server = np.array([150.0, 600e9, 3e9])[:, None]
    per_card = np.array([16.0, 32e9, 12e9])[:, None]
    worth = np.ones((len(RESOURCES), servers + cards), dtype=np.float32)
    worth[0, is_card] = 0.5
    return Places(
        names=names,
        is_card=is_card,
        allocatable=np.where(is_card, per_card, per_server),
        worth=worth,
        link_server=np.arange(servers, dtype=np.int64),
        link_card=servers + np.arange(servers, dtype=np.int64) // SERVERS_PER_CARD,
        link_bytes_per_second=np.full(servers, 12e9),
    )


def bench_tick(sizes: Sequence[int], *, policy_name: str, seed: int) -> Benchmark:
    """Measure one tick at each number of workloads, smallest first."""
    rows: list[Row] = []
    for workloads in sorted(sizes):
        prefix = "" if len(sizes) == 1 else f"{workloads}."
        measured = _one_size(workloads, policy_name, seed)
        rows += [msgspec.structs.replace(made, name=prefix + made.name) for made in measured]
    return Benchmark(area="tick", machine=machine(), seed=seed, rows=tuple(rows))


def _one_size(workloads: int, policy_name: str, seed: int) -> list[Row]:
    fleet = _MadeUpFleet(workloads, seed)
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


def _guards(fleet: _MadeUpFleet) -> list[Guard]:
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
