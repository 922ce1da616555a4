"""A tiny guest as libvirt has it: its XML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import quoteattr

from tidegate.drivers.libvirt.described import VRAL_PORT
from tidegate.lab.bench.guests.image import CHANNEL

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.lab.bench.guests.image import Image

MIB: Final = 2**20
COMMAND_LINE: Final = "console=ttyS0 quiet panic=-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """How a guest is made."""

    name: str
    folder: Path
    """Where its console's log and its agent's socket are: short, since a socket's path has 107 letters."""
    vcpus: int = 1
    vcpus_max: int = 2
    memory_bytes: int = 256 * MIB
    plugged_bytes_max: int = 0
    """Of virtio-mem, above ``memory_bytes``; 0: none."""
    disk: Path | None = None
    """A raw file, which is /dev/vda in the guest."""
    tap: str = ""
    """Name of the tap that libvirt makes for its one interface; empty: none."""
    has_system: bool = True
    """Else there is firmware only: a guest that does nothing it is asked for."""
    words: str = ""
    """Further words of the kernel's command line, like ``swap=vda``."""

    @property
    def socket(self) -> Path:
        """Where its agent is spoken to."""
        return self.folder / f"{self.name}.agent"

    @property
    def vral_socket(self) -> Path:
        """The host's end of the port through which it claims resources."""
        return self.folder / f"{self.name}.vral"

    @property
    def console(self) -> Path:
        """What it says on its console."""
        return self.folder / f"{self.name}.console"

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them: what is another file at another host."""
        return self.socket, self.vral_socket, self.console


def domain_xml(spec: GuestSpec, image: Image) -> str:
    """Return the domain: emulated (TCG), q35, virtio all over, a balloon that tells every second."""
    kibibytes = spec.memory_bytes // 1024
    most = ""
    if spec.plugged_bytes_max:
        most = f"<maxMemory slots='4' unit='KiB'>{kibibytes + spec.plugged_bytes_max // 1024}</maxMemory>"
    return f"""\
<domain type='qemu'>
  <name>{spec.name}</name>
  {most}<memory unit='KiB'>{kibibytes}</memory>
  <vcpu current='{spec.vcpus}'>{spec.vcpus_max}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>
{_system(spec, image)}</os>
  <features><acpi/></features>
  {_cpu(spec)}
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <memballoon model='virtio' autodeflate='on'><stats period='1'/></memballoon>
    <controller type='usb' model='none'/>
    <serial type='file'><source path={quoteattr(str(spec.console))}/></serial>
    <channel type='unix'><source mode='bind' path={quoteattr(str(spec.socket))}/>
      <target type='virtio' name='{CHANNEL}'/></channel>
    <channel type='unix'><source mode='bind' path={quoteattr(str(spec.vral_socket))}/>
      <target type='virtio' name='{VRAL_PORT}'/></channel>
    {_disk(spec)}{_tap(spec)}{_plugged(spec)}
  </devices>
</domain>"""


def _system(spec: GuestSpec, image: Image) -> str:
    if not spec.has_system:
        return ""
    return (
        f"<kernel>{image.kernel}</kernel><initrd>{image.initramfs}</initrd>"
        f"<cmdline>{COMMAND_LINE} {spec.words}</cmdline>"
    )


def _cpu(spec: GuestSpec) -> str:
    if not spec.plugged_bytes_max:
        return ""
    # virtio-mem must know which NUMA node it belongs to: one holds all.
    kibibytes = spec.memory_bytes // 1024
    cells = f"<cell id='0' cpus='0-{spec.vcpus_max - 1}' memory='{kibibytes}' unit='KiB'/>"
    return f"<cpu><numa>{cells}</numa></cpu>"


def _disk(spec: GuestSpec) -> str:
    if spec.disk is None:
        return ""
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file={quoteattr(str(spec.disk))}/><target dev='vda' bus='virtio'/></disk>"
    )


def _tap(spec: GuestSpec) -> str:
    if not spec.tap:
        return ""
    return f"<interface type='ethernet'><target dev={quoteattr(spec.tap)}/><model type='virtio'/></interface>"


def _plugged(spec: GuestSpec) -> str:
    if not spec.plugged_bytes_max:
        return ""
    most = spec.plugged_bytes_max // 1024
    return (
        f"<memory model='virtio-mem'><target><size unit='KiB'>{most}</size><node>0</node>"
        "<block unit='KiB'>2048</block><requested unit='KiB'>0</requested></target></memory>"
    )
