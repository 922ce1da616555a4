"""The fitted models that speak for somebody, by number; whoever speaks for nobody is let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.day_ahead.turns import LONG_AGO, NO_INSTANCE

if TYPE_CHECKING:
    from tidegate.forecast.day_ahead.seats import Seats
    from tidegate.forecast.day_ahead.work import Asked
    from tidegate.ports import PathForecaster

INSTANCES_MAX: Final = 1024
"""32 series each: more than the series there may be, were none fitted twice."""


class Instances:
    """Models by number; the seats' column ``instance`` says who speaks for whom."""

    def __init__(self) -> None:
        """Hold none."""
        self._held: dict[int, PathForecaster] = {}
        self._next = 0

    def __len__(self) -> int:
        """Return how many are held."""
        return len(self._held)

    def get(self, number: int) -> PathForecaster | None:
        """Return a model; None if it was let go."""
        return self._held.get(number)

    def number(self) -> int:
        """Return the number of a model about to be fitted."""
        self._next += 1
        return self._next

    def take(self, seats: Seats, asked: Asked) -> None:
        """Let a fitted model speak for those it was fitted on, as far as they still sit there."""
        there = seats.taken[asked.seats] & (seats.ids[asked.seats] == asked.ids)
        seats["instance"][asked.resource, asked.seats[there]] = asked.instance
        self._held[asked.instance] = asked.model

    def let_go(self, seats: Seats) -> None:
        """Drop whoever speaks for nobody, and those who speak for the fewest where there are too many."""
        speaking = seats["instance"]
        numbers, count = np.unique(speaking[speaking != NO_INSTANCE], return_counts=True)
        by_count = numbers[np.argsort(-count, kind="stable")].tolist()
        kept, dropped = by_count[:INSTANCES_MAX], by_count[INSTANCES_MAX:]
        self._held = {number: self._held[number] for number in kept if number in self._held}
        if dropped:
            left = np.isin(speaking, dropped)
            speaking[left] = NO_INSTANCE
            seats["fitted"][left] = LONG_AGO

    def forget(self, seats: Seats) -> None:
        """Begin with none, after a restart: those who had a model are fitted first."""
        self._held = {}
        left = seats["instance"] != NO_INSTANCE
        seats["fitted"][left] = LONG_AGO
        seats["instance"][...] = NO_INSTANCE
