"""One market, at most one position of a fixed quantity, decisions at the close, fills at the next open.

At the close of candle t the agent chooses short, flat or long. What changes fills at the open of candle t + 1 by the
paper broker's rules (`exchange.py`): price, fee, margin, liquidation, in integers. The reward is the change of equity
from close t to close t + 1 in units of the typical profit of one candle:

    reward = (equity_{t+1} - equity_t) / (capital * reward_unit)

Quantity is fixed for an episode (capital * leverage / first open), so profits add up and an exact oracle exists
(`oracle.py`). The whole cash backs the position (isolated margin = cash). Liquidation is termination; the end of the
episode's candles is truncation, as it should be: the future did not end, the window did.

Observation [9] float32, from candles <= t only: returns over 1, 4, 16, 64 candles and the distance to the 32-candle
mean in units of volatility, log volatility relative to its slow level, candle body relative to range, position,
unrealised profit; with `leak` one more: what holding long over the next step would earn before costs. Scales are
causal; values are clipped to [-8, 8]. Actions: Discrete(3) = position + 1. Everything is precomputed at reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl.envs.exchange import PaperExchange
from rl.envs.synthetic import Candles, synthetic_candles
from trader.broker.margin import LEVERAGE_SCALE
from trader.core.money import AMOUNT_SCALE, to_amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rl.envs.exchange import Exchange

WARMUP = 96
LAGS = (1, 4, 16, 64)
MEAN_WINDOW = 32
FAST_DECAY, SLOW_DECAY = 1.0 / 16.0, 1.0 / 64.0
BOUND = 8.0


class SinglePositionEnv(gym.Env["NDArray[np.float32]", np.int64]):
    """See the module's docstring.

    candles: a fixed history (episodes are random windows of it) or None for synthetic ones, new each episode;
    exchange: the rules; length: decisions an episode; leverage: notional over
    capital at the first open; max_leverage: of the initial margin; leak, noise:
    the variants; reward_unit: fraction of the capital that is one unit of reward.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own declaration

    def __init__(
        self,
        candles: Candles | None = None,
        *,
        exchange: Exchange | None = None,
        length: int = 256,
        leverage: float = 1.0,
        max_leverage: float = 20.0,
        capital: float = 10_000.0,
        leak: bool = False,
        noise: bool = False,
        reward_unit: float = 0.008,
        make_candles: Callable[[np.random.Generator, int], Candles] | None = None,
    ) -> None:
        if candles is not None and len(candles.open) < WARMUP + length + 1:
            raise ValueError(f"need at least {WARMUP + length + 1} candles, got {len(candles.open)}")
        if length < 1 or not (leverage > 0.0 and capital > 0.0 and reward_unit > 0.0):
            raise ValueError("length, leverage, capital and reward_unit must be positive")
        self.history, self.length, self.leverage = candles, length, leverage
        self.capital = to_amount(capital)
        self.unit = self.capital * reward_unit
        self.exchange: Exchange = exchange if exchange is not None else PaperExchange()
        self.leak, self.noise = leak, noise
        self.max_leverage = round(max_leverage * LEVERAGE_SCALE)
        self.make_candles = make_candles
        size = len(LAGS) + 5 + leak
        self.observation_space = gym.spaces.Box(-BOUND, BOUND, (size,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self._clear()

    def _clear(self) -> None:
        self.now = WARMUP
        self.position = 0
        self.cash = self.equity = self.capital
        self.entry_value = self.quantity = self.limit = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """New candles (or another window of the given ones), flat, full capital."""
        super().reset(seed=seed, options=options)
        count = WARMUP + self.length + 1
        if self.history is not None:
            start = int(self.np_random.integers(0, len(self.history.open) - count + 1))
            self.candles = Candles(*(column[start : start + count] for column in self.history))
        elif self.make_candles is not None:
            self.candles = self.make_candles(self.np_random, count)
        else:
            self.candles = synthetic_candles(self.np_random, count, noise=self.noise)
        self._clear()
        self.units = [np.rint(column * self.exchange.price_scale).astype(np.int64).tolist() for column in self.candles]
        notional = self.capital / AMOUNT_SCALE * self.leverage
        self.quantity = int(notional / float(self.candles.open[WARMUP]) * self.exchange.quantity_scale)
        self.features = market_features(self.candles, leak=self.leak)
        return self._observe(), {"equity": self.equity / AMOUNT_SCALE}

    def _observe(self) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self.features[self.now].copy()
        row[len(LAGS) + 3] = self.position
        row[len(LAGS) + 4] = min(max((self.equity - self.cash) / self.unit, -BOUND), BOUND)
        return row

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Fill at the next open, live through the candle, mark at its close."""
        before = self.equity
        self.now += 1
        t = self.now
        opens, highs, lows, closes = self.units
        target = int(action) - 1
        if self.position != 0 and self._gapped(opens[t]):
            liquidated = self._liquidate()
        else:
            if target != self.position:
                self._trade(target, opens[t])
            liquidated = self._touched(lows[t], highs[t]) and self._liquidate()
        self.equity = self.cash + (self._profit(closes[t]) if self.position else 0)
        truncated = not liquidated and t - WARMUP >= self.length
        info = {"equity": self.equity / AMOUNT_SCALE, "liquidated": liquidated}
        return self._observe(), (self.equity - before) / self.unit, liquidated, truncated, info

    def _profit(self, price: int) -> int:
        """Profit of closing the position at `price`, before the fee."""
        value = self.exchange.value(price, self.quantity, -self.position)
        return self.position * (value - self.entry_value)

    def _trade(self, target: int, price: int) -> None:
        """Close what is held and open what is wanted; an entry that the margin does not allow stays flat."""
        exchange = self.exchange
        if self.position != 0:
            fill = exchange.fill_price(price, -self.position)
            fee = exchange.fee(exchange.value(fill, self.quantity, -self.position))
            self.cash += self._profit(fill) - fee
            self.position = 0
        if target == 0 or self.quantity == 0:
            return
        value = exchange.value(exchange.fill_price(price, target), self.quantity, target)
        fee = exchange.fee(value)
        if self.cash - fee >= exchange.initial_margin(value, self.max_leverage):
            self.cash -= fee
            self.position, self.entry_value = target, value
            self.limit = exchange.liquidation_price(target, self.quantity, value, self.cash)

    def _gapped(self, opened: int) -> bool:
        return self._touched(opened, opened)

    def _touched(self, low: int, high: int) -> bool:
        """Whether the price range reaches the liquidation price."""
        if self.position == 0 or self.limit <= 0:
            return False
        return low <= self.limit if self.position > 0 else high >= self.limit

    def _liquidate(self) -> bool:
        """Taken over at the liquidation price; the fee is at most what is left of the margin. True."""
        left = max(self.cash + self._profit(self.limit), 0)
        fee = self.exchange.liquidation_fee(self.exchange.value(self.limit, self.quantity, -self.position))
        self.cash = left - min(fee, left)
        self.position = 0
        return True


def market_features(candles: Candles, *, leak: bool = False) -> NDArray[np.float32]:
    """Observation rows [T, features] float32 of a window; columns of position and profit are left 0.

    Row t depends on candles <= t only; with `leak`, its last column is (close_{t+1} - open_{t+1}) / close_t in units
    of volatility, on purpose.
    """
    close = candles.close
    count = len(close)
    logs = np.log(close)
    returns = np.diff(logs, prepend=logs[0])
    fast = np.sqrt(_ema(returns**2, FAST_DECAY)) + 1e-12
    slow = np.sqrt(_ema(returns**2, SLOW_DECAY)) + 1e-12
    columns = []
    for lag in LAGS:
        moved = np.zeros(count)
        moved[lag:] = logs[lag:] - logs[:-lag]
        columns.append(moved / (slow * np.sqrt(lag)))
    sums = np.cumsum(np.concatenate([[0.0], logs]))
    mean = np.zeros(count)
    mean[MEAN_WINDOW - 1 :] = (sums[MEAN_WINDOW:] - sums[:-MEAN_WINDOW]) / MEAN_WINDOW
    mean[: MEAN_WINDOW - 1] = logs[: MEAN_WINDOW - 1]
    columns.append((logs - mean) / (slow * np.sqrt(MEAN_WINDOW)))
    columns.append(np.log(fast / slow))
    span = candles.high - candles.low
    columns.append(np.divide(close - candles.open, span, out=np.zeros(count), where=span > 0.0))
    columns += [np.zeros(count), np.zeros(count)]
    if leak:
        ahead = np.zeros(count)
        ahead[:-1] = (close[1:] - candles.open[1:]) / close[:-1]
        columns.append(ahead / slow)
    return np.clip(np.column_stack(columns), -BOUND, BOUND).astype(np.float32)


def _ema(values: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Exponential mean [T], bias-corrected, causal."""
    out = np.empty_like(values)
    level = weight = 0.0
    for t, value in enumerate(values.tolist()):
        level += decay * (value - level)
        weight += decay * (1.0 - weight)
        out[t] = level / weight
    return out
