"""The journal's first tables."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table("identity", sa.Column("name", sa.Text, primary_key=True), _column("value", sa.Text))
    op.create_table("fleets", sa.Column("id", sa.Integer, primary_key=True), _column("data", sa.LargeBinary))
    op.create_table(
        "ticks",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("time_seconds", sa.BigInteger, nullable=False, index=True),
        sa.Column("fleet_id", sa.Integer, sa.ForeignKey("fleets.id"), nullable=False, index=True),
        _column("whole", sa.Boolean),
        _column("bytes", sa.BigInteger),
        _column("changes", sa.LargeBinary),
        sa.Column("samples", sa.LargeBinary),
        sa.Column("anchor", sa.LargeBinary),
    )
    op.create_table(
        "checkpoints", sa.Column("number", _NUMBER, primary_key=True), _column("manifest", sa.LargeBinary)
    )
    op.create_table(
        "slices",
        sa.Column("digest", sa.LargeBinary(16), primary_key=True),
        _column("data", sa.LargeBinary),
    )
    op.create_table(
        "events",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("time_seconds", sa.BigInteger, nullable=False, index=True),
        sa.Column("workload", sa.Text, index=True),
        _column("kind", sa.Text),
        _column("sentence", sa.Text),
    )
    op.create_table(
        "autonomy",
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("pattern", sa.Text, nullable=False, unique=True),
        _column("level", sa.Text),
    )


def downgrade() -> None:
    """Drop every table; what was journalled is gone."""
    for name in ("autonomy", "events", "slices", "checkpoints", "ticks", "fleets", "identity"):
        op.drop_table(name)


def _column(name: str, kind: type[sa.types.TypeEngine[Any]]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)
