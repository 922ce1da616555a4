"""What a domain's XML says of it: its limits, its devices, and what its owner allows; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from tidegate.drivers.libvirt.policy import Policy, policy_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PERIOD_MICROSECONDS: Final = 100_000
"""libvirt's default of vcpu_period."""
NO_QUOTA: Final = -1
SHARES: Final = 1024
"""The kernel's default of cpu.shares, and of a domain's."""
UNITS: Final = {"b": 1, "bytes": 1, "KB": 1000, "k": 1024, "KiB": 1024, "MB": 10**6, "M": 2**20, "MiB": 2**20}
UNITS_LARGE: Final = {"GB": 10**9, "G": 2**30, "GiB": 2**30, "TB": 10**12, "T": 2**40, "TiB": 2**40}
TAPS: Final = frozenset({"ethernet", "bridge", "network"})
"""Kinds of interfaces that have a tap; a card's functions and user networking have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """A device of memory that grows and shrinks (virtio-mem)."""

    alias: str
    bytes_now: int
    bytes_max: int
    block_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One domain as it stands in its XML."""

    vcpus: int
    vcpus_max: int
    quota_microseconds: int
    """Of each vCPU in each period; -1: none."""
    period_microseconds: int
    cpu_shares: int
    boot_bytes: int
    """Memory it always had: without what is plugged."""
    disks: tuple[str, ...]
    """Target names of disks that can be written."""
    disk_bytes_per_second: float
    """Read and written in all, as its disks are limited; infinite where one is not."""
    taps: tuple[str, ...]
    network_bytes_per_second: float
    """The larger way, as its interfaces are limited; infinite where one is not."""
    has_balloon: bool
    balloon_period_seconds: int
    """0: its statistics stand still."""
    plugged: tuple[Plugged, ...]
    policy: Policy
    is_emulated: bool
    """Not on KVM."""
    has_quota: bool = False
    """Whether this hypervisor limits vCPUs; not in the XML."""


def described(xml: str) -> Described:
    """Return what a live domain's XML says.

    Raises:
        ValueError: it is no domain.

    """
    try:
        domain = ET.fromstring(xml)  # noqa: S314 - libvirt made it; expat bounds what entities expand to
    except ET.ParseError as error:
        raise ValueError(f"libvirt's XML of a domain can't be read: {error}") from error
    vcpu = domain.find("vcpu")
    vcpus_max = int((vcpu.text if vcpu is not None else None) or 1)
    balloon = domain.find("devices/memballoon")
    has_balloon = balloon is not None and balloon.get("model", "none") != "none"
    period = domain.find("devices/memballoon/stats")
    plugged = tuple(_plugged(one) for one in domain.findall("devices/memory") if _is_plugged(one))
    disks = [disk for disk in domain.findall("devices/disk") if _can_be_limited(disk)]
    interfaces = domain.findall("devices/interface")
    return Described(
        vcpus=int((vcpu.get("current") if vcpu is not None else None) or vcpus_max),
        vcpus_max=vcpus_max,
        quota_microseconds=_number(domain, "cputune/quota", NO_QUOTA),
        period_microseconds=_number(domain, "cputune/period", PERIOD_MICROSECONDS),
        cpu_shares=_number(domain, "cputune/shares", SHARES),
        boot_bytes=_bytes(domain.find("memory")) - sum(one.bytes_max for one in plugged),
        disks=tuple(_target(disk) for disk in disks),
        disk_bytes_per_second=sum(_disk_limit(disk) for disk in disks) if disks else float("inf"),
        taps=tuple(_target(one) for one in interfaces if one.get("type") in TAPS and _target(one)),
        network_bytes_per_second=sum(map(_network_limit, interfaces)) if interfaces else float("inf"),
        has_balloon=has_balloon,
        balloon_period_seconds=int(period.get("period", "0")) if period is not None else 0,
        plugged=plugged,
        policy=policy_of(domain),
        is_emulated=domain.get("type") == "qemu",
    )


def _number(element: Element, path: str, otherwise: int) -> int:
    return int(element.findtext(path) or otherwise)


def _bytes(element: Element | None) -> int:
    """Return an amount of memory; libvirt's unit is KiB where none is named."""
    if element is None or not element.text:
        return 0
    unit = element.get("unit", "KiB")
    return int(element.text) * (UNITS | UNITS_LARGE).get(unit, 1024)


def _is_plugged(memory: Element) -> bool:
    return memory.get("model") == "virtio-mem" and memory.find("alias") is not None


def _plugged(memory: Element) -> Plugged:
    alias = memory.find("alias")
    assert alias is not None, "only live devices, which have an alias, are asked"
    return Plugged(
        alias=alias.get("name", ""),
        bytes_now=_bytes(memory.find("target/current")),
        bytes_max=_bytes(memory.find("target/size")),
        block_bytes=_bytes(memory.find("target/block")) or 2**21,
    )


def _can_be_limited(disk: Element) -> bool:
    return disk.get("device", "disk") == "disk" and disk.find("readonly") is None and bool(_target(disk))


def _target(device: Element) -> str:
    target = device.find("target")
    return "" if target is None else target.get("dev", "")


def _disk_limit(disk: Element) -> float:
    total = _number(disk, "iotune/total_bytes_sec", 0)
    ways = _number(disk, "iotune/read_bytes_sec", 0), _number(disk, "iotune/write_bytes_sec", 0)
    return float(total or (sum(ways) if all(ways) else 0)) or float("inf")


def _network_limit(interface: Element) -> float:
    """Return the larger way's limit: libvirt's averages are kilobytes a second."""
    ways = []
    for way in ("inbound", "outbound"):
        bandwidth = interface.find(f"bandwidth/{way}")
        ways.append(1000.0 * int(bandwidth.get("average", "0")) if bandwidth is not None else 0.0)
    return max(ways) if all(ways) else float("inf")
