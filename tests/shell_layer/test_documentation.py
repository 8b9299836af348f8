"""What is undocumented fails here: commands, options, config keys, views, words of the README, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from tests.shell_layer.shell_support import ROOT
from trader.cli.app import app
from trader.cli.reference import PAGES, main
from trader.core.config import Config
from trader.core.config_file import dotted_keys
from trader.store.views import all_views

DOCS = ROOT / "docs"
MARKDOWN = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def paths(command, above=()):
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*above, name))
    if not hasattr(command, "commands"):
        yield " ".join(above), command


COMMANDS = dict(paths(get_command(app)))


@pytest.mark.parametrize("name", list(PAGES))
def test_reference_pages_are_what_the_program_says(name):
    """`make docs` writes them anew."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_make_docs_writes_the_pages(tmp_path):
    main(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PAGES)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_and_option_is_documented(name):
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    heading = re.search(rf"^## `trader {name}[ `].*$", page, re.MULTILINE)
    assert heading, f"trader {name} is not in docs/commands.md"
    part = page[heading.end() :].partition("\n## ")[0]
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert f"`{parameter.opts[0]}" in part
            assert parameter.help
    assert COMMANDS[name].help


def test_the_contracts_commands_are_there():
    expected = {
        "run",
        "replay",
        "resume",
        "verify",
        "doctor",
        "config init",
        "config check",
        "config show",
        "config schema",
    }
    listings = (
        "runs trades positions orders fills agents lineage ledger levels candles incidents sql check export migrate"
    )
    expected |= {f"db {name}" for name in re.findall(r"\w+", listings)}
    assert expected <= set(COMMANDS)


@pytest.mark.parametrize("key", list(dotted_keys(Config)))
def test_every_config_key_is_documented(key):
    assert f"| `{key}` |" in (DOCS / "config.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("view", list(all_views("sqlite")))
def test_every_view_is_documented(view):
    assert f"## {view}\n" in (DOCS / "sql.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readmes_first_screen_has_the_two_commands_and_the_words():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = "\n".join(text.splitlines()[:45])
    assert "make run" in first
    assert "make test" in first
    words = """agent pool level generation frame feed journal digest perpetual genome DNA archetype grant boundary epoch
    shadow control funnel liquidation candle run"""
    for word in words.split():
        assert f"**{word}**" in first, word


def test_commands_that_pages_tell_people_to_type_exist():
    for page in MARKDOWN:
        for line in re.findall(
            r"^(?:\.venv/bin/)?trader (.+?)(?:  +#.*)?$", page.read_text(encoding="utf-8"), re.MULTILINE
        ):
            words = line.split()
            known = words[0] in COMMANDS or " ".join(words[:2]) in COMMANDS
            assert known, f"{page.name}: trader {line}"


def test_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in MARKDOWN:
        for target in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8")):
            assert target in targets, f"{page.name}: make {target}"


def test_files_that_the_architecture_page_names_exist():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for place in re.findall(r"`((?:trader|agents|rl|portfolio|memory|tests|configs|data|benchmarks)/[\w./]*)`", text):
        assert (ROOT / place).exists() or place == "data/", place


PACKAGES = ("trader", "agents", "rl", "portfolio", "memory")


def test_the_architecture_page_names_every_package_and_folder():
    """A folder with code in it that the page does not name is a folder nobody will find."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    for folder in sorted(folders - {Path("trader")}):
        named = [place for place in (folder, *folder.parents) if f"`{place}/`" in text]
        assert named, f"{folder}/ is not in docs/architecture.md"
    for name in PACKAGES[:1]:
        for inner in (ROOT / name).iterdir():
            if inner.is_dir() and any(inner.glob("*.py")):
                assert f"`{name}/{inner.name}/`" in text, f"{name}/{inner.name}/ has no line of its own"


def test_the_architecture_pages_layers_are_those_that_are_enforced():
    import tomllib

    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    drawn = re.search(r"```\n(trader\.cli.*?)```", text, re.DOTALL)
    assert drawn
    left = [line.partition("   ")[0] for line in drawn[1].splitlines()]
    lines = [set(re.findall(r"[\w.]+", line)) for line in left]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [set(re.findall(r"[\w.]+", layer)) for layer in contracts[0]["layers"]]
    enforced = [{name for name in layer if (ROOT / name.replace(".", "/")).is_dir()} for layer in layers]
    assert [line for line in lines if line] == [layer for layer in enforced if layer]


def test_every_dependency_has_its_line_in_the_decisions():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (DOCS / "decisions.md").read_text(encoding="utf-8").partition("## Dependencies")[2].lower()
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement)[0].lower()
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), name
