"""Rates, amounts and limits of this machine's workloads become the frames of a snapshot; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.cgroups.counters import Amount, Total
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, SHARES, Places, Roster
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.drivers.cgroups.limits import Limits
    from tidegate.drivers.local.acting import Limiter
    from tidegate.drivers.local.machine import Machine

FLOORS: Final = {Resource.CPU: 0.05, Resource.MEMORY: 64 * 2.0**20}
"""What nobody goes below: enough for a shell to answer; clipped to what was sold."""
PRIORITY: Final = 1
NEAR_GRANT_RATIO: Final = 0.9
"""Share of its grant above which a workload that was throttled counts as pressed: below it, bursts shorter
than the interval were put off by milliseconds, and all that was wanted was got in the interval."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """The columns of a snapshot that change with every read."""

    used: NDArray[np.float32]
    capacity: NDArray[np.float32]
    pressed: NDArray[np.bool_]
    grant: NDArray[np.float32]


def frames_of(
    resources: tuple[Resource, ...],
    per_second: NDArray[np.float64],
    amounts: NDArray[np.float64],
    *,
    capacity: NDArray[np.float64],
    held: NDArray[np.float64],
) -> Frames:
    """Return the frames; ``per_second`` and ``amounts`` are by `Total` and `Amount`, the others by resource.

    ``held`` is infinite where nothing limits.
    """
    use = {
        Resource.CPU: per_second[Total.CPU_SECONDS],
        Resource.MEMORY: amounts[Amount.MEMORY_BYTES],
        Resource.GPU: amounts[Amount.GPU_RATIO],
        Resource.NETWORK: np.fmax(per_second[Total.RECEIVED_BYTES], per_second[Total.SENT_BYTES]),
        Resource.STORAGE: per_second[Total.DISK_BYTES],
    }
    used = np.stack([use[resource] for resource in resources]).astype(np.float32)
    sold = capacity.astype(np.float32)
    granted = np.minimum(held.astype(np.float32), sold)
    grant = np.zeros((SHARES, *used.shape), dtype=np.float32)
    grant[HOST] = granted
    pressed = np.zeros(used.shape, dtype=np.bool_)
    cpu, memory = resources.index(Resource.CPU), resources.index(Resource.MEMORY)
    throttled = per_second[Total.THROTTLED_SECONDS] > 0
    near = used[cpu] >= np.float32(NEAR_GRANT_RATIO) * granted[cpu]
    at_grant = used[cpu] >= granted[cpu] - np.float32(VIOLATION_TOLERANCE_RATIO) * sold[cpu]
    # Near as well: on a large machine the tolerance is more than a small grant.
    pressed[cpu] = near & (throttled | at_grant)
    pressed[memory] = used[memory] >= granted[memory]
    return Frames(used=used, capacity=sold, pressed=pressed, grant=grant)


def limits_of(
    resources: tuple[Resource, ...],
    limits: Sequence[Limits],
    limited_above: NDArray[np.float64],
    *,
    limiter: Limiter,
    whole: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what was sold and what is held, (resources, workloads); ``whole`` is (resources,) the machine's.

    Sold is the least of the owner's own limits, those of the cgroups above (cores and bytes, workloads), and
    the machine. Held is infinite where there is no setting.
    """
    sold = np.repeat(whole[:, None], len(limits), axis=1)
    held = np.full(sold.shape, np.inf)
    cpu, memory = resources.index(Resource.CPU), resources.index(Resource.MEMORY)
    settings = {cpu: [own.cpu for own in limits], memory: [own.memory for own in limits]}
    for row, above in zip((cpu, memory), limited_above, strict=True):
        owners = [np.nan if setting is None else limiter.sold(setting) for setting in settings[row]]
        sold[row] = np.fmin(np.fmin(sold[row], owners), above)
        held[row] = [np.inf if setting is None else limiter.held(setting) for setting in settings[row]]
    sold[memory] = np.fmin(sold[memory], [own.memory_bytes_max for own in limits])
    return sold, held


def whole_machine(resources: tuple[Resource, ...], machine: Machine, gpus: int) -> NDArray[np.float64]:
    """Return what the machine has of each resource (resources,); infinite where that is unknown."""
    amounts = {
        Resource.CPU: machine.cores,
        Resource.MEMORY: machine.memory_bytes,
        Resource.GPU: float(gpus),
        Resource.NETWORK: machine.network_bytes_per_second_max,
        Resource.STORAGE: np.inf,
    }
    return np.array([amounts[resource] for resource in resources])


def to_be_granted(resources: tuple[Resource, ...], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what grants may add up to (resources,): infinite for CPU and memory.

    Quotas and soft limits share a machine, they don't divide it: each of its workloads may have been sold all
    of it, and the kernel sees to who gets what. To cut them to what there is would starve whoever comes last.
    """
    shared = [resource in {Resource.CPU, Resource.MEMORY} for resource in resources]
    return np.where(shared, np.inf, whole)


def this_place(name: str, allocatable: NDArray[np.float64]) -> Places:
    """Return the one place there is: a server without a card."""
    none = np.empty(0, dtype=np.int64)
    return Places(
        names=(name,),
        is_card=np.zeros(1, dtype=np.bool_),
        allocatable=allocatable[:, None].copy(),
        worth=np.ones((allocatable.size, 1), dtype=np.float32),
        link_server=none,
        link_card=none,
        link_bytes_per_second=np.empty(0),
    )


def roster_of(
    ids: NDArray[np.int64],
    names: tuple[str, ...],
    resources: tuple[Resource, ...],
    *,
    capacity: NDArray[np.float64],
    violation_rate: float,
) -> Roster:
    """Return who is there, everyone on the same terms."""
    floors = np.array([[FLOORS.get(resource, 0.0)] for resource in resources])
    return Roster(
        ids=ids,
        names=names,
        violation_rate=np.full(ids.size, violation_rate, dtype=np.float32),
        priority=np.full(ids.size, PRIORITY, dtype=np.uint8),
        floor=np.fmin(floors, capacity).astype(np.float32),
        offloadable_ratio=np.zeros((len(resources), ids.size), dtype=np.float32),
    )
