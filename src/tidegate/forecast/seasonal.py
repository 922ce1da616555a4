"""Seasonal naive: what was used at this time yesterday, or a week ago, will be used again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.forecast.point import CERTAIN, of_one_model
from tidegate.forecast.windows import DAY_SECONDS, maximum_present, slot_of, steps_in
from tidegate.model.columns import Column, Columns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.snapshot import Snapshot


class SeasonalNaive:
    """The peak of the lead window one season ago; the last value where that is missing."""

    def __init__(self, *, step_seconds: int, lead_steps: int = 1, season_seconds: int = DAY_SECONDS) -> None:
        """Keep one slot per step of the season."""
        self._slots = steps_in(season_seconds, step_seconds)
        self._lead_steps = lead_steps
        self._memory = Columns(
            ring=Column(dtype=np.float32, fill=np.nan, leading=(self._slots,)),
            last=Column(dtype=np.float32, fill=np.nan),
        )

    def observe(self, snapshot: Snapshot) -> None:
        """Put the samples in the slot of their time of season."""
        self._memory.follow(snapshot)
        used = np.minimum(snapshot.used, snapshot.capacity)
        self._memory["ring"][slot_of(snapshot.time_seconds, snapshot.step_seconds, self._slots)] = used
        self._memory["last"] = np.where(np.isnan(used), self._memory["last"], used)

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the maximum over the slots of the lead window, as they were one season ago."""
        now = slot_of(snapshot.time_seconds, snapshot.step_seconds, self._slots)
        ahead = (now + 1 + np.arange(self._lead_steps)) % self._slots
        past = maximum_present(self._memory["ring"][ahead])
        expected = np.where(np.isnan(past), self._memory["last"], past)
        return of_one_model(
            snapshot,
            model="seasonal_naive",
            lead_steps=self._lead_steps,
            levels=CERTAIN,
            quantiles=expected[None],
        )

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the ring of the season."""
        return self._memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
