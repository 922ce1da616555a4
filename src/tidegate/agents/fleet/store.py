"""Where the fleet manager writes placement down: SQLite, one transaction for each change."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from tidegate.agents.fleet.records import Event, Moving, Placed
from tidegate.journal.sql.opening import SMALL_WAL_PAGES_MAX, sqlite_engine
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FILE: Final = "fleet.sqlite"
LOCK: Final = "fleet.lock"
VERSION: Final = 1
"""Of the tables; SQLite keeps it as `user_version`."""
EVENTS_KEPT_MAX: Final = 10_000
REMOVALS_KEPT_MAX: Final = 10_000
"""Requests to remove that are remembered: who asks again after a lost answer does so within minutes."""

_Record = TypeVar("_Record", Placed, Moving, Event)

_metadata = sa.MetaData()
_placed: Final = sa.Table(
    "placed",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
_moving: Final = sa.Table(
    "moving",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
_events: Final = sa.Table(
    "events",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
_removals: Final = sa.Table(
    "removals",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("request", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
)


class Store:
    """The only writer of a folder's `FILE`; a second one is refused while it is open."""

    def __init__(self, folder: Path) -> None:
        """Open or make the store.

        Raises:
            InputError: another fleet manager has it, or it is of another version.
            TidegateError: it can't be opened.

        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE
        self._lock = (folder / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise InputError(
                f"{folder} is in use by another fleet manager; end it, or name another"
            ) from error
        self._engine = sqlite_engine(self._path, wal_pages_max=SMALL_WAL_PAGES_MAX)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with self._told(), self._engine.begin() as connection:
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            if version not in {0, VERSION}:
                raise InputError(
                    f"{self._path} is of version {version}, this Tidegate knows {VERSION}; update it"
                )
            _metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Let go of the store."""
        self._engine.dispose()
        self._lock.close()

    def placed(self) -> dict[str, Placed]:
        """Return every application by name."""
        return {one.name: one for one in self._all(_placed, Placed)}

    def moving(self) -> dict[str, Moving]:
        """Return the moves that have not ended, by application."""
        return {one.application: one for one in self._all(_moving, Moving)}

    def events(self, most: int = EVENTS_KEPT_MAX) -> tuple[Event, ...]:
        """Return the latest events, the newest last."""
        with self._told(), self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(_events.c.record).order_by(_events.c.id.desc()).limit(most)
            ).scalars()
            return tuple(msgspec.msgpack.decode(row, type=Event) for row in reversed(list(rows)))

    def removed(self, request_id: str) -> str | None:
        """Return the application that a request removed; None where it was not answered yet."""
        with self._told(), self._engine.connect() as connection:
            found = sa.select(_removals.c.name).where(_removals.c.request == request_id)
            return connection.scalar(found)

    def write(
        self,
        *,
        placed: Sequence[Placed] = (),
        forgotten: Sequence[str] = (),
        moving: Sequence[Moving] = (),
        ended: Sequence[str] = (),
        events: Sequence[Event] = (),
        removals: Mapping[str, str] | None = None,
    ) -> None:
        """Write down all of it or nothing; ``removals`` are applications by the request that removed them.

        Raises:
            TidegateError: it can't be written; nothing is changed.

        """
        if not (placed or forgotten or moving or ended or events or removals):
            return
        with self._told(), self._engine.begin() as connection:
            _put(connection, _placed, {one.name: one for one in placed})
            _put(connection, _moving, {one.application: one for one in moving})
            for table, names in ((_placed, forgotten), (_moving, ended)):
                _remove(connection, table, names)
            for request, name in (removals or {}).items():
                connection.execute(_removals.insert(), {"request": request, "name": name})
                latest = connection.scalar(sa.select(sa.func.max(_removals.c.id)))
                connection.execute(_removals.delete().where(_removals.c.id <= latest - REMOVALS_KEPT_MAX))
            if events:
                rows = [{"record": msgspec.msgpack.encode(event)} for event in events]
                connection.execute(_events.insert(), rows)
                latest = connection.scalar(sa.select(sa.func.max(_events.c.id)))
                connection.execute(_events.delete().where(_events.c.id <= latest - EVENTS_KEPT_MAX))

    def _all(self, table: sa.Table, kind: type[_Record]) -> list[_Record]:
        with self._told(), self._engine.connect() as connection:
            rows = connection.execute(sa.select(table.c.record).order_by(table.c.name)).scalars()
            return [msgspec.msgpack.decode(row, type=kind) for row in rows]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the database refuses into a sentence."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, msgspec.MsgspecError) as error:
            reason = getattr(error, "orig", None) or error
            raise TidegateError(
                f"{self._path} can't be read or written ({reason}); check the disk"
            ) from error


def _put(connection: sa.Connection, table: sa.Table, records: dict[str, Any]) -> None:
    if not records:
        return
    _remove(connection, table, list(records))
    rows = [{"name": name, "record": msgspec.msgpack.encode(one)} for name, one in records.items()]
    connection.execute(table.insert(), rows)


def _remove(connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> None:
    """Remove rows one by one: a single statement may have no more than 32766 names."""
    if names:
        statement = table.delete().where(table.c.name == sa.bindparam("gone"))
        connection.execute(statement, [{"gone": name} for name in names])
