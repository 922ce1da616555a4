"""What is read of every cgroup or process at one moment: totals that only rise, and amounts as they are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PRESSURES: Final = ("cpu", "memory", "io")
"""Kinds of pressure stall information, in the order of every frame of it."""
MICROSECONDS: Final = 1e6
NANOSECONDS: Final = 1e9
_PRESSURE: Final = re.compile(rb"(some|full) avg10=(\S+) .*?total=(\d+)")


class Total(IntEnum):
    """Totals since the cgroup or process began; rates come from their differences."""

    CPU_SECONDS = 0
    PERIODS = 1
    THROTTLED_PERIODS = 2
    THROTTLED_SECONDS = 3
    MAJOR_FAULTS = 4
    DISK_BYTES = 5
    RECEIVED_BYTES = 6
    SENT_BYTES = 7
    SOME_CPU_SECONDS = 8
    SOME_MEMORY_SECONDS = 9
    SOME_IO_SECONDS = 10
    FULL_CPU_SECONDS = 11
    FULL_MEMORY_SECONDS = 12
    FULL_IO_SECONDS = 13


class Amount(IntEnum):
    """Amounts at the moment of reading."""

    MEMORY_BYTES = 0
    WORKING_SET_BYTES = 1
    CACHE_BYTES = 2
    SWAP_BYTES = 3
    SOME_CPU_RATIO = 4
    SOME_MEMORY_RATIO = 5
    SOME_IO_RATIO = 6
    GPU_RATIO = 7


STALLED_TOTALS: Final = slice(Total.SOME_CPU_SECONDS, Total.FULL_IO_SECONDS + 1)
STALLED_AMOUNTS: Final = slice(Amount.SOME_CPU_RATIO, Amount.SOME_IO_RATIO + 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Everything read at one moment, one column each for cgroups or processes; unknown is NaN."""

    time_seconds: float
    """On a clock that never jumps."""
    ids: NDArray[np.int64]
    """(entities,) identifiers that live as long as the entity."""
    instance: NDArray[np.int64]
    """(entities,) another number when an entity of the same identifier was made anew."""
    namespace: NDArray[np.int64]
    """(entities,) number of the network namespace its traffic was read in, 0 for none."""
    totals: NDArray[np.float64]
    """(`Total`, entities) base units."""
    amounts: NDArray[np.float64]
    """(`Amount`, entities) base units."""
    from_zero: bool = False
    """Whether who is new since the last sample began after it: processes do, cgroups may have been there."""


def columns(kind: type[IntEnum], rows: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
    """Return (kind, entities) from one mapping per entity; what a mapping lacks is NaN."""
    wanted, unknown = range(len(kind)), [math.nan] * len(kind)
    table = [list(map(row.get, wanted, unknown)) for row in rows]
    return np.array(table, dtype=np.float64).reshape(len(rows), len(kind)).T.copy()


def pressure_row(kind: int, data: bytes | None, totals: dict[int, float], amounts: dict[int, float]) -> None:
    """Take one pressure file (0 cpu, 1 memory, 2 io) into the mappings of its entity.

    The kernel writes percent over ten seconds and microseconds in all.
    """
    for found in _PRESSURE.finditer(data or b""):
        who, percent, microseconds = found.groups()
        if who == b"some":
            totals[Total.SOME_CPU_SECONDS + kind] = float(microseconds) / MICROSECONDS
            amounts[Amount.SOME_CPU_RATIO + kind] = float(percent) / 100
        else:
            totals[Total.FULL_CPU_SECONDS + kind] = float(microseconds) / MICROSECONDS
