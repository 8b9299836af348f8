"""The project as a package and a repository: pins, layout, layers, shipped configs, set-up in two commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement

from tests.shell_layer.shell_support import ROOT
from trader import __version__
from trader.__main__ import main
from trader.core import config as configs

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return done.stdout.split()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_dependency_and_what_it_pulls_in_is_pinned():
    wanted = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    wanted += [Requirement(text) for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra]
    pinned, seen = pins(), set()
    while wanted:
        requirement = wanted.pop()
        key = (canonical(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        assert key[0] in pinned, f"{key[0]} is not in constraints.txt"
        assert requirement.specifier.contains(pinned[key[0]], prereleases=True), requirement
        try:
            further = [Requirement(text) for text in requires(requirement.name) or []]
        except PackageNotFoundError:
            continue
        extras = requirement.extras or {""}
        wanted += [r for r in further if not r.marker or any(r.marker.evaluate({"extra": extra}) for extra in extras)]
    assert pinned["torch"] == "2.13.0"


def test_the_version_is_told_in_one_way():
    assert PROJECT["project"]["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_package_is_private_and_lists_its_five_packages():
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert include == ["trader*", "agents*", "rl*", "portfolio*", "memory*"]


def test_the_top_level_is_the_one_that_was_asked_for():
    folders = {name.split("/")[0] for name in tracked() if "/" in name}
    allowed = {"trader", "agents", "rl", "portfolio", "memory", "configs", "data", "tests", "docs", "benchmarks", ".ci"}
    assert folders <= allowed


def test_no_test_folder_is_a_package_and_test_files_have_unique_names():
    tests = [name for name in tracked() if name.startswith("tests/")]
    assert not [name for name in tests if name.endswith("__init__.py")]
    names = [name.rpartition("/")[2] for name in tests if re.search(r"/test_\w+\.py$", name)]
    assert len(names) == len(set(names))


def test_no_file_names_a_package_index():
    hosts = re.compile(r"(?:pypi|pythonhosted|download\.py" + r"torch|anaconda)\.(?:org|com)")
    for name in tracked():
        if name.endswith((".npz", ".parquet", ".png")):
            continue
        path = ROOT / name
        if path.is_file():
            assert not hosts.search(path.read_text(encoding="utf-8", errors="replace")), name


def test_imports_point_down():
    """The layers of the architecture page, enforced by import-linter; `make check` runs it too."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_the_layers_are_those_of_the_architecture_page():
    contract = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    layers = [" ".join(sorted(re.findall(r"[\w.]+", layer))) for layer in contract["layers"]]
    assert layers == [
        "trader.cli trader.web",
        "trader.lab",
        "trader.session",
        "agents portfolio rl",
        "memory trader.broker trader.feeds trader.report trader.store",
        "trader.core",
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_are_valid_with_every_level_on(path, capsys):
    config = configs.load(path)
    assert config.session.name is None
    off = [name for name in type(config.levels).model_fields if not getattr(config.levels, name).enabled]
    assert off == []
    assert main(["config", "show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config_hash"] == configs.config_hash(config)


def test_the_contracts_configs_are_there():
    assert {"quickstart.toml", "replay.toml", "perp-replay.toml"} <= {path.name for path in CONFIGS}


def test_the_replay_config_names_no_data():
    text = tomllib.loads((ROOT / "configs" / "replay.toml").read_text(encoding="utf-8"))
    assert not {"symbols", "timeframes", "start", "end", "data"} & set(text["feed"])
    config = configs.load(ROOT / "configs" / "replay.toml")
    assert (config.feed.base_timeframe, config.feed.timeframes) == ("1h", ("1h", "4h", "1d"))


@pytest.mark.parametrize("kind", ["synthetic", "replay"])
def test_a_written_config_has_every_key_and_reads_back(kind, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    assert main(["config", "init", str(path), "--kind", kind]) == 0
    assert configs.load(path) == configs.load(None, [f"feed.kind={kind}"])
    text = path.read_text(encoding="utf-8")
    kept = "\n".join(line for line in text.splitlines() if not line.endswith("# (example)"))
    freed = re.sub(r"^# (?=[a-z_]+ = [^ ])", "", kept, flags=re.MULTILINE)
    assert all(line.startswith("#   ") for line in freed.splitlines()[3:] if line.startswith("#")), "only meanings"
    path.write_text(freed, encoding="utf-8")
    assert configs.config_hash(configs.load(path)) == configs.config_hash(configs.load(None, [f"feed.kind={kind}"]))
    assert main(["config", "init", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["config", "init", "-", "--kind", kind]) == 0
    assert capsys.readouterr().out == text
    assert main(["config", "init", str(tmp_path / "no" / "folder.toml")]) == 2
    assert main(["config", "init", "-", "--kind", "lively"]) == 2
    assert main(["config", "init", "-", "--kind", "live"]) == 0
    (tmp_path / "live.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert configs.load(tmp_path / "live.toml").feed.kind == "live"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_what_show_prints_reads_back_to_the_same_tree(path, tmp_path, capsys):
    words = [str(path), "--set", "store.url=x.db", "--set", "feed.warmup=5"]
    assert main(["config", "show", *words]) == 0
    (tmp_path / "shown.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert configs.load(tmp_path / "shown.toml") == configs.load(path, ["store.url=x.db", "feed.warmup=5"])


def test_the_schema_is_a_json_schema(capsys):
    for words in ([], ["--json"]):
        assert main(["config", "schema", *words]) == 0
        schema = json.loads(capsys.readouterr().out)
        assert schema["additionalProperties"] is False
        assert set(schema["properties"]) == {
            "session", "feed", "exchange", "population", "pool", "levels", "monitor", "store", "engine", "evaluation",
        }  # fmt: skip


def test_make_says_what_it_needs_before_it_downloads(tmp_path):
    """With a Python that is too old nothing is made; on Linux the size is told before pip is called."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile[makefile.index("$(STAMP):") :]
    assert recipe.index("Downloading about") < recipe.index("pip install")
    assert "TORCH_INDEX" in recipe
    done = subprocess.run(
        ["make", "setup", "PYTHON=", f"VENV={tmp_path}/v"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / "v").exists()
