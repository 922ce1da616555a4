"""`static`: everyone holds what they were sold. The cost of doing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.plan import Plan, Reason, host_plan

if TYPE_CHECKING:
    from tidegate.model.forecast import Forecast
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot


class Static:
    """Grants the whole capacity, always."""

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return capacity for everyone."""
        return host_plan(snapshot, snapshot.capacity, Reason.HOLD)
