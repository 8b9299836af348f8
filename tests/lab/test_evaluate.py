"""`trader evaluate` from session to sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from trader.cli.output import plain
from trader.core.errors import UserError
from trader.lab.simulation import Stopped
from trader.session.summary import StopFlag

CONTRACT = ("verdict", "significant", "trials", "dsr", "pbo", "spa_p", "break_even_cost", "baselines")


@pytest.fixture(scope="module")
def document(small_config, tmp_path_factory):
    from trader.lab.evaluate import evaluate
    from trader.lab.sessions import Wishes

    folder = tmp_path_factory.mktemp("evaluated")
    return evaluate(small_config(), Wishes(str(folder / "t.db"), folder / "kept"))


def test_document_has_the_contracts_keys_and_the_verdict_comes_first(document):
    assert tuple(document)[: len(CONTRACT) - 1] == (*CONTRACT[:5], "pbo_band", "spa_p")
    assert set(CONTRACT) <= set(document)
    assert document["verdict"].startswith(("Shown on a made-up market", "Not shown on a made-up market"))
    assert set(document["baselines"]) == {
        "cash", "buy_and_hold", "equal_weight", "volatility_target", "last_best", "random_agents"
    }  # fmt: skip
    assert set(document["twins"]) == {"frozen", "random"}
    assert [item["multiple"] for item in document["costs"]["sweep"]] == [0, 1, 2, 4]
    assert document["significant"] == all(item["held"] for item in document["criteria"])


def test_every_session_is_a_trial_and_the_same_again_is_none(small_config, evaluated):
    first = evaluated(small_config())
    assert first["trials"] == first["sessions"] == 2 + 2 * 2 + 2 * 3 + 2
    again = evaluated(small_config())
    assert plain(again) == plain(first)
    other = evaluated(small_config("population.elites=0.1"))
    assert other["trials"] == 2 * first["trials"]


def test_the_holdout_is_not_traded_until_it_is_opened_and_every_opening_counts(small_config, evaluated):
    closed = evaluated(small_config())
    assert closed["holdout"] == {"frames": 600, "openings": 0, "opened": False}
    assert closed["data"]["frames"] == 2400
    for opening in (1, 2):
        opened = evaluated(small_config(), open_holdout=True)
        assert opened["holdout"]["openings"] == opening
        assert opened["holdout"]["annual_return"] is not None
        assert plain(opened["out_of_sample"]) == plain(closed["out_of_sample"])


def test_a_population_that_never_trades_is_told_so(small_config, evaluated):
    found = evaluated(
        small_config("pool.capital=0.001", "evaluation.costs=[1.0]", "evaluation.seeds=1", "session.candles=1500")
    )
    assert "did not trade" in found["verdict"]
    assert not found["significant"]
    assert found["spa_p"] == 1.0


def test_asked_to_stop_it_stops_and_goes_on_later(small_config, evaluated):
    flag = StopFlag()
    seen = []

    def advanced(progress):
        seen.append(progress.frames_done)
        flag.requested = len(seen) > 8  # in the second session

    config = small_config("evaluation.costs=[1.0]", "session.candles=2000")
    with pytest.raises(Stopped):
        evaluated(config, progress=advanced, stop=flag)
    assert seen == sorted(seen)
    before = len(seen)
    flag.requested = False
    found = evaluated(config, progress=lambda progress: seen.append(progress.frames_done), stop=flag)
    assert found["sessions"] == 2 + 2 * 2 + 2
    assert seen[before] > 1600  # the first session was kept


def test_memory_has_no_registry(small_config, tmp_path):
    from trader.lab.evaluate import evaluate
    from trader.lab.sessions import Wishes

    with pytest.raises(UserError, match="no registry"):
        evaluate(small_config(), Wishes("memory", tmp_path))


@pytest.mark.parametrize(
    ("sets", "line"),
    [
        (["session.candles=30"], "out of sample"),
        (["session.candles=2000", "evaluation.holdout=180.0", "--open-holdout"], "evaluation.holdout: 180 candles"),
        (["evaluation.train=0.9"], "evaluation"),
        (['population.archetypes=["nobody"]'], "population.archetypes"),
        (['feed.kind="replay"', 'feed.data=["nowhere"]'], "nowhere"),
        (["evaluation.costs=[0.0, 2.0]"], "evaluation: costs"),
        (['feed.kind="live"', "session.candles=100", 'feed.base_timeframe="1h"'], "has no history"),
    ],
)
def test_bad_input_is_one_line_and_code_2(sets, line, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('[feed]\nkind = "synthetic"\nsymbols = ["BTC/USDT"]\n[session]\ncandles = 3000\n')
    words = [part for text in sets for part in ((text,) if text.startswith("--") else ("--set", text))]
    done = command(tmp_path, "evaluate", str(config), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert line in done.stderr
    assert list(tmp_path.iterdir()) == [config]


def test_killed_at_any_moment_it_goes_on_to_the_same_document(tmp_path):
    """SIGKILL after the first and the fourth finished session; then to the end, and once without a kill."""
    config = tmp_path / "c.toml"
    config.write_text(
        '[session]\ncandles = 2500\nseed = 4\n[feed]\nkind = "synthetic"\nsymbols = ["BTC/USDT"]\n'
        "[population]\nsize = 40\n[evaluation]\nseeds = 2\ndraws = 50\n"
    )
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    for wanted in (1, 4):
        kill_after(tmp_path / "killed", config, wanted)
    ends = [command(tmp_path / name, "evaluate", str(config), "--json", "--quiet") for name in ("killed", "whole")]
    assert [done.returncode for done in ends] == [0, 0]
    first, second = (json.loads(done.stdout) for done in ends)
    assert first == second


def environment(folder):
    return {**os.environ, "TRADER_DB": str(folder / "trials.db")}


def command(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "trader", *words],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def kill_after(folder, config, wanted):
    """Start an evaluation and kill it once `wanted` sessions lie in its folder."""
    begun = subprocess.Popen(
        [sys.executable, "-m", "trader", "evaluate", str(config), "--json", "--quiet"],
        cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while len(list(folder.glob("data/evaluations/*/*.npz"))) < wanted and begun.poll() is None:
        assert time.monotonic() < deadline, "no session was finished"
        time.sleep(0.01)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    assert begun.returncode == -signal.SIGKILL, "the evaluation was over before it was killed"
