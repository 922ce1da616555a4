"""Says what can be read and changed of VMs through libvirt here, and what stands in the way. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.app.doctor.finding import Finding, Need, State
from tidegate.app.doctor.judge_virtual import GROUP, KVM_VERSION
from tidegate.app.doctor.probe_cgroups import Trial
from tidegate.app.doctor.probe_virtual import version_in

if TYPE_CHECKING:
    from tidegate.app.doctor.probe_cgroups import CgroupsSeen
    from tidegate.app.doctor.probe_virtual import KvmSeen, LibvirtSeen, QemuSeen

LIBVIRT_VERSION_DELAY = (7, 2)
"""From here on libvirt tells for how long vCPUs waited for the host (vcpu.N.delay)."""
QEMU_VERSION_EMULATED = (10, 0)
"""Emulated, 7.2 corrupts memory when a vCPU is unplugged, and fails many live migrations; 10.0 does not."""


def judge_vms(
    libvirt: LibvirtSeen, qemu: QemuSeen, kvm: KvmSeen, cgroups: CgroupsSeen
) -> tuple[Finding, ...]:
    """Judge telemetry, throttling and plugging of VMs."""
    return _judge_telemetry(libvirt), _judge_quota(libvirt, cgroups), _judge_plugging(libvirt, qemu, kvm)


def _why_not(seen: LibvirtSeen) -> str:
    """Return why libvirt can't be used by Tidegate; empty where it can."""
    if not seen.has_binding:
        return "no Python binding of libvirt"
    if not seen.socket:
        return "no daemon of libvirt"
    return "" if seen.has_rights else "libvirt's socket may not be used by this user"


def _judge_telemetry(seen: LibvirtSeen) -> Finding:
    version, why_not = version_in(seen.virsh_version), _why_not(seen)
    state, text, get = State.WORKS, f"bulk statistics of libvirt {seen.virsh_version}".rstrip(), ""
    if why_not:
        state, text, get = State.MISSING, why_not, ""
    elif version and version < LIBVIRT_VERSION_DELAY:
        state, text = State.LIMITED, f"libvirt {seen.virsh_version} does not tell how long vCPUs wait"
        get = "Upgrade libvirt to 7.2 or later, so that a busy host is not taken for a VM that wants little."
    return Finding(
        name="VM telemetry",
        group=GROUP,
        state=state,
        seen=text,
        good_for="what every VM uses and waits for, in one call (tidegate agent --driver libvirt)",
        need=Need.ACTING,
        get=get,
    )


def _judge_quota(seen: LibvirtSeen, cgroups: CgroupsSeen) -> Finding:
    limits = {limit.resource: limit.trial for limit in cgroups.limits}
    why_not = _why_not(seen)
    state, text, get = State.WORKS, "libvirt has control groups to set quotas in", ""
    if why_not:
        state, text, get = State.MISSING, why_not, ""
    elif limits.get("cpu") not in {Trial.TAKEN, Trial.ALLOWED}:
        state, text = State.LIMITED, "no CPU quota in control groups: VMs can't be throttled, only read"
        get = "Have the controller cpu in the control groups of libvirt's own service, as said above."
    return Finding(
        name="VM CPU quota",
        group=GROUP,
        state=state,
        seen=text,
        good_for="giving a VM fewer or more cores at once, without its help",
        need=Need.ACTING,
        get=get,
    )


def _judge_plugging(seen: LibvirtSeen, qemu: QemuSeen, kvm: KvmSeen) -> Finding:
    why_not, version = _why_not(seen), ".".join(map(str, qemu.version))
    state, text, get = State.WORKS, "on KVM vCPUs come and go", ""
    if why_not or not qemu.version:
        state, text, get = State.MISSING, why_not or "no QEMU that tells its version", ""
    elif kvm.version != KVM_VERSION and qemu.version < QEMU_VERSION_EMULATED:
        state, text = State.LIMITED, f"emulated VMs of QEMU {version} corrupt memory on unplug"
        get = "Use KVM, or QEMU 10 or later (Debian 12: bookworm-backports)."
    elif kvm.version != KVM_VERSION:
        state = State.LIMITED
        text = f"emulated VMs of QEMU {version} take a vCPU once: after an unplug none is plugged again"
        get = "Use KVM: an emulator's vCPUs are numbered for life."
    return Finding(
        name="vCPU plugging",
        group=GROUP,
        state=state,
        seen=text,
        good_for="VMs that grow beyond the vCPUs they booted with, where their policy says plug",
        need=Need.MORE,
        get=get,
    )
