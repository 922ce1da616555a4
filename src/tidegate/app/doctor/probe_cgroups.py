"""Reads which control groups there are, and tries their limits on an empty group of our own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.app.doctor.outside import Outside


class Trial(StrEnum):
    """What became of trying a limit."""

    TAKEN = "taken"
    ALLOWED = "allowed"
    """Not tried, but the rights are there."""
    REFUSED = "refused"
    ABSENT = "absent"
    """No such file: the controller is not there, or not handed down to groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of a group: what it is called, in which controller, and a value that limits nothing."""

    controller: str
    file: str
    harmless: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSeen:
    """One limit, where it was looked for, and what it did."""

    resource: str
    limit: Limit
    is_v2: bool
    has_controller: bool
    trial: Trial


LIMITS_V2 = {
    "cpu": Limit(controller="cpu", file="cpu.max", harmless="max"),
    "memory": Limit(controller="memory", file="memory.high", harmless="max"),
    "storage": Limit(controller="io", file="io.max", harmless=""),
}
LIMITS_V1 = {
    "cpu": Limit(controller="cpu", file="cpu.cfs_quota_us", harmless="-1"),
    "memory": Limit(controller="memory", file="memory.soft_limit_in_bytes", harmless="-1"),
    "storage": Limit(controller="blkio", file="blkio.throttle.read_bps_device", harmless=""),
}
"""By resource; io limits name a disk, so that no value limits nothing: an empty one writes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupsSeen:
    """The hierarchies that are mounted, and what their limits did."""

    version: str
    """v2, v1, hybrid, or nothing."""
    controllers_v2: tuple[str, ...]
    controllers_v1: tuple[str, ...]
    """A controller is in one of the two: hybrid machines split them."""
    limits: tuple[LimitSeen, ...]
    pressure: tuple[str, ...]
    """Resources whose stall information (PSI) the kernel tells for the whole machine."""
    has_group_pressure: bool
    """Whether it does so per group too, which only v2 can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """Where the hierarchies are mounted."""

    unified: str
    """Of v2, or nothing."""
    by_controller: Mapping[str, str]
    """Of v1."""


def read_cgroups(outside: Outside) -> CgroupsSeen:
    """Read the hierarchies and try their limits; leaves them as they were."""
    mounts = mounts_of(outside.text("/proc/self/mountinfo") or "")
    in_v2 = (outside.text(f"{mounts.unified}/cgroup.controllers") or "").split() if mounts.unified else []
    own = _own_groups(outside.text("/proc/self/cgroup") or "")
    return CgroupsSeen(
        version=_version(mounts),
        controllers_v2=tuple(sorted(in_v2)),
        controllers_v1=tuple(sorted(mounts.by_controller)),
        limits=tuple(_limit_seen(outside, mounts, in_v2, own, resource) for resource in LIMITS_V2),
        pressure=tuple(
            resource for resource in ("cpu", "memory", "io") if outside.text(f"/proc/pressure/{resource}")
        ),
        has_group_pressure=bool(mounts.unified and outside.text(f"{mounts.unified}/cpu.pressure")),
    )


def _limit_seen(
    outside: Outside, mounts: Mounts, in_v2: list[str], own: Mapping[str, str], resource: str
) -> LimitSeen:
    """Look for a limit in the hierarchy that has its controller, in v2 if neither has."""
    old, new = LIMITS_V1[resource], LIMITS_V2[resource]
    is_v2 = new.controller in in_v2 or old.controller not in mounts.by_controller
    limit = new if is_v2 else old
    mounted = mounts.unified if is_v2 else mounts.by_controller[old.controller]
    has_controller = not is_v2 or new.controller in in_v2
    group = own.get("" if is_v2 else limit.controller, "/")
    return LimitSeen(
        resource=resource,
        limit=limit,
        is_v2=is_v2,
        has_controller=has_controller,
        trial=_trial(outside, mounted, group, limit) if has_controller else Trial.ABSENT,
    )


def mounts_of(mountinfo: str) -> Mounts:
    """Return the hierarchies that a text of /proc/self/mountinfo names."""
    unified = ""
    by_controller: dict[str, str] = {}
    for line in mountinfo.splitlines():
        mounted, _, kind = line.partition(" - ")
        words, point = kind.split(), "".join(mounted.split()[4:5])
        if words[:1] == ["cgroup2"]:
            unified = unified or point
        elif words[:1] == ["cgroup"]:
            options = [word for word in words[-1].split(",") if word not in {"rw", "ro", "xattr"}]
            by_controller |= {word: point for word in options if "=" not in word}
    return Mounts(unified=unified, by_controller=by_controller)


def _version(mounts: Mounts) -> str:
    match bool(mounts.unified), bool(mounts.by_controller):
        case True, True:
            return "hybrid"
        case True, False:
            return "v2"
        case False, True:
            return "v1"
        case _:
            return ""


def _own_groups(text: str) -> dict[str, str]:
    """Return the group of this process by controller; that of v2 under the empty name."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        groups |= {"" if number == "0" else name: path for name in names.split(",")}
    return groups


def _trial(outside: Outside, mounted: str, own: str, limit: Limit) -> Trial:
    """Try a limit on an empty group of our own if root, else look at the rights only."""
    if not outside.is_root:
        # A user's own groups are handed down (delegated) by systemd, if anybody did.
        file = f"{mounted}{own}/{limit.file}"
        if not outside.exists(file):
            return Trial.ABSENT
        return (
            Trial.ALLOWED if outside.writable(f"{mounted}{own}") and outside.writable(file) else Trial.REFUSED
        )
    with outside.empty_group(mounted) as group:
        if group is None:
            return Trial.REFUSED
        if not outside.exists(f"{group}/{limit.file}"):
            return Trial.ABSENT
        if not limit.harmless:
            return Trial.ALLOWED if outside.writable(f"{group}/{limit.file}") else Trial.REFUSED
        return Trial.TAKEN if outside.takes(f"{group}/{limit.file}", limit.harmless) else Trial.REFUSED
