"""Reads cgroups: their totals, amounts and limits at one moment."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.local.counters import (
    MICROSECONDS,
    NANOSECONDS,
    PRESSURES,
    Amount,
    Sample,
    Total,
    columns,
    pressure_row,
)
from tidegate.drivers.local.discover import Cgroup, identifier
from tidegate.drivers.local.kernel_files import keyed, number, read_text
from tidegate.drivers.local.limits import INACTIVE_KEY, USAGE_FILE, Limits, read_limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.drivers.local.hierarchy import Hierarchy


MEMBERS_MAX: Final = 4096
"""Processes of one cgroup whose CPU seconds are summed where the kernel does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one read of all cgroups brought."""

    sample: Sample
    limits: dict[str, Limits]
    """By path: of the cgroups, and of those above them."""


def read_cgroups(hierarchy: Hierarchy, cgroups: Sequence[Cgroup], *, root: Path, time_seconds: float) -> Read:
    """Return what the cgroups used and are limited to, in their order; some dozen small files each."""
    totals: list[dict[int, float]] = []
    amounts: list[dict[int, float]] = []
    limits: dict[str, Limits] = {}
    for cgroup in cgroups:
        total: dict[int, float] = {}
        amount: dict[int, float] = {}
        _read_cpu(hierarchy, cgroup.path, total, root)
        memory_stat = _read_memory(hierarchy, cgroup.path, total, amount)
        _read_disk(hierarchy, cgroup.path, total)
        _read_pressure(hierarchy, cgroup.path, total, amount)
        limits[cgroup.path] = read_limits(hierarchy, cgroup.path, memory_stat)
        totals.append(total)
        amounts.append(amount)
    namespace = _read_networks(cgroups, root, totals)
    _read_above(hierarchy, limits)
    sample = Sample(
        time_seconds=time_seconds,
        ids=np.array([identifier(cgroup.path) for cgroup in cgroups], dtype=np.int64),
        instance=np.array([_instance(hierarchy, cgroup.path) for cgroup in cgroups], dtype=np.int64),
        namespace=np.array(namespace, dtype=np.int64),
        totals=columns(Total, totals),
        amounts=columns(Amount, amounts),
    )
    return Read(sample=sample, limits=limits)


def above(path: str) -> list[str]:
    """Return the paths of the cgroups above one, without the top."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _read_above(hierarchy: Hierarchy, limits: dict[str, Limits]) -> None:
    """Add the limits of those above, which hold for all below them."""
    for upper in {upper for path in limits for upper in above(path)}:
        limits[upper] = read_limits(hierarchy, upper)


def _instance(hierarchy: Hierarchy, path: str) -> int:
    """Return the number of the cgroup's folder: another one when it was removed and made anew."""
    for mount in (hierarchy.usage, hierarchy.cpu, hierarchy.memory):
        if mount is not None:
            with contextlib.suppress(OSError):
                return os.stat(mount.of(path)).st_ino  # noqa: PTH116 - hundreds a read
    return 0


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


def _read_networks(cgroups: Sequence[Cgroup], root: Path, totals: list[dict[int, float]]) -> list[int]:
    """Take in the traffic of those that have a network namespace to themselves; return its number.

    The others share theirs: with the machine, or with each other as the containers of a pod do. Whose the
    traffic is can't be told, so theirs is unknown, and the number 0.
    """
    ours = _namespace(root, "self")
    spaces = [None if cgroup.pid is None else _namespace(root, str(cgroup.pid)) for cgroup in cgroups]
    living_there = Counter(spaces)
    numbers = []
    for cgroup, space, total in zip(cgroups, spaces, totals, strict=True):
        if space is None or space == ours or living_there[space] > 1:
            numbers.append(0)
            continue
        numbers.append(int("".join(digit for digit in space if digit.isdecimal()) or 0))
        received, sent = traffic(read_text(f"{root}/proc/{cgroup.pid}/net/dev"))
        total[Total.RECEIVED_BYTES], total[Total.SENT_BYTES] = received, sent
    return numbers


def _namespace(root: Path, process: str) -> str | None:
    try:
        return str((root / "proc" / process / "ns/net").readlink())
    except OSError:
        return None


def traffic(text: str | None) -> tuple[float, float]:
    """Return bytes received and sent by all interfaces but the loopback; NaN without a table."""
    if text is None:
        return math.nan, math.nan
    received = sent = 0.0
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and name.strip() != "lo" and len(fields) >= 9:
            received += float(fields[0])
            sent += float(fields[8])
    return received, sent
