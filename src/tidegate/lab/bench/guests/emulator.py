"""A tiny guest on an emulator alone, without libvirt: its command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lab.bench.guests.domain import COMMAND_LINE, MIB
from tidegate.lab.bench.guests.image import CHANNEL

if TYPE_CHECKING:
    from tidegate.lab.bench.guests.domain import GuestSpec
    from tidegate.lab.bench.guests.image import Image


def emulator_command(spec: GuestSpec, image: Image) -> tuple[str, ...]:
    """Return what starts a guest as `domain_xml` describes it, but for its control socket and its tap."""
    return (
        "qemu-system-x86_64",
        *("-name", spec.name, "-machine", "q35,accel=tcg", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-smp", str(spec.vcpus), "-m", f"{spec.memory_bytes // MIB}M"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs)),
        *("-append", f"{COMMAND_LINE} {spec.words}".strip(), "-serial", f"file:{spec.console}"),
        *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=agent,name={CHANNEL}"),
        *("-chardev", f"socket,id=agent,path={spec.socket},server=on,wait=off"),
        *("-device", "virtio-balloon-pci,id=balloon"),
    )
