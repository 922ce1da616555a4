"""A journal in memory that forgets each tick: everything of one but the file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from tidegate.journal.sql import tables
from tidegate.journal.sql.opening import Location
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import SqlJournal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.model.tick import Tick

BYTES_MAX: Final = 2**20


class PassingJournal:
    """Stores a tick as `SqlJournal` does, and drops the one before."""

    def __init__(self, engine: sa.Engine) -> None:
        """Make every table in an empty database."""
        tables.metadata.create_all(engine)
        self._engine = engine
        where = Location(sa.make_url("sqlite://"))
        self._journal = SqlJournal(engine, where, Retention(bytes_max=BYTES_MAX))

    def append(self, tick: Tick) -> None:
        """Store one tick."""
        self._journal.append(tick)

    def forget(self) -> None:
        """Drop what was stored."""
        with self._engine.begin() as connection:
            for table in (tables.events, tables.ticks):
                connection.execute(table.delete())


@contextmanager
def passing() -> Iterator[PassingJournal]:
    """Lend a journal that is gone afterwards."""
    engine = sa.create_engine(
        "sqlite://",
        poolclass=sa.pool.StaticPool,
        connect_args={"isolation_level": None, "check_same_thread": False},
    )
    try:
        yield PassingJournal(engine)
    finally:
        engine.dispose()


__all__ = ["PassingJournal", "passing"]
