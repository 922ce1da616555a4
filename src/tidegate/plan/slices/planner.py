"""Packs requests for slices onto GPUs: the largest first, each where it strands least.

Slices in use stay where they are, always: only idle ones are replaced, and only where a new one needs their
place. So a plan can't undo what earlier ones did; it can only leave as much open as there is. That is why it
places by what would be stranded for the mix of requests it knows: of those that hold slices, and that ask,
each by its compute slices. A large one that finds no place loses more than a small one: counted by heads, the
many small ones took the last whole GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.gpu import Grant, NoSlice, Replacement, SliceMode, SlicePlan
from tidegate.plan.slices.refusing import reason_for
from tidegate.plan.slices.standing import Group, grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.model.gpu import Gpu, SliceProfile, SliceRequest

PRIOR: Final = 0.1
"""Weight in requests of each profile besides what is held and asked for: who asked for none yet may come."""
REPLACED: Final = 1e-3
"""In stranded slices, what it costs to replace an idle slice: enough to decide between equals."""
MADE: Final = 1e-4
"""What it costs to make a slice where an idle one would do."""
EMPTY: Final = 1e-5
"""What it costs for each compute slice that is free: of equal places the fullest GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePlanner:
    """Remembers nothing: the same GPUs and requests get the same plan."""

    prior: float = PRIOR

    def plan(self, gpus: Sequence[Gpu], requests: Sequence[SliceRequest]) -> SlicePlan:
        """Return who gets which slice; GPUs that are not in slices now take no part."""
        usable = [gpu for gpu in gpus if gpu.mode is SliceMode.ON and gpu.geometry is not None]
        groups = grouped(usable, requests, self.prior)
        grants, refused = list[Grant](), list[NoSlice]()
        for request in sorted(requests, key=lambda one: _size(groups, one), reverse=True):
            found = _best(groups, request)
            if found is None:
                reason = reason_for(groups, request)
                refused.append(NoSlice(request=request.name, reason=reason))
                continue
            group, gpu, placement = found
            is_new = group.place(gpu, placement)
            placed = group.table.placements[placement]
            grants.append(Grant(request=request.name, gpu=group.gpus[gpu].uuid, placed=placed, is_new=is_new))
        replacements = [each for group in groups for each in _replacements(group)]
        return SlicePlan(grants=tuple(grants), refused=tuple(refused), replacements=tuple(replacements))


def _size(groups: Sequence[Group], request: SliceRequest) -> tuple[int, int]:
    """Return how much of a GPU the smallest profile for a request takes."""
    sizes = [(fit.size, fit.compute_slices) for group in groups if (fit := _fit(group, request))]
    return max(sizes, default=(0, 0))


def _fit(group: Group, request: SliceRequest) -> SliceProfile | None:
    return group.table.geometry.smallest_for(request)


def _best(groups: Sequence[Group], request: SliceRequest) -> tuple[Group, int, int] | None:
    """Return where a request strands least: the group, the GPU's row in it and the placement; or None."""
    best: tuple[float, Group, int, int] | None = None
    for group in groups:
        profile = _fit(group, request)
        if profile is None:
            continue
        rows = np.flatnonzero(group.table.profile == group.row_of(profile.name))
        cost = group.loss(rows) + REPLACED * group.replaced(rows) + MADE * ~group.idle[:, rows]
        cost += EMPTY * group.free[:, None]
        gpu, at = divmod(int(cost.argmin()), rows.size)
        if np.isfinite(cost[gpu, at]) and (best is None or cost[gpu, at] < best[0]):
            best = (float(cost[gpu, at]), group, gpu, int(rows[at]))
    return None if best is None else best[1:]


def _replacements(group: Group) -> list[Replacement]:
    """Return what has to be made on each GPU of a group, and which idle slices give way to it."""
    return [
        Replacement(
            gpu=group.gpus[gpu].uuid,
            destroy=tuple(group.in_the_way(gpu, made)),
            create=tuple(group.table.placements[at] for at in made),
        )
        for gpu, made in sorted(group.made.items())
    ]
