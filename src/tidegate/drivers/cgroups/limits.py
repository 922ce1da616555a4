"""The two settings of a cgroup that Tidegate changes for its owner: CPU quota and soft memory limit.

Nothing here writes. A setting is kept as the kernel's own text, so that what is put back is what was there.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tidegate.drivers.cgroups.kernel_files import fields, number, read_bytes
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from tidegate.drivers.cgroups.hierarchy import Hierarchy
    from tidegate.drivers.cgroups.kernel_files import Read

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
    amount: float = field(init=False, compare=False)
    """Cores or bytes; infinite where there is no limit, NaN where the text means nothing."""

    def __post_init__(self) -> None:
        """Understand the text."""
        object.__setattr__(self, "amount", self.amount_of(self.text))

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


class LimitFiles:
    """The files that limit one cgroup; as long as they hold the same, what they say is made once."""

    def __init__(self, hierarchy: Hierarchy, path: str) -> None:
        """Find them; those of a controller that the machine lacks are none."""
        self._cpu, self._period = _cpu_files(hierarchy, path)
        self._soft = _soft_file(hierarchy, path)
        memory = hierarchy.memory
        self._hard = None if memory is None else f"{memory.of(path)}/{_HARD_FILE[memory.version]}"
        self._hard_in_stat = memory is not None and memory.version == 1
        self._held: tuple[bytes | None, ...] = ()
        self._settings: tuple[Setting | None, Setting | None] = (None, None)

    def read(self, read: Read, memory_stat: bytes | None = None) -> Limits:
        """Return what the cgroup is limited to now; ``memory_stat`` spares reading that file again.

        While there is no quota its period is not read, but told to be the usual one.
        """
        cpu, period, soft = self._cpu, self._period, self._soft
        quota = None if cpu is None else read(cpu)
        held = (
            quota,
            None if period is None or quota is None or quota.startswith(_NO_QUOTA) else read(period),
            None if soft is None else read(soft),
        )
        if held != self._held:
            self._held = held
            self._settings = (_cpu_setting(cpu, held[0], held[1]), _memory_setting(soft, held[2]))
        hard = math.inf
        if self._hard is not None:
            data = memory_stat if self._hard_in_stat and memory_stat is not None else read(self._hard)
            hard = fields(data, _HARD_KEY)[0] if self._hard_in_stat else number(data)
        return Limits(
            cpu=self._settings[0],
            memory=self._settings[1],
            memory_bytes_max=hard if hard < NO_LIMIT_BYTES else math.inf,
        )


def read_limits(hierarchy: Hierarchy, path: str) -> Limits:
    """Return what a cgroup is limited to."""
    limits = LimitFiles(hierarchy, path).read(read_bytes)
    return replace(limits, cpu=read_cpu_setting(hierarchy, path))


def read_cpu_setting(hierarchy: Hierarchy, path: str) -> Setting | None:
    """Return a cgroup's CPU quota, None where it has none."""
    file, period = _cpu_files(hierarchy, path)
    if file is None:
        return None
    return _cpu_setting(file, read_bytes(file), None if period is None else read_bytes(period))


def read_memory_setting(hierarchy: Hierarchy, path: str) -> Setting | None:
    """Return a cgroup's soft memory limit, None where it has none."""
    file = _soft_file(hierarchy, path)
    return None if file is None else _memory_setting(file, read_bytes(file))


def working_set_bytes(hierarchy: Hierarchy, path: str) -> float:
    """Return what the cgroup is using of its memory now: all but file pages nobody touched lately."""
    if hierarchy.memory is None:
        return math.nan
    folder, version = hierarchy.memory.of(path), hierarchy.memory.version
    used = number(read_bytes(f"{folder}/{USAGE_FILE[version]}"))
    (inactive,) = fields(read_bytes(f"{folder}/memory.stat"), (INACTIVE_KEY[version],))
    return max(used - inactive, 0.0)


USAGE_FILE: Final = {1: "memory.usage_in_bytes", 2: "memory.current"}
INACTIVE_KEY: Final = {1: b"\ntotal_inactive_file ", 2: b"\ninactive_file "}
_NO_QUOTA: Final = b"-"
_HARD_FILE: Final = {1: "memory.stat", 2: "memory.max"}
_HARD_KEY: Final = (b"\nhierarchical_memory_limit ",)


def _cpu_files(hierarchy: Hierarchy, path: str) -> tuple[str | None, str | None]:
    """Return the files of the quota and, on version 1, of its period."""
    if hierarchy.cpu is None:
        return None, None
    folder = hierarchy.cpu.of(path)
    if hierarchy.cpu.version == 2:
        return f"{folder}/cpu.max", None
    return f"{folder}/cpu.cfs_quota_us", f"{folder}/cpu.cfs_period_us"


def _soft_file(hierarchy: Hierarchy, path: str) -> str | None:
    if hierarchy.memory is None:
        return None
    name = "memory.high" if hierarchy.memory.version == 2 else "memory.soft_limit_in_bytes"
    return f"{hierarchy.memory.of(path)}/{name}"


def _cpu_setting(file: str | None, held: bytes | None, held_period: bytes | None) -> Setting | None:
    text = (held or b"").decode("ascii", "replace").strip()
    if file is None or not text:
        return None
    period = text.partition(" ")[2] or (held_period or b"").decode("ascii", "replace").strip()
    return Setting(
        resource=Resource.CPU,
        file=file,
        text=text,
        period_microseconds=int(period) if period.isdecimal() and int(period) else PERIOD_MICROSECONDS,
    )


def _memory_setting(file: str | None, held: bytes | None) -> Setting | None:
    text = (held or b"").decode("ascii", "replace").strip()
    return Setting(resource=Resource.MEMORY, file=file, text=text) if file is not None and text else None
