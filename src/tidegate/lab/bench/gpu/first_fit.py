"""What is commonly done, to compare with: each request as it comes, in the first place with room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.gpu import Grant, NoSlice, Placed, Replacement, SlicePlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.model.gpu import Gpu, SliceRequest


class FirstFit:
    """Plans as `tidegate.plan.slices.SlicePlanner` does, without looking ahead."""

    def plan(self, gpus: Sequence[Gpu], requests: Sequence[SliceRequest]) -> SlicePlan:
        """Return who gets which slice."""
        used = {gpu.uuid: [one.placed for one in gpu.slices if one.in_use] for gpu in gpus}
        granted: list[tuple[str, Gpu, Placed]] = []
        refused: list[NoSlice] = []
        for request in requests:
            found = next((place for gpu in gpus if (place := _place(gpu, used[gpu.uuid], request))), None)
            if found is None:
                refused.append(NoSlice(request=request.name, reason="no place has room; add a GPU"))
                continue
            gpu, placed = found
            used[gpu.uuid].append(placed)
            granted.append((request.name, gpu, placed))
        return SlicePlan(
            grants=tuple(
                Grant(request=name, gpu=gpu.uuid, placed=placed, is_new=gpu.slice_at(placed) is None)
                for name, gpu, placed in granted
            ),
            refused=tuple(refused),
            replacements=tuple(_replacements(granted)),
        )


def _place(gpu: Gpu, used: Sequence[Placed], request: SliceRequest) -> tuple[Gpu, Placed] | None:
    profile = None if gpu.geometry is None else gpu.geometry.smallest_for(request)
    if profile is None or sum(one.profile == profile.name for one in used) >= profile.instances_max:
        return None
    for start in profile.starts:
        placed = Placed(profile=profile.name, start=start, size=profile.size)
        if not any(placed.mask & one.mask for one in used):
            return gpu, placed
    return None


def _replacements(granted: Sequence[tuple[str, Gpu, Placed]]) -> list[Replacement]:
    gpus = {gpu.uuid: gpu for _, gpu, _ in granted}
    orders = []
    for uuid, gpu in gpus.items():
        of_gpu = [placed for _, owner, placed in granted if owner.uuid == uuid]
        create = tuple(placed for placed in of_gpu if gpu.slice_at(placed) is None)
        idle = [one.placed for one in gpu.slices if not one.in_use and one.placed not in of_gpu]
        if create:
            # All that lies idle goes: simpler than asking which of it could stay.
            orders.append(Replacement(gpu=uuid, destroy=tuple(idle), create=create))
    return orders
