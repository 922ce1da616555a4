"""What prediction is worth on this very machine: a load that bursts on a schedule, with and without it.

Two cgroups run the same load at the same time, one under `tidegate`, one under `reactive`; both have full
autonomy, and a third leaks memory beside them. Counted is the time the kernel held each load back after
three bursts were seen. The owner's settings must be back at the end.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.machine import Machine, MachineOptions, running
from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.journal.sql.opening import location
from tidegate.lab.bench.load import Bursts, Leak, LoadCgroup
from tidegate.lab.bench.result import Row, row
from tidegate.model.autonomy import Level
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable


PERIOD_SECONDS: Final = 24
BURST_SECONDS: Final = 6
CORES: Final = 0.8
"""Two loads at once must fit a machine of two cores, with room for those who watch."""
IDLE_CORES: Final = 0.05
CYCLES_SEEN: Final = 3
CYCLES_COUNTED: Final = 4
LEAK_BYTES_PER_SECOND: Final = 2e6
LEAK_BYTES_MAX: Final = 400e6
SAVED_LIMIT: Final = 0.8
POLICIES: Final = ("tidegate", "reactive")
LIMIT_FILES: Final = (
    "cpu.max",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "memory.high",
    "memory.soft_limit_in_bytes",
)
"""What may be set, in cgroups of either version."""


@dataclass(slots=True)
class _Side:
    """One policy over one load."""

    machine: Machine
    group: LoadCgroup
    settings_before: dict[str, str]
    throttled_seconds: float = 0.0
    held_core_seconds: float = 0.0
    """What was reserved meanwhile: who reserves everything is never throttled."""
    without_core_seconds: float = 0.0
    """What would have been without a forecast."""
    bursts: int = 0
    raised_before: int = 0
    """Bursts whose quota was high enough before they came."""
    ready: bool = False
    was_bursting: bool = False

    def tick(self, *, counts: bool) -> None:
        tick = self.machine.tick()
        behaviour = self.machine.server.behaviour
        row_at = tick.snapshot.resources.index(Resource.CPU)
        at = next((n for n, name in enumerate(tick.snapshot.roster.names) if self.group.path in name), None)
        if at is None or behaviour is None:
            return
        stopped = float(behaviour.throttled_seconds[at])
        used, granted = float(tick.snapshot.used[row_at, at]), float(tick.snapshot.grant[0, row_at, at])
        bursting = used > CORES / 2 or stopped > 0
        if counts:
            self.throttled_seconds += np.nan_to_num(stopped)
            self.held_core_seconds += granted
            without = tick.plan.counterfactual
            self.without_core_seconds += 0.0 if without is None else float(without[row_at, at])
            if bursting and not self.was_bursting:
                self.bursts += 1
                self.raised_before += self.ready and granted >= CORES
        self.was_bursting, self.ready = bursting, float(tick.plan.wanted[0, row_at, at]) >= CORES


def throttling_rows(folder: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Run both loads; no rows where this machine has no cgroups that may be made and set."""
    seconds = PERIOD_SECONDS * (CYCLES_SEEN + CYCLES_COUNTED)
    try:
        with ExitStack() as stack:
            leak = stack.enter_context(LoadCgroup("tidegate-bench-leak"))
            sides = {name: _side(name, leak, folder, stack, seed) for name in POLICIES}
            leak.start(
                Leak(seconds=seconds, bytes_per_second=LEAK_BYTES_PER_SECOND, bytes_max=LEAK_BYTES_MAX)
            )
            for side in sides.values():
                side.group.start(
                    Bursts(
                        seconds=seconds,
                        period_seconds=PERIOD_SECONDS,
                        burst_seconds=BURST_SECONDS,
                        cores=CORES,
                        idle_cores=IDLE_CORES,
                    )
                )
            _run(sides, seconds, progress)
            restored = [_gave_back(side) for side in sides.values()]
    except InputError as error:
        progress(f"no real load: {error}", 1, 1)
        return []
    mine, other = sides["tidegate"], sides["reactive"]
    counted = PERIOD_SECONDS * CYCLES_COUNTED
    saved = 1 - mine.throttled_seconds / other.throttled_seconds if other.throttled_seconds else 0.0
    return [
        row("throttled_time_saved_ratio", saved, "ratio", SAVED_LIMIT, "min"),
        row("throttled_seconds_tidegate", mine.throttled_seconds, "s"),
        row("throttled_seconds_reactive", other.throttled_seconds, "s"),
        row("cores_held_tidegate", mine.held_core_seconds / counted, "cores"),
        row("cores_held_reactive", other.held_core_seconds / counted, "cores"),
        row("cores_held_without_forecast", mine.without_core_seconds / counted, "cores"),
        row("bursts_met_ratio", mine.raised_before / max(mine.bursts, 1), "ratio", 1.0, "min"),
        row("settings_given_back_ratio", sum(restored) / len(restored), "ratio", 1.0, "min"),
    ]


def _side(name: str, leak: LoadCgroup, folder: Path, stack: ExitStack, seed: int) -> _Side:
    group = stack.enter_context(LoadCgroup(f"tidegate-bench-{name}"))
    chosen = (group.path, leak.path) if name == "tidegate" else (group.path,)
    before = _settings(group)
    machine = stack.enter_context(
        running(
            location(str(folder / f"{name}.db")),
            MachineOptions(
                policy=name,
                acts=True,
                chosen=chosen,
                autonomy=Level.AUTO,
                seed=seed,
                ledger=folder / f"{name}.json",
            ),
        )
    )
    return _Side(machine=machine, group=group, settings_before=before)


def _run(sides: dict[str, _Side], seconds: int, progress: Callable[[str, int, int], None]) -> None:
    """Tick both once a second until the loads are over."""
    started, rest = perf_counter(), threading.Event()
    for done in range(seconds):
        progress("a real load, with and without prediction", done, seconds)
        for side in sides.values():
            side.tick(counts=done >= PERIOD_SECONDS * CYCLES_SEEN)
        rest.wait(max(0.0, started + done + 1 - perf_counter()))


def _gave_back(side: _Side) -> bool:
    side.machine.server.end()
    return _settings(side.group) == side.settings_before


def _settings(group: LoadCgroup) -> dict[str, str]:
    """Return what the kernel holds of a cgroup's limits, by file."""
    hierarchy = find_hierarchy(Path("/"))
    folders = {mount.of(group.path) for mount in (hierarchy.cpu, hierarchy.memory) if mount is not None}
    files = [Path(folder) / name for folder in sorted(folders) for name in LIMIT_FILES]
    return {str(file): file.read_text("ascii") for file in files if file.exists()}


__all__ = ["throttling_rows"]
