"""Says how VMs can be run and reached here. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.app.doctor.finding import Finding, Need, State

if TYPE_CHECKING:
    from tidegate.app.doctor.probe_virtual import KvmSeen, LibvirtSeen, QemuSeen, VsockSeen

GROUP = "virtual machines"
KVM_VERSION = 12
"""The only one there is since Linux 2.6.22 (KVM API documentation)."""
QEMU_VERSION_MIN = (7, 2)
"""What Tidegate is tested on from; Debian 12 has it."""
BINDING = "Install the binding: pip install libvirt-python (it builds against libvirt-dev or libvirt-devel)."
QEMU_VERSION_DEVICES = (8, 1)
"""From here on migrating VFIO devices, as NIC functions and GPU slices are, is no experiment any more."""


def judge_kvm(seen: KvmSeen) -> tuple[Finding, ...]:
    """Judge whether VMs run on the processor itself, and whether VMs may run VMs."""
    state, text, get = _kvm(seen)
    findings = [
        Finding(
            name="KVM",
            group=GROUP,
            state=state,
            seen=text,
            good_for="VMs at full speed; without it QEMU emulates (TCG), many times slower: for tests only",
            need=Need.ACTING,
            get=get,
        )
    ]
    if seen.modules and seen.nested:
        is_on = seen.nested == "Y"
        findings.append(
            Finding(
                name="nested VMs",
                group=GROUP,
                state=State.WORKS if is_on else State.MISSING,
                seen="VMs may run VMs" if is_on else "switched off",
                good_for="trying a host of Tidegate inside a VM",
                need=Need.MORE,
                get="" if is_on else f"Load {seen.modules[0]} with nested=1 (modprobe).",
            )
        )
    return tuple(findings)


def _kvm(seen: KvmSeen) -> tuple[State, str, str]:
    what = f"{seen.processor_flag or 'no vmx or svm'}{', itself a VM' if seen.is_virtual else ''}"
    if seen.architecture in {"aarch64", "arm64"}:
        what = "ARM"
    by = f" ({', '.join(seen.modules)})" if seen.modules else ""
    if seen.version == KVM_VERSION:
        return State.WORKS, f"/dev/kvm answers{by}; processor: {what}", ""
    if seen.opens:
        get = "Load the kernel's own KVM module (modprobe kvm_intel or kvm_amd)."
        return State.LIMITED, f"/dev/kvm opens but does not answer as KVM{by}", get
    if seen.is_there:
        get = "Add the user to the group kvm (usermod -aG kvm USER) and log in again."
        return State.MISSING, "/dev/kvm may not be opened by this user", get
    if seen.processor_flag or what == "ARM":
        module = {"vmx": "kvm_intel", "svm": "kvm_amd"}.get(seen.processor_flag, "kvm")
        return State.MISSING, f"no /dev/kvm; processor: {what}", f"Load the module: modprobe {module}."
    if seen.is_virtual:
        get = "Have the hypervisor above allow nested virtualisation, or use a host of metal."
    else:
        get = "Switch virtualisation on in the firmware (VT-x or AMD-V)."
    return State.MISSING, f"no /dev/kvm; processor: {what}", get


def judge_qemu(seen: QemuSeen) -> Finding:
    """Judge which QEMU there is."""
    version = ".".join(map(str, seen.version))
    text = f"{seen.used} {version or '(did not tell its version)'}"
    if len(seen.binaries) > 1:
        text += f", and {len(seen.binaries) - 1} more"
    if not seen.binaries:
        state, text = State.MISSING, "no qemu-system-* on PATH"
        get = "Install QEMU 7.2 or later (apt install qemu-system, dnf install qemu-kvm, brew install qemu)."
    elif not seen.used:
        state, text = State.LIMITED, f"only for other processors: {', '.join(seen.binaries[:3])}"
        get = "Install QEMU for this processor too: without it every VM is emulated."
    elif not seen.version:
        state, get = State.LIMITED, f"See why '{seen.used} --version' fails or takes longer than 5 s."
    elif seen.version < QEMU_VERSION_MIN:
        state, get = State.LIMITED, "Upgrade QEMU to 7.2 or later; 8.1 also migrates VFIO devices."
    else:
        state, get = State.WORKS, ""
        if seen.version < QEMU_VERSION_DEVICES:
            text += " (from 8.1 on VFIO devices migrate too)"
    return Finding(
        name="QEMU",
        group=GROUP,
        state=state,
        seen=text,
        good_for="running VMs, resizing them while they run, live migration",
        need=Need.ACTING,
        get=get,
    )


def judge_libvirt(seen: LibvirtSeen) -> tuple[Finding, ...]:
    """Judge the daemon and the ways to talk to it."""
    if not seen.socket:
        state, text = State.MISSING, "no socket of libvirtd or virtqemud"
        get = (
            "Install and start libvirt (apt install libvirt-daemon-system; systemctl enable --now libvirtd)."
        )
    elif not seen.has_rights:
        state, text = State.LIMITED, f"{seen.socket} may not be written by this user"
        get = "Add the user to the group libvirt (usermod -aG libvirt USER) and log in again."
    else:
        state, text, get = State.WORKS, f"socket {seen.socket}", ""
    ways = [f"virsh {seen.virsh_version}"] if seen.virsh_version else []
    ways += ["Python binding"] if seen.has_binding else []
    return (
        Finding(
            name="libvirt",
            group=GROUP,
            state=state,
            seen=text,
            good_for="finding VMs, reading what they use, resizing and migrating them",
            need=Need.ACTING,
            get=get,
        ),
        Finding(
            name="libvirt client",
            group=GROUP,
            state=_client_state(seen),
            seen=" and ".join(ways) or "neither virsh nor the Python binding",
            good_for="talking to libvirt: the binding for Tidegate, virsh for people",
            need=Need.ACTING,
            get="" if seen.has_binding else BINDING,
        ),
    )


def _client_state(seen: LibvirtSeen) -> State:
    if seen.has_binding:
        return State.WORKS
    return State.LIMITED if seen.virsh_version else State.MISSING


def judge_vsock(seen: VsockSeen) -> Finding:
    """Judge the channel between a VM and its host."""
    ends = ["VMs here can be given one (/dev/vhost-vsock)"] if seen.is_host else []
    ends += ["this end can speak (/dev/vsock)"] if seen.is_guest else []
    return Finding(
        name="vsock",
        group=GROUP,
        state=State.WORKS if seen.is_host else State.LIMITED if seen.is_guest else State.MISSING,
        seen=", ".join(ends) or "neither /dev/vsock nor /dev/vhost-vsock",
        good_for="VMs that claim and release resources without a network",
        need=Need.MORE,
        get="" if seen.is_host else "On a host of VMs: modprobe vhost_vsock.",
    )
