"""The differentiable replay of a stream: the compiled step decides, torch recomputes along its decisions.

Decisions (alarms, openings, releases, when the modifier ran and what it read) are discrete, so they carry no gradient;
they are taken once by `memory.engine.run_all` and recorded. Everything between them, reads, writes, controls and
predictions, is recomputed here with gradients. Gradient policy of nested-learning.md §1.8: differentiable reads and
write rates, stopped labels (a write's label v̂ does not pull on the frozen net).

Axes: S streams, T bars, O targets, R rank, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from memory import backbone, fast_weights, modifier
from memory.engine import R_ACTIVE, R_EVENT, R_RESTART, R_TICK
from memory.layout import CONTEXT, MODIFIER_HIDDEN, S_MEAN, S_VAR, Config
from memory.stream import FLOOR, LABEL_CLIP, LIMIT, normalise

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]


@njit(cache=True)
def normalise_run(aux: F64, aoff: I64, x: F64, targets: int, z: F32, center: F64, scale: F64, y: F64) -> None:
    """Normalise x [T, I] into z, and note centre, scale and label [T, O]; y[t] labels the prediction made at t - 1."""
    for t in range(len(x)):
        for o in range(targets):
            if t > 0:
                value = min(max(x[t, o], -LIMIT), LIMIT)
                gap = (value - center[t - 1, o]) / scale[t - 1, o]
                y[t, o] = min(max(gap, -LABEL_CLIP), LABEL_CLIP)
        normalise(aux, aoff, t, x[t], z[t], x.shape[1])
        for o in range(targets):
            center[t, o] = aux[aoff[S_MEAN] + o]
            scale[t, o] = math.sqrt(aux[aoff[S_VAR] + o]) + FLOOR


@dataclass(slots=True)
class Prepared:
    """Inputs of an unroll: z [S, T, I], y, center, scale [S, T, O] (y[:, 0] is unused), calendar [T, 4]."""

    z: Tensor
    y: Tensor
    center: Tensor
    scale: Tensor
    calendar: Tensor


@dataclass(slots=True)
class Unrolled:
    """frozen, shadow, prediction [S, T, O] in deviations; embedding [S, T, D]; active [S, T] bool."""

    frozen: Tensor
    shadow: Tensor
    prediction: Tensor
    embedding: Tensor
    active: Tensor


def prepare(aoff: I64, sequence: F64, targets: int, calendar: F64, device: torch.device) -> Prepared:
    """Run the causal normaliser over a sequence [S, T, I] from an empty state."""
    s, t, inputs = sequence.shape
    z = np.zeros((s, t, inputs), np.float32)
    center, scale, y = (np.zeros((s, t, targets)) for _ in range(3))
    for stream in range(s):
        normalise_run(
            np.zeros(int(aoff[-1])),
            aoff,
            sequence[stream],
            targets,
            z[stream],
            center[stream],
            scale[stream],
            y[stream],
        )
    arrays = (z, y, center, scale, calendar.astype(np.float32))
    z_, y_, center_, scale_, calendar_ = (torch.from_numpy(array).to(device) for array in arrays)
    return Prepared(z_, y_, center_, scale_, calendar_)


def unroll(config: Config, flat: Tensor, prepared: Prepared, record: Tensor | None, fixed: bool = False) -> Unrolled:
    """Predictions along recorded decisions [S, T, RECORD]; without a record, the frozen net alone.

    fixed: no gradient through the predictor, only through fast weights and modifier.
    """
    single, groups = backbone.views(config, flat)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
        n = backbone.encode(config, single, groups, prepared.z, prepared.calendar)
        core = n + n @ single["core_weight"]
        frozen, embedding = backbone.readout(single, groups, core)
    frozen64 = frozen.double()
    if record is None:
        quiet = torch.zeros(frozen.shape[:2], dtype=torch.bool, device=frozen.device)
        return Unrolled(frozen64, frozen64, frozen64, embedding, quiet)
    key = (n @ single["key_weight"]).double() / math.sqrt(config.width)
    shadow, fast = _recursion(config, single, groups, key, prepared.y - frozen64.detach().roll(1, 1), record)
    active = record[..., R_ACTIVE] > 0
    prediction = frozen64
    if bool(active.any()):
        up = fast_weights.lift(single["head_weight"].double())
        prediction = torch.where(active[..., None], frozen64 + fast, frozen64)
        embedding = torch.where(active[..., None], embedding + (fast @ up.mT).to(embedding.dtype), embedding)
    return Unrolled(frozen64, frozen64 + shadow, prediction, embedding, active)


def _recursion(
    config: Config, single: dict[str, Tensor], groups: backbone.Groups, key: Tensor, label: Tensor, record: Tensor
) -> tuple[Tensor, Tensor]:
    """Offsets s·Bk [S, T, O] of the shadow and of the weights in force; key [S, T, R], label [S, T, O] in float64."""
    s, bars, r = key.shape
    prior = single["log_prior"].double().exp()
    limits = _limits(config, single)
    zero = key.new_zeros(s, config.targets, r)
    start = torch.diag(prior).expand(s, r, r)
    b, p, fast, fast_p = zero, start, zero, start
    body = {name: tensor.double() for name, tensor in groups["modifier"].items()}
    out = single["control_weight"].double(), single["control_bias"].double()
    memory = (key.new_zeros(s, MODIFIER_HIDDEN), key.new_zeros(s, MODIFIER_HIDDEN))
    controls = key.new_zeros(s, 3)
    delta = config.write == "delta"
    any_event = bool((record[..., R_EVENT] > 0).any())
    marks = record[..., [R_TICK, R_RESTART, R_EVENT]] > 0
    some = marks.any(0).tolist()
    shadows, fasts = [], []
    for t in range(bars):
        if t > 0:
            given = (key[:, t - 1], label[:, t], controls[:, 0], controls[:, 1], prior, delta)
            b, p = fast_weights.write_torch(b, p, *given)
            b = fast_weights.cap_torch(b, *limits)
            if any_event:
                fast, fast_p = fast_weights.write_torch(fast, fast_p, *given)
                fast = fast_weights.cap_torch(fast, *limits)
        if some[t][1]:
            p = torch.where(marks[:, t, 1, None, None], torch.diag(prior), p)
        if some[t][0]:
            fresh, after = modifier.modify_torch(body, *out, record[:, t, 8 : 8 + CONTEXT], memory)
            tick = marks[:, t, 0, None]
            controls = torch.where(tick, fresh, controls)
            memory = tuple(torch.where(tick, new, old) for new, old in zip(after, memory, strict=True))  # type: ignore[assignment]
        if some[t][2]:
            event = marks[:, t, 2, None, None]
            fast, fast_p = torch.where(event, b, fast), torch.where(event, p, fast_p)
        strength = controls[:, 2, None]
        shadows.append(strength[..., None] * b)
        if any_event:
            fasts.append(strength[..., None] * fast)
    column = key[..., None]
    shadow = (torch.stack(shadows, 1) @ column)[..., 0]
    return shadow, (torch.stack(fasts, 1) @ column)[..., 0] if any_event else torch.zeros_like(shadow)


def _limits(config: Config, single: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """What the cap needs: AᵀA/d [R, R], UᵀU [O, O], CAP·‖W‖_F; constants of a write, so without gradient."""
    with torch.no_grad():
        key = single["key_weight"].double()
        up = fast_weights.lift(single["head_weight"].double())
        limit = fast_weights.CAP * single["core_weight"].double().norm()
        return key.mT @ key / config.width, up.mT @ up, limit
