"""Linear associative memories: update rules as pure functions on state.

What: a memory M maps keys to values, `value ~ M key`. Writing is one step of an optimisation problem (Nested Learning,
arXiv 2512.24695, Definition 1); the rules below differ in objective, retention and step. Every function takes the state
and returns the next one; nothing is changed in place. They work alike on numpy arrays and on torch tensors (then
differentiably), because they use operators and methods that both have.

Sources: delta rule in proximal form (Nested Learning Eq. 57 for unit keys; Sherman-Morrison for any key), Titans
(arXiv 2501.00663 Eq. 13-14), MIRAS/Yaad (arXiv 2504.13173, Huber attentional bias), ATLAS (arXiv 2505.23735, Omega
rule), soft cap and clamp as reported for VisionHOPE (arXiv 2609.33325).

Axes legend
    ...  any leading batch axes (streams, heads); they must broadcast
    k    key axis, d_k entries            v    value axis, d_v entries
    c    window axis, oldest pair first
Shapes: memory M [..., v, k], key [..., k], value [..., v], keys [..., c, k], values [..., c, v]. A rate or retention is
a Python float or an array [...] over the batch axes. All quantities are dimensionless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Array = TypeVar("Array", "NDArray[Any]", "torch.Tensor")
_TINY = 1e-12  # added under divisions by a squared norm: a zero key then writes nothing instead of NaN


class MomentumState(NamedTuple):
    """State of the rule with momentum: `memory` and `momentum`, both [..., v, k]."""

    memory: Any
    momentum: Any


# ---------------------------------------------------------------------------------------------------------- helpers


def _column(scale: Any) -> Any:
    """A factor that multiplies [..., v, k]: floats stay, arrays [...] get two axes."""
    return scale if isinstance(scale, (int, float)) else scale[..., None, None]


def _row(scale: Any) -> Any:
    """A factor that multiplies [..., v]: floats stay, arrays [...] get one axis."""
    return scale if isinstance(scale, (int, float)) else scale[..., None]


def _outer(value: Array, key: Array) -> Array:
    """[..., v], [..., k] -> [..., v, k]."""
    result: Array = value[..., :, None] * key[..., None, :]
    return result


def squared_norm(x: Array) -> Array:
    """Squared Euclidean norm over the last axis, [..., d] -> [...]."""
    result: Array = (x * x).sum(-1)
    return result


def frobenius_norm(memory: Array) -> Array:
    """Frobenius norm of each matrix, [..., v, k] -> [...]; an upper bound of the spectral norm."""
    result: Array = ((memory * memory).sum(-1).sum(-1) + _TINY) ** 0.5
    return result


def unit(x: Array) -> Array:
    """Vectors scaled to length one, [..., d]; the zero vector stays zero (Titans and HOPE normalise keys, queries)."""
    return x / ((squared_norm(x) + _TINY) ** 0.5)[..., None]


def recall(memory: Array, key: Array) -> Array:
    """Read `M k`: [..., v, k], [..., k] -> [..., v]."""
    result: Array = (memory * key[..., None, :]).sum(-1)
    return result


# -------------------------------------------------------------------------------------------------- steps and bounds


def proximal_rate(rate: Any, key: Array) -> Array:
    """Step eta' = eta / (1 + eta |k|^2) of the exact proximal problem, [...].

    `argmin_W 1/2 |W k - v|^2 + 1/(2 eta) |W - W_t|^2` moves W by -eta' (W_t k - v) k^T for a key of any length
    (Nested Learning Eq. 57 is the case |k| = 1). eta' |k|^2 < 1, so the step never overshoots.
    """
    result: Array = rate / (1.0 + rate * squared_norm(key))
    return result


def soft_cap(rate: Array, cap: Array) -> Array:
    """Smooth bound eta_bar = cap (1 - exp(-rate / cap)), [...]: identity for small rates, never above `cap` >= 0."""
    room = cap + _TINY
    ratio = -rate / room
    shrunk: Any = np.expm1(ratio) if isinstance(ratio, (np.ndarray, np.generic)) else ratio.expm1()
    result: Array = -room * shrunk
    return result


def injection_cap(retention: Any, key: Array, value: Array, norm_cap: Any) -> Array:
    """Largest rate for which `M -> alpha-contraction + eta v k^T` keeps |M| <= norm_cap, [...].

    |M'| <= alpha |M| + eta |v||k| <= norm_cap follows from eta <= (1 - alpha) norm_cap / (|v||k|). With retention 1
    nothing may be injected under a hard cap: choose retention < 1.
    """
    size = (squared_norm(key) * squared_norm(value) + _TINY) ** 0.5
    result: Array = (1.0 - retention) * norm_cap / size
    return result


def clamp_rate(rate: Array, key: Array, retention: Any) -> Array:
    """eta_tilde = min(eta, alpha / |k|^2), [...]: then |alpha I - eta k k^T|_2 <= alpha (no direction is amplified)."""
    limit = retention / (squared_norm(key) + _TINY)
    result: Array = rate - (rate - limit).clip(0.0)
    return result


def bounded_rate(rate: Any, key: Array, value: Array, retention: Any, norm_cap: Any) -> Array:
    """Soft cap, then clamp: the step for which both stability bounds hold at once, [...]."""
    zero = 0.0 * squared_norm(key)
    capped = soft_cap(rate + zero, injection_cap(retention, key, value, norm_cap))
    result: Array = clamp_rate(capped, key, retention)
    return result


def project(memory: Array, norm_cap: float) -> Array:
    """Scale each matrix back to Frobenius norm <= `norm_cap`; matrices below it pass unchanged, [..., v, k]."""
    norm = frobenius_norm(memory)
    result: Array = memory / (norm / norm_cap).clip(1.0)[..., None, None]
    return result


def huber(error: Array, limit: Any) -> Array:
    """Derivative of the vector Huber loss, [..., v]: the error itself up to length `limit`, then of that length.

    Yaad (MIRAS) switches per coordinate; the radial form used here keeps the direction of the error, which the bounds
    on |M| need, and is the same for d_v = 1.
    """
    norm = (squared_norm(error) + _TINY) ** 0.5  # the tiny keeps the gradient finite at error zero
    result: Array = error / _row((norm / limit).clip(1.0))
    return result


# ------------------------------------------------------------------------------------------------------------- rules


def hebbian(memory: Array, key: Array, value: Array, rate: Any = 1.0, retention: Any = 1.0) -> Array:
    """M <- alpha M + eta v k^T (dot-product objective -<M k, v>): writes without looking at what is there."""
    result: Array = _column(retention) * memory + _column(rate) * _outer(value, key)
    return result


def delta(
    memory: Array, key: Array, value: Array, rate: Any = 1.0, retention: Any = 1.0, huber_limit: float | None = None
) -> Array:
    """M <- M (alpha I - eta k k^T) + eta v k^T, the delta rule with a given step (Nested Learning Eq. 28-29 corrected).

    `rate` is used as it is: take it from `proximal_rate`, `clamp_rate` or `bounded_rate`. With `huber_limit` the error
    `v - M k` is clipped to that length first (Yaad), so that one outlier cannot move the memory by more than
    eta * limit * |k|.
    """
    error = value - recall(memory, key)
    if huber_limit is not None:
        error = huber(error, huber_limit)
    result: Array = _column(retention) * memory + _column(rate) * _outer(error, key)
    return result


def proximal_delta(
    memory: Array, key: Array, value: Array, rate: Any = 1.0, retention: Any = 1.0, huber_limit: float | None = None
) -> Array:
    """Delta rule with the exact proximal step: for retention 1 the argmin of the problem in `proximal_rate`."""
    return delta(memory, key, value, proximal_rate(rate, key), retention, huber_limit)


def bounded_delta(
    memory: Array, key: Array, value: Array, rate: Any, retention: Any, norm_cap: Any, huber_limit: float | None = None
) -> Array:
    """Delta rule under both stability bounds: homogeneous part <= retention, |M|_F <= norm_cap if it was before."""
    return delta(memory, key, value, bounded_rate(rate, key, value, retention, norm_cap), retention, huber_limit)


def momentum_delta(
    state: MomentumState,
    key: Array,
    value: Array,
    rate: Any,
    decay: Any,
    forget: Any,
    huber_limit: float | None = None,
) -> MomentumState:
    """Titans: S <- eta S - theta grad, M <- (1 - alpha) M + S (arXiv 2501.00663 Eq. 13-14).

    `rate` is theta, `decay` is eta (surprise kept from before), `forget` is alpha. The loss is 1/2 |M k - v|^2, so the
    gradient is (M k - v) k^T; the paper's factor 2 is inside theta.
    """
    error: Array = value - recall(state.memory, key)
    if huber_limit is not None:
        error = huber(error, huber_limit)
    momentum = _column(decay) * state.momentum + _column(rate) * _outer(error, key)
    return MomentumState((1.0 - _column(forget)) * state.memory + momentum, momentum)


def window_delta(
    memory: Array, keys: Array, values: Array, weights: Array, rate: float = 1.0, retention: float = 1.0
) -> Array:
    """ATLAS Omega rule over the last c pairs, solved exactly: [..., v, k] from keys [..., c, k], weights [..., c] >= 0.

    argmin_W 1/2 sum_i gamma_i |W k_i - v_i|^2 + 1/(2 rate) |W - alpha M|^2, by the push-through identity a c x c solve:
    W = A - (A X - U)(X^T X + I/rate)^-1 X^T with A = alpha M, columns of X and U scaled by sqrt(gamma). Weight 0 leaves
    a pair out (a window that is not full yet); c = 1 with weight 1 is `proximal_delta`.
    """
    root = (weights**0.5)[..., None]
    scaled_keys = keys * root  # X^T  [..., c, k]
    base = memory * retention
    # transposed residual (A X - U)^T  [..., c, v]
    residual = scaled_keys @ _transpose(base) - values * root
    gram = scaled_keys @ _transpose(scaled_keys) + _identity_like(scaled_keys) / rate  # [..., c, c]
    result: Array = base - _transpose(_solve(gram, residual)) @ scaled_keys
    return result


def push_window(window: Array, item: Array) -> Array:
    """Drop the oldest row and append `item`: [..., c, d], [..., d] -> [..., c, d]."""
    if isinstance(window, np.ndarray):
        return np.concatenate([window[..., 1:, :], item[..., None, :]], axis=-2)
    import torch

    return torch.cat([window[..., 1:, :], item[..., None, :]], dim=-2)


def _transpose(x: Array) -> Array:
    result: Array = x.swapaxes(-1, -2)
    return result


def _identity_like(keys: Array) -> Array:
    """Identity over the window axis in the dtype and place of `keys` [..., c, k] -> [c, c]."""
    if isinstance(keys, np.ndarray):
        return np.eye(keys.shape[-2], dtype=keys.dtype)
    import torch

    return torch.eye(keys.shape[-2], dtype=keys.dtype, device=keys.device)


def _solve(matrix: Array, right: Array) -> Array:
    if isinstance(matrix, np.ndarray):
        return np.linalg.solve(matrix, right)
    import torch

    solution: torch.Tensor = torch.linalg.solve(matrix, right)
    return solution
