"""Looks at the machine again and again, and remembers what it takes to see rates, and who is who."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.drivers.cgroups.counters import (
    STALLED_AMOUNTS,
    STALLED_TOTALS,
    Amount,
    Sample,
    Total,
    columns,
)
from tidegate.drivers.local.behaviour import behaviour_of, machine_behaviour
from tidegate.drivers.local.cgroups import CgroupReader
from tidegate.drivers.local.frames import (
    Frames,
    frames_of,
    limits_of,
    roster_of,
    this_place,
    to_be_granted,
    whole_machine,
)
from tidegate.drivers.local.largest import OTHER, OTHER_ID, Largest
from tidegate.drivers.local.machine import totals_of
from tidegate.drivers.local.observed import Observed, observe_cgroups, observe_processes
from tidegate.drivers.local.processes import ProcessGroups
from tidegate.drivers.local.rates import folded, rates
from tidegate.drivers.local.watch import Watch
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.drivers.cgroups.hierarchy import Hierarchy
    from tidegate.drivers.local.acting import Limiter
    from tidegate.drivers.local.machine import Machine
    from tidegate.drivers.local.outside import Outside
    from tidegate.model.behaviour import Behaviour
    from tidegate.model.roster import Places, Roster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One look: what a snapshot is made of, and what is told to people beside it."""

    roster: Roster
    places: Places
    frames: Frames
    behaviour: Behaviour
    paths: tuple[str | None, ...]
    """(workloads,) the cgroup of each; None for a process group, and for all further ones together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """The workloads observed, at most so many, and perhaps one more for the rest."""

    ids: NDArray[np.int64]
    names: tuple[str, ...]
    paths: tuple[str | None, ...]
    totals: NDArray[np.float64]
    per_second: NDArray[np.float64]
    amounts: NDArray[np.float64]
    capacity: NDArray[np.float64]
    held: NDArray[np.float64]


class View:
    """This machine, seen through its cgroups or process groups."""

    def __init__(
        self,
        hierarchy: Hierarchy,
        outside: Outside,
        *,
        chosen: Sequence[str],
        violation_rate: float,
        workloads_max: int,
    ) -> None:
        """See what matches ``chosen``, or the usual workloads where it is empty."""
        self._watch = Watch(hierarchy, chosen, root=outside.root)
        self._reader = CgroupReader(hierarchy, root=outside.root)
        self._outside = outside
        self._chosen = tuple(chosen)
        self._violation_rate = violation_rate
        self._gpus = outside.gpus()
        self._gpu_count = 0 if self._gpus is None else len(self._gpus)
        self.resources = tuple(of for of in Resource if of is not Resource.GPU or self._gpus is not None)
        self._groups = ProcessGroups()
        self._largest = Largest(workloads_max)
        self._before: Sample | None = None
        self._machine_before: Sample | None = None
        self._roster: Roster | None = None
        self._places: Places | None = None

    def look(self, time_seconds: int, limiter: Limiter) -> Seen:
        """Return the machine now; ``limiter`` says what each setting means to its owner."""
        observed = self._observe()
        now = observed.sample.time_seconds
        interval = math.nan if self._before is None else now - self._before.time_seconds
        machine = self._outside.machine(self._outside.root)
        whole = whole_machine(self.resources, machine, self._gpu_count)
        rows = self._rows(observed, machine, whole, limiter)
        self._before = observed.sample
        roster = self._roster_of(rows)
        return Seen(
            roster=roster,
            places=self._place(to_be_granted(self.resources, whole)),
            frames=frames_of(
                self.resources, rows.per_second, rows.amounts, capacity=rows.capacity, held=rows.held
            ),
            behaviour=behaviour_of(
                time_seconds=time_seconds,
                interval_seconds=interval,
                roster=roster,
                totals=rows.totals,
                per_second=rows.per_second,
                amounts=rows.amounts,
                machine=machine_behaviour(machine, self._machine_rates(machine, now)),
            ),
            paths=rows.paths,
        )

    def close(self) -> None:
        """Let go of the GPUs' driver, whose use is unknown from then on, and of files kept open."""
        self._reader.close()
        gpus, self._gpus = self._gpus, None
        if gpus is not None:
            gpus.close()

    def _observe(self) -> Observed:
        """Read cgroups, or process groups where there are none to read."""
        found = self._watch.find(self._outside.monotonic_seconds())
        gpu = None if self._gpus is None else self._gpus.read()
        root = self._outside.root
        now = self._outside.monotonic_seconds()
        if found.cgroups:
            read = self._reader.read(found, time_seconds=now)
            if read.gone:
                self._watch.forget()
            return observe_cgroups(found.cgroups, read, root=root, gpu=gpu)
        processes = self._outside.processes(root)
        return observe_processes(self._groups, processes, self._chosen, time_seconds=now, gpu=gpu)

    def _rows(
        self, observed: Observed, machine: Machine, whole: NDArray[np.float64], limiter: Limiter
    ) -> _Rows:
        """Sum what was observed by workload, and put limits beside it."""
        count = observed.ids.size
        sold, held = limits_of(
            self.resources,
            observed.limits,
            observed.limited_above,
            limiter=limiter,
            whole=np.where(np.isinf(whole), np.nan, whole),
        )
        rows = _Rows(
            ids=observed.ids,
            names=observed.names,
            paths=observed.paths,
            totals=folded(observed.sample.totals, observed.group, count),
            per_second=folded(rates(self._before, observed.sample), observed.group, count),
            amounts=folded(observed.sample.amounts, observed.group, count),
            capacity=sold,
            held=held,
        )
        share = np.fmax(
            rows.per_second[Total.CPU_SECONDS] / machine.cores,
            rows.amounts[Amount.MEMORY_BYTES] / machine.memory_bytes,
        )
        large = self._largest.choose(rows.ids, share)
        return rows if large.all() else _with_other(rows, large, whole)

    def _roster_of(self, rows: _Rows) -> Roster:
        """Return the same roster as long as nobody came or went."""
        if self._roster is None or not np.array_equal(self._roster.ids, rows.ids):
            self._roster = roster_of(
                rows.ids,
                rows.names,
                self.resources,
                capacity=rows.capacity,
                violation_rate=self._violation_rate,
            )
        return self._roster

    def _place(self, allocatable: NDArray[np.float64]) -> Places:
        """Return the same place as long as the machine is what it was."""
        if self._places is None or not np.array_equal(self._places.allocatable[:, 0], allocatable):
            self._places = this_place(self._outside.hostname(), allocatable)
        return self._places

    def _machine_rates(self, machine: Machine, now: float) -> NDArray[np.float64]:
        """Return the machine's own rates (`Total`,)."""
        sample = Sample(
            time_seconds=now,
            ids=np.zeros(1, dtype=np.int64),
            instance=np.zeros(1, dtype=np.int64),
            namespace=np.zeros(1, dtype=np.int64),
            totals=columns(Total, [totals_of(machine)]),
            amounts=np.empty((0, 1)),
        )
        before, self._machine_before = self._machine_before, sample
        return rates(before, sample)[:, 0]


def _with_other(rows: _Rows, large: NDArray[np.bool_], whole: NDArray[np.float64]) -> _Rows:
    """Return the large ones, and all others as one that holds the machine and can't be limited."""
    kept = np.flatnonzero(large)
    group = np.full(large.size, kept.size)
    group[kept] = np.arange(kept.size)
    last = kept.size

    def summed(frame: NDArray[np.float64], unsummable: slice) -> NDArray[np.float64]:
        result = folded(frame, group, last + 1)
        result[unsummable, last] = np.nan  # shares of time in which something waited don't add up
        return result

    unlimited = np.where(np.isinf(whole), np.nan, whole)[:, None]
    return _Rows(
        ids=np.append(rows.ids[kept], OTHER_ID),
        names=(*(rows.names[at] for at in kept), OTHER),
        paths=(*(rows.paths[at] for at in kept), None),
        totals=summed(rows.totals, STALLED_TOTALS),
        per_second=summed(rows.per_second, STALLED_TOTALS),
        amounts=summed(rows.amounts, STALLED_AMOUNTS),
        capacity=np.hstack([rows.capacity[:, kept], unlimited]),
        held=np.hstack([rows.held[:, kept], np.full_like(unlimited, np.inf)]),
    )
