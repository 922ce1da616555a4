"""Which cgroups are workloads: each counted once, with everything below it.

Use is accounted hierarchically, so of two cgroups one above the other only the upper one may be a workload.
Those that only sort others (slices, and folders that hold no process themselves) are passed through.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from tidegate.drivers.cgroups.hierarchy import Mount
from tidegate.drivers.cgroups.kernel_files import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.drivers.cgroups.hierarchy import Hierarchy

FOLDERS_MAX: Final = 8192
"""Cgroups looked at in one search; the rest of a larger tree is left out."""
DEPTH_MAX: Final = 16
"""Levels below the mount that are looked at; systemd and Kubernetes together use six."""
WHOLE: Final = (".service", ".scope", ".libvirt-qemu", ".libvirt-lxc")
"""Ends of names that are workloads whatever stands below them: systemd's units, libvirt's own machines."""
USER_SLICE: Final = re.compile(r"user-\d+\.slice")
MATCHES_MAX: Final = 16384
"""Answers remembered to whether a glob matches a name."""
LEAF_LINKS: Final = 2
"""Links of a cgroup's folder that has no folder below: its name and its own dot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """One workload-level cgroup."""

    path: str
    """Below the mount of each controller, without a slash in front."""
    pid: int | None
    """One process that lives in it, to find its network namespace by; None while it is empty."""


def identifier(words: str) -> int:
    """Return 63 bits that depend on the words alone, so that they outlive a restart."""
    digest = hashlib.blake2b(words.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether a glob matches the whole path or its last part; `*` also stands for slashes."""
    return _matches(name, tuple(globs))


@functools.lru_cache(maxsize=MATCHES_MAX)
def _matches(name: str, globs: tuple[str, ...]) -> bool:
    last = name.rpartition("/")[2]
    return any(fnmatchcase(name, glob) or fnmatchcase(last, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class Trail:
    """What a search relied on: as long as it holds, another search would find the same cgroups."""

    links: dict[str, float] = field(default_factory=dict)
    """By folder looked into: its count of links, which is that of the folders in it."""
    empty: dict[str, Callable[[str], int | None]] = field(default_factory=dict)
    """By folder that nobody was in: how to see whether somebody is."""

    def holds(self) -> bool:
        """Whether as many folders are there as were, and the empty still are.

        A folder that took another's place is not noticed here; that the other is gone is, when it is read.
        """
        return all(_links(folder) == links for folder, links in self.links.items()) and not any(
            pid_in(folder) is not None for folder, pid_in in self.empty.items()
        )

    def pid(self, folder: str, pid_in: Callable[[str], int | None]) -> int | None:
        """Return who is in a folder, and note where nobody is."""
        pid = pid_in(folder)
        if pid is None:
            self.empty[folder] = pid_in
        return pid


def find_cgroups(
    hierarchy: Hierarchy, chosen: Sequence[str] = (), *, trail: Trail | None = None
) -> list[Cgroup]:
    """Return the workloads, by path.

    Without ``chosen``: services, scopes (VMs, containers), user slices and whatever else holds processes,
    as far as their CPU is accounted or limited. With it: the uppermost cgroups whose path or name matches,
    empty or not, of CPU and memory. What it relied on is noted in ``trail``.
    """
    trail = trail or Trail()
    found: dict[str, Cgroup] = {}
    if not chosen:
        # Version 1 keeps accounts and limits apart: who is limited is a workload, accounted for or not.
        for mount in _apart(hierarchy.cpu, hierarchy.usage):
            found |= {cgroup.path: cgroup for cgroup in _by_level(mount, trail)}
        return [found[path] for path in sorted(found)]
    for mount in _apart(hierarchy.usage, hierarchy.cpu, hierarchy.memory):
        for path in _below(mount, lambda path: matches(path, chosen), trail):
            if matches(path, chosen) and found.get(path, _NONE).pid is None:
                found[path] = Cgroup(path=path, pid=trail.pid(mount.of(path), first_pid))
    return [found[path] for path in sorted(found)]


def _apart(*mounts: Mount | None) -> list[Mount]:
    """Return the mounts there are, each folder once."""
    return list({mount.folder: mount for mount in mounts if mount is not None}.values())


_NONE: Final = Cgroup(path="", pid=None)


def _by_level(mount: Mount, trail: Trail) -> list[Cgroup]:
    """Return the workload-level cgroups that hold processes."""
    pids: dict[str, int] = {}

    def is_workload(path: str) -> bool:
        whole = _is_whole(path)
        pid = trail.pid(mount.of(path), first_pid) if whole else None
        if not whole and not path.endswith(".slice"):
            pid = trail.pid(mount.of(path), _own_pid)
        if pid is not None:
            pids[path] = pid
        return whole or pid is not None

    for _ in _below(mount, is_workload, trail):
        pass
    return [Cgroup(path=path, pid=pid) for path, pid in pids.items()]


def _is_whole(path: str) -> bool:
    last = path.rpartition("/")[2]
    return last.endswith(WHOLE) or USER_SLICE.fullmatch(last) is not None


def _below(mount: Mount, ends: Callable[[str], bool], trail: Trail) -> Iterator[str]:
    """Yield the paths below a mount, each before what is below it; stop below those that ``ends`` names."""
    waiting = [(path, 1) for path in reversed(_folders(mount.folder, "", trail))]
    looked_at = 0
    while waiting and looked_at < FOLDERS_MAX:
        path, depth = waiting.pop()
        looked_at += 1
        yield path
        if depth < DEPTH_MAX and not ends(path):
            waiting += [(below, depth + 1) for below in reversed(_folders(mount.folder, path, trail))]


def _folders(top: str, path: str, trail: Trail) -> list[str]:
    """Return the paths of the folders in one folder, by name."""
    folder = f"{top}/{path}" if path else top
    prefix = f"{path}/" if path else ""
    links = trail.links[folder] = _links(folder)
    # A cgroup's folder lists dozens of files: where the count of links says "leaf", don't.
    if links == LEAF_LINKS:
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(prefix + entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _links(folder: str) -> float:
    """Return a folder's count of links; never the same where it says nothing about the folders in it."""
    try:
        links = os.stat(folder).st_nlink  # noqa: PTH116 - hundreds a read
    except OSError:
        return -1
    return links if links >= LEAF_LINKS else math.nan


def first_pid(folder: str) -> int | None:
    """Return a process that lives in a cgroup or below it; None where none does."""
    own = _own_pid(folder)
    if own is not None:
        return own
    top = Mount(folder=folder, version=0)
    for path in _below(top, lambda _: False, Trail()):
        below = _own_pid(top.of(path))
        if below is not None:
            return below
    return None


def _own_pid(folder: str) -> int | None:
    """Return a process that lives in the cgroup itself."""
    first = (read_text(f"{folder}/cgroup.procs") or "").partition("\n")[0]
    return int(first) if first.isdecimal() and first != "0" else None
