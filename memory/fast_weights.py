"""Low-rank fast weights on the core's linear map, written by a delta rule with a real label one bar later.

    W_eff = W + (1/√d) A Bᵀ Uᵀ        A [D, R] slow, B [O, R] fast, U [D, O] the readout's pseudo-inverse
    k = Aᵀn/√d,  v̂ = label - frozen prediction,  e = clip_H(v̂ - B k)
    B ← α B,  P ← α² P + (1-α²) P₀,  g = P k / (ρ + kᵀP k),  B ← B + e gᵀ,  P ← P - g (P k)ᵀ

Source: nested-learning.md §3.4 and §1.5 (the delta rule in proximal form η/(1+η‖k‖²): it is this update with P held at
P₀ = ηI and ρ = 1, mode "delta"). Mode "kalman" (default) also carries the keys' inverse covariance, because correlated
keys defeat the plain delta rule (§1.5): the random-walk form of B with prior P₀ makes P ≤ P₀, so gains cannot wind up.
After each write ‖W_eff - W‖_F ≤ `CAP` ‖W‖_F (a Frobenius cap, hence also a spectral one).

U is chosen so that a change B k of the core moves the prediction by B k where the continuum block is linear.
Axes: D width, O targets, R rank. The compiled and the torch form are held together by tests.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

F64 = NDArray[np.float64]

CLIP = 2.5  # Huber point of an error in deviations: at 2.5 a Gaussian error is untouched 99 times of 100
DEFAULT_RANK = 8  # as in layout.Config
CAP = 0.3  # largest ‖W_eff - W‖_F / ‖W‖_F; 0.2 in §3.4 clipped honest corrections of the trained net


@njit(cache=True, inline="always")
def _decay_and_read(p: F64, k: F64, prior: F64, pk: F64, square: float, r: int) -> None:
    """P ← α² P + (1-α²) P₀ and pk = P k. P is symmetric bit by bit, so its rows serve as columns: no sum across one."""
    for j in range(r):
        pk[j] = 0.0
    for i in range(r):
        row, factor = p[i * r : (i + 1) * r], k[i]
        for j in range(r):
            row[j] *= square
        row[i] += (1.0 - square) * prior[i]
        for j in range(r):
            pk[j] += row[j] * factor


@njit(cache=True, inline="always")
def _shrink(p: F64, u: F64, r: int) -> None:
    """P ← P - u uᵀ."""
    for i in range(r):
        row, factor = p[i * r : (i + 1) * r], u[i]
        for j in range(r):
            row[j] -= factor * u[j]


@njit(cache=True, inline="always")
def write(b: F64, p: F64, k: F64, v: F64, alpha: float, noise: float, prior: F64, delta_rule: bool, pk: F64) -> None:
    """One write in place: b [O·R] and p [R·R] flat, key k [R], label v [O], prior [R] P₀'s diagonal, pk [R] scratch."""
    r, square = len(k), 1.0 if delta_rule else alpha * alpha
    if r == DEFAULT_RANK:  # a constant the compiler can unroll; the same operations in the same order
        _decay_and_read(p, k, prior, pk, square, DEFAULT_RANK)
    else:
        _decay_and_read(p, k, prior, pk, square, r)
    total = noise
    for i in range(r):
        total += k[i] * pk[i]
    for o in range(len(v)):
        own, expected = b[o * r : (o + 1) * r], 0.0
        for i in range(r):
            own[i] *= alpha
            expected += own[i] * k[i]
        e = min(max(v[o] - expected, -CLIP), CLIP) / total
        for i in range(r):
            own[i] += e * pk[i]
    if not delta_rule:
        share = 1.0 / math.sqrt(total)  # one division for the whole matrix, and its symmetry is kept
        for i in range(r):
            pk[i] *= share
        if r == DEFAULT_RANK:
            _shrink(p, pk, DEFAULT_RANK)
        else:
            _shrink(p, pk, r)


@njit(cache=True, inline="always")
def cap(b: F64, gram_key: F64, gram_lift: F64, limit: float) -> None:
    """Scale b [O·R] so that ‖U B Aᵀ‖_F/√d ≤ limit; gram_key [R·R] = AᵀA/d, gram_lift [O·O] = UᵀU."""
    o, r = int(math.sqrt(len(gram_lift))), int(math.sqrt(len(gram_key)))
    trace_key, trace_lift, size, square = 0.0, 0.0, 0.0, 0.0
    for i in range(r):
        trace_key += gram_key[i * r + i]
    for a in range(o):
        trace_lift += gram_lift[a * o + a]
    for i in range(len(b)):
        size += b[i] * b[i]
    if size * trace_key * trace_lift < 0.99 * limit * limit:
        return  # traces bound norms of matrices that are squares: nothing to sum up on nearly every bar
    for a in range(o):
        for c in range(o):
            for i in range(r):
                for j in range(r):
                    square += gram_lift[a * o + c] * b[a * r + i] * gram_key[i * r + j] * b[c * r + j]
    if square > limit * limit:
        b *= limit / math.sqrt(square)


@njit(cache=True, inline="always")
def read(b: F64, k: F64, out: F64) -> None:
    """Out [O] = B k."""
    r = len(k)
    for o in range(len(out)):
        out[o] = 0.0
        for i in range(r):
            out[o] += b[o * r + i] * k[i]


def write_torch(
    b: Tensor, p: Tensor, k: Tensor, v: Tensor, alpha: Tensor, noise: Tensor, prior: Tensor, delta_rule: bool
) -> tuple[Tensor, Tensor]:
    """The same write, differentiable: b [S, O, R], p [S, R, R], k [S, R], v [S, O], alpha and noise [S]."""
    alpha = alpha[:, None, None]
    if not delta_rule:
        square = alpha * alpha
        p = square * p + (1.0 - square) * torch.diag(prior)
    column = k[:, :, None]
    pk = p @ column  # [S, R, 1]
    gain = pk / (noise[:, None, None] + column.mT @ pk)
    b = alpha * b
    error = (v[:, :, None] - b @ column).clamp(-CLIP, CLIP)
    b = b + error @ gain.mT
    if not delta_rule:
        p = p - gain @ pk.mT
    return b, p


def cap_torch(b: Tensor, gram_key: Tensor, gram_lift: Tensor, limit: Tensor) -> Tensor:
    """The same cap: b [S, O, R]; the factor is a constant of the gradient, as a projection's scale would be."""
    with torch.no_grad():
        square = ((gram_lift @ b @ gram_key) * b).sum((1, 2))
        if not bool((square > limit * limit).any()):
            return b
        factor = (limit / square.clamp_min(1e-24).sqrt()).clamp_max(1.0)
    return b * factor[:, None, None]


def lift(head: Tensor) -> Tensor:
    """U [D, O] with headᵀ U = I: the smallest change of the core that moves the readout head [D, O] by one."""
    gram = head.mT @ head
    jitter = 1e-6 * torch.eye(gram.shape[-1], dtype=head.dtype, device=head.device)
    solved: Tensor = torch.linalg.solve(gram + jitter, head.mT)
    return solved.mT


def effective_weight(core: Tensor, key: Tensor, b: Tensor, up: Tensor, strength: Tensor) -> Tensor:
    """W_eff [S, D, D] of every stream from core [D, D], key [D, R], b [S, O, R], up [D, O], strength [S]."""
    change = torch.einsum("ir,sor,do->sid", key, b, up) / math.sqrt(len(core))
    return core + strength[:, None, None] * change


def functional_core(n: Tensor, weights: Tensor) -> Tensor:
    """N [S, D] through each stream's own linear map [S, D, D] by `torch.func.functional_call`; [in, out] weights."""
    linear = torch.nn.Linear(n.shape[-1], n.shape[-1], bias=False, dtype=n.dtype, device=n.device)

    def one(weight: Tensor, row: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(linear, {"weight": weight.mT}, (row,))
        return result

    return torch.vmap(one)(weights, n)
