"""Reads cgroups again and again: their totals, amounts and limits at one moment."""

from __future__ import annotations

import math
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
from tidegate.drivers.cgroups.kept_files import KeptFiles
from tidegate.drivers.cgroups.kernel_files import read_text
from tidegate.drivers.cgroups.limits import LimitFiles, Limits
from tidegate.drivers.cgroups.reading import UseFiles
from tidegate.drivers.local.discover import identifier
from tidegate.drivers.local.watch import namespace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.drivers.cgroups.hierarchy import Hierarchy
    from tidegate.drivers.local.discover import Cgroup
    from tidegate.drivers.local.watch import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one read of all cgroups brought."""

    sample: Sample
    limits: tuple[Limits, ...]
    limited_above: NDArray[np.float64]
    """(2, cgroups) the least cores and bytes that those above each may have; NaN where none says."""
    gone: bool
    """Whether one of the cgroups was not there any more."""


class CgroupReader:
    """Reads the same cgroups time and again: files stay open, and what only names say is made once."""

    def __init__(self, hierarchy: Hierarchy, *, root: Path) -> None:
        """Read below these mounts; processes are looked up below ``root``."""
        self._hierarchy = hierarchy
        self._root = root
        self._files = KeptFiles()
        self._cgroups: tuple[Cgroup, ...] = ()
        self._paths: tuple[str, ...] = ()
        self._folders: tuple[str, ...] = ()
        self._ids: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._use: dict[str, UseFiles] = {}
        self._limits: dict[str, LimitFiles] = {}

    def read(self, found: Found, *, time_seconds: float) -> Read:
        """Return what the cgroups used and are limited to, in their order; some dozen small files each."""
        if found.cgroups is not self._cgroups:
            self._meet(found.cgroups)
        read = self._files.read
        totals: list[dict[int, float]] = [{} for _ in self._paths]
        amounts: list[dict[int, float]] = [{} for _ in self._paths]
        limits: list[Limits] = []
        for path, total, amount in zip(self._paths, totals, amounts, strict=True):
            memory_stat = self._use[path].read(read, total, amount)
            limits.append(self._limits[path].read(read, memory_stat))
        numbers = _read_networks(found, self._root, totals)
        least = {folder: self._above(folder) for folder in dict.fromkeys(self._folders)}
        instance = [self._instance(path) for path in self._paths]
        self._files.next_round()
        return Read(
            sample=Sample(
                time_seconds=time_seconds,
                ids=self._ids,
                instance=np.array(instance, dtype=np.int64),
                namespace=np.array(numbers, dtype=np.int64),
                totals=columns(Total, totals),
                amounts=columns(Amount, amounts),
            ),
            limits=tuple(limits),
            limited_above=np.array([least[folder] for folder in self._folders]).reshape(-1, 2).T,
            gone=0 in instance,
        )

    def close(self) -> None:
        """Keep no file open any more; reading may go on."""
        self._files.close()

    def _meet(self, cgroups: tuple[Cgroup, ...]) -> None:
        """Find the files of newcomers, and forget who left."""
        self._cgroups = cgroups
        self._paths = paths = tuple(cgroup.path for cgroup in cgroups)
        self._folders = tuple(path.rpartition("/")[0] for path in paths)
        self._ids = np.array([identifier(path) for path in paths], dtype=np.int64)
        self._use = {
            path: self._use.get(path) or UseFiles(self._hierarchy, path, root=self._root) for path in paths
        }
        limited = {upper for folder in set(self._folders) for upper in with_above(folder)}.union(paths)
        self._limits = {path: self._limits.get(path) or LimitFiles(self._hierarchy, path) for path in limited}

    def _instance(self, path: str) -> int:
        """Return another number when the cgroup was removed and made anew; 0 where it is gone."""
        for file in self._use[path].lasting:
            inode = self._files.inode(file)
            if inode:
                return inode
        return 0

    def _above(self, folder: str) -> tuple[float, float]:
        """Return the least cores and bytes that a cgroup and those above it may have; NaN where none says."""
        limits = [self._limits[upper].read(self._files.read) for upper in with_above(folder)]
        cores = [limit.cpu.amount for limit in limits if limit.cpu is not None]
        soft = [limit.memory.amount for limit in limits if limit.memory is not None]
        hard = [limit.memory_bytes_max for limit in limits]
        return _least(cores), _least([*soft, *hard])


def with_above(path: str) -> list[str]:
    """Return the path of a cgroup and of those above it, without the top."""
    parts = path.split("/") if path else []
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _least(amounts: Sequence[float]) -> float:
    """Return the least of those that are known; NaN where none is."""
    return min((amount for amount in amounts if not math.isnan(amount)), default=math.nan)


def _read_networks(found: Found, root: Path, totals: list[dict[int, float]]) -> list[int]:
    """Take in the traffic of those that have a network namespace to themselves; return its number.

    The others share theirs: with the machine, or with each other as the containers of a pod do. Whose the
    traffic is can't be told, so theirs is unknown, and the number 0.
    """
    ours = namespace(f"{root}/proc/self/ns/net")
    living_there = Counter(found.namespaces)
    numbers = []
    for cgroup, space, total in zip(found.cgroups, found.namespaces, totals, strict=True):
        if space is None or space == ours or living_there[space] > 1:
            numbers.append(0)
            continue
        numbers.append(int("".join(digit for digit in space if digit.isdecimal()) or 0))
        received, sent = traffic(read_text(f"{root}/proc/{cgroup.pid}/net/dev"))
        total[Total.RECEIVED_BYTES], total[Total.SENT_BYTES] = received, sent
    return numbers


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
