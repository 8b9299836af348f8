"""The journal of a run, read back as the blocks that the session once accepted.

Candles and funding stamps stand in SQL with every bit of their floats (NULL for NaN), in (ts, market) order, so blocks
of any size can be cut from them; `received` and `phase` come back too. Blocks [T frames, M markets] as in
`trader.core.types.Block`; incidents are not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from trader.core import rows
from trader.core.types import Block, Visits
from trader.store import codec
from trader.store.database import Database


def blocks(database: Database, run: int, markets: int, *, after_ms: int | None, size: int) -> Iterator[Block]:
    """Frames of the run with time > after_ms (None: all), `size` to a block, the last one shorter.

    Raises:
        SurroundingsError: the database failed.
    """
    assert size >= 1, "a block has at least one frame"
    after = -(2**62) if after_ms is None else after_ms
    with database.connect() as connection:
        while True:
            with database.guarded(), connection.begin():
                candles, stamps = _read(database, connection, run, after, size * markets)
                if len(candles) == 0:
                    return
                block = _assemble(candles, stamps, markets, size, complete=len(candles) < size * markets)
                span = (after, int(block.times[-1]))
                said = _signals(
                    _fetch(database, connection, rows.OPINION, run, span, "ORDER BY seq"), block.times, markets
                )
                block = replace(block, visits=_visits(database, connection, run, span), signals=said)
            after = int(block.times[-1])
            yield block


def _read(
    database: Database, connection: Connection, run: int, after: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The next candles (at most `limit`, at least `size` whole frames among them or all that are left), their stamps."""
    candles = _fetch(database, connection, rows.CANDLE, run, (after, 2**62), f"ORDER BY ts, market LIMIT {limit}")
    if len(candles) == 0:
        return candles, candles
    last = int(candles[-1, rows.CANDLE.position("ts")])
    return candles, _fetch(database, connection, rows.STAMP, run, (after, last), "ORDER BY ts, market")


def _fetch(
    database: Database, connection: Connection, spec: rows.TableSpec, run: int, span: tuple[int, int], tail: str
) -> NDArray[np.int64]:
    mark = database.mark
    names = ", ".join(f'"{name}"' for name in spec.names)
    statement = f'SELECT {names} FROM "{spec.name}" WHERE run = {mark} AND ts > {mark} AND ts <= {mark} {tail}'  # noqa: S608
    fetched: list[Any] = [tuple(row) for row in connection.exec_driver_sql(statement, (run, *span))]
    return codec.from_sql(spec, fetched)


def _visits(database: Database, connection: Connection, run: int, span: tuple[int, int]) -> Visits:
    """Visits of the candles that open after the first and at the latest at the second time."""
    read = _fetch(database, connection, rows.VISIT, run, span, "ORDER BY seq")
    place = read[:, [rows.VISIT.position(name) for name in ("ts", "market", "visit", "extreme", "tied")]]
    price = np.ascontiguousarray(read[:, rows.VISIT.position("price")]).view(np.float64)
    return Visits(np.ascontiguousarray(place), price)


def _signals(opinions: NDArray[np.int64], times: NDArray[np.int64], markets: int) -> NDArray[np.float64] | None:
    """Signals [T, M] of the frames at `times`; None without any."""
    if len(opinions) == 0:
        return None
    place = rows.OPINION.position
    said = np.full((len(times), markets), np.nan)
    frame = np.searchsorted(times, opinions[:, place("ts")])
    value = np.ascontiguousarray(opinions[:, place("value")]).view(np.float64)
    said[frame, opinions[:, place("market")]] = value
    return said


def _assemble(
    candles: NDArray[np.int64], stamps: NDArray[np.int64], markets: int, size: int, *, complete: bool
) -> Block:
    """The first `size` frames of the candles as a block. If not `complete`, the last frame may be cut and is left out.

    `size * markets` rows hold at least `size` frames, and only if they hold more can the last one be cut.
    """
    place = rows.CANDLE.position
    times, frame = np.unique(candles[:, place("ts")], return_inverse=True)
    count = min(size, len(times))
    assert complete or len(times) >= size, "a full page holds at least `size` frames"
    keep = frame < count
    candles, frame, times = candles[keep], frame[keep], times[:count].copy()
    market = candles[:, place("market")]
    values = np.full((count, markets, 5), np.nan)
    received = np.zeros((count, markets), np.int64)
    phase = np.zeros(count, np.int64)
    prices = np.ascontiguousarray(candles[:, place("open") : place("volume") + 1]).view(np.float64)
    values[frame, market] = prices
    received[frame, market] = candles[:, place("received")]
    phase[frame] = candles[:, place("phase")]
    present = np.zeros((count, markets), np.bool_)
    present[frame, market] = True
    rate, mark_price = _stamp_arrays(stamps, times, markets)
    for array in (times, values, present, rate, mark_price, received, phase):
        array.setflags(write=False)
    return Block(times, values, present, rate, mark_price, received, phase)


def _stamp_arrays(
    stamps: NDArray[np.int64], times: NDArray[np.int64], markets: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    place = rows.STAMP.position
    rate = np.full((len(times), markets), np.nan)
    mark = np.full((len(times), markets), np.nan)
    if len(stamps):
        stamps = stamps[stamps[:, place("ts")] <= times[-1]]
        frame = np.searchsorted(times, stamps[:, place("ts")])
        assert (times[frame] == stamps[:, place("ts")]).all(), "every stamp is at a frame of the journal"
        floats = np.ascontiguousarray(stamps[:, [place("rate"), place("mark")]]).view(np.float64)
        rate[frame, stamps[:, place("market")]] = floats[:, 0]
        mark[frame, stamps[:, place("market")]] = floats[:, 1]
    return rate, mark
