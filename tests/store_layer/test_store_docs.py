"""docs/sql.md names every view with every column and has an example for each; every example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.store_layer import sample_run
from trader.store import queries
from trader.store.listings import LISTINGS
from trader.store.store import open_store
from trader.store.tables import metadata
from trader.store.views import all_views

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "sql.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (v_\w+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
EXAMPLES = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


def test_every_view_has_a_section_that_names_its_columns():
    assert set(SECTIONS) == set(all_views("sqlite"))
    for name, view in all_views("sqlite").items():
        missing = [c for c in view.names if not c.endswith("_utc") and not re.search(rf"`{c}`", SECTIONS[name])]
        assert missing == [], name
        assert any(
            re.search(rf"\b{name}\b", query) for query in re.findall(r"```sql\n(.*?)```", SECTIONS[name], re.DOTALL)
        )


@pytest.fixture(scope="module")
def store(module_url):
    with open_store(module_url, create=True) as opened:
        sample_run.write(opened, sample_run.make(60, 20, 5))
        yield opened


@pytest.mark.parametrize("query", EXAMPLES)
def test_examples_run(store, query):
    columns, rows = queries.sql(store, query)
    assert columns
    assert rows


def test_store_page_names_every_table_and_listing():
    page = (DOCS / "store.md").read_text(encoding="utf-8")
    assert [table for table in metadata.tables if f"`{table}`" not in page] == []
    assert [name for name in LISTINGS if name not in page] == []
