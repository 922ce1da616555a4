"""`calibrated_reactive`: the pinned rule to beat, and the safe baseline of `tidegate`.

The base is the recent peak, from the forecaster; the margin is kept honest per series: after a sample
that ran short it grows by a factor e^(1 - sla), after any other it shrinks by e^-sla, so that in the
long run an ``sla`` share of samples runs short. (Multiplicative form of adaptive conformal inference,
Gibbs & Candes, NeurIPS 2021.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.columns import Column, Columns
from tidegate.model.plan import Plan, Reason, host_plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot

MARGIN_RATIO_START: Final = 0.05
"""Margin before any evidence, as a share of capacity. Pinned."""
MARGIN_RATIO_MIN: Final = 0.0001
MARGIN_RATIO_MAX: Final = 1.0
MARGIN_RATIO_KICK: Final = 0.00001
"""Added at each violation, so that a margin at its minimum can leave it. Pinned."""


def next_margin(
    margin: NDArray[np.float64],
    ran_short: NDArray[np.bool_],
    present: NDArray[np.bool_],
    violation_rate: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the margins (resources, workloads) after one sample; unchanged where it is missing.

    m <- clip(m exp(v - sla) + 0.00001 v, 0.0001, 1) with v = 1 where the sample ran short, else 0.
    """
    short = ran_short.astype(np.float64)
    moved = np.clip(
        margin * np.exp(short - violation_rate) + MARGIN_RATIO_KICK * short,
        MARGIN_RATIO_MIN,
        MARGIN_RATIO_MAX,
    )
    return np.where(present, moved, margin)


class CalibratedReactive:
    """Grants the recent peak plus a margin that its own violations calibrate."""

    def __init__(self) -> None:
        """Start every series at the pinned margin."""
        self._memory = Columns(margin=Column(dtype=np.float64, fill=MARGIN_RATIO_START))

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return base + margin x capacity, at most capacity; capacity before any sample."""
        self._memory.follow(snapshot)
        margin = next_margin(
            self._memory["margin"],
            snapshot.pressed,
            ~np.isnan(snapshot.used),
            snapshot.roster.violation_rate,
        )
        self._memory["margin"] = margin
        need = forecast.quantiles[-1] + margin * snapshot.capacity
        total = np.where(np.isnan(need), snapshot.capacity, np.minimum(need, snapshot.capacity))
        return host_plan(snapshot, total.astype(np.float32), Reason.BASELINE)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the margins."""
        return self._memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
