"""One look at this machine's workloads, whether they are cgroups or process groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.drivers.cgroups.counters import Amount
from tidegate.drivers.cgroups.limits import NO_LIMITS
from tidegate.drivers.local.discover import matches
from tidegate.drivers.local.gpu import by_cgroup
from tidegate.drivers.local.processes import sample_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.drivers.cgroups.counters import Sample
    from tidegate.drivers.cgroups.limits import Limits
    from tidegate.drivers.local.cgroups import Read
    from tidegate.drivers.local.discover import Cgroup
    from tidegate.drivers.local.processes import Process, ProcessGroups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """The workloads found, and the sample of what they are made of: one cgroup, or many processes."""

    ids: NDArray[np.int64]
    """(workloads,)"""
    names: tuple[str, ...]
    paths: tuple[str | None, ...]
    """(workloads,) below each controller's mount; None for a process group."""
    limits: tuple[Limits, ...]
    limited_above: NDArray[np.float64]
    """(2, workloads) the least cores and bytes that the cgroups above each may have; NaN where none says."""
    sample: Sample
    group: NDArray[np.int64]
    """(entities,) the workload each entity of the sample belongs to."""


def observe_cgroups(
    cgroups: Sequence[Cgroup], read: Read, *, root: Path, gpu: Mapping[int, float] | None
) -> Observed:
    """Return what cgroups used; ``gpu`` is by process."""
    paths = tuple(cgroup.path for cgroup in cgroups)
    sample = read.sample
    if gpu is not None:
        sample = _with_gpu(sample, by_cgroup(gpu, paths, root))
    return Observed(
        ids=sample.ids,
        names=paths,
        paths=paths,
        limits=read.limits,
        limited_above=read.limited_above,
        sample=sample,
        group=np.arange(len(paths)),
    )


def observe_processes(
    groups: ProcessGroups,
    processes: Sequence[Process],
    chosen: Sequence[str],
    *,
    time_seconds: float,
    gpu: Mapping[int, float] | None,
) -> Observed:
    """Return what process groups used, those whose name a glob of ``chosen`` matches if there is any."""
    by_number = groups.follow(processes)
    wanted = sorted(
        number for number, group in by_number.items() if not chosen or matches(group.name, chosen)
    )
    row = {number: at for at, number in enumerate(wanted)}
    inside = [process for process in processes if process.group in row]
    sample = sample_of(inside, time_seconds)
    if gpu is not None:
        sample = _with_gpu(sample, [gpu.get(process.pid, 0.0) for process in inside])
    return Observed(
        ids=np.array([by_number[number].identity for number in wanted], dtype=np.int64),
        names=tuple(by_number[number].name for number in wanted),
        paths=(None,) * len(wanted),
        limits=(NO_LIMITS,) * len(wanted),
        limited_above=np.full((2, len(wanted)), np.nan),
        sample=sample,
        group=np.array([row[process.group] for process in inside], dtype=np.int64),
    )


def _with_gpu(sample: Sample, ratios: Sequence[float]) -> Sample:
    amounts = sample.amounts.copy()
    amounts[Amount.GPU_RATIO] = ratios
    return replace(sample, amounts=amounts)
