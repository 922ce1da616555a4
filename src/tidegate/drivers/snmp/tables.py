"""The interface tables of IF-MIB (RFC 2863), and what their cells say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.links import InterfaceCounters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UP_TIME: Final = "1.3.6.1.2.1.1.3.0"
"""sysUpTime: hundredths of a second since the agent started."""
NAME: Final = "1.3.6.1.2.1.31.1.1.1.1"
"""ifName"""
DESCRIPTION: Final = "1.3.6.1.2.1.2.2.1.2"
"""ifDescr: the name of agents without ifXTable."""
STATE: Final = "1.3.6.1.2.1.2.2.1.8"
"""ifOperStatus: 1 is up."""
SPEED: Final = "1.3.6.1.2.1.2.2.1.5"
"""ifSpeed: bits a second, as far as 32 bits go."""
RECEIVED: Final = "1.3.6.1.2.1.2.2.1.10"
"""ifInOctets: 32 bits."""
SENT: Final = "1.3.6.1.2.1.2.2.1.16"
"""ifOutOctets: 32 bits."""
LONG_RECEIVED: Final = "1.3.6.1.2.1.31.1.1.1.6"
"""ifHCInOctets: 64 bits."""
LONG_SENT: Final = "1.3.6.1.2.1.31.1.1.1.10"
"""ifHCOutOctets: 64 bits."""
LONG_SPEED: Final = "1.3.6.1.2.1.31.1.1.1.15"
"""ifHighSpeed: millions of bits a second."""
DISCONTINUITY: Final = "1.3.6.1.2.1.31.1.1.1.19"
"""ifCounterDiscontinuityTime: sysUpTime when counting last began anew."""
COLUMNS: Final = (
    NAME,
    DESCRIPTION,
    STATE,
    SPEED,
    RECEIVED,
    SENT,
    LONG_RECEIVED,
    LONG_SENT,
    LONG_SPEED,
    DISCONTINUITY,
)
SPEED_OVERFLOWN: Final = 2**32 - 1
"""ifSpeed of what is faster than 4.3 Gbit/s."""
UP: Final = 1
STARTS_EACH: Final = 2**33
"""Apart from each other, starts of an agent leave room for sysUpTime between them."""

Cells = dict[str, int | str]
"""What an agent knows, by object identifier; what it does not know is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An interface as an agent numbers it."""

    name: str
    index: int


def is_still(port: Port, cells: Mapping[str, int | str]) -> bool:
    """Return whether the number still means that interface: agents may number anew when they start."""
    told = cells.get(f"{NAME}.{port.index}", cells.get(f"{DESCRIPTION}.{port.index}"))
    return told == port.name


def counters_of(
    ports: Sequence[Port], cells: Mapping[str, int | str], *, time_seconds: float, starts: int
) -> InterfaceCounters:
    """Return the counters of ports, of 64 bits where there are such, else of 32.

    ``starts`` grows whenever the agent has started anew.
    """
    rows = [_row(port, cells, starts) for port in ports]
    received, sent, known, bits, since, up, speed = zip(*rows, strict=True) if rows else ((),) * 7
    return InterfaceCounters(
        time_seconds=time_seconds,
        names=tuple(port.name for port in ports),
        received_bytes=np.array(received, dtype=np.uint64),
        sent_bytes=np.array(sent, dtype=np.uint64),
        known=np.array(known, dtype=np.bool_),
        bits=np.array(bits, dtype=np.uint8),
        since=np.array(since, dtype=np.int64),
        is_up=np.array(up, dtype=np.bool_),
        bytes_per_second_max=np.array(speed, dtype=np.float64),
    )


def _row(
    port: Port, cells: Mapping[str, int | str], starts: int
) -> tuple[int, int, bool, int, int, bool, float]:
    def cell(column: str) -> int | None:
        value = cells.get(f"{column}.{port.index}")
        return value if isinstance(value, int) else None

    received, sent, bits = cell(LONG_RECEIVED), cell(LONG_SENT), 64
    if received is None or sent is None:
        received, sent, bits = cell(RECEIVED), cell(SENT), 32
    known = received is not None and sent is not None and is_still(port, cells)
    return (
        received or 0,
        sent or 0,
        known,
        bits,
        starts * STARTS_EACH + (cell(DISCONTINUITY) or 0),
        cell(STATE) == UP,
        _speed(cell(LONG_SPEED), cell(SPEED)),
    )


def _speed(megabits: int | None, bits: int | None) -> float:
    """Return bytes a second; NaN where none is told."""
    if bits is not None and 0 < bits < SPEED_OVERFLOWN:
        return bits / 8
    return megabits * 1e6 / 8 if megabits else np.nan
