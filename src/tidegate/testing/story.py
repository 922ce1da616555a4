"""The story the checks tell: a small fleet whose demand depends on workload, resource and tick alone.

So the same workload tells the same story wherever it stands in the roster and whoever comes or goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, NO_CARD
from tidegate.testing.fleets import STEP_SECONDS, forecast_of, places_of, roster_of, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.roster import Places, Roster
    from tidegate.model.snapshot import Snapshot

SIZE: Final = {
    Resource.CPU: 1.0,
    Resource.MEMORY: 4e9,
    Resource.GPU: 0.25,
    Resource.NETWORK: 1e8,
    Resource.STORAGE: 5e7,
}
"""What the smallest workload is sold of each resource."""
IDS: Final = 16
"""Workloads the story knows; identifiers 0 to 15."""
TICKS: Final = 96
"""Ticks the story knows."""
MISSING_RATIO: Final = 0.1
START_SECONDS: Final = 1_704_067_200 + 20 * 3600
"""Monday evening, so that a story of five-minute steps runs over midnight."""
LEVELS: Final = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Story:
    """Snapshots and forecasts of one fleet, by tick."""

    resources: tuple[Resource, ...] = (Resource.CPU, Resource.MEMORY)
    step_seconds: int = STEP_SECONDS
    seed: int = 20240101
    _rosters: dict[object, Roster] = field(default_factory=dict)

    def snapshot(
        self,
        tick: int,
        ids: Sequence[int] = range(6),
        *,
        size: float = 1.0,
        unknown: Sequence[int] = (),
        silent: bool = False,
        cards: bool = False,
        renamed: bool = False,
    ) -> Snapshot:
        """Return the fleet of ``ids`` at one tick.

        ``size`` stretches what everyone is sold; ``unknown`` have no capacity yet; a ``silent`` fleet
        sends no sample; with ``cards`` it lives on two servers and a card.
        """
        at = np.array(ids, dtype=np.int64)
        capacity = self._capacity(at) * np.float32(size)
        capacity[:, np.isin(at, unknown)] = np.nan
        ratio = self._drawn(tick, at)
        used = ratio * capacity
        used[self._drawn(tick + 1, at, salt=1) < (2 if silent else MISSING_RATIO)] = np.nan
        held = np.minimum(capacity, capacity * (0.25 + self._drawn(tick, at, salt=2)))
        has_card = cards & (at % 3 != 0)
        made = snapshot_of(
            np.minimum(used, held) if cards else used,
            capacity=capacity,
            held=held,
            pressed=used > held,
            host=at % 2 if cards else 0,
            card=np.where(has_card, 2, NO_CARD),
            places=self.places() if cards else None,
            roster=self._roster(ids, cards=cards, renamed=renamed),
            resources=self.resources,
            time_seconds=START_SECONDS + tick * self.step_seconds,
            step_seconds=self.step_seconds,
        )
        made.grant.setflags(write=True)
        made.grant[CARD] = np.where(has_card, np.nan_to_num(0.1 * capacity), 0)
        made.grant[0] = np.where(has_card, held - 0.1 * capacity, held)
        made.grant.setflags(write=False)
        return made

    def forecast(self, snapshot: Snapshot, *, unknown: bool = False) -> Forecast:
        """Return quantiles that follow the story; all NaN where nothing is known."""
        tick = (snapshot.time_seconds - START_SECONDS) // self.step_seconds
        median = self._drawn(tick + 1, snapshot.roster.ids) * snapshot.capacity
        factors = (np.nan,) if unknown else (1.0, 1.2, 1.5)
        levels = LEVELS[-1:] if unknown else LEVELS
        return forecast_of(snapshot, *(median * np.float32(factor) for factor in factors), levels=levels)

    def places(self) -> Places:
        """Return two servers and a card: roomy enough for some, not for all."""
        sizes = np.array([[SIZE[resource]] for resource in self.resources])
        return places_of(servers=sizes * [10.0, 4.0], cards=sizes * [6.0])

    def _roster(self, ids: Sequence[int], *, cards: bool, renamed: bool) -> Roster:
        """One roster object as long as the fleet is the same."""
        key = tuple(ids), cards, renamed
        if key not in self._rosters:
            at = np.array(ids, dtype=np.int64)
            self._rosters[key] = roster_of(
                at.size,
                resources=len(self.resources),
                ids=at,
                names=[f"{'new' if renamed else 'vm'}-{identity}" for identity in ids],
                violation_rate=0.01 + 0.01 * (at % 3),
                priority=at,
                floor=0.1 * self._capacity(at),
                offloadable_ratio=0.5 if cards else 0.0,
            )
        return self._rosters[key]

    def _capacity(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        sizes = np.array([[SIZE[resource]] for resource in self.resources])
        return (sizes * (1 + ids % 4)).astype(np.float32)

    def _drawn(self, tick: int, ids: NDArray[np.int64], salt: int = 0) -> NDArray[np.float32]:
        """Uniform numbers (resources, workloads) that depend on resource, workload and tick alone."""
        drawn = np.random.default_rng((self.seed, tick, salt)).random((len(Resource), IDS), dtype=np.float32)
        rows = np.array([int(resource) for resource in self.resources])
        return drawn[np.ix_(rows, ids)]
