"""Two weeks of each series on a grid of slots, as shares of capacity in half precision.

The ring is cut into blocks of a day, each series' day in one piece: a sample writes one entry of each, a
panel is a few copies, and a checkpoint finds all blocks but today's as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.day_ahead.seats import PerSeat
from tidegate.forecast.windows import DAY_SECONDS
from tidegate.model.columns import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.day_ahead.seats import Seats

SLOT_SECONDS_MIN: Final = 300
"""What path models are made for; finer samples are averaged."""
HISTORY_DAYS: Final = 14
"""What the longest-sighted path model looks back (MSTL)."""
BLOCKS: Final = HISTORY_DAYS + 1
"""Whole days and the one under way."""
SHARE_MAX: Final = np.float32(np.finfo(np.float16).max)
"""After a resize a share may be anything; half precision ends here."""
BEFORE_ANY: Final = -1


class History:
    """Means over slots, by seat."""

    def __init__(self, *, step_seconds: int) -> None:
        """Have seen nothing yet."""
        self.slot_seconds = max(step_seconds, SLOT_SECONDS_MIN)
        self._per_block = -(-DAY_SECONDS // self.slot_seconds)
        self._slot = self._begun = BEFORE_ANY
        self._told = False
        """Whether the running slot's mean was handed on already."""

    @property
    def columns(self) -> dict[str, PerSeat]:
        """What is kept by seat."""
        return {
            "ring": PerSeat(dtype=np.float16, fill=np.nan, leading=(BLOCKS,), trailing=(self._per_block,)),
            "sum": PerSeat(dtype=np.float32, fill=0),
            "count": PerSeat(dtype=np.int32, fill=0),
            "seen_slots": PerSeat(dtype=np.int32, fill=0),
        }

    @property
    def end_slot(self) -> int:
        """The first slot that is not over yet."""
        return self._slot + 1 if self._told else self._slot

    def add(
        self, seats: Seats, time_seconds: int, step_seconds: int, shares: NDArray[np.float32]
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Take in one sample; yield each slot that is over, with its means (resources, seats)."""
        # By its middle, so that a clock a second early or late doesn't move a sample to the slot beside.
        slot = (2 * time_seconds - step_seconds) // (2 * self.slot_seconds)
        if self._slot == BEFORE_ANY:
            self._slot = self._begun = slot
        if slot > self._slot:
            if not self._told:
                yield self._slot, self._mean(seats)
            self._pass_to(seats, slot)
        present = ~np.isnan(shares)
        seats["sum"][...] += np.where(present, shares, 0)
        seats["count"][...] += present
        mean = self._mean(seats)
        block, at = divmod(self._slot, self._per_block)
        seats["ring"][block % BLOCKS, ..., at] = mean
        over = 2 * time_seconds + step_seconds >= 2 * (self._slot + 1) * self.slot_seconds
        if over and not self._told:
            self._told = True
            seats["seen_slots"][...] += ~np.isnan(mean)
            yield self._slot, mean

    def forget(self, seats: Seats) -> None:
        """Begin anew: the clock went back, and nothing that was noted is at its time."""
        seats["ring"][...] = np.nan
        seats["seen_slots"][...] = 0
        self._clear_running(seats)
        self._slot = self._begun = BEFORE_ANY

    def rescale(self, seats: Seats, factor: NDArray[np.float32]) -> None:
        """Turn shares of old capacities into those of new; ``factor`` (resources, seats) is old over new."""
        resource, seat = np.nonzero(factor != 1)
        if not resource.size:
            return
        by = factor[resource, seat]
        old = seats["ring"][:, resource, seat].astype(np.float32)
        seats["ring"][:, resource, seat] = np.minimum(old * by[None, :, None], SHARE_MAX)
        seats["sum"][resource, seat] *= by

    def read(self, seats: Seats, resource: int, chosen: NDArray[np.intp]) -> tuple[int, NDArray[np.float16]]:
        """Return the first slot and a copy of some seats' histories (series, slots): slots that are over."""
        end, newest = self.end_slot, self._slot // self._per_block
        first = max(self._begun, (newest - BLOCKS + 1) * self._per_block)
        numbers = range(first // self._per_block, max(end - 1, first) // self._per_block + 1)
        days = [seats["ring"][number % BLOCKS, resource, chosen] for number in numbers]
        joined = np.concatenate(days, axis=1)
        start = numbers[0] * self._per_block
        return first, joined[:, first - start : end - start]

    def _mean(self, seats: Seats) -> NDArray[np.float32]:
        count = seats["count"]
        mean: NDArray[np.float32] = np.where(
            count > 0, seats["sum"] / np.maximum(count, 1), np.float32(np.nan)
        ).astype(np.float32, copy=False)
        return mean

    def _pass_to(self, seats: Seats, slot: int) -> None:
        """Begin a slot; the days begun in between are cleared of what was there two weeks ago."""
        before, now = self._slot // self._per_block, slot // self._per_block
        for number in range(max(before + 1, now - BLOCKS + 1), now + 1):
            seats["ring"][number % BLOCKS] = np.nan
        self._clear_running(seats)
        self._slot = slot

    def _clear_running(self, seats: Seats) -> None:
        seats["sum"][...] = 0
        seats["count"][...] = 0
        self._told = False

    def state(self) -> dict[str, NDArray[Any]]:
        """Return where in time it stands; the arrays are the seats'."""
        return {"slots": np.array([self.slot_seconds, self._slot, self._begun, self._told], dtype=np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        _, self._slot, self._begun, told = (int(value) for value in part_of(state, "slots"))
        self._told = bool(told)
