"""Reads cgroups: their totals, amounts and limits at one moment."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.drivers.cgroups.counters import (
    Amount,
    Sample,
    Total,
    columns,
)
from tidegate.drivers.cgroups.kernel_files import read_text
from tidegate.drivers.cgroups.limits import Limits, read_limits
from tidegate.drivers.cgroups.reading import read_use
from tidegate.drivers.local.discover import Cgroup, identifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.drivers.cgroups.hierarchy import Hierarchy


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one read of all cgroups brought."""

    sample: Sample
    limits: dict[str, Limits]
    """By path: of the cgroups, and of those above them."""


def read_cgroups(hierarchy: Hierarchy, cgroups: Sequence[Cgroup], *, root: Path, time_seconds: float) -> Read:
    """Return what the cgroups used and are limited to, in their order; some dozen small files each."""
    totals: list[dict[int, float]] = []
    amounts: list[dict[int, float]] = []
    limits: dict[str, Limits] = {}
    for cgroup in cgroups:
        total: dict[int, float] = {}
        amount: dict[int, float] = {}
        memory_stat = read_use(hierarchy, cgroup.path, total, amount, root=root)
        limits[cgroup.path] = read_limits(hierarchy, cgroup.path, memory_stat)
        totals.append(total)
        amounts.append(amount)
    namespace = _read_networks(cgroups, root, totals)
    _read_above(hierarchy, limits)
    sample = Sample(
        time_seconds=time_seconds,
        ids=np.array([identifier(cgroup.path) for cgroup in cgroups], dtype=np.int64),
        instance=np.array([_instance(hierarchy, cgroup.path) for cgroup in cgroups], dtype=np.int64),
        namespace=np.array(namespace, dtype=np.int64),
        totals=columns(Total, totals),
        amounts=columns(Amount, amounts),
    )
    return Read(sample=sample, limits=limits)


def above(path: str) -> list[str]:
    """Return the paths of the cgroups above one, without the top."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _read_above(hierarchy: Hierarchy, limits: dict[str, Limits]) -> None:
    """Add the limits of those above, which hold for all below them."""
    for upper in {upper for path in limits for upper in above(path)}:
        limits[upper] = read_limits(hierarchy, upper)


def _instance(hierarchy: Hierarchy, path: str) -> int:
    """Return the number of the cgroup's folder: another one when it was removed and made anew."""
    for mount in (hierarchy.usage, hierarchy.cpu, hierarchy.memory):
        if mount is not None:
            with contextlib.suppress(OSError):
                return os.stat(mount.of(path)).st_ino  # noqa: PTH116 - hundreds a read
    return 0


def _read_networks(cgroups: Sequence[Cgroup], root: Path, totals: list[dict[int, float]]) -> list[int]:
    """Take in the traffic of those that have a network namespace to themselves; return its number.

    The others share theirs: with the machine, or with each other as the containers of a pod do. Whose the
    traffic is can't be told, so theirs is unknown, and the number 0.
    """
    ours = _namespace(root, "self")
    spaces = [None if cgroup.pid is None else _namespace(root, str(cgroup.pid)) for cgroup in cgroups]
    living_there = Counter(spaces)
    numbers = []
    for cgroup, space, total in zip(cgroups, spaces, totals, strict=True):
        if space is None or space == ours or living_there[space] > 1:
            numbers.append(0)
            continue
        numbers.append(int("".join(digit for digit in space if digit.isdecimal()) or 0))
        received, sent = traffic(read_text(f"{root}/proc/{cgroup.pid}/net/dev"))
        total[Total.RECEIVED_BYTES], total[Total.SENT_BYTES] = received, sent
    return numbers


def _namespace(root: Path, process: str) -> str | None:
    try:
        return str((root / "proc" / process / "ns/net").readlink())
    except OSError:
        return None


def traffic(text: str | None) -> tuple[float, float]:
    """Return bytes received and sent by all interfaces but the loopback; NaN without a table."""
    if text is None:
        return math.nan, math.nan
    received = sent = 0.0
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and name.strip() != "lo" and len(fields) >= 9:
            received += float(fields[0])
            sent += float(fields[8])
    return received, sent
