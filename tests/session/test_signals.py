"""The archetype `signal`: the trades of a hand-made file, the same through vectorbt, and what is refused."""

from __future__ import annotations

import sqlite3
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trader.core.config import config_hash, load
from trader.core.errors import UserError
from trader.feeds.signals import SignalledFeed, read_signals
from trader.session.api import StopFlag, resume_session, run_session, verify_run
from trader.session.feeds import make_feed, opening_lines
from trader.session.python import open_run

HOUR = 3_600_000
START = 1_704_067_200_000
FEE = 0.001
ALONE = (
    'feed.kind="replay"', 'feed.symbols=["AAA/USDT"]', 'feed.timeframes=["1h"]', "feed.warmup=0", "pool.capital=1000.0",
    'population.archetypes=["signal"]', "population.size=1", "levels.evolution.enabled=false",
    "levels.pool.enabled=false", f"exchange.fees={{maker={FEE}, taker={FEE}}}", "exchange.slippage=0.0",
    "exchange.impact=0.0", "exchange.participation=1.0", "exchange.funding=false", 'exchange.id="nowhere"',
    "engine.threads=1", "session.checkpoint_every=4",
)  # fmt: skip


def candles(folder, opened, volume=1e6):
    """Hourly candles with these opens; each closes at the next one's open."""
    opened = np.asarray(opened, float)
    close = np.append(opened[1:], opened[-1])
    data = pd.DataFrame({
        "ts": START + HOUR * np.arange(len(opened)), "open": opened, "high": np.maximum(opened, close) * 1.01,
        "low": np.minimum(opened, close) * 0.99, "close": close, "volume": volume,
    })  # fmt: skip
    folder.mkdir(exist_ok=True)
    data.to_parquet(folder / "AAA_USDT-1h.parquet")
    return folder / "AAA_USDT-1h.parquet"


def signals(path, values):
    """A file that says these at the candles; None: no row."""
    lines = [f"AAA/USDT,{START + HOUR * i},{value}" for i, value in enumerate(values) if value is not None]
    path.write_text("\n".join(["symbol,ts,signal", *lines]) + "\n")
    return path


def session(tmp_path, opened, values, *sets):
    data = candles(tmp_path / "data", opened)
    file = signals(tmp_path / "signals.csv", values)
    config = load(None, [*ALONE, f'feed.signals="{file}"', f'feed.data=["{data}"]', *sets])
    url = str(tmp_path / "trades.db")
    summary = run_session(config, url=url, data=(str(data),))
    return url, summary, open_run("latest", db=url)


OPENED = [100.0, 101.0, 102.0, 104.0, 103.0, 99.0, 98.0, 97.0, 95.0, 96.0, 98.0, 100.0]
SAID = [None, 1, None, 1, 0, None, -0.4, -1, None, 1, 1, None]
"""Long from candle 2's open, flat at 5's; short from 7's, closed at 10's by the signal against it; long again at 11's."""


def test_the_trades_are_exactly_those_of_the_file(tmp_path):
    url, _, run = session(tmp_path, OPENED, SAID)
    trades = run.trades.sort_values("entry_ms")
    told = [
        (side, (int(entry) - START) // HOUR, (int(leave) - START) // HOUR, price, out, reason)
        for side, entry, leave, price, out, reason in zip(
            trades.side, trades.entry_ms, trades.exit_ms, trades.entry_price, trades.exit_price, trades.exit_reason,
            strict=True,
        )
    ]  # fmt: skip
    assert told == [
        ("long", 2, 5, 102.0, 99.0, "signal"),
        ("short", 7, 10, 97.0, 98.0, "signal"),
        ("long", 11, 11, 100.0, 100.0, "end"),
    ]
    # 1000 at the close of 1 (102), a quarter percent of room for the open, and the fee of 0.1 % on top
    first = 1000.0 / (1 + FEE) / (102.0 * 1.0025)
    assert trades.qty.iloc[0] == pytest.approx(first, abs=2e-8)
    assert trades.pnl.iloc[0] == pytest.approx(first * (99.0 - 102.0) - FEE * first * (99.0 + 102.0), abs=1e-6)
    assert set(trades.leverage) == {1.0}
    with sqlite3.connect(url) as connection:
        assert set(connection.execute("SELECT stop, take FROM entry")) == {(0, 0)}, "neither stop nor take"
    assert verify_run("latest", url=url).identical


def test_verify_needs_no_file_and_resume_goes_on_with_it(tmp_path):
    url, whole, _ = session(tmp_path, OPENED, SAID)
    file = tmp_path / "signals.csv"
    text = file.read_text()
    file.unlink()
    assert verify_run("latest", url=url).identical, "the journal has the signals"
    file.write_text(text)
    config = load(None, [*ALONE, f'feed.signals="{file}"', f'feed.data=["{tmp_path / "data"}"]', "feed.speed=1e9"])
    flag = StopFlag()
    other = str(tmp_path / "other.db")

    def stop(progress):
        flag.requested = progress.frames_done >= 6

    assert run_session(config, url=other, progress=stop, stop=flag).as_dict()["status"] == "stopped"
    ended = resume_session("latest", url=other).as_dict()
    assert ended["status"] == "finished"
    assert ended["digest"] == whole.as_dict()["digest"]


def test_vectorbt_makes_the_same_trades(tmp_path):
    """Random signals, long and short, over a random walk: entries at the next open, the same fee, no slippage."""
    warnings.simplefilter("ignore")
    vectorbt = pytest.importorskip("vectorbt", reason="vectorbt is not installed: the comparison with it is left out")
    random = np.random.default_rng(5)
    opened = np.round(100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, 400))), 2)
    said = [
        None if u < 0.6 else int(value)
        for u, value in zip(random.uniform(size=400), random.integers(-1, 2, 400), strict=True)
    ]
    _, _, run = session(tmp_path, opened, said)
    ours = run.trades.sort_values("entry_ms").reset_index(drop=True)
    assert len(ours) > 40
    assert set(ours.side) == {"long", "short"}
    # what is asked for at a close is done at the next open: the same signals one candle later
    value = pd.Series([np.nan if one is None else float(one) for one in said]).shift(1)
    close = pd.Series(np.append(opened[1:], opened[-1]))
    held, cash, amount = 0.0, 1000.0, np.full(400, np.nan)
    state, opened_at = np.zeros((4, 400), bool), (0.0, 0.0)  # enter long, leave long, enter short, leave short
    for i in range(1, 400):
        if held and (value[i] == 0 or value[i] * held < 0):
            state[1 if held > 0 else 3, i] = True
            quantity, price = opened_at
            cash += held * quantity * (opened[i] - price) - FEE * quantity * (price + opened[i])
            held = 0.0
        elif not held and abs(value[i]) == 1:
            held = value[i]
            state[0 if held > 0 else 2, i] = True
            amount[i] = cash / (1 + FEE) / (close[i - 1] * 1.0025)
            opened_at = amount[i], opened[i]
    folio = vectorbt.Portfolio.from_signals(
        close, *state, price=pd.Series(opened), size=pd.Series(amount), fees=FEE, init_cash=1e6, freq="1h",
        accumulate=False,
    )  # fmt: skip
    theirs = folio.trades.records_readable
    assert len(theirs) == len(ours)
    closed = (theirs["Status"] == "Closed").to_numpy()
    assert closed[:-1].all()
    hours = (ours[["entry_ms", "exit_ms"]].to_numpy() - START) // HOUR
    np.testing.assert_array_equal(hours[:, 0], theirs["Entry Timestamp"])
    np.testing.assert_array_equal(hours[closed, 1], theirs["Exit Timestamp"][closed])
    assert [side.title() for side in ours.side] == list(theirs["Direction"])
    np.testing.assert_allclose(ours.qty, theirs["Size"], atol=3e-8)
    np.testing.assert_allclose(ours.entry_price, theirs["Avg Entry Price"], rtol=1e-12)
    np.testing.assert_allclose(ours.pnl[closed], theirs["PnL"][closed], atol=2e-5)


def test_no_signal_acts_before_its_candle_has_closed(make_block, make_config, run, look_ahead):
    block = make_block(frames=700, markets=2)
    random = np.random.default_rng(1)
    said = np.where(random.uniform(size=(700, 2)) < 0.2, random.integers(-1, 2, (700, 2)), np.nan)
    said[~block.present] = np.nan
    block = replace(block, signals=said)
    changed = said.copy()
    changed[551:] = 1.0
    file = "x.csv#sha256=0"
    config = make_config(f'feed.signals="{file}"', 'population.archetypes=["signal", "trend"]')
    _, base = run(config, block)
    _, other = run(config, replace(block, signals=np.where(block.present, changed, np.nan)))
    assert len(base.rows("opinion"))
    at = int(block.times[550])
    look_ahead.assert_same_past(base, other, at, decisions=True)
    assert base.same_as(other) is not None
    _, cut = run(config, block, cuts=(3, 450, 555, 556))
    assert base.same_as(cut) is None


def test_signals_are_part_of_the_config_by_their_content(tmp_path):
    one, two = signals(tmp_path / "one.csv", SAID), signals(tmp_path / "two.csv", SAID)
    other = signals(tmp_path / "other.csv", SAID[:-2])
    hashes = [config_hash(load(None, [*ALONE, f'feed.signals="{path}"'])) for path in (one, two, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    config = load(None, [*ALONE, f'feed.signals="{one}"', f'feed.data=["{candles(tmp_path / "data", OPENED)}"]'])
    signals(one, SAID[:-2])
    with pytest.raises(UserError, match="is not the file it was"):
        make_feed(config)


def test_events_and_formats_say_the_same(tmp_path):
    ts = [START + HOUR * i for i in range(5)]
    frame = pd.DataFrame({"symbol": "AAA/USDT", "ts": ts, "signal": [1.0, np.nan, 0.0, -1.0, 0.0]})
    events = pd.DataFrame({
        "symbol": "AAA/USDT", "ts": ts, "enter_long": [1, 0, 0, 0, 0], "exit_long": [0, 0, 1, 0, 0],
        "enter_short": [0, 0, 0, 1, 0], "exit_short": [0, 0, 0, 0, 1],
    })  # fmt: skip
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "b.csv.gz", index=False)
    frame.to_json(tmp_path / "c.json", orient="records")
    events.astype({"enter_long": bool}).to_csv(tmp_path / "d.csv", index=False)
    for name in ("a.parquet", "b.csv.gz", "c.json", "d.csv"):
        found = read_signals(str(tmp_path / name), "")
        assert found.values.tolist() == [1.0, 0.0, -1.0, 0.0], name
        assert found.times.tolist() == [ts[0], *ts[2:]], name


BROKEN = {
    "symbol,ts,signal\nAAA/USDT,1704067200000,2\n": r"row 1: signal must be a number from -1 \(short\) to 1 \(long\)",
    "symbol,ts,signal\nAAA/USDT,1704067200000,up\n": "row 1: signal must be a number, not 'up'",
    "symbol,ts,signal\nAAA/USDT,1704067200000,1\nAAA/USDT,1704067200000,0\n": "row 2: its symbol and ts are there twice",
    "symbol,ts,signal\nAAA/USDT,1704067200000\n": "row 1: must have 3 cells, not 2",
    "symbol,ts\nAAA/USDT,1704067200000\n": "header has no signal column",
    "ts,signal\n1704067200000,1\n": "header has no symbol column",
    "symbol,ts,signal\n": "holds no rows",
    "symbol,ts,enter_long,enter_short\nAAA/USDT,1704067200000,1,1\n": "row 1: must not enter and leave the same side",
    "symbol,ts,enter_long\nAAA/USDT,1704067200000,2\n": "row 1: enter_long must be 1 or 0",
    "symbol,ts,signal\nAAA/USDT,soon,1\n": "row 1: ts must be a time",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "signals.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=BROKEN[text]) as caught:
        read_signals(str(path), "")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_markets_and_moments_must_be_the_sessions_own(tmp_path):
    data = candles(tmp_path / "data", OPENED)
    config = load(None, [*ALONE, f'feed.data=["{data}"]', f'feed.signals="{signals(tmp_path / "s.csv", SAID)}"'])
    feed = make_feed(config)
    assert any("7 signals of AAA/USDT" in line for line in opening_lines(config, feed))
    for line, rule in (
        (f"BBB/USDT,{START},1", "row 2: symbol must be one of the session's"),
        (f"AAA/USDT,{START + 1},1", "row 2: ts"),
    ):
        (tmp_path / "t.csv").write_text(f"symbol,ts,signal\nAAA/USDT,{START + HOUR},1\n{line}\n")
        with pytest.raises(UserError, match=rule):
            SignalledFeed(feed, read_signals(str(tmp_path / "t.csv"), ""))


def test_the_config_tells_who_follows_the_file(tmp_path):
    file = signals(tmp_path / "s.csv", SAID)
    for sets, rule in (
        (['population.archetypes=["signal"]'], "signal follows a file"),
        ([f'feed.signals="{file}"', 'population.archetypes=["trend"]'], "names no `signal`"),
        (['feed.signals="nowhere.csv"'], "No such file"),
        ([f'feed.signals="{file}"', 'feed.kind="live"', 'feed.symbols=["AAA/USDT"]'], "cannot know"),
    ):
        with pytest.raises(UserError, match=rule):
            load(None, ['feed.kind="synthetic"', *sets])
