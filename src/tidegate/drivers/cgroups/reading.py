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
from tidegate.drivers.cgroups.kernel_files import fields, number, read_text
from tidegate.drivers.cgroups.limits import INACTIVE_KEY, USAGE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.drivers.cgroups.hierarchy import Hierarchy, Mount
    from tidegate.drivers.cgroups.kernel_files import Read


MEMBERS_MAX: Final = 4096
"""Processes of one cgroup whose CPU seconds are summed where the kernel does not."""
DISK_FILE: Final = {1: "blkio.throttle.io_service_bytes_recursive", 2: "io.stat"}
_CPU_KEYS: Final = {
    1: (b"\nnr_periods ", b"\nnr_throttled ", b"\nthrottled_time "),
    2: (b"\nnr_periods ", b"\nnr_throttled ", b"\nthrottled_usec ", b"\nusage_usec "),
}
_MEMORY_KEYS: Final = {
    1: (INACTIVE_KEY[1], b"\ntotal_cache ", b"\ntotal_pgmajfault ", b"\ntotal_swap "),
    2: (INACTIVE_KEY[2], b"\nfile ", b"\npgmajfault "),
}


class UseFiles:
    """The files that tell what one cgroup used: where they are is found out once."""

    def __init__(self, hierarchy: Hierarchy, path: str, *, root: Path) -> None:
        """Find them; those of a controller that the machine lacks are none."""
        self._root = root
        usage, cpu, memory, disk = hierarchy.usage, hierarchy.cpu, hierarchy.memory, hierarchy.disk
        self._cpu_version = 0 if cpu is None else cpu.version
        self._memory_version = 0 if memory is None else memory.version
        self._disk_version = 0 if disk is None else disk.version
        self._accounts = _file(usage, path, "cpuacct.usage") if usage and usage.version == 1 else None
        self._members = _file(cpu, path, "cgroup.procs") or ""
        self._cpu = _file(cpu, path, "cpu.stat")
        self._memory = _file(memory, path, "memory.stat")
        self._memory_used = _file(memory, path, USAGE_FILE.get(self._memory_version, ""))
        self._swap = _file(memory, path, "memory.swap.current") if self._memory_version == 2 else None
        self._disk = _file(disk, path, DISK_FILE.get(self._disk_version, ""))
        self._pressures = [_file(hierarchy.pressure, path, f"{name}.pressure") for name in PRESSURES]
        self.lasting = tuple(file for file in (self._accounts, self._cpu, self._memory) if file is not None)
        """Whose inode tells this cgroup from another made under its name; the first that is kept open."""

    def read(self, read: Read, total: dict[int, float], amount: dict[int, float]) -> bytes | None:
        """Take in what the cgroup used (`Total`) and uses (`Amount`), and return its whole `memory.stat`."""
        self._read_cpu(read, total)
        memory_stat = self._read_memory(read, total, amount)
        self._read_disk(read, total)
        for kind, file in enumerate(self._pressures):
            data = None if file is None else read(file)
            if data is None:
                break  # beside version 1 most cgroups have none: one look is enough
            pressure_row(kind, data, total, amount)
        return memory_stat

    def _read_cpu(self, read: Read, total: dict[int, float]) -> None:
        seconds = math.nan
        if self._accounts is not None:
            seconds = number(read(self._accounts)) / NANOSECONDS
        if self._cpu is not None:
            found = fields(read(self._cpu), _CPU_KEYS[self._cpu_version])
            total[Total.PERIODS], total[Total.THROTTLED_PERIODS] = found[0], found[1]
            if self._cpu_version == 2:
                total[Total.THROTTLED_SECONDS] = found[2] / MICROSECONDS
                seconds = found[3] / MICROSECONDS
            else:
                total[Total.THROTTLED_SECONDS] = found[2] / NANOSECONDS
                if math.isnan(seconds):
                    seconds = _seconds_of_processes(self._members, self._root)
        total[Total.CPU_SECONDS] = seconds

    def _read_memory(self, read: Read, total: dict[int, float], amount: dict[int, float]) -> bytes | None:
        """Take in memory and return the whole `memory.stat`."""
        if self._memory is None or self._memory_used is None:
            return None
        stat = read(self._memory)
        used = number(read(self._memory_used))
        found = fields(stat, _MEMORY_KEYS[self._memory_version])
        inactive, cache, faults = found[:3]
        amount[Amount.MEMORY_BYTES] = used
        amount[Amount.WORKING_SET_BYTES] = used - inactive if used >= inactive else used * 0
        amount[Amount.CACHE_BYTES] = cache
        total[Total.MAJOR_FAULTS] = faults
        amount[Amount.SWAP_BYTES] = found[3] if self._swap is None else number(read(self._swap))
        return stat

    def _read_disk(self, read: Read, total: dict[int, float]) -> None:
        """Bytes read and written, of all devices together."""
        data = None if self._disk is None else read(self._disk)
        if data is None:
            return
        if self._disk_version == 2:
            words = (word.partition(b"=") for word in data.split())
            total[Total.DISK_BYTES] = sum(
                float(value) for name, _, value in words if name in {b"rbytes", b"wbytes"}
            )
            return
        rows = (line.split() for line in data.splitlines())
        total[Total.DISK_BYTES] = sum(
            float(row[2]) for row in rows if len(row) == 3 and row[1] in {b"Read", b"Write"}
        )


def _file(mount: Mount | None, path: str, name: str) -> str | None:
    return None if mount is None else f"{mount.of(path)}/{name}"


def _seconds_of_processes(members: str, root: Path) -> float:
    """Return the CPU seconds of the processes in a cgroup that is limited but not accounted for.

    Fields 14 to 17 of proc_pid_stat(5): with those of children waited for, since what ends within the cgroup
    must not lower the sum. Who ends and leaves it for another parent does: that interval is unknown.
    """
    ticks = 0
    for pid in (read_text(members) or "").split()[:MEMBERS_MAX]:
        words = (read_text(f"{root}/proc/{pid}/stat") or "").rpartition(")")[2].split()
        ticks += sum(int(word) for word in words[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")
