"""Files that somebody named: whatever they are, memory is bounded and nothing hangs."""

from __future__ import annotations

import gzip
import os
import zlib

import pytest

from trader.core.files import read_file, read_packed_file


@pytest.mark.parametrize("read", [read_file, read_packed_file])
class TestEither:
    def test_content(self, tmp_path, read):
        (tmp_path / "a").write_bytes(b"content")
        assert read(tmp_path / "a") == b"content"
        assert read(tmp_path / "a", 7) == b"content"

    def test_one_byte_too_many(self, tmp_path, read):
        (tmp_path / "a").write_bytes(b"content")
        with pytest.raises(OSError, match="larger than 6 bytes"):
            read(tmp_path / "a", 6)

    @pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/null"])
    def test_devices(self, read, path):
        with pytest.raises(OSError, match="no regular file"):
            read(path)

    def test_pipe_that_nobody_fills(self, tmp_path, read):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="no regular file"):
            read(tmp_path / "pipe")

    def test_folder(self, tmp_path, read):
        with pytest.raises(IsADirectoryError):
            read(tmp_path)

    def test_missing(self, tmp_path, read):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "a")


def packed(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    return tmp_path / "a.gz"


def test_members_one_after_the_other_are_one_content(tmp_path):
    assert read_packed_file(packed(tmp_path, gzip.compress(b"ab") + gzip.compress(b"c")), 1000) == b"abc"


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path):
    with pytest.raises(OSError, match="larger than 100000 bytes"):
        read_packed_file(packed(tmp_path, gzip.compress(bytes(50_000_000))), 100_000)


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-3], lambda whole: whole + b"x", lambda whole: whole[:12] + b"\xff" * 9]
)
def test_damaged(tmp_path, damage):
    with pytest.raises((EOFError, zlib.error)):
        read_packed_file(packed(tmp_path, damage(gzip.compress(b"content" * 9))))
