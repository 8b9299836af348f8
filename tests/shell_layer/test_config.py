"""The config tree: what it accepts, what it refuses and in which words, and what its hash covers."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trader.core import config as configs
from trader.core.config_file import dotted_keys, parse_set, section
from trader.core.types import UserError

KIND = "feed.kind=synthetic"


def load(*sets: str, **overrides: object) -> configs.Config:
    return configs.load(None, [KIND, *sets], overrides)


def refusal(*sets: str) -> str:
    with pytest.raises(UserError) as caught:
        load(*sets)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_defaults_are_the_contracts():
    config = load()
    assert (config.pool.capital, config.pool.currency, config.population.size, config.session.seed) == (
        1e6,
        "USDT",
        200,
        0,
    )
    assert config.feed.timeframes == ("1h", "4h", "1d")
    assert (config.levels.evolution.every, config.levels.pool.every) == (720, 168)
    assert (config.session.checkpoint_every, config.session.checkpoint_keep) == (5000, 100_000)
    assert (config.exchange.participation, config.exchange.slippage, config.exchange.impact) == (0.1, 0.0002, 0.01)


@pytest.mark.parametrize(
    ("market_type", "fees"), [("swap", (0.0002, 0.0005)), ("spot", (0.001, 0.001))],
)  # fmt: skip
def test_fees_follow_the_market_type(market_type, fees):
    config = load(f"exchange.market_type={market_type}")
    assert (config.exchange.fees.maker, config.exchange.fees.taker) == fees
    partly = load(f"exchange.market_type={market_type}", "exchange.fees.maker=0.0")
    assert (partly.exchange.fees.maker, partly.exchange.fees.taker) == (0.0, fees[1])


@pytest.mark.parametrize(
    ("base", "expected"),
    [("1m", ("1m", "5m", "15m")), ("3m", ("3m", "15m", "1h")), ("30m", ("30m", "1h", "4h")), ("2h", ("2h", "4h", "1d")),
     ("4h", ("4h", "1d")), ("1d", ("1d",))],
)  # fmt: skip
def test_default_timeframes_are_the_base_and_the_next_two_multiples(base, expected):
    assert load(f"feed.base_timeframe={base}").feed.timeframes == expected


def test_times_are_ms_utc_however_they_are_written():
    noon = 1_700_308_800_000
    for text in ("2023-11-18T12:00:00Z", '"2023-11-18 12:00"', "2023-11-18T13:00:00+01:00", str(noon), f'"{noon}"'):
        assert load(f"feed.start={text}").feed.start == noon
    assert load("feed.start=2023-11-18").feed.start == noon - 12 * 3_600_000


def test_symbols_have_one_spelling_and_one_order():
    config = load("feed.symbols=['ETH/USDT:USDT', 'BTC/USDT']")
    assert config.feed.symbols == ("BTC/USDT", "ETH/USDT")


REFUSED = {
    "session.sed=1": "--set: session.sed: unknown key; did you mean session.seed?",
    "seed=1": "--set: seed: unknown key; did you mean session.seed?",
    "levels.evolutoin.every=7": "--set: levels.evolutoin: unknown key; did you mean levels.evolution?",
    "session.seed=-1": "--set: session.seed: input should be greater than or equal to 0, not -1",
    "session.seed=true": "--set: session.seed: input should be a valid integer, not True",
    "session.seed='5'": "--set: session.seed: input should be a valid integer, not '5'",
    "session.name=latest": "--set: session.name: 'latest' is no run name",
    "session.name='17'": "--set: session.name: '17' is no run name",
    "feed.kind=synthtic": "input should be 'synthetic', 'replay' or 'live', not 'synthtic'; did you mean 'synthetic'?",
    "feed.symbols=[]": "--set: feed.symbols: needs at least 1",
    "feed.symbols=['BTC/USDT', 'BTC/USDT:USDT']": "--set: feed.symbols: BTC/USDT stands there twice",
    "feed.symbols=[BTCUSDT]": "--set: feed.symbols: '[BTCUSDT]' is no TOML value",
    "feed.symbols=['BTCUSDT']": "'BTCUSDT' is no symbol: write BASE/QUOTE",
    "feed.symbols=['BTC/USD:BTC']": "is settled in BTC: only linear contracts",
    "feed.symbols=['BTC/EUR']": "BTC/EUR is not quoted in USDT, the currency of the pool",
    "feed.base_timeframe=7m": "--set: feed.base_timeframe:",
    "feed.timeframes=['4h','1h']": "timeframes: each once, from short to long",
    "feed.timeframes=['30m','1h']": "timeframes: 30m is no multiple of base_timeframe 1h",
    "feed.start=yesterday": "--set: feed.start: 'yesterday' is no time",
    "feed={kind='synthetic',start=2021-01-01,end=2021-01-01}": "--set: feed: start must lie before end",
    "pool.capital=0": "--set: pool.capital: input should be greater than 0, not 0",
    "pool.capital=inf": "--set: pool.capital: input should be a finite number, not inf",
    "pool.capital=1e11": "--set: pool.capital: input should be less than or equal to",
    "exchange.participation=1.5": "--set: exchange.participation: input should be less than or equal to 1, not 1.5",
    "exchange.slippage=nan": "--set: exchange.slippage: input should be a finite number, not nan",
    "exchange.fees=0.1": "--set: exchange.fees: is a table, not 0.1",
    "exchange.apiKey=abc": "--set: exchange.apiKey: credentials are refused",
    "exchange.options={secret='x'}": "--set: exchange.options.secret: credentials are refused",
    "exchange.urls={public='http://me:pw@host'}": "an address must not carry credentials",
    "engine.threads=0": "--set: engine.threads: input should be greater than or equal to 1, not 0",
    "session.seed.deep=1": "--set: session.seed: input should be a valid integer",
    "population.size=1_000_001": "--set: population.size: input should be less than or equal to 1000000",
    "session.seed": "--set: 'session.seed': write dotted.key=value",
    "session..seed=1": "--set: 'session..seed': not a dotted key",
    "session.seed=": "--set: session.seed: '' is no TOML value",
    "session.seed=1\n[store]\nurl='x'": "--set: session.seed: one value, not several lines",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_refused_in_one_line_that_names_key_and_rule(text):
    assert REFUSED[text] in refusal(text)


def test_a_set_below_a_value_of_the_file_is_refused(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[feed]\nkind = 'synthetic'\n[session]\nseed = 1\n")
    with pytest.raises(UserError, match=r"--set: session\.seed\.x: session\.seed is no table"):
        configs.load(path, ["session.seed.x=1"])


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "feed.kind: required: one of synthetic, replay"),
        (b"[feed]\n", "feed.kind: required: one of synthetic, replay"),
        (b"[feed\n", "not TOML"),
        (b"\xff\xfe", "not UTF-8 text (byte 0)"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "not TOML"),
        (b"#" * 1_000_001, "larger than 1000000 bytes"),
        (b"feed = 3", "feed: is a table, not 3"),
        (b"[feed]\nkind='synthetic'\n[exchange]\nsecret='x'", "exchange.secret: credentials are refused"),
    ],
)
def test_broken_files_are_named_with_the_rule(tmp_path, content, rule):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        configs.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        configs.load(tmp_path / "none.toml")
    with pytest.raises(UserError, match="cannot be read"):
        configs.load(tmp_path)


def test_sets_are_toml_and_bare_words_are_strings():
    assert parse_set("a.b=1.5") == (("a", "b"), 1.5)
    assert parse_set("a=[1, 2]") == (("a",), [1, 2])
    assert parse_set('exchange.urls."ws.spot"=ws://127.0.0.1:9/x?a=b') == (
        ("exchange", "urls", "ws.spot"), "ws://127.0.0.1:9/x?a=b",
    )  # fmt: skip
    assert parse_set("feed.symbols=BTC/USDT") == (("feed", "symbols"), "BTC/USDT")


def test_a_set_replaces_a_whole_table_and_later_ones_win():
    config = load("levels.pool={every=5}", "levels.pool.every=6", "levels.pool={enabled=false}")
    assert (config.levels.pool.every, config.levels.pool.enabled) == (168, False)


def test_overrides_stand_over_sets_and_are_named_as_such():
    assert load("feed.start=1", **{"feed.start": 2}).feed.start == 2
    with pytest.raises(UserError, match=r"command line: feed\.start: 'x' is no time"):
        load(**{"feed.start": "x"})


def test_the_tree_is_frozen():
    config = load()
    with pytest.raises(ValidationError, match="frozen"):
        config.session.seed = 3  # type: ignore[misc]


OUTSIDE = {
    "session.name": "a", "session.checkpoint_every": 7, "session.checkpoint_keep": 7, "feed.data": ["x"],
    "store.url": "memory", "engine.threads": 7, "feed.speed": 60.0, "evaluation.train": 0.4, "evaluation.test": 0.2,
    "evaluation.embargo": 0.02, "evaluation.holdout": 0.1, "evaluation.seeds": 5, "evaluation.costs": [1.0],
    "evaluation.block": 3.0, "evaluation.draws": 50,
}  # fmt: skip


@pytest.mark.parametrize("key", OUTSIDE)
def test_the_hash_leaves_out_what_changes_no_result(key):
    assert configs.config_hash(load(**{key: OUTSIDE[key]})) == configs.config_hash(load())
    assert configs.canonical_json(load(**{key: OUTSIDE[key]})) != configs.canonical_json(load())


OTHERS = {
    "pool.currency": "EUR", "exchange.id": "kraken", "feed.symbols": ["A/USDT"], "feed.timeframes": ["1h"],
    "population.archetypes": ["trend"], "exchange.market_type": "spot", "feed.base_timeframe": "4h",
    "session.candles": 9, "feed.warmup": 9, "exchange.tiers": "f.json", "feed.kind": "replay",
    "feed.synthetic.mode": "null", "feed.synthetic.schedule": [["bull", 9]], "feed.synthetic.holes": 0.1,
}  # fmt: skip


def _other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 1.0
    return None


def test_the_hash_covers_everything_else():
    tree = load("feed.start=5", "feed.end=100")
    seen = {configs.config_hash(tree)}
    tried = set()
    for dotted in dotted_keys(configs.Config):
        value: object = tree
        for name in dotted.split("."):
            value = getattr(value, name)
        other = OTHERS.get(dotted, _other(value))
        if other is None or dotted in OUTSIDE:
            continue
        changed = load("feed.start=5", "feed.end=100", **{dotted: other})
        tried.add(dotted)
        assert configs.config_hash(changed) not in seen, dotted
        seen.add(configs.config_hash(changed))
    assert len(tried) >= 25


def test_the_hash_is_the_same_tomorrow():
    """Stored with every run: if this changes, runs of the last version no longer compare with this one's."""
    assert configs.config_hash(load("engine.threads=1")) == configs.config_hash(load("engine.threads=2"))
    text = configs.canonical_json(load("engine.threads=1"), hashed_only=True)
    assert json.loads(text)["feed"] == {
        "base_timeframe": "1h", "end": None, "gaps": "record", "kind": "synthetic", "start": None, "symbols": None,
        "timeframes": ["1h", "4h", "1d"], "warmup": None,
        "synthetic": {"correlation": 0.7, "edge": 1.0, "holes": 0.0, "mode": "regimes", "schedule": []},
    }  # fmt: skip
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_canonical_json_reads_back_and_hides_a_password():
    config = load("store.url=postgresql+psycopg://me:hidden@host:5432/db", "feed.start=2020-01-01")
    text = configs.canonical_json(config)
    assert "hidden" not in text
    assert configs.config_hash(configs.from_json(text)) == configs.config_hash(config)
    assert configs.canonical_json(configs.from_json(text)) == text


def test_every_key_has_a_description_and_stands_in_the_schema():
    schema = json.dumps(configs.json_schema())
    for dotted in dotted_keys(configs.Config):
        *above, name = dotted.split(".")
        owner = section(configs.Config, tuple(above))
        assert owner is not None
        assert owner.model_fields[name].description
        assert f'"{name}"' in schema


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)
KEYS = [*dotted_keys(configs.Config), "feed", "exchange", "levels", "session", "nothing"]


@given(VALUES, st.sampled_from(KEYS))
def test_whatever_stands_at_a_key_is_accepted_or_refused_in_one_line(value, key):
    try:
        config = load(**{key: value})
    except UserError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("command line: ")
    else:
        assert configs.config_hash(configs.from_json(configs.canonical_json(config))) == configs.config_hash(config)


@given(st.text(max_size=40))
def test_any_set_text_is_read_or_refused_in_one_line(text):
    try:
        key, _ = parse_set(text)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert key


def test_reading_is_quick(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[feed]\nkind = 'synthetic'\n")
    start = time.perf_counter()
    for _ in range(20):
        configs.load(path)
    assert time.perf_counter() - start < 2
