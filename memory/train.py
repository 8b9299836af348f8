"""Training of the weights that ship: `python -m memory.train --seed 0 [--backbone gru] [--modifier lstm] ...`.

Three stages, all on synthetic regime markets (`memory.markets`) drawn from the seed, and on real candles where
`--candles FILE` names some (open, high, low, close, volume; never needed to reproduce what ships):
 1 predictor: Huber loss of the frozen prediction over whole sequences;
 2 fast weights: the shadow's loss along unrolls, predictor fixed (meta-learned: keys A, prior P₀, modifier);
 3 trigger: paired counterfactuals, then a 12-16-2 network by Huber regression and cross-entropy, then its probability
   calibrated by a two-parameter logistic fit (Platt) on streams of its own.
The continuum's levels have update periods (1, 8, 64, ...): gradients of level ℓ are averaged at frozen weights over its
period and applied once, by an Adam of its own (nested-learning.md §1.7); everything else has period 1.
Outer losses are in squared deviations of the target.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memory import backbone, layout, pretrained
from memory.hope import HOPE
from memory.layout import EVIDENCE, Config
from memory.markets import KINDS, candle_features, planted, regime_market
from memory.trigger import HORIZON, WARM

F64 = NDArray[np.float64]

WARM_BARS = 48  # bars of a sequence that carry no loss: scales and context are still filling
PERIODS = (1, 8, 64)
_CORNER = 2.5  # Huber's corner, as in memory.trigger


@dataclass(frozen=True, slots=True)
class Stage:
    """One outer loop: steps of `streams` sequences of `bars` bars at a peak rate; modify: stage 2."""

    steps: int
    streams: int
    bars: int
    rate: float
    modify: bool


class LevelAdam:
    """One Adam per update period over parts of the one flat vector; slower parts wait with their gradients."""

    def __init__(self, config: Config, flat: Tensor, rate: float) -> None:
        size = layout.size_of(layout.level_shapes(config))
        start = backbone.span(config, "continuum").start
        period = torch.ones(flat.numel(), dtype=torch.long)
        for level in range(config.levels):
            period[start + level * size : start + (level + 1) * size] = PERIODS[min(level, len(PERIODS) - 1)]
        for name in pretrained.TRIGGER_PARTS:
            period[backbone.span(config, name)] = 0  # trained in stage 3, not here
        self.flat = flat
        self.sum = torch.zeros_like(flat)
        self.ticks = 0
        self.parts = []
        for value in sorted(set(period.tolist()) - {0}):
            index = (period == value).nonzero().squeeze(1)
            leaf = flat.detach()[index].clone().requires_grad_()
            self.parts.append((value, index, leaf, torch.optim.Adam([leaf], lr=rate, betas=(0.9, 0.98))))

    def step(self, gradient: Tensor, factor: float, rate: float) -> None:
        """Take one outer step's gradient in; levels that are due move. factor scales it (clipping)."""
        self.ticks += 1
        self.sum += gradient * factor
        with torch.no_grad():
            for period, index, leaf, optimizer in self.parts:
                if self.ticks % period == 0:
                    leaf.grad = self.sum[index] / period
                    self.sum[index] = 0.0
                    optimizer.param_groups[0]["lr"] = rate
                    optimizer.step()
                    self.flat[index] = leaf


def markets_batch(rng: np.random.Generator, streams: int, bars: int, real: list[F64]) -> F64:
    """Sequences [S, T, 24]: regime markets, and windows of real candles for a quarter of the streams where given."""
    batch = [regime_market(rng, bars, shortest=100, mean_extra=200).features for _ in range(streams)]
    for i in range(streams // 4 if real else 0):
        source = real[int(rng.integers(len(real)))]
        at = int(rng.integers(len(source) - bars))
        batch[i] = source[at : at + bars]
    return np.stack(batch)


def outer_loss(hope: HOPE, array: F64, modify: bool) -> tuple[Tensor, float, float]:
    """(loss with gradient, frozen loss, shadow loss) of sequences [S, T, I]; predictions at t meet the label of t + 1.

    modify: the loss of the shadow's corrected prediction, with the predictor held fixed; else the frozen one's.
    """
    unrolled, _, prepared = hope.unroll(array, np.zeros((array.shape[1], 4)), modify, fixed=modify)
    target, at = prepared.y[:, WARM_BARS + 1 :], slice(WARM_BARS, -1)
    frozen = torch.nn.functional.huber_loss(unrolled.frozen[:, at], target, delta=_CORNER)
    if not modify:
        return frozen, frozen.item(), frozen.item()
    shadow = torch.nn.functional.huber_loss(unrolled.shadow[:, at], target, delta=_CORNER)
    return shadow, frozen.item(), shadow.item()


def outer_loop(hope: HOPE, rng: np.random.Generator, stage: Stage, real: list[F64]) -> dict[str, float]:
    """Stage 1 or 2. Returns the last hundred steps' mean losses."""
    flat = hope.weights
    optimizer = LevelAdam(hope.config, flat.data, stage.rate)
    history: list[tuple[float, float]] = []
    for step in range(stage.steps):
        array = markets_batch(rng, stage.streams, stage.bars, real)
        loss, frozen, shadow = outer_loss(hope, array, stage.modify)
        (gradient,) = torch.autograd.grad(loss, [flat])
        norm = float(gradient.norm())
        if not math.isfinite(norm):
            raise FloatingPointError(f"gradient of step {step} is not finite")
        cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * step / stage.steps))
        optimizer.step(gradient, min(1.0, 1.0 / (norm + 1e-12)), stage.rate * min(1.0, (step + 1) / 30) * cosine)
        with torch.no_grad():
            flat.mul_(1.0)  # a public in-place change: the compiled step notices it
        history.append((frozen, shadow))
        if step % 25 == 24:
            mean = np.mean(history[-25:], 0)
            sys.stderr.write(
                f"step {step + 1}/{stage.steps} frozen {mean[0]:.4f} shadow {mean[1] - mean[0]:+.5f} |g| {norm:.3f}\n"
            )
    mean = np.mean(history[-100:], 0)
    return {"frozen_loss": float(mean[0]), "shadow_gain": float(mean[0] - mean[1])}


def pairs(hope: HOPE, rng: np.random.Generator, streams: int, bars: int) -> list[F64]:
    """Counterfactual pairs per stream, [N, EVIDENCE + 3] each: half random regimes, half one planted switch or none."""
    hope.refresh()
    found = []
    kinds = (*KINDS, "novel", "none")
    for i in range(streams):
        if i % 2:
            x = planted(rng, kinds[(i // 2) % len(kinds)], bars, int(rng.integers(bars // 3, bars // 2))).features
        else:
            x = regime_market(rng, bars).features
        rows = np.zeros((4 * bars, EVIDENCE + 3))
        found.append(rows[: hope.counterfactuals(x, rows, every=8, horizon=HORIZON, warm=WARM)])
    return found


def fit_trigger(hope: HOPE, found: list[F64], steps: int, generator: torch.Generator) -> dict[str, float]:
    """Stage 3 on pairs: fit on three quarters of the streams, calibrate on the last quarter, write into the weights."""
    cut = len(found) * 3 // 4
    train, held = (torch.from_numpy(np.concatenate(part)).float() for part in (found[:cut], found[cut:]))
    single, _ = backbone.views(hope.config, hope.weights.data)
    mean, deviation = train[:, :EVIDENCE].mean(0), train[:, :EVIDENCE].std(0).clamp_min(1e-3)
    single["evidence_mean"].copy_(mean)
    single["evidence_scale"].copy_(1.0 / deviation)
    names = ("trigger_1", "trigger_bias_1", "trigger_2", "trigger_bias_2")
    leaves = [torch.randn(single[n].shape, generator=generator) * 0.2 for n in names]
    for leaf in leaves:
        leaf.requires_grad_()
    optimizer = torch.optim.AdamW(leaves, lr=5e-3, weight_decay=1e-2)
    for _ in range(steps):
        rows = train[torch.randint(len(train), (512,), generator=generator)]
        loss = _trigger_loss(rows, mean, deviation, leaves)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        scale, shift = platt(_heads(held, mean, deviation, leaves)[:, 1], held[:, EVIDENCE] > 0)
        leaves[2][:, 1] *= scale
        leaves[3][1] = leaves[3][1] * scale + shift
        for name, leaf in zip(names, leaves, strict=True):
            single[name].copy_(leaf)
        report = reliability(
            torch.sigmoid(_heads(held, mean, deviation, leaves)[:, 1]).numpy(), held[:, EVIDENCE].numpy() > 0
        )
    return {**report, "platt_scale": float(scale), "platt_shift": float(shift), "pairs": float(len(train) + len(held))}


def _heads(rows: Tensor, mean: Tensor, deviation: Tensor, leaves: list[Tensor]) -> Tensor:
    """(expected advantage, logit) [N, 2] of evidence rows."""
    x = ((rows[:, :EVIDENCE] - mean) / deviation).clamp(-5, 5)
    return torch.tanh(x @ leaves[0] + leaves[1]) @ leaves[2] + leaves[3]


def _trigger_loss(rows: Tensor, mean: Tensor, deviation: Tensor, leaves: list[Tensor]) -> Tensor:
    """Huber regression of the advantage (in hundredths) plus cross-entropy of its sign."""
    heads, advantage = _heads(rows, mean, deviation, leaves), rows[:, EVIDENCE]
    regression = torch.nn.functional.huber_loss(heads[:, 0], 100.0 * advantage.clamp(-0.2, 0.2), delta=1.0)
    return (
        torch.nn.functional.binary_cross_entropy_with_logits(heads[:, 1], (advantage > 0).float()) + 0.05 * regression
    )


def platt(logit: Tensor, helped: Tensor, steps: int = 200) -> tuple[Tensor, Tensor]:
    """(scale, shift) of the logistic fit P = sigmoid(scale · logit + shift), by Newton steps."""
    theta = torch.tensor([1.0, 0.0], dtype=torch.float64)
    x = torch.stack([logit.double(), torch.ones_like(logit, dtype=torch.float64)], 1)
    for _ in range(steps):
        p = torch.sigmoid(x @ theta)
        gradient = x.mT @ (p - helped.double()) + 1e-3 * theta
        hessian = (x * (p * (1 - p))[:, None]).mT @ x + 1e-3 * torch.eye(2, dtype=torch.float64)
        theta = theta - torch.linalg.solve(hessian, gradient).clamp(-1, 1)
    return theta[0].float(), theta[1].float()


def reliability(probability: F64, helped: NDArray[np.bool_], bins: int = 10) -> dict[str, float]:
    """Brier score, that of the base rate, and expected calibration error over equal-width bins."""
    rate = float(helped.mean())
    at = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        abs(probability[at == b].mean() - helped[at == b].mean()) * (at == b).mean()
        for b in range(bins)
        if (at == b).any()
    ]
    brier = float(((probability - helped) ** 2).mean())
    return {"base_rate": rate, "brier": brier, "brier_base": rate * (1 - rate), "calibration_error": float(sum(gaps))}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m memory.train", description="Train the weights that ship with HOPE."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbone", choices=("attention", "gru"), default="attention")
    parser.add_argument("--modifier", choices=("mlp", "lstm"), default="mlp")
    parser.add_argument("--write", choices=("kalman", "delta"), default="kalman")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000, help="outer steps on the frozen prediction")
    parser.add_argument("--fast-steps", type=int, default=100, help="outer steps through the fast weights")
    parser.add_argument("--fast-rate", type=float, default=5e-2)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--bars", type=int, default=384)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--trigger-streams", type=int, default=120)
    parser.add_argument("--trigger-bars", type=int, default=2000)
    parser.add_argument("--trigger-only", action="store_true", help="keep predictor and modifier of the existing file")
    parser.add_argument("--candles", type=Path, action="append", default=[], help="parquet of real candles to mix in")
    parser.add_argument("--out", type=Path, default=None, help="default: the shipped file for this shape")
    return parser.parse_args(argv)


def run(args: argparse.Namespace, words: list[str]) -> Path:
    """Train and save; `words`, the command line, go on the card. Raises ValueError for a shape that cannot be."""
    torch.set_num_threads(1)
    shape: dict[str, Any] = {"backbone": args.backbone, "modifier": args.modifier, "write": args.write}
    config = Config(width=args.width, **shape)
    path = args.out or pretrained.FOLDER / pretrained.file_name(config)
    source = path if args.trigger_only else None
    hope = HOPE(width=args.width, seed=args.seed, weights=source, **shape)
    rng = np.random.default_rng([args.seed, 1])
    card: dict[str, Any] = {"seed": args.seed, "command": "python -m memory.train " + " ".join(words)}
    if args.trigger_only:
        old = pretrained.read(path)[2]
        card["predictor"], card["fast"], card["first_command"] = old["predictor"], old["fast"], old["command"]
    else:
        real = [candle_features(path) for path in args.candles]
        predictor = Stage(args.steps, args.streams, args.bars, args.rate, False)
        fast = Stage(args.fast_steps, 2 * args.streams, args.bars + args.bars // 3, args.fast_rate, True)
        card["predictor"] = outer_loop(hope, rng, predictor, real)
        card["fast"] = outer_loop(hope, rng, fast, real)
    found = pairs(hope, np.random.default_rng([args.seed, 2]), args.trigger_streams, args.trigger_bars)
    card["trigger"] = fit_trigger(hope, found, 600, torch.Generator().manual_seed(args.seed))
    card["torch"] = torch.__version__
    pretrained.save(path, config, hope.weights, card)
    return path


def main(argv: list[str] | None = None) -> Path:
    """Train, save, and print the card."""
    words = sys.argv[1:] if argv is None else argv
    path = run(parse(words), words)
    sys.stdout.write(f"{path.name} {pretrained.read(path)[2]}\n")
    return path


if __name__ == "__main__":
    main()
