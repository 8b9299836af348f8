"""The compiled backbone: one bar of one stream through input, position, attention or GRU, core input and continuum.

It computes what `memory.backbone` computes with torch (tests hold the two within 1e-5) at some microseconds a bar.
Matrices are [in, out] and are applied column of x by column, so that the inner loop is contiguous and vectorises
without reordering sums: same bits for one stream or many. Keys are cached feature-major [D, C], values [C, D].
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memory.layout import (
    B_CORE,
    B_IN,
    D_GRU,
    D_HEADS,
    D_HIDDEN,
    D_INPUTS,
    D_LAYERS,
    D_LEVELS,
    D_WIDTH,
    D_WINDOW,
    G_CORE,
    POSITION,
    W_BACK,
    W_CONT,
    W_IN,
    W_POS,
)

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_NARROW = 8  # keys of the default rank
EPSILON = np.float32(1e-5)


@njit(cache=True)
def matvec_add(y: F32, x: F32, w: F32, start: int) -> None:
    """Add x [in] @ W [in, out] to y [out], W flat from `start`; four rows at once, to load and store y less often."""
    if len(y) == _NARROW:  # a constant the compiler can unroll; the same operations in the same order
        _matvec_add(y, x, w, start, _NARROW)
    else:
        _matvec_add(y, x, w, start, len(y))


@njit(cache=True, inline="always")
def _matvec_add(y: F32, x: F32, w: F32, start: int, n: int) -> None:
    m = len(x)
    rows = w[start : start + m * n].reshape(m, n)
    whole = m - m % 4
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        r0, r1, r2, r3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for j in range(n):
            y[j] += (a * r0[j] + b * r1[j]) + (c * r2[j] + d * r3[j])
    for i in range(whole, m):
        a, r0 = x[i], rows[i]
        for j in range(n):
            y[j] += a * r0[j]


@njit(cache=True)
def layer_norm(y: F32, x: F32, w: F32, gain: int, bias: int) -> None:
    """Y = (x - mean) / deviation · gain + bias; all [D]."""
    d = len(x)
    mean = np.float32(0.0)
    for i in range(d):
        mean += x[i]
    mean /= np.float32(d)
    var = np.float32(0.0)
    for i in range(d):
        var += (x[i] - mean) * (x[i] - mean)
    scale = np.float32(1.0) / np.sqrt(var / np.float32(d) + EPSILON)
    for i in range(d):
        y[i] = (x[i] - mean) * scale * w[gain + i] + w[bias + i]


@njit(cache=True)
def _attention(dims: I64, w: F32, base: int, cache: F32, bar: int, x: F32) -> None:
    """Add one causal attention layer over the last C bars to x [D]; `cache` [2·D·C] is this layer's."""
    d, heads, window = dims[D_WIDTH], dims[D_HEADS], dims[D_WINDOW]
    size = d // heads
    normed, qkv, mixed = np.empty(d, np.float32), np.zeros(3 * d, np.float32), np.zeros(d, np.float32)
    layer_norm(normed, x, w, base, base + d)
    matvec_add(qkv, normed, w, base + 2 * d)
    out_start = base + 2 * d + 3 * d * d
    relative = out_start + d * d
    slot = bar % window
    for j in range(d):
        cache[j * window + slot] = qkv[d + j]
        cache[d * window + slot * d + j] = qkv[2 * d + j]
    seen = min(bar + 1, window)
    scale = np.float32(1.0 / math.sqrt(size))
    scores = np.empty(window, np.float32)
    keys = cache[: d * window].reshape(d, window)
    values = cache[d * window :].reshape(window, d)
    for h in range(heads):
        head = mixed[h * size : (h + 1) * size]
        for c in range(window):
            scores[c] = 0.0
        for j in range(h * size, (h + 1) * size):
            q = qkv[j] * scale
            row = keys[j]
            for c in range(window):
                scores[c] += q * row[c]
        top = np.float32(-np.inf)
        for c in range(seen):
            scores[c] += w[relative + h * window + (slot - c + window) % window]
            top = max(top, scores[c])
        total = np.float32(0.0)
        for c in range(seen):
            scores[c] = np.exp(scores[c] - top)
            total += scores[c]
        for c in range(seen):
            p = scores[c] / total
            row = values[c, h * size : (h + 1) * size]
            for j in range(size):
                head[j] += p * row[j]
    matvec_add(x, mixed, w, out_start)


@njit(cache=True)
def _gru(dims: I64, w: F32, base: int, state: F32, x: F32) -> None:
    """Add one GRU layer (gates r, z, n in that order) to x [D]; `state` [D] is this layer's."""
    d = dims[D_WIDTH]
    normed = np.empty(d, np.float32)
    layer_norm(normed, x, w, base, base + d)
    wx = base + 2 * d
    wh = wx + 3 * d * d
    bx = wh + 3 * d * d
    gx, gh = np.empty(3 * d, np.float32), np.empty(3 * d, np.float32)
    for j in range(3 * d):
        gx[j] = w[bx + j]
        gh[j] = w[bx + 3 * d + j]
    matvec_add(gx, normed, w, wx)
    matvec_add(gh, state, w, wh)
    one = np.float32(1.0)
    for j in range(d):
        r = one / (one + np.exp(-(gx[j] + gh[j])))
        z = one / (one + np.exp(-(gx[d + j] + gh[d + j])))
        n = np.tanh(gx[2 * d + j] + r * gh[2 * d + j])
        state[j] = (one - z) * n + z * state[j]
        x[j] += state[j]


@njit(cache=True)
def encode(dims: I64, off: I64, w: F32, act: F32, bar: int, z: F32, calendar: F64, n: F32) -> None:
    """Normalised inputs z [I] to the core's input n [D]; the backbone state `act` moves one bar on."""
    d, layers, window = dims[D_WIDTH], dims[D_LAYERS], dims[D_WINDOW]
    x = np.empty(d, np.float32)
    for j in range(d):
        x[j] = w[off[B_IN] + j]
    matvec_add(x, z[: dims[D_INPUTS]], w, off[W_IN])
    position = np.zeros(POSITION, np.float32)
    position[0] = 1.0 / math.sqrt(1.0 + bar)
    for j in range(POSITION - 1):
        position[1 + j] = calendar[j]
    matvec_add(x, position, w, off[W_POS])
    stride = (off[W_BACK + 1] - off[W_BACK]) // layers
    for layer in range(layers):
        base = off[W_BACK] + layer * stride
        if dims[D_GRU]:
            _gru(dims, w, base, act[layer * d : (layer + 1) * d], x)
        else:
            _attention(dims, w, base, act[layer * 2 * d * window : (layer + 1) * 2 * d * window], bar, x)
    layer_norm(n, x, w, off[G_CORE], off[B_CORE])


@njit(cache=True)
def continuum(dims: I64, off: I64, w: F32, c: F32) -> None:
    """The chain of residual blocks c ← c + relu(c W1 + b1) W2 + b2, fast level first, in place on c [D]."""
    d, m, levels = dims[D_WIDTH], dims[D_HIDDEN], dims[D_LEVELS]
    stride = (off[W_CONT + 1] - off[W_CONT]) // levels
    hidden = np.empty(m, np.float32)
    for level in range(levels):
        w1 = off[W_CONT] + level * stride
        b1 = w1 + d * m
        w2 = b1 + m
        b2 = w2 + m * d
        for j in range(m):
            hidden[j] = w[b1 + j]
        matvec_add(hidden, c, w, w1)
        for j in range(m):
            hidden[j] = max(hidden[j], np.float32(0.0))
        for j in range(d):
            c[j] += w[b2 + j]
        matvec_add(c, hidden, w, w2)
