"""Mean plus N standard deviations of the last ten hours, the N-sigma peak predictor.

Source: Bashir et al., "Take it to the limit", EuroSys 2021: N = 5 over ten hours of history, there for
the sum over a machine, here for each workload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.point import CERTAIN, of_one_model
from tidegate.forecast.windows import HOUR_SECONDS, Passed, slot_of, steps_in
from tidegate.model.columns import Column, Columns, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.snapshot import Snapshot

N_SIGMA: Final = 5.0
HISTORY_SECONDS: Final = 10 * HOUR_SECONDS


class NSigma:
    """Mean + 5 standard deviations of the samples of the last ten hours."""

    def __init__(self, *, step_seconds: int, lead_steps: int = 1) -> None:
        """Keep ten hours of samples."""
        self._slots = steps_in(HISTORY_SECONDS, step_seconds)
        self._lead_steps = lead_steps
        self._passed = Passed(step_seconds, self._slots)
        self._memory = Columns(
            ring=Column(dtype=np.float32, fill=np.nan, leading=(self._slots,)),
            count=Column(dtype=np.int32, fill=0),
            total=Column(dtype=np.float64, fill=0.0),
            squares=Column(dtype=np.float64, fill=0.0),
            need=Column(dtype=np.float32, fill=np.nan),
        )

    def observe(self, snapshot: Snapshot) -> None:
        """Exchange the oldest sample for the newest in the running sums of shares of capacity."""
        self._memory.follow(snapshot)
        memory = self._memory
        slot = slot_of(snapshot.time_seconds, snapshot.step_seconds, self._slots)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.minimum(snapshot.used / snapshot.capacity, 1)
        for lost in self._passed.lost(snapshot.time_seconds):
            self._exchange(lost, np.full_like(share, np.nan))
        self._exchange(slot, share)
        need = self._need(snapshot.capacity)
        memory["need"] = np.where(np.isnan(need), memory["need"], need)

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return mean + N sigma, at most capacity; the last known value where the window is empty."""
        return of_one_model(
            snapshot,
            model="n_sigma",
            lead_steps=self._lead_steps,
            levels=CERTAIN,
            quantiles=self._memory["need"][None],
        )

    def _exchange(self, slot: int, share: NDArray[np.float32]) -> None:
        """Put samples in a slot of the ring and in the sums in place of what was there."""
        memory = self._memory
        new, old = share.astype(np.float64), memory["ring"][slot].astype(np.float64)
        memory["count"] = memory["count"] + ~np.isnan(new) - ~np.isnan(old)
        memory["total"] = memory["total"] + np.nan_to_num(new) - np.nan_to_num(old)
        memory["squares"] = memory["squares"] + np.nan_to_num(new) ** 2 - np.nan_to_num(old) ** 2
        memory["ring"][slot] = share

    def _need(self, capacity: NDArray[np.float32]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._memory["total"] / self._memory["count"]
            variance = np.maximum(self._memory["squares"] / self._memory["count"] - mean**2, 0)
        need: NDArray[np.float64] = np.minimum(mean + N_SIGMA * np.sqrt(variance), 1) * capacity
        return need

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the ring and the running sums."""
        return self._memory.state() | {"last_seconds": self._passed.state()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
        self._passed.restore(part_of(state, "last_seconds"))
