"""What a replay is judged by: the measures of one policy on one trace, accumulated tick by tick.

All are over samples after the warm-up. Demand u is capped by capacity, the grant a is the one that held
during the sample, missing samples don't count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

CHANGE_RATIO: Final = 0.01
"""A change is more than 1 % of capacity: pinned."""
WITHIN_SLA_FACTOR: Final = 1.2
"""A VM is within its SLA up to 1.2 x the rate: pinned."""
DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One policy's figures for one resource; ratios 0-1."""

    violation_ratio: float
    vms_within_sla_ratio: float
    unmet_ratio: float
    reserved_ratio: float
    slack_ratio: float
    changes_per_vm_day_p50: float
    changes_per_vm_day_p99: float


class Tally:
    """Sums per resource and workload while a replay runs; arrays (resources, workloads)."""

    def __init__(self, resources: int, workloads: int, *, step_seconds: int, warmup_ticks: int) -> None:
        """Start with nothing counted."""
        self._warmup_ticks = warmup_ticks
        self._step_seconds = step_seconds
        self._seen_ticks = 0
        self._last: NDArray[np.float32] | None = None
        shape = (resources, workloads)
        self.samples = np.zeros(shape, dtype=np.int64)
        self.violations = np.zeros(shape, dtype=np.int64)
        self._changes = np.zeros(shape, dtype=np.int64)
        self._unmet = np.zeros(shape)
        self._demand = np.zeros(shape)
        self.reserved = np.zeros(shape)
        self._served = np.zeros(shape)
        self.capacity = np.zeros(shape)

    def add(self, snapshot: Snapshot, demand: NDArray[np.float32]) -> None:
        """Count one step: ``demand`` (resources, workloads) against the grants that held during it."""
        self._seen_ticks += 1
        if self._seen_ticks <= self._warmup_ticks:
            return
        grant = np.minimum(snapshot.held, snapshot.capacity)
        present = ~np.isnan(demand) & ~np.isnan(grant)
        u = np.where(present, demand, 0).astype(np.float64)
        a = np.where(present, grant, 0).astype(np.float64)
        capacity = np.where(present, snapshot.capacity, 0).astype(np.float64)
        self.samples += present
        self.violations += u > a + VIOLATION_TOLERANCE_RATIO * capacity
        self._unmet += np.maximum(u - a, 0)
        self._demand += u
        self.reserved += a
        self._served += np.minimum(u, a)
        self.capacity += capacity
        if self._last is not None:
            with np.errstate(invalid="ignore"):
                self._changes += np.abs(grant - self._last) > CHANGE_RATIO * snapshot.capacity
        self._last = grant

    def violation_ratios(self, resource: int) -> NDArray[np.float64]:
        """Return each workload's own share of violating samples (workloads,); NaN where none counted."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.violations[resource] / self.samples[resource]

    def measures(self, resource: int, sla: float) -> Measures:
        """Return the figures of one resource (row number) at an SLA.

        Raises:
            InputError: no sample was left after the warm-up.

        """
        counted = self.samples[resource] > 0
        if not counted.any():
            raise InputError("no sample is left after the warm-up; give a shorter --warmup or a longer trace")
        own = self.violation_ratios(resource)[counted]
        days = (self._seen_ticks - self._warmup_ticks) * self._step_seconds / DAY_SECONDS
        changes = self._changes[resource][counted] / days
        return Measures(
            violation_ratio=float(self.violations[resource].sum() / self.samples[resource].sum()),
            vms_within_sla_ratio=float((own <= WITHIN_SLA_FACTOR * sla).mean()),
            unmet_ratio=_ratio(self._unmet[resource], self._demand[resource]),
            reserved_ratio=_ratio(self.reserved[resource], self.capacity[resource]),
            slack_ratio=1 - _ratio(self._served[resource], self.reserved[resource]),
            changes_per_vm_day_p50=float(np.percentile(changes, 50)),
            changes_per_vm_day_p99=float(np.percentile(changes, 99)),
        )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    total = float(whole.sum())
    return float(part.sum()) / total if total else 0.0
