"""The two settings of a cgroup that Tidegate changes for its owner: CPU quota and soft memory limit.

Nothing here writes. A setting is kept as the kernel's own text, so that what is put back is what was there.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.drivers.cgroups.kernel_files import keyed, number, read_text
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from tidegate.drivers.cgroups.hierarchy import Hierarchy

QUOTA_MICROSECONDS_MIN: Final = 1000
"""The kernel refuses a smaller quota."""
PERIOD_MICROSECONDS: Final = 100_000
"""The kernel's default."""
PAGE_BYTES: Final = mmap.PAGESIZE
"""The kernel rounds a memory limit down to pages."""
NO_LIMIT_BYTES: Final = 1 << 62
"""Version 1 writes "unlimited" as the largest multiple of a page below 2^63; nothing real is this large."""
FLOAT32_RATIO: Final = 1e-6
"""Amounts arrive as float32: 0.1 cores are 10000.0001 us of quota, and that is meant as 10000."""
SETTINGS: Final = ("cpu.cfs_quota_us", "cpu.max", "memory.soft_limit_in_bytes", "memory.high")
"""Every file that is written of cgroups that are not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One limit of one cgroup: its file, and the text in it."""

    resource: Resource
    file: str
    text: str
    period_microseconds: int = PERIOD_MICROSECONDS
    """Of the CPU quota; the owner's, never changed."""

    @property
    def amount(self) -> float:
        """Cores or bytes; infinite where there is no limit, NaN where the text means nothing."""
        return self.amount_of(self.text)

    def amount_of(self, text: str) -> float:
        """Return what another text in this file would allow."""
        words = text.split()
        if not words or words[0] == "max":
            return math.inf if words else math.nan
        value = number(words[0])
        if self.resource is Resource.CPU:
            period = number(words[1]) if len(words) > 1 else float(self.period_microseconds)
            return math.inf if value < 0 else value / period
        return math.inf if value < 0 or value >= NO_LIMIT_BYTES else value

    def text_for(self, amount: float) -> str:
        """Return the text that allows ``amount``, at least: rounded up to what the kernel can tell apart."""
        if self.resource is Resource.MEMORY:
            return str(max(math.ceil(amount / PAGE_BYTES), 1) * PAGE_BYTES)
        quota = math.ceil(amount * self.period_microseconds * (1 - FLOAT32_RATIO))
        quota = max(quota, QUOTA_MICROSECONDS_MIN)
        return f"{quota} {self.period_microseconds}" if self.file.endswith("cpu.max") else str(quota)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one cgroup is limited to; a setting is None where the cgroup is not under that controller."""

    cpu: Setting | None
    memory: Setting | None
    memory_bytes_max: float
    """The hard limit; infinite where there is none."""

    def of(self, resource: Resource) -> Setting | None:
        """Return the setting for a resource that can be granted, None for the others."""
        return {Resource.CPU: self.cpu, Resource.MEMORY: self.memory}.get(resource)


NO_LIMITS: Final = Limits(cpu=None, memory=None, memory_bytes_max=math.inf)
"""Of a process group."""


def read_cpu_setting(hierarchy: Hierarchy, path: str) -> Setting | None:
    """Return a cgroup's CPU quota, None where it has none."""
    if hierarchy.cpu is None:
        return None
    folder = hierarchy.cpu.of(path)
    if hierarchy.cpu.version == 2:
        file = f"{folder}/cpu.max"
        text = (read_text(file) or "").strip()
        period = text.partition(" ")[2]
    else:
        file = f"{folder}/cpu.cfs_quota_us"
        text = (read_text(file) or "").strip()
        period = (read_text(f"{folder}/cpu.cfs_period_us") or "").strip() if text else ""
    if not text:
        return None
    return Setting(
        resource=Resource.CPU,
        file=file,
        text=text,
        period_microseconds=int(period) if period.isdecimal() and int(period) else PERIOD_MICROSECONDS,
    )


def read_memory_setting(hierarchy: Hierarchy, path: str) -> Setting | None:
    """Return a cgroup's soft memory limit, None where it has none."""
    if hierarchy.memory is None:
        return None
    name = "memory.high" if hierarchy.memory.version == 2 else "memory.soft_limit_in_bytes"
    file = f"{hierarchy.memory.of(path)}/{name}"
    text = (read_text(file) or "").strip()
    return Setting(resource=Resource.MEMORY, file=file, text=text) if text else None


def read_limits(hierarchy: Hierarchy, path: str, memory_stat: dict[str, str] | None = None) -> Limits:
    """Return what a cgroup is limited to; ``memory_stat`` spares reading that file again."""
    return Limits(
        cpu=read_cpu_setting(hierarchy, path),
        memory=read_memory_setting(hierarchy, path),
        memory_bytes_max=_hard_limit(hierarchy, path, memory_stat),
    )


def working_set_bytes(hierarchy: Hierarchy, path: str) -> float:
    """Return what the cgroup is using of its memory now: all but file pages nobody touched lately."""
    if hierarchy.memory is None:
        return math.nan
    folder, version = hierarchy.memory.of(path), hierarchy.memory.version
    used = number(read_text(f"{folder}/{USAGE_FILE[version]}"))
    inactive = number(keyed(read_text(f"{folder}/memory.stat")).get(INACTIVE_KEY[version]))
    return max(used - inactive, 0.0)


USAGE_FILE: Final = {1: "memory.usage_in_bytes", 2: "memory.current"}
INACTIVE_KEY: Final = {1: "total_inactive_file", 2: "inactive_file"}


def _hard_limit(hierarchy: Hierarchy, path: str, memory_stat: dict[str, str] | None) -> float:
    if hierarchy.memory is None:
        return math.inf
    folder = hierarchy.memory.of(path)
    if hierarchy.memory.version == 2:
        value = number(read_text(f"{folder}/memory.max"))
    else:
        stat = keyed(read_text(f"{folder}/memory.stat")) if memory_stat is None else memory_stat
        value = number(stat.get("hierarchical_memory_limit"))
    return value if value < NO_LIMIT_BYTES else math.inf
