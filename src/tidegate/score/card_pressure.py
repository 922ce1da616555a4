"""The workload score: how much of what cards can give a server will ask for at its peak.

For each resource: the SLA quantile of the server's summed offloadable demand at its peak over the
horizon, over what is allocatable to it on cards. The score is the largest part, clipped to 0-100.

| demand peak   | allocatable to it | part | score |
|---------------|-------------------|------|-------|
| nothing       | 8 cores           |    0 |     0 |
| 2 cores       | 8 cores           |   25 |    25 |
| 12 cores      | 8 cores           |  150 |   100 |
| anything      | nothing           |  inf |   100 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.model.forecast import between_levels
from tidegate.model.roster import CARD, NO_CARD
from tidegate.model.scores import Scores
from tidegate.model.snapshot import strictest_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast, ServerForecast
    from tidegate.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class CardPressure:
    """Scores every server that some card serves; a pure function of snapshot and forecast."""

    def score(self, snapshot: Snapshot, forecast: Forecast) -> Scores | None:
        """Return the scores; None without cards or without a forecast of the servers' sums."""
        if forecast.servers is None or snapshot.places.link_server.size == 0:
            return None
        servers = np.unique(snapshot.places.link_server)
        level = 1 - strictest_rates(snapshot)[servers]
        demand = _demand(forecast.servers, servers, level)
        allocatable = _allocatable(snapshot)[:, servers]
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = np.where(demand > 0, 100 * demand / allocatable, 0).astype(np.float32)
        return Scores(
            resources=snapshot.resources,
            server=servers,
            value=np.clip(parts.max(axis=0), 0, 100),
            parts=parts,
            demand=demand,
            allocatable=allocatable,
            level=level,
            horizon_seconds=forecast.servers.horizon_seconds,
            names=tuple(snapshot.places.names[server] for server in servers),
        )


def _demand(
    forecast: ServerForecast, servers: NDArray[np.int64], level: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Each server's quantile at its own level: (resources, servers); 0 where nothing was seen yet."""
    demand = np.zeros((forecast.quantiles.shape[1], servers.size))
    for asked in np.unique(level):
        mine = level == asked
        quantile = between_levels(forecast.levels, forecast.quantiles[:, :, servers[mine]], float(asked))
        demand[:, mine] = np.nan_to_num(quantile)
    return demand


def _allocatable(snapshot: Snapshot) -> NDArray[np.float64]:
    """What cards can give each place: their capacity less what other servers' workloads hold there."""
    places = snapshot.places
    count = len(places.names)
    pair = np.where(
        snapshot.card == NO_CARD, count * count, snapshot.host.astype(np.int64) * count + snapshot.card
    )
    link = places.link_server * count + places.link_card
    result = np.zeros(places.allocatable.shape)
    for row in range(len(snapshot.resources)):
        held_at_card = np.bincount(
            np.where(snapshot.card == NO_CARD, count, snapshot.card), snapshot.grant[CARD, row], count + 1
        )
        keys, at = np.unique(pair, return_inverse=True)
        held_by_pair = np.bincount(at, snapshot.grant[CARD, row], keys.size)
        mine = _looked_up(link, keys, held_by_pair)
        free = places.allocatable[row, places.link_card] - (held_at_card[places.link_card] - mine)
        result[row] = np.bincount(places.link_server, np.maximum(free, 0), count)
    return result


def _looked_up(
    wanted: NDArray[np.int64], keys: NDArray[np.int64], values: NDArray[Any]
) -> NDArray[np.float64]:
    """The value of each wanted key among sorted keys; 0 where it is not there."""
    if keys.size == 0:
        return np.zeros(wanted.shape)
    at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.where(keys[at] == wanted, values[at], 0.0)
