"""Databases for the store's tests: SQLite files, and a PostgreSQL database of its own for each test that asks for one."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

SERVER = "TRADER_TEST_POSTGRES"


@contextmanager
def new_postgres():
    """URL of a new, empty database on the server of TRADER_TEST_POSTGRES; dropped afterwards."""
    server = os.environ.get(SERVER)
    if not server:
        pytest.skip(f"{SERVER} is not set (for example postgresql://postgres@127.0.0.1:5432/postgres)")
    url = make_url(server).set(drivername="postgresql+psycopg")
    name = f"trader_test_{uuid.uuid4().hex[:12]}"
    admin = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


@pytest.fixture
def postgres_url():
    """A PostgreSQL database for one test."""
    with new_postgres() as url:
        yield url


KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    """A database of each kind for one test, not yet made."""
    if request.param == "sqlite":
        yield str(tmp_path / "runs" / "trader.db")
    else:
        yield request.getfixturevalue("postgres_url")


@pytest.fixture(scope="module", params=KINDS)
def module_url(request, tmp_path_factory):
    """A database of each kind for a module whose tests only read."""
    if request.param == "sqlite":
        yield str(tmp_path_factory.mktemp("module") / "trader.db")
    else:
        with new_postgres() as url:
            yield url
