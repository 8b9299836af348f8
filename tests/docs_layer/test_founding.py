"""docs/founding.md: whatever it names is there (files, symbols, config keys, views, commands), and no item is missing."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from typer.main import get_command

from tests.shell_layer.shell_support import ROOT
from trader.cli.app import app
from trader.core.config import Config
from trader.core.config_file import dotted_keys
from trader.store.views import all_views

TEXT = (ROOT / "docs" / "founding.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| item |")
]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[2])})


def commands(command, above="trader"):
    yield above
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{above} {name}")


KNOWN = {*dotted_keys(Config), *all_views("sqlite"), *commands(get_command(app))}


@pytest.mark.parametrize("name", NAMED)
def test_what_the_page_names_is_there(name):
    if name in KNOWN:
        return
    path, _, symbol = name.partition("::")
    assert (ROOT / path).is_file(), f"{name} is no file, config key, view or command"
    if symbol:
        module = import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        assert hasattr(module, symbol), name


def test_every_row_says_what_was_asked_where_it_lives_and_its_state():
    for row in ROWS:
        assert len(row) == 4, row
        assert all(row), row
        assert "`" in row[2], row


@pytest.mark.parametrize(
    "item",
    [
        "Level 1", "Level 2", "Level 3", "Level 4", "NestedAdam", "exploding", "DQN's instability", "Faster convergence",
        "HOPE's three parts", "Meta-modifier", "apply_deltas", "Trigger network", "cached weights", "Regime change",
        "ContinuumMemory", "Working memory", "Episodic memory", "Semantic memory", "Gating network", "Retrieval",
        "Nested optimizer for DQN", "DNA modifier", "temporary_dna", "NestedHOPEMemory", "+40 %", "+60 %", "+80 %",
        "+100 %", "+150 %", "+5 %", "+10 %", "+20 %", "−40 %", "Replace A3C's optimizer", "Three-level memory",
    ],
)  # fmt: skip
def test_no_item_of_the_founding_document_is_missing(item):
    assert any(item in row[0] for row in ROWS), item


@pytest.mark.parametrize("view", ["v_bandit", "v_modification", "v_policy"])
def test_what_is_not_built_is_said_to_be_so_and_what_is_built_is_not(view):
    """Views that no level fills are made without rows."""
    empty = all(part.where == "1 = 0" for part in all_views("sqlite")[view].parts)
    told = [f"`{view}`" in row[3] and "not yet" in row[3] for row in ROWS if f"`{view}`" in " ".join(row)]
    assert any(told) == empty, f"{view} has {'no ' if empty else ''}rows, and the page says otherwise"
