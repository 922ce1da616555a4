"""Guards against taking too much too soon: what is in use, and from whom little is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.model.columns import Column, Columns
from tidegate.model.plan import Plan, Reason, shrunk
from tidegate.model.snapshot import expected, in_server_units
from tidegate.plan.guards import given_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class KeepInUse:
    """Never take what is in use; who ran short just now, or sent no sample, loses nothing."""

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan with shrinks that end at what is in use, if not before."""
        held = in_server_units(expected(snapshot), snapshot)
        unsure = np.isnan(snapshot.used) | snapshot.pressed
        keep = np.where(unsure, held, np.fmin(held, snapshot.used))
        missing = np.fmax(keep - in_server_units(plan.wanted, snapshot), 0)
        if not (missing > 0).any():
            return plan
        wanted = given_back(plan.wanted, missing, plan, snapshot)
        return shrunk(plan, wanted, (wanted != plan.wanted).any(axis=0), Reason.GUARD_IN_USE)


class Newcomers:
    """Take nothing from a series until it was watched for ``seconds``: one quiet moment says little."""

    def __init__(self, seconds: int) -> None:
        """Know nobody yet."""
        self._seconds = seconds
        self._memory = Columns(seen_seconds=Column(dtype=np.float32, fill=0.0))

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan in which newcomers lose nothing."""
        self._memory.follow(snapshot)
        seen = self._memory["seen_seconds"]
        seen += np.float32(snapshot.step_seconds) * ~np.isnan(snapshot.used)
        held = expected(snapshot)
        loses = in_server_units(plan.wanted, snapshot) < in_server_units(held, snapshot)
        young = (seen < self._seconds) & loses
        return shrunk(plan, np.where(young, held, plan.wanted), young, Reason.GUARD_NEWCOMER)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return how long each was watched."""
        return self._memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)


__all__ = ["KeepInUse", "Newcomers"]
