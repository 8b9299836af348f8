"""From a path to tables: unwrap it, then read each data file in the format its first bytes show."""

from __future__ import annotations

from pathlib import Path

from trader.feeds.importing.arrow_table import arrow_table
from trader.feeds.importing.container import Member, members
from trader.feeds.importing.json_table import json_table
from trader.feeds.importing.table import RawTable
from trader.feeds.importing.text_table import text_table


def read_tables(path: Path) -> list[tuple[str, RawTable]]:
    """(name, table) of every data file at `path`.

    Raises:
        UserError: it cannot be read; the message names file and row.
    """
    return [(member.name, table_of(member)) for member in members(path)]


def table_of(member: Member) -> RawTable:
    """The table in one data file.

    Raises:
        UserError: it cannot be read; the message names file and row.
    """
    if member.content.startswith((b"ARROW1", b"FEA1", b"PAR1")):
        return arrow_table(member.label, member.content)
    if member.content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"[", b"{")):
        return json_table(member.label, member.content)
    return text_table(member.label, member.content)
