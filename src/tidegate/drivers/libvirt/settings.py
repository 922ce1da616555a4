"""A running domain's settings by name, each a whole number: read, and written one at a time.

Every call blocks. A setting that is not there, or that this hypervisor has not, reads as None.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

from tidegate.drivers.libvirt.binding import UNSUPPORTED_CODES, code_of
from tidegate.drivers.libvirt.taps import read_tap, write_tap

LIVE: Final = 1
"""VIR_DOMAIN_AFFECT_LIVE."""
UNLIMITED: Final = -1
"""A quota that is none."""
QUOTA: Final = "vcpu_quota"
SHARES: Final = "cpu_shares"
VCPUS: Final = "vcpus"
MEMORY: Final = "memory_kib"
PLUGGED: Final = "plugged_kib"
DISK: Final = "disk_total_bytes_sec"
TAP: Final = "tap_bytes_per_second"
"""The last three are followed by a colon and the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Those of one domain."""

    domain: Any

    def read(self, name: str) -> int | None:
        """Return what is set now; None where it can't be told."""
        kind, _, device = name.partition(":")
        try:
            return self._read(kind, device)
        except Exception as error:
            if code_of(error) in UNSUPPORTED_CODES:
                return None
            raise

    def write(self, name: str, value: int) -> None:
        """Set it; what came of it, reading tells."""
        kind, _, device = name.partition(":")
        match kind:
            case "vcpu_quota" | "cpu_shares":
                self.domain.setSchedulerParametersFlags({kind: value}, LIVE)
            case "vcpus":
                self.domain.setVcpusFlags(value, LIVE)
            case "memory_kib":
                self.domain.setMemoryFlags(value, LIVE)
            case "plugged_kib":
                self.domain.updateDeviceFlags(self._plugged_xml(device, value), LIVE)
            case "disk_total_bytes_sec":
                # A burst above the limit was for the owner's limit, and can't stand without one.
                self.domain.setBlockIoTune(device, {"total_bytes_sec": value, "total_bytes_sec_max": 0}, LIVE)
            case "tap_bytes_per_second":
                write_tap(device, value)

    def _read(self, kind: str, device: str) -> int | None:  # noqa: PLR0911 - a table of kinds
        match kind:
            case "vcpu_quota" | "cpu_shares":
                value = self.domain.schedulerParametersFlags(LIVE).get(kind)
                return None if value is None else int(UNLIMITED if kind == QUOTA and value <= 0 else value)
            case "vcpus":
                return int(self.domain.vcpusFlags(LIVE))
            case "memory_kib":
                return int(self.domain.memoryStats().get("actual", 0)) or None
            case "plugged_kib":
                found = self._plugged(device)
                return None if found is None else int(found.findtext("target/current") or 0)
            case "disk_total_bytes_sec":
                tune = self.domain.blockIoTune(device, LIVE)
                ways = tune.get("read_bytes_sec", 0), tune.get("write_bytes_sec", 0)
                # The owner limits each way: a limit of both together can't stand beside.
                return None if any(ways) else int(tune.get("total_bytes_sec", 0))
            case "tap_bytes_per_second":
                return read_tap(device)
        return None

    def _plugged(self, alias: str) -> ET.Element | None:
        """Return a memory device as the live domain's XML has it; libvirt wants it back word for word."""
        domain = ET.fromstring(self.domain.XMLDesc(0))  # noqa: S314 - libvirt made it
        for memory in domain.findall("devices/memory"):
            found = memory.find("alias")
            if found is not None and found.get("name") == alias:
                return memory
        return None

    def _plugged_xml(self, alias: str, kibibytes: int) -> str:
        memory = self._plugged(alias)
        target = None if memory is None else memory.find("target")
        requested = None if target is None else target.find("requested")
        if memory is None or target is None or requested is None:
            raise ValueError(f"the domain has no memory device '{alias}' that could be resized")
        requested.text, requested.attrib = str(kibibytes), {"unit": "KiB"}
        with contextlib.suppress(ValueError, TypeError):
            target.remove(target.find("current"))  # type: ignore[arg-type]
        return ET.tostring(memory, encoding="unicode")
