"""`trader lab controller` and `trader lab hope`: they train, write a card, and refuse what is wrong in one line."""

import json

import pytest

from rl.optim.meta_train import hash_of
from rl.optim.weights import load_weights
from tests.shell_layer.shell_support import trader

TOY = [
    "--generations",
    "1",
    "--pairs",
    "1",
    "--jobs",
    "1",
    "--validation",
    "2",
    "--make-job",
    "rl.optim.meta_train:toy_job",
]


def test_controller_weights_are_trained_from_the_command_line(tmp_path):
    words = ["lab", "controller", *TOY, "--seed", "3", "--out", "weights.json", "--checkpoint", "kept.json", "--json"]
    done = trader(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown, written = json.loads(done.stdout), json.loads((tmp_path / "weights.json").read_text(encoding="utf-8"))
    assert shown["sha256"] == written["sha256"] == hash_of(written["phi"])
    assert shown["held_out_against_identity"]["trained"]["low"] <= shown["held_out_against_identity"]["trained"]["high"]
    assert "generation 0" in done.stderr
    assert load_weights(tmp_path / "weights.json").isfinite().all()
    again = trader(*words, cwd=tmp_path)  # nothing left to train: the checkpoint has it all
    assert json.loads(again.stdout)["sha256"] == shown["sha256"]
    assert "generation 0" not in again.stderr


def test_hope_is_trained_from_the_command_line(tmp_path):
    pytest.importorskip("torch")
    small = "--width 16 --backbone gru --steps 1 --fast-steps 1 --trigger-streams 4 --trigger-bars 700"
    done = trader("lab", "hope", *small.split(), "--out", "hope.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["seed"] == 0
    assert "--width 16" in card["command"]
    assert (tmp_path / "hope.npz").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("controller --make-job a:b", "no job 'a:b'"),
        ("controller --out missing/x.json", "folder that exists"),
        ("controller --validation 1", "--validation"),
        ("hope --backbone rnn", "'attention', 'gru'"),
        ("hope --candles missing.parquet", "missing.parquet: no such file"),
        ("hope --out .", "folder that exists"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path, words, said):
    done = trader("lab", *words.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
