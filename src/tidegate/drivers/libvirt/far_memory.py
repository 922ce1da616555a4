"""Plugs memory that a card lends into a VM that runs: a disk on which its guest may swap.

Where the card is away for a while, what the guest wants of it waits; longer, and the VM stands still, and
goes on once the card is back (`go_on`): a guest that got an error instead would lose what it swapped. So a
card that is lost for good costs the VMs that hold its memory.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from tidegate.drivers.libvirt.binding import code_of
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIVE: Final = 1
"""VIR_DOMAIN_AFFECT_LIVE."""
SERIAL: Final = "tidegate-far-"
"""How a guest knows such a disk: in /sys/block/*/serial, which shows its first twenty letters."""
RECONNECT_SECONDS: Final = 30
"""How long what a guest wants waits for a card that is away, before the VM stands still."""
UNPLUG_SECONDS_MAX: Final = 20.0
ASK_AGAIN_SECONDS: Final = 5.0
"""A guest that does not let a disk go is asked again after so long."""
GO_ON_SECONDS_MAX: Final = 60.0
GO_ON_AGAIN_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.1
PAUSED: Final = 3
FOR_ERROR: Final = 5
"""VIR_DOMAIN_PAUSED_IOERROR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """Far memory in a VM."""

    loan: str
    device: str
    """As libvirt calls it: ``vdb``. The guest may call it otherwise; its serial number tells."""
    serial: str


def plugged(domain: Any) -> list[Plugged]:  # noqa: ANN401 - libvirt ships no types
    """Return the far memory that a VM has."""
    found = []
    for disk in _disks(domain):
        serial = disk.findtext("serial") or ""
        source, target = disk.find("source"), disk.find("target")
        if serial.startswith(SERIAL) and source is not None and target is not None:
            loan = source.get("name", "")
            found.append(Plugged(loan=loan, device=target.get("dev", ""), serial=serial))
    return found


def plug(domain: Any, loan: str, socket: Path, *, number: int = 0) -> Plugged:  # noqa: ANN401
    """Plug a loan into a VM; its guest is to make swap of it. One that is plugged already stays as it is.

    ``socket`` is where the loan is served, as the VM's host reaches it; ``number`` tells several of one VM
    apart.

    Raises:
        Refusal: the VM has no place for a disk, or the loan is not served there; nothing was changed.

    """
    for one in plugged(domain):
        if one.loan == loan:
            return one
    taken = {target.get("dev") for disk in _disks(domain) if (target := disk.find("target")) is not None}
    device = next(name for letter in "bcdefghijklmnopqrstuvwxyz" if (name := f"vd{letter}") not in taken)
    new = Plugged(loan=loan, device=device, serial=f"{SERIAL}{number}")
    try:
        domain.attachDeviceFlags(disk_xml(new, socket), LIVE)
    except Exception as error:
        if code_of(error) < 0:
            raise
        raise refusal(
            Because.NOT_NOW,
            f"memory '{loan}' can't be plugged into VM {domain.name()}: {error}; see that the card serves "
            "it, and that the VM has a free port (pcie-root-port)",
        ) from error
    return new


def unplug(domain: Any, one: Plugged, let_go: Callable[[str], bool]) -> None:  # noqa: ANN401
    """Take a loan from a VM, once its guest has taken back what it holds: ``let_go`` is told its serial.

    Raises:
        Refusal: the guest does not let it go; it stays.

    """
    if not let_go(one.serial):
        raise refusal(
            Because.NOT_NOW,
            f"the guest of VM {domain.name()} still needs the far memory {one.loan}; give it memory first",
        )
    deadline, asked, pause = monotonic() + UNPLUG_SECONDS_MAX, -float("inf"), threading.Event()
    while (xml := _xml_of(domain, one)) is not None:
        now = monotonic()
        if now > deadline:
            raise refusal(
                Because.NOT_NOW,
                f"the guest of VM {domain.name()} does not let its disk {one.device} go; try again",
            )
        if now - asked > ASK_AGAIN_SECONDS:
            asked = now
            _detach(domain, xml)
        pause.wait(POLL_SECONDS)


def stands_still(domain: Any) -> bool:  # noqa: ANN401
    """Whether a VM waits for a disk that failed, as far memory of a card that is away."""
    state, reason = domain.state()
    return bool(state == PAUSED and reason == FOR_ERROR)


def go_on(domain: Any, seconds: float = GO_ON_SECONDS_MAX) -> bool:  # noqa: ANN401
    """Let a VM that stands still for a disk try again, until it runs; says whether it stood still.

    QEMU looks for a card that was away only every so often: what the guest wants fails again until then.

    Raises:
        TidegateError: it did not run within so many seconds.

    """
    if not stands_still(domain):
        return False
    deadline, pause = monotonic() + seconds, threading.Event()
    while domain.state()[0] == PAUSED:
        if monotonic() > deadline:
            raise TidegateError(
                f"VM {domain.name()} stands still: its far memory does not answer; see that its card serves"
            )
        domain.resume()
        pause.wait(GO_ON_AGAIN_SECONDS)
    return True


def disk_xml(one: Plugged, socket: Path) -> str:
    """Return the device as libvirt takes it."""
    return (
        "<disk type='network' device='disk'>"
        "<driver name='qemu' type='raw' cache='none' error_policy='stop' rerror_policy='stop'/>"
        f"<source protocol='nbd' name={quoteattr(one.loan)}>"
        f"<host transport='unix' socket={quoteattr(str(socket))}/>"
        f"<reconnect delay='{RECONNECT_SECONDS}'/></source>"
        f"<target dev={quoteattr(one.device)} bus='virtio'/><serial>{one.serial}</serial></disk>"
    )


def _detach(domain: Any, xml: str) -> None:  # noqa: ANN401
    try:
        domain.detachDeviceFlags(xml, LIVE)
    except Exception as error:
        # A guest that is busy, or at it already, is no error: that it is gone tells.
        if code_of(error) < 0:
            raise


def _xml_of(domain: Any, one: Plugged) -> str | None:  # noqa: ANN401
    for disk in _disks(domain):
        if disk.findtext("serial") == one.serial:
            return ET.tostring(disk, encoding="unicode")
    return None


def _disks(domain: Any) -> list[ET.Element]:  # noqa: ANN401
    return ET.fromstring(domain.XMLDesc(0)).findall("devices/disk")  # noqa: S314 - libvirt made it


__all__ = ["Plugged", "disk_xml", "go_on", "plug", "plugged", "stands_still", "unplug"]
