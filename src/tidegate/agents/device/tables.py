"""The tables of a card's store. Each row holds its record as JSON; columns are what it is looked up by.

| table        | one row is                                                              |
|--------------|-------------------------------------------------------------------------|
| settings     | the card itself; there is one                                           |
| applications | an application that is here                                             |
| seen         | the epochs of a name, also after it left                                |
| adjustments  | one change to what an application holds                                 |
| migrations   | one move of an application away from here                               |
| profiles     | how an application is watched, and the curve learned                    |
| answers      | what a request was answered                                             |
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData()


def _table(name: str, key: str, *columns: sa.Column[int] | sa.Column[str]) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column(key, sa.Text, nullable=False, unique=True),
        *columns,
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,  # a number that was given is never given again
    )


settings: Final = _table("settings", "card")
applications: Final = _table("applications", "name")
seen: Final = _table("seen", "name")
adjustments: Final = _table(
    "adjustments", "id", sa.Column("application", sa.Text, nullable=False, index=True)
)
migrations: Final = _table("migrations", "id", sa.Column("ended", sa.Integer, nullable=False))
profiles: Final = _table("profiles", "application")
answers: Final = _table(
    "answers",
    "id",
    sa.Column("asked", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at_nanoseconds", sa.Integer, nullable=False, index=True),
)

__all__ = [
    "adjustments",
    "answers",
    "applications",
    "metadata",
    "migrations",
    "profiles",
    "seen",
    "settings",
]
