"""Steps that bring an older journal's tables up to date; run by Alembic when a journal is opened."""
