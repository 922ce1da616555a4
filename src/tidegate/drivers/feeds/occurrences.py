"""Events with a beginning and an end, as a feed that is 0 outside them and their value inside."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.feeds.table import EARLIEST_SECONDS
from tidegate.model.feed import Feed, FeedKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONG_AGO_SECONDS: Final = EARLIEST_SECONDS
"""When what doesn't say so became known."""
HOLDS_SECONDS: Final = 366 * 86_400
"""A calendar that told of nothing for a year is no longer kept, and says nothing."""
AT_ONCE_MAX: Final = 64
"""Of events of one feed that are on at once so many are told apart; more are one crowd."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Occurrence:
    """One event, once."""

    start_seconds: int
    end_seconds: int
    """The first second it is over; after ``start_seconds``."""
    issued_seconds: int = LONG_AGO_SECONDS
    value: float = 1.0


def event_feed(
    name: str, occurrences: Iterable[Occurrence], *, span_seconds: tuple[int, int] | None = None
) -> Feed:
    """Return the feed: the largest value of the events that are on, 0 when none is.

    What is issued later changes only what is known later: at each beginning and end there is a point for
    each issue that changes the value there. Before ``span_seconds`` begins and after it ends nothing is
    known; without a span, it is known from `HOLDS_SECONDS` before the first event, and for as long after
    the last.
    """
    events = sorted(occurrences)
    first = events[0].start_seconds if events else 0
    begins = first - HOLDS_SECONDS + 1 if span_seconds is None else span_seconds[0]
    points: list[tuple[int, int, float]] = [(begins, LONG_AGO_SECONDS, 0.0)]
    if not events and span_seconds is None:
        points = []
    points += _changes(events)
    if span_seconds is not None:
        points = [point for point in points if span_seconds[0] <= point[0] < span_seconds[1]]
        points.append((span_seconds[1], LONG_AGO_SECONDS, float("nan")))
    return Feed(
        name=name,
        kind=FeedKind.EVENT,
        valid_seconds=np.array([valid for valid, _, _ in points], dtype=np.int64),
        issued_seconds=np.array([issued for _, issued, _ in points], dtype=np.int64),
        values=np.array([value for _, _, value in points], dtype=np.float32),
        holds_seconds=HOLDS_SECONDS,
    )


def _changes(events: Sequence[Occurrence]) -> list[tuple[int, int, float]]:
    """Return (valid, issued, value) at every beginning and end."""
    bounds = sorted({at for event in events for at in (event.start_seconds, event.end_seconds)})
    owned: dict[int, int] = {}
    """From when on it is known that anything changes at a bound."""
    for event in events:
        for at in (event.start_seconds, event.end_seconds):
            owned[at] = min(owned.get(at, event.issued_seconds), event.issued_seconds)
    points = []
    on: list[tuple[int, int, float]] = []  # (end, issued, value), the first to end on top
    coming = 0
    for at in bounds:
        while on and on[0][0] <= at:
            heappop(on)
        while coming < len(events) and events[coming].start_seconds <= at:
            event = events[coming]
            if len(on) < AT_ONCE_MAX:
                heappush(on, (event.end_seconds, event.issued_seconds, event.value))
            coming += 1
        points += _versions(at, owned[at], on)
    return points


def _versions(at: int, known_from: int, on: Sequence[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Return a point for each issue that changes the value at a bound: (valid, issued, value)."""
    value = max((told for _, issued, told in on if issued <= known_from), default=0.0)
    points = [(at, known_from, value)]
    for _, issued, told in sorted(on, key=lambda event: event[1]):
        if issued > known_from and told > value:
            value = told
            points.append((at, issued, value))
    return points
