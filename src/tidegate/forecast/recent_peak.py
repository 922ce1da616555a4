"""Recent peak and last value: what was used lately will be used next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.forecast.point import CERTAIN, of_one_model
from tidegate.forecast.windows import HOUR_SECONDS, Passed, maximum_present, slot_of, steps_in
from tidegate.model.columns import Column, Columns, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.snapshot import Snapshot


class RecentPeak:
    """The maximum of the samples present in the last ``window_seconds``.

    The last known maximum where the window is empty, NaN before any sample. With a window of one
    step this is the last value.
    """

    def __init__(
        self,
        *,
        step_seconds: int,
        lead_steps: int = 1,
        window_seconds: int = HOUR_SECONDS,
        name: str = "recent_peak",
    ) -> None:
        """Keep one slot per step of the window."""
        self._slots = steps_in(window_seconds, step_seconds)
        self._lead_steps = lead_steps
        self._name = name
        self._passed = Passed(step_seconds, self._slots)
        self._memory = Columns(
            ring=Column(dtype=np.float32, fill=np.nan, leading=(self._slots,)),
            peak=Column(dtype=np.float32, fill=np.nan),
        )

    def observe(self, snapshot: Snapshot) -> None:
        """Put the samples in their slot; demand above capacity is capacity."""
        self._memory.follow(snapshot)
        slot = slot_of(snapshot.time_seconds, snapshot.step_seconds, self._slots)
        self._memory["ring"][self._passed.lost(snapshot.time_seconds)] = np.nan
        self._memory["ring"][slot] = np.minimum(snapshot.used, snapshot.capacity)
        peak = maximum_present(self._memory["ring"])
        self._memory["peak"] = np.where(np.isnan(peak), self._memory["peak"], peak)

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the recent peak as the one, certain, level."""
        return of_one_model(
            snapshot,
            model=self._name,
            lead_steps=self._lead_steps,
            levels=CERTAIN,
            quantiles=self._memory["peak"][None],
        )

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the ring and the last known peaks."""
        return self._memory.state() | {"last_seconds": self._passed.state()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
        self._passed.restore(part_of(state, "last_seconds"))


def last_value(*, step_seconds: int, lead_steps: int = 1) -> RecentPeak:
    """Return the yardstick that expects what it saw last."""
    return RecentPeak(
        step_seconds=step_seconds, lead_steps=lead_steps, window_seconds=step_seconds, name="last"
    )
