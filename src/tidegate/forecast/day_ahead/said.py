"""What was said of the coming hours, and how right it was: a ring of hours, as shares of capacity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.day_ahead.history import SHARE_MAX
from tidegate.forecast.day_ahead.seats import PerSeat
from tidegate.model.columns import part_of
from tidegate.model.day_ahead import DAY_HOURS, DAY_LEVELS, HOUR_SECONDS, NEVER_SECONDS, NOBODY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.day_ahead.seats import Seats
    from tidegate.forecast.day_ahead.work import Answer

SCORED_HOURS: Final = 7 * 24
"""Memory of loss and coverage: a week."""
HOUR_SEEN_RATIO: Final = 0.5
"""Share of an hour's slots that must have a sample for its peak to be known."""
BEFORE_ANY: Final = -1


class Said:
    """The hours ahead, by seat, and the record of what was said a day before."""

    def __init__(self, *, hours: int, slot_seconds: int) -> None:
        """Keep so many hours ahead, a day at least, that a day which was said a while ago is still whole."""
        self.hours = hours
        self.hour = BEFORE_ANY
        """The hour in progress, since 1970."""
        self._slot_seconds = slot_seconds
        self._seen_min = max(1, round(HOUR_SEEN_RATIO * HOUR_SECONDS / slot_seconds))

    @property
    def columns(self) -> dict[str, PerSeat]:
        """What is kept by seat."""
        levels = DAY_LEVELS.size
        return {
            "said": PerSeat(dtype=np.float16, fill=np.nan, leading=(levels, self.hours)),
            "promised": PerSeat(dtype=np.float16, fill=np.nan, leading=(levels, DAY_HOURS)),
            "peak": PerSeat(dtype=np.float32, fill=np.nan),
            "peak_slots": PerSeat(dtype=np.int32, fill=0),
            "loss": PerSeat(dtype=np.float32, fill=np.nan),
            "coverage": PerSeat(dtype=np.float32, fill=np.nan, leading=(levels,)),
            "scored": PerSeat(dtype=np.int32, fill=0),
            "refreshed_seconds": PerSeat(dtype=np.int64, fill=NEVER_SECONDS),
            "turn": PerSeat(dtype=np.uint8, fill=0),
            "model": PerSeat(dtype=np.uint8, fill=NOBODY),
        }

    def fold(self, seats: Seats, slot: int, means: NDArray[np.float32]) -> None:
        """Take the means of a slot that is over into its hour's peak."""
        self.pass_to(seats, slot * self._slot_seconds // HOUR_SECONDS)
        seats["peak"][...] = np.fmax(seats["peak"], means)
        seats["peak_slots"][...] += ~np.isnan(means)

    def pass_to(self, seats: Seats, hour: int) -> bool:
        """Move on to an hour: judge the one that is over, and note what is now said of the one a day ahead.

        True if it is another hour than before.
        """
        if hour <= self.hour:
            return False
        before, self.hour = self.hour, hour
        if before == BEFORE_ANY:
            return True
        self._judge(seats, before)
        for passed in range(max(before, hour - self.hours), hour):
            seats["promised"][:, passed % DAY_HOURS] = seats["said"][:, (passed + DAY_HOURS) % self.hours]
            seats["said"][:, passed % self.hours] = np.nan
        return True

    def take(self, seats: Seats, answer: Answer) -> None:
        """Put in what was answered of some series: hours before now not at all, those beyond as unknown."""
        if answer.quantiles is None:
            return
        asked = answer.asked
        there = np.flatnonzero(seats.taken[asked.seats] & (seats.ids[asked.seats] == asked.ids))
        at, resource = asked.seats[there], asked.resource
        with np.errstate(invalid="ignore", divide="ignore"):
            by = asked.capacity[there] / seats["capacity"][resource, at]
        by = np.where(np.isfinite(by), by, np.float32(1))
        for hour in range(self.hour, self.hour + self.hours):
            index = hour - answer.first_hour
            within = 0 <= index < answer.quantiles.shape[1]
            shares = answer.quantiles[:, index, there] * by if within else np.float32(np.nan)
            seats["said"][:, hour % self.hours, resource, at] = np.minimum(shares, SHARE_MAX)
        seats["refreshed_seconds"][resource, at] = asked.end_seconds
        seats["turn"][resource, at] = asked.turn[there]
        seats["model"][resource, at] = asked.name

    def day(self, seats: Seats) -> NDArray[np.float32]:
        """Return the coming day (levels, hours, resources, seats), base units."""
        order = (self.hour + np.arange(DAY_HOURS)) % self.hours
        shares = seats["said"][:, order].astype(np.float32)
        day: NDArray[np.float32] = np.minimum(shares, 1) * seats["capacity"]
        return day

    def forget(self, seats: Seats) -> None:
        """Begin anew: the clock went back. What was measured stays."""
        for name in ("said", "promised", "peak"):
            seats[name][...] = np.nan
        seats["peak_slots"][...] = 0
        seats["refreshed_seconds"][...] = NEVER_SECONDS
        seats["turn"][...] = 0
        seats["model"][...] = NOBODY
        self.hour = BEFORE_ANY

    def rescale(self, seats: Seats, factor: NDArray[np.float32]) -> None:
        """Turn shares into those of a new capacity; ``factor`` (resources, seats) is old over new."""
        resource, seat = np.nonzero(factor != 1)
        if not resource.size:
            return
        by = factor[resource, seat]
        for name in ("said", "promised"):
            old = seats[name][:, :, resource, seat].astype(np.float32)
            seats[name][:, :, resource, seat] = np.minimum(old * by, SHARE_MAX)
        seats["peak"][resource, seat] *= by

    def _judge(self, seats: Seats, hour: int) -> None:
        """Hold the hour that is over against what was said of it a day before."""
        peak = np.where(seats["peak_slots"] >= self._seen_min, np.minimum(seats["peak"], 1), np.nan)
        promised = np.minimum(seats["promised"][:, hour % DAY_HOURS].astype(np.float32), 1)
        # In half precision like what was said: a constant series is not above itself.
        off = peak.astype(np.float16).astype(np.float32) - promised
        levels = DAY_LEVELS[:, None, None]
        known = ~np.isnan(off).any(axis=0)
        loss = np.maximum(levels * off, (levels - 1) * off).mean(axis=0)
        seats["scored"][...] += known
        weight = 1 / np.clip(seats["scored"], 1, SCORED_HOURS).astype(np.float32)
        for name, newest in (("loss", loss), ("coverage", (off <= 0).astype(np.float32))):
            held = np.where(np.isnan(seats[name]), newest, seats[name])
            np.copyto(seats[name], held + weight * (newest - held), where=known)
        seats["peak"][...] = np.nan
        seats["peak_slots"][...] = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Return where in time it stands; the arrays are the seats'."""
        return {"hour": np.array(self.hour, dtype=np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self.hour = int(part_of(state, "hour"))
