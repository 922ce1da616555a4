"""How much a PCIe link carries, and where on the way to the processor it is narrower than it could be.

Pure: works on the texts of sysfs (`current_link_speed` and its like), whoever read them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PAYLOAD_RATIO_OLD = 8 / 10
"""8b/10b coding up to 5 GT/s (PCI Express base specification 2.0)."""
PAYLOAD_RATIO = 128 / 130
"""128b/130b coding from 8 GT/s on (base specification 3.0)."""
PAYLOAD_RATIO_FLIT = 236 / 256
"""Of a flit's 256 bytes, those for packets, from 64 GT/s on (base specification 6.0)."""
WIDTHS = (1, 2, 4, 8, 12, 16, 32)
"""Lanes there can be; sysfs says 0, 63 or 255 where it does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEnd:
    """What one PCI function says of the link it sits on, as sysfs has it; empty where it says nothing."""

    address: str
    current_speed: str
    max_speed: str
    current_width: str
    max_width: str


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """Lanes at a speed, ordered by what they carry."""

    bytes_per_second: float
    lanes: int
    gigatransfers_per_second: float

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"x{self.lanes} {self.gigatransfers_per_second:g} GT/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How a function is tied to the processor."""

    now: Rate
    """Of the narrowest link on the way."""
    could: Rate
    """What the function itself could do."""
    narrowest: str
    """Address of the function below the narrowest link."""
    is_by_slot: bool
    """The slot or bridge above can do no more; otherwise both ends could and don't."""

    @property
    def is_full(self) -> bool:
        """Return whether nothing is lost."""
        return self.now.bytes_per_second >= self.could.bytes_per_second


def rate(speed: str, width: str) -> Rate | None:
    """Return what a link of so many lanes at a speed like '16.0 GT/s PCIe' carries, or None if unknown.

    Bytes a second in one direction, after coding and before packet headers.
    """
    match = re.match(r"(\d+(?:\.\d+)?) ?GT/s", speed)
    if match is None or not width.isdigit() or int(width) not in WIDTHS:
        return None
    transfers = float(match[1])
    return Rate(transfers * 1e9 / 8 * _payload_ratio(transfers) * int(width), int(width), transfers)


def _payload_ratio(gigatransfers_per_second: float) -> float:
    if gigatransfers_per_second >= 64:
        return PAYLOAD_RATIO_FLIT
    return PAYLOAD_RATIO if gigatransfers_per_second >= 8 else PAYLOAD_RATIO_OLD


def link_of(ends: tuple[LinkEnd, ...]) -> Link | None:
    """Return how the first of the ends is tied to the processor, or None if it does not say.

    Args:
        ends: the function's own end first, then each bridge's on the way up. A link lies between each two
            neighbours; the last one, a root port, sits inside the processor.

    """
    if not ends:
        return None
    could = rate(ends[0].max_speed, ends[0].max_width)
    links = [
        (now, end.address, _is_by_slot(now, end, above))
        for end, above in zip(ends, (*ends[1:], None), strict=True)
        if (now := rate(end.current_speed, end.current_width)) is not None
        and (above is not None or len(ends) == 1)
    ]
    if could is None or not links:
        return None
    now, narrowest, is_by_slot = min(links, key=lambda one: one[0].bytes_per_second)
    return Link(now=now, could=could, narrowest=narrowest, is_by_slot=is_by_slot)


def _is_by_slot(now: Rate, *ends: LinkEnd | None) -> bool:
    """Return whether either end can do no more than now."""
    most = [rate(end.max_speed, end.max_width) for end in ends if end is not None]
    return any(one is not None and one.bytes_per_second <= now.bytes_per_second for one in most)
