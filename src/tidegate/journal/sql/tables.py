"""The tables of a journal. What a tick saw and did are blobs; what people ask for by name are columns.

| table       | one row is                                                                |
|-------------|---------------------------------------------------------------------------|
| identity    | a name and value: what the journal is of (policy, step, seed, ...)        |
| fleets      | who was there, and where, from one change of that to the next             |
| ticks       | a tick: its changes, what it saw, and now and then an anchor to find rows |
| checkpoints | the memory of every stage after a tick: a list of slices                  |
| slices      | part of an array, by its digest; unchanged parts are stored once          |
| events      | something a person should know: started, paused, released, ...           |
| autonomy    | how far workloads of a name may be acted on                               |
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData()

identity: Final = sa.Table(
    "identity",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
fleets: Final = sa.Table(
    "fleets",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
ticks: Final = sa.Table(
    "ticks",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("time_seconds", sa.BigInteger, nullable=False, index=True),
    sa.Column("fleet_id", sa.Integer, sa.ForeignKey("fleets.id"), nullable=False, index=True),
    sa.Column("whole", sa.Boolean, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("changes", sa.LargeBinary, nullable=False),
    sa.Column("samples", sa.LargeBinary),
    sa.Column("anchor", sa.LargeBinary),
)
checkpoints: Final = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("manifest", sa.LargeBinary, nullable=False),
)
slices: Final = sa.Table(
    "slices",
    metadata,
    sa.Column("digest", sa.LargeBinary(16), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
events: Final = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("time_seconds", sa.BigInteger, nullable=False, index=True),
    sa.Column("workload", sa.Text, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
)
autonomy: Final = sa.Table(
    "autonomy",
    metadata,
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("pattern", sa.Text, nullable=False, unique=True),
    sa.Column("level", sa.Text, nullable=False),
)

__all__ = ["autonomy", "checkpoints", "events", "fleets", "identity", "metadata", "slices", "ticks"]
