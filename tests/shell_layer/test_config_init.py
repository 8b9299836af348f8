"""`trader config init`: every key with its meaning, and what is written reads back to the defaults."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from trader.cli.config_text import EXAMPLES, commented_config
from trader.core.config import Config, FeedConfig, as_dict, load
from trader.core.config_file import dotted_keys, section

KINDS = [kind for kind in get_args(FeedConfig.model_fields["kind"].annotation) if kind != "live"]
KEY = re.compile(r"^# (\w+ = .*)$")


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_the_default_config(tmp_path, kind):
    path = tmp_path / "new.toml"
    path.write_text(commented_config(kind), encoding="utf-8")
    assert as_dict(load(path)) == as_dict(load(None, [], {"feed.kind": kind}))


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_comment_signs_it_is_the_default_config_too(tmp_path, kind):
    lines = [line for line in commented_config(kind).splitlines() if "(example)" not in line]
    path = tmp_path / "new.toml"
    path.write_text("\n".join(KEY.sub(r"\1", line) for line in lines), encoding="utf-8")
    assert as_dict(load(path)) == as_dict(load(None, [], {"feed.kind": kind}))


def test_every_key_stands_there_under_its_meaning():
    text = commented_config("synthetic")
    flat = " ".join(line.removeprefix("#").strip() for line in text.splitlines())
    for dotted in dotted_keys(Config):
        *above, name = dotted.split(".")
        owner = section(Config, tuple(above))
        inline = len(above) > 1 and above[0] != "levels"  # tables of plain values stand inline
        assert inline or re.search(rf"^(# )?{name} = ", text, re.MULTILINE), dotted
        if inline:
            assert f"{name}: {owner.model_fields[name].description}" in " ".join(flat.split()), dotted
        else:
            assert " ".join(owner.model_fields[name].description.split()) in " ".join(flat.split()), dotted


def test_every_example_is_accepted_and_every_key_without_a_default_has_one():
    for dotted, value in EXAMPLES.items():
        assert load(None, [], {"feed.kind": "synthetic", dotted: value})
    tree = as_dict(load(None, [], {"feed.kind": "synthetic"}))

    def unset(table, above=""):
        for name, value in table.items():
            if isinstance(value, dict):
                yield from unset(value, f"{above}{name}.")
            elif value is None:
                yield f"{above}{name}"

    assert set(unset(tree)) <= set(EXAMPLES)


def test_lines_are_short_enough_to_read():
    assert max(len(line) for line in commented_config("replay").splitlines()) <= 140
