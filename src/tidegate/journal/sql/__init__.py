"""The journal in a database: SQLite beside the program, or PostgreSQL by URL."""
