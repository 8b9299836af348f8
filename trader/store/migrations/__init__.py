"""Alembic migrations of the trade database; run by `trader db migrate` and when a session opens an older database."""
