"""Limits of an application's cgroup: set in an order that never takes what is in use, and read back.

    amount                     version 1                              version 2
    cpu_cores                  cpu.cfs_quota_us, cpu.shares           cpu.max, cpu.weight
    memory_bytes               memory.soft_limit_in_bytes, then       memory.high, then
                               memory.limit_in_bytes                  memory.max
    storage_bytes_per_second   blkio.throttle.*_bps_device            io.max

Storage is limited for reading and for writing alone, the kernel knows no limit of both together. Version 1
does not throttle what is written through the page cache.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.drivers.cgroups.kernel_files import number, read_text, write_text
from tidegate.drivers.cgroups.limits import (
    NO_LIMIT_BYTES,
    PAGE_BYTES,
    Setting,
    read_cpu_setting,
    read_memory_setting,
    working_set_bytes,
)
from tidegate.model.application import Amounts
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.drivers.cgroups.hierarchy import Hierarchy, Mount

SOFT_RATIO: Final = 15 / 16
"""From this part of its memory on a program is slowed and its file pages are taken, before it is ended."""
SHARES_PER_CORE: Final = 1024
"""Version 1's default share stands for one core."""
SHARES: Final = (2, 262_144)
"""What version 1 takes."""
WEIGHTS: Final = (1, 10_000)
"""What version 2 takes."""
DEVICES_MAX: Final = 64
"""Block devices whose rate is limited."""
NOT_STORAGE: Final = ("loop", "ram", "zram")
"""Devices that are no storage of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Sets and reads the limits of cgroups of a card."""

    hierarchy: Hierarchy
    devices: tuple[str, ...] = ()
    """MAJOR:MINOR of each block device."""

    def apply(self, path: str, wanted: Amounts) -> None:
        """Set what is said, as far as the kernel takes it; `held` says what is in force then."""
        if wanted.cpu_cores is not None:
            self._set_cpu(path, wanted.cpu_cores)
        if wanted.memory_bytes is not None:
            self._set_memory(path, wanted.memory_bytes)
        if wanted.storage_bytes_per_second is not None:
            self._set_storage(path, wanted.storage_bytes_per_second)

    def set_processes(self, path: str, processes_max: int) -> None:
        """Limit how many processes and threads there may be, where the kernel can."""
        if self.hierarchy.pids is not None:
            _try(f"{self.hierarchy.pids.of(path)}/pids.max", str(processes_max))

    def held(self, path: str) -> Amounts:
        """Return the limits in force; None where there is none."""
        cpu = read_cpu_setting(self.hierarchy, path)
        hard = self._hard(path)
        return Amounts(
            cpu_cores=_known(math.inf if cpu is None else cpu.amount),
            memory_bytes=_whole(math.inf if hard is None else hard.amount),
            storage_bytes_per_second=_whole(self._storage(path)),
        )

    # --- CPU ----------------------------------------------------------------------------------

    def _set_cpu(self, path: str, cores: float) -> None:
        """Set the quota, and the weight beside it that decides where all want more than there is."""
        setting = read_cpu_setting(self.hierarchy, path)
        if setting is None or self.hierarchy.cpu is None:
            return
        _try(setting.file, setting.text_for(cores))
        folder = self.hierarchy.cpu.of(path)
        shares = min(max(round(cores * SHARES_PER_CORE), SHARES[0]), SHARES[1])
        if self.hierarchy.cpu.version == 2:
            _try(f"{folder}/cpu.weight", str(weight_of(shares)))
        else:
            _try(f"{folder}/cpu.shares", str(shares))

    # --- Memory -------------------------------------------------------------------------------

    def _set_memory(self, path: str, wanted_bytes: int) -> None:
        """Grow the hard limit first and shrink it last, so that it is never below the soft step.

        A program is never put above its soft step by a limit: what it uses would have to be taken from it,
        and where that fails the kernel ends it. Such a limit is left as it is.
        """
        soft, hard = read_memory_setting(self.hierarchy, path), self._hard(path)
        if soft is None or hard is None:
            return
        hard_text = hard.text_for(wanted_bytes)
        soft_text = str(int(int(hard_text) * SOFT_RATIO / PAGE_BYTES) * PAGE_BYTES or PAGE_BYTES)
        grows = int(hard_text) >= hard.amount
        if not grows and not int(soft_text) >= working_set_bytes(self.hierarchy, path):
            return
        steps = [(hard, hard_text), (soft, soft_text)]
        for setting, text in steps if grows else reversed(steps):
            if not _try(setting.file, text):
                _try(soft.file, soft.text)  # refused, as version 1 does where it can't take enough back
                return

    def _hard(self, path: str) -> Setting | None:
        memory = self.hierarchy.memory
        if memory is None:
            return None
        file = f"{memory.of(path)}/{'memory.max' if memory.version == 2 else 'memory.limit_in_bytes'}"
        text = (read_text(file) or "").strip()
        return Setting(resource=Resource.MEMORY, file=file, text=text) if text else None

    # --- Storage ------------------------------------------------------------------------------

    def _set_storage(self, path: str, bytes_per_second: int) -> None:
        disk = self.hierarchy.disk
        if disk is None:
            return
        rate = max(bytes_per_second, 1)  # version 1 takes 0 for no limit
        for device in self.devices:
            if disk.version == 2:
                _try(f"{disk.of(path)}/io.max", f"{device} rbps={rate} wbps={rate}")
                continue
            for direction in ("read", "write"):
                _try(f"{disk.of(path)}/blkio.throttle.{direction}_bps_device", f"{device} {rate}")

    def _storage(self, path: str) -> float:
        """Return the largest rate that holds on any device; infinite where one has none."""
        if self.hierarchy.disk is None or not self.devices:
            return math.inf
        rates = _rates(self.hierarchy.disk, path)
        return max(rates.get(device, math.inf) for device in self.devices)


def weight_of(shares: int) -> int:
    """Return version 2's weight for version 1's shares, as Kubernetes and runc translate them (KEP-2254)."""
    spread = (shares - SHARES[0]) * (WEIGHTS[1] - WEIGHTS[0])
    return WEIGHTS[0] + spread // (SHARES[1] - SHARES[0])


def block_devices(root: Path) -> tuple[str, ...]:
    """Return MAJOR:MINOR of the machine's disks, at most `DEVICES_MAX`."""
    with contextlib.suppress(OSError):
        disks = sorted((root / "sys/block").iterdir())
        texts = [read_text(f"{disk}/dev") or "" for disk in disks if not disk.name.startswith(NOT_STORAGE)]
        return tuple(text.strip() for text in texts if text)[:DEVICES_MAX]
    return ()


def _rates(disk: Mount, path: str) -> dict[str, float]:
    """Return the limit of each device that has one: the larger of both directions."""
    found: dict[str, float] = {}
    if disk.version == 2:
        for line in (read_text(f"{disk.of(path)}/io.max") or "").splitlines():
            device, *words = line.split()
            values = dict(word.split("=", 1) for word in words if "=" in word)
            found[device] = max(_rate(values.get("rbps")), _rate(values.get("wbps")))
        return found
    for direction in ("read", "write"):
        text = read_text(f"{disk.of(path)}/blkio.throttle.{direction}_bps_device") or ""
        rows = (line.split() for line in text.splitlines())
        limits = {row[0]: _rate(row[1]) for row in rows if len(row) == 2}
        found = limits if direction == "read" else {
            device: max(rate, limits.get(device, math.inf)) for device, rate in found.items()
        }  # fmt: skip
    return found


def _rate(text: str | None) -> float:
    value = number(text)
    return value if math.isfinite(value) else math.inf


def _try(file: str, text: str) -> bool:
    """Write a limit; whether the kernel took it. What it holds then is read back anyway."""
    try:
        write_text(file, text)
    except OSError:
        return False
    return True


def _known(amount: float) -> float | None:
    return amount if math.isfinite(amount) else None


def _whole(amount: float) -> int | None:
    return int(amount) if amount < NO_LIMIT_BYTES else None
