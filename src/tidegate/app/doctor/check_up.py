"""Looks at everything once: probes read, judges say what it means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate.app.doctor.finding import CheckUp, State
from tidegate.app.doctor.judge_cgroups import judge_cgroups
from tidegate.app.doctor.judge_devices import judge_cards, judge_gpus, judge_interfaces, judge_shaping
from tidegate.app.doctor.judge_machine import (
    judge_clock,
    judge_extras,
    judge_memory,
    judge_processes,
    judge_state,
    judge_system,
)
from tidegate.app.doctor.judge_slices import judge_slices
from tidegate.app.doctor.judge_virtual import judge_kvm, judge_libvirt, judge_qemu, judge_vsock
from tidegate.app.doctor.judge_vms import judge_vms
from tidegate.app.doctor.probe_cgroups import read_cgroups
from tidegate.app.doctor.probe_devices import (
    read_gpus,
    read_interfaces,
    read_pci,
    read_shaping,
    read_transport,
)
from tidegate.app.doctor.probe_machine import (
    read_clock,
    read_extras,
    read_memory,
    read_processes,
    read_state,
    read_system,
    tidegate_version,
)
from tidegate.app.doctor.probe_slices import read_slices
from tidegate.app.doctor.probe_virtual import read_kvm, read_libvirt, read_qemu, read_vsock

if TYPE_CHECKING:
    from tidegate.app.doctor.finding import Finding
    from tidegate.app.doctor.outside import Outside

ANYWHERE = frozenset(
    {
        "operating system",
        "Python",
        "memory",
        "clock",
        "state folder",
        "root",
        "QEMU",
        "libvirt client",
        "NVML",
    }
)
"""What can be had on other systems too, as the extras can; all else is Linux-only."""
LINUX_ONLY = "Linux only"


def check_up(outside: Outside) -> CheckUp:
    """Look at a machine and say what works, what is missing and how to get it; leaves it as it was."""
    system, memory = read_system(outside), read_memory(outside)
    functions = read_pci(outside)
    cgroups, kvm = read_cgroups(outside), read_kvm(outside)
    qemu, libvirt = read_qemu(outside), read_libvirt(outside)
    extras = judge_extras(read_extras(outside))
    findings = (
        *judge_system(system),
        *judge_memory(memory),
        judge_clock(read_clock(outside)),
        judge_state(read_state(outside)),
        judge_processes(read_processes(outside)),
        *judge_cgroups(cgroups),
        *judge_kvm(kvm),
        judge_qemu(qemu),
        *judge_libvirt(libvirt),
        *judge_vms(libvirt, qemu, kvm, cgroups),
        judge_vsock(read_vsock(outside)),
        *judge_interfaces(read_interfaces(outside), functions),
        *judge_shaping(read_shaping(outside)),
        *judge_cards(functions, read_transport(outside)),
        *judge_gpus(read_gpus(outside), functions),
        *judge_slices(read_slices(outside)),
    )
    if not system.is_linux:
        findings = tuple(map(_without_linux, findings))
    machine: dict[str, str | int] = {
        "tidegate": tidegate_version(),
        "system": system.name,
        "kernel": system.kernel,
        "processor": system.architecture,
        "cores": system.cores,
        "memory_bytes": memory.bytes_total or 0,
        "python": system.python,
        "numpy": system.numpy,
    }
    return CheckUp(machine=machine, findings=_grouped((*findings, *extras)))


def _without_linux(finding: Finding) -> Finding:
    """Say of what only Linux has that this is why it is missing."""
    if finding.name in ANYWHERE:
        return finding
    return replace(finding, state=State.MISSING, seen=LINUX_ONLY, get="")


def _grouped(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return each group's findings together, groups in the order in which they first appear."""
    groups = list(dict.fromkeys(finding.group for finding in findings))
    return tuple(sorted(findings, key=lambda finding: groups.index(finding.group)))
