"""What an application has used, as its cgroup says, with what it says of itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tidegate.drivers.cgroups.counters import Amount, Total
from tidegate.drivers.cgroups.kernel_files import read_bytes
from tidegate.drivers.cgroups.reading import UseFiles
from tidegate.model.application import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.drivers.card.behaviour import Said
    from tidegate.drivers.cgroups.hierarchy import Hierarchy


def usage_of(
    hierarchy: Hierarchy,
    path: str,
    *,
    root: Path,
    name: str,
    time_seconds: float,
    network_bytes: int | None,
    said: Said | None,
) -> Usage | None:
    """Return what a cgroup used until now; None where it is gone."""
    total: dict[int, float] = {}
    amount: dict[int, float] = {}
    UseFiles(hierarchy, path, root=root).read(read_bytes, total, amount)
    cpu, memory = total.get(Total.CPU_SECONDS, math.nan), amount.get(Amount.MEMORY_BYTES, math.nan)
    if math.isnan(cpu):
        return None
    return Usage(
        name=name,
        time_seconds=time_seconds,
        cpu_seconds=cpu,
        memory_bytes=0 if math.isnan(memory) else int(memory),
        network_bytes=network_bytes,
        storage_bytes=_whole(total.get(Total.DISK_BYTES)),
        throttled_seconds=_known(total.get(Total.THROTTLED_SECONDS)) or 0.0,
        cpu_pressure_seconds=_known(total.get(Total.SOME_CPU_SECONDS)),
        memory_pressure_seconds=_known(total.get(Total.SOME_MEMORY_SECONDS)),
        storage_pressure_seconds=_known(total.get(Total.SOME_IO_SECONDS)),
        latency_p99_seconds=None if said is None else said.latency_p99_seconds,
        requests=None if said is None else said.requests,
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _whole(value: float | None) -> int | None:
    return None if value is None or math.isnan(value) else int(value)
