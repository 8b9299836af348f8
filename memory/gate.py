"""The write gate: what is worth keeping, learned from what turned out to be useful.

What: a small network sees an experience and its context as 12 numbers (experience_features.py) and gives three:
logits of the chance that it will be useful enough for the episodic and for the semantic store, and the usefulness it
expects. It is trained on the slow clock from the measured usefulness (leave-one-out gains) of what was stored. An
experience whose chance is at least a quarter (semantic: a tenth) of the best ones' is always written, one below it in
proportion: where everything is equally useful nothing is refused. What was let in against the odds counts as many
times as its kind was refused, so that the gate does not learn from its own selection. Every level has its own
sigmoid, so that no level starves another.
Open until proven: on every slow tick the expectation noted when an experience was written is compared with what its
usefulness turned out to be. Only while their correlation is positive beyond doubt (t > 3 over at least 8 ticks) does
the gate refuse anything, and even then one experience in twenty is let in to keep measuring. A gate trained on noise
therefore stays open.
Source: founding document (`gating_network`, `importance_net` 512-64-3), defects M1-M4 and R3-R4 and design §3.5 of
nested-learning.md. Shapes: features [n, 12], outputs [n, 3]. Units: features in standard deviations or cosines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from memory.experience_features import FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

HIDDEN = 16
EPISODIC, SEMANTIC, EXPECTED = range(3)  # outputs
USEFUL = (0.25, 0.1)  # useful for a level: above this share of the mean usefulness of the best tenth
SURE = (0.25, 0.1)  # share of the best chance from which an experience is always written: storing is cheap
EXPLORE = 0.05  # share that a working gate lets in unseen
PROOF_TICKS, PROOF_T = 8, 3.0
_EPOCHS, _RATE = 4, 0.01  # passes over the stored experiences on a tick, Adam step


class Network(Protocol):
    """What the gate asks of a network: scores of one experience, training on many, its state."""

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Three outputs for one experience [12], called once per experience in order."""

    def train(
        self,
        features: NDArray[np.float64],
        usefulness: NDArray[np.float64],
        labels: NDArray[Any],
        weights: NDArray[np.float64],
    ) -> None:
        """Fit to experiences in time order: features [n, 12], usefulness [n] (unit variance), labels [n, 2] in 0, 1.

        `weights` [n] have mean 1.
        """

    @property
    def nbytes(self) -> int:
        """Bytes of weights and optimizer state."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays."""

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state of the same shapes."""


class PerceptronNetwork:
    """12-16-3 with tanh, trained by Adam; plain numpy, so that the memory works without torch."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        first = rng.normal(scale=FEATURES**-0.5, size=(HIDDEN, FEATURES + 1))
        self.weights = np.concatenate([first.ravel(), np.zeros(3 * (HIDDEN + 1))])
        self.moments = np.zeros((2, self.weights.size))
        self.steps = 0

    def _layers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        cut = HIDDEN * (FEATURES + 1)
        return self.weights[:cut].reshape(HIDDEN, -1), self.weights[cut:].reshape(3, -1)

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Three outputs for one experience [12] or many [n, 12]."""
        first, second = self._layers()
        hidden = np.tanh(features @ first[:, :-1].T + first[:, -1])
        result: NDArray[np.float64] = hidden @ second[:, :-1].T + second[:, -1]
        return result

    def train(
        self,
        features: NDArray[np.float64],
        usefulness: NDArray[np.float64],
        labels: NDArray[Any],
        weights: NDArray[np.float64],
    ) -> None:
        """A few full-batch Adam steps on cross-entropy (two gates) plus Huber (expected usefulness)."""
        with_bias = np.concatenate([features, np.ones((len(features), 1))], axis=1)
        for _ in range(_EPOCHS):
            first, second = self._layers()
            hidden = np.tanh(with_bias @ first.T)
            hidden_bias = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1)
            outputs = hidden_bias @ second.T
            error = np.empty_like(outputs)
            error[:, :2] = 1.0 / (1.0 + np.exp(-outputs[:, :2])) - labels
            error[:, 2] = np.clip(outputs[:, 2] - usefulness, -1.0, 1.0)
            error *= weights[:, None] / len(features)
            back = (error @ second[:, :-1]) * (1.0 - hidden**2)
            self._adam(np.concatenate([(back.T @ with_bias).ravel(), (error.T @ hidden_bias).ravel()]))

    def _adam(self, gradient: NDArray[np.float64]) -> None:
        self.steps += 1
        self.moments[0] += 0.1 * (gradient - self.moments[0])
        self.moments[1] += 0.001 * (gradient**2 - self.moments[1])
        mean = self.moments[0] / (1 - 0.9**self.steps)
        square = self.moments[1] / (1 - 0.999**self.steps)
        self.weights -= _RATE * mean / (np.sqrt(square) + 1e-8)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and moments."""
        return self.weights.nbytes + self.moments.nbytes

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of weights, moments and step count."""
        return {"weights": self.weights.copy(), "moments": self.moments.copy(), "steps": np.array(self.steps)}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state of the same shapes."""
        self.weights[:] = state["weights"]
        self.moments[:] = state["moments"]
        self.steps = int(state["steps"])


class RandomNetwork:
    """Negative control: scores without any relation to the experience, never trained; always trusted by the gate."""

    nbytes = 0

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._calls = 0

    def score(self, _features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Three standard normal numbers."""
        self._calls += 1
        return 3.0 * np.random.default_rng([self._seed, 2, self._calls]).normal(size=3)

    def train(self, *_data: NDArray[Any]) -> None:
        """Nothing to learn."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The number of calls is all the state there is."""
        return {"calls": np.array(self._calls)}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue after as many calls."""
        self._calls = int(state["calls"])


class WriteGate:
    """Decides for each experience which stores it enters; learns from usefulness. `network` as in Network.

    `trusted` skips the proof (for the random control); `shuffle` breaks the relation between features and usefulness
    (the shuffled-label control). Decisions use counter-based randomness: the same state decides the same.
    """

    def __init__(self, network: Network, seed: int, *, trusted: bool = False, shuffle: bool = False) -> None:
        self.network, self._seed, self._trusted, self._shuffle = network, seed, trusted, shuffle
        self.rates = np.ones(2)  # running average of the write probabilities, printed by the benchmarks
        self.best = np.full(2, 0.01)  # chances of being useful of the best kind of experience, a running maximum
        self.scale = np.zeros(1)  # standard deviation of usefulness, the unit of what the network expects
        self.proof = np.zeros(3)  # number, sum and sum of squares of the correlations per slow tick

    @property
    def selective(self) -> bool:
        """Whether the gate has earned the right to refuse anything."""
        if self._trusted:
            return True
        number, total, squares = self.proof
        if number < PROOF_TICKS:
            return False
        mean = total / number
        error = np.sqrt(max(squares / number - mean**2, 1e-12) / number)
        return bool(mean / error > PROOF_T)

    @property
    def expected_scale(self) -> float:
        """What an expectation is worth in units of usefulness: nothing before the gate has proven itself."""
        return float(self.scale[0]) if self.selective else 0.0

    def judge(self, features: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Write probabilities [2] (episodic, semantic), ones while the gate is open, and the expected usefulness."""
        scores = self.network.score(features)
        if self.selective:
            useful = 1.0 / (1.0 + np.exp(-scores[:2]))
            self.best = np.where(useful > self.best, self.best + 0.1 * (useful - self.best), 0.999 * self.best)
            chances = np.clip(useful / (np.array(SURE) * self.best), EXPLORE, 1.0)
        else:
            chances = np.ones(2)
        self.rates += 0.01 * (chances - self.rates)
        return chances, float(scores[EXPECTED])

    def admits(self, chances: NDArray[np.float64], sequence: int) -> NDArray[np.bool_]:
        """The decision [2] for experience number `sequence`."""
        if chances[0] >= 1.0 and chances[1] >= 1.0:
            return np.array([True, True])
        result: NDArray[np.bool_] = np.random.default_rng([self._seed, 3, sequence]).random(2) < chances
        return result

    def tick(self, seen: NDArray[np.float64], usefulness: NDArray[np.float64], fresh: NDArray[np.bool_]) -> None:
        """Slow clock, rows in time order: compare expectation and `usefulness` on the `fresh` rows, train on all.

        `seen` [n, 14] is what was noted at the write: features, expected usefulness, chance of being written.
        """
        features, expected, chances = seen[:, :FEATURES], seen[:, FEATURES], seen[:, FEATURES + 1]
        weights = 1.0 / np.clip(chances, EXPLORE, 1.0)
        if self._shuffle:
            order = np.random.default_rng([self._seed, 4, int(fresh.sum()), len(usefulness)]).permutation(
                len(usefulness)
            )
            usefulness = usefulness[order]
        if len(usefulness) < 8 or np.ptp(usefulness) == 0.0:
            return
        if fresh.sum() >= 8:
            self._prove(expected[fresh], usefulness[fresh], weights[fresh])
        best = float(np.mean(usefulness[usefulness >= np.quantile(usefulness, 0.9)]))
        labels = np.stack([usefulness > max(share * best, 0.0) for share in USEFUL], axis=1)
        scale = max(float(np.std(usefulness)), 1e-12)
        self.scale[0] = scale
        self.network.train(
            features, np.clip(usefulness / scale, -3.0, 3.0), labels.astype(np.float64), weights / weights.mean()
        )

    def _prove(
        self, expected: NDArray[np.float64], usefulness: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> None:
        """Note the weighted correlation of one tick."""
        if np.ptp(expected) == 0.0 or np.ptp(usefulness) == 0.0:
            return
        covariance = np.cov(expected, usefulness, aweights=weights)
        correlation = float(covariance[0, 1] / np.sqrt(max(covariance[0, 0] * covariance[1, 1], 1e-300)))
        self.proof *= 0.99  # what was proven long ago fades
        self.proof += (1.0, correlation, correlation**2)

    @property
    def nbytes(self) -> int:
        """Bytes of the network and the gate's own numbers."""
        return self.network.nbytes + self.rates.nbytes + self.best.nbytes + self.scale.nbytes + self.proof.nbytes

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays, the network's under `network.`."""
        own = {name: getattr(self, name).copy() for name in ("rates", "best", "scale", "proof")}
        return {**own, **{f"network.{name}": array for name, array in self.network.state_dict().items()}}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state of the same shapes."""
        for name in ("rates", "best", "scale", "proof"):
            getattr(self, name)[:] = state[name]
        start = "network."
        self.network.load_state_dict({n[len(start) :]: a for n, a in state.items() if n.startswith(start)})
