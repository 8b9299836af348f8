"""HOPE that reads a nested memory as context: what followed, the last times the market looked like this?

What: beside the sequence model stands a nested memory whose keys are its embeddings and whose values are the errors it
turned out to make. On every bar it is asked what error to expect, and a share w of the answer is added to the prediction:

    r_t = memory's estimate at the (centred) embedding,   prediction = HOPE's prediction + w scale r_t
    w   = clip( sum d^(t-i) e_i r_i / sum d^(t-i) r_i^2, 0, 1 )       least squares with discount d, per target
    in force only while the paired gain  e^2 - (e - w r)^2  has been positive beyond doubt (t > 2)

e is HOPE's own error in units of its running size (`scale`), known one bar later; then the memory learns from it and the
experience is written, so nothing is recalled before it was known. While w is 0 the output is HOPE's, bit for bit.
Correcting the output instead of widening the input needs no retraining: any trained HOPE takes any memory.
Source: founding document (NestedHOPE with NestedMemory); retrieval of the model's own errors as in nested-learning.md §3.5.
Shapes: S streams share one memory; targets O; embedding [D], the memory's dim. Errors dimensionless, clipped to ±5.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from memory.nested import NestedMemory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from memory.hope import HOPE, Output
    from memory.read import Recall

DISCOUNT = 0.998  # of the sums behind the share and its proof: about 500 bars
CENTRE_RATE, SCALE_RATE = 0.005, 0.01
PROOF_T, PROOF_BARS = 2.0, 200  # the share acts from so many bars on, while its t-value is above this
LIMIT = 5.0
_SUMS = 5  # rows of `sums`: e r, r^2, gain, gain^2, weight


class RememberingHOPE:
    """See the module's text. `hope` is stepped by this object only; `memory` defaults to one of matching dim.

    read: False writes and learns but never acts (the ablation). Raises ValueError if the memory's keys are of another
    size than the embedding.
    """

    def __init__(self, hope: HOPE, memory: NestedMemory | None = None, *, read: bool = True, seed: int = 0) -> None:
        width = hope.config.width
        self.hope, self.read = hope, read
        self.memory = NestedMemory(dim=width, seed=seed) if memory is None else memory
        if self.memory.dim != width:
            raise ValueError(f"the memory's keys have {self.memory.dim} components, the embedding {width}")
        self.reset()

    def reset(self) -> None:
        """Forget streams, experiences and the learned share; what the memory knows about writing and reading stays."""
        self.hope.reset(0)
        self.memory.forget()
        self.bar = 0
        self.sums = np.zeros((_SUMS, self.hope.config.targets))
        self.scale = np.zeros(self.hope.config.targets)
        self.centre = np.zeros(self.hope.config.width)
        self._asked: list[Recall] = []
        self._keys: NDArray[np.float64] = np.zeros((0, self.hope.config.width))
        self._said: NDArray[np.float64] = np.zeros((0, self.hope.config.targets))

    @property
    def share(self) -> NDArray[np.float64]:
        """The share w of the memory's answer that acts now, one per target; 0 until it has proven itself."""
        product, square, gain, gain_square, weight = self.sums
        fitted = np.clip(product / (square + 1.0), 0.0, 1.0)
        mean = gain / np.maximum(weight, 1e-12)
        variance = np.maximum(gain_square / np.maximum(weight, 1e-12) - mean**2, 1e-12)
        proven = (mean / np.sqrt(variance / np.maximum(weight, 1.0)) > PROOF_T) & (self.bar >= PROOF_BARS)
        acting: NDArray[np.float64] = np.where(proven & self.read, fitted, 0.0)
        return acting

    def step(self, x: Any, time_ms: int | None = None) -> Output:
        """As `HOPE.step`: the last bar's error is learned from first, then the next bar is predicted."""
        array = np.atleast_2d(x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, np.float64))
        own = self.hope.step(x, time_ms)  # refuses what is wrong before anything is changed
        if len(self._said):
            self._learn(array[:, : self.hope.config.targets])
        single = np.ndim(own.triggered) == 0
        said = np.atleast_2d(np.asarray(own.prediction, np.float64))
        expected = self._ask(np.atleast_2d(np.asarray(own.embedding, np.float64)))
        self._said = said.copy()
        self.bar += 1
        share = self.share
        if not share.any():
            return own
        corrected = said + share * self.scale * expected
        answer: Any = corrected[0] if single else corrected
        if isinstance(own.prediction, Tensor):
            answer = own.prediction.new_tensor(answer)
        return dataclasses.replace(own, prediction=answer)

    def _ask(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """The memory's expectations [S, O]; keys are centred: raw embeddings of all bars point the same way."""
        self._keys = embeddings - self.centre
        rate = max(CENTRE_RATE, 1.0 / (self.bar + 1.0))
        self.centre += rate * (embeddings.mean(axis=0) - self.centre)
        self._asked = [self.memory.read(key) for key in self._keys]
        expected = [np.atleast_1d(recall.estimate) for recall in self._asked]
        shape = (len(embeddings), self.sums.shape[1])
        return np.nan_to_num(np.broadcast_to(np.array(expected), shape)).clip(-LIMIT, LIMIT)

    def _learn(self, label: NDArray[np.float64]) -> None:
        """Labels [S, O] of the last prediction have come: update scale, share and memory, write the experiences."""
        error = label - self._said
        size = np.abs(np.clip(error, -LIMIT * self.scale, LIMIT * self.scale) if self.bar > 1 else error).mean(axis=0)
        self.scale += max(SCALE_RATE, 1.0 / self.bar) * (size - self.scale)
        relative = np.clip(error / np.maximum(self.scale, 1e-300), -LIMIT, LIMIT)
        self.sums *= DISCOUNT
        for recall, key, e in zip(self._asked, self._keys, relative, strict=True):
            r = np.nan_to_num(np.broadcast_to(np.atleast_1d(recall.estimate), e.shape)).clip(-LIMIT, LIMIT)
            fitted = np.clip(
                self.sums[0] / (self.sums[1] + 1.0), 0.0, 1.0
            )  # before this bar: the gain is out of sample
            gain = e**2 - (e - fitted * r) ** 2
            self.sums += np.array([e * r, r * r, gain, gain * gain, np.ones_like(e)]) / len(relative)
            value = float(e[0]) if e.size == 1 else e
            if math.isfinite(recall.uncertainty):
                self.memory.learn(recall, value)
            if np.any(key):
                self.memory.write(key, value, float(self.bar))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything but HOPE's slow weights, as arrays."""
        asked = {f"asked.{i}.{n}": a for i, r in enumerate(self._asked) for n, a in r.arrays().items()}
        own = {"bar": np.array(self.bar), "sums": self.sums, "scale": self.scale, "centre": self.centre}
        last = {"keys": self._keys, "said": self._said}
        streams = {f"hope.{name}": array for name, array in self.hope.streams().items()}
        memory = {f"memory.{name}": array for name, array in self.memory.state_dict().items()}
        return {name: np.array(array) for name, array in {**own, **last, **asked, **streams, **memory}.items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue where `state_dict` was taken, bit for bit, with the same slow weights and settings."""
        from memory.read import Recall

        self.memory.load_state_dict(_under("memory.", state))
        self.bar, self.sums, self.scale = int(state["bar"]), state["sums"].copy(), state["scale"].copy()
        self.centre, self._keys, self._said = state["centre"].copy(), state["keys"].copy(), state["said"].copy()
        self._asked = [Recall.from_arrays(_under(f"asked.{i}.", state)) for i in range(len(self._keys))]
        self.hope.reset(len(self._keys))
        self.hope.restore_streams(_under("hope.", state))


def _under(prefix: str, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name[len(prefix) :]: array for name, array in state.items() if name.startswith(prefix)}
