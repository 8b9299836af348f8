"""The digest of a run: one SHA-256 chain per table over its rows in `seq` order, independent of how they were cut.

Numeric tables are hashed in groups of 4096 rows counted from the table's first row: chain = SHA-256(chain, bytes of the
group as little-endian int64), only the columns that belong to the digest. What does not fill a group yet is kept as
rows, so the state is small, a plain array, and can go into a checkpoint. The hexadecimal digest hashes the chain, the
remainder and the number of rows. Text tables chain row by row over canonical JSON, floats as their bits.
The run's digest hashes `table:digest` lines in the order of the table names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trader.core import rows

GROUP: Final = 4096
_LITTLE: Final = np.dtype("<i8")


class TableDigest:
    """Chain of one table. Rows come in `seq` order, canonical (see `trader.store.codec`)."""

    def __init__(self, spec: rows.TableSpec) -> None:
        self.spec = spec
        self.places = [place for place, column in enumerate(spec.columns) if column.in_digest]
        names = ",".join(spec.columns[place].name for place in self.places)
        self.chain = hashlib.sha256(f"{spec.name}:{names}".encode()).digest()
        self.rows = 0
        self._group = np.zeros((GROUP if spec.numeric else 0, len(self.places)), _LITTLE)
        self._kinds = [spec.columns[place].kind for place in self.places]

    def update(self, table: NDArray[np.int64]) -> None:
        """Take in int64 [rows, columns]."""
        taken = 0
        while taken < len(table):
            filled = self.rows % GROUP
            part = table[taken : taken + GROUP - filled]
            self._group[filled : filled + len(part)] = part[:, self.places]
            taken += len(part)
            self.rows += len(part)
            if filled + len(part) == GROUP:
                self.chain = hashlib.sha256(self.chain + self._group.tobytes()).digest()

    def update_text(self, table: list[tuple[Any, ...]]) -> None:
        """Take in tuples of a text table."""
        for row in table:
            values = [
                _bits(row[place]) if kind == rows.FLOAT else row[place]
                for place, kind in zip(self.places, self._kinds, strict=True)
            ]
            text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
            self.chain = hashlib.sha256(self.chain + text.encode()).digest()
        self.rows += len(table)

    def hexdigest(self) -> str:
        """Digest of everything taken in so far; taking in more is still possible."""
        return hashlib.sha256(self.chain + self._remainder().tobytes() + str(self.rows).encode()).hexdigest()

    def _remainder(self) -> NDArray[np.int64]:
        return self._group[: self.rows % GROUP if self.spec.numeric else 0]

    def state(self) -> dict[str, NDArray[Any]]:
        """The chain as arrays: `chain` uint8 [32], `rows` int64 [], `remainder` int64 [n < 4096, columns]."""
        return {
            "chain": np.frombuffer(self.chain, np.uint8).copy(),
            "rows": np.array(self.rows, np.int64),
            "remainder": self._remainder().astype(np.int64, copy=True),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state of the same table.

        Raises:
            ValueError: the remainder does not fit the table and the number of rows.
        """
        count = int(state["rows"])
        expected = (count % GROUP if self.spec.numeric else 0, len(self.places))
        if state["remainder"].shape != expected or state["chain"].shape != (32,):
            raise ValueError(
                f"digest state of table {self.spec.name} does not fit: {state['remainder'].shape}, not {expected}"
            )
        self.chain = np.asarray(state["chain"], np.uint8).tobytes()
        self.rows = count
        self._group[: expected[0]] = state["remainder"]


def _bits(value: float | None) -> int:
    return int(rows.float_bits(np.array([np.nan if value is None else value], np.float64))[0])


def combine(digests: Mapping[str, str]) -> str:
    """The run's digest from its tables' digests."""
    lines = "".join(f"{name}:{digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
