"""Reads what one cgroup has used: a few small files each, of either version."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

from tidegate.drivers.cgroups.counters import (
    MICROSECONDS,
    NANOSECONDS,
    PRESSURES,
    Amount,
    Total,
    pressure_row,
)
from tidegate.drivers.cgroups.kernel_files import keyed, number, read_text
from tidegate.drivers.cgroups.limits import INACTIVE_KEY, USAGE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.drivers.cgroups.hierarchy import Hierarchy


MEMBERS_MAX: Final = 4096
"""Processes of one cgroup whose CPU seconds are summed where the kernel does not."""


def read_use(
    hierarchy: Hierarchy, path: str, total: dict[int, float], amount: dict[int, float], *, root: Path
) -> dict[str, str]:
    """Take in what a cgroup used (`Total`) and uses (`Amount`), and return its whole `memory.stat`."""
    _read_cpu(hierarchy, path, total, root)
    memory_stat = _read_memory(hierarchy, path, total, amount)
    _read_disk(hierarchy, path, total)
    _read_pressure(hierarchy, path, total, amount)
    return memory_stat


def _read_cpu(hierarchy: Hierarchy, path: str, total: dict[int, float], root: Path) -> None:
    usage, cpu = hierarchy.usage, hierarchy.cpu
    if usage is not None and usage.version == 1:
        total[Total.CPU_SECONDS] = number(read_text(f"{usage.of(path)}/cpuacct.usage")) / NANOSECONDS
    if cpu is None:
        return
    if cpu.version == 1 and math.isnan(total.get(Total.CPU_SECONDS, math.nan)):
        total[Total.CPU_SECONDS] = _seconds_of_processes(cpu.of(path), root)
    stat = keyed(read_text(f"{cpu.of(path)}/cpu.stat"))
    total[Total.PERIODS] = number(stat.get("nr_periods"))
    total[Total.THROTTLED_PERIODS] = number(stat.get("nr_throttled"))
    if cpu.version == 2:
        total[Total.CPU_SECONDS] = number(stat.get("usage_usec")) / MICROSECONDS
        total[Total.THROTTLED_SECONDS] = number(stat.get("throttled_usec")) / MICROSECONDS
    else:
        total[Total.THROTTLED_SECONDS] = number(stat.get("throttled_time")) / NANOSECONDS


def _seconds_of_processes(folder: str, root: Path) -> float:
    """Return the CPU seconds of the processes in a cgroup that is limited but not accounted for.

    Fields 14 to 17 of proc_pid_stat(5): with those of children waited for, since what ends within the cgroup
    must not lower the sum. Who ends and leaves it for another parent does: that interval is unknown.
    """
    ticks = 0
    for pid in (read_text(f"{folder}/cgroup.procs") or "").split()[:MEMBERS_MAX]:
        fields = (read_text(f"{root}/proc/{pid}/stat") or "").rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _read_memory(
    hierarchy: Hierarchy, path: str, total: dict[int, float], amount: dict[int, float]
) -> dict[str, str]:
    """Take in memory and return the whole `memory.stat`."""
    if hierarchy.memory is None:
        return {}
    folder, version = hierarchy.memory.of(path), hierarchy.memory.version
    stat = keyed(read_text(f"{folder}/memory.stat"))
    used = number(read_text(f"{folder}/{USAGE_FILE[version]}"))
    amount[Amount.MEMORY_BYTES] = used
    inactive = number(stat.get(INACTIVE_KEY[version]))
    amount[Amount.WORKING_SET_BYTES] = used - inactive if used >= inactive else used * 0
    if version == 2:
        amount[Amount.CACHE_BYTES] = number(stat.get("file"))
        amount[Amount.SWAP_BYTES] = number(read_text(f"{folder}/memory.swap.current"))
        total[Total.MAJOR_FAULTS] = number(stat.get("pgmajfault"))
    else:
        amount[Amount.CACHE_BYTES] = number(stat.get("total_cache"))
        amount[Amount.SWAP_BYTES] = number(stat.get("total_swap"))
        total[Total.MAJOR_FAULTS] = number(stat.get("total_pgmajfault"))
    return stat


def _read_disk(hierarchy: Hierarchy, path: str, total: dict[int, float]) -> None:
    """Bytes read and written, of all devices together."""
    if hierarchy.disk is None:
        return
    folder = hierarchy.disk.of(path)
    if hierarchy.disk.version == 2:
        text = read_text(f"{folder}/io.stat")
        if text is not None:
            fields = (word.partition("=") for word in text.split())
            total[Total.DISK_BYTES] = sum(
                float(value) for name, _, value in fields if name in {"rbytes", "wbytes"}
            )
        return
    text = read_text(f"{folder}/blkio.throttle.io_service_bytes_recursive")
    if text is not None:
        rows = (line.split() for line in text.splitlines())
        total[Total.DISK_BYTES] = sum(
            float(row[2]) for row in rows if len(row) == 3 and row[1] in {"Read", "Write"}
        )


def _read_pressure(
    hierarchy: Hierarchy, path: str, total: dict[int, float], amount: dict[int, float]
) -> None:
    if hierarchy.pressure is None:
        return
    folder = hierarchy.pressure.of(path)
    for kind, name in enumerate(PRESSURES):
        text = read_text(f"{folder}/{name}.pressure")
        if text is None:
            return  # beside version 1 most cgroups have none: one look is enough
        pressure_row(kind, text, total, amount)
