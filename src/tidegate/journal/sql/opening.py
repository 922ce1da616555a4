"""Opens a journal: refuses what is damaged or newer before a byte is written, then brings it up to date.

SQLite runs with a write-ahead log and full synchronisation: what was committed survives the process and
the machine. Readers open it read-only and never wait for the writer.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

REVISIONS: Final = ("0001",)
"""Every revision of the tables this Tidegate knows, oldest first."""
SQLITE_HEADER: Final = b"SQLite format 3\x00"
PAGE_BYTES: Final = 16_384
"""Blobs fill pages of this size well; SQLite's default of 4096 costs more pages a blob."""
WAL_PAGES: Final = 2048
"""Pages in the write-ahead log before they are moved into the file: 32 MiB."""
WAL_BYTES_MAX: Final = 64 * 1024**2
BUSY_SECONDS: Final = 10
ADVISORY_LOCK: Final = 0x71DE_6A7E
"""PostgreSQL's lock that says a journal has a writer; one journal a database."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a journal is: a file of SQLite's, or a database by URL."""

    url: sa.URL

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        if self.url.get_backend_name() != "sqlite" or self.url.database is None:
            return None
        return Path(self.url.database)

    @property
    def name(self) -> str:
        """What to call it; never with a password."""
        return str(self.path) if self.path is not None else self.url.render_as_string(hide_password=True)


def location(text: str) -> Location:
    """Return where a journal is from what people type: a path, or a URL like postgresql://host/name.

    Raises:
        InputError: the URL is none, or names a database that is neither SQLite nor PostgreSQL.

    """
    if "://" not in text:
        return Location(sa.URL.create("sqlite", database=str(Path(text).expanduser())))
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise InputError(
            "the journal's URL can't be read; write postgresql://user@host/name, or a file's path"
        ) from error
    if url.get_backend_name() == "postgresql":
        return Location(url.set(drivername="postgresql+psycopg"))
    if url.get_backend_name() == "sqlite" and url.database:
        return Location(url)
    raise InputError(
        f"a journal can't be kept in '{url.get_backend_name()}'; give a path or a postgresql URL"
    )


def reading(where: Location) -> sa.Engine:
    """Return an engine that only reads.

    Raises:
        InputError: there is no journal.
        TidegateError: it is damaged, newer than this Tidegate, or can't be reached.

    """
    path = where.path
    if path is None:
        engine = _postgres(where)
    else:
        if not path.is_file():
            raise InputError(
                f"there is no journal {path}; run 'tidegate up' first, or name one with --journal"
            )
        _require_sqlite(path)
        engine = _sqlite_engine(path, read_only=True)
    with told(where):
        _require_known(engine, where)
    return engine


@contextmanager
def writing(where: Location) -> Iterator[sa.Engine]:
    """Lend an engine that writes, to one process at a time, with every table up to date.

    Raises:
        InputError: the journal is in use, or its folder can't be written.
        TidegateError: it is damaged, newer than this Tidegate, or can't be reached; nothing was changed.

    """
    path = where.path
    if path is None:
        engine = _postgres(where)
        with told(where), _advisory_lock(engine, where):
            _upgrade(engine, where)
            yield engine
        engine.dispose()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("a")
    except OSError as error:
        raise InputError(
            f"the journal {path} can't be written: {error.strerror}; name another with --journal"
        ) from error
    with lock, told(where):
        _lock(lock, path)
        if path.exists() and path.stat().st_size:
            _require_sound(path, where)
        engine = _sqlite_engine(path, read_only=False)
        try:
            _upgrade(engine, where)
            yield engine
        finally:
            engine.dispose()


def moved_aside(where: Location) -> str | None:
    """Rename a journal's files, so that a new one can begin; return its new name, None if there was none.

    The one that was moved aside before is replaced.

    Raises:
        InputError: it is in use, or not a file.

    """
    path = where.path
    if path is None:
        raise InputError(f"{where.name} can't be moved aside; make a new database, or drop its tables")
    if not path.exists():
        return None
    aside = path.with_name(f"{path.stem}.before{path.suffix}")
    try:
        with path.with_name(path.name + ".lock").open("a") as lock:
            _lock(lock, path)
            for end in ("", "-wal", "-shm"):
                path.with_name(aside.name + end).unlink(missing_ok=True)
                if path.with_name(path.name + end).exists():
                    path.with_name(path.name + end).rename(path.with_name(aside.name + end))
    except OSError as error:
        raise InputError(
            f"the journal {path} can't be moved aside: {error.strerror}; name another with --journal"
        ) from error
    return str(aside)


@contextmanager
def steering(where: Location) -> Iterator[sa.Engine]:
    """Lend an engine that writes beside a loop that may be running; the journal is made if there is none.

    Raises:
        InputError: its folder can't be written.
        TidegateError: it is damaged, newer than this Tidegate, or can't be reached.

    """
    path = where.path
    if path is not None and not (path.exists() and path.stat().st_size):
        with writing(where):
            pass
    if path is not None:
        _require_sqlite(path)
    engine = _postgres(where) if path is None else _sqlite_engine(path, read_only=False)
    try:
        with told(where):
            _require_known(engine, where)
        yield engine
    finally:
        engine.dispose()


def _require_sqlite(path: Path) -> None:
    try:
        with path.open("rb") as file:
            header = file.read(len(SQLITE_HEADER))
    except OSError as error:
        raise InputError(f"the journal {path} can't be read: {error.strerror}") from error
    if header != SQLITE_HEADER:
        raise TidegateError(f"{path} is no journal, or damaged; move it away, or name another with --journal")


def _require_sound(path: Path, where: Location) -> None:
    """Refuse a damaged or newer file, having opened it read-only."""
    _require_sqlite(path)
    engine = _sqlite_engine(path, read_only=True)
    try:
        with engine.connect() as connection:
            said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if said != "ok":
            raise TidegateError(
                f"the journal {path} is damaged ({said}); restore it from a backup, or move it away"
            )
        _require_known(engine, where)
    finally:
        engine.dispose()


def _require_known(engine: sa.Engine, where: Location) -> None:
    revision = _revision(engine)
    if revision is None and where.path is not None and sa.inspect(engine).get_table_names():
        raise TidegateError(f"{where.name} is a database but no journal; name another with --journal")
    if revision is not None and revision not in REVISIONS:
        raise TidegateError(
            f"the journal {where.name} was written by a newer Tidegate (revision {revision}, "
            f"known up to {REVISIONS[-1]}); upgrade Tidegate, or name another with --journal"
        )


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def _upgrade(engine: sa.Engine, where: Location) -> None:
    _require_known(engine, where)
    if _revision(engine) == REVISIONS[-1]:
        return
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", "tidegate.journal.sql:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _sqlite_engine(path: Path, *, read_only: bool) -> sa.Engine:
    # A URI, since only that can say read-only; quoted, since a path may hold ? and #.
    uri = path.resolve().as_uri() + ("?mode=ro" if read_only else "")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        if not read_only:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES_MAX}")
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.StaticPool)


def _postgres(where: Location) -> sa.Engine:
    try:
        return sa.create_engine(where.url)
    except ModuleNotFoundError as error:
        raise InputError("PostgreSQL needs the postgres extra: pip install 'tidegate[postgres]'") from error


@contextmanager
def _advisory_lock(engine: sa.Engine, where: Location) -> Iterator[None]:
    with engine.connect() as connection:
        got = connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar()
        connection.commit()
        if not got:
            raise _in_use(where.name)
        yield


def _lock(file: IO[Any], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise _in_use(str(path)) from error


def _in_use(name: str) -> InputError:
    return InputError(
        f"the journal {name} is in use by another Tidegate; end that, or name another with --journal"
    )


@contextmanager
def told(where: Location) -> Iterator[None]:
    """Turn what the database says into one sentence."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        said = str(error.orig).strip().splitlines()
        reason = said[0] if said else type(error.orig).__name__
        raise TidegateError(f"the journal {where.name} can't be used: {reason}") from error


__all__ = ["REVISIONS", "Location", "location", "moved_aside", "reading", "steering", "told", "writing"]
