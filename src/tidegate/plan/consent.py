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
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tidegate.model.autonomy import Autonomy
    from tidegate.model.plan import Plan
    from tidegate.model.snapshot import Snapshot

_REASONS = np.array([Reason.HELD_OBSERVED, Reason.HELD_RECOMMENDED, Reason.HELD_PAUSED], dtype=np.uint8)
"""By level; whoever may be acted on is held by a pause alone."""


class Consent:
    """Lets a plan change only what it may; asks anew at every tick."""

    def __init__(self, autonomy: Callable[[], Autonomy]) -> None:
        """Ask ``autonomy`` before each tick's actions."""
        self._autonomy = autonomy
        self._asked: tuple[Autonomy, Sequence[str]] | None = None
        self._levels: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan in which whoever may not be acted on holds."""
        refused, reason = self.asked(snapshot.roster.names)
        if not refused.any():
            return plan
        held = expected(snapshot)
        changes = (plan.wanted != held).any(axis=0) & refused
        wanted = np.where(refused, held, plan.wanted)
        codes = np.where(changes, reason, plan.reason)
        card = np.where(refused, snapshot.card, plan.card)
        return replace(plan, wanted=wanted, reason=codes, card=card)

    def asked(self, names: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Return who may not be acted on now, and the reason (`Reason`) for each: (names,) both."""
        now = self._autonomy()
        levels = self._levels_of(now, names)
        refused = np.ones(levels.shape, dtype=np.bool_) if now.paused else levels < Level.AUTO
        return refused, _REASONS[levels]

    def _levels_of(self, now: Autonomy, names: Sequence[str]) -> NDArray[np.uint8]:
        """Match names against patterns only when either changed."""
        if self._asked is None or self._asked[0] != now or self._asked[1] is not names:
            self._asked = (now, names)
            self._levels = now.levels(names)
        return self._levels


__all__ = ["Consent"]
