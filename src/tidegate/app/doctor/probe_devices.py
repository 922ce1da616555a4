"""Reads PCI functions with their links, network interfaces, GPUs, and what shapes traffic."""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.app.doctor.pcie import LinkEnd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType

    from tidegate.app.doctor.outside import Outside

PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
REPRESENTOR = re.compile(r"(c\d+)?pf\d+((vf|sf)\d+|hpf)?")
"""Port names that switchdev drivers give to a VM's end of the card, which is no NIC of the server."""
INTERFACES_MAX = 64
"""Physical NICs looked at; what a server has beyond that is not told."""
GPUS_MAX = 64
CONFIG_BYTES_MAX = 4 << 20
"""Of the text a kernel was built from; a distribution's is a quarter of a megabyte."""
SCHEDULERS = ("tbf", "netem")
"""Queueing disciplines: tbf limits a rate; netem delays and loses, for tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PciSeen:
    """One PCI function and the links from it up to the processor."""

    address: str
    vendor: int
    device: int
    device_class: int
    """Base class and subclass."""
    driver: str
    is_virtual: bool
    """A virtual function: a part of another one."""
    ends: tuple[LinkEnd, ...]
    """The function's own end first, then each bridge's on the way to the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceSeen:
    """One NIC that is there in metal, or that a hypervisor shows as such."""

    name: str
    driver: str
    address: str
    """Of its PCI function; empty if it sits on no PCI bus."""
    bytes_per_second: float | None
    """Line rate; None where the link is down or the driver does not say."""
    is_up: bool
    virtual_functions: int
    virtual_functions_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as NVML tells it."""

    name: str
    memory_bytes: int
    slices: str
    """Whether it is in MIG mode: on, off, or no (it can't)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpusSeen:
    """What NVML says."""

    has_binding: bool
    problem: str
    driver: str
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSeen:
    """The way to a BlueField without a network."""

    rshim: tuple[str, ...]
    tmfifo: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapingSeen:
    """What can limit or isolate traffic."""

    tc_version: str
    """Empty without tc."""
    schedulers: Mapping[str, bool | None]
    """By name of the queueing discipline; None where nobody says."""
    has_namespaces: bool
    has_made_namespace: bool
    """An empty network namespace was made, and ended with the program in it."""
    is_root: bool


def read_pci(outside: Outside) -> tuple[PciSeen, ...]:
    """Read every PCI function, by address."""
    return tuple(
        _read_function(outside, address)
        for address in outside.names("/sys/bus/pci/devices")
        if PCI_ADDRESS.fullmatch(address)
    )


def _read_function(outside: Outside, address: str) -> PciSeen:
    folder = f"/sys/bus/pci/devices/{address}"

    def number(name: str) -> int:
        try:
            return int(outside.text(f"{folder}/{name}") or "0", 16)
        except ValueError:
            return 0

    return PciSeen(
        address=address,
        vendor=number("vendor"),
        device=number("device"),
        device_class=number("class") >> 8,
        driver=_last(outside.link(f"{folder}/driver")),
        is_virtual=outside.exists(f"{folder}/physfn"),
        ends=tuple(
            LinkEnd(
                address=end,
                current_speed=_text(outside, end, "current_link_speed"),
                max_speed=_text(outside, end, "max_link_speed"),
                current_width=_text(outside, end, "current_link_width"),
                max_width=_text(outside, end, "max_link_width"),
            )
            for end in pci_addresses(outside.resolved(folder))
        ),
    )


def pci_addresses(folder: Path) -> tuple[str, ...]:
    """Return the functions that a device's real folder lies in, the nearest first."""
    return tuple(part for part in reversed(folder.parts) if PCI_ADDRESS.fullmatch(part))


def read_interfaces(outside: Outside) -> tuple[InterfaceSeen, ...]:
    """Read the physical NICs: not bridges, tunnels, a NIC's parts or the server's ends of VMs' ports."""
    return tuple(
        _read_interface(outside, name)
        for name in outside.names("/sys/class/net")
        if outside.exists(f"/sys/class/net/{name}/device")
        and not outside.exists(f"/sys/class/net/{name}/device/physfn")
        and not name.startswith("tmfifo_net")
        and not REPRESENTOR.fullmatch(outside.text(f"/sys/class/net/{name}/phys_port_name") or "")
    )[:INTERFACES_MAX]


def _read_interface(outside: Outside, name: str) -> InterfaceSeen:
    folder = f"/sys/class/net/{name}"
    megabits = _number(outside.text(f"{folder}/speed"))
    return InterfaceSeen(
        name=name,
        driver=_last(outside.link(f"{folder}/device/driver")),
        address="".join(pci_addresses(outside.resolved(f"{folder}/device"))[:1]),
        # Megabits a second, decimal (sysfs-class-net); -1 or 0 where unknown.
        bytes_per_second=megabits * 1e6 / 8 if megabits > 0 else None,
        is_up=outside.text(f"{folder}/operstate") == "up",
        virtual_functions=max(0, _number(outside.text(f"{folder}/device/sriov_numvfs"))),
        virtual_functions_max=max(0, _number(outside.text(f"{folder}/device/sriov_totalvfs"))),
    )


def read_transport(outside: Outside) -> TransportSeen:
    """Read which ends of a BlueField's own channel there are."""
    return TransportSeen(
        rshim=tuple(name for name in outside.names("/dev") if re.fullmatch(r"rshim\d+", name)),
        tmfifo=tuple(name for name in outside.names("/sys/class/net") if name.startswith("tmfifo_net")),
    )


def read_gpus(outside: Outside) -> GpusSeen:
    """Ask NVML, if its binding and its library are here."""
    if not outside.has_module("pynvml"):
        return GpusSeen(has_binding=False, problem="", driver="", gpus=())
    try:
        nvml = outside.load_module("pynvml")
    except ImportError as error:
        return GpusSeen(has_binding=False, problem=str(error), driver="", gpus=())
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return GpusSeen(has_binding=True, problem=str(error), driver="", gpus=())
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(row) for row in range(nvml.nvmlDeviceGetCount())]
        gpus = tuple(
            Gpu(
                name=str(nvml.nvmlDeviceGetName(handle)),
                memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                slices=_slices(nvml, handle),
            )
            for handle in handles[:GPUS_MAX]
        )
        return GpusSeen(
            has_binding=True, problem="", driver=str(nvml.nvmlSystemGetDriverVersion()), gpus=gpus
        )
    except nvml.NVMLError as error:
        return GpusSeen(has_binding=True, problem=str(error), driver="", gpus=())
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _slices(nvml: ModuleType, handle: object) -> str:
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        return "no"
    return "on" if current else "off"


def read_shaping(outside: Outside) -> ShapingSeen:
    """Read whether traffic can be limited; as root, makes a network namespace that ends at once."""
    return ShapingSeen(
        tc_version=(outside.said("tc", "-V") or "") if outside.program("tc") else "",
        schedulers={name: _has_scheduler(outside, name) for name in SCHEDULERS},
        has_namespaces=outside.exists("/proc/self/ns/net"),
        has_made_namespace=outside.is_root and outside.said("unshare", "--net", "true") is not None,
        is_root=outside.is_root,
    )


def _has_scheduler(outside: Outside, name: str) -> bool | None:
    """Return whether the kernel has a queueing discipline, built in or as a module; None if unknown."""
    if outside.exists(f"/sys/module/sch_{name}"):
        return True
    release = outside.text("/proc/sys/kernel/osrelease") or outside.release
    config = _kernel_config(outside, release)
    if config is not None:
        return re.search(rf"^CONFIG_NET_SCH_{name.upper()}=[ym]$", config, re.MULTILINE) is not None
    lists = [outside.text(f"/lib/modules/{release}/modules.{kind}") for kind in ("builtin", "dep")]
    known = [text for text in lists if text is not None]
    return any(f"/sch_{name}.ko" in text for text in known) if known else None


def _kernel_config(outside: Outside, release: str) -> str | None:
    """Return the text the kernel was built from, if it is told anywhere."""
    packed = outside.raw("/proc/config.gz")
    if packed is not None:
        with suppress(zlib.error):
            unpacked = zlib.decompressobj(wbits=31).decompress(packed, CONFIG_BYTES_MAX)
            return unpacked.decode("utf-8", "replace")
    return outside.text(f"/boot/config-{release}")


def _text(outside: Outside, address: str, name: str) -> str:
    return outside.text(f"/sys/bus/pci/devices/{address}/{name}") or ""


def _number(text: str | None) -> int:
    try:
        return int(text or "-1")
    except ValueError:
        return -1


def _last(link: str) -> str:
    return link.rpartition("/")[2]
