"""Says why no GPU serves a request: what lacks, and what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.model.gpu import SliceRequest
    from tidegate.plan.slices.standing import Group


def reason_for(groups: Sequence[Group], request: SliceRequest) -> str:
    """Return one sentence with the shortfall and the remedy."""
    if not groups:
        return "no GPU here is cut into slices; switch MIG mode on for one, or add one that can"
    fits = [(group, group.table.geometry.smallest_for(request)) for group in groups]
    wanted = f"{request.compute_slices} compute slices and {request.memory_bytes / 2**30:.3g} GiB"
    known = [(group, profile) for group, profile in fits if profile is not None]
    if not known:
        profiles = [profile for group in groups for profile in group.table.geometry.profiles]
        largest = max(profiles, key=lambda one: (one.compute_slices, one.memory_bytes), default=None)
        most = "none" if largest is None else f"{largest.name}, {largest.memory_bytes / 2**30:.3g} GiB"
        return f"no slice has {wanted}: the largest is {most}; lower what is asked for, or add a larger GPU"
    names = " or ".join(dict.fromkeys(profile.name for _, profile in known))
    least = min(profile.compute_slices for _, profile in known)
    free = np.concatenate([group.free for group, _ in known])
    most_free = int(free.max())
    if most_free < least:
        lacks = f"the GPU with most left has {most_free} of its {least} compute slices"
    else:
        lacks = (
            f"{int(free.sum())} compute slices are free on {int((free > 0).sum())} GPUs, and on none of them "
            f"a place for {least} together"
        )
    return f"no room for a {names} ({wanted}): {lacks}; wait until one is given back, or add a GPU"
