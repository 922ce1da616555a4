"""Where this machine's cgroups are: version 1, version 2, or some controllers of each.

Everything else takes a `Hierarchy` and never asks which version it runs on except to know a file's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.drivers.cgroups.kernel_files import read_text

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One controller: the folder its cgroups start at, and the version of their files."""

    folder: str
    version: int

    def of(self, path: str) -> str:
        """Return the folder of a cgroup, given by its path below the mount; "" is the top."""
        return f"{self.folder}/{path}" if path else self.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """The controllers that Tidegate reads or sets; None where the machine has none.

    On version 1, ``usage`` is `cpuacct` and ``cpu`` is `cpu`; on version 2 they are one. ``pressure`` is the
    version 2 tree, which may be mounted beside version 1 just for it.
    """

    cpu: Mount | None = None
    usage: Mount | None = None
    memory: Mount | None = None
    disk: Mount | None = None
    pids: Mount | None = None
    freezer: Mount | None = None
    """Of version 1: in version 2 every cgroup can be frozen."""
    pressure: Mount | None = None

    @property
    def measures(self) -> bool:
        """Whether CPU use is accounted or limited by cgroup: without it, process groups say more."""
        return self.usage is not None or self.cpu is not None


def find_hierarchy(root: Path) -> Hierarchy:
    """Return where cgroups are mounted, as ``root``/proc/self/mounts says; empty where it says nothing.

    ``root`` is the top of the file system, or of a tree that stands for one.
    """
    version_1: dict[str, Mount] = {}
    version_2: Mount | None = None
    for line in (read_text(f"{root}/proc/self/mounts") or "").splitlines():
        fields = line.split(" ")
        if len(fields) < 4 or fields[2] not in {"cgroup", "cgroup2"}:
            continue
        folder = f"{root}".rstrip("/") + _unescaped(fields[1])
        if fields[2] == "cgroup2":
            version_2 = version_2 or Mount(folder=folder, version=2)
            continue
        for option in fields[3].split(","):
            version_1.setdefault(option, Mount(folder=folder, version=1))
    offered = _controllers(version_2)
    cpu = version_1.get("cpu") or offered.get("cpu")
    return Hierarchy(
        cpu=cpu,
        usage=version_1.get("cpuacct") or offered.get("cpu"),
        memory=version_1.get("memory") or offered.get("memory"),
        disk=version_1.get("blkio") or offered.get("io"),
        pids=version_1.get("pids") or offered.get("pids"),
        freezer=version_1.get("freezer"),
        pressure=version_2,
    )


def _controllers(mount: Mount | None) -> dict[str, Mount]:
    """The controllers that a version 2 tree offers; one beside version 1 may offer none."""
    if mount is None:
        return {}
    names = (read_text(f"{mount.folder}/cgroup.controllers") or "").split()
    return dict.fromkeys(names, mount)


def _unescaped(folder: str) -> str:
    r"""The kernel writes a space in a mount point as \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), folder)
