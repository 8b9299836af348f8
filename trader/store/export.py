"""A run as files: every view as CSV or Parquet, beside the database, never instead of it.

Files appear whole: they are written under a temporary name and renamed. Rows in their order of time, columns and kinds
as the views'; an empty CSV cell is NULL.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from trader.core.types import SurroundingsError, UserError
from trader.store.building import build, fetch
from trader.store.expressions import INTEGER, NUMBER, TEXT, View
from trader.store.store import AnyStore, persistent
from trader.store.views import all_views

FORMATS: Final = ("csv", "parquet")
BATCH: Final = 50_000
"""Rows in memory at once, and in a Parquet row group."""


def export_views(store: AnyStore, run: int, out: Path, form: str = "csv") -> list[Path]:
    """Write one file per view into `out`, which is made; return the files.

    Raises:
        UserError: unknown format, or `out` is a file.
        SurroundingsError: the disk failed.
    """
    if form not in FORMATS:
        raise UserError(f"--format: csv or parquet, not {form}")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file, give a folder")
    store = persistent(store)
    files = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for view in all_views(store.database.dialect).values():
            text, values = build(view, run, sort=None, limit=0, newest_first=False)
            path = out / f"{view.name}.{form}"
            temporary = out / f".{path.name}.tmp"
            with store.database.reading() as connection:
                batches = fetch(store.database, connection, view, text, values, size=BATCH)
                (_write_csv if form == "csv" else _write_parquet)(temporary, view, batches)
            temporary.replace(path)
            files.append(path)
    except OSError as error:
        raise SurroundingsError(f"export {out}: {error.strerror or error}") from error
    return files


def _write_csv(path: Path, view: View, batches: Iterable[list[tuple[Any, ...]]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(view.names)
        for batch in batches:
            writer.writerows(batch)


def _write_parquet(path: Path, view: View, batches: Iterable[list[tuple[Any, ...]]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types: dict[str, pa.DataType] = {INTEGER: pa.int64(), NUMBER: pa.float64(), TEXT: pa.string()}
    schema = pa.schema([(column.name, types[column.kind]) for column in view.columns])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            columns = list(zip(*batch, strict=True))
            arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
