"""Regime snapshot bank: keep what was learned in one regime while another is on, and find it again.

What: up to eight states of one small network (its fast weights), of which one is usually in force. Every labelled
batch is scored by all states; a filter with a sticky prior turns the losses into regime probabilities, p_j ~ (stay
p_j + (1 - stay) / K) exp(-beta loss_j / scale), and predictions are mixed by them. Only the responsible state learns,
on the batch and on a small replay of its own regime: replay inside the inferred context does not mix conflicting
regimes. When the state in force turns bad and no other fits, a new one is spawned; two that predict alike are merged.
Detection takes a few batches, during which the wrong state is trained: so every state has a checkpoint of its last
settled weights and is put back to it when the regime leaves it.
Source: nested-learning.md §3.6 (ii) and 2.0; the filter is the forward step of a hidden Markov model (mixture of
experts with likelihood gating). Shapes: states [K, n] of n weights, batches x [B, ...], y [B, ...]. Units: the
loss's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call, vmap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FAST, _SLOW = 0.2, 0.02  # running means of losses: of the last few batches, of the settled level
_CERTAIN = 0.8  # probability from which another state takes over
_BETAS = (0.9, 0.999)


class Observation(NamedTuple):
    """What one batch did: its loss under the prediction, the state in force, and whether states came or went."""

    loss: float
    state: int
    spawned: bool
    merged: bool


class RegimeSnapshotBank:
    """States of `model` with gating, spawning and merging; see the module's text.

    `loss(prediction, target)` gives one loss per sample [B]; `rate` Adam step; `beta` sharpness of the filter; `stay`
    prior probability that a regime goes on; `alarm` how many times its settled loss makes a state bad; `patience`
    batches before a new state may be judged; `replay` samples kept per state (0: none, then nothing is merged);
    `close` loss ratio under which two states are one. `model` itself is never changed. Deterministic given `seed`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        *,
        max_states: int = 8,
        rate: float = 1e-3,
        beta: float = 2.0,
        stay: float = 0.98,
        alarm: float = 2.0,
        patience: int = 40,
        replay: int = 128,
        close: float = 1.5,
        checkpoint_every: int = 20,
        clip: float = 1.0,
        seed: int = 0,
    ) -> None:
        if not 1 <= max_states <= 8 or not 0 < stay < 1:
            raise ValueError(f"need 1 <= max_states <= 8 and 0 < stay < 1, got {max_states} and {stay}")
        self._model, self._loss = model, loss
        self._names = [(name, p.shape, p.numel()) for name, p in model.named_parameters()]
        self.max_states, self.rate, self.beta, self.stay, self.alarm = max_states, rate, beta, stay, alarm
        self.patience, self.replay, self.close, self.clip = patience, replay, close, clip
        self._checkpoint_every = checkpoint_every
        self._generator = torch.Generator().manual_seed(seed)
        start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        self.weights = start[None]  # [K, n]
        self._checkpoint = self.weights.clone()
        self._moments = torch.zeros(2, 1, start.numel())
        # per state: Adam steps, batches learned, fast loss, settled loss, samples in replay, samples ever offered
        self._ledger = torch.tensor([[0.0, 0.0, torch.nan, torch.nan, 0.0, 0.0]])
        self.probabilities = torch.ones(1)
        self._replay: list[tuple[torch.Tensor, torch.Tensor] | None] = [None]
        self._pending: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.active, self._since = 0, 0

    # ------------------------------------------------------------------------------------------------- the network

    def _call(self, flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        parts = torch.split(flat, [size for _, _, size in self._names])
        named = {name: part.view(shape) for (name, shape, _), part in zip(self._names, parts, strict=True)}
        result: torch.Tensor = functional_call(self._model, named, (x,))
        return result

    @torch.no_grad()
    def predict_all(self, x: torch.Tensor) -> torch.Tensor:
        """Predictions of every state, [K, B, ...]."""
        result: torch.Tensor = vmap(lambda flat: self._call(flat, x))(self.weights)
        return result

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Mixture of the states' predictions by their present probabilities, [B, ...]."""
        result: torch.Tensor = torch.tensordot(self.probabilities, self.predict_all(x), dims=1)
        return result

    def infer(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Regime probabilities [K] after a labelled batch, without learning or changing anything."""
        return self._filter(self.probabilities, self._losses(self.predict_all(x), y))

    def _losses(self, predictions: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._loss(prediction, y).mean() for prediction in predictions])

    def _filter(self, prior: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        count = losses.numel()
        spread = torch.full((count,), 1.0 / count)
        expected = self.stay * prior + (1 - self.stay) * spread
        settled = self._ledger[:, 3]
        known = settled[~settled.isnan()]
        scale = known.min() if known.numel() else losses.min()
        posterior = torch.log(expected) - self.beta * losses / torch.clamp(scale, min=1e-12)
        return torch.softmax(posterior, 0)

    # ------------------------------------------------------------------------------------------------------- learn

    def observe(self, x: torch.Tensor, y: torch.Tensor) -> Observation:
        """Score, gate, learn from one labelled batch. Raises ValueError if a loss is not finite (nothing changes)."""
        predictions = self.predict_all(x)
        losses = self._losses(predictions, y)
        if not bool(torch.isfinite(losses).all()):
            raise ValueError(f"losses are not finite: {losses.tolist()}")
        mixture = float(self._loss(torch.tensordot(self.probabilities, predictions, dims=1), y).mean())
        self.probabilities = self._filter(self.probabilities, losses)
        self._note(losses)
        best = int(self.probabilities.argmax())
        spawned = merged = False
        if best != self.active and float(self.probabilities[best]) >= _CERTAIN:
            merged = self._leave(best)
        elif best == self.active and self.max_states > 1 and self._is_bad(best):
            self._spawn()
            spawned = True
        self._since += 1
        self._train(self.active, x, y)
        self._settle(x, y)
        merged = (self._since % (4 * self.patience) == 0 and self._merge()) or merged
        return Observation(mixture, self.active, spawned, merged)

    def _note(self, losses: torch.Tensor) -> None:
        """Running fast losses of all states. A single batch counts as at most twice the alarm: noise with heavy tails
        must persist for three batches before it looks like another regime.
        """
        fast, settled = self._ledger[:, 2], self._ledger[:, 3]
        bounded = torch.where(settled.isnan(), losses, torch.minimum(losses, 2 * self.alarm * settled))
        self._ledger[:, 2] = torch.where(fast.isnan(), bounded, fast + _FAST * (bounded - fast))

    def _is_bad(self, state: int) -> bool:
        """The state in force has been learning for a while, was settled, and now fits badly; so does every other."""
        _, learned, fast, settled, _, _ = self._ledger[state].tolist()
        return learned >= self.patience and self._since >= 5 and fast > self.alarm * settled

    def _leave(self, state: int) -> bool:
        """Another state takes over: what the old one learned since its checkpoint was the new regime's.

        An old one that never settled was a false alarm and is dropped; returns whether it was.
        """
        old = self.active
        self.weights[self.active] = self._checkpoint[self.active]
        self._pending.clear()
        self.active, self._since = state, 0
        self._ledger[state, 2] = self._ledger[state, 3]  # how it did in other regimes does not count against it
        alarm = self.replay > 0 and self._replay[old] is None and float(self._ledger[old, 1]) < self.patience
        if alarm:
            self._remove(old)
        return alarm

    def _spawn(self) -> None:
        """A state for a regime not seen before, from the weights in force; of eight the least used one goes."""
        origin = self.weights[self.active].clone()
        self.weights[self.active] = self._checkpoint[self.active]
        if len(self.weights) >= self.max_states:
            used = self._ledger[:, 1].clone()
            used[self.active] = torch.inf
            self._remove(int(used.argmin()))
        self.weights = torch.cat([self.weights, origin[None]])
        self._checkpoint = torch.cat([self._checkpoint, origin[None]])
        self._moments = torch.cat([self._moments, torch.zeros(2, 1, origin.numel())], 1)
        self._ledger = torch.cat([self._ledger, torch.tensor([[0.0, 0.0, torch.nan, torch.nan, 0.0, 0.0]])])
        self._replay.append(None)
        self.active, self._since = len(self.weights) - 1, 0
        self.probabilities = torch.full((len(self.weights),), 0.1 / max(len(self.weights) - 1, 1))
        self.probabilities[self.active] = 0.9
        self._pending.clear()

    def _remove(self, state: int) -> None:
        keep = [j for j in range(len(self.weights)) if j != state]
        self.weights, self._checkpoint = self.weights[keep], self._checkpoint[keep]
        self._moments, self._ledger = self._moments[:, keep], self._ledger[keep]
        self.probabilities = self.probabilities[keep] / self.probabilities[keep].sum()
        self._replay = [self._replay[j] for j in keep]
        self.active = keep.index(self.active)

    def _train(self, state: int, x: torch.Tensor, y: torch.Tensor) -> None:
        """One Adam step of one state on the batch and as many replayed samples of its own regime."""
        held = self._replay[state]
        if held is not None:
            chosen = torch.randint(len(held[0]), (len(x),), generator=self._generator)
            x, y = torch.cat([x, held[0][chosen]]), torch.cat([y, held[1][chosen]])
        flat = self.weights[state].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self._loss(self._call(flat, x), y).mean(), flat)
        gradient *= torch.clamp(self.clip / (gradient.norm() + 1e-12), max=1.0)
        self._ledger[state, 0] += 1
        steps = float(self._ledger[state, 0])
        mean, square = self._moments[0, state], self._moments[1, state]
        mean.lerp_(gradient, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        scaled = (mean / (1 - _BETAS[0] ** steps)) / ((square / (1 - _BETAS[1] ** steps)).sqrt() + 1e-8)
        self.weights[state] -= self.rate * scaled

    def _settle(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Count the batch to the state in force; after some quiet batches checkpoint it and keep samples."""
        row = self._ledger[self.active]
        row[1] += 1
        fast, settled = float(row[2]), float(row[3])
        fits = settled != settled or fast <= self.alarm * settled  # noqa: PLR0124 - NaN test
        # half of the best is enough: two states that are the same regime share the probability until they are merged
        if not fits or float(self.probabilities[self.active]) < 0.5 * float(self.probabilities.max()):
            return
        # slow upwards, quick downwards: a state that still improves must not look bad against its past
        step = 1.0 if settled != settled else (0.1 if fast < settled else _SLOW)  # noqa: PLR0124
        row[3] = fast if settled != settled else settled + step * (fast - settled)  # noqa: PLR0124
        self._pending.append((x, y))
        if len(self._pending) >= self._checkpoint_every:
            self._checkpoint[self.active] = self.weights[self.active]
            for inputs, targets in self._pending[: self._checkpoint_every // 2]:
                self._remember(self.active, inputs, targets)
            del self._pending[: self._checkpoint_every // 2]

    def _remember(self, state: int, x: torch.Tensor, y: torch.Tensor) -> None:
        """Reservoir sampling into the state's replay."""
        if self.replay == 0:
            return
        held = self._replay[state]
        if held is None:
            held = (x[:0].clone(), y[:0].clone())
        inputs, targets = held
        for sample, target in zip(x, y, strict=True):
            self._ledger[state, 5] += 1
            if len(inputs) < self.replay:
                inputs, targets = torch.cat([inputs, sample[None]]), torch.cat([targets, target[None]])
                continue
            place = int(torch.randint(int(self._ledger[state, 5]), (1,), generator=self._generator))
            if place < self.replay:
                inputs[place], targets[place] = sample, target
        self._replay[state] = (inputs, targets)
        self._ledger[state, 4] = len(inputs)

    def _merge(self) -> bool:
        """Drop one of two states if each predicts the other's replay nearly as well as its owner does."""
        ready = [j for j, held in enumerate(self._replay) if held is not None]
        for i in ready:
            for j in ready:
                if j <= i or not (self._fits(i, j) and self._fits(j, i)):
                    continue
                loser = i if i != self.active and (j == self.active or self._ledger[i, 1] < self._ledger[j, 1]) else j
                self._remove(loser)
                return True
        return False

    @torch.no_grad()
    def _fits(self, state: int, owner: int) -> bool:
        held = self._replay[owner]
        assert held is not None
        own = self._loss(self._call(self.weights[owner], held[0]), held[1]).mean()
        other = self._loss(self._call(self.weights[state], held[0]), held[1]).mean()
        return bool(other <= self.close * own)

    # ------------------------------------------------------------------------------------------------------- state

    @property
    def nbytes(self) -> int:
        """Bytes of states, checkpoints, moments, ledgers and replays."""
        tensors = [self.weights, self._checkpoint, self._moments, self._ledger, self.probabilities]
        tensors += [part for held in self._replay if held is not None for part in held]
        tensors += [part for pair in self._pending for part in pair]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Everything as a flat dictionary of tensors."""
        state = {
            "weights": self.weights.clone(),
            "checkpoint": self._checkpoint.clone(),
            "moments": self._moments.clone(),
            "ledger": self._ledger.clone(),
            "probabilities": self.probabilities.clone(),
            "generator": self._generator.get_state(),
            "numbers": torch.tensor([self.active, self._since, len(self._pending)]),
        }
        for j, held in enumerate(self._replay):
            if held is not None:
                state[f"replay.{j}.x"], state[f"replay.{j}.y"] = held[0].clone(), held[1].clone()
        for j, (x, y) in enumerate(self._pending):
            state[f"pending.{j}.x"], state[f"pending.{j}.y"] = x.clone(), y.clone()
        return state

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue exactly where the state was taken. Raises ValueError if it is of another network."""
        if state["weights"].shape[1:] != self.weights.shape[1:]:
            raise ValueError(f"state of {state['weights'].shape[1]} weights, the network has {self.weights.shape[1]}")
        self.weights, self._checkpoint = state["weights"].clone(), state["checkpoint"].clone()
        self._moments, self._ledger = state["moments"].clone(), state["ledger"].clone()
        self.probabilities = state["probabilities"].clone()
        self._generator.set_state(state["generator"].clone())
        self.active, self._since, pending = (int(n) for n in state["numbers"])

        def pair(name: str) -> Any:
            return (state[f"{name}.x"].clone(), state[f"{name}.y"].clone()) if f"{name}.x" in state else None

        self._replay = [pair(f"replay.{j}") for j in range(len(self.weights))]
        self._pending = [pair(f"pending.{j}") for j in range(pending)]
