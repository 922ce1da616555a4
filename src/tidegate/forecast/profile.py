"""The baseline profile: what a workload usually needs at this time of day and day of week.

Until three weeks are seen, weekdays share one day and weekends another, so that a week's history is
not spread over seven days of one sample each; until two days are seen the workload is `profiling`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.point import of_one_model
from tidegate.forecast.windows import DAY_SECONDS, WEEK_SECONDS
from tidegate.model.columns import Column, Columns, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.snapshot import Snapshot

SLOT_SECONDS: Final = 900
SLOTS: Final = DAY_SECONDS // SLOT_SECONDS
DAYS: Final = 7
EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""
SATURDAY: Final = 5
MEMORY_RATIO: Final = 0.3
"""Weight of the newest day in a slot's mean: a change of habit shows within a week."""
SPREAD_RATIO: Final = 0.02
"""Weight of the newest error in the mean absolute error: a memory of about half a day."""
PROFILING_SECONDS: Final = 2 * DAY_SECONDS
WEEKS_SEEN_SECONDS: Final = 3 * WEEK_SECONDS
LEVELS: Final = np.array([0.5, 0.9, 0.95, 0.99, 0.999], dtype=np.float32)


class Profile:
    """The usual peak of each quarter of an hour of the week, and how far reality strays from it.

    Peaks are kept as shares of capacity in half precision: 7 x 96 x 2 bytes a series. The quantiles
    assume a Laplace error: q(p) = mean + b ln(1 / (2 (1 - p))) with b the mean absolute error.
    """

    def __init__(self, *, step_seconds: int, lead_steps: int = 1) -> None:
        """Keep one week of slots."""
        self._lead_steps = lead_steps
        self._lead_seconds = lead_steps * step_seconds
        self._slot: int | None = None
        self._memory = Columns(
            usual=Column(dtype=np.float16, fill=np.nan, leading=(DAYS * SLOTS,)),
            running=Column(dtype=np.float32, fill=np.nan),
            error=Column(dtype=np.float32, fill=np.nan),
            seen_seconds=Column(dtype=np.int64, fill=0),
        )

    def observe(self, snapshot: Snapshot) -> None:
        """Follow the running quarter's peak; at its end fold it into its slot of the week."""
        memory = self._memory
        memory.follow(snapshot)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.minimum(snapshot.used / snapshot.capacity, 1)
        slot = slot_of_week(snapshot.time_seconds - snapshot.step_seconds)
        if slot != self._slot:
            if self._slot is not None:
                self._fold(self._slot)
            self._slot = slot
            memory["running"] = np.full(share.shape, np.nan, dtype=np.float32)
        memory["running"] = np.fmax(memory["running"], share)
        memory["seen_seconds"] = memory["seen_seconds"] + snapshot.step_seconds * ~np.isnan(share)

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the highest usual peak of the slots the lead window touches, with its spread."""
        start = snapshot.time_seconds
        ahead = range(start - start % SLOT_SECONDS, start + self._lead_seconds, SLOT_SECONDS)
        usual = np.fmax.reduce([self.usual(slot_of_week(at)) for at in ahead])
        spread = np.nan_to_num(self._memory["error"])
        stretch = np.log(1 / (2 * (1 - LEVELS)))[:, None, None]
        shares = np.clip(usual + spread * stretch, 0, 1).astype(np.float32)
        made = of_one_model(
            snapshot,
            model="profile",
            lead_steps=self._lead_steps,
            levels=LEVELS,
            quantiles=shares * snapshot.capacity,
        )
        young = self._memory["seen_seconds"] < PROFILING_SECONDS
        return replace(made, profiling=made.profiling | young)

    def usual(self, slot: int) -> NDArray[np.float32]:
        """Return the usual peak of a slot of the week as shares of capacity (resources, workloads)."""
        own = self._memory["usual"][slot].astype(np.float32)
        day, of_day = divmod(slot, SLOTS)
        kin = [d for d in range(DAYS) if (d >= SATURDAY) == (day >= SATURDAY)]
        rows = self._memory["usual"][[d * SLOTS + of_day for d in kin]].astype(np.float32)
        count = (~np.isnan(rows)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            shared = np.nansum(rows, axis=0) / np.where(count > 0, count, np.nan)
        seasoned = self._memory["seen_seconds"] >= WEEKS_SEEN_SECONDS
        chosen: NDArray[np.float32] = np.where(seasoned & ~np.isnan(own), own, shared).astype(np.float32)
        return chosen

    def _fold(self, slot: int) -> None:
        """Move the finished quarter's peak into its slot and its error into the spread."""
        memory = self._memory
        peak, usual = memory["running"], self.usual(slot)
        error = np.abs(peak - usual)
        spread = np.where(
            np.isnan(memory["error"]), error, memory["error"] + SPREAD_RATIO * (error - memory["error"])
        )
        memory["error"] = np.where(np.isnan(error), memory["error"], spread)
        old = memory["usual"][slot].astype(np.float32)
        moved = np.where(np.isnan(old), peak, old + MEMORY_RATIO * (peak - old))
        memory["usual"][slot] = np.where(np.isnan(peak), old, moved)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the week and the running quarter."""
        return self._memory.state() | {"slot": np.array(-1 if self._slot is None else self._slot)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
        slot = int(part_of(state, "slot"))
        self._slot = None if slot < 0 else slot


def slot_of_week(time_seconds: int) -> int:
    """Return which quarter of an hour of the week (UTC, Monday first) a time falls in."""
    day, second = divmod(time_seconds, DAY_SECONDS)
    return ((day + EPOCH_WEEKDAY) % DAYS) * SLOTS + second // SLOT_SECONDS
