"""Reads processes, for machines without cgroups: their groups are the workloads.

A group's use is summed over rates of its processes, not taken from a sum of totals: a process that ends
takes its total with it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil

from tidegate.drivers.cgroups.counters import Amount, Sample, Total, columns
from tidegate.drivers.cgroups.kernel_files import read_text
from tidegate.drivers.local.discover import identifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROCESSES_MAX: Final = 32_768
"""The kernel's own default for `pid_max`; a machine with more is read up to here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process at one moment; what the system does not tell is NaN."""

    pid: int
    group: int
    name: str
    start_seconds: float
    cpu_seconds: float
    memory_bytes: float
    disk_bytes: float
    major_faults: float
    swap_bytes: float


def read_processes(root: Path) -> list[Process]:
    """Return the processes of this machine, without the kernel's own threads."""
    found: list[Process] = []
    for process in psutil.process_iter():
        if len(found) >= PROCESSES_MAX:
            break
        with contextlib.suppress(psutil.Error, OSError), process.oneshot():
            group = os.getpgid(process.pid)
            if group > 0:
                found.append(_one(process, group, root))
    return found


def _one(process: psutil.Process, group: int, root: Path) -> Process:
    times = process.cpu_times()
    disk = math.nan
    with contextlib.suppress(psutil.AccessDenied, AttributeError):  # other users', and macOS
        counted = process.io_counters()
        disk = float(counted.read_bytes + counted.write_bytes)
    return Process(
        pid=process.pid,
        group=group,
        name=process.name(),
        start_seconds=process.create_time(),
        cpu_seconds=times.user + times.system,
        memory_bytes=float(process.memory_info().rss),
        disk_bytes=disk,
        major_faults=_major_faults(f"{root}/proc/{process.pid}"),
        swap_bytes=_swap_bytes(f"{root}/proc/{process.pid}"),
    )


def _major_faults(folder: str) -> float:
    """Field 12 of proc_pid_stat(5), the tenth after the name, which may hold spaces and brackets."""
    fields = (read_text(f"{folder}/stat") or "").rpartition(")")[2].split()
    return float(fields[9]) if len(fields) > 9 else math.nan


def _swap_bytes(folder: str) -> float:
    kibibytes = re.search(r"^VmSwap:\s*(\d+)", read_text(f"{folder}/status") or "", re.MULTILINE)
    return float(kibibytes[1]) * 1024 if kibibytes else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One process group."""

    identity: int
    name: str


class ProcessGroups:
    """Remembers which group is which: its number is used again once it is gone."""

    def __init__(self) -> None:
        self._groups: dict[int, Group] = {}
        self._members: dict[int, set[tuple[int, float]]] = {}

    def follow(self, processes: Sequence[Process]) -> dict[int, Group]:
        """Return the groups of these processes by number.

        A group is the same as before as long as one process is still in it; its name and identity are
        those of its leader, or of its eldest process where the leader was gone when it was first seen.
        """
        members: dict[int, list[Process]] = {}
        for process in processes:
            members.setdefault(process.group, []).append(process)
        groups: dict[int, Group] = {}
        now: dict[int, set[tuple[int, float]]] = {}
        for number, inside in members.items():
            keys = {(process.pid, process.start_seconds) for process in inside}
            known = self._groups.get(number)
            if known is None or keys.isdisjoint(self._members[number]):
                first = min(inside, key=lambda process: (process.pid != number, process.start_seconds))
                identity = identifier(f"group {number} since {first.start_seconds:.2f}")
                known = Group(identity=identity, name=f"{first.name}-{number}")
            groups[number], now[number] = known, keys
        self._groups, self._members = groups, now
        return groups


def sample_of(processes: Sequence[Process], time_seconds: float) -> Sample:
    """Return the processes as columns, one each, in their order."""
    totals: list[dict[int, float]] = [
        {
            Total.CPU_SECONDS: process.cpu_seconds,
            Total.MAJOR_FAULTS: process.major_faults,
            Total.DISK_BYTES: process.disk_bytes,
        }
        for process in processes
    ]
    amounts: list[dict[int, float]] = [
        {Amount.MEMORY_BYTES: process.memory_bytes, Amount.SWAP_BYTES: process.swap_bytes}
        for process in processes
    ]
    ids = [identifier(f"process {process.pid} since {process.start_seconds:.2f}") for process in processes]
    return Sample(
        time_seconds=time_seconds,
        ids=np.array(ids, dtype=np.int64),
        instance=np.zeros(len(processes), dtype=np.int64),
        namespace=np.zeros(len(processes), dtype=np.int64),
        totals=columns(Total, totals),
        amounts=columns(Amount, amounts),
        from_zero=True,
    )
