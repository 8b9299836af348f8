"""Self-modifying Titans: five small memories that make their own keys, values, rates, decay, and their own targets.

Source: Nested Learning (arXiv 2512.24695) equations 83-93 as in nested-learning.md §1.8. For a token x [D]:
    M_□(z) = z + W1 σ(W2 z) for □ ∈ {key, value, memory};  w1ᵀ σ(W2 z) + bias for □ ∈ {rate, decay}         (83-84)
    k = M_key(x),  v = M_value(x),  η = M_rate(x),  α = M_decay(x),  q = x W_q                                (85-88)
    v̂_□ = M_□(v)                                            the memory's own target                            (89)
    M_□ ← M_□ (α I - η k kᵀ) - η ∇ℓ(M_□; k, v̂_□),  ℓ = ½‖M_□(k) - v̂_□‖²                                    (90-92)
    o = M_memory(q)                                                                                           (93)
In chunks of C tokens everything on the right (k, v, η, α, v̂, gradients) is read at the state the chunk began with; the
recurrence over the chunk is then linear with rank-one steps and has a parallel form. `forward` uses that form,
`sequential` the recurrence token by token; both give the same outputs and states to 1e-5. C = 1 is the online rule.

| deviation from the paper | why |
|---|---|
| αI - ηkkᵀ acts on W2, whose input is k; W1 only decays by α | it is defined on the layer that reads k |
| q and k are L2-normalised | as HOPE does; else the clamp acts on every token |
| η goes through a soft cap, then η ≤ α/‖k‖² | a self-referential write has no other bound (§1.8: NaN) |
| α = 1 - 2·`FORGET`·sigmoid(·), η = sigmoid(·) | the paper leaves the squashing open; α starts at 0.98 |
| decay pulls towards the learned initial state, not zero | it was meta-learned; and ‖M - M₀‖ becomes bounded |
| σ = SiLU; ∇ℓ takes v̂ as constant | a target that follows its own write is trivial to meet; outer gradients do pass v̂ |
| no depthwise convolution, no query memory | HOPE has a backbone; q is the paper's non-adaptive projection |
| o is read after the token's own write | the write uses no label, so this stays causal |

Axes: S streams, T tokens, C chunk, D width, P memories' outputs (D, or 1 for rate and decay).
State per memory and stream: the differences from the initial weights, W1 [S, P, D] and W2 [S, D, D], zero at first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from torch import Tensor, nn

from memory.associative import clamp_rate, soft_cap, unit

NAMES = ("key", "value", "rate", "decay", "memory")
FORGET = 0.02  # mean decay per token at the start: a time constant of fifty bars
State = dict[str, tuple[Tensor, Tensor]]


class _Reads:
    """What one chunk reads at its starting state, for one memory: u, h [S, C, D] and r [S, C, P]."""

    __slots__ = ("h", "r", "u")

    def __init__(self, h: Tensor, r: Tensor, u: Tensor) -> None:
        self.h, self.r, self.u = h, r, u


class SelfModifyingTitans(nn.Module):
    """x [S, T, D] (or [T, D]) to outputs of the same shape, with memories that rewrite themselves along the way.

    chunk: tokens that share a starting state. norm_cap: bound of ‖W - W₀‖_F of each memory layer.
    Raises ValueError for a wrong width or NaN. Deterministic in `seed`.
    """

    def __init__(self, width: int, chunk: int = 16, norm_cap: float = 4.0, seed: int = 0) -> None:
        super().__init__()
        if width < 1 or chunk < 1 or not norm_cap > 0.0:
            raise ValueError(f"width and chunk must be positive, norm_cap too: {width}, {chunk}, {norm_cap}")
        self.width, self.chunk, self.norm_cap = width, chunk, float(norm_cap)
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, deviation: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * deviation)

        self.query = normal(width, width, deviation=width**-0.5)
        outputs = {name: 1 if name in ("rate", "decay") else width for name in NAMES}
        self.w1 = nn.ParameterDict({n: normal(p, width, deviation=0.5 * width**-0.5) for n, p in outputs.items()})
        self.w2 = nn.ParameterDict({n: normal(width, width, deviation=width**-0.5) for n in NAMES})
        self.bias = nn.Parameter(torch.tensor([-2.0, 0.0]))  # of rate and decay: η starts at 0.12

    def initial_state(self, streams: int) -> State:
        """Differences from the learned initial memories: zero."""
        return {
            n: (self.w1[n].new_zeros(streams, *self.w1[n].shape), self.w2[n].new_zeros(streams, *self.w2[n].shape))
            for n in NAMES
        }

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Outputs [S, T, D] and the state after them, chunk by chunk in parallel form; a last short chunk is served."""
        return self._run(x, state, parallel=True)

    def sequential(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The same token by token: the recurrence as it is written above."""
        return self._run(x, state, parallel=False)

    def frozen(self, x: Tensor, state: State | None = None) -> Tensor:
        """Outputs [..., D] of the memories as they are, without writing: o = M_memory(q)."""
        squeeze = x.dim() == 2
        x = x[None] if squeeze else x
        state = self.initial_state(len(x)) if state is None else state
        out = self._read("memory", unit(x @ self.query), state)
        return out[0] if squeeze else out

    def _run(self, x: Tensor, state: State | None, *, parallel: bool) -> tuple[Tensor, State]:
        if x.shape[-1] != self.width or x.dim() not in (2, 3):
            raise ValueError(
                f"x must be [tokens, {self.width}] or [streams, tokens, {self.width}], not {tuple(x.shape)}"
            )
        if bool(torch.isnan(x).any()):
            raise ValueError("x holds NaN")
        squeeze = x.dim() == 2
        x = x[None] if squeeze else x
        state = self.initial_state(len(x)) if state is None else state
        outputs = []
        for part in torch.split(x, self.chunk, 1):
            out, state = self._chunk(part, state, parallel)
            outputs.append(out)
        joined = torch.cat(outputs, 1)
        return (joined[0] if squeeze else joined), state

    def _hidden(self, name: str, z: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """(pre-activation a, σ(a)) [S, C, D] of a memory at a state for z [S, C, D]."""
        a = z @ self.w2[name].mT + z @ state[name][1].mT
        return a, F.silu(a)

    def _read(self, name: str, z: Tensor, state: State) -> Tensor:
        """M_□(z) [S, C, P] at a state."""
        _, h = self._hidden(name, z, state)
        out = h @ self.w1[name].mT + h @ state[name][0].mT
        if name == "rate":
            out = torch.sigmoid(out + self.bias[0])
        elif name == "decay":
            out = 1.0 - 2.0 * FORGET * torch.sigmoid(out + self.bias[1])
        else:
            out = z + out
        result: Tensor = out
        return result

    def _chunk(self, x: Tensor, state: State, parallel: bool) -> tuple[Tensor, State]:
        """One chunk x [S, C, D] from its starting state."""
        k = unit(self._read("key", x, state))
        v = self._read("value", x, state)
        q = unit(x @ self.query)
        eta, alpha = self._read("rate", x, state)[..., 0], self._read("decay", x, state)[..., 0]
        reads = {name: self._gradient(name, k, v, state) for name in NAMES}
        rates = {name: self._bounded(eta, alpha, k, reads[name]) for name in NAMES}
        step = _parallel if parallel else _recurrent
        after = {
            n: step(state[n], alpha, rates[n], k, reads[n], q if n == "memory" else None, self._start(n)) for n in NAMES
        }
        out = after["memory"][2]
        assert out is not None
        return q + out, {name: (w1, w2) for name, (w1, w2, _) in after.items()}

    def _start(self, name: str) -> tuple[Tensor, Tensor]:
        return self.w1[name], self.w2[name]

    def _gradient(self, name: str, k: Tensor, v: Tensor, state: State) -> _Reads:
        """Gradient factors of ℓ at the chunk's start: ∇W1 = r hᵀ, ∇W2 = u kᵀ."""
        target = self._read(name, v, state)  # constant for ∇ℓ below, not for the outer loop
        a, h = self._hidden(name, k, state)
        raw = h @ self.w1[name].mT + h @ state[name][0].mT
        if name == "rate":
            p = torch.sigmoid(raw + self.bias[0])
            r = (p - target) * p * (1.0 - p)
        elif name == "decay":
            p = torch.sigmoid(raw + self.bias[1])
            r = (1.0 - 2.0 * FORGET * p - target) * (-2.0 * FORGET) * p * (1.0 - p)
        else:
            r = k + raw - target
        s = torch.sigmoid(a)
        back = r @ self.w1[name] + r @ state[name][0]
        return _Reads(h, r, back * s * (1.0 + a * (1.0 - s)))

    def _bounded(self, eta: Tensor, alpha: Tensor, k: Tensor, reads: _Reads) -> Tensor:
        """η under the soft cap of both layers' injections, then the clamp: ‖W - W₀‖ cannot pass norm_cap.

        W2's write is (u + W2 k) kᵀ with ‖W2 k‖ ≤ ‖W2‖: the kkᵀ part contracts the difference but also moves W₀ k, so
        the initial weights' norm is part of what is injected.
        """
        start = max(float(self.w2[name].detach().norm()) for name in NAMES)
        size2 = (reads.u.norm(dim=-1) + start) * k.norm(dim=-1)
        size1 = reads.r.norm(dim=-1) * reads.h.norm(dim=-1)
        injected = torch.maximum(size1, size2).detach() + 1e-12
        return clamp_rate(soft_cap(eta, (1.0 - alpha) * self.norm_cap / injected), k, alpha)


Result = tuple[Tensor, Tensor, Tensor | None]


def _recurrent(
    state: tuple[Tensor, Tensor], alpha: Tensor, eta: Tensor, k: Tensor, reads: _Reads, q: Tensor | None,
    start: tuple[Tensor, Tensor],
) -> Result:  # fmt: skip
    """The recurrence on differences E = W - W₀, token by token; reads W1 σ(W2 q) after each write where q is given.

    E2 ← α E2 - η ((W₀ + E2) k + u) kᵀ,  E1 ← α E1 - η r hᵀ;  all of the state before, ‖αI - ηkkᵀ‖ ≤ α.
    """
    e1, e2 = state
    outputs = []
    for t in range(k.shape[1]):
        a, n, key = alpha[:, t, None, None], eta[:, t, None], k[:, t]
        seen = key @ start[1].mT + torch.einsum("spd,sd->sp", e2, key) + reads.u[:, t]
        e2 = a * e2 - (n * seen)[..., None] * key[:, None, :]
        e1 = a * e1 - (n * reads.r[:, t])[..., None] * reads.h[:, t, None, :]
        if q is not None:
            hidden = F.silu(q[:, t] @ start[1].mT + torch.einsum("spd,sd->sp", e2, q[:, t]))
            outputs.append(hidden @ start[0].mT + torch.einsum("spd,sd->sp", e1, hidden))
    return e1, e2, torch.stack(outputs, 1) if outputs else None


def _parallel(
    state: tuple[Tensor, Tensor], alpha: Tensor, eta: Tensor, k: Tensor, reads: _Reads, q: Tensor | None,
    start: tuple[Tensor, Tensor],
) -> Result:  # fmt: skip
    """The same for a whole chunk: one triangular system for W2's innovations, decayed sums for the rest.

    With γ_t = Π_{s≤t} α_s and w_t = (W₀ + E2_{t-1}) k_t + u_t:  w_t + Σ_{s<t} (γ_{t-1}/γ_s) η_s (k_s·k_t) w_s =
    W₀ k_t + u_t + γ_{t-1} E2_0 k_t.
    """
    e1, e2 = state
    tokens = k.shape[1]
    log_gamma = alpha.log().cumsum(1)
    decay = (log_gamma[:, :, None] - log_gamma[:, None, :]).tril().exp().tril()  # γ_t/γ_s for s ≤ t
    before = (log_gamma - alpha.log()).exp()
    shifted = (decay / alpha[..., None]).tril(-1)  # γ_{t-1}/γ_s for s < t
    system = torch.eye(tokens, dtype=k.dtype, device=k.device) + shifted * (k @ k.mT) * eta[:, None, :]
    right = k @ start[1].mT + reads.u + before[..., None] * (k @ e2.mT)
    w = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    last = decay[:, -1] * eta  # weight of token s in the state after the chunk
    gamma = log_gamma.exp()
    after2 = gamma[:, -1, None, None] * e2 - torch.einsum("sc,scp,scd->spd", last, w, k)
    after1 = gamma[:, -1, None, None] * e1 - torch.einsum("sc,scp,scd->spd", last, reads.r, reads.h)
    if q is None:
        return after1, after2, None
    weights = decay * eta[:, None, :]
    pre = q @ start[1].mT + gamma[..., None] * (q @ e2.mT) - (weights * (q @ k.mT)) @ w
    hidden = F.silu(pre)
    out = hidden @ start[0].mT + gamma[..., None] * (hidden @ e1.mT) - (weights * (hidden @ reads.h.mT)) @ reads.r
    return after1, after2, out
