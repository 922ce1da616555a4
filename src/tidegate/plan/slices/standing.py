"""GPUs of one kind as arrays while a plan is made: what is taken, what lies idle, what is to be made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tidegate.plan.slices.stranding import SliceTable, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tidegate.model.gpu import Geometry, Gpu, Placed, SliceRequest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """All GPUs that are cut alike; the arrays change as requests are placed."""

    table: SliceTable
    gpus: tuple[Gpu, ...]
    shares: NDArray[np.float64]
    """(profiles,) the mix of requests."""
    taken: NDArray[np.int64]
    """(GPUs,) memory slices in use, a bit each."""
    free: NDArray[np.int64]
    """(GPUs,) compute slices not in use."""
    count: NDArray[np.int64]
    """(GPUs, profiles) slices in use."""
    idle: NDArray[np.bool_]
    """(GPUs, placements) whether that very slice exists and nobody uses it."""
    made: dict[int, list[int]] = field(default_factory=dict)
    """By row of the GPU: placements that are to be made."""

    def row_of(self, profile: str) -> int:
        """Return a profile's row."""
        return [one.name for one in self.table.geometry.profiles].index(profile)

    def loss(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return what each placement of one profile would strand more: (GPUs, rows); infinite: no room."""
        table = self.table
        profile = int(table.profile[rows[0]])
        compute = int(table.compute[profile])
        before = self.shares @ table.stranded(self.taken, self.free)
        found = np.full((self.taken.size, rows.size), np.inf)
        has_room = (self.free >= compute) & (
            self.count[:, profile] < table.geometry.profiles[profile].instances_max
        )
        for at, row in enumerate(rows):
            open_to = np.flatnonzero(has_room & ((self.taken & table.mask[row]) == 0))
            after = table.stranded(self.taken[open_to] | table.mask[row], self.free[open_to] - compute)
            found[open_to, at] = self.shares @ after - before[open_to]
        return found

    def replaced(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return how many idle slices each placement would replace: (GPUs, rows); none where it exists."""
        overlaps = (self.table.mask[:, None] & self.table.mask[None, rows]) != 0
        found: NDArray[np.int64] = self.idle.astype(np.int64) @ overlaps.astype(np.int64)
        return np.where(self.idle[:, rows], 0, found)

    def place(self, gpu: int, placement: int) -> bool:
        """Take a placement; return whether the slice has to be made."""
        profile = int(self.table.profile[placement])
        self.taken[gpu] |= self.table.mask[placement]
        self.free[gpu] -= self.table.compute[profile]
        self.count[gpu, profile] += 1
        if self.idle[gpu, placement]:
            self.idle[gpu, placement] = False
            return False
        self.idle[gpu] &= (self.table.mask & self.table.mask[placement]) == 0
        self.made.setdefault(gpu, []).append(placement)
        return True

    def in_the_way(self, gpu: int, made: Sequence[int]) -> Iterator[Placed]:
        """Return the idle slices that have to go before others can be made on a GPU.

        Those in their place, and, where all together would be more than the GPU has, as many others as that
        takes.
        """
        known = set(self.table.placements)
        idle = [one.placed for one in self.gpus[gpu].slices if not one.in_use and one.placed in known]
        mask = int(np.bitwise_or.reduce(self.table.mask[list(made)]))
        granted = int(self.taken[gpu])  # a slice that lay idle and is given out by this plan is in it
        counts, free = self.count[gpu].copy(), int(self.free[gpu])
        for one in idle:
            if one.mask & mask:
                yield one
            elif one.mask & granted == 0:
                profile = self.row_of(one.profile)
                left = free - int(self.table.compute[profile])
                if left < 0 or counts[profile] >= self.table.geometry.profiles[profile].instances_max:
                    yield one
                else:
                    free, counts[profile] = left, counts[profile] + 1


def grouped(gpus: Sequence[Gpu], requests: Sequence[SliceRequest], prior: float) -> tuple[Group, ...]:
    """Return the GPUs by the way in which they are cut, in the order in which each first appears."""
    kinds: dict[Geometry, list[Gpu]] = {}
    for gpu in gpus:
        if gpu.geometry is not None:
            kinds.setdefault(gpu.geometry, []).append(gpu)
    return tuple(_group(geometry, of_kind, requests, prior) for geometry, of_kind in kinds.items())


def _group(geometry: Geometry, gpus: Sequence[Gpu], requests: Sequence[SliceRequest], prior: float) -> Group:
    table = table_of(geometry)
    at = {placed: row for row, placed in enumerate(table.placements)}
    profiles = {profile.name: row for row, profile in enumerate(geometry.profiles)}
    taken = np.zeros(len(gpus), dtype=np.int64)
    free = np.full(len(gpus), geometry.compute_slices, dtype=np.int64)
    count = np.zeros((len(gpus), len(geometry.profiles)), dtype=np.int64)
    idle = np.zeros((len(gpus), len(table.placements)), dtype=np.bool_)
    for row, gpu in enumerate(gpus):
        for one in gpu.slices:
            if not one.in_use and one.placed in at:
                idle[row, at[one.placed]] = True
                continue
            profile = profiles.get(one.placed.profile)  # of what is nothing of ours we know the place only
            taken[row] |= one.placed.mask
            free[row] -= one.placed.size if profile is None else table.compute[profile]
            if profile is not None:
                count[row, profile] += 1
    return Group(
        table=table,
        gpus=tuple(gpus),
        shares=_shares(geometry, count, requests, prior),
        taken=taken,
        free=free,
        count=count,
        idle=idle,
    )


def _shares(
    geometry: Geometry, count: NDArray[np.int64], requests: Sequence[SliceRequest], prior: float
) -> NDArray[np.float64]:
    """Return the mix of requests by compute slices (profiles,): in use, asked for, and a little of all."""
    asked = Counter(fit.name for one in requests if (fit := geometry.smallest_for(one)))
    known = count.sum(axis=0) + np.array([asked[profile.name] for profile in geometry.profiles])
    weight = (known + prior) * np.array([profile.compute_slices for profile in geometry.profiles])
    found: NDArray[np.float64] = weight / weight.sum()
    return found
