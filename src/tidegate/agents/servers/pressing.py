"""How hard each server presses on a card: the workload score of those whose work its applications do.

The SLA quantile of the *sum* of what a server's applications will need at its peak, over what the card can
give to that server: what is allocatable less what other servers' applications hold. The largest part counts,
as in `tidegate.score.card_pressure`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tidegate.agents.servers.expecting import AHEAD_SECONDS, Expecting
from tidegate.agents.servers.own import identifier_of
from tidegate.model.roster import NO_CARD, SHARES, Roster, one_unbounded_server
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.model.resources import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """One server's score."""

    server: str
    score: float
    reason: str


@dataclass(slots=True, kw_only=True, eq=False)
class Pressing:
    """Sums applications by server, forecasts the sums, and scores them."""

    resources: tuple[Resource, ...]
    _expecting: Expecting = field(init=False)
    _roster: Roster | None = None

    def __post_init__(self) -> None:
        """Forecast sums apart from the applications."""
        self._expecting = Expecting(resources=self.resources)

    def show(self, snapshot: Snapshot, servers: Sequence[str]) -> None:
        """Take in a snapshot of applications; ``servers`` says whose work each does, empty for nobody's."""
        names = tuple(sorted(set(servers) - {""}))
        if not names:
            return
        member = np.array([[server == name for name in names] for server in servers], dtype=np.float32)
        self._expecting.show(self._summed(snapshot, names, member))

    def scores(
        self,
        snapshot: Snapshot,
        servers: Sequence[str],
        allocatable: NDArray[np.float64],
        reserved: NDArray[np.float32],
    ) -> tuple[Pressure, ...]:
        """Return the score of each server, as of what was shown; ``allocatable`` is (resources,).

        ``reserved`` (resources, applications) is what is kept for each, NaN where nothing is: such a one
        takes from the others what it uses.
        """
        names = tuple(sorted(set(servers) - {""}))
        held = np.where(np.isnan(reserved), np.nan_to_num(snapshot.used), reserved)
        found = []
        for name in names:
            others = np.array([server != name for server in servers])
            room = np.maximum(allocatable - held[:, others].sum(axis=1), 0)
            demand = self._expecting.expected(name)
            if demand is not None:
                found.append(self._scored(name, np.nan_to_num(demand), room))
        return tuple(found)

    def _scored(self, name: str, demand: NDArray[np.float32], room: NDArray[np.float64]) -> Pressure:
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = np.where(demand > 0, 100 * demand / room, 0.0)
        row = int(parts.argmax())
        resource = self.resources[row]
        return Pressure(
            server=name,
            score=float(np.clip(parts[row], 0, 100)),
            reason=(
                f"{resource.label}: its applications' demand peaks at {demand[row]:.4g} {resource.unit} "
                f"within {AHEAD_SECONDS // 60} minutes, of {room[row]:.4g} allocatable to it"
            ),
        )

    def _summed(self, snapshot: Snapshot, names: tuple[str, ...], member: NDArray[np.float32]) -> Snapshot:
        shape = len(self.resources), len(names)
        roster = self._roster_of(names, snapshot.roster, member)
        grant = np.zeros((SHARES, *shape), dtype=np.float32)
        grant[0] = np.nan_to_num(snapshot.held) @ member
        return Snapshot(
            time_seconds=snapshot.time_seconds,
            step_seconds=snapshot.step_seconds,
            resources=self.resources,
            roster=roster,
            places=one_unbounded_server(shape[0]),
            host=np.zeros(shape[1], dtype=np.int32),
            card=np.full(shape[1], NO_CARD, dtype=np.int32),
            used=np.nan_to_num(snapshot.used) @ member,
            capacity=np.nan_to_num(snapshot.capacity) @ member,
            pressed=(snapshot.pressed.astype(np.float32) @ member) > 0,
            grant=grant,
            in_flight=np.zeros_like(grant),
        )

    def _roster_of(self, names: tuple[str, ...], roster: Roster, member: NDArray[np.float32]) -> Roster:
        """One row per server, with its applications' strictest rate; the same object while both are the same.

        Numbers are those of the names: rows follow a server where others come or go.
        """
        rates = np.where(member > 0, roster.violation_rate[:, None], np.inf).min(axis=0).astype(np.float32)
        known = self._roster
        if known is not None and known.names == names and np.array_equal(known.violation_rate, rates):
            return known
        self._roster = Roster(
            ids=np.array([identifier_of(name) for name in names], dtype=np.int64),
            names=names,
            violation_rate=rates,
            priority=np.ones(len(names), dtype=np.uint8),
            floor=np.zeros((len(self.resources), len(names)), dtype=np.float32),
            offloadable_ratio=np.zeros((len(self.resources), len(names)), dtype=np.float32),
        )
        return self._roster
