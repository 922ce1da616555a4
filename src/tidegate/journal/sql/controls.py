"""What people tell a running Tidegate: how far it may go with whom, and to pause.

It is kept in the journal, so that it holds over restarts; the loop asks before each tick's actions. Any
process may write here while the loop runs.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from tidegate.journal.sql.opening import Location, steering, told
from tidegate.journal.sql.tables import autonomy, events, identity
from tidegate.model.autonomy import Autonomy, Level
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES_MAX: Final = 1000
"""Patterns are matched against every name; more than this are not a policy but a list."""
AUTONOMY_DEFAULT: Final = "autonomy_default"
"""Under which name a journal says what held at its last start for whom no rule names."""
_PAUSED: Final = "paused"


@dataclass(frozen=True, slots=True)
class Controls:
    """The autonomy that a journal keeps."""

    engine: sa.Engine
    where: Location
    default: Level
    looking: sa.Engine | None = None
    """Reads and takes no lock, for who asks at every tick; ``engine`` where there is none."""

    def autonomy(self) -> Autonomy:
        """Return what holds now.

        Raises:
            TidegateError: the database refuses.

        """
        with told(self.where), (self.looking or self.engine).connect() as connection:
            rules = connection.execute(
                sa.select(autonomy.c.pattern, autonomy.c.level).order_by(autonomy.c.position)
            ).all()
            paused = connection.scalar(sa.select(identity.c.value).where(identity.c.name == _PAUSED))
        return Autonomy(
            default=self.default,
            rules=tuple((row.pattern, Level[row.level.upper()]) for row in rules),
            paused=paused is not None,
        )

    def allow(self, pattern: str, level: Level, *, now_seconds: int) -> None:
        """Let a level hold for whom a pattern matches, over every rule set before.

        Raises:
            InputError: there are too many rules.
            TidegateError: the database refuses.

        """
        with told(self.where), self.engine.begin() as connection:
            connection.execute(autonomy.delete().where(autonomy.c.pattern == pattern))
            last, count = connection.execute(
                sa.select(sa.func.coalesce(sa.func.max(autonomy.c.position), 0), sa.func.count()).select_from(
                    autonomy
                )
            ).one()
            if count >= RULES_MAX:
                raise InputError(f"there are {count} rules already; name groups by a pattern such as 'web*'")
            row = {"position": last + 1, "pattern": pattern, "level": level.label}
            connection.execute(autonomy.insert(), row)
            _note(connection, now_seconds, "autonomy", f"autonomy of '{pattern}' set to {level.label}")

    def forget(self, pattern: str, *, now_seconds: int) -> None:
        """Drop the rule of a pattern.

        Raises:
            InputError: there is none.
            TidegateError: the database refuses.

        """
        with told(self.where), self.engine.begin() as connection:
            gone = connection.execute(autonomy.delete().where(autonomy.c.pattern == pattern))
            if gone.rowcount == 0:
                raise InputError(f"there is no rule for '{pattern}'; 'tidegate autonomy' lists them")
            _note(connection, now_seconds, "autonomy", f"rule for '{pattern}' dropped")

    def pause(self, *, now_seconds: int) -> bool:
        """Stop all action from the next tick on; return whether it was not paused already.

        Raises:
            TidegateError: the database refuses.

        """
        with told(self.where), self.engine.begin() as connection:
            if connection.scalar(sa.select(identity.c.value).where(identity.c.name == _PAUSED)) is not None:
                return False
            connection.execute(identity.insert(), {"name": _PAUSED, "value": str(now_seconds)})
            _note(connection, now_seconds, "paused", "paused: nothing is acted on")
        return True

    def resume(self, *, now_seconds: int) -> bool:
        """Let actions go on as autonomy says; return whether it was paused.

        Raises:
            TidegateError: the database refuses.

        """
        with told(self.where), self.engine.begin() as connection:
            gone = connection.execute(identity.delete().where(identity.c.name == _PAUSED))
            if gone.rowcount:
                _note(connection, now_seconds, "resumed", "resumed: autonomy decides again")
            return bool(gone.rowcount)


@contextmanager
def controls_of(where: Location, default: Level) -> Iterator[Controls]:
    """Lend the controls of a journal, which may be in use by a loop; one is made where there is none.

    Raises:
        InputError: its folder can't be written.
        TidegateError: it is damaged, newer, or can't be reached.

    """
    with steering(where) as engine:
        yield Controls(engine, where, default)


def _note(connection: sa.Connection, time_seconds: int, kind: str, sentence: str) -> None:
    row = {"time_seconds": time_seconds, "kind": kind, "sentence": sentence, "workload": None}
    connection.execute(events.insert(), row)


__all__ = ["AUTONOMY_DEFAULT", "Controls", "controls_of"]
