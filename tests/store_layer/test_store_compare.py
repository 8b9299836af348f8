"""Resume and verify: rows produced again are compared with the stored ones, value by value."""

from __future__ import annotations

import numpy as np
import pytest

from tests.store_layer import sample_run
from trader.core import rows
from trader.core.types import UserError
from trader.store.comparison import Difference
from trader.store.memory import MemoryStore
from trader.store.store import open_store


def verify(store, run, frames, every=1):
    writer = store.writer(run, verify=True)
    try:
        for number, frame in enumerate(frames, start=1):
            sample_run.hand_over(writer, frame)
            if number % every == 0:
                writer.commit(frame.cursor)
        writer.finish_comparison()
        return writer.digest()
    finally:
        writer.close()


@pytest.mark.parametrize("every", [1, 4, 1000])
def test_an_untouched_run_verifies(url, every):
    with open_store(url, create=True) as store:
        run = sample_run.write(store, sample_run.make())
        before = store.resolve(run)
        assert verify(store, run, sample_run.make(), every) == before.digest
        assert store.resolve(run) == before


SHORT = sample_run.make(26)

CHANGES = [(name, column.name) for name, spec in rows.TABLES.items() for column in spec.columns if column.name != "seq"]


@pytest.mark.parametrize(("table", "column"), CHANGES)
def test_one_changed_value_in_sql_is_named(tmp_path_factory, sample_file, table, column):
    copy = tmp_path_factory.mktemp("copy") / "a.db"
    copy.write_bytes(sample_file.read_bytes())
    with open_store(str(copy), create=False) as store:
        spec = rows.TABLES[table].columns[rows.TABLES[table].position(column)]
        new = (
            "'changed'" if spec.kind == rows.TEXT else "123456.5" if spec.kind == rows.FLOAT else f'"{column}" + 12345'
        )
        with store.database.transaction() as connection:
            seq = connection.exec_driver_sql(f'SELECT MAX(seq) FROM "{table}"').scalar()
            connection.exec_driver_sql(f'UPDATE "{table}" SET "{column}" = {new} WHERE seq = {seq}')
        if not spec.in_digest:
            verify(store, 1, SHORT)
            return
        with pytest.raises(Difference) as found:
            verify(store, 1, SHORT)
        assert (found.value.table, found.value.seq, found.value.column) == (table, seq, column)
        assert found.value.stored != found.value.produced
        assert set(found.value.as_dict()) == {"table", "seq", "column", "stored", "produced"}


@pytest.fixture(scope="module")
def sample_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "a.db"
    with open_store(str(path), create=True) as store:
        sample_run.write(store, SHORT)
        with store.database.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_missing_and_an_extra_row_are_named(tmp_path, place):
    with open_store(str(tmp_path / "a.db"), create=True) as store:
        run = sample_run.write(store, sample_run.make())
        with store.database.transaction() as connection:
            found = [row[0] for row in connection.exec_driver_sql("SELECT seq FROM funding ORDER BY seq")]
            seq = {"first": found[0], "middle": found[len(found) // 2], "last": found[-1]}[place]
            connection.exec_driver_sql(f"DELETE FROM funding WHERE seq = {seq}")
        with pytest.raises(Difference) as missing:
            verify(store, run, sample_run.make())
        assert missing.value.as_dict() == {
            "table": "funding",
            "seq": seq,
            "column": "seq",
            "stored": None,
            "produced": seq,
        }
        frames = sample_run.make()
        for frame in frames:
            frame.tables["funding"] = [row for row in frame.tables.get("funding", []) if row[0] not in {seq, found[-2]}]
        with pytest.raises(Difference) as extra:
            verify(store, run, frames)
        assert (extra.value.table, extra.value.produced) == ("funding", None)
        assert extra.value.stored == found[-2]


def test_stored_rows_beyond_the_last_produced_one_are_found(tmp_path):
    with open_store(str(tmp_path / "a.db"), create=True) as store:
        run = sample_run.write(store, sample_run.make())
        with pytest.raises(Difference) as extra:
            verify(store, run, sample_run.make()[:-1])
        assert extra.value.produced is None


def resume(store, run, frames, *, every, checkpoint=None):
    """Replay after a checkpoint (number of frames, writer state) and go on to the end."""
    writer = store.writer(run, compare_until=store.committed(run))
    done = 0
    if checkpoint is not None:
        done, state = checkpoint
        writer.restore(state)
    for number, frame in enumerate(frames[done:], start=1):
        sample_run.hand_over(writer, frame)
        if number % every == 0 or frame is frames[-1]:
            writer.commit(frame.cursor)
    digest = writer.digest()
    writer.close()
    return digest


@pytest.mark.parametrize("stopped", [0, 1, 17, 42, 43])
@pytest.mark.parametrize("from_checkpoint", [True, False])
def test_a_resumed_run_is_the_uninterrupted_one(url, stopped, from_checkpoint):
    frames = sample_run.make()
    whole = MemoryStore()
    expected = whole.resolve(sample_run.write(whole, frames)).digest
    with open_store(url, create=True) as store:
        run = store.create_run(sample_run.header())
        writer = store.writer(run)
        checkpoint = None
        for number, frame in enumerate(frames[:stopped], start=1):
            sample_run.hand_over(writer, frame)
            writer.commit(frame.cursor)
            if number == 10 and from_checkpoint:
                checkpoint = (number, writer.state())
        writer.close()
        assert resume(store, run, frames, every=1, checkpoint=checkpoint) == expected
        assert verify(store, run, frames) == expected
        assert store.resolve(run).cursor_frame == 39


def test_rows_that_belong_to_the_last_committed_frame_are_added_on_resume(tmp_path):
    """A run that was killed between its last frame and its closing: the closing rows have the cursor's frame."""
    frames = sample_run.make()
    closing = {table: frames[-1].tables.pop(table) for table in ("funnel",)}
    with open_store(str(tmp_path / "a.db"), create=True) as store:
        run = store.create_run(sample_run.header())
        writer = store.writer(run)
        for frame in frames:
            sample_run.hand_over(writer, frame)
        writer.commit(frames[-1].cursor)
        writer.close()
        writer = store.writer(run, compare_until=store.committed(run))
        for frame in frames:
            sample_run.hand_over(writer, frame)
        writer.commit(frames[-1].cursor)
        writer.write("funnel", np.array(closing["funnel"], np.int64))
        writer.commit(frames[-1].cursor)
        writer.close()
        assert store.committed(run)["funnel"] == 2


def test_resume_refuses_rows_that_the_stored_frames_do_not_have(tmp_path):
    frames = sample_run.make()
    with open_store(str(tmp_path / "a.db"), create=True) as store:
        run = store.create_run(sample_run.header())
        writer = store.writer(run)
        for frame in frames[:30]:
            sample_run.hand_over(writer, frame)
        writer.commit(frames[29].cursor)
        writer.close()
        with store.database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM exit WHERE seq = (SELECT MAX(seq) FROM exit)")
        with pytest.raises(Difference) as found:
            resume(store, run, frames, every=1)
        assert found.value.stored is None
        assert found.value.table == "exit"


def test_a_run_in_memory_cannot_be_resumed_or_verified():
    store = MemoryStore()
    run = sample_run.write(store, sample_run.make(3))
    for wanted in ({"verify": True}, {"compare_until": {}}):
        with pytest.raises(UserError, match="memory"):
            store.writer(run, **wanted)
    with pytest.raises(UserError, match="no journal"):
        store.journal(run)
    assert store.committed(run)["candle"] == 12
    assert sum(len(part) for part in store.table(run, "candle", after=5)) == 7
    assert store.instruments(run) == sample_run.INSTRUMENTS
    assert store.resolve("latest") == store.resolve("sample") == store.runs()[0]
    with pytest.raises(UserError, match="not in memory"):
        store.resolve("other")
