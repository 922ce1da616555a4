"""What the PCI link of a card carries, as the kernel of its server reads it from the device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tidegate.model.errors import InputError

DEVICES: Final = Path("/sys/bus/pci/devices")
ADDRESS: Final = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
SPEED: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) GT/s")
"""As in `8.0 GT/s PCIe` (drivers/pci/pci.h of Linux); a link that is down says `Unknown`."""
GIGA: Final = 1e9
BITS: Final = 8
OLD_GIGATRANSFERS_MAX: Final = 5.0
"""Up to this speed ten bits carry eight; above, 130 carry 128, or a flit at 64 GT/s a little less."""
OLD_RATIO: Final = 8 / 10
NEW_RATIO: Final = 128 / 130
LINK_LAYER_RATIO: Final = 57.88 / 62.96
"""What acknowledgements and flow control leave: of 62.96 Gbit/s of eight lanes at 8 GT/s, 57.88 (R.
Neugebauer et al., "Understanding PCIe performance for end host networking", SIGCOMM 2018)."""
PAYLOAD_BYTES: Final = 256
"""Of a packet, as most servers are set to."""
HEADER_BYTES: Final = 24
"""Of a write with 64-bit addresses: 2 of framing, 6 of the link layer, 16 of the packet (ibid.)."""


def pci_bytes_per_second(address: str, devices: Path = DEVICES) -> float:
    """Return what the link of a PCI device carries each way, in packets of usual size, as it is now.

    Raises:
        InputError: that is no address, there is no such device, or it does not tell its link.

    """
    if ADDRESS.fullmatch(address.lower()) is None:
        raise InputError(f"{address!r} is no address of a PCI device; write one like 0000:3b:00.0 (lspci -D)")
    whole = address.lower() if address.count(":") > 1 else f"0000:{address.lower()}"
    folder = devices / whole
    try:
        speed = (folder / "current_link_speed").read_text("ascii", "replace").strip()
        lanes = (folder / "current_link_width").read_text("ascii", "replace").strip()
    except OSError as error:
        raise InputError(
            f"{folder} tells no link ({error.strerror}); name the card's own device, as 'lspci -D' lists it"
        ) from error
    found = SPEED.match(speed)
    if found is None or not lanes.isdecimal() or not int(lanes):
        raise InputError(f"the link of {whole} is '{speed}' of width '{lanes}'; is the card switched on?")
    return carried_bytes_per_second(float(found[1]), int(lanes))


def carried_bytes_per_second(gigatransfers_per_second: float, lanes: int) -> float:
    """Return what a link of so many lanes carries each way."""
    coded = OLD_RATIO if gigatransfers_per_second <= OLD_GIGATRANSFERS_MAX else NEW_RATIO
    raw = gigatransfers_per_second * GIGA * lanes / BITS * coded
    return raw * LINK_LAYER_RATIO * PAYLOAD_BYTES / (PAYLOAD_BYTES + HEADER_BYTES)


__all__ = ["carried_bytes_per_second", "pci_bytes_per_second"]
