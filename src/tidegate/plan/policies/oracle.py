"""`oracle`: sees the future. Replay only; the bound nobody can beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.plan import Plan, Reason, host_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot


class Oracle:
    """Grants exactly what the step in which the grant holds will use."""

    def __init__(
        self, demand_at: Callable[[int], NDArray[np.float32]], lead_steps: int = 1, hold_steps: int = 1
    ) -> None:
        """Take a look-up of demand (resources, workloads) by time in seconds; NaN where unknown."""
        self._demand_at = demand_at
        self._steps = range(lead_steps, lead_steps + hold_steps)

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return the peak demand of the steps it holds for; what is held where it is missing."""
        step, now = snapshot.step_seconds, snapshot.time_seconds
        future = np.fmax.reduce([self._demand_at(now + ahead * step) for ahead in self._steps])
        total = np.where(np.isnan(future), snapshot.held, future)
        return host_plan(snapshot, np.where(np.isnan(total), snapshot.capacity, total), Reason.HOLD)
