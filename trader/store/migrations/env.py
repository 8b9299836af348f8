"""Alembic's environment: migrates on the connection and in the transaction that `trader.store.schema.migrate` gives."""

from __future__ import annotations

from alembic import context

from trader.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
