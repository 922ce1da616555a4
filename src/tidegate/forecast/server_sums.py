"""Forecasts each server's *summed* offloadable demand beside its workloads', for the scores.

The quantile of a sum is not the sum of quantiles: workloads peak at different times, or, when backups
start, at the same time. So the sum is forecast as a series of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.model.columns import prefixed, under
from tidegate.model.forecast import Forecast, ServerForecast
from tidegate.model.roster import NO_CARD, Roster, one_unbounded_server
from tidegate.model.snapshot import Snapshot, card_worth, strictest_rates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.ports import Forecaster


class WithServerSums:
    """Wraps a forecaster of workloads; a second one, with the scores' horizon, sees the sums."""

    def __init__(self, workloads: Forecaster, sums: Forecaster) -> None:
        """Take the forecaster of workloads and the one for sums; they share nothing."""
        self._workloads = workloads
        self._sums = sums
        self._roster: tuple[Roster, Roster] | None = None
        self._seen: Snapshot | None = None

    def observe(self, snapshot: Snapshot) -> None:
        """Show each forecaster its own series."""
        self._workloads.observe(snapshot)
        self._seen = self._summed(snapshot)
        self._sums.observe(self._seen)

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the workloads' forecast with the servers' beside it."""
        sums = self._sums.forecast(self._summed(snapshot) if self._seen is None else self._seen)
        servers = ServerForecast(
            levels=sums.levels, quantiles=sums.quantiles, horizon_seconds=sums.lead_seconds
        )
        return replace(self._workloads.forecast(snapshot), servers=servers)

    def _summed(self, snapshot: Snapshot) -> Snapshot:
        """Return the fleet with one row per place in place of one per workload."""
        roster = self._roster_of_places(snapshot)
        shape = len(snapshot.resources), len(roster)
        return replace(
            snapshot,
            roster=roster,
            places=one_unbounded_server(shape[0]),
            host=np.zeros(shape[1], dtype=np.int32),
            card=np.full(shape[1], NO_CARD, dtype=np.int32),
            used=offloadable_sums(snapshot, snapshot.used),
            capacity=offloadable_sums(snapshot, snapshot.capacity),
            pressed=np.zeros(shape, dtype=np.bool_),
            grant=np.zeros((2, *shape), dtype=np.float32),
            in_flight=np.zeros((2, *shape), dtype=np.float32),
        )

    def _roster_of_places(self, snapshot: Snapshot) -> Roster:
        """One row per place; the same object as long as the fleet's roster is."""
        if self._roster is not None and self._roster[0] is snapshot.roster:
            return self._roster[1]
        places, resources = len(snapshot.places.names), len(snapshot.resources)
        roster = Roster(
            ids=np.arange(places, dtype=np.int64),
            names=snapshot.places.names,
            violation_rate=strictest_rates(snapshot),
            priority=np.ones(places, dtype=np.uint8),
            floor=np.zeros((resources, places), dtype=np.float32),
            offloadable_ratio=np.zeros((resources, places), dtype=np.float32),
        )
        self._roster = (snapshot.roster, roster)
        return roster

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what both forecasters remember, where they can be saved."""
        named: dict[str, NDArray[Any]] = {}
        for name, part in self._parts():
            if hasattr(part, "state"):
                named |= prefixed(name, part.state())
        return named

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        for name, part in self._parts():
            if hasattr(part, "restore"):
                part.restore(under(state, name))

    def _parts(self) -> tuple[tuple[str, Forecaster], ...]:
        return ("workloads", self._workloads), ("sums", self._sums)


def offloadable_sums(snapshot: Snapshot, amounts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum the offloadable part of amounts (resources, workloads) per place, in card units.

    Where samples are missing the present ones stand for them in proportion to capacity; NaN where a
    server has none present.
    """
    places = len(snapshot.places.names)
    factor = snapshot.roster.offloadable_ratio / card_worth(snapshot)
    present = ~np.isnan(amounts)
    weight = np.nan_to_num(snapshot.capacity) * factor
    sums = np.empty((amounts.shape[0], places), dtype=np.float32)
    for row in range(amounts.shape[0]):
        part = np.where(present[row], amounts[row] * factor[row], 0)
        total = np.bincount(snapshot.host, weights=part, minlength=places)
        known = np.bincount(snapshot.host, weights=weight[row] * present[row], minlength=places)
        whole = np.bincount(snapshot.host, weights=weight[row], minlength=places)
        with np.errstate(invalid="ignore", divide="ignore"):
            sums[row] = np.where(whole > 0, total * (whole / known), 0)
    return sums
