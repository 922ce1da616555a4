"""Says what the machine, its rights, memory, clock and state folder are good for. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tidegate.app.doctor.amounts import bytes_text
from tidegate.app.doctor.finding import Finding, Need, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.app.doctor.probe_machine import (
        ClockSeen,
        MemorySeen,
        ProcessesSeen,
        StateSeen,
        SystemSeen,
    )

MACHINE = "machine"
RIGHTS = "rights"
EXTRAS_GROUP = "extras of Tidegate"

MEMORY_BYTES_MIN = 1 << 30
"""What an agent or a device has to itself on a small card."""
STATE_BYTES_MIN = 1 << 30
"""Room for a day's journal and to spare."""
SLOW_CLOCKS = frozenset({"acpi_pm", "hpet", "jiffies", "pit", "refined-jiffies"})
"""Clock sources that take a microsecond or more a reading, or tick coarsely."""
EXTRA_USES = {
    "replay": "tidegate replay and trace: your own metrics archive, reports",
    "postgres": "journals of several cells in one PostgreSQL",
    "gpu": "reading NVIDIA GPUs",
    "snmp": "reading what passes the ports of switches",
}


def judge_system(seen: SystemSeen) -> tuple[Finding, ...]:
    """Judge kernel, Python and rights."""
    threads = f"{seen.blas} with threads: {seen.blas_threads}" if seen.blas else "no BLAS named"
    return (
        Finding(
            name="operating system",
            group=MACHINE,
            state=State.WORKS if seen.is_linux else State.LIMITED,
            seen=f"{seen.name}, kernel {seen.kernel}, {seen.architecture}, {seen.cores} cores",
            good_for="hosts and cards run Linux; simulation, replay and console run on macOS too",
            need=Need.HARDWARE,
            get=""
            if seen.is_linux
            else "Run the agent and the device on a Linux host; simulation, replay and scores work here.",
        ),
        Finding(
            name="Python",
            group=MACHINE,
            state=State.WORKS,
            seen=f"{seen.python}, numpy {seen.numpy}, {threads} (a tick takes 1)",
            good_for="everything; a tick is array operations and slower on more than one thread",
            need=Need.RUNNING,
        ),
        Finding(
            name="systemd",
            group=MACHINE,
            state=State.WORKS if seen.has_systemd else State.MISSING,
            seen="running" if seen.has_systemd else "not running as the first process",
            good_for="starting the agent with the machine, and groups of VMs (machine.slice)",
            need=Need.MORE,
            get=""
            if seen.has_systemd
            else "Boot with systemd, or start the agent from what starts your services.",
        ),
        _judge_rights(seen),
    )


def _judge_rights(seen: SystemSeen) -> Finding:
    lacks = ", ".join(seen.capabilities_missing)
    if not seen.is_root:
        state, text = State.MISSING, "not root: observing works, acting does not"
        get = "Run the agent as root (sudo tidegate ...); observing, replay and simulation need no rights."
    elif seen.is_container_root:
        state, text = State.LIMITED, "root in a user namespace only"
        get = "Run the agent outside the container, or in one without a user namespace."
    elif lacks:
        state, text = State.LIMITED, f"root without {lacks}"
        get = f"Give the agent's container or unit {lacks}."
    else:
        state, text, get = State.WORKS, "root, with all capabilities that acting needs", ""
    return Finding(
        name="root",
        group=RIGHTS,
        state=state,
        seen=text,
        good_for="acting: limits of CPU, memory, storage and network on VMs",
        need=Need.ACTING,
        get=get,
    )


def judge_processes(seen: ProcessesSeen) -> Finding:
    """Judge whether VMs' processes can be found."""
    if not seen.is_proc_there:
        state, text, get = State.MISSING, "no /proc", "Mount /proc."
    elif seen.hidepid:
        state, text = State.LIMITED, f"/proc is mounted with hidepid={seen.hidepid}"
        get = "Run the agent as root, or in the group that the mount option gid= of /proc names."
    elif seen.is_contained:
        state, text = State.LIMITED, "inside a container: only its own processes"
        get = "Run the agent outside the container, or with the host's process namespace (--pid=host)."
    else:
        state, text, get = State.WORKS, "all processes can be seen", ""
    return Finding(
        name="process visibility",
        group=RIGHTS,
        state=state,
        seen=text,
        good_for="finding QEMU's processes and what each used",
        need=Need.ACTING,
        get=get,
    )


def judge_memory(seen: MemorySeen) -> tuple[Finding, ...]:
    """Judge memory and swap."""
    total, available = seen.bytes_total, seen.bytes_available
    is_enough = total is not None and total >= MEMORY_BYTES_MIN
    text = "not told" if total is None else bytes_text(total)
    if available is not None:
        text += f", {bytes_text(available)} available"
    has_swap = bool(seen.swap_bytes_total)
    return (
        Finding(
            name="memory",
            group=MACHINE,
            state=State.WORKS if is_enough else State.LIMITED,
            seen=text,
            good_for="an agent or a device works in 1 GiB",
            need=Need.RUNNING,
            get="" if is_enough else "Give this machine 1 GiB of memory or more.",
        ),
        Finding(
            name="swap",
            group=MACHINE,
            state=State.WORKS if has_swap else State.MISSING,
            seen=bytes_text(seen.swap_bytes_total or 0) if has_swap else "none",
            good_for="taking memory back from a VM: without it only caches can be taken",
            need=Need.MORE,
            get="" if has_swap else "Add a swap file (mkswap, swapon), or compressed swap in memory (zram).",
        ),
    )


def judge_clock(seen: ClockSeen) -> Finding:
    """Judge whether the time can be true, and whether anybody keeps it."""
    told = f"{datetime.fromtimestamp(seen.now_seconds, tz=UTC):%Y-%m-%d %H:%M} UTC"
    source = f", source {seen.source}" if seen.source else ""
    if seen.now_seconds < seen.installed_seconds:
        state, text = State.MISSING, f"{told} is before Tidegate was installed"
        get = "Set the clock (timedatectl set-ntp true): profiles by time of day are wrong until then."
    elif seen.source in SLOW_CLOCKS:
        state, text = State.LIMITED, f"{told}{source}, which is slow to read"
        get = "Let the kernel use tsc or kvm-clock (clocksource= on its command line)."
    elif seen.is_synchronised or seen.has_daemon:
        by = "synchronised" if seen.is_synchronised else "a time daemon runs"
        state, text, get = State.WORKS, f"{told}{source}, {by}", ""
    else:
        state, text = State.LIMITED, f"{told}{source}, nothing seen that keeps it"
        get = "Start systemd-timesyncd or chrony, unless the hypervisor keeps this clock."
    return Finding(
        name="clock",
        group=MACHINE,
        state=state,
        seen=text,
        good_for="profiles by time of day, and expiry of decisions between host and card",
        need=Need.RUNNING if state is State.MISSING else Need.MORE,
        get=get,
    )


def judge_state(seen: StateSeen) -> Finding:
    """Judge where state is kept."""
    free = "unknown" if seen.bytes_free is None else bytes_text(seen.bytes_free)
    if not seen.is_writable:
        state, get = State.MISSING, f"Make {seen.folder} writable, or set XDG_STATE_HOME to a folder that is."
        text = f"{seen.folder} can't be written"
    elif seen.bytes_free is not None and seen.bytes_free < STATE_BYTES_MIN:
        state, get = (
            State.LIMITED,
            f"Free 1 GiB there, or set XDG_STATE_HOME to a larger disk than {seen.folder}'s.",
        )
        text = f"{seen.folder}, {free} free"
    else:
        state, text, get = State.WORKS, f"{seen.folder}, {free} free", ""
    return Finding(
        name="state folder",
        group=MACHINE,
        state=state,
        seen=text,
        good_for="history and journal that survive a restart",
        need=Need.RUNNING,
        get=get,
    )


def judge_extras(installed: Mapping[str, bool]) -> tuple[Finding, ...]:
    """Judge which parts of Tidegate are installed."""
    return tuple(
        Finding(
            name=f"[{extra}]",
            group=EXTRAS_GROUP,
            state=State.WORKS if is_there else State.MISSING,
            seen="installed" if is_there else "not installed",
            good_for=EXTRA_USES[extra],
            need=Need.HARDWARE if extra == "gpu" else Need.MORE,
            get="" if is_there else f"Run pip install 'tidegate[{extra}]'.",
        )
        for extra, is_there in installed.items()
    )
