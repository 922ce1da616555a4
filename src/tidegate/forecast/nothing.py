"""The forecaster that does not forecast: the shortest example of the port, and the off switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.forecast import Forecast, no_forecast

if TYPE_CHECKING:
    from tidegate.model.snapshot import Snapshot


class NothingForecaster:
    """Knows nothing; every policy must cope with it."""

    def observe(self, snapshot: Snapshot) -> None:
        """Learn nothing."""

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return unknown quantiles for every series; nothing may act on them."""
        resources, workloads = snapshot.used.shape
        return no_forecast(snapshot.time_seconds, snapshot.step_seconds, resources, workloads)
