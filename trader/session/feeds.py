"""From the configuration to a feed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.core.config import DEFAULT_FEES
from trader.core.config_values import split_marked
from trader.core.features import warmup_frames
from trader.core.timeframes import milliseconds
from trader.core.types import UserError

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.feeds.base import Feed
    from trader.feeds.history import Wanted
    from trader.feeds.instruments import TradingTerms
    from trader.feeds.synthetic import SyntheticFeed
    from trader.feeds.synthetic_oracle import Outcome


def warmup_candles(config: Config) -> int:
    """Base candles of history wanted before the first decision: what the longest timeframe needs, unless told."""
    if config.feed.warmup is not None:
        return config.feed.warmup
    lengths = tuple(milliseconds(name) for name in config.feed.timeframes)
    return warmup_frames(milliseconds(config.feed.base_timeframe), lengths)


def make_feed(config: Config, stopped: Callable[[], bool] = lambda: False) -> Feed:
    """The feed that the configuration names; `stopped` is asked by a live one while it waits.

    Raises:
        UserError: data that is missing, unreadable or wrong.
    """
    if config.feed.kind == "live":
        return _live(config, stopped)
    feed: Feed = _replay(config) if config.feed.kind == "replay" else synthetic_feed(config)
    if config.feed.signals is None:
        return feed
    from trader.feeds.signals import SignalledFeed, read_signals

    return SignalledFeed(feed, read_signals(*split_marked(config.feed.signals)))


def wanted_history(config: Config) -> Wanted:
    """The history that the configuration asks for."""
    from trader.feeds.history import Wanted

    return Wanted(
        exchange=config.exchange.id,
        market_type=config.exchange.market_type,
        base_ms=milliseconds(config.feed.base_timeframe),
        needed=warmup_candles(config),
        start_ms=config.feed.start,
        end_ms=config.feed.end,
    )


def opening_lines(config: Config, feed: Feed) -> list[str]:
    """What a session tells before it starts: of a replay, its data; of any, what its exchange does without."""
    from trader.feeds import history
    from trader.feeds.instruments import instrument_lines

    described = feed.describe()
    lines = history.opening_lines(described, wanted_history(config)) if feed.kind == "replay" else []
    lines += instrument_lines(feed.instruments, f"{config.exchange.id} {config.exchange.market_type}")
    if "signals" in described:
        lines.append("feed.signals: {count} signals of {symbols}, {first} to {last}".format(**described["signals"]))
    return lines + _detail_lines(config, described)


def _detail_lines(config: Config, described: dict[str, Any]) -> list[str]:
    """Which finer candles say the way through a candle, and which symbols have none."""
    if config.exchange.path != "detail":
        return []
    steps = described.get("detail", {})
    lines = [
        f"exchange.path: {symbol}: the way through a candle is taken from its {step}"
        for symbol, step in steps.items()
        if step
    ]
    without = [symbol for symbol in described["symbols"] if not steps.get(symbol)]
    if without:
        lines.append(
            f"exchange.path: no candles finer than {described['step']}, so colour instead of detail: {', '.join(without)}"
        )
    return lines


def _replay(config: Config) -> Feed:
    from trader.feeds.history import MissingHistoryError, download_command

    if not config.feed.data:
        raise UserError("feed.data: a replay needs candles: name a file or folder with --data")
    try:
        return _replay_feed(config)
    except MissingHistoryError as error:
        command = download_command(wanted_history(config), error.symbols or config.feed.symbols or ())
        raise UserError(f"{error}; to get it: {command}") from None


def _replay_feed(config: Config) -> Feed:
    from trader.feeds.replay import ReplayFeed

    return ReplayFeed(
        paths=tuple(Path(path) for path in config.feed.data),
        exchange_id=config.exchange.id,
        market_type=config.exchange.market_type,
        symbols=config.feed.symbols,
        base_ms=milliseconds(config.feed.base_timeframe),
        quote=config.pool.currency,
        start_ms=config.feed.start,
        end_ms=config.feed.end,
        warmup=warmup_candles(config),
        terms=_terms(config),
        detail=config.exchange.path == "detail",
    )


def _live(config: Config, stopped: Callable[[], bool]) -> Feed:
    from trader.feeds.exchange import LiveFeed
    from trader.feeds.exchange_client import Access

    exchange = config.exchange
    access = Access(exchange.id, exchange.market_type, exchange.urls, exchange.options, exchange.stall_seconds)
    return LiveFeed(
        access,
        symbols=config.feed.symbols,
        base_ms=milliseconds(config.feed.base_timeframe),
        warmup=warmup_candles(config),
        confirm=exchange.confirm,
        terms=_terms(config),
        funding=exchange.funding,
        stopped=stopped,
    )


def _terms(config: Config) -> TradingTerms:
    from trader.feeds.instruments import TradingTerms

    exchange = config.exchange
    fees = exchange.fees.maker, exchange.fees.taker
    # fees that are the market type's own are nobody's choice: an instrument's own come before them
    maker, taker = (None, None) if fees == DEFAULT_FEES[exchange.market_type] else fees
    return TradingTerms(
        market_type=exchange.market_type,
        maker=maker,
        taker=taker,
        tiers=Path(exchange.tiers) if exchange.tiers else None,
        instruments=Path(exchange.instruments) if exchange.instruments else None,
        exchange=None if config.feed.kind == "synthetic" else exchange.id,
    )


def synthetic_feed(config: Config) -> SyntheticFeed:
    """The made-up market that the configuration asks for.

    Raises:
        UserError: symbols or times that cannot be.
    """
    from trader.feeds.synthetic import SyntheticFeed
    from trader.feeds.synthetic_modes import SyntheticTerms

    wanted = config.feed.synthetic
    return SyntheticFeed(
        symbols=config.feed.symbols,
        base_ms=milliseconds(config.feed.base_timeframe),
        seed=config.session.seed,
        quote=config.pool.currency,
        start_ms=config.feed.start,
        end_ms=config.feed.end,
        terms=_terms(config),
        warmup=warmup_candles(config),
        market=SyntheticTerms(wanted.mode, wanted.schedule, wanted.edge, wanted.correlation, wanted.holes),
    )


def planted_oracle(config: Config, frames: int | None = None) -> Outcome:
    """What a trader who knows the state of the config's made-up market earns after the config's own costs.

    Positions and returns of the first `frames` traded candles (default: `session.candles`, else to `feed.end`), one
    unit of capital a market, without leverage, impact or compounding: see `trader.feeds.synthetic_oracle`.

    Raises:
        UserError: the feed is not synthetic, or nothing says how many candles.
    """
    from trader.feeds.synthetic_oracle import oracle

    if config.feed.kind != "synthetic":
        raise UserError("feed.kind: only a synthetic market has an oracle")
    frames = frames or config.session.candles
    if frames is None and config.feed.end is None:
        raise UserError("session.candles: an endless market needs a number of candles")
    return oracle(synthetic_feed(config), config.exchange.fees.taker + config.exchange.slippage, frames)
