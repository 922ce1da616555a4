"""Other policies run beside the one that acts, on the same samples: the league, live.

Each shadow holds what it would have granted itself and is judged by it, exactly as in a replay of the
samples; none of them acts. One of them is ours without its forecast: what it wants is the plan's
counterfactual. Where the grants that really held cut demand off, shadows see what was left of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.model.columns import Column, Columns, prefixed, under
from tidegate.model.roster import HOST, NO_CARD, SHARES, one_unbounded_server
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO, in_server_units
from tidegate.plan.league import League

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.plan import Plan
    from tidegate.model.roster import Roster
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Forecaster, Planner, Stopwatch

STAGE = "shadow"
"""Under which name a stopwatch finds what shadows cost."""


@dataclass(slots=True, kw_only=True)
class Shadow:
    """A policy that decides and never acts."""

    name: str
    forecaster: Forecaster
    planner: Planner


class Shadows:
    """A planner with others in its shadow."""

    def __init__(
        self,
        planner: Planner,
        *,
        name: str,
        shadows: Sequence[Shadow],
        counterfactual: str,
        stopwatch: Stopwatch,
    ) -> None:
        """Run ``shadows`` beside the policy ``name``; the one called ``counterfactual`` has no forecast."""
        self._planner = planner
        self._shadows = tuple(shadows)
        self._counterfactual = [shadow.name for shadow in shadows].index(counterfactual)
        self._stopwatch = stopwatch
        self.league = League((name, *(shadow.name for shadow in shadows)))
        self._held = Columns(total=Column(dtype=np.float32, fill=np.nan, leading=(len(self._shadows),)))
        self._alone: tuple[Roster, Snapshot] | None = None

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return the policy's plan, with what the shadow without a forecast wants beside it."""
        plan = self._planner.plan(snapshot, forecast, scores)
        with self._stopwatch.stage(STAGE):
            wanted = self._turn(snapshot)
        return replace(plan, counterfactual=wanted)

    def _turn(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """Judge what each held during the sample, let each decide; return the counterfactual."""
        self._held.follow(snapshot)
        scale = self.league.begin(snapshot)
        self.league.count(0, snapshot.held, snapshot.pressed, scale)
        tolerance = np.float32(VIOLATION_TOLERANCE_RATIO) * snapshot.capacity
        alone = self._without_places(snapshot)
        for at, shadow in enumerate(self._shadows):
            held = self._held["total"][at]
            total = np.fmin(np.where(np.isnan(held), snapshot.capacity, held), snapshot.capacity)
            short = snapshot.used > total + tolerance
            self.league.count(at + 1, total, short, scale)
            held[...] = self._decided(shadow, replace(alone, grant=_at_host(total), pressed=short))
        return self._held["total"][self._counterfactual].copy()

    @staticmethod
    def _decided(shadow: Shadow, snapshot: Snapshot) -> NDArray[np.float32]:
        shadow.forecaster.observe(snapshot)
        forecast = shadow.forecaster.forecast(snapshot)
        wanted = in_server_units(shadow.planner.plan(snapshot, forecast, None).wanted, snapshot)
        return np.fmin(np.where(np.isnan(wanted), snapshot.grant[HOST], wanted), snapshot.capacity)

    def _without_places(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot as if nothing limited anyone but what was sold, and nothing were in flight."""
        if self._alone is None or self._alone[0] is not snapshot.roster:
            workloads = len(snapshot.roster)
            bare = replace(
                snapshot,
                places=one_unbounded_server(len(snapshot.resources)),
                host=np.zeros(workloads, dtype=np.int32),
                card=np.full(workloads, NO_CARD, dtype=np.int32),
                in_flight=np.zeros((SHARES, *snapshot.used.shape), dtype=np.float32),
            )
            self._alone = (snapshot.roster, bare)
        bare = self._alone[1]
        return replace(snapshot, places=bare.places, host=bare.host, card=bare.card, in_flight=bare.in_flight)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the policy's memory, and everything in its shadow."""
        state = _state("policy", self._planner) | prefixed("league", self.league.state())
        for shadow in self._shadows:
            state |= _state(f"{shadow.name}.forecaster", shadow.forecaster)
            state |= _state(f"{shadow.name}.planner", shadow.planner)
        return state | prefixed("held", self._held.state())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        _restore("policy", self._planner, state)
        self.league.restore(under(state, "league"))
        for shadow in self._shadows:
            _restore(f"{shadow.name}.forecaster", shadow.forecaster, state)
            _restore(f"{shadow.name}.planner", shadow.planner, state)
        self._held.restore(under(state, "held"))


def _at_host(total: NDArray[np.float32]) -> NDArray[np.float32]:
    grant = np.zeros((SHARES, *total.shape), dtype=np.float32)
    grant[HOST] = total
    return grant


def _state(name: str, part: object) -> dict[str, NDArray[Any]]:
    """Return a part's memory under its name; nothing where it has none."""
    save = getattr(part, "state", None)
    return {} if save is None else prefixed(name, save())


def _restore(name: str, part: object, state: Mapping[str, NDArray[Any]]) -> None:
    load = getattr(part, "restore", None)
    if load is not None:
        load(under(state, name))


__all__ = ["STAGE", "Shadow", "Shadows"]
