"""Fifty ways to damage the newest checkpoint: passed over for the one before, said so, and the resumed run is equal."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil

import numpy as np
import pytest

from tests.survival.survival_support import differences, resumed

FILES = ("arrays.npz", "meta.json", "manifest.json")


def cut(rng, content):
    return content[: rng.randrange(len(content))]


def flipped(rng, content):
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def garbage(rng, content):
    return rng.randbytes(rng.choice((1, 100, len(content))))


DAMAGE = {
    "cut": cut,
    "flipped": flipped,
    "empty": lambda rng, content: b"",
    "garbage": garbage,
    "longer": lambda rng, content: content + rng.randbytes(64),
    "zeros": lambda rng, content: bytes(len(content)),
    "deep": lambda rng, content: b"[" * 100_000,
}


def a_file(name, kind):
    def damage(rng, folder):
        path = folder / name
        path.write_bytes(DAMAGE[kind](rng, path.read_bytes()))

    return damage


def resealed(folder, arrays=None, meta=None, **manifest):
    """Another content whose hashes fit: written by something else, or for something else."""
    contents = {"meta.json": json.dumps(meta(json.loads((folder / "meta.json").read_bytes())) if meta else {}).encode()}
    if meta is None:
        contents["meta.json"] = (folder / "meta.json").read_bytes()
    with np.load(folder / "arrays.npz") as packed:
        kept = {name: packed[name] for name in packed.files}
    stream = io.BytesIO()
    np.savez(stream, **(arrays(kept) if arrays else kept))
    contents["arrays.npz"] = stream.getvalue()
    told = json.loads((folder / "manifest.json").read_bytes())
    told |= {"sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}} | manifest
    contents["manifest.json"] = json.dumps(told).encode()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def without(part):
    return lambda arrays: {name: value for name, value in arrays.items() if part not in name}


def as_file(rng, folder):
    shutil.rmtree(folder)
    folder.write_bytes(b"no folder")


def missing(name):
    return lambda rng, folder: (folder / name).unlink()


def a_folder(name):
    return lambda rng, folder: [(folder / name).unlink(), (folder / name).mkdir()]


ALONE = {
    "newer format": lambda rng, folder: resealed(folder, format=2),
    "another frame": lambda rng, folder: resealed(folder, frame=7),
    "format as text": lambda rng, folder: resealed(folder, format="1"),
    "no hashes": lambda rng, folder: resealed(folder, sha256={}),
    "hashes as list": lambda rng, folder: resealed(folder, sha256=[1]),
    "another version's arrays": lambda rng, folder: resealed(folder, arrays=without("roster.")),
    "no features": lambda rng, folder: resealed(folder, arrays=without("engine.features.")),
    "no digests": lambda rng, folder: resealed(folder, arrays=without("writer.")),
    "no arrays": lambda rng, folder: resealed(folder, arrays=lambda arrays: {}),
    "counts it does not know": lambda rng, folder: resealed(folder, meta=with_counts),
    "no engine": lambda rng, folder: resealed(folder, meta=lambda meta: meta | {"engine": {}}),
    "another run": lambda rng, folder: resealed(folder, meta=lambda meta: meta | {"identity": "somebody else's"}),
    "gone": lambda rng, folder: shutil.rmtree(folder),
    "a file": as_file,
    **{f"no {name}": missing(name) for name in FILES},
    **{f"{name} is a folder": a_folder(name) for name in FILES},
}


def with_counts(meta):
    meta["engine"]["counts"]["unheard_of"] = 1
    return meta


CASES = [
    *((f"{kind} {name}", a_file(name, kind)) for kind in DAMAGE for name in FILES),
    *((f"{kind} {name} again", a_file(name, kind)) for kind in ("cut", "flipped", "garbage") for name in FILES),
    *ALONE.items(),
]


@pytest.fixture(scope="module")
def stopped(commands, short, tmp_path_factory):
    """A run that died near its end, with its checkpoints."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    folder.mkdir()
    died = commands("run", short.config, "--db", folder / "a.db", "--quiet", sql=[short.seen["sql"] - 8, "die"])
    assert died.code == 137
    assert len(list((folder / "checkpoints" / "a-1").iterdir())) >= 2
    return folder


def newest(folder):
    return max((folder / "checkpoints" / "a-1").iterdir(), key=lambda path: int(path.name.removeprefix("frame-")))


def problem(commands, short, folder, damage, rng) -> str | None:
    damage(rng, newest(folder))
    ended = commands("resume", "latest", "--db", folder / "a.db", "--json", "--quiet")
    if ended.code != 0:
        return ended.errors[-500:]
    if ended.json()["digest"] != short.summary["digest"]:
        return "another digest"
    return ", ".join(differences(folder / "a.db", short.tables)) or ("" if "checkpoint" in ended.errors else None)


def all_damaged(commands, short, stopped, parent, seed):
    rng, said, found = random.Random(seed), 0, {}
    for number, (name, damage) in enumerate(CASES):
        folder = parent / f"{seed}-{number}"
        shutil.copytree(stopped, folder)
        wrong = problem(commands, short, folder, damage, rng)
        if wrong:
            found[name] = wrong
        said += wrong == ""
    return said, found


def test_fifty_damaged_checkpoints(commands, short, stopped, tmp_path):
    assert len(CASES) == 50
    said, found = all_damaged(commands, short, stopped, tmp_path, seed=1)
    assert found == {}
    assert said >= len(CASES) - 2, "all but one that is gone and one of another run are told of"


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 22))
def test_a_thousand_damaged_checkpoints(commands, short, stopped, tmp_path, seed):
    assert all_damaged(commands, short, stopped, tmp_path, seed)[1] == {}


def test_both_damaged(commands, short, stopped, tmp_path):
    """Without any checkpoint the journal is replayed from its beginning."""
    folder = tmp_path / "both"
    shutil.copytree(stopped, folder)
    for path in (folder / "checkpoints" / "a-1").iterdir():
        (path / "arrays.npz").write_bytes(b"")
    assert resumed(commands, short.config, folder / "a.db")["digest"] == short.summary["digest"]
    assert differences(folder / "a.db", short.tables) == []
