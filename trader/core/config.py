"""The config: one frozen tree, the same for the command line, Python, the stored run and the documentation.

Written as TOML; unknown keys are refused with a suggestion, credentials are refused always
(`trader.core.config_file`). The canonical JSON of the tree and its hash are stored with every run; fields marked
`outside_hash` (store, threads, executor, data paths, speed, checkpoint cadence, the run's name) change where and how
fast a run happens and not what happens, so the hash leaves them out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, Strict, model_validator

from trader.core.config_evaluation import EvaluationConfig
from trader.core.config_file import check, read
from trader.core.config_levels import LevelsConfig
from trader.core.config_section import Section
from trader.core.config_values import (
    LARGEST_CAPITAL,
    Amount,
    Count,
    Flag,
    Fraction,
    JsonValue,
    MarkedFile,
    Plugin,
    RunName,
    Seed,
    Symbol,
    Text,
    Timeframe,
    TimeMs,
    WebAddress,
    split_marked,
)
from trader.core.timeframes import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.config import JsonDict

USUAL_TIMEFRAMES: Final = ("1m", "5m", "15m", "1h", "4h", "1d")
"""Where the default of `feed.timeframes` is taken from."""

DEFAULT_FEES: Final = {"spot": (0.001, 0.001), "swap": (0.0002, 0.0005)}
"""Maker and taker fee of Binance's lowest tier, as fractions of the notional (fee schedule of 2026-11)."""

OUTSIDE_HASH: Final[JsonDict] = {"outside_hash": True}


def usable_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in alphabetical order, so that the order in the file means nothing.

    Raises:
        ValueError: a name stands there twice.
    """
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice} stands there twice")
    return tuple(sorted(names))


class SessionConfig(Section):
    """What is run, from which seed, for how long."""

    name: RunName | None = Field(
        None, description="name of the run; `RUN` of every command may be this", json_schema_extra=OUTSIDE_HASH
    )
    seed: Seed = Field(0, description="every random number of the run comes from it")
    candles: Count | None = Field(
        None, description="stop after so many frames of the base timeframe, warm-up not counted"
    )
    checkpoint_every: Count = Field(
        5_000, description="base candles between two checkpoints", json_schema_extra=OUTSIDE_HASH
    )
    checkpoint_keep: Count = Field(
        100_000,
        description="beside the last two, one checkpoint per so many base candles is kept",
        json_schema_extra=OUTSIDE_HASH,
    )


class SyntheticConfig(Section):
    """What kind of made-up market it is."""

    mode: Literal["regimes", "planted", "null"] = Field(
        "regimes",
        description="`regimes`: bull, bear, range and crash; `planted`: trends and ranges with an edge that is known to "
        "pay after costs; `null`: no edge at all, a martingale",
    )
    schedule: tuple[tuple[Literal["bull", "bear", "range", "crash"], Count], ...] = Field(
        (),
        description='regimes in order with their length in base candles, repeated, as `[["bull", 2000], ["bear", 2000]]`; '
        "default: drawn from the seed",
    )
    edge: Annotated[float, Strict(), Field(ge=0, le=10, allow_inf_nan=False)] = Field(
        1.0, description="factor on everything predictable: drifts and pulls"
    )
    correlation: Fraction = Field(0.7, description="of the shocks of any two markets")
    holes: Annotated[float, Strict(), Field(ge=0, le=0.5, allow_inf_nan=False)] = Field(
        0.0, description="share of candles that are missing"
    )

    @model_validator(mode="after")
    def _null_has_nothing(self) -> Self:
        if self.mode == "null" and (self.schedule or self.edge != 1.0):
            raise ValueError("mode null has neither schedule nor edge: nothing in it is predictable")
        return self


class FeedConfig(Section):
    """Where candles come from."""

    kind: Literal["synthetic", "replay", "live"] = Field(
        description="`synthetic`: a seeded made-up market; `replay`: files of history; `live`: an exchange, as it trades"
    )
    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1), AfterValidator(in_order)] | None = Field(
        None, description="markets, BASE/QUOTE; default: all that the feed has"
    )
    base_timeframe: Timeframe = Field("1h", description="the candle the session steps on")
    timeframes: tuple[Timeframe, ...] = Field(
        (), description="timeframes agents decide on; default: the base and the next two of 1m, 5m, 15m, 1h, 4h, 1d"
    )
    data: tuple[Text, ...] = Field(
        (), description="files or folders of candles, as `--data`", json_schema_extra=OUTSIDE_HASH
    )
    signals: MarkedFile | None = Field(
        None,
        description="file of entries and exits that the archetype `signal` follows (docs/archetypes.md); the hash of what "
        "is in it is kept with the run",
    )
    start: TimeMs | None = Field(None, description="first candle (inclusive), ISO or ms, UTC")
    end: TimeMs | None = Field(None, description="last candle (exclusive), ISO or ms, UTC")
    speed: Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)] = Field(
        0.0,
        description="pace of a replay in market seconds per second; 0: as fast as possible; means nothing live",
        json_schema_extra=OUTSIDE_HASH,
    )
    warmup: Amount | None = Field(
        None,
        description="base candles of history before `start`, live before the first live candle; default: what the "
        "longest timeframe needs",
    )
    gaps: Literal["record"] = Field("record", description="holes are recorded as incidents and never filled")
    synthetic: SyntheticConfig = Field(SyntheticConfig(), description="the made-up market of `synthetic`")

    @model_validator(mode="before")
    @classmethod
    def _default_timeframes(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("timeframes") is None:
            base = data.get("base_timeframe", cls.model_fields["base_timeframe"].default)
            if isinstance(base, str):
                return {**data, "timeframes": default_timeframes(base)}
        return data

    @model_validator(mode="after")
    def _live(self) -> Self:
        if self.kind == "live":
            if not self.symbols:
                raise ValueError("symbols: a live session needs at least one market, for example BTC/USDT")
            for name, value in (("start", self.start), ("end", self.end), ("data", self.data or None)):
                if value is not None:
                    raise ValueError(f"{name}: means nothing in a live session; session.candles limits it")
            if self.signals is not None:
                raise ValueError("signals: a file cannot know what a live market will do; replay it over history")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("start must lie before end")
        base = milliseconds(self.base_timeframe)
        for timeframe in self.timeframes:
            if milliseconds(timeframe) % base:
                raise ValueError(f"timeframes: {timeframe} is no multiple of base_timeframe {self.base_timeframe}")
        if list(self.timeframes) != sorted(set(self.timeframes), key=milliseconds):
            raise ValueError("timeframes: each once, from short to long")
        return self


class FeesConfig(Section):
    """Trading fees as fractions of the notional."""

    maker: Fraction = Field(0.0002, description="fee of a limit order that waited; default by market_type")
    taker: Fraction = Field(0.0005, description="fee of a market order; default by market_type")


class ExchangeConfig(Section):
    """The paper exchange: who is imitated, and at what cost."""

    id: Text = Field(
        "binance", description="exchange that is imitated (ccxt's name); chooses the venue's folder of the candle store"
    )
    market_type: Literal["spot", "swap"] = Field(
        "swap", description="`swap`: linear perpetuals (shorts, leverage, funding); `spot`: long only"
    )
    fees: FeesConfig = Field(FeesConfig(), description="{ maker, taker }")
    slippage: Fraction = Field(
        0.0002, description="half the spread: what a market order pays on top, as a fraction of the price"
    )
    impact: Fraction = Field(0.01, description="price impact = this × √(the population's demand ÷ the candle's volume)")
    participation: Fraction = Field(
        0.1, description="largest share of a candle's volume that all agents together may trade"
    )
    tiers: Text | None = Field(
        None,
        description="JSON file of leverage tiers; default: those of the instruments, else one, 0.5 % maintenance, 20x",
    )
    instruments: Text | None = Field(
        None,
        description="JSON file of ticks, lots, minima, fees and tiers (`trader data instruments`, or ccxt's markets); "
        "default: the table that ships for the exchange, and 1e-8 for what it does not know",
    )
    funding: Flag = Field(True, description="charge funding at the stamps of the feed (swap only)")
    path: Literal["colour", "pessimistic", "random", "detail"] = Field(
        "colour",
        description="order of high and low inside a candle: `colour` (a falling candle goes high first), "
        "`pessimistic` (what hurts comes first), `random` (drawn with the measured probability), `detail` (as finer "
        "candles of the same files say, else `colour`)",
    )
    latency_candles: Amount = Field(0, description="further candles between a decision and its fill")
    urls: dict[Text, WebAddress] = Field(
        {},
        description="live: replace public addresses of the exchange library (dotted paths under ccxt's `urls.api`), as "
        '`{ "public" = "http://…", "ws.spot" = "ws://…" }`',
    )
    options: dict[Text, JsonValue] = Field({}, description="live: options of the exchange library (ccxt's `options`)")
    stall_seconds: Annotated[float, Strict(), Field(gt=0, le=86_400, allow_inf_nan=False)] = Field(
        60.0,
        description="live: a stream that is silent for so long is redialled; also the longest pause between attempts",
    )
    confirm: Literal["flag", "rest"] = Field(
        "flag",
        description="live: a candle is closed when the exchange's own flag says so, or a later one and REST confirm it "
        "(`flag`); `rest`: REST confirms every candle",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_fees(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("fees", {}), dict):
            return data
        maker, taker = DEFAULT_FEES["spot" if data.get("market_type") == "spot" else "swap"]
        return {**data, "fees": {"maker": maker, "taker": taker, **data.get("fees", {})}}


class ControlsConfig(Section):
    """Agents that do not evolve and stand beside those that do."""

    frozen: Fraction = Field(0.0, description="share of the population that are twins of founders and never change")
    random: Fraction = Field(0.0, description="share that is replaced by random agents each generation")

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.frozen + self.random > 1.0:
            raise ValueError("frozen and random are shares of one population: their sum must be at most 1")
        return self


class PopulationConfig(Section):
    """The agents."""

    size: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = Field(200, description="number of living agents")
    archetypes: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(in_order)] | None = Field(
        None, description="trading ideas to use; default: all there are"
    )
    plugins: tuple[Plugin, ...] = Field(
        (),
        description="Python files with archetypes of your own (docs/archetypes.md); the hash of each is kept with the run",
    )
    grid: Annotated[int, Strict(), Field(ge=1, le=100)] = Field(
        1,
        description="cells along each of the two axes of behaviour by which parents are chosen and agents archived; 1: off",
    )
    elites: Fraction = Field(
        0.0, description="best share of the judged agents that is not culled; it is judged again each generation"
    )
    islands: Annotated[int, Strict(), Field(ge=1, le=1000)] = Field(
        1, description="sub-populations that breed apart and exchange agents in a ring; 1: off"
    )
    controls: ControlsConfig = Field(ControlsConfig(), description="{ frozen, random }: shares of control agents")


class CapsConfig(Section):
    """Largest shares of the pool."""

    agent: Fraction = Field(1.0, description="of one agent")
    archetype: Fraction = Field(1.0, description="of all agents of one archetype")
    market: Fraction = Field(1.0, description="of all agents of one market")


class PoolConfig(Section):
    """The capital that all agents share."""

    capital: Annotated[float, Strict(), Field(gt=0, le=LARGEST_CAPITAL, allow_inf_nan=False)] = Field(
        1_000_000.0, description="deposit at the start, in `currency`"
    )
    currency: Annotated[Text, Field(pattern=r"^[^\s/:]+$")] = Field(
        "USDT", description="quote currency of every market of the session"
    )
    compounding: Flag = Field(True, description="grants follow the pool's equity (true) or the first deposit (false)")
    rule: Literal["equal", "inverse_volatility", "half_kelly", "buy_and_hold", "fixed_share", "hrp", "mixture"] = Field(
        "equal",
        description="how capital is divided: `equal` shares, `inverse_volatility`, `half_kelly` on shrunken estimates, "
        "`buy_and_hold` of agents, `fixed_share`, `hrp` (hierarchical risk parity), or a `mixture` of all by what each "
        "would have earned",
    )
    reserve: Fraction = Field(0.0, description="share of the capital that is never granted")
    caps: CapsConfig = Field(
        CapsConfig(),
        description="{ agent, archetype, market }: largest shares; what a cap cuts off stays in the pool's cash",
    )
    max_drawdown: Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        1.0, description="fall of equity from its peak at which new entries stop; 1: never"
    )
    rearm: Literal["recovery", "wait", "never"] = Field(
        "recovery",
        description="when entries are allowed again after `max_drawdown`: at `recovery` above the limit; after a `wait` of "
        "`rearm_after` candles, from when on falls are measured from the equity of that moment; or `never`",
    )
    rearm_after: Count = Field(720, description="base candles that entries stop, with `rearm` = `wait`")
    cushion: Flag = Field(
        False, description="hand out less the nearer the drawdown comes to `max_drawdown`, and nothing there"
    )


class MonitorConfig(Section):
    """What a running session tells the outside; all off by default, and none of it changes a row."""

    metrics_file: Text | None = Field(
        None, description="figures in Prometheus' text form, replaced in one step at most once a second"
    )
    metrics_port: Annotated[int, Strict(), Field(ge=1, le=65_535)] | None = Field(
        None, description="the same at http://127.0.0.1:PORT/metrics"
    )
    webhook: WebAddress | None = Field(
        None, description="address that gets a JSON POST on every incident and at the end (http or https)"
    )

    @model_validator(mode="after")
    def _posts(self) -> Self:
        if self.webhook is not None and not self.webhook.startswith(("http://", "https://")):
            raise ValueError("webhook: starts with http:// or https://")
        return self


class StoreConfig(Section):
    """Where the rows go."""

    url: Text | None = Field(
        None, description="`sqlite:///FILE`, `postgresql+psycopg://…` or `memory`; `--db` overrides it"
    )


class EngineConfig(Section):
    """How the work is done; changes no result."""

    threads: Annotated[int, Strict(), Field(ge=1, le=1024)] = Field(
        default_factory=usable_processors,
        description="threads of the kernel; default: the usable processors",
        json_schema_extra=OUTSIDE_HASH,
    )
    executor: Literal["serial"] = Field("serial", description="`serial`: one process", json_schema_extra=OUTSIDE_HASH)
    device: Literal["cpu"] = Field("cpu", description="device of the learning library")


class Config(Section):
    """The whole config of a session."""

    session: SessionConfig = Field(SessionConfig(), description="what is run, from which seed, for how long")
    feed: FeedConfig = Field(description="where candles come from")
    exchange: ExchangeConfig = Field(ExchangeConfig(), description="the paper exchange and its costs")
    population: PopulationConfig = Field(PopulationConfig(), description="the agents")
    pool: PoolConfig = Field(PoolConfig(), description="the capital all agents share")
    levels: LevelsConfig = Field(LevelsConfig(), description="the learning levels and their clocks")
    store: StoreConfig = Field(StoreConfig(), description="where the rows go", json_schema_extra=OUTSIDE_HASH)
    engine: EngineConfig = Field(EngineConfig(), description="how the work is done; changes no result")
    monitor: MonitorConfig = Field(
        MonitorConfig(), description="what a running session tells the outside", json_schema_extra=OUTSIDE_HASH
    )
    evaluation: EvaluationConfig = Field(
        EvaluationConfig(), description="how `trader evaluate` cuts history", json_schema_extra=OUTSIDE_HASH
    )

    @model_validator(mode="after")
    def _signals_are_followed(self) -> Self:
        named = self.population.archetypes or ()
        if self.feed.signals is None and "signal" in named:
            raise ValueError("population.archetypes: signal follows a file: name it by feed.signals")
        if self.feed.signals is not None and named and "signal" not in named:
            raise ValueError("feed.signals: population.archetypes names no `signal`, so nobody would follow the file")
        return self

    @model_validator(mode="after")
    def _detail_needs_files(self) -> Self:
        if self.feed.kind != "replay" and self.exchange.path == "detail":
            raise ValueError(
                "exchange.path: detail needs files of finer candles, so a replay; "
                f"{self.feed.kind} takes colour, pessimistic or random"
            )
        return self

    @model_validator(mode="after")
    def _one_currency(self) -> Self:
        for symbol in self.feed.symbols or ():
            if symbol.partition("/")[2] != self.pool.currency:
                currency = self.pool.currency
                raise ValueError(f"feed.symbols: {symbol} is not quoted in {currency}, the currency of the pool")
        return self


def default_timeframes(base: str) -> tuple[str, ...]:
    """The base timeframe and the next two usual ones that are multiples of it (fewer where there are none)."""
    usual = {name: milliseconds(name) for name in USUAL_TIMEFRAMES}
    try:
        base_ms = milliseconds(base)
    except Exception:  # noqa: BLE001 - the field's own check names the rule
        return ()
    longer = [name for name, length in usual.items() if length > base_ms and length % base_ms == 0]
    return (base, *longer[:2])


def load(path: Path | str | None, sets: Sequence[str] = (), overrides: Mapping[str, object] | None = None) -> Config:
    """Config of a TOML file (of nothing if `path` is None) with `--set` texts and then `overrides` put over it.

    `sets` are texts `dotted.key=value`; `overrides` maps dotted keys to values of other command line options.

    Raises:
        UserError: one line `file: key: rule`.
    """
    return read(Config, path, sets, overrides or {})


def from_json(text: str) -> Config:
    """Config from its canonical JSON, as a run's row holds it.

    Raises:
        UserError: the JSON breaks a rule of this version.
    """
    return check(Config, json.loads(text), "stored config", {})


def canonical_json(config: Config, *, hashed_only: bool = False) -> str:
    """The tree as canonical JSON: sorted keys, no spaces, ASCII; a password in `store.url` is masked.

    `hashed_only` leaves out what the hash leaves out.
    """
    tree = as_dict(config, hashed_only=hashed_only)
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Config) -> str:
    """SHA-256 (hex) of the canonical JSON of everything that can change a result."""
    return hashlib.sha256(canonical_json(config, hashed_only=True).encode()).hexdigest()


def mask_password(url: str) -> str:
    """A database URL without the password in it."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)


def json_schema() -> dict[str, Any]:
    """JSON schema of the config file."""
    return Config.model_json_schema()


def as_dict(section: BaseModel, *, hashed_only: bool = False) -> dict[str, Any]:
    """The tree as nested dicts in the order of the file; a password in `url` is masked."""
    result: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        if hashed_only and isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("outside_hash"):
            continue
        value = getattr(section, name)
        if name == "url" and value is not None:
            value = mask_password(value)
        if name == "plugins" and hashed_only:
            value = sorted(f"{Path(path).stem}#{digest}" for path, digest in map(split_marked, value))
        if name == "signals" and hashed_only:
            if value is None:
                continue  # the hash of every config without signals is what it was before there were any
            value = split_marked(value)[1]
        result[name] = as_dict(value, hashed_only=hashed_only) if isinstance(value, BaseModel) else value
    return result
