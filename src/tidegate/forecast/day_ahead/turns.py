"""Whose turn it is: which series are fitted and which are asked in a round, within its seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.day_ahead.seats import PerSeat
from tidegate.forecast.paths.refits import choose_refits
from tidegate.forecast.windows import DAY_SECONDS
from tidegate.model.columns import part_of
from tidegate.model.day_ahead import HOUR_SECONDS, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.forecast.day_ahead.seats import Seats
    from tidegate.forecast.day_ahead.speakers import Speaker

SCHEDULED_RATIO: Final = 0.75
"""Share of a round's seconds that is planned at its start; the rest is for those who change meanwhile."""
ASKED_RATIO: Final = 0.5
"""Share of that which asking may take before fits get the rest."""
FIT_ROUNDS_MAX: Final = 24
"""Rounds until a series is fitted again, where there is time enough: once a day."""
ASK_ROUNDS_MAX: Final = 6
"""Rounds until it is asked again: so much further than a day is looked."""
SEEN_SECONDS_MIN: Final = DAY_SECONDS
"""Who was never seen at an hour of the day can't be told what it does then."""
FIT_SERIES: Final = 32
"""Series that one model is fitted on: it lives as long as it speaks for one of them."""
ASK_SERIES: Final = 250
"""Series that are asked about at once."""
LONG_AGO: Final = -1_000_000
"""The round of what never happened."""
NO_INSTANCE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """Some series of one resource that one model is to speak for."""

    resource: int
    fits: bool
    instance: int
    """Who fitted them, where they are only asked about; else `NO_INSTANCE`."""
    seats: NDArray[np.intp]
    ids: NDArray[np.int64]
    turn: NDArray[np.uint8]


class Turns:
    """Rounds, by a clock; and for each seat when it was last fitted and asked."""

    def __init__(
        self,
        speakers: Sequence[Speaker | None],
        *,
        refit_seconds_max: float,
        round_seconds: int,
        seen_slots_min: int,
    ) -> None:
        """Give each resource its speaker, or None; whoever was seen for fewer slots has no turn yet."""
        self._speakers = speakers
        self._seconds_max = refit_seconds_max
        self._seen_slots_min = seen_slots_min
        self._round_seconds = round_seconds
        self._number = 0
        self._due_seconds = 0
        self._left_seconds = 0.0

    @property
    def columns(self) -> dict[str, PerSeat]:
        """What is kept by seat."""
        return {
            "fitted": PerSeat(dtype=np.int64, fill=LONG_AGO),
            "asked": PerSeat(dtype=np.int64, fill=LONG_AGO),
            "urgent": PerSeat(dtype=np.uint8, fill=Turn.NONE),
        }

    def due(self, time_seconds: int) -> bool:
        """Return whether a round begins now, and begin it."""
        if time_seconds < self._due_seconds <= time_seconds + self._round_seconds:
            return False
        self._due_seconds = (time_seconds // self._round_seconds + 1) * self._round_seconds
        self._number += 1
        self._left_seconds = self._seconds_max
        return True

    def planned(self, seats: Seats, instance: NDArray[np.int64]) -> Iterator[Slice]:
        """Choose who is fitted and who is asked in the round that began; ``instance`` is who speaks now."""
        scheduled = self._seconds_max * SCHEDULED_RATIO
        able = seats.taken & (seats["seen_slots"] >= self._seen_slots_min)
        fits, asks = self._candidates(able, instance)
        to_ask = float((asks * self._cost(fits=False)).sum())
        fitted = self._chosen(seats, fits, scheduled - min(to_ask, scheduled * ASKED_RATIO), fits=True)
        spent = float(self._spent(fitted, fits=True))
        only = asks & ~fitted
        asked = self._chosen(seats, only, scheduled - spent, fits=False)
        self._left_seconds -= spent + float(self._spent(asked, fits=False))
        yield from self._slices(seats, fitted, asked, instance)

    def urgent(self, seats: Seats, instance: NDArray[np.int64]) -> Iterator[Slice]:
        """Choose those who changed and can't wait for the next round, within what this one has left."""
        able = seats.taken & (seats["seen_slots"] >= self._seen_slots_min) & (seats["urgent"] != Turn.NONE)
        if self._left_seconds <= 0 or not able.any():
            return
        fits, asks = self._candidates(able, instance)
        fitted = self._chosen(seats, fits, self._left_seconds, fits=True)
        left = self._left_seconds - self._spent(fitted, fits=True)
        asked = self._chosen(seats, asks & ~fits, max(left, 0.0), fits=False)
        self._left_seconds = left - self._spent(asked, fits=False)
        yield from self._slices(seats, fitted, asked, instance)

    def note(self, seats: Seats, made: Slice) -> None:
        """Note that a slice was handed to work: whatever comes of it, it had its turn."""
        at = (made.resource, made.seats)
        if made.fits:
            seats["fitted"][at] = self._number
        seats["asked"][at] = self._number
        seats["urgent"][at] = Turn.NONE

    def _candidates(
        self, able: NDArray[np.bool_], instance: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return who can be fitted, and who can be asked as they are (resources, seats)."""
        fresh = self._column([each is not None and each.fresh is not None for each in self._speakers])
        trained = self._column([each is not None and each.trained is not None for each in self._speakers])
        return able & fresh, able & (trained | (fresh & (instance != NO_INSTANCE)))

    def _cost(self, *, fits: bool) -> NDArray[np.float32]:
        """Return what one series costs, of each resource (resources, 1)."""
        costs = [
            0.0 if each is None else each.paths_seconds + (each.fit_seconds if fits else 0.0)
            for each in self._speakers
        ]
        return np.array(costs, dtype=np.float32)[:, None]

    def _spent(self, chosen: NDArray[np.bool_], *, fits: bool) -> float:
        return float((chosen * self._cost(fits=fits)).sum())

    def _chosen(
        self, seats: Seats, among: NDArray[np.bool_], budget_seconds: float, *, fits: bool
    ) -> NDArray[np.bool_]:
        """Return who of ``among`` gets the seconds (resources, seats)."""
        rounds_max = FIT_ROUNDS_MAX if fits else ASK_ROUNDS_MAX
        last = seats["fitted" if fits else "asked"]
        since = np.clip(self._number - last, 1, rounds_max)
        urgent = seats["urgent"] != Turn.NONE
        chosen = np.zeros(among.shape, dtype=np.bool_)
        resource, seat = np.nonzero(among)
        picked = choose_refits(
            np.where(urgent, np.float32(np.nan), seats["loss"])[resource, seat],
            _sizes(seats)[resource, seat],
            np.broadcast_to(self._cost(fits=fits), among.shape)[resource, seat],
            np.where(urgent, rounds_max, since)[resource, seat],
            refit_seconds_max=max(budget_seconds, 0.0),
            rounds_max=rounds_max,
        )
        chosen[resource[picked], seat[picked]] = True
        return chosen

    def _slices(
        self,
        seats: Seats,
        fitted: NDArray[np.bool_],
        asked: NDArray[np.bool_],
        instance: NDArray[np.int64],
    ) -> Iterator[Slice]:
        """Cut the chosen into slices: whoever changed first, then fits, then who is only asked about."""
        for hurry in (True, False):
            of = (seats["urgent"] != Turn.NONE) == hurry
            for resource in range(fitted.shape[0]):
                yield from _cut(seats, resource, fitted & of, None, FIT_SERIES)
            for resource in range(asked.shape[0]):
                yield from _cut(seats, resource, asked & of, instance, ASK_SERIES)

    def _column(self, values: Sequence[bool]) -> NDArray[np.bool_]:
        return np.array(values, dtype=np.bool_)[:, None]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return which round it is; the arrays are the seats'."""
        return {
            "round": np.array([self._number, self._due_seconds], dtype=np.int64),
            "left": np.array(self._left_seconds),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._number, self._due_seconds = (int(value) for value in part_of(state, "round"))
        self._left_seconds = float(part_of(state, "left"))


def hours_looked(round_seconds: int) -> int:
    """Return how far paths must look, that a day is whole though it was said `ASK_ROUNDS_MAX` rounds ago."""
    return 24 + max(1, -(-ASK_ROUNDS_MAX * round_seconds // HOUR_SECONDS))


def _cut(
    seats: Seats,
    resource: int,
    chosen: NDArray[np.bool_],
    instance: NDArray[np.int64] | None,
    series_max: int,
) -> Iterator[Slice]:
    """Yield slices of one resource, of one speaker each; without ``instance`` they are fitted anew."""
    at = np.flatnonzero(chosen[resource])
    if not at.size:
        return
    speaker = np.full(at.size, NO_INSTANCE) if instance is None else instance[resource, at]
    turn = np.where(seats["urgent"][resource, at] == Turn.NONE, Turn.SCHEDULED, seats["urgent"][resource, at])
    order = np.argsort(speaker, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(speaker[order])) + 1):
        for some in np.split(group, range(series_max, group.size, series_max)):
            yield Slice(
                resource=resource,
                fits=instance is None,
                instance=int(speaker[some[0]]),
                seats=at[some],
                ids=seats.ids[at[some]],
                turn=turn[some].astype(np.uint8),
            )


def _sizes(seats: Seats) -> NDArray[np.float32]:
    """Return what each series is worth (resources, seats): its capacity over the resource's mean."""
    capacity = np.nan_to_num(seats["capacity"])
    mean = capacity.sum(axis=1, keepdims=True) / max(1, int(seats.taken.sum()))
    sizes: NDArray[np.float32] = (capacity / np.maximum(mean, np.float32(1e-30))).astype(np.float32)
    return sizes
