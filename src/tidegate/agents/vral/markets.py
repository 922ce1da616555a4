"""Makes a market of a sample: who is there, what every supplier has for them, and what is coming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.vral.supplies import Market

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.agents.vral.suppliers import Supplier
    from tidegate.model.forecast import Forecast
    from tidegate.model.snapshot import Snapshot

PREDICTED_LEVEL: Final = 0.99
"""The quantile of demand over the lead that what is held is compared with."""


def market_of(
    snapshot: Snapshot,
    forecast: Forecast,
    suppliers: Sequence[Supplier],
    *,
    expected: NDArray[np.float32] | None = None,
) -> Market:
    """Return the market as of a sample and its forecast; ``suppliers`` in the order they are drawn from.

    ``expected`` is demand as whoever decides expects it (resources, workloads); where it is NaN, or there is
    none, the forecast speaks.
    """
    predicted = forecast.at_level(PREDICTED_LEVEL).astype(np.float64)
    if expected is not None:
        predicted = np.where(np.isnan(expected), predicted, expected)
    told = [supplier.supplies(snapshot, predicted) for supplier in suppliers]
    roster = snapshot.roster
    return Market(
        rows={name: at for at, name in enumerate(roster.names)},
        ids=roster.ids.tolist(),
        priorities=roster.priority.tolist(),
        supplies={
            resource: tuple(supplies[resource] for supplies in told if resource in supplies)
            for resource in snapshot.resources
        },
        predicted={resource: predicted[row] for row, resource in enumerate(snapshot.resources)},
        lead_seconds=float(forecast.lead_seconds),
    )
