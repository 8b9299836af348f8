"""Opening what data comes wrapped in: gzip and zip, with limits; what comes out is bytes with a name and a label.

The first bytes decide, not the suffix. Sizes are limited before and while unpacking, so that a small file cannot fill
the memory. A zip may hold several data files; folders, the hidden files of file managers, and what lies beside data to be
read by people (a README, a licence, checksums) are passed over.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from trader.core.files import read_file
from trader.core.types import UserError

LARGEST_BYTES: Final = 2**31
"""Of one unpacked file: ten years of minutes as text have about 500 MB."""
MOST_MEMBERS: Final = 1000
_SNIFFED: Final = 4096
_ARROW: Final = (b"ARROW1", b"FEA1", b"PAR1")
_BESIDE: Final = (".md", ".rst", ".pdf", ".htm", ".html", ".png", ".jpg", ".checksum", ".sha256", ".md5")
_TITLES: Final = ("readme", "license", "licence", "copying", "changelog", "notice", "manifest", "checksums")
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True)
class Member:
    """One data file: name (without its folder), label for messages, content."""

    name: str
    label: str
    content: bytes


def members(path: Path) -> list[Member]:
    """The data files in a file: itself, or what a gzip or zip holds.

    Raises:
        UserError: it is not there, cannot be read or unpacked, is empty or too large.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder: name its files")
    try:
        content = read_file(path, LARGEST_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if content.startswith(_GZIP):
        name = path.name.removesuffix(".gz")
        return [Member(name, str(path), _checked(str(path), _gunzip(str(path), content)))]
    if content.startswith(_ZIP):
        return _unzip(path, content)
    return [Member(path.name, str(path), _checked(str(path), content))]


def _checked(label: str, content: bytes) -> bytes:
    """The content, if it is not empty and no unknown binary format."""
    if not content.strip():
        raise UserError(f"{label}: is empty")
    known = content.startswith((*_ARROW, b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in content[:_SNIFFED] and not known:
        raise UserError(f"{label}: must be CSV, JSON, feather, Parquet, gzip or zip, not another binary file")
    return content


def _gunzip(label: str, content: bytes) -> bytes:
    """Unpack gzip members one after the other, looking at the first bytes before the rest."""
    parts: list[bytes] = []
    size = 0
    try:
        while content.startswith(_GZIP):
            machine = zlib.decompressobj(wbits=31)
            part = machine.decompress(content, _SNIFFED)
            if not parts:
                _checked(label, part)
            part += machine.decompress(machine.unconsumed_tail, LARGEST_BYTES - size)
            if not machine.eof:
                rule = "is cut short" if size + len(part) < LARGEST_BYTES else f"unpacks to over {LARGEST_BYTES} bytes"
                raise UserError(f"{label}: cannot be read as gzip: {rule}")
            parts.append(part)
            size += len(part)
            content = machine.unused_data
    except zlib.error as error:
        raise UserError(f"{label}: cannot be read as gzip: {error}") from None
    if content.strip(b"\0"):
        raise UserError(f"{label}: cannot be read as gzip: something else follows")
    return b"".join(parts)


def _unzip(path: Path, content: bytes) -> list[Member]:
    found: list[Member] = []
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [item for item in archive.infolist() if _is_data(item)]
            wanted = [item for item in files if not _is_beside(item)] or files
            if len(wanted) > MOST_MEMBERS:
                raise UserError(f"{path}: must not hold more than {MOST_MEMBERS} files")
            for item in wanted:
                label = str(path) if len(wanted) == 1 else f"{path}:{item.filename}"
                total += item.file_size
                if total > LARGEST_BYTES:
                    raise UserError(f"{label}: unpacks to over {LARGEST_BYTES} bytes")
                with archive.open(item) as stream:
                    head = _checked(label, stream.read(_SNIFFED))
                    # never more than the directory promised: a lying size is a broken archive
                    whole = head + stream.read(max(0, item.file_size - len(head)) + 1)
                if len(whole) != item.file_size:
                    raise UserError(f"{label}: cannot be read as zip: a file is not as long as the directory says")
                found.append(Member(PurePosixPath(item.filename).name, label, whole))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as zip: {str(error) or type(error).__name__}") from None
    if not found:
        raise UserError(f"{path}: holds no data file")
    return found


def _is_beside(item: zipfile.ZipInfo) -> bool:
    """A text for people, by its name."""
    path = PurePosixPath(item.filename.lower())
    return path.suffix in _BESIDE or path.name.partition(".")[0] in _TITLES


def _is_data(item: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(item.filename).parts
    return not item.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts)
