"""Keeps a journal bounded: samples a day, ticks a week, and never more bytes than it may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from tidegate.journal.sql.tables import checkpoints, events, fleets, slices, ticks

FILLED_RATIO: Final = 0.85
"""Share of the bytes allowed that may be blobs; the rest is for pages not full and the log."""
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

    What a restart needs always stays: the ticks since the last checkpoint, and those they build on.
    """
    checkpoint = sa.select(sa.func.max(checkpoints.c.number)).scalar_subquery()
    needed = connection.scalar(
        sa.select(sa.func.max(ticks.c.number)).where(ticks.c.whole, ticks.c.number <= checkpoint)
    )
    if needed is None:
        return
    free = ticks.c.number < needed
    _forget_samples(connection, free & (ticks.c.time_seconds < newest_seconds - retention.samples_seconds))
    connection.execute(
        ticks.delete().where(free & (ticks.c.time_seconds < newest_seconds - retention.keep_seconds))
    )
    limit = int(retention.bytes_max * FILLED_RATIO) - _bytes_of_slices(connection)
    _fit(connection, free, limit)
    used = sa.select(ticks.c.fleet_id).distinct()
    connection.execute(fleets.delete().where(fleets.c.id.not_in(used)))
    newest_event = connection.scalar(sa.select(sa.func.max(events.c.id))) or 0
    connection.execute(events.delete().where(events.c.id <= newest_event - EVENTS_MAX))


def _fit(connection: sa.Connection, free: sa.ColumnElement[bool], limit: int) -> None:
    """Forget the oldest samples, then the oldest ticks, until the rest is below the limit."""
    held = int(connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(ticks.c.bytes), 0))) or 0)
    if held <= limit:
        return
    surplus = held - int(limit * PRUNED_RATIO)
    last = _oldest_holding(connection, free & ticks.c.samples.is_not(None), ticks.c.bytes, surplus)
    if last is not None:
        before = held
        _forget_samples(connection, free & (ticks.c.number <= last))
        held = int(connection.scalar(sa.select(sa.func.sum(ticks.c.bytes))) or 0)
        surplus -= before - held
    if surplus > 0:
        last = _oldest_holding(connection, free, ticks.c.bytes, surplus)
        if last is not None:
            connection.execute(ticks.delete().where(free & (ticks.c.number <= last)))


def _oldest_holding(
    connection: sa.Connection, where: sa.ColumnElement[bool], size: sa.Column[int], wanted: int
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


def _bytes_of_slices(connection: sa.Connection) -> int:
    return int(
        connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(slices.c.data)), 0))) or 0
    )


__all__ = ["Retention", "prune"]
