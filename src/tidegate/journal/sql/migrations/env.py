"""Run by Alembic: brings the tables on the connection it was handed up to date."""

from __future__ import annotations

from alembic import context

from tidegate.journal.sql.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
