"""Where a device writes things down: SQLite beside it, one transaction for each change.

What can't be written is refused, and nothing is changed by it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from tidegate.agents.device import tables
from tidegate.agents.device.records import (
    Adjustment,
    Answer,
    Application,
    Gone,
    Migration,
    Profile,
    Request,
    Seen,
    Settings,
    Unanswered,
    Unwatched,
)
from tidegate.journal.sql.opening import SMALL_WAL_PAGES_MAX, sqlite_engine
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tidegate.agents.device.records import Change

FILE: Final = "card.sqlite"
VERSION: Final = 1
"""Of the tables; SQLite keeps it as `user_version`."""
ADJUSTMENTS_KEPT_MAX: Final = 100
"""For each application."""
MIGRATIONS_KEPT_MAX: Final = 1000
"""Of those that have ended."""
ANSWERS_KEPT_MAX: Final = 10_000
ANSWERS_KEPT_NANOSECONDS: Final = 86_400 * 10**9
"""Who asks again does so within a day."""
SEEN_KEPT_MAX: Final = 100_000
"""Names whose epochs are known. Beyond, those that were never heard of again for longest are forgotten."""

Kept = TypeVar("Kept", Application, Adjustment, Migration, Profile, Seen, Settings)
ANSWERED: Final[dict[str, type[Any]]] = {
    each.__name__: each for each in (Application, Adjustment, Migration, Profile, Settings, type(None))
}


class Store:
    """A card's memory."""

    def __init__(self, engine: sa.Engine, name: str = "the card's store") -> None:
        """Make the tables where there are none.

        Raises:
            TidegateError: the store is damaged, or newer than this Tidegate.

        """
        self._engine = engine
        self._name = name
        try:
            with engine.begin() as connection:
                version = connection.exec_driver_sql("PRAGMA user_version").scalar() or 0
                if version > VERSION:
                    raise TidegateError(
                        f"{name} was written by a newer Tidegate (version {version}, known up to {VERSION}); "
                        "upgrade Tidegate, or name another folder with --state"
                    )
                if version < VERSION:
                    tables.metadata.create_all(connection)
                    connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")
        except sa.exc.DBAPIError as error:
            raise TidegateError(f"{name} can't be used: {error.orig}") from error

    def write(self, changes: Sequence[Change]) -> None:
        """Write changes down, all or none.

        Raises:
            Refusal: the disk is full, or the store can't be written.

        """
        try:
            with self._engine.begin() as connection:
                for change in changes:
                    _write(connection, change)
        except sa.exc.DBAPIError as error:
            raise Refusal(
                Because.UNREACHABLE, f"{self._name} can't be written ({error.orig}); nothing was changed"
            ) from error

    def read(self, table: sa.Table, kind: type[Kept]) -> list[Kept]:
        """Return every record of a table, in the order in which they were first written.

        Raises:
            TidegateError: the store is damaged.

        """
        return self._decoded(sa.select(table.c.data).order_by(table.c.number), kind)

    def adjustments(self, application: str) -> list[Adjustment]:
        """Return what is known of an application's adjustments, the newest first."""
        table = tables.adjustments
        wanted = sa.select(table.c.data).where(table.c.application == application)
        return self._decoded(wanted.order_by(table.c.number.desc()), Adjustment)

    def adjustment(self, identifier: str) -> Adjustment | None:
        """Return one adjustment, None where it is not known, or no more."""
        table = tables.adjustments
        found = self._decoded(sa.select(table.c.data).where(table.c.id == identifier), Adjustment)
        return found[0] if found else None

    def migrations(self) -> set[str]:
        """Return the identifiers of the migrations that are still known."""
        with self._engine.connect() as connection:
            return set(connection.scalars(sa.select(tables.migrations.c.id)))

    def answer(self, request: Request) -> Answer | None:
        """Return what a request was answered, None where it was not."""
        table = tables.answers
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(table).where(table.c.id == request.id)).one_or_none()
        if row is None:
            return None
        said = msgspec.json.decode(row.data, type=ANSWERED[row.kind])
        return Answer(
            request=Request(id=row.id, asked=row.asked), said=said, at_nanoseconds=row.at_nanoseconds
        )

    def _decoded(self, wanted: sa.Select[Any], kind: type[Kept]) -> list[Kept]:
        try:
            with self._engine.connect() as connection:
                rows = connection.scalars(wanted).all()
            return [msgspec.json.decode(data, type=kind) for data in rows]
        except (sa.exc.DBAPIError, msgspec.MsgspecError, InputError) as error:
            raise TidegateError(
                f"{self._name} is damaged ({error}); restore it from a copy, or move it away"
            ) from error


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Lend the store in a folder, to one process at a time.

    Raises:
        InputError: the folder can't be written, or another device uses it.
        TidegateError: it is damaged, or newer than this Tidegate.

    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise InputError(
            f"the folder {folder} can't be written: {error.strerror}; name another with --state"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"the folder {folder} is in use by another device; end that, or name another with --state"
            ) from error
        engine = sqlite_engine(path, wal_pages_max=SMALL_WAL_PAGES_MAX)
        try:
            yield Store(engine, os.fspath(path))
        finally:
            engine.dispose()


def _write(connection: sa.Connection, change: Change) -> None:
    """Write one change; what is too old or too much goes with it."""
    match change:
        case Settings():
            _put(connection, tables.settings, change, card=change.card)
        case Application():
            _put(connection, tables.applications, change, name=change.name)
        case Gone(application=name):
            for table, column in (
                (tables.applications, "name"),
                (tables.adjustments, "application"),
                (tables.profiles, "application"),
            ):
                _drop(connection, table, column, name)
        case Profile():
            _put(connection, tables.profiles, change, application=change.application)
        case Unwatched(application=name):
            _drop(connection, tables.profiles, "application", name)
        case Unanswered(request=request):
            _drop(connection, tables.answers, "id", request.id)
        case _:
            _write_bounded(connection, change)


def _write_bounded(connection: sa.Connection, change: Seen | Adjustment | Migration | Answer) -> None:
    """Write what there may be much of, and forget what is beyond its limit."""
    match change:
        case Seen():
            _put(connection, tables.seen, change, name=change.name)
            here = sa.select(tables.applications.c.name)
            _newest(connection, tables.seen, SEEN_KEPT_MAX, tables.seen.c.name.not_in(here))
        case Adjustment():
            table = tables.adjustments
            _put(connection, table, change, id=change.id, application=change.application)
            _newest(connection, table, ADJUSTMENTS_KEPT_MAX, table.c.application == change.application)
        case Migration():
            table = tables.migrations
            settled = change.ended and not change.leftover
            _put(connection, table, change, id=change.id, ended=int(settled))
            if settled:
                _newest(connection, table, MIGRATIONS_KEPT_MAX, table.c.ended == 1)
        case Answer(request=request, said=said, at_nanoseconds=now):
            table = tables.answers
            kind = type(said).__name__
            _put(connection, table, said, id=request.id, asked=request.asked, kind=kind, at_nanoseconds=now)
            old = table.c.at_nanoseconds < now - ANSWERS_KEPT_NANOSECONDS
            connection.execute(sa.delete(table).where(old))
            _newest(connection, table, ANSWERS_KEPT_MAX, sa.true())


def _put(connection: sa.Connection, table: sa.Table, record: object, **columns: str | int) -> None:
    row = {**columns, "data": msgspec.json.encode(record)}
    key = next(iter(columns))
    statement = insert(table).values(row)
    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=row))


def _drop(connection: sa.Connection, table: sa.Table, column: str, value: str) -> None:
    connection.execute(sa.delete(table).where(table.c[column] == value))


def _newest(connection: sa.Connection, table: sa.Table, most: int, which: sa.ColumnElement[bool]) -> None:
    """Keep the newest rows of those meant."""
    oldest = sa.select(table.c.number).where(which).order_by(table.c.number.desc()).offset(most).limit(1)
    last = connection.scalar(oldest)
    if last is not None:
        connection.execute(sa.delete(table).where(which, table.c.number <= last))


__all__ = ["Store", "opened"]
