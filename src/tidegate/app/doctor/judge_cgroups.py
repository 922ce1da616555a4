"""Says what control groups here can limit. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from tidegate.app.doctor.finding import Finding, Need, State
from tidegate.app.doctor.probe_cgroups import Trial

if TYPE_CHECKING:
    from tidegate.app.doctor.probe_cgroups import CgroupsSeen, LimitSeen

GROUP = "control groups"
TO_V2 = "Boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all without systemd)."
LABELS = {"cpu": "CPU quota", "memory": "memory soft limit", "storage": "storage rate limit"}
USES = {
    "cpu": "giving a VM fewer or more cores than it was sold, at once",
    "memory": "taking memory back gently, without killing anything",
    "storage": "sharing disk bandwidth between VMs",
}


def judge_cgroups(seen: CgroupsSeen) -> tuple[Finding, ...]:
    """Judge version, limits and stall information."""
    return (_judge_version(seen), *map(_judge_limit, seen.limits), *_judge_pressure(seen))


def _judge_version(seen: CgroupsSeen) -> Finding:
    old, new = (", ".join(names) or "nothing" for names in (seen.controllers_v1, seen.controllers_v2))
    match seen.version:
        case "v2":
            state, text, get = State.WORKS, f"v2 with {new}", ""
        case "":
            state, text = State.MISSING, "none mounted"
            get = "Mount it: mount -t cgroup2 none /sys/fs/cgroup."
        case "hybrid":
            state, text, get = State.LIMITED, f"hybrid: v1 with {old}; v2 with {new}", TO_V2
        case version:
            state, text, get = State.LIMITED, f"{version} with {old}", TO_V2
    return Finding(
        name="cgroup version",
        group=GROUP,
        state=state,
        seen=text,
        good_for="limits on VMs; v2 adds memory that is reclaimed gently, and stalls told per group",
        need=Need.ACTING if state is State.MISSING else Need.MORE,
        get=get,
    )


def _judge_limit(seen: LimitSeen) -> Finding:
    file = seen.limit.file
    get = ""
    match seen.trial:
        case Trial.TAKEN:
            state, text = State.WORKS, f"{file} takes values, tried on an empty group"
        case Trial.ALLOWED:
            state, text = State.WORKS, f"{file} can be written (not tried)"
        case Trial.REFUSED:
            state, text = State.MISSING, f"{file} can't be written by this user"
            get = "Run as root where control groups are mounted for writing, or delegate one (Delegate=yes)."
        case Trial.ABSENT:
            state, text, get = State.MISSING, *_absent(seen)
        case _:
            assert_never(seen.trial)
    if seen.resource == "memory" and not seen.is_v2 and state is State.WORKS:
        state = State.LIMITED
        text += "; v1 reclaims only when the whole machine is short"
        get = f"Use cgroup v2, whose memory.high acts at once: {TO_V2[0].lower()}{TO_V2[1:]}"
    return Finding(
        name=LABELS[seen.resource],
        group=GROUP,
        state=state,
        seen=text,
        good_for=USES[seen.resource],
        need=Need.MORE if seen.resource == "storage" or state is State.LIMITED else Need.ACTING,
        get=get,
    )


def _absent(seen: LimitSeen) -> tuple[str, str]:
    """Return what to say of a limit that is not there, and how to get it."""
    controller, file = seen.limit.controller, seen.limit.file
    if not seen.has_controller:
        get = f"Boot without cgroup_disable={controller}, on a kernel that has the controller {controller}."
        return f"no controller {controller}", get
    if seen.is_v2:
        get = f"As root: echo +{controller} > /sys/fs/cgroup/cgroup.subtree_control."
        return f"no {file}: the controller {controller} isn't handed to groups", get
    return f"the controller {controller} has no {file}", f"Use cgroup v2: {TO_V2[0].lower()}{TO_V2[1:]}"


def _judge_pressure(seen: CgroupsSeen) -> tuple[Finding, ...]:
    resources = ", ".join(seen.pressure)
    return (
        Finding(
            name="stall information",
            group=GROUP,
            state=State.WORKS if seen.pressure else State.MISSING,
            seen=f"PSI of {resources}" if seen.pressure else "the kernel tells none (PSI)",
            good_for="seeing that VMs wait although nothing looks full",
            need=Need.MORE,
            get="" if seen.pressure else "Boot with psi=1, on kernel 4.20 or later.",
        ),
        Finding(
            name="stalls per group",
            group=GROUP,
            state=State.WORKS if seen.has_group_pressure else State.MISSING,
            seen="cgroup v2 tells them" if seen.has_group_pressure else "not told",
            good_for="seeing which VM waits, so that only it grows",
            need=Need.MORE,
            get="" if seen.has_group_pressure else "Use cgroup v2 on a kernel booted with psi=1.",
        ),
    )
