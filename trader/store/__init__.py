"""The trade database: tables, views, the one writer, checkpoints, named read-only queries. Only here is SQLAlchemy known."""
