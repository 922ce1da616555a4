"""Opens a journal: refuses what is damaged or newer before a byte is written, then brings it up to date.

SQLite runs with a write-ahead log and full synchronisation: what was committed survives the process and
the machine. Readers open it read-only and never wait for the writer.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

REVISIONS: Final = ("0001",)
"""Every revision of the tables this Tidegate knows, oldest first."""
SQLITE_HEADER: Final = b"SQLite format 3\x00"
PAGE_BYTES: Final = 16_384
"""Blobs fill pages of this size well; SQLite's default of 4096 costs more pages a blob."""
WAL_PAGES_MAX: Final = 2048
"""Pages in the write-ahead log before they are moved into the file: 32 MiB."""
SMALL_WAL_PAGES_MAX: Final = 128
"""The same of what a program remembers beside its journal, on a card with a small disk maybe: 2 MiB."""
WAL_RATIO: Final = 0.02
"""Share of the bytes allowed that the write-ahead log may be, where that is less."""
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
        InputError: the path names no file, the URL is none, or its database neither SQLite nor PostgreSQL.

    """
    if "://" not in text:
        return Location(sa.URL.create("sqlite", database=str(_file_named(text))))
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:  # a port that is no number
        raise InputError(
            "the journal's URL can't be read; write postgresql://user@host/name, or a file's path"
        ) from error
    if url.get_backend_name() in {"postgresql", "postgres"}:
        return Location(url.set(drivername="postgresql+psycopg"))
    if url.get_backend_name() == "sqlite" and url.database:
        return Location(url)
    raise InputError(
        f"a journal can't be kept in '{url.get_backend_name()}'; give a path or a postgresql URL"
    )


def _file_named(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"'{text}' is in the home of nobody known here; write the path in full") from error
    if not path.name or "\0" in text:
        raise InputError(f"{text!r} names no file; give the journal's path")
    return path


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
        _require_file(path)
        _require_sqlite(path)
        with told(where):
            _look(path, lambda looking: _require_known(looking, where))
        return sqlite_engine(path, "?mode=ro")
    try:
        with told(where):
            _require_known(engine, where)
    except TidegateError:
        engine.dispose()
        raise
    return engine


def _require_file(path: Path) -> None:
    try:
        found = path.is_file()
    except OSError as error:
        raise InputError(f"the journal {path} can't be read: {error.strerror}") from error
    if not found:
        raise InputError(f"there is no journal {path}; run 'tidegate up' first, or name one with --journal")


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
        try:
            with told(where), _advisory_lock(engine, where):
                _upgrade(engine, where)
                yield engine
        finally:
            engine.dispose()
        return
    path = Path(os.path.realpath(path))  # one lock a file, by whatever name it is reached
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("a")
    except OSError as error:
        raise InputError(
            f"the journal {path} can't be written: {error.strerror}; name another with --journal"
        ) from error
    with lock, told(where):
        lock_alone(lock, path)
        if _is_begun(path):
            _require_sound(path, where)
        engine = sqlite_engine(path)
        try:
            _upgrade(engine, where)
            yield engine
        finally:
            engine.dispose()


def looking(where: Location, writer: sa.Engine) -> sa.Engine:
    """Return an engine that reads beside one that writes, and takes no lock from anybody for it."""
    return writer if where.path is None else sqlite_engine(where.path, "?mode=ro")


@contextmanager
def steering(where: Location) -> Iterator[sa.Engine]:
    """Lend an engine that writes beside a loop that may be running; the journal is made if there is none.

    Raises:
        InputError: its folder can't be written.
        TidegateError: it is damaged, newer than this Tidegate, or can't be reached.

    """
    path = where.path
    if path is not None:
        if not _is_begun(path):
            with writing(where):
                pass
        _require_sqlite(path)
        with told(where):
            _look(path, lambda looking: _require_known(looking, where))
    engine = _postgres(where) if path is None else sqlite_engine(path)
    try:
        if path is None:
            with told(where):
                _require_known(engine, where)
        yield engine
    finally:
        engine.dispose()


def _is_begun(path: Path) -> bool:
    try:
        return path.exists() and path.stat().st_size > 0
    except OSError as error:
        raise InputError(f"the journal {path} can't be read: {error.strerror}") from error


def _require_sqlite(path: Path) -> None:
    # Closing a file drops every lock its process has on it (POSIX): a loop that looked so at its own journal
    # would have its log deleted by the next command that ends. Where there is a log, SQLite itself looks.
    if path.with_name(path.name + "-wal").exists():
        return
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

    def check(engine: sa.Engine) -> None:
        with engine.connect() as connection:
            said = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        if said != "ok":
            raise TidegateError(
                f"the journal {path} is damaged ({said.splitlines()[-1]}); "
                "restore it from a backup, or move it away"
            )
        _require_known(engine, where)

    _look(path, check)


def _look(path: Path, check: Callable[[sa.Engine], None]) -> None:
    """Check a file without leaving a trace: where it has no log, reading it must not make one."""
    log = path.with_name(path.name + "-wal")
    engine = sqlite_engine(path, "?mode=ro" if log.exists() else "?mode=ro&immutable=1")
    try:
        check(engine)
    finally:
        engine.dispose()


def _require_known(engine: sa.Engine, where: Location) -> None:
    revision = _revision(engine)
    inspector = sa.inspect(engine)
    names = {*inspector.get_table_names(), *inspector.get_view_names()}
    of_another = "ticks" not in names if revision is not None else bool(names) and where.path is not None
    if of_another:
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


def sqlite_engine(path: Path, how: str = "", *, wal_pages_max: int = WAL_PAGES_MAX) -> sa.Engine:
    """Return an engine on a file; ``how`` is the query of its URI, and without it, it writes."""
    # A URI, since only that can say read-only; quoted, since a path may hold ? and #.
    uri = Path(os.path.realpath(path)).as_uri() + how

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        if not how:
            connection.isolation_level = None
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=OFF")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA wal_autocheckpoint={wal_pages_max}")
            bytes_max = min(WAL_BYTES_MAX, 2 * wal_pages_max * PAGE_BYTES)
            connection.execute(f"PRAGMA journal_size_limit={bytes_max}")
        return connection

    # A connection for each that reads: on one alone, who stopped half way would hold the others in the past.
    pool = sa.pool.QueuePool if how else sa.pool.StaticPool
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool)
    if not how:
        # The driver itself begins no transaction before a CREATE TABLE: half a migration would stay.
        # Immediate, since people's commands write beside the loop: who reads first may be refused to write.
        sa.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _postgres(where: Location) -> sa.Engine:
    try:
        return sa.create_engine(where.url)
    except ImportError as error:
        raise InputError("PostgreSQL needs the postgres extra: pip install 'tidegate[postgres]'") from error


@contextmanager
def _advisory_lock(engine: sa.Engine, where: Location) -> Iterator[None]:
    with engine.connect() as connection:
        got = connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar()
        connection.commit()
        if not got:
            raise _in_use(where.name)
        yield


def lock_alone(file: IO[Any], path: Path) -> None:
    """Hold a journal's lock until the file is closed.

    Raises:
        InputError: another process holds it.

    """
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
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        said = str(original).strip().splitlines()
        reason = said[0] if said else type(original).__name__
        raise TidegateError(f"the journal {where.name} can't be used: {reason}") from error


__all__ = [
    "REVISIONS",
    "Location",
    "location",
    "looking",
    "reading",
    "steering",
    "told",
    "writing",
]
