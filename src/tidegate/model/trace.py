"""A trace: what a fleet of VMs used, on a regular grid of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Usage and capacity of every VM at every step of a regular grid.

    ``used`` and ``capacity`` have shape (resources, ticks, vms), float32, in the base unit of each
    resource; a missing sample is NaN in both. ``capacity`` is as sampled: a VM that is absent at a
    tick has NaN there. Row ``k`` stands for the time ``start_seconds + k * step_seconds`` (seconds
    since 1970 UTC). ``servers`` names the server of each VM, or is empty where the source has none.
    """

    name: str
    start_seconds: int
    step_seconds: int
    resources: tuple[Resource, ...]
    vms: tuple[str, ...]
    servers: tuple[str, ...]
    used: NDArray[np.float32]
    capacity: NDArray[np.float32]
    vms_without_capacity: int = 0

    @property
    def ticks(self) -> int:
        """Number of steps on the grid."""
        return int(self.used.shape[1])

    def rows_of(self, resource: Resource) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Usage and capacity of one resource, each of shape (ticks, vms)."""
        at = self.resources.index(resource)
        return self.used[at], self.capacity[at]
