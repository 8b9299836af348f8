"""Checkpoints: whole or not there, damaged ones passed over, the last two kept and one for each stretch."""

from __future__ import annotations

import json
import os
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.core.types import SurroundingsError
from trader.store import checkpoint


def arrays(number):
    return {
        "population.state": np.arange(number * 3, dtype=np.int64).reshape(number, 3),
        "triggers": np.full(5, np.nan, np.float32),
        "flags": np.array([True, False]),
        "scalar": np.array(number, np.int64),
    }


def test_what_is_saved_is_loaded(tmp_path):
    checkpoint.save(tmp_path / "run-1", 40, arrays(40), {"cursor": {"frame": 40}, "text": "é"})
    found = checkpoint.load_newest(tmp_path / "run-1")
    assert (found.frame, found.meta, found.damaged) == (40, {"cursor": {"frame": 40}, "text": "é"}, ())
    assert set(found.arrays) == set(arrays(40))
    for name, expected in arrays(40).items():
        assert found.arrays[name].dtype == expected.dtype
        assert np.array_equal(found.arrays[name], expected, equal_nan=expected.dtype == np.float32)
    for path in (tmp_path / "run-1" / "frame-40").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_state_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        checkpoint.save(tmp_path / name, 40, arrays(40), {"x": 1})
    for part in (checkpoint.ARRAYS, checkpoint.META, checkpoint.MANIFEST):
        assert (tmp_path / "a" / "frame-40" / part).read_bytes() == (tmp_path / "b" / "frame-40" / part).read_bytes()


def test_the_last_two_and_one_a_stretch_are_kept(tmp_path):
    for frame in range(0, 1000, 10):
        checkpoint.save(tmp_path, frame, arrays(1), {}, keep_every=300)
        assert checkpoint.load_newest(tmp_path).frame == frame
    assert checkpoint.frames(tmp_path) == [0, 300, 600, 900, 980, 990]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"frame-{f}" for f in checkpoint.frames(tmp_path))
    assert checkpoint.load_newest(tmp_path, until=985).frame == 980
    assert checkpoint.load_newest(tmp_path, until=979).frame == 900


def test_without_stretches_only_the_last_two_stay(tmp_path):
    for frame in range(5):
        checkpoint.save(tmp_path, frame, arrays(1), {})
    assert checkpoint.frames(tmp_path) == [3, 4]


def test_nothing_there_is_none(tmp_path):
    assert checkpoint.load_newest(tmp_path / "nowhere") is None
    assert checkpoint.load_newest(tmp_path) is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_to_the_newest_falls_back_to_the_one_before(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("checkpoints")
    for frame in (10, 20):
        checkpoint.save(folder, frame, arrays(frame), {"frame": frame})
    part = data.draw(st.sampled_from([checkpoint.ARRAYS, checkpoint.META, checkpoint.MANIFEST]))
    path = folder / "frame-20" / part
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "empty", "gone", "other"]))
    if kind == "flip":
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    elif kind == "other":
        content = bytearray(
            data.draw(st.sampled_from([b"[]", b"null", b"{}", b'{"format":1,"frame":20,"sha256":"x"}', b"\xff"]))
        )
    path.write_bytes(b"" if kind == "empty" else bytes(content))
    if kind == "gone":
        path.unlink()
    found = checkpoint.load_newest(folder)
    if found.frame == 20:  # a flip in the manifest's unused white space cannot happen; equal content can
        assert part == checkpoint.MANIFEST
        assert json.loads(path.read_bytes())["sha256"]
    else:
        assert (found.frame, found.meta) == (10, {"frame": 10})
        assert len(found.damaged) == 1
        assert found.damaged[0].startswith("frame-20")


def test_objects_and_what_is_not_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Python objects"):
        checkpoint.save(tmp_path, 1, {"a": np.array([object()])}, {})
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.save(tmp_path, 1, {}, {"a": float("nan")})
    assert checkpoint.frames(tmp_path) == []


def test_a_pickle_in_place_of_the_arrays_is_not_loaded(tmp_path):
    """With a manifest that fits, so only the loader stands between the file and the interpreter."""
    import hashlib
    import io
    import zipfile

    checkpoint.save(tmp_path, 1, {"a": np.arange(3)}, {})
    checkpoint.save(tmp_path, 2, {"a": np.arange(3)}, {})
    packed = io.BytesIO()
    holder = io.BytesIO()
    np.save(holder, np.array([os.getcwd], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.npy", holder.getvalue())
    folder = tmp_path / "frame-2"
    (folder / checkpoint.ARRAYS).write_bytes(packed.getvalue())
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    manifest["sha256"][checkpoint.ARRAYS] = hashlib.sha256(packed.getvalue()).hexdigest()
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    found = checkpoint.load_newest(tmp_path)
    assert found.frame == 1
    assert "allow_pickle" in found.damaged[0]


def test_a_disk_that_fails_is_the_surroundings(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError, match="checkpoint"):
        checkpoint.save(tmp_path / "file" / "below", 1, {}, {})
