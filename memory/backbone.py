"""The backbone in torch, for training and for devices other than the CPU: input, position, attention or GRU, continuum.

Founding document: a transformer with a position layer; nested-learning.md §2.A H6: a small causal one, d = 32 to 64.
Every function takes the named views of HOPE's one flat weight vector. `memory.backbone_kernel` computes the same bar by
bar; the two are held within 1e-5. Attention sees the last C bars (a band, so that a ring of keys and values is exact)
with a learned bias per head and lag.

Axes: S streams, T bars, I inputs, D width, H heads, C window, M hidden.
"""

from __future__ import annotations

import math
from typing import TypedDict

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from torch import Tensor

from memory.layout import (
    CONTROLS,
    EVIDENCE,
    HIDDEN,
    MODIFIER_HIDDEN,
    POSITION,
    WEIGHT_NAMES,
    Config,
    layer_shapes,
    level_shapes,
    modifier_shapes,
    offsets,
    size_of,
    weight_sizes,
)  # fmt: skip


class Groups(TypedDict):
    """The repeated parts of the weights: backbone layers, continuum levels, the modifier's body."""

    layers: list[dict[str, Tensor]]
    levels: list[dict[str, Tensor]]
    modifier: dict[str, Tensor]


def _split(flat: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Cut one flat vector into named tensors."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = torch.split(flat, sizes)
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def single_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights that occur once."""
    i, d, o, r = config.inputs, config.width, config.targets, config.rank
    return {
        "input_weight": (i, d), "input_bias": (d,), "position": (POSITION, d), "core_gain": (d,), "core_bias": (d,),
        "core_weight": (d, d), "key_weight": (d, r), "log_prior": (r,), "head_weight": (d, o), "head_bias": (o,),
        "control_weight": (MODIFIER_HIDDEN, CONTROLS), "control_bias": (CONTROLS,), "evidence_mean": (EVIDENCE,),
        "evidence_scale": (EVIDENCE,), "trigger_1": (EVIDENCE, HIDDEN), "trigger_bias_1": (HIDDEN,),
        "trigger_2": (HIDDEN, 2), "trigger_bias_2": (2,),
    }  # fmt: skip


def views(config: Config, flat: Tensor) -> tuple[dict[str, Tensor], Groups]:
    """Named views of the flat weights: those that occur once, and the repeated groups."""
    parts = dict(zip(WEIGHT_NAMES, torch.split(flat, weight_sizes(config)), strict=True))
    single = {name: parts[name].view(shape) for name, shape in single_shapes(config).items()}
    layer, level = layer_shapes(config), level_shapes(config)
    groups = Groups(
        layers=[_split(part, layer) for part in torch.split(parts["backbone"], size_of(layer))],
        levels=[_split(part, level) for part in torch.split(parts["continuum"], size_of(level))],
        modifier=_split(parts["modifier"], modifier_shapes(config)),
    )
    return single, groups


def span(config: Config, name: str) -> slice:
    """Where a named part lies in the flat vector."""
    starts = offsets(weight_sizes(config))
    at = WEIGHT_NAMES.index(name)
    return slice(int(starts[at]), int(starts[at + 1]))


def initial_weights(config: Config, generator: torch.Generator) -> Tensor:
    """A fresh flat weight vector; the modifier starts neutral, the trigger as a plain t-test of the shadow's advantage.

    Matrices are normal with variance 1/in (halved on residual branches); the readout is small, so that an untrained
    net predicts little more than the running mean.
    """
    flat = torch.zeros(sum(weight_sizes(config)))
    single, groups = views(config, flat)

    def fill(tensor: Tensor, deviation: float) -> None:
        tensor.normal_(0.0, deviation, generator=generator)

    d = config.width
    fill(single["input_weight"], config.inputs**-0.5)
    fill(single["position"], 0.1)
    fill(single["core_weight"], 0.5 * d**-0.5)
    fill(single["key_weight"], 1.0)
    fill(single["head_weight"], 0.1 * d**-0.5)
    single["core_gain"].fill_(1.0)
    single["log_prior"].fill_(-3.5)
    for layer in groups["layers"]:
        layer["gain"].fill_(1.0)
        for name in layer.keys() & {"qkv", "wx", "wh"}:
            fill(layer[name], d**-0.5)
        if "out" in layer:
            fill(layer["out"], 0.5 * d**-0.5)
    for level in groups["levels"]:
        fill(level["w1"], d**-0.5)
        fill(level["w2"], 0.3 * config.hidden**-0.5)
    for tensor in groups["modifier"].values():
        if tensor.dim() == 2:
            fill(tensor, 0.3)
    single["evidence_scale"].fill_(1.0)
    fill(single["trigger_1"], 0.05)
    single["trigger_1"][1, 0] = 0.5  # the 64-bar t-value alone: P > .5 where it exceeds about 1.1
    single["trigger_2"][0, 1], single["trigger_bias_2"][1] = 4.0, -2.0
    return flat


def attention_layer(config: Config, layer: dict[str, Tensor], x: Tensor) -> Tensor:
    """X [S, T, D] plus causal attention over the last C bars."""
    s, t, d = x.shape
    heads, window = config.heads, config.window
    normed = F.layer_norm(x, (d,), layer["gain"], layer["bias"])
    q, k, v = (part.view(s, t, heads, d // heads).transpose(1, 2) for part in (normed @ layer["qkv"]).chunk(3, -1))
    bars = torch.arange(t, device=x.device)
    lag = bars[:, None] - bars[None, :]
    seen = (lag >= 0) & (lag < window)
    bias = layer["relative"][:, lag.clamp(0, window - 1)].masked_fill(~seen, -torch.inf)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return x + mixed.transpose(1, 2).reshape(s, t, d) @ layer["out"]


def gru_layer(layer: dict[str, Tensor], x: Tensor) -> Tensor:
    """X [S, T, D] plus a GRU over it, from a zero state."""
    s, _, d = x.shape
    normed = F.layer_norm(x, (d,), layer["gain"], layer["bias"])
    start = torch.zeros(1, s, d, dtype=x.dtype, device=x.device)
    weights = [layer["wx"].mT.contiguous(), layer["wh"].mT.contiguous(), layer["bx"], layer["bh"]]
    states, _ = torch.gru(normed, start, weights, True, 1, 0.0, True, False, True)
    return x + states


def encode(config: Config, single: dict[str, Tensor], groups: Groups, z: Tensor, calendar: Tensor) -> Tensor:
    """Normalised inputs z [S, T, I] and calendar [T, 4] to the core's input n [S, T, D], layer-normalised."""
    bars = torch.arange(z.shape[1], dtype=z.dtype, device=z.device)
    position = torch.cat([(1.0 + bars).rsqrt()[:, None], calendar], -1)
    x = z @ single["input_weight"] + single["input_bias"] + position @ single["position"]
    for layer in groups["layers"]:
        x = gru_layer(layer, x) if config.backbone == "gru" else attention_layer(config, layer, x)
    return F.layer_norm(x, (config.width,), single["core_gain"], single["core_bias"])


def readout(single: dict[str, Tensor], groups: Groups, c: Tensor) -> tuple[Tensor, Tensor]:
    """Core output c [..., D] through the continuum chain: (prediction [..., O] in deviations, embedding [..., D])."""
    for level in groups["levels"]:
        c = c + torch.relu(c @ level["w1"] + level["b1"]) @ level["w2"] + level["b2"]
    return c @ single["head_weight"] + single["head_bias"], c
