"""The guard that asks whether it may: autonomy by workload, and the pause that stops everything.

It runs after every guard that judges the plan, so that what it holds back is what would have been done: a
recommendation is a plan that passed them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.autonomy import Level
from tidegate.model.plan import Reason
from tidegate.model.snapshot import expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.model.autonomy import Autonomy
    from tidegate.model.plan import Plan
    from tidegate.model.roster import Roster
    from tidegate.model.snapshot import Snapshot

_REASONS = np.array([Reason.HELD_OBSERVED, Reason.HELD_RECOMMENDED, Reason.HELD_PAUSED], dtype=np.uint8)
"""By level; whoever may be acted on is held by a pause alone."""


class Consent:
    """Lets a plan change only what it may; asks anew at every tick."""

    def __init__(self, autonomy: Callable[[], Autonomy]) -> None:
        """Ask ``autonomy`` before each tick's actions."""
        self._autonomy = autonomy
        self._asked: tuple[Autonomy, Roster] | None = None
        self._levels: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan in which whoever may not be acted on holds."""
        now = self._autonomy()
        levels = self._levels_of(now, snapshot.roster)
        refused = np.ones(levels.shape, dtype=np.bool_) if now.paused else levels < Level.AUTO
        if not refused.any():
            return plan
        held = expected(snapshot)
        changes = (plan.wanted != held).any(axis=0) & refused
        reason = _REASONS[levels]
        wanted = np.where(refused, held, plan.wanted)
        codes = np.where(changes, reason, plan.reason)
        card = np.where(refused, snapshot.card, plan.card)
        return replace(plan, wanted=wanted, reason=codes, card=card)

    def _levels_of(self, now: Autonomy, roster: Roster) -> NDArray[np.uint8]:
        """Match names against patterns only when either changed."""
        if self._asked is None or self._asked[0] != now or self._asked[1] is not roster:
            self._asked = (now, roster)
            self._levels = now.levels(roster.names)
        return self._levels


__all__ = ["Consent"]
