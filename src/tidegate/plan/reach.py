"""The guard that keeps a plan to what can be done here: nothing is asked that would be refused anyway."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.plan import Reason
from tidegate.model.snapshot import expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.model.plan import Plan
    from tidegate.model.snapshot import Snapshot


class WithinReach:
    """Holds every share that the driver can't set."""

    def __init__(self, settable: Callable[[], NDArray[np.bool_]]) -> None:
        """Ask ``settable`` at each tick: (resources, workloads) of the snapshot last read."""
        self._settable = settable

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan in which what is out of reach holds; whoever has such a part stays on its card."""
        held = expected(snapshot)
        moves = plan.card != snapshot.card
        out = ((plan.wanted != held).any(axis=0) | moves) & ~self._settable()
        if not out.any():
            return plan
        stays = moves & out.any(axis=0)
        return replace(
            plan,
            wanted=np.where(out | stays, held, plan.wanted),
            card=np.where(stays, snapshot.card, plan.card),
            reason=np.where(out, np.uint8(Reason.HELD_OUT_OF_REACH), plan.reason),
        )


__all__ = ["WithinReach"]
