"""`db check` holds for a sound run, and each kind of damage makes the check that looks for it fail."""

from __future__ import annotations

import pytest

from tests.store_layer import sample_run
from trader.core.types import UserError
from trader.store.check import check
from trader.store.memory import MemoryStore
from trader.store.store import open_store

NAMES = (
    "ids", "references", "agents", "results", "journal", "decisions", "fills", "participation", "positions", "conservation",
    "allocations",
    "equity", "digest",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_a_sound_run_passes_every_check(url, seed):
    with open_store(url, create=True) as store:
        run = sample_run.write(store, sample_run.make(50, 4 + seed, seed))
        found = check(store, run)
    assert tuple(result.name for result in found) == NAMES
    assert [result for result in found if not result.ok] == []


@pytest.fixture(scope="module")
def sample_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "a.db"
    with open_store(str(path), create=True) as store:
        sample_run.write(store, sample_run.make(60, 8, 5))
        with store.database.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


FUNDED_EXIT = "(SELECT MAX(seq) FROM exit WHERE funded = 1 AND qty = trade_qty AND fee > 0)"
FUNDED_ENTRY = "(SELECT MAX(seq) FROM entry WHERE funded = 1)"

DAMAGE = [
    ("ids", f"UPDATE entry SET fill = (SELECT MIN(fill) FROM exit WHERE agent = entry.agent) WHERE seq = {FUNDED_ENTRY}"),
    ("ids", f"UPDATE exit SET order_id = order_id + 10000000 WHERE seq = {FUNDED_EXIT}"),
    ("ids", f"UPDATE entry SET seq = (SELECT MIN(seq) FROM reject) WHERE seq = {FUNDED_ENTRY}"),
    ("references", f"UPDATE exit SET trade = trade + 5000 WHERE seq = {FUNDED_EXIT}"),
    ("references", f"UPDATE exit SET market = 1 - market WHERE seq = {FUNDED_EXIT}"),
    ("references", "DELETE FROM entry WHERE seq = (SELECT entry_seq FROM exit ORDER BY seq LIMIT 1)"),
    ("agents", "DELETE FROM birth WHERE agent = 3"),
    ("agents", "UPDATE birth SET parent_a = 7 WHERE agent = 3"),
    ("agents", "UPDATE birth SET time_ms = time_ms + 36000000000 WHERE agent = 3"),
    ("results", f"UPDATE exit SET trade_pnl = trade_pnl + 1 WHERE seq = {FUNDED_EXIT}"),
    ("results", f"UPDATE exit SET trade_value = trade_value + 1 WHERE seq = {FUNDED_EXIT}"),
    ("results", "UPDATE funding SET amount = amount + 1 WHERE trade = (SELECT MIN(trade) FROM funding JOIN exit USING (trade))"),
    ("results", "UPDATE partial SET qty = qty + 10 WHERE trade IN (SELECT trade FROM exit)"),
    ("journal", "DELETE FROM candle WHERE seq = 31"),
    ("journal", "UPDATE candle SET ts = ts + 1 WHERE seq = 31"),
    ("journal", "UPDATE candle SET frame = frame + 1 WHERE ts = (SELECT MAX(ts) FROM candle)"),
    ("journal", "DELETE FROM equity WHERE frame = 20"),
    ("decisions", f"UPDATE entry SET decided_ms = time_ms WHERE seq = {FUNDED_ENTRY}"),
    ("decisions", f"UPDATE exit SET decided_ms = time_ms + 1 WHERE seq = {FUNDED_EXIT}"),
    ("fills", f"UPDATE entry SET price = price * 2 WHERE seq = {FUNDED_ENTRY}"),
    ("fills", f"UPDATE exit SET price = price / 2 WHERE seq = {FUNDED_EXIT}"),
    ("fills", f"UPDATE entry SET time_ms = time_ms + 1 WHERE seq = {FUNDED_ENTRY}"),
    ("participation", f"UPDATE entry SET qty = qty * 100000 WHERE seq = {FUNDED_ENTRY}"),
    ("positions", "DELETE FROM position WHERE agent = (SELECT MAX(agent) FROM position)"),
    ("positions", "UPDATE position SET margin = margin + 1 WHERE agent = (SELECT MAX(agent) FROM position)"),
    ("positions", "UPDATE run SET status = 'finished'"),
    ("conservation", f"UPDATE entry SET margin = margin + 1000000000000000 WHERE seq = {FUNDED_ENTRY}"),
    ("conservation", "UPDATE transfer SET amount = amount + 1 WHERE seq = 1"),
    ("conservation", f"UPDATE exit SET fee = fee + 1 WHERE seq = {FUNDED_EXIT}"),
    ("allocations", "UPDATE allocation SET before = before + 1 WHERE seq = (SELECT MAX(seq) FROM allocation)"),
    ("equity", "UPDATE equity SET cash = cash + 1, unrealised = unrealised - 1 WHERE frame = 30"),
    ("equity", "UPDATE equity SET reserved = reserved + 1 WHERE frame = 30"),
    ("equity", "UPDATE equity SET unrealised = unrealised + 1, equity = equity + 1 WHERE frame = 30"),
    ("equity", "UPDATE equity SET peak = peak + 1 WHERE frame = 30"),
    ("equity", "UPDATE candle SET close = (high + low) / 2 WHERE frame = 30 AND market = 0"),
    ("equity", "UPDATE run SET equity_end = equity_end + 1"),
    ("allocations", "DELETE FROM allocation WHERE seq = (SELECT MIN(seq) FROM allocation)"),
    ("digest", "UPDATE level SET detail = '{}' WHERE seq = 1"),
    ("digest", "DELETE FROM stamp WHERE seq = 2"),
    ("digest", "UPDATE run SET digest = 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "statement"), DAMAGE)
def test_damage_is_found_by_its_check(tmp_path, sample_file, name, statement):
    copy = tmp_path / "a.db"
    copy.write_bytes(sample_file.read_bytes())
    with open_store(str(copy), create=False) as store:
        with store.database.transaction() as connection:
            assert connection.exec_driver_sql(statement).rowcount > 0
        found = {result.name: result for result in check(store, 1)}
    assert not found[name].ok
    assert found[name].detail
    assert "\n" not in found[name].detail


def test_a_fresh_run_and_a_run_without_rows_pass(tmp_path):
    with open_store(str(tmp_path / "a.db"), create=True) as store:
        run = store.create_run(sample_run.header())
        assert all(result.ok for result in check(store, run))


def test_memory_cannot_be_checked():
    with pytest.raises(UserError, match="memory"):
        check(MemoryStore(), 1)
