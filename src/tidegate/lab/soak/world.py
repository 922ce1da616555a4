"""The world of a soak: a trace that happenings befall, as telemetry source and actuator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.outcome import Outcome, nothing_confirmed
from tidegate.model.roster import HOST, NO_CARD, SHARES, Roster, one_unbounded_server
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO, Snapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.lab.soak.happenings import Happenings
    from tidegate.model.plan import Actions
    from tidegate.model.trace import Trace

FLOOR_EVERY = 5
FLOOR_RATIO = 0.02
"""Every fifth VM never holds less than this share of what it was sold at first."""


class World:
    """Demand by the trace; what is there, and what telemetry sees of it, by what happens."""

    def __init__(self, trace: Trace, happenings: Happenings, sla: float) -> None:
        """Stand before the first step; whoever comes holds what it was sold."""
        self._trace, self._happenings, self._sla = trace, happenings, sla
        self._places = one_unbounded_server(len(trace.resources))
        shape = len(trace.resources), len(trace.vms)
        self._held = np.full(shape, np.nan, dtype=np.float32)
        self._known = np.full(shape, np.nan, dtype=np.float32)
        self._floor = _floors(trace)
        self._present: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._ids: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._roster: Roster | None = None
        self._tick = -1

    def now_seconds(self) -> int:
        """Return the clock's time at the end of the step last read, jumps included."""
        clock = int(self._happenings.clock_seconds[max(self._tick, 0)])
        return self._trace.start_seconds + (self._tick + 1) * self._trace.step_seconds + clock

    def read(self) -> Snapshot:
        """Move the world one step; use is what the grants let through."""
        self._tick += 1
        tick, happen = self._tick, self._happenings
        sold = self._trace.capacity[:, tick] * happen.size[tick]
        self._known = np.where(np.isnan(sold), self._known, sold)
        self._come_and_go()
        rows = self._present
        capacity, held = self._known[:, rows], self._held[:, rows]
        demand = np.minimum(self._trace.used[:, tick, rows], capacity)
        used = np.minimum(demand, held)
        pressed = demand > used + np.float32(VIOLATION_TOLERANCE_RATIO) * capacity
        zero = happen.zero[tick, rows] & ~np.isnan(used)
        missing = happen.missing[tick, rows]
        assert self._roster is not None, "made when somebody came"
        return Snapshot(
            time_seconds=self.now_seconds(),
            step_seconds=self._trace.step_seconds,
            resources=self._trace.resources,
            roster=self._roster,
            places=self._places,
            host=np.zeros(rows.size, dtype=np.int32),
            card=np.full(rows.size, NO_CARD, dtype=np.int32),
            used=np.where(missing, np.float32(np.nan), np.where(zero, np.float32(0), used)),
            capacity=capacity,
            pressed=pressed & ~missing & ~zero,
            grant=np.stack([held, np.zeros_like(held)]),
            in_flight=np.zeros((SHARES, *held.shape), dtype=np.float32),
        )

    def submit(self, actions: Actions) -> None:
        """Resize at once."""
        host = actions.share == HOST
        self._held[actions.resource_row[host], self._present[actions.workload[host]]] = actions.amount_to[
            host
        ]

    def collect(self) -> Outcome:
        """Return nothing: resizes are immediate."""
        return nothing_confirmed()

    def _come_and_go(self) -> None:
        """Bring roster and holdings in step with who is there; newcomers hold what they were sold."""
        happen, vms = self._happenings, len(self._trace.vms)
        present = np.flatnonzero(~happen.away[self._tick])
        ids = happen.generation[self._tick, present] * vms + present + 1
        new = np.isin(ids, self._ids, invert=True)
        self._held[:, present[new]] = np.nan
        self._held = np.where(np.isnan(self._held), self._known, np.fmin(self._held, self._known))
        if self._roster is not None and np.array_equal(ids, self._ids):
            return
        self._present, self._ids = present, ids
        self._roster = Roster(
            ids=ids,
            names=tuple(f"{self._trace.vms[vm]}.{at // vms}" for vm, at in zip(present, ids, strict=True)),
            violation_rate=np.full(ids.size, self._sla, dtype=np.float32),
            priority=np.ones(ids.size, dtype=np.uint8),
            floor=self._floor[:, present],
            offloadable_ratio=np.zeros((len(self._trace.resources), ids.size), dtype=np.float32),
        )


def _floors(trace: Trace) -> NDArray[np.float32]:
    """Return the floor of each VM (resources, vms)."""
    first = np.nanmax(np.where(np.isnan(trace.capacity), np.float32(0), trace.capacity), axis=1)
    return first * np.where(np.arange(first.shape[1]) % FLOOR_EVERY == 0, np.float32(FLOOR_RATIO), 0)
