"""A wrapper that lets a planner decide less often than samples come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.roster import CARD, HOST, realigned, source_rows
from tidegate.model.snapshot import card_worth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.plan import Plan
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Planner


@dataclass(slots=True)
class Every:
    """Asks the planner at every sample, so that it learns, and acts on every n-th answer only."""

    planner: Planner
    ticks: int
    _tick: int = 0
    _decided: Plan | None = None
    _ids: NDArray[np.int64] | None = None

    @staticmethod
    def wrap(planner: Planner, decide_every_seconds: int, step_seconds: int) -> Planner:
        """Return the planner itself where it decides at every sample."""
        ticks = decide_every_seconds // step_seconds
        return planner if ticks <= 1 else Every(planner, ticks)

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return the plan if one is due, else the last decision for everyone still here."""
        plan = self.planner.plan(snapshot, forecast, scores)
        due = self._tick % self.ticks == 0
        self._tick += 1
        if due or self._decided is None or self._ids is None:
            self._decided, self._ids = plan, snapshot.roster.ids
            return plan
        decided = self._decided.wanted
        if self._ids is not snapshot.roster.ids:
            decided = _followed(decided, plan.wanted, source_rows(self._ids, snapshot.roster.ids))
        # The card share belongs to the card it was decided for.
        card_share = np.where(plan.card == snapshot.card, decided[CARD], plan.wanted[CARD])
        worth = card_worth(snapshot)
        card_share = np.fmin(card_share, snapshot.capacity / worth)
        host_share = np.fmin(decided[HOST], snapshot.capacity - card_share * worth)
        return replace(plan, wanted=np.stack([host_share, card_share]))


def _followed(
    decided: NDArray[np.float32], fresh: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the decided shares of those who were there, the fresh ones of newcomers."""
    wanted = realigned(decided, rows, 0.0)
    wanted[..., rows < 0] = fresh[..., rows < 0]
    return wanted


__all__ = ["Every"]
