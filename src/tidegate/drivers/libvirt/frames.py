"""A look at all domains becomes the frames of a snapshot; pure, arrays over all domains.

Memory in use is what the guest could not give up: its memory less what it calls usable, so that what it
holds less what it uses is what it has left. A sample is pressed, and says nothing of how little it wanted:
CPU where it used its grant or its vCPUs waited for the host, memory where it swapped or was nearly full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.libvirt.bulk import RUNNING, Amount, Total
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, SHARES, Roster
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.drivers.libvirt.bulk import Sample
    from tidegate.drivers.libvirt.described import Described
    from tidegate.drivers.libvirt.policy import Policy

RESOURCES: Final = (Resource.CPU, Resource.MEMORY, Resource.NETWORK, Resource.STORAGE)
CPU, MEMORY, NETWORK, STORAGE = range(len(RESOURCES))
STALE_PERIODS: Final = 3
"""A guest that told nothing for so many periods tells nothing of now."""
NEAR_GRANT_RATIO: Final = 0.9
WAITED_RATIO: Final = 0.1
"""vCPUs that waited for this share of the time they could have run were held up: more was wanted."""
WAITED_CORES_MIN: Final = 0.05
"""Less waiting than this is the scheduler's everyday."""
NEARLY_FULL_RATIO: Final = 0.05
"""Usable below this share of a guest's memory is critical, as oVirt's Memory Overcommitment
Manager has it."""
FLOORS: Final = {Resource.CPU: 0.1, Resource.MEMORY: 128 * 2.0**20}
"""What nobody goes below, clipped to what was sold: a guest's kernel must be able to answer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Behaviour:
    """What people ask for and no frame holds, in the order of the roster; NaN where unknown."""

    time_seconds: int
    roster: Roster
    vcpus: NDArray[np.float64]
    vcpu_delay_ratio: NDArray[np.float64]
    """Share of the time in which vCPUs could have run that they waited for the host: steal."""
    major_faults_per_second: NDArray[np.float64]
    swap_in_bytes_per_second: NDArray[np.float64]
    swap_out_bytes_per_second: NDArray[np.float64]
    memory_bytes_usable: NDArray[np.float64]
    memory_bytes_cache: NDArray[np.float64]
    memory_bytes_resident: NDArray[np.float64]
    """Of the emulator, on the host."""
    told_seconds_ago: NDArray[np.float64]
    """Since the guest told of its memory."""
    running: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """The columns of a snapshot that change with every read."""

    used: NDArray[np.float32]
    capacity: NDArray[np.float32]
    pressed: NDArray[np.bool_]
    grant: NDArray[np.float32]


def fresh(sample: Sample, time_seconds: float, period_seconds: float) -> NDArray[np.bool_]:
    """Whether each guest has told of its memory lately (domains,); where no time is told it is believed."""
    age = time_seconds - sample.amounts[Amount.UPDATED_SECONDS]
    known = ~np.isnan(sample.amounts[Amount.USABLE_BYTES])
    return known & ~(age > STALE_PERIODS * max(period_seconds, 1.0))


def frames_of(
    sample: Sample,
    per_second: NDArray[np.float64],
    *,
    told: NDArray[np.bool_],
    sold: NDArray[np.float64],
    held: NDArray[np.float64],
) -> Frames:
    """Return the frames, (resources, domains) in the order of `RESOURCES`.

    ``told`` is whose memory is known to be of now, ``sold`` and ``held`` are amounts by resource, infinite
    where nothing limits.
    """
    running = sample.amounts[Amount.STATE] == RUNNING
    cpu = per_second[Total.VCPU_SECONDS]
    cpu = np.where(np.isnan(cpu), per_second[Total.CPU_SECONDS], cpu)
    usable, memory = sample.amounts[Amount.USABLE_BYTES], sample.amounts[Amount.MEMORY_BYTES]
    network = np.fmax(per_second[Total.RECEIVED_BYTES], per_second[Total.SENT_BYTES])
    storage = per_second[Total.READ_BYTES] + per_second[Total.WRITTEN_BYTES]
    used = np.stack([cpu, np.where(told, np.maximum(memory - usable, 0.0), np.nan), network, storage])
    used[:, ~running] = np.nan
    capacity = np.where(np.isfinite(sold), sold, np.nan).astype(np.float32)
    grant = np.zeros((SHARES, *used.shape), dtype=np.float32)
    grant[HOST] = np.minimum(held.astype(np.float32), capacity)
    return Frames(
        used=used.astype(np.float32),
        capacity=capacity,
        pressed=_pressed(
            sample, per_second, used, capacity.astype(np.float64), grant[HOST].astype(np.float64)
        ),
        grant=grant,
    )


def _pressed(
    sample: Sample,
    per_second: NDArray[np.float64],
    used: NDArray[np.float64],
    capacity: NDArray[np.float64],
    grant: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return where at least what was used was wanted; never where nothing is known to be used."""
    pressed: NDArray[np.bool_] = used >= grant - VIOLATION_TOLERANCE_RATIO * capacity
    waited = np.nan_to_num(per_second[Total.DELAY_SECONDS])
    wanted = used[CPU] + waited
    pressed[CPU] &= used[CPU] >= NEAR_GRANT_RATIO * grant[CPU]
    pressed[CPU] |= (waited >= WAITED_CORES_MIN) & (waited >= WAITED_RATIO * wanted)
    usable, memory = sample.amounts[Amount.USABLE_BYTES], sample.amounts[Amount.MEMORY_BYTES]
    pressed[MEMORY] = (per_second[Total.SWAPPED_OUT_BYTES] > 0) | (usable < NEARLY_FULL_RATIO * memory)
    return pressed & ~np.isnan(used)


def sold_and_held(
    sample: Sample, described: Sequence[Described], owned: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what was sold and what is held, (resources, domains); infinite where nothing limits.

    ``owned`` is what the owner's own settings allow, whatever holds now; a policy may say more of CPU and
    memory, up to what the domain was defined with, and what network and storage are to be counted against.
    """
    policies = [one.policy for one in described]
    vcpus = np.array([one.vcpus_max for one in described], dtype=np.float64)
    vcpus = np.fmax(vcpus, sample.amounts[Amount.VCPUS])
    sold = owned.copy()
    cores_max = _said(policies, "cpu_cores_max")
    plugs = np.array([policy.plug for policy in policies], dtype=np.bool_)
    sold[CPU] = np.where(
        plugs, np.fmin(np.fmax(cores_max, owned[CPU]), vcpus), np.fmin(owned[CPU], cores_max)
    )
    sold[CPU] = np.where(plugs & np.isnan(cores_max), vcpus, sold[CPU])
    bytes_max = _said(policies, "memory_bytes_max")
    most = np.fmax(sample.amounts[Amount.MEMORY_BYTES_MAX], sample.amounts[Amount.MEMORY_BYTES])
    sold[MEMORY] = np.where(np.isnan(bytes_max), owned[MEMORY], np.fmin(bytes_max, most))
    sold[NETWORK] = np.fmin(owned[NETWORK], _said(policies, "network_bytes_per_second_max"))
    sold[STORAGE] = np.fmin(owned[STORAGE], _said(policies, "storage_bytes_per_second_max"))
    return sold, _held(sample, described)


def _held(sample: Sample, described: Sequence[Described]) -> NDArray[np.float64]:
    """Return what the domains' settings allow now."""
    vcpus = sample.amounts[Amount.VCPUS]
    vcpus = np.where(np.isnan(vcpus), [one.vcpus for one in described], vcpus)
    quota = np.array([one.quota_microseconds for one in described], dtype=np.float64)
    period = np.array([one.period_microseconds for one in described], dtype=np.float64)
    return np.stack(
        [
            np.where(quota > 0, np.fmin(quota / period, 1.0), 1.0) * vcpus,
            sample.amounts[Amount.MEMORY_BYTES],
            np.array([one.network_bytes_per_second for one in described], dtype=np.float64),
            np.array([one.disk_bytes_per_second for one in described], dtype=np.float64),
        ]
    ).reshape(len(RESOURCES), len(described))


def roster_of(
    sample: Sample, policies: Sequence[Policy], sold: NDArray[np.float64], violation_rate: float
) -> Roster:
    """Return who is there, on the terms of each policy."""
    floors = np.array([[FLOORS.get(resource, 0.0)] for resource in RESOURCES])
    floor = np.repeat(floors, len(policies), axis=1)
    floor[CPU] = np.fmax(floor[CPU], _said(policies, "cpu_cores_min"))
    floor[MEMORY] = np.fmax(floor[MEMORY], _said(policies, "memory_bytes_min"))
    rate = _said(policies, "violation_rate")
    return Roster(
        ids=sample.ids,
        names=sample.names,
        violation_rate=np.where(np.isnan(rate), violation_rate, rate).astype(np.float32),
        priority=np.array([policy.priority for policy in policies], dtype=np.uint8),
        floor=np.fmin(floor, sold).astype(np.float32),
        offloadable_ratio=np.zeros(floor.shape, dtype=np.float32),
    )


def behaviour_of(
    sample: Sample, per_second: NDArray[np.float64], roster: Roster, time_seconds: int
) -> Behaviour:
    """Name the rows of rates and amounts."""
    amounts, waited = sample.amounts, per_second[Total.DELAY_SECONDS]
    could = per_second[Total.VCPU_SECONDS] + waited
    ratio = np.divide(waited, could, out=np.zeros_like(could), where=could > 0)
    return Behaviour(
        time_seconds=time_seconds,
        roster=roster,
        vcpus=amounts[Amount.VCPUS],
        vcpu_delay_ratio=np.where(np.isnan(could), np.nan, ratio),
        major_faults_per_second=per_second[Total.MAJOR_FAULTS],
        swap_in_bytes_per_second=per_second[Total.SWAPPED_IN_BYTES],
        swap_out_bytes_per_second=per_second[Total.SWAPPED_OUT_BYTES],
        memory_bytes_usable=amounts[Amount.USABLE_BYTES],
        memory_bytes_cache=amounts[Amount.CACHE_BYTES],
        memory_bytes_resident=amounts[Amount.RESIDENT_BYTES],
        told_seconds_ago=time_seconds - amounts[Amount.UPDATED_SECONDS],
        running=amounts[Amount.STATE] == RUNNING,
    )


def _said(policies: Sequence[Policy], name: str) -> NDArray[np.float64]:
    """Return one word of all policies (domains,); NaN where it was not said."""
    return np.array([getattr(policy, name) for policy in policies], dtype=np.float64)
