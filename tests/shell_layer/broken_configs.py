"""Over two hundred broken configs: the file's bytes and what the one line says. The first table is made for every key."""

from __future__ import annotations

import codecs
from typing import get_args

from trader.core.config import Config
from trader.core.config_file import dotted_keys, section

START = 'feed = { kind = "synthetic" }\n'
"""The shortest good config."""


def placed(dotted: str, value: str) -> bytes:
    """A config that is good but for one key."""
    table, _, name = dotted.rpartition(".")
    if table.partition(".")[0] == "feed":
        kind = "" if dotted == "feed.kind" else 'kind = "synthetic"\n'
        inner = "" if table == "feed" else f"[{table}]\n"
        return f"[feed]\n{kind}{inner}{name} = {value}\n".encode()
    return f"{START}[{table}]\n{name} = {value}\n".encode()


def _annotation(dotted: str) -> str:
    *above, name = dotted.split(".")
    owner = section(Config, tuple(above))
    assert owner is not None
    field = owner.model_fields[name]
    return f"{field.annotation} {get_args(field.annotation)} {field.metadata}"


def _wrong(dotted: str) -> list[str]:
    """Values of a wrong kind, or out of bounds, for this key."""
    kind = _annotation(dotted)
    if dotted in ("exchange.urls", "exchange.options"):
        return ["5", "true", '"x"', "[1]"]
    wrong = ["{ a = 1 }", "[[[]]]", "07:32:00"]
    if "tuple" not in kind:
        wrong.append('["x", 5]')
    if "int" in kind or "float" in kind:
        wrong += ['"x"', "nan", "inf", "-1"]
        wrong += ["1.5", "99999999999999999999999"] if "float" not in kind else []
        wrong += ["true"]
    elif "bool" in kind:
        wrong += ["1", '"yes"', "0.0"]
    elif "Literal" in kind:
        wrong += ['"x"', "5", '""', "true"]
    elif "str" in kind or "tuple" in kind:
        wrong += ["5", "true", '""', "nan"]
    return wrong


EVERY_KEY = [(dotted, value) for dotted in dotted_keys(Config) for value in _wrong(dotted)]

TOML = [
    # name, bytes of the file, what the line says
    ("empty", b"", "feed.kind: required"),
    ("blank", b"\n\n   \n", "feed.kind: required"),
    ("comment", b"# nothing\n", "feed.kind: required"),
    ("prose", b"once upon a time", "not TOML"),
    ("no value", b"[feed]\nkind =\n", "not TOML"),
    ("no quotes", b"[feed]\nkind = synthetic\n", "not TOML"),
    ("open string", b'[feed]\nkind = "synthetic\n', "not TOML"),
    ("open table", b'[feed\nkind = "synthetic"\n', "not TOML"),
    ("open array", b'[feed]\nkind = "synthetic"\nsymbols = ["BTC/USDT"\n', "not TOML"),
    ("open long string", b'[feed]\nkind = """synthetic\n', "not TOML"),
    ("colon", b'[feed]\nkind: "synthetic"\n', "not TOML"),
    ("two on a line", b'[feed] kind = "synthetic"\n', "not TOML"),
    ("comma", b'[feed]\nkind = "synthetic",\n', "not TOML"),
    ("leading zero", placed("session.seed", "07"), "not TOML"),
    ("two points", placed("pool.capital", "1.0.0"), "not TOML"),
    ("thousands", placed("pool.capital", "1,000"), "not TOML"),
    ("percent", placed("exchange.participation", "10%"), "not TOML"),
    ("python true", placed("levels.pool.enabled", "True"), "not TOML"),
    ("none", placed("session.candles", "None"), "not TOML"),
    ("null", placed("session.candles", "null"), "not TOML"),
    ("hex float", placed("pool.capital", "0x1.8p3"), "not TOML"),
    ("dollar", placed("session.seed", "$SEED"), "not TOML"),
    ("bad escape", placed("session.name", r'"\q"'), "not TOML"),
    ("bad unicode escape", placed("session.name", r'"\uD800"'), "not TOML"),
    ("newline in a string", placed("session.name", '"a\nb"'), "not TOML"),
    ("control character", b'[feed]\nkind = "synth\x01etic"\n', "not TOML"),
    ("zero byte", b'[feed]\nkind = "synthetic\x00"\n', "not TOML"),
    ("carriage return", b'[feed]\rkind = "synthetic"\r', "not TOML"),
    ("no date", placed("feed.start", "2023-02-30"), "not TOML"),
    ("same key twice", b'[feed]\nkind = "synthetic"\nkind = "replay"\n', "not TOML"),
    ("same table twice", b'[feed]\nkind = "synthetic"\n[session]\nseed = 1\n[session]\ncandles = 5\n', "not TOML"),
    ("table and key", b'feed = { kind = "synthetic" }\n[feed]\nwarmup = 5\n', "not TOML"),
    ("key and table", b'feed.kind = "synthetic"\n[feed.kind]\na = 1\n', "not TOML"),
    ("json", b'{"feed": {"kind": "synthetic"}}', "not TOML"),
    ("yaml", b"feed:\n  kind: synthetic\n", "not TOML"),
    ("ini", b"[feed]\nkind = synthetic\n; a comment\n", "not TOML"),
    ("xml", b"<feed><kind>synthetic</kind></feed>", "not TOML"),
    ("deep array", b"x = " + b"[" * 5000 + b"]" * 5000, "not"),
    ("deep table", b"x = " + b"{a=" * 3000 + b"1" + b"}" * 3000, "not"),
    ("deep dotted", b"a" + b".a" * 3000 + b" = 1\n", "nested too deeply"),
    ("byte order mark", codecs.BOM_UTF8 + START.encode(), "byte order mark"),
    ("utf-16", START.encode("utf-16"), "not UTF-8"),
    ("utf-32", START.encode("utf-32"), "not UTF-8"),
    ("latin-1", '[session]\nname = "é"\n'.encode("latin-1"), "not UTF-8"),
    ("surrogate", b'[session]\nname = "\xed\xa0\x80"\n', "not UTF-8"),
    ("png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8"),
    ("gzip", b"\x1f\x8b\x08\x00" + bytes(200), "not UTF-8"),
    ("zip", b"PK\x03\x04" + bytes(200), "not TOML"),
    ("elf", b"\x7fELF\x02\x01\x01" + bytes(200), "not TOML"),
    ("zeros", bytes(5000), "not TOML"),
    ("huge", b"# " + b"x" * 1_000_001, "larger than 1000000 bytes"),
    ("long line", b"x = '" + b"y" * 900_000 + b"'\n", "unknown key"),
    ("many keys", START.encode() + b"".join(b"k%d = 1\n" % i for i in range(5000)), "unknown key"),
    ("many tables", START.encode() + b"".join(b"[t%d]\nk = 1\n" % i for i in range(3000)), "unknown key"),
    ("sqlite", b"SQLite format 3\x00" + bytes(200), "not TOML"),
    ("a config within an array", b'[[feed]]\nkind = "synthetic"\n', "feed: is a table"),
    ("text for a table", b'feed = "synthetic"\n', "feed: is a table"),
    ("number for a table", START.encode() + b"session = 5\n", "session: is a table"),
    ("array for a table", START.encode() + b"levels = []\n", "levels: is a table"),
    ("date for a table", START.encode() + b"pool = 2021-01-01\n", "pool: is a table"),
    ("flag for a level", START.encode() + b"[levels]\nevolution = true\n", "levels.evolution: is a table"),
]

KEYS = [
    ("unknown table", START + "[sesion]\nseed = 1\n", "unknown key; did you mean session"),
    ("upper case", '[FEED]\nkind = "synthetic"\n', "FEED: unknown key"),
    ("unknown key", START + "[session]\nsead = 1\n", "session.sead: unknown key; did you mean session.seed?"),
    ("in another table", START + "[session]\ncapital = 5.0\n", "did you mean pool.capital?"),
    ("unknown level", START + "[levels.evolutions]\nevery = 5\n", "levels.evolutions: unknown key"),
    ("unknown in a level", START + "[levels.evolution]\nevry = 5\n", "did you mean levels.evolution.every?"),
    ("top level", "seed = 1\n" + START, "seed: unknown key; did you mean session.seed?"),
    ("unicode key", START + '[session]\n"sëed" = 1\n', "did you mean session.seed?"),
    ("empty key", START + '[session]\n"" = 1\n', "unknown key"),
    ("spaced key", START + '[session]\n"seed " = 1\n', "did you mean session.seed?"),
    ("emoji", START + '"🙂" = 1\n', "unknown key"),
    ("newline in a key", START + '"a\\nb" = 1\n', "unknown key"),
    ("long key", START + "k" * 5000 + " = 1\n", "unknown key"),
    ("fee", START + "[exchange.fees]\ntakr = 0.1\n", "did you mean exchange.fees.taker?"),
    ("synthetic key", '[feed]\nkind = "synthetic"\n[feed.synthetic]\nmodes = "null"\n', "feed.synthetic.mode?"),
    ("api key", START + '[exchange]\napi_key = "x"\n', "credentials are refused"),
    ("apiKey", START + '[exchange]\napiKey = "x"\n', "credentials are refused"),
    ("secret", START + '[exchange]\nsecret = ""\n', "credentials are refused"),
    ("password", START + '[store]\npassword = "x"\n', "credentials are refused"),
    ("passphrase", 'passphrase = "x"\n' + START, "credentials are refused"),
    ("private key", START + '[exchange]\nprivate-key = "x"\n', "credentials are refused"),
    ("token", START + '[exchange.options]\ntoken = "x"\n', "credentials are refused"),
    ("in the options", START + '[exchange.options]\ndeep = { API_SECRET = "x" }\n', "credentials are refused"),
    ("in an array", START + '[[exchange.options.list]]\nsecret = "x"\n', "credentials are refused"),
    ("uid", START + "[exchange]\nuid = 5\n", "credentials are refused"),
    ("wallet", START + '[exchange]\nwalletAddress = "0x"\n', "credentials are refused"),
    (
        "user in an address",
        START + '[exchange]\nurls = { public = "http://me:x@host" }\n',
        "must not carry credentials",
    ),
    ("no address", START + '[exchange]\nurls = { public = "host" }\n', "is no address"),
    ("ftp", START + '[exchange]\nurls = { public = "ftp://host" }\n', "is no address"),
]

VALUES = [
    ("session.seed", "-1", "greater than or equal to 0"),
    ("session.seed", str(2**63), "less than or equal to"),
    ("session.seed", "1.0", "valid integer"),
    ("session.seed", "true", "valid integer"),
    ("session.candles", "0", "greater than or equal to 1"),
    ("session.candles", "1000000001", "less than or equal to"),
    ("session.name", '"latest"', "is no run name"),
    ("session.name", '"7"', "is no run name"),
    ("session.name", '"a b"', "is no run name"),
    ("session.name", '"../x"', "is no run name"),
    ("session.name", '"' + "a" * 65 + '"', "is no run name"),
    ("session.name", '"näme"', "is no run name"),
    ("session.checkpoint_every", "0", "greater than or equal to 1"),
    ("feed.kind", '"Synthetic"', "did you mean 'synthetic'?"),
    ("feed.symbols", "[]", "needs at least 1"),
    ("feed.symbols", '"BTC/USDT"', "tuple"),
    ("feed.symbols", '["BTCUSDT"]', "BTCUSDT"),
    ("feed.symbols", '["BTC/USDT", "BTC/USDT"]', "stands there twice"),
    ("feed.symbols", '["BTC/USDT", "BTC/USDT:USDT"]', "stands there twice"),
    ("feed.symbols", '["BTC/EUR"]', "not quoted in USDT"),
    ("feed.symbols", '["BTC/USD:BTC"]', "BTC/USD:BTC"),
    ("feed.symbols", '["../../etc/passwd"]', "passwd"),
    ("feed.symbols", '["/USDT"]', "/USDT"),
    ("feed.base_timeframe", '"7m"', "must be one of"),
    ("feed.base_timeframe", '"60m"', "did you mean 1h?"),
    ("feed.base_timeframe", '"1H"', "did you mean 1h?"),
    ("feed.base_timeframe", "60", "valid string"),
    ("feed.timeframes", '["1m"]', "is no multiple of base_timeframe"),
    ("feed.timeframes", '["4h", "1h"]', "each once, from short to long"),
    ("feed.timeframes", '["1h", "1h"]', "each once, from short to long"),
    ("feed.start", '"yesterday"', "is no time"),
    ("feed.start", "-5", "greater than or equal to 0"),
    ("feed.start", '"2023-13-01"', "is no time"),
    ("feed.start", "1e12", "valid integer"),
    ("feed.end", "0\nstart = 5", "start must lie before end"),
    ("feed.warmup", "-1", "greater than or equal to 0"),
    ("feed.gaps", '"fill"', "input should be 'record'"),
    ("feed.synthetic.mode", '"bull"', "input should be"),
    ("feed.synthetic.schedule", '[["moon", 5]]', "input should be"),
    ("feed.synthetic.schedule", '[["bull", 5, 6]]', "schedule"),
    ("feed.synthetic.schedule", '[["bull", -5]]', "greater than or equal to 1"),
    ("feed.synthetic.edge", "11.0", "less than or equal to 10"),
    ("feed.synthetic.edge", "0.5\nmode = 'null'", "neither schedule nor edge"),
    ("feed.synthetic.holes", "0.9", "less than or equal to 0.5"),
    ("exchange.market_type", '"future"', "input should be"),
    ("exchange.market_type", '"margin"', "input should be"),
    ("exchange.fees", "{ maker = -0.0001 }", "greater than or equal to 0"),
    ("exchange.fees", "{ taker = 1.5 }", "less than or equal to 1"),
    ("exchange.fees", "0.001", "is a table"),
    ("exchange.slippage", "1.5", "less than or equal to 1"),
    ("exchange.participation", "-0.1", "greater than or equal to 0"),
    ("exchange.path", '"worst"', "input should be"),
    ("exchange.latency_candles", "-1", "greater than or equal to 0"),
    ("exchange.stall_seconds", "0.0", "greater than 0"),
    ("exchange.tiers", '""', "at least 1 character"),
    ("population.size", "0", "greater than or equal to 1"),
    ("population.size", "1000001", "less than or equal to 1000000"),
    ("population.size", "2.5", "valid integer"),
    ("population.archetypes", "[]", "needs at least 1"),
    ("population.archetypes", '["trend", "trend"]', "stands there twice"),
    ("population.archetypes", '["trand"]', "trand"),
    ("pool.capital", "0.0", "greater than 0"),
    ("pool.capital", "-1.0", "greater than 0"),
    ("pool.capital", "nan", "finite"),
    ("pool.capital", "inf", "finite"),
    ("pool.capital", "1e11", "less than or equal to"),
    ("pool.capital", '"1000000"', "valid number"),
    ("pool.currency", '""', "at least 1 character"),
    ("pool.currency", '"US DT"', "pattern"),
    ("pool.reserve", "1.1", "less than or equal to 1"),
    ("pool.compounding", '"yes"', "valid boolean"),
    ("levels.evolution.every", "0", "greater than or equal to 1"),
    ("levels.evolution.cull", "1.01", "less than or equal to 1"),
    ("levels.pool.every", '"1w"', "valid integer"),
    ("levels.pool.enabled", "1", "valid boolean"),
    ("store.url", '"mysql://host/db"', "mysql"),
    ("store.url", '"nonsense://x"', "nonsense"),
    ("engine.threads", "0", "greater than or equal to 1"),
    ("engine.threads", "1025", "less than or equal to 1024"),
    ("engine.executor", '"gpu"', "input should be"),
    ("engine.device", '"tpu"', "input should be"),
]  # fmt: skip

BROKEN = (
    TOML
    + [(name, text.encode(), line) for name, text, line in KEYS]
    + [(f"{key} = {value}"[:60], placed(key, value), line) for key, value, line in VALUES]
)

SETS = [
    ("", "write dotted.key=value"),
    ("session.seed", "write dotted.key=value"),
    ("=5", "not a dotted key"),
    ("session..seed=5", "not a dotted key"),
    ("session seed=5", "not a dotted key"),
    (".seed=5", "not a dotted key"),
    ("a\nb=5", "write dotted.key=value"),
    ("session.seed=", "is no TOML value"),
    ("session.seed=1 2", "is no TOML value"),
    ("session.seed=[1", "is no TOML value"),
    ("session.seed=1\nfeed.kind='replay'", ""),
    ("session.seed={", "is no TOML value"),
    ("session.seed=x", "valid integer"),
    ("session.seed=-1", "greater than or equal to 0"),
    ("session.sed=1", "did you mean session.seed?"),
    ("seed=1", "did you mean session.seed?"),
    ("session=5", "session: is a table"),
    ("session.seed.x=1", "session.seed"),
    ("feed.kind.x=1", "feed.kind is no table"),
    ("exchange.apiKey=x", "credentials are refused"),
    ("exchange={secret='x'}", "credentials are refused"),
    ("pool.capital=nan", "finite"),
    ("pool.capital=1e400", "finite"),
    ("pool.currency=EUR", ""),
    ("population.size=1e3", "valid integer"),
    ("feed={}", "feed.kind: required"),
    ("feed.symbols=BTC/USDT", "tuple"),
    ("feed.start=2021-01-01T25:00", "is no"),
    ("feed.start=2021-01-01", ""),
    ("population.archetypes=['trand']", "trand"),
]
