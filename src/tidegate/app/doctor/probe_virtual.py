"""Reads what runs VMs here: KVM, QEMU, libvirt, and the sockets between a VM and its host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.app.doctor.outside import Outside

QEMU_ELSEWHERE = "/usr/libexec/qemu-kvm"
"""Where Red Hat's distributions keep the one binary they have."""
LIBVIRT_SOCKETS = ("/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock")
QEMU_NAMES = {"arm64": "aarch64", "amd64": "x86_64"}
"""What QEMU calls an architecture where the operating system calls it otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvmSeen:
    """Whether the processor's virtualisation can be used."""

    is_there: bool
    opens: bool
    version: int | None
    processor_flag: str
    """`vmx` (Intel), `svm` (AMD), or nothing: ARM names none."""
    is_virtual: bool
    """This machine is itself a VM."""
    nested: str
    """The kernel's answer to whether its VMs may run VMs: Y, N, or nothing."""
    modules: tuple[str, ...]
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuSeen:
    """Which emulators there are, and which one would be used."""

    binaries: tuple[str, ...]
    used: str
    version: tuple[int, ...]
    """Empty if it did not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtSeen:
    """How far libvirt can be reached."""

    socket: str
    has_rights: bool
    virsh_version: str
    """Empty without virsh."""
    has_binding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VsockSeen:
    """Sockets between VM and host that need no network."""

    is_guest: bool
    """/dev/vsock: this end can speak."""
    is_host: bool
    """/dev/vhost-vsock: VMs started here can be given one."""


def read_kvm(outside: Outside) -> KvmSeen:
    """Read what the processor says and whether KVM answers."""
    flags = _processor_flags(outside.text("/proc/cpuinfo") or "")
    modules = tuple(
        name for name in outside.names("/sys/module") if re.fullmatch(r"kvm_(intel|amd|pvm|hv)", name)
    )
    nested = (outside.text(f"/sys/module/{module}/parameters/nested") for module in modules)
    return KvmSeen(
        is_there=outside.exists("/dev/kvm"),
        opens=outside.opens("/dev/kvm"),
        version=outside.kvm_version(),
        processor_flag=next((flag for flag in ("vmx", "svm") if flag in flags), ""),
        is_virtual="hypervisor" in flags,
        nested={"1": "Y", "0": "N"}.get(answer := next(filter(None, nested), ""), answer),
        modules=modules,
        architecture=outside.architecture,
    )


def read_qemu(outside: Outside) -> QemuSeen:
    """Read which QEMU binaries are on PATH, and ask the one for this processor for its version."""
    binaries = tuple(
        name
        for name in (*outside.programs("qemu-system-"), *outside.programs("qemu-kvm"))
        if re.fullmatch(r"qemu-system-[a-z0-9_]+|qemu-kvm", name)
    )
    if not binaries and outside.exists(QEMU_ELSEWHERE):
        binaries = (str(outside.path(QEMU_ELSEWHERE)),)
    wanted = f"qemu-system-{QEMU_NAMES.get(outside.architecture, outside.architecture)}"
    used = wanted if wanted in binaries else next((name for name in binaries if "qemu-kvm" in name), "")
    said = (outside.said(used, "--version") or "") if used else ""
    return QemuSeen(binaries=binaries, used=used, version=version_in(said))


def version_in(text: str) -> tuple[int, ...]:
    """Return the first version in what a program says of itself; empty if there is none."""
    match = re.search(r"\b(\d{1,4}(?:\.\d{1,4}){1,3})", text)
    return tuple(map(int, match[1].split("."))) if match else ()


def read_libvirt(outside: Outside) -> LibvirtSeen:
    """Read whether libvirt's socket, its client and its Python binding are here; connects to nothing."""
    socket = next(filter(outside.exists, LIBVIRT_SOCKETS), "")
    version = version_in(outside.said("virsh", "--version") or "")
    return LibvirtSeen(
        socket=socket,
        has_rights=bool(socket) and outside.writable(socket),
        virsh_version=".".join(map(str, version)),
        has_binding=outside.has_module("libvirt"),
    )


def read_vsock(outside: Outside) -> VsockSeen:
    """Read which ends of a vsock there are."""
    return VsockSeen(is_guest=outside.exists("/dev/vsock"), is_host=outside.exists("/dev/vhost-vsock"))


def _processor_flags(cpuinfo: str) -> frozenset[str]:
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()
