"""Reading a file that somebody named: whatever the path leads to, no more than a limit is read into memory.

A path from a config may lead to a device that never ends, a pipe that nobody fills, or an archive that unpacks to more than
the machine has. All of them are refused with an `OSError`, which the caller turns into its one line.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from pathlib import Path
from typing import Final

LARGEST: Final = 2**28
"""Bytes of a file that is no candle data: instruments, signals, plugins."""

_GZIP: Final = b"\x1f\x8b"


def read_file(path: Path | str, largest: int = LARGEST) -> bytes:
    """The content of a regular file of at most `largest` bytes.

    Raises:
        OSError: it is not there, is no regular file, is larger, or cannot be read.
    """
    # a pipe without a writer would block `open`
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Is no regular file", str(path))
        content = file.read(largest + 1)
    return _within(content, largest, path)


def read_packed_file(path: Path | str, largest: int = LARGEST) -> bytes:
    """The same, of a file that may be gzipped: at most `largest` bytes when unpacked.

    Raises:
        OSError: as above, or what it unpacks to is larger.
        zlib.error, EOFError: it is no whole gzip file.
    """
    content = read_file(path, largest)
    parts: list[bytes] = []
    while content.startswith(_GZIP):
        machine = zlib.decompressobj(wbits=31)
        parts.append(_within(machine.decompress(content, largest + 1), largest, path))
        if not machine.eof:
            raise EOFError("the file is cut short")
        largest -= len(parts[-1])
        content = machine.unused_data
    if parts and content.strip(b"\0"):
        raise EOFError("something follows the packed data")
    return b"".join(parts) if parts else content


def _within(content: bytes, largest: int, path: Path | str) -> bytes:
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"Is larger than {largest} bytes", str(path))
    return content
