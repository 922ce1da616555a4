"""The answers of one bulk call become columns over all domains, and two of them rates; pure.

Keys and units are those of libvirt's virConnectGetAllDomainStats: nanoseconds, KiB, bytes. Any may be
missing: the group is not there, the domain was busy, or the guest's driver is not loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.roster import realigned, source_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

RUNNING: Final = 1
"""VIR_DOMAIN_RUNNING; a domain that is paused, crashed or asleep shows no demand."""
PAGE_BYTES: Final = 4096
KIBIBYTE: Final = 1024.0
NANOSECONDS: Final = 1e9


class Total(IntEnum):
    """What only rises, since the domain was started."""

    VCPU_SECONDS = 0
    CPU_SECONDS = 1
    """With the emulator's own; used where the binding tells no vCPU's."""
    DELAY_SECONDS = 2
    """For which vCPUs could have run and did not: the host was busy, or a quota was up."""
    RECEIVED_BYTES = 3
    SENT_BYTES = 4
    READ_BYTES = 5
    WRITTEN_BYTES = 6
    MAJOR_FAULTS = 7
    SWAPPED_IN_BYTES = 8
    SWAPPED_OUT_BYTES = 9


class Amount(IntEnum):
    """What is now."""

    STATE = 0
    VCPUS = 1
    VCPUS_MAX = 2
    MEMORY_BYTES = 3
    """Of the guest: what its balloon leaves, and what is plugged."""
    MEMORY_BYTES_MAX = 4
    AVAILABLE_BYTES = 5
    """As the guest's kernel counts its memory."""
    USABLE_BYTES = 6
    """Which the guest could have without swapping."""
    CACHE_BYTES = 7
    RESIDENT_BYTES = 8
    """Of the emulator, on the host."""
    UPDATED_SECONDS = 9
    """When the guest last told, seconds since 1970."""


DISKS: Final = slice(Total.READ_BYTES, Total.WRITTEN_BYTES + 1)
_PLAIN: Final[Mapping[str, tuple[int, float, bool]]] = {
    "cpu.time": (Total.CPU_SECONDS, 1 / NANOSECONDS, True),
    "balloon.major_fault": (Total.MAJOR_FAULTS, 1.0, True),
    "balloon.swap_in": (Total.SWAPPED_IN_BYTES, KIBIBYTE, True),
    "balloon.swap_out": (Total.SWAPPED_OUT_BYTES, KIBIBYTE, True),
    "state.state": (Amount.STATE, 1.0, False),
    "vcpu.current": (Amount.VCPUS, 1.0, False),
    "vcpu.maximum": (Amount.VCPUS_MAX, 1.0, False),
    "balloon.current": (Amount.MEMORY_BYTES, KIBIBYTE, False),
    "balloon.maximum": (Amount.MEMORY_BYTES_MAX, KIBIBYTE, False),
    "balloon.available": (Amount.AVAILABLE_BYTES, KIBIBYTE, False),
    "balloon.usable": (Amount.USABLE_BYTES, KIBIBYTE, False),
    "balloon.disk_caches": (Amount.CACHE_BYTES, KIBIBYTE, False),
    "balloon.rss": (Amount.RESIDENT_BYTES, KIBIBYTE, False),
    "balloon.last-update": (Amount.UPDATED_SECONDS, 1.0, False),
}
"""By key: row, what one of it is, and whether it is a total."""
_SUMMED: Final[Mapping[tuple[str, str], tuple[int, float]]] = {
    ("vcpu", "time"): (Total.VCPU_SECONDS, 1 / NANOSECONDS),
    ("vcpu", "delay"): (Total.DELAY_SECONDS, 1 / NANOSECONDS),
    ("net", "rx.bytes"): (Total.RECEIVED_BYTES, 1.0),
    ("net", "tx.bytes"): (Total.SENT_BYTES, 1.0),
    ("block", "rd.bytes"): (Total.READ_BYTES, 1.0),
    ("block", "wr.bytes"): (Total.WRITTEN_BYTES, 1.0),
}
"""By group and end of the key: row, and what one of it is. Numbers between them may have gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One domain in one call."""

    uuid: str
    name: str
    instance: int
    """Another after each start."""
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """All domains at one moment, by identifier."""

    time_seconds: float
    """Monotonic."""
    uuids: tuple[str, ...]
    names: tuple[str, ...]
    ids: NDArray[np.int64]
    instance: NDArray[np.int64]
    totals: NDArray[np.float64]
    """(`Total`, domains); NaN where not told."""
    amounts: NDArray[np.float64]
    """(`Amount`, domains); NaN where not told."""
    disks_seconds: NDArray[np.float64]
    """(domains,) monotonic, when disks were asked: on large hosts they take turns. NaN: never."""


def identifier(uuid: str) -> int:
    """Return 63 bits that depend on a domain's UUID alone."""
    digest = hashlib.blake2b(uuid.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def sample_of(answers: Sequence[Answer], time_seconds: float) -> Sample:
    """Return the answers as columns, by identifier."""
    ordered = sorted(answers, key=lambda answer: identifier(answer.uuid))
    totals = np.full((len(Total), len(ordered)), np.nan)
    amounts = np.full((len(Amount), len(ordered)), np.nan)
    for at, answer in enumerate(ordered):
        _fill(answer.values, totals[:, at], amounts[:, at])
    return Sample(
        time_seconds=time_seconds,
        uuids=tuple(answer.uuid for answer in ordered),
        names=tuple(answer.name for answer in ordered),
        ids=np.array([identifier(answer.uuid) for answer in ordered], dtype=np.int64),
        instance=np.array([answer.instance for answer in ordered], dtype=np.int64),
        totals=totals,
        amounts=amounts,
        disks_seconds=np.where(np.isnan(totals[DISKS]).all(axis=0), np.nan, time_seconds),
    )


def carried(before: Sample | None, now: Sample) -> Sample:
    """Return a sample in which disks that were not asked are as they last were, of the time of that."""
    if before is None:
        return now
    rows = source_rows(before.ids, now.ids)
    same = (rows >= 0) & (realigned(before.instance, rows, -1) == now.instance)
    missing = same & np.isnan(now.disks_seconds)
    totals = now.totals.copy()
    totals[DISKS] = np.where(missing, realigned(before.totals[DISKS], rows, np.nan), totals[DISKS])
    seconds = np.where(missing, realigned(before.disks_seconds, rows, np.nan), now.disks_seconds)
    return replace(now, totals=totals, disks_seconds=seconds)


def _fill(values: Mapping[str, object], totals: NDArray[np.float64], amounts: NDArray[np.float64]) -> None:
    for key, value in values.items():
        if not isinstance(value, int | float):
            continue
        plain = _PLAIN.get(key)
        if plain is not None:
            row, unit, is_total = plain
            (totals if is_total else amounts)[row] = value * unit
            continue
        group, _, rest = key.partition(".")
        summed = _SUMMED.get((group, rest.partition(".")[2]))
        if summed is not None:
            row, unit = summed
            before = totals[row]
            totals[row] = value * unit + (0.0 if np.isnan(before) else before)


def rates(before: Sample | None, now: Sample) -> NDArray[np.float64]:
    """Return how fast each total rose, a second: (`Total`, domains), in the order of ``now``.

    Of disks that were not asked again since nothing is known.

    NaN where nothing can be said: of newcomers, of those started anew, where a total fell since a device
    or vCPU left with its own.
    """
    if before is None or now.time_seconds <= before.time_seconds:
        return np.full(now.totals.shape, np.nan)
    rows = source_rows(before.ids, now.ids)
    rise = now.totals - realigned(before.totals, rows, np.nan)
    rise[:, realigned(before.instance, rows, -1) != now.instance] = np.nan
    rise[~(rise >= 0)] = np.nan
    seconds = np.full(now.totals.shape, now.time_seconds - before.time_seconds)
    seconds[DISKS] = now.disks_seconds - realigned(before.disks_seconds, rows, np.nan)
    return np.divide(rise, seconds, out=np.full(rise.shape, np.nan), where=seconds > 0)
