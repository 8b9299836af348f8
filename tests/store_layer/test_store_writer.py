"""Rows go in as arrays and come back bit for bit; the digest does not depend on how they were cut; commits are whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store_layer import sample_run
from trader.core import rows
from trader.core.types import SurroundingsError, UserError
from trader.store import codec
from trader.store.digest import TableDigest, combine
from trader.store.memory import MemoryStore
from trader.store.records import Cursor
from trader.store.store import open_store


def test_every_table_comes_back_as_written(url):
    store = open_store(url, create=True)
    frames = sample_run.make()
    run = sample_run.write(store, frames)
    for table, spec in rows.TABLES.items():
        written = [row for frame in frames for row in frame.tables.get(table, [])]
        assert written, f"the sample has no rows of {table}"
        read = [row for part in store.table(run, table) for row in part]
        if spec.numeric:
            expected = codec.canonical(spec, np.array(written, np.int64))
            assert np.array_equal(np.array(read), expected)
        else:
            assert read == codec.canonical_text(spec, written)
    store.close()


def test_digest_of_the_tables_is_the_digest_of_what_was_handed_over(url):
    store = open_store(url, create=True)
    run = sample_run.write(store, sample_run.make(), every=7)
    row = store.resolve(run)
    assert combine(store.recompute_digest(run)) == row.digest
    memory = MemoryStore()
    again = sample_run.write(memory, sample_run.make(), every=1)
    assert memory.resolve(again).digest == row.digest
    other = sample_run.write(memory, sample_run.make(seed=1))
    assert memory.resolve(other).digest != row.digest
    store.close()


@pytest.mark.postgres
def test_digest_is_equal_on_sqlite_and_postgresql(tmp_path, postgres_url):
    digests = set()
    for place in (str(tmp_path / "a.db"), postgres_url):
        with open_store(place, create=True) as store:
            run = sample_run.write(store, sample_run.make(60, 10, 3), every=4)
            digests.add(combine(store.recompute_digest(run)))
            digests.add(store.resolve(run).digest)
    assert len(digests) == 1


CUTS = st.lists(st.integers(0, 9000), max_size=12).map(sorted)


@settings(max_examples=40, deadline=None)
@given(cuts=CUTS, count=st.integers(0, 9000))
def test_cutting_a_table_into_batches_changes_no_digest(cuts, count):
    spec = rows.STAMP
    table = np.arange(count * len(spec.columns), dtype=np.int64).reshape(count, len(spec.columns))
    whole, pieces = TableDigest(spec), TableDigest(spec)
    whole.update(table)
    for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
        pieces.update(table[min(start, count) : min(stop, count)])
    assert pieces.hexdigest() == whole.hexdigest()
    restored = TableDigest(spec)
    restored.restore(whole.state())
    more = np.arange(25, dtype=np.int64).reshape(5, 5)
    restored.update(more)
    whole.update(more)
    assert restored.hexdigest() == whole.hexdigest()


def test_digest_sees_every_value_order_and_length():
    spec = rows.EQUITY
    table = np.arange(10 * 8, dtype=np.int64).reshape(10, 8)

    def digest(values):
        chain = TableDigest(spec)
        chain.update(values)
        return chain.hexdigest()

    seen = {digest(table), digest(table[::-1]), digest(table[:9]), digest(table[:0])}
    for row in range(10):
        for column in range(8):
            changed = table.copy()
            changed[row, column] += 1
            seen.add(digest(changed))
    assert len(seen) == 4 + 80


def test_phase_received_and_revised_are_outside_the_digest():
    base = np.arange(12, dtype=np.int64).reshape(1, 12)
    digests = set()
    for name in ("received", "revised", "phase"):
        changed = base.copy()
        changed[0, rows.CANDLE.position(name)] = 99
        chain = TableDigest(rows.CANDLE)
        chain.update(changed)
        digests.add(chain.hexdigest())
    chain = TableDigest(rows.CANDLE)
    chain.update(base)
    digests.add(chain.hexdigest())
    assert len(digests) == 1


FLOATS = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=20))
def test_floats_survive_sqlite_exactly_and_non_finite_ones_are_null(tmp_path_factory, values):
    store = open_store(str(tmp_path_factory.mktemp("floats") / "f.db"), create=True)
    run = store.create_run(sample_run.header())
    writer = store.writer(run)
    raw = np.array(values, np.float64).view(np.int64)
    table = np.zeros((len(values), 5), np.int64)
    table[:, 0] = np.arange(1, len(values) + 1)
    table[:, 2] = table[:, 0]
    table[:, 3:] = raw
    writer.write("stamp", table)
    writer.commit(Cursor(0, 0, 0, 0))
    (read,) = store.table(run, "stamp")
    got, sent = read[:, 3:].copy().view(np.float64), np.array(values)
    finite = np.isfinite(sent)
    assert np.array_equal(got[finite], sent[finite])
    assert np.isnan(got[~finite]).all()
    with store.database.reading() as connection:
        nulls = connection.exec_driver_sql("SELECT SUM(rate IS NULL) + SUM(mark IS NULL) FROM stamp").scalar()
    assert nulls == (~finite).sum()
    assert store.recompute_digest(run)["stamp"] == writer.digests()["stamp"]
    writer.close()
    store.close()


@pytest.mark.postgres
def test_floats_survive_postgresql_exactly(postgres_url):
    values = [np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1 / 3, -2.2250738585072014e-308]
    with open_store(postgres_url, create=True) as store:
        run = store.create_run(sample_run.header())
        writer = store.writer(run)
        table = np.zeros((len(values), 5), np.int64)
        table[:, 0] = table[:, 2] = np.arange(1, len(values) + 1)
        table[:, 3] = table[:, 4] = np.array(values).view(np.int64)
        writer.write("stamp", table)
        writer.commit(Cursor(0, 0, 0, 0))
        (read,) = store.table(run, "stamp")
        expected = rows.float_bits(np.array([*values[:3], 0.0, *values[4:]]))
        assert np.array_equal(read[:, 3], expected)
        with store.database.reading() as connection:
            assert connection.exec_driver_sql("SELECT COUNT(*) FROM v_funding WHERE rate IS NULL").scalar() == 3
        assert store.recompute_digest(run)["stamp"] == writer.digests()["stamp"]
        writer.close()


def test_rows_reach_sql_only_with_the_commit_and_the_cursor_moves_with_them(url):
    store = open_store(url, create=True)
    frames = sample_run.make(5)
    run = store.create_run(sample_run.header())
    writer = store.writer(run)
    sample_run.hand_over(writer, frames[0])
    assert store.committed(run)["candle"] == 0
    assert store.resolve(run).cursor_frame is None
    writer.commit(frames[0].cursor)
    row = store.resolve(run)
    assert store.committed(run)["candle"] == 2
    assert (row.cursor_frame, row.cursor_ms, row.candles, row.commits) == (-1, 7 * sample_run.HOUR, 2, 1)
    sample_run.hand_over(writer, frames[1])
    writer.close()
    assert store.committed(run)["candle"] == 2
    store.close()


def test_wrong_rows_are_refused_before_anything_is_written(tmp_path):
    store = open_store(str(tmp_path / "a.db"), create=True)
    writer = store.writer(store.create_run(sample_run.header()))
    good = np.ones((1, 5), np.int64)
    for bad in (np.ones((1, 4), np.int64), np.ones((1, 5)), np.ones(5, np.int64)):
        with pytest.raises(ValueError, match="expected int64"):
            writer.write("stamp", bad)
    writer.write("stamp", good)
    for seq in (1, 0):
        with pytest.raises(ValueError, match="seq must rise"):
            writer.write("stamp", np.full((1, 5), seq, np.int64))
    with pytest.raises(ValueError, match="numeric"):
        writer.write_text("stamp", [(1, 2, 3, 4, 5)])
    with pytest.raises(ValueError, match="expected 8 values"):
        writer.write_text("level", [(1, 2)])
    with pytest.raises(ValueError, match="NUL"):
        writer.write_text("level", [(1, 0, "a\0b", 1, None, None, 1, "{}")])
    store.close()


def test_an_exit_needs_its_entry(tmp_path):
    store = open_store(str(tmp_path / "a.db"), create=True)
    writer = store.writer(store.create_run(sample_run.header()))
    writer.write("exit", np.ones((1, len(rows.EXIT.columns)), np.int64))
    with pytest.raises(ValueError, match="never entered"):
        writer.commit(Cursor(0, 0, 0, 0))
    store.close()


def test_entries_of_earlier_commits_are_found_again_after_a_restart(url):
    store = open_store(url, create=True)
    frames = sample_run.make(60)
    run = store.create_run(sample_run.header())
    writer = store.writer(run)
    for frame in frames[:30]:
        sample_run.hand_over(writer, frame)
        writer.commit(frame.cursor)
    state = writer.state()
    writer.close()
    writer = store.writer(run)
    writer.restore(state)
    for frame in frames[30:]:
        sample_run.hand_over(writer, frame)
        writer.commit(frame.cursor)
    digest = writer.digest()
    writer.close()
    whole = MemoryStore()
    assert digest == whole.resolve(sample_run.write(whole, frames)).digest
    with store.database.reading() as connection:
        wrong = connection.exec_driver_sql(
            "SELECT COUNT(*) FROM exit x LEFT JOIN entry e ON e.run = x.run AND e.seq = x.entry_seq"
            " WHERE e.trade IS NULL OR e.trade <> x.trade"
        ).scalar()
        sums = connection.exec_driver_sql(
            "SELECT COUNT(*) FROM record r JOIN (SELECT run, agent, COUNT(*) AS n, SUM(trade_pnl) AS s FROM exit"
            " GROUP BY run, agent) x ON x.run = r.run AND x.agent = r.agent WHERE x.n <> r.trades OR x.s <> r.pnl"
        ).scalar()
        agents = connection.exec_driver_sql(
            "SELECT COUNT(DISTINCT agent) - (SELECT COUNT(*) FROM record) FROM exit"
        ).scalar()
    assert (wrong, sums, agents) == (0, 0, 0)
    store.close()


def test_the_same_incident_twice_is_one_row(url):
    store = open_store(url, create=True)
    run = store.create_run(sample_run.header())
    writer = store.writer(run)
    frame = sample_run.make(1)[-1]
    for number in range(2):
        writer.incidents(frame.incidents)
        writer.commit(Cursor(number, number, 0, 0))
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM incident").scalar() == len(frame.incidents) == 1
    writer.close()
    store.close()


@pytest.mark.postgres
def test_a_lost_connection_is_repaired_and_nothing_is_written_twice(postgres_url):
    with open_store(postgres_url, create=True) as store:
        frames = sample_run.make(20)
        run = store.create_run(sample_run.header())
        writer = store.writer(run)
        for number, frame in enumerate(frames):
            sample_run.hand_over(writer, frame)
            if number % 5 == 2:
                with store.database.transaction() as connection:
                    connection.exec_driver_sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
            writer.commit(frame.cursor)
        assert combine(store.recompute_digest(run)) == writer.digest()
        assert store.resolve(run).commits == len(frames)
        writer.close()


@pytest.mark.postgres
def test_a_commit_whose_answer_was_lost_is_not_repeated(postgres_url, monkeypatch):
    with open_store(postgres_url, create=True) as store:
        frames = sample_run.make(3)
        run = store.create_run(sample_run.header())
        writer = store.writer(run)
        attempts = []

        def lose_the_answer(point):
            if point == "commit.after" and not attempts:
                attempts.append(point)
                from psycopg import OperationalError as Lost
                from sqlalchemy.exc import OperationalError

                raise OperationalError("COMMIT", {}, Lost("server closed the connection unexpectedly"))

        monkeypatch.setattr("trader.store.failpoints.passing", lose_the_answer)
        for frame in frames:
            sample_run.hand_over(writer, frame)
            writer.commit(frame.cursor)
        assert attempts
        assert combine(store.recompute_digest(run)) == writer.digest()
        writer.close()


def test_an_unreachable_server_is_the_surroundings_after_retries(monkeypatch):
    monkeypatch.setattr("trader.store.database.PAUSES_SECONDS", (0.01, 0.01))
    with pytest.raises(SurroundingsError, match=r"postgresql://nobody:\*\*\*@127.0.0.1:1/none"):
        open_store("postgresql://nobody:secret@127.0.0.1:1/none", create=False)


@pytest.mark.parametrize("bad", ["", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "http://a b"])
def test_other_urls_are_refused_in_one_line(bad):
    with pytest.raises(UserError) as error:
        open_store(bad, create=True)
    assert "\n" not in str(error.value)


def test_journal_comes_back_as_blocks_of_any_size(url):
    store = open_store(url, create=True)
    frames = sample_run.make(40)
    run = sample_run.write(store, frames)
    whole = list(store.journal(run, None, 1000))
    assert len(whole) == 1
    assert len(whole[0]) == 43
    assert whole[0].phase.tolist() == [int(rows.Phase.WARMUP)] * 3 + [int(rows.Phase.REPLAY)] * 40
    for size in (1, 2, 7, 43):
        blocks = list(store.journal(run, None, size))
        assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
        for name in ("times", "candles", "present", "stamp_rate", "stamp_mark", "received", "phase"):
            joined = np.concatenate([getattr(block, name) for block in blocks])
            assert np.array_equal(joined, getattr(whole[0], name), equal_nan=joined.dtype == np.float64), name
    written = np.array([row for frame in frames for row in frame.tables["candle"]], np.int64)
    assert np.array_equal(whole[0].candles.reshape(-1, 5), written[:, 4:9].copy().view(np.float64))
    assert np.isfinite(whole[0].stamp_rate).sum() == 5
    after = int(whole[0].times[9])
    assert np.array_equal(np.concatenate([b.times for b in store.journal(run, after, 4)]), whole[0].times[10:])
    store.close()


def test_journal_with_holes_keeps_them(tmp_path):
    store = open_store(str(tmp_path / "a.db"), create=True)
    run = store.create_run(sample_run.header())
    generator = np.random.default_rng(0)
    present = generator.random((50, 2)) < 0.5
    present[~present.any(axis=1), 0] = True
    frame, market = np.nonzero(present)
    table = np.zeros((len(frame), 12), np.int64)
    table[:, 0], table[:, 1], table[:, 2] = np.arange(1, len(frame) + 1), frame, market
    table[:, 3] = frame * sample_run.HOUR
    table[:, 4:9] = rows.float_bits(generator.random((len(frame), 5)))
    writer = store.writer(run)
    writer.write("candle", table)
    writer.commit(Cursor(49, 49 * sample_run.HOUR, len(frame), 0))
    for size in (1, 3, 50):
        blocks = list(store.journal(run, None, size))
        assert np.array_equal(np.concatenate([b.present for b in blocks]), present)
        candles = np.concatenate([b.candles for b in blocks])
        assert np.array_equal(np.isnan(candles[:, :, 0]), ~present)
        assert np.array_equal(candles[frame, market], table[:, 4:9].copy().view(np.float64))
    writer.close()
    store.close()


def test_runs_are_found_by_number_name_and_latest(url):
    store = open_store(url, create=True)
    first, second = (store.create_run(sample_run.header(name)) for name in ("one", "two"))
    assert store.resolve("latest").run == store.resolve("two").run == store.resolve(str(second)).run == second
    assert store.resolve("one").run == first
    assert [row.name for row in store.runs()] == ["one", "two"]
    assert store.instruments(first) == sample_run.INSTRUMENTS
    assert store.names(first, "archetype") == sample_run.NAMES["archetype"]
    assert store.names(first, "reject")[1] == "no_cash"
    for missing in ("three", "99", "latest; DROP TABLE run", "9" * 30):
        with pytest.raises(UserError, match="not in"):
            store.resolve(missing)
    store.close()


def test_waiting_for_a_server_is_told_once(monkeypatch, caplog):
    import structlog

    from trader.store.database import Database, locate

    monkeypatch.setattr("trader.store.database.PAUSES_SECONDS", (0.01,) * 8)
    monkeypatch.setattr(structlog, "is_configured", lambda: False)
    database = Database(locate("postgresql://x@127.0.0.1:1/db"), read_only=True)
    with pytest.raises(SurroundingsError, match=r"127\.0\.0\.1"):
        database.connect()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "trying again for" in caplog.text
