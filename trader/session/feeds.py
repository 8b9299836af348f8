"""From the configuration to a feed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trader.core.features import warmup_frames
from trader.core.timeframes import milliseconds
from trader.core.types import UserError

if TYPE_CHECKING:
    from trader.core.config import Config
    from trader.feeds.base import Feed
    from trader.feeds.instruments import TradingTerms


def warmup_candles(config: Config) -> int:
    """Base candles of history wanted before the first decision: what the longest timeframe needs, unless told."""
    if config.feed.warmup is not None:
        return config.feed.warmup
    lengths = tuple(milliseconds(name) for name in config.feed.timeframes)
    return warmup_frames(milliseconds(config.feed.base_timeframe), lengths)


def make_feed(config: Config) -> Feed:
    """The feed that the configuration names.

    Raises:
        UserError: data that is missing, unreadable or wrong.
    """
    if config.feed.kind == "replay":
        return _replay(config)
    return _synthetic(config)


def _replay(config: Config) -> Feed:
    from trader.feeds.replay import ReplayFeed

    if not config.feed.data:
        raise UserError("feed.data: a replay needs candles: name a file or folder with --data")
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
    )


def _terms(config: Config) -> TradingTerms:
    from trader.feeds.instruments import TradingTerms

    exchange = config.exchange
    return TradingTerms(
        market_type=exchange.market_type,
        maker=exchange.fees.maker,
        taker=exchange.fees.taker,
        tiers=Path(exchange.tiers) if exchange.tiers else None,
    )


def _synthetic(config: Config) -> Feed:
    from trader.feeds.synthetic import SyntheticFeed

    return SyntheticFeed(
        symbols=config.feed.symbols,
        base_ms=milliseconds(config.feed.base_timeframe),
        seed=config.session.seed,
        quote=config.pool.currency,
        start_ms=config.feed.start,
        end_ms=config.feed.end,
        terms=_terms(config),
        warmup=warmup_candles(config),
    )
