"""`reactive`, `vpa`, `autopilot_window` and `n_sigma` decide alike: an expected need times a margin.

What differs is the forecaster each is paired with, in `tidegate.app.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.plan import Plan, Reason, host_plan

if TYPE_CHECKING:
    from tidegate.model.forecast import Forecast
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class WithMargin:
    """Grants the forecast's highest level times ``1 + margin_ratio``, at most capacity."""

    margin_ratio: float

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return need plus margin; capacity where nothing is known."""
        need = forecast.quantiles[-1] * np.float32(1 + self.margin_ratio)
        total = np.where(np.isnan(need), snapshot.capacity, np.minimum(need, snapshot.capacity))
        return host_plan(snapshot, total, Reason.HOLD)
