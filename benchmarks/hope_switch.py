"""Cumulative excess error over 200 bars after a regime switch: self-modification against what it has to beat.

    python benchmarks/hope_switch.py [--markets 60]

Excess = Huber loss (squared deviations of the target) above that of an oracle that knows each bar's conditional mean,
summed over the 200 bars after a planted switch at bar 1,500 (or after every hidden switch of random regime markets).
Arms, all on the same candles:
  frozen                 the trained net without fast weights (attention in context)
  HOPE                   two-stage trigger, as shipped
  always on              the shadow in force from bar 64 (no trigger)
  fine-tuned, equal      the frozen net's readout by online normalised SGD on every bar (128 multiply-adds a bar; a
                         fast write takes about 300), rate tuned on markets of its own (the best after a switch, and
                         the best over whole streams of those above zero)
  GRU in context         the frozen GRU of equal training; GRU + HOPE beside it
  random trigger         (control) as many openings, held as long, at random times
  no predictability      (control, second table) returns permuted in time: nothing can help
Intervals: 95 % bootstrap over markets, of the paired difference to frozen. Negative is better than frozen.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.hope_common import Labelled, excess, interval, labelled, planted_markets
from memory import engine
from memory.hope import HOPE
from memory.markets import Market, features, regime_market

BARS, AT, SPAN = 3000, 1500, 200
RATES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)


def predictions(
    hope: HOPE, data: Labelled, force: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(prediction, frozen) [S, T] in deviations, and the step's out [S, T, ·]."""
    out = hope.replay(data.x, np.zeros((data.x.shape[1], 4)), force=force)
    centred = (out[..., engine.OUT : engine.OUT + 2] - data.center[..., None]) / data.scale[..., None]
    return centred[..., 0], centred[..., 1], out


def fine_tuned(hope: HOPE, data: Labelled, rate: float) -> np.ndarray:
    """Online normalised SGD of the readout on the frozen net's embedding, Huber-clipped like the fast weights."""
    frozen_net = HOPE(weights=None, self_modify=False, backbone=hope.config.backbone)
    with torch.no_grad():
        frozen_net.weights.copy_(hope.weights)
    _, frozen, out = predictions(frozen_net, data)
    e = out[..., engine.OUT + 2 : engine.OUT + 2 + hope.config.width]
    w = np.zeros((len(e), e.shape[2]))
    result = np.empty_like(frozen)
    for t in range(e.shape[1]):
        if t > 0:
            error = np.clip(data.y[:, t] - result[:, t - 1], -2.5, 2.5)
            w += rate * error[:, None] * e[:, t - 1] / (1.0 + (e[:, t - 1] ** 2).sum(1, keepdims=True))
        result[:, t] = frozen[:, t] + (w * e[:, t]).sum(1)
    return result


def random_force(out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Openings at random bars, as many as the trigger made, each held for the trigger's mean time in force."""
    episodes = max(1, int(out[..., engine.O_TRIGGERED].sum()))
    hold = max(1, int(out[..., engine.O_MODIFIED].sum() / episodes))
    force = np.full(out.shape[:2], -1, np.int64)
    for _ in range(episodes):
        i, t = int(rng.integers(len(out))), int(rng.integers(64, out.shape[1] - hold - 1))
        force[i, t] = 1
        force[i, t + hold] = 2
    return force


def always(shape: tuple[int, int]) -> np.ndarray:
    force = np.full(shape, -1, np.int64)
    force[:, 64] = 1
    return force


def after_switches(values: np.ndarray, markets: list[Market], span: int) -> np.ndarray:
    """Mean per market of the sums over `span` bars after each switch; values [S, T-1]. Markets without are left out."""
    sums = []
    for row, market in zip(values, markets, strict=True):
        at = [s for s in market.switches if 200 <= s < len(row) - span]
        if at:
            sums.append(np.mean([row[s : s + span].sum() for s in at]))
    return np.array(sums)


def tune_rates(hope: HOPE, seed: int) -> list[float]:
    """Rates tuned on markets of their own: best after a switch, and best of those that move at all over whole streams.

    A rate of zero is the frozen net once more, so a second one says what fine-tuning does where it does something.
    """
    markets = [m for k in ("trend", "correlation", "novel") for m in planted_markets(k, 8, BARS, AT, seed)]
    data = labelled(hope, markets)
    losses = [excess(data, fine_tuned(hope, data, r)) for r in RATES]
    after = int(np.argmin([after_switches(loss, markets, SPAN).mean() for loss in losses]))
    whole = 1 + int(np.argmin([loss.mean() for loss in losses[1:]]))
    return [RATES[i] for i in dict.fromkeys((after, whole))]


def shuffled(market: Market, rng: np.random.Generator) -> Market:
    """The same candles in another order: every return keeps its size, none is predictable any more."""
    c = market.candles
    order = rng.permutation(len(c))
    ratio = c[order, :4] / c[order, :1]
    opens = np.exp(np.concatenate([[0.0], np.cumsum(np.log(ratio[:-1, 3]))]))[:, None]
    lead = np.exp(np.cumsum(np.diff(np.log(c[:, 5]), prepend=np.log(c[0, 5]))[order]))
    candles = np.column_stack([ratio * opens, c[order, 4], lead])
    return Market(candles, features(candles), np.zeros(len(c)), market.scale, market.switches)


def table(title: str, nets: dict[str, HOPE], markets: list[Market], rates: list[float]) -> None:
    hope = nets["attention"]
    data = labelled(hope, markets)
    mine, frozen, out = predictions(hope, data)
    arms = {"frozen": frozen, "HOPE": mine, "always on": predictions(hope, data, always(mine.shape))[0]}
    for rate in rates:
        arms[f"fine-tuned, equal ({rate})"] = fine_tuned(hope, data, rate)
    if "gru" in nets:
        arms["GRU + HOPE"], arms["GRU in context"], _ = predictions(nets["gru"], data)
    arms["random trigger (control)"] = predictions(hope, data, random_force(out, np.random.default_rng(1)))[0]
    arms["predict nothing"] = np.zeros_like(frozen)
    base = after_switches(excess(data, frozen), markets, SPAN)
    later = excess(data, frozen).mean(1)
    used, episodes = out[..., engine.O_MODIFIED].mean(), out[..., engine.O_TRIGGERED].mean() * 1e4
    print(
        f"\n{title}: {len(markets)} markets; in force {used:.1%} of bars, {episodes:.1f} modifications per 10,000 bars"
    )
    print(
        "arm                          | excess over 200 bars | against frozen [95 %]        "
        "| whole stream, against frozen x1e4"
    )
    for name, prediction in arms.items():
        own = after_switches(excess(data, prediction), markets, SPAN)
        mean, low, high = interval(own - base)
        whole = interval(1e4 * (excess(data, prediction).mean(1) - later))
        print(
            f"{name:28s} | {own.mean():8.2f}             | {mean:+7.2f} [{low:+.2f}, {high:+.2f}] "
            f"({mean / base.mean():+.0%}) | {whole[0]:+7.1f} [{whole[1]:+.1f}, {whole[2]:+.1f}]"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=60)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--gru-weights", default="auto")
    args = parser.parse_args()
    nets = {"attention": HOPE(weights=args.weights), "gru": HOPE(weights=args.gru_weights, backbone="gru")}
    for name, net in nets.items():
        print(f"{name}: {net.provenance.predictor}; trained: {net.trained}")
    rates = tune_rates(nets["attention"], args.seed + 1)
    for kind in ("trend", "correlation", "volatility", "novel", "none"):
        markets = planted_markets(kind, args.markets, BARS, AT, args.seed)
        if kind == "none":  # where a switch would have been, to see what false alarms cost
            markets = [Market(m.candles, m.features, m.mean, m.scale, (AT,)) for m in markets]
        table(kind, nets, markets, rates)
    hidden = [regime_market(np.random.default_rng([args.seed, 7, i]), BARS) for i in range(args.markets)]
    table("random regimes", nets, hidden, rates)
    controls = [shuffled(m, np.random.default_rng([args.seed, 8, i])) for i, m in enumerate(hidden)]
    table("no predictability (control)", nets, controls, rates)


if __name__ == "__main__":
    main()
