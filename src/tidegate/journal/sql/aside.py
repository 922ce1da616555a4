"""Makes room for a new journal: the one before it is kept beside it, and what people said is carried over."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from tidegate.journal.sql.opening import lock_alone, sqlite_engine, writing
from tidegate.journal.sql.tables import autonomy, identity
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from tidegate.journal.sql.opening import Location

CARRIED: Final = ("paused",)
"""What of a journal's identity holds for the next one too."""


def moved_aside(where: Location) -> str | None:
    """Rename a journal, so that a new one can begin; return its new name, None if there was none.

    The one that was moved aside before is replaced, unless this one holds no tick and that one may. The new
    one is as paused, and gives the same autonomy, as the one before.

    Raises:
        InputError: it is in use, or not a file.

    """
    path = where.path
    if path is None:
        raise InputError(f"{where.name} can't be moved aside; make a new database, or drop its tables")
    path = Path(os.path.realpath(path))
    if not path.exists():
        return None
    aside = path.with_name(f"{path.stem}.before{path.suffix}")
    try:
        with path.with_name(path.name + ".lock").open("a") as lock:
            lock_alone(lock, path)
            said = _said(path)
            keeps = said is None or said.ticks or not aside.exists()
            for end in ("", "-wal", "-shm"):
                _put(path.with_name(path.name + end), aside.with_name(aside.name + end) if keeps else None)
    except OSError as error:
        raise InputError(
            f"the journal {path} can't be moved aside: {error.strerror}; name another with --journal"
        ) from error
    if said is not None:
        _carry_over(where, said)
    return str(aside) if keeps else None


class _Said:
    """What people told a journal's loop, and whether it ever turned."""

    def __init__(self, connection: sa.Connection) -> None:
        self.ticks = bool(connection.exec_driver_sql("SELECT count(*) FROM ticks").scalar())
        self.rules = [row._asdict() for row in connection.execute(sa.select(autonomy))]
        wanted = sa.select(identity).where(identity.c.name.in_(CARRIED))
        self.marks = [row._asdict() for row in connection.execute(wanted)]


def _said(path: Path) -> _Said | None:
    """Read what was said, and move what the log holds into the file; a damaged file stays as it is."""
    engine = sqlite_engine(path)
    try:
        with engine.connect() as connection:
            said = _Said(connection)
        with suppress(sa.exc.DBAPIError), engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    except sa.exc.DBAPIError:
        return None
    finally:
        engine.dispose()
    return said


def _put(file: Path, to: Path | None) -> None:
    if to is None:
        file.unlink(missing_ok=True)
        return
    to.unlink(missing_ok=True)
    if file.exists():
        file.rename(to)


def _carry_over(where: Location, said: _Said) -> None:
    if not (said.rules or said.marks):
        return
    with writing(where) as engine, engine.begin() as connection:
        if said.rules:
            connection.execute(autonomy.insert(), said.rules)
        if said.marks:
            connection.execute(identity.insert(), said.marks)


__all__ = ["moved_aside"]
