"""The views of the contract."""

from __future__ import annotations

from sqlalchemy import Connection


def create_all(connection: Connection) -> None:
    """Make every view."""


def drop_all(connection: Connection) -> None:
    """Drop every view."""
