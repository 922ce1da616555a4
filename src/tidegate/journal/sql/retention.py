"""Keeps a journal bounded: samples a day, ticks a week, and never more bytes than it may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from tidegate.journal.sql.tables import checkpoints, events, fleets, slices, ticks

FILLED_RATIO: Final = 0.7
"""Share of the bytes allowed that may be filled; the rest is for the log and what comes before a look."""
PRUNED_RATIO: Final = 0.95
"""What is too much is brought down to this share of it, so that not every tick has to."""
EVENTS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much a journal keeps."""

    keep_seconds: int = 7 * 86_400
    """How long what changed, and why, is kept."""
    samples_seconds: int = 86_400
    """How long every sample is kept, by far the most of it."""
    bytes_max: int = 2 * 1024**3
    """Most bytes in all; the oldest go first, samples before changes."""


def prune(connection: sa.Connection, retention: Retention, *, newest_seconds: int) -> None:
    """Drop what is older than kept, then the oldest until the bytes fit.

    Always up to a tick that is stored whole: what is left can be read. What a restart needs always stays:
    the ticks since the last checkpoint, and those they build on.
    """
    newest_event = connection.scalar(sa.select(sa.func.max(events.c.id))) or 0
    connection.execute(events.delete().where(events.c.id <= newest_event - EVENTS_MAX))
    checkpoint = sa.select(sa.func.max(checkpoints.c.number)).scalar_subquery()
    needed = _last_whole(connection, ticks.c.number <= checkpoint)
    if needed is None:
        return
    free = ticks.c.number < needed
    old = _last_whole(connection, ticks.c.time_seconds <= newest_seconds - retention.samples_seconds)
    _forget_samples(connection, free & (ticks.c.number < (old or 0)))
    old = _last_whole(connection, ticks.c.time_seconds <= newest_seconds - retention.keep_seconds)
    connection.execute(ticks.delete().where(free & (ticks.c.number < (old or 0))))
    _fit(connection, needed, _blob_bytes_max(connection, retention))
    used = sa.select(ticks.c.fleet_id).distinct()
    connection.execute(fleets.delete().where(fleets.c.id.not_in(used)))


def _blob_bytes_max(connection: sa.Connection, retention: Retention) -> int:
    """Return how many bytes of ticks fit beside the slices, at the room a byte takes in SQLite's pages."""
    slice_bytes = _sum(connection, sa.func.length(slices.c.data))
    allowed = retention.bytes_max * FILLED_RATIO
    if connection.dialect.name == "sqlite":
        pragmas = ("page_count", "freelist_count", "page_size")
        pages, unused, page_bytes = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0) for name in pragmas
        )
        blob_bytes = slice_bytes + _sum(connection, ticks.c.bytes)
        allowed *= min(1.0, blob_bytes / max((pages - unused) * page_bytes, 1))
    return int(allowed) - slice_bytes


def _fit(connection: sa.Connection, needed: int, limit: int) -> None:
    """Forget the oldest samples, then the oldest ticks, until the rest is below the limit."""
    free = ticks.c.number < needed
    held = _sum(connection, ticks.c.bytes)
    if held <= limit:
        return
    wanted = int(limit * PRUNED_RATIO)
    size = sa.func.length(ticks.c.samples)
    last = _oldest_holding(connection, free & ticks.c.samples.is_not(None), size, held - wanted)
    _forget_samples(connection, free & (ticks.c.number < _next_whole(connection, last)))
    held = _sum(connection, ticks.c.bytes)
    if held > limit:
        last = _oldest_holding(connection, free, ticks.c.bytes, held - wanted)
        connection.execute(ticks.delete().where(free & (ticks.c.number < _next_whole(connection, last))))


def _last_whole(connection: sa.Connection, where: sa.ColumnElement[bool]) -> int | None:
    return connection.scalar(sa.select(sa.func.max(ticks.c.number)).where(ticks.c.whole, where))


def _next_whole(connection: sa.Connection, number: int | None) -> int:
    """Return the first tick stored whole after one; 0 where there is none."""
    if number is None:
        return 0
    later = sa.select(sa.func.min(ticks.c.number)).where(ticks.c.whole, ticks.c.number > number)
    return connection.scalar(later) or 0


def _sum(connection: sa.Connection, size: sa.ColumnElement[int]) -> int:
    return int(connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(size), 0))) or 0)


def _oldest_holding(
    connection: sa.Connection, where: sa.ColumnElement[bool], size: sa.ColumnElement[int], wanted: int
) -> int | None:
    """Return the number up to which the oldest ticks hold ``wanted`` bytes; of the last there is if not."""
    found = connection.execute(sa.select(ticks.c.number, size).where(where).order_by(ticks.c.number))
    number, total = None, 0
    for row in found:
        number, total = int(row[0]), total + int(row[1])
        if total >= wanted:
            break
    return number


def _forget_samples(connection: sa.Connection, where: sa.ColumnElement[bool]) -> None:
    connection.execute(
        ticks.update()
        .where(where & ticks.c.samples.is_not(None))
        .values(samples=None, bytes=ticks.c.bytes - sa.func.length(ticks.c.samples))
    )


__all__ = ["Retention", "prune"]
