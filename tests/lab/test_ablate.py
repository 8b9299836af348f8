"""`trader ablate`: each level off in turn, in pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trader.core.errors import UserError
from trader.lab import ablate as module
from trader.lab.ablate import arms, levels_on, table
from trader.lab.sessions import Wishes


@pytest.fixture(scope="module", name="small_config")
def two_levels(small_config):
    """Of the levels that are on by default, evolution and pool: few sessions."""
    off = [f"levels.{name}.enabled=false" for name in ("bandits", "calibration", "self_modifier")]
    return lambda *sets: small_config(*off, *sets)


@pytest.fixture(scope="module")
def document(small_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablated")
    return module.ablate(small_config("session.candles=2500"), Wishes(str(folder / "t.db"), folder / "kept"))


def test_arms_take_one_level_away_each(small_config):
    config = small_config("levels.memory.enabled=true")
    plan = arms(config)
    assert levels_on(config) == ("memory", "evolution", "pool")
    kinds = ["population", "without-memory", "without-evolution", "without-pool", "all-off", "frozen", "random"]
    assert [each.kind for each in plan] == kinds * 2
    for each in plan[:7]:
        on = set(levels_on(each.config))
        if each.kind.startswith("without-"):
            assert on == {"memory", "evolution", "pool"} - {each.kind.removeprefix("without-")}
    assert levels_on(plan[4].config) == ()
    assert {each.seed for each in plan} == {3, 4}


def test_births_as_a_contextual_bandit_are_an_arm(small_config):
    plan = arms(small_config("levels.dqn.enabled=true", "levels.ppo.enabled=true", "levels.ppo.discount=0.3"))
    arm = next(each.config for each in plan if each.kind == "without-discount")
    assert (arm.levels.dqn.discount, arm.levels.ppo.discount) == (0.0, 0.0)
    assert arm.levels.dqn.enabled
    assert arm.levels.ppo.enabled
    bandit = small_config("levels.dqn.enabled=true", "levels.dqn.discount=0.0")
    assert "without-discount" not in {each.kind for each in arms(bandit)}


def test_nothing_on_is_refused(small_config):
    with pytest.raises(UserError, match="nothing to take away"):
        arms(small_config("levels.evolution.enabled=false", "levels.pool.enabled=false"))


def test_document_and_table(document):
    assert [row["level"] for row in document["levels"]] == ["evolution", "pool", "all levels"]
    for row in document["levels"]:
        assert row["interval"][0] <= row["worth"] <= row["interval"][1]
        assert len(row["seeds_worth"]) == 2
        assert row["microseconds_interval"][0] <= row["microseconds_per_frame"] <= row["microseconds_interval"][1]
    single = document["levels"][:2]
    assert all(row["p_holm"] >= row["p_value"] for row in single)
    assert document["trials"] == document["sessions"] - 2  # the frozen twins are the sessions without evolution
    text = table(document)
    assert text.startswith(document["verdict"])
    assert all(word in text for word in ("evolution", "pool", "all levels", "frozen twin", "random twin"))


def test_worth_is_the_difference_of_the_arms(document):
    evolution, pool, everything = document["levels"]
    frozen = document["twins"]["frozen"]["annual_return"]
    assert evolution["worth"] == pytest.approx(document["all_on"]["annual_return"] - frozen)
    assert evolution["worth"] != pool["worth"] != everything["worth"]


def test_noise_of_equal_worth_is_seldom_significant():
    """Two-sided p of two series that differ by nothing but luck: below 5 % in at most 12 of 100 draws, and seen if real."""
    generator = np.random.default_rng(1)
    low = found = 0
    for _ in range(100):
        common, one, other = generator.normal(size=(3, 250)) * 0.01
        low += module._two_sided(common + one, common + other) < 0.05
        found += module._two_sided(common + one + 0.004, common + other) < 0.05
    assert low <= 12
    assert found >= 80


def test_command_line(small_config, tmp_path, capsys):
    from trader.__main__ import main

    file = tmp_path / "c.toml"
    file.write_text('[session]\ncandles = 1500\n[feed]\nkind = "synthetic"\nsymbols = ["BTC/USDT"]\n[population]\nsize = 20\n'
                    "[evaluation]\nseeds = 1\n")  # fmt: skip
    words = ["ablate", str(file), "--db", str(tmp_path / "t.db"), "--keep", str(tmp_path / "kept"), "--quiet"]
    assert main([*words, "--json"]) == 0
    first = capsys.readouterr().out
    levels = [row["level"] for row in json.loads(first)["levels"]]
    assert levels == ["bandits", "calibration", "self_modifier", "evolution", "pool", "all levels"]
    assert main([*words, "--json"]) == 0
    assert capsys.readouterr().out == first  # kept sessions keep their times
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("Out of sample on a made-up market")
