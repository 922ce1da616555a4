"""What free capacity of a GPU is worth: how much of it a next request could not use, wherever it lies.

A free compute slice is stranded for a profile if no slice of that profile, placed into the free memory slices
as often as it goes, would use it. Over a mix of profiles it counts by their shares: so what is stranded is
the expected number of free compute slices that a request like those of the mix could not use. (The measure
is that of fragmentation in Weng et al., "Beware of Fragmentation", USENIX ATC 2023, section 3, for slices.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.gpu import Geometry, Placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceTable:
    """All that can be placed on one kind of GPU, and what each set of taken memory slices leaves open."""

    geometry: Geometry
    placements: tuple[Placed, ...]
    mask: NDArray[np.int64]
    """(placements,) memory slices each takes, a bit each."""
    profile: NDArray[np.int64]
    """(placements,) row of its profile."""
    most: NDArray[np.int64]
    """(profiles, sets of memory slices) how many of a profile fit beside what is taken."""
    compute: NDArray[np.int64]
    """(profiles,) compute slices of each."""

    def stranded(self, taken: NDArray[np.int64], free: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the stranded compute slices of each profile: (profiles, GPUs).

        ``taken`` are the memory slices in use of each GPU, a bit each, ``free`` its free compute slices.
        """
        usable = np.minimum(self.most[:, taken] * self.compute[:, None], free)
        found: NDArray[np.float64] = (free - usable).astype(np.float64)
        return found


@lru_cache(maxsize=32)
def table_of(geometry: Geometry) -> SliceTable:
    """Return the table of a kind of GPU, which is made once."""
    placements = [
        (row, Placed(profile=profile.name, start=start, size=profile.size))
        for row, profile in enumerate(geometry.profiles)
        for start in profile.starts
    ]
    mask = np.array([placed.mask for _, placed in placements], dtype=np.int64)
    profile = np.array([row for row, _ in placements], dtype=np.int64)
    return SliceTable(
        geometry=geometry,
        placements=tuple(placed for _, placed in placements),
        mask=mask,
        profile=profile,
        most=_most(geometry, mask, profile),
        compute=np.array([one.compute_slices for one in geometry.profiles], dtype=np.int64),
    )


def _most(geometry: Geometry, mask: NDArray[np.int64], profile: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of each profile fit beside each set of taken slices: (profiles, sets).

    From the fullest set to the emptiest: one more than in the best set to which placing one leads.
    """
    sets = 1 << geometry.memory_slices
    most = np.zeros((len(geometry.profiles), sets), dtype=np.int64)
    for taken in range(sets - 1, -1, -1):
        for at in np.flatnonzero((mask & taken) == 0):
            row = profile[at]
            most[row, taken] = max(most[row, taken], 1 + most[row, taken | mask[at]])
    caps = np.array([one.instances_max for one in geometry.profiles], dtype=np.int64)
    found: NDArray[np.int64] = np.minimum(most, caps[:, None])
    return found


def stranded_slices(
    geometry: Geometry, placed: Sequence[Sequence[Placed]], shares: NDArray[np.float64]
) -> float:
    """Return the compute slices stranded on GPUs of one kind that hold ``placed``.

    ``shares`` (profiles,) is the mix of requests, summing to one.
    """
    table = table_of(geometry)
    compute = {one.name: one.compute_slices for one in geometry.profiles}
    taken = np.array([sum(one.mask for one in each) for each in placed], dtype=np.int64)
    used = np.array([sum(compute[one.profile] for one in each) for each in placed], dtype=np.int64)
    return float(shares @ table.stranded(taken, geometry.compute_slices - used).sum(axis=1))
