"""A server in memory for an agent: whatever it costs to read a machine is no part of what is measured."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.local.clock import SystemClock
from tidegate.model.outcome import Outcome, Phase, nothing_confirmed
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, NO_CARD, SHARES, Roster, one_unbounded_server
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.plan import Actions

RESOURCES: Final = (Resource.CPU, Resource.MEMORY)
CAPACITY: Final = np.array([[4.0], [8e9]], dtype=np.float32)
FIRST_RATIO: Final = 0.3
"""Of capacity, what everyone holds at first."""
BURSTS_RATIO: Final = 0.1
"""Of workloads, those that want several times their usual in one step: somebody is always to be resized."""
BURST_TIMES: Final = 4.0


class MemoryServer:
    """Workloads whose demand is drawn anew each step, and which hold what they are given at once."""

    def __init__(self, name: str, workloads: int, *, seed: int) -> None:
        """Draw what everyone usually wants."""
        self._clock = SystemClock()
        self._random = np.random.default_rng(seed)
        shape = (len(RESOURCES), workloads)
        self._capacity = np.broadcast_to(CAPACITY, shape).astype(np.float32)
        self._usual = (self._random.beta(2, 8, shape) * self._capacity).astype(np.float32)
        self._grant = (FIRST_RATIO * self._capacity).astype(np.float32)
        self._confirmed: list[Outcome] = []
        self._roster = _roster(name, workloads)
        self.settable: NDArray[np.bool_] = np.ones(shape, dtype=np.bool_)
        self.read_seconds: list[float] = []
        """When each sample was there, on the clock of `perf_counter`."""
        self.changed_seconds: list[float] = []
        """For each of them when the first change came that followed it; NaN where none did."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What it measures."""
        return RESOURCES

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._clock.now_seconds()

    def read(self) -> Snapshot:
        """Draw a step."""
        shape = self._usual.shape
        bursts = np.where(self._random.random(shape) < BURSTS_RATIO, BURST_TIMES, 1.0)
        wanted = np.minimum(self._usual * self._random.gamma(16, 1 / 16, shape) * bursts, self._capacity)
        used = np.minimum(wanted, self._grant).astype(np.float32)
        grant = np.zeros((SHARES, *shape), dtype=np.float32)
        grant[HOST] = self._grant
        workloads = shape[1]
        snapshot = Snapshot(
            time_seconds=self.now_seconds(),
            step_seconds=1,
            resources=RESOURCES,
            roster=self._roster,
            places=one_unbounded_server(len(RESOURCES)),
            host=np.zeros(workloads, dtype=np.int32),
            card=np.full(workloads, NO_CARD, dtype=np.int32),
            used=used,
            capacity=self._capacity,
            pressed=wanted > used,
            grant=grant,
            in_flight=np.zeros_like(grant),
        )
        self.read_seconds.append(perf_counter())
        self.changed_seconds.append(np.nan)
        return snapshot

    def submit(self, actions: Actions) -> None:
        """Change what is held."""
        if self.changed_seconds and np.isnan(self.changed_seconds[-1]):
            self.changed_seconds[-1] = perf_counter()
        self._grant = self._grant.copy()
        self._grant[actions.resource_row, actions.workload] = actions.amount_to
        self._confirmed.append(
            Outcome(
                workload_id=actions.workload_id,
                resource_row=actions.resource_row,
                share=actions.share,
                phase=np.full(len(actions), Phase.APPLIED, dtype=np.uint8),
                amount_read_back=actions.amount_to,
            )
        )

    def collect(self) -> Outcome:
        """Return what became of it."""
        return self._confirmed.pop(0) if self._confirmed else nothing_confirmed()

    def path_seconds(self, first: int) -> NDArray[np.float64]:
        """Return how long it took from each sample to its change, from sample number ``first`` on."""
        took = np.array(self.changed_seconds[first:]) - np.array(self.read_seconds[first:])
        found: NDArray[np.float64] = took[np.isfinite(took)]
        return found


def _roster(name: str, workloads: int) -> Roster:
    shape = (len(RESOURCES), workloads)
    return Roster(
        ids=np.arange(1, workloads + 1, dtype=np.int64),
        names=tuple(f"{name}-{at:04}" for at in range(workloads)),
        violation_rate=np.full(workloads, 0.01, dtype=np.float32),
        priority=np.zeros(workloads, dtype=np.uint8),
        floor=np.broadcast_to(0.02 * CAPACITY, shape).astype(np.float32),
        offloadable_ratio=np.zeros(shape, dtype=np.float32),
    )


__all__ = ["RESOURCES", "MemoryServer"]
