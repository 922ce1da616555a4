"""Which cgroups are workloads: each counted once, with everything below it.

Use is accounted hierarchically, so of two cgroups one above the other only the upper one may be a workload.
Those that only sort others (slices, and folders that hold no process themselves) are passed through.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
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
    last = name.rpartition("/")[2]
    return any(fnmatchcase(name, glob) or fnmatchcase(last, glob) for glob in globs)


def find_cgroups(hierarchy: Hierarchy, chosen: Sequence[str] = ()) -> list[Cgroup]:
    """Return the workloads, by path.

    Without ``chosen``: services, scopes (VMs, containers), user slices and whatever else holds processes,
    as far as their CPU is accounted or limited. With it: the uppermost cgroups whose path or name matches,
    empty or not, of CPU and memory.
    """
    found: dict[str, Cgroup] = {}
    if not chosen:
        # Version 1 keeps accounts and limits apart: who is limited is a workload, accounted for or not.
        for mount in _apart(hierarchy.cpu, hierarchy.usage):
            found |= {cgroup.path: cgroup for cgroup in _by_level(mount)}
        return [found[path] for path in sorted(found)]
    for mount in _apart(hierarchy.usage, hierarchy.cpu, hierarchy.memory):
        for path in _below(mount, lambda path: matches(path, chosen)):
            if matches(path, chosen) and found.get(path, _NONE).pid is None:
                found[path] = Cgroup(path=path, pid=first_pid(mount.of(path)))
    return [found[path] for path in sorted(found)]


def _apart(*mounts: Mount | None) -> list[Mount]:
    """Return the mounts there are, each folder once."""
    return list({mount.folder: mount for mount in mounts if mount is not None}.values())


_NONE: Final = Cgroup(path="", pid=None)


def _by_level(mount: Mount) -> list[Cgroup]:
    """Return the workload-level cgroups that hold processes."""
    pids: dict[str, int] = {}

    def is_workload(path: str) -> bool:
        whole = _is_whole(path)
        pid = first_pid(mount.of(path)) if whole else None
        if not whole and not path.endswith(".slice"):
            pid = _own_pid(mount.of(path))
        if pid is not None:
            pids[path] = pid
        return whole or pid is not None

    for _ in _below(mount, is_workload):
        pass
    return [Cgroup(path=path, pid=pid) for path, pid in pids.items()]


def _is_whole(path: str) -> bool:
    last = path.rpartition("/")[2]
    return last.endswith(WHOLE) or USER_SLICE.fullmatch(last) is not None


def _below(mount: Mount, ends: Callable[[str], bool]) -> Iterator[str]:
    """Yield the paths below a mount, each before what is below it; stop below those that ``ends`` names."""
    waiting = [(path, 1) for path in reversed(_folders(mount.folder, ""))]
    looked_at = 0
    while waiting and looked_at < FOLDERS_MAX:
        path, depth = waiting.pop()
        looked_at += 1
        yield path
        if depth < DEPTH_MAX and not ends(path):
            waiting += [(below, depth + 1) for below in reversed(_folders(mount.folder, path))]


def _folders(top: str, path: str) -> list[str]:
    """Return the paths of the folders in one folder, by name."""
    folder = f"{top}/{path}" if path else top
    prefix = f"{path}/" if path else ""
    try:
        # A cgroup's folder lists dozens of files: where the count of links says "leaf", don't.
        if os.stat(folder).st_nlink == LEAF_LINKS:  # noqa: PTH116 - hundreds a read
            return []
        with os.scandir(folder) as entries:
            return sorted(prefix + entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def first_pid(folder: str) -> int | None:
    """Return a process that lives in a cgroup or below it; None where none does."""
    own = _own_pid(folder)
    if own is not None:
        return own
    top = Mount(folder=folder, version=0)
    for path in _below(top, lambda _: False):
        below = _own_pid(top.of(path))
        if below is not None:
            return below
    return None


def _own_pid(folder: str) -> int | None:
    """Return a process that lives in the cgroup itself."""
    first = (read_text(f"{folder}/cgroup.procs") or "").partition("\n")[0]
    return int(first) if first.isdecimal() and first != "0" else None
