"""Brings up who is below its floor: guards only ever stop a shrink there, growing is the planner's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.roster import HOST
from tidegate.model.snapshot import in_server_units

if TYPE_CHECKING:
    from tidegate.model.forecast import Forecast
    from tidegate.model.plan import Plan
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Planner


@dataclass(frozen=True, slots=True)
class WithFloors:
    """A planner that gives everyone at least what was agreed, up to what was sold."""

    planner: Planner

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return the planner's plan, host shares raised where the whole would be below the floor."""
        plan = self.planner.plan(snapshot, forecast, scores)
        total = in_server_units(plan.wanted, snapshot)
        # Where nothing is known (NaN) nothing is raised: guards hold that.
        missing = np.fmax(np.fmin(snapshot.roster.floor, snapshot.capacity) - total, 0)
        if not (missing > 0).any():
            return plan
        wanted = plan.wanted.copy()
        wanted[HOST] += np.nan_to_num(missing)
        return replace(plan, wanted=wanted)


__all__ = ["WithFloors"]
