"""A tick that nothing else goes with, as most are: one row, in one statement that is a transaction itself.

The layers that build statements, open a transaction and end it take twice as long as SQLite does, and an
order waits for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from tidegate.journal.sql import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa


Blob = bytes


class TickRow(TypedDict):
    """A row of `tables.ticks`, by column."""

    number: int
    time_seconds: int
    fleet_id: int
    whole: bool
    bytes: int
    changes: Blob
    samples: Blob | None
    anchor: Blob | None


def alone(engine: sa.Engine) -> Callable[[TickRow], object] | None:
    """Return what stores a row by itself; None where the database is not SQLite's.

    It needs an engine of one connection that begins no transaction by itself.
    """
    if engine.dialect.name != "sqlite":
        return None
    names = ", ".join(tables.ticks.c.keys())
    marks = ", ".join(f":{name}" for name in tables.ticks.c.keys())  # noqa: SIM118 - of columns, not a dict
    statement = f"INSERT INTO {tables.ticks.name} ({names}) VALUES ({marks})"  # noqa: S608 - names of ours
    connection: Any = engine.raw_connection().driver_connection

    def store(row: TickRow) -> None:
        connection.execute(statement, row)

    return store


__all__ = ["TickRow", "alone"]
