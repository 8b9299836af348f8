"""Databases for the store's tests: SQLite files, and a PostgreSQL database of its own for each test that asks for one."""

from __future__ import annotations

import os
import uuid

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

SERVER = "TRADER_TEST_POSTGRES"


@pytest.fixture
def postgres_url():
    """URL of a new, empty database on the server of TRADER_TEST_POSTGRES; dropped afterwards."""
    server = os.environ.get(SERVER)
    if not server:
        pytest.skip(f"{SERVER} is not set (for example postgresql://postgres@127.0.0.1:5432/postgres)")
    url = make_url(server).set(drivername="postgresql+psycopg")
    name = f"trader_test_{uuid.uuid4().hex[:12]}"
    admin = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """A database of each kind, not yet made."""
    if request.param == "sqlite":
        return str(tmp_path / "runs" / "trader.db")
    return request.getfixturevalue("postgres_url")
