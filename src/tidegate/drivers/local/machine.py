"""The machine as a whole: what it has, how busy it is, and how much of the time something waited."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from tidegate.drivers.cgroups.counters import PRESSURES, Amount, Total, pressure_row
from tidegate.drivers.cgroups.kernel_files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BITS_PER_MEGABIT_BYTE = 1e6 / 8
"""A link's speed is told in megabits a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One moment of this machine. Totals are since boot; NaN where the system does not tell."""

    cores: float
    memory_bytes: float
    memory_bytes_used: float
    swap_bytes: float
    network_bytes_per_second_max: float
    """Line rate of all physical links that are up, together; infinite where one does not tell."""
    load_average: tuple[float, float, float]
    """Processes that run or wait, over 1, 5 and 15 minutes."""
    cpu_seconds: float
    disk_bytes: float
    received_bytes: float
    sent_bytes: float
    stalled_seconds: Mapping[int, float] = field(default_factory=dict)
    """By `Total`: how long some, or all, of the machine waited for cpu, memory or io."""
    stalled_ratio: Mapping[int, float] = field(default_factory=dict)
    """By `Amount`: the kernel's own average over ten seconds."""


def read_machine(root: Path) -> Machine:
    """Return this machine now; pressure and links are looked up below ``root``."""
    memory = psutil.virtual_memory()
    times = psutil.cpu_times()
    disk = psutil.disk_io_counters()
    links = psutil.net_io_counters(pernic=True)
    real = physical_links(root)
    counted = [links[name] for name in (real or sorted(links)) if name in links and name != "lo"]
    stalled: dict[int, float] = {}
    average: dict[int, float] = {}
    for kind, name in enumerate(PRESSURES):
        pressure_row(kind, read_bytes(f"{root}/proc/pressure/{name}"), stalled, average)
    return Machine(
        cores=float(psutil.cpu_count() or 1),
        memory_bytes=float(memory.total),
        memory_bytes_used=float(memory.total - memory.available),
        swap_bytes=float(psutil.swap_memory().used),
        network_bytes_per_second_max=_line_rate(real),
        load_average=psutil.getloadavg(),
        cpu_seconds=times.user + times.system,
        disk_bytes=math.nan if disk is None else float(disk.read_bytes + disk.write_bytes),
        received_bytes=float(sum(link.bytes_recv for link in counted)),
        sent_bytes=float(sum(link.bytes_sent for link in counted)),
        stalled_seconds=stalled,
        stalled_ratio=average,
    )


def physical_links(root: Path) -> list[str]:
    """Return the names of interfaces with a device behind them.

    Bridges and taps carry the same bytes again.
    """
    folder = root / "sys/class/net"
    try:
        return sorted(link.name for link in folder.iterdir() if (link / "device").exists())
    except OSError:
        return []


def _line_rate(names: list[str]) -> float:
    states = psutil.net_if_stats()
    speeds = [states[name].speed for name in names if name in states and states[name].isup]
    if not speeds or 0 in speeds:
        return math.inf
    return sum(speeds) * BITS_PER_MEGABIT_BYTE


def totals_of(machine: Machine) -> dict[int, float]:
    """Return the machine's totals by `Total`, to take rates of them as of any cgroup's."""
    return {
        Total.CPU_SECONDS: machine.cpu_seconds,
        Total.DISK_BYTES: machine.disk_bytes,
        Total.RECEIVED_BYTES: machine.received_bytes,
        Total.SENT_BYTES: machine.sent_bytes,
        **machine.stalled_seconds,
    }


def pressure_average(machine: Machine, kind: int) -> float:
    """Return the share of the last ten seconds in which something waited for 0 cpu, 1 memory, 2 io."""
    return machine.stalled_ratio.get(Amount.SOME_CPU_RATIO + kind, math.nan)
