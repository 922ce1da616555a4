"""Which loop a journal is of: nobody goes on from another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from tidegate.journal.sql import tables
from tidegate.journal.sql.opening import reading, told
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.journal.sql.opening import Location


def is_of(where: Location, identity: Mapping[str, str]) -> bool:
    """Return whether a loop may go on from a journal: there is none yet, or it is that loop's.

    Raises:
        TidegateError: it is damaged, newer, or can't be reached.

    """
    if where.path is not None and not (where.path.exists() and where.path.stat().st_size):
        return True
    engine = reading(where)
    try:
        with told(where), engine.connect() as connection:
            return _conflict(_identity(connection), identity) is None
    finally:
        engine.dispose()


def require_identity(engine: sa.Engine, where: Location, identity: Mapping[str, str]) -> None:
    """Note whose a new journal is.

    Raises:
        InputError: it is another loop's.

    """
    with told(where), engine.begin() as connection:
        held = _identity(connection)
        conflict = _conflict(held, identity)
        if conflict is not None:
            raise InputError(
                f"the journal {where.name} is of {conflict} {held[conflict]}, not {identity[conflict]}; "
                "begin a new one with --fresh, or name another with --journal"
            )
        fresh = [{"name": name, "value": value} for name, value in identity.items() if name not in held]
        if fresh:
            connection.execute(tables.identity.insert(), fresh)


def _identity(connection: sa.Connection) -> dict[str, str]:
    kept = connection.execute(sa.select(tables.identity.c.name, tables.identity.c.value)).all()
    return {str(row[0]): str(row[1]) for row in kept}


def _conflict(held: Mapping[str, str], identity: Mapping[str, str]) -> str | None:
    """Return a name under which a journal holds another value."""
    return next((name for name, value in identity.items() if held.get(name, value) != value), None)


__all__ = ["is_of", "require_identity"]
