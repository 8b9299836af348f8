"""How a controller drives Adam: it listens to the gradient, decides every few updates, and rescales what Adam did.

`GlobalDriver` has one multiplier for the whole vector: it costs two passes over the parameters, one dot product a
step, and a small network every `control_every` steps. `TensorDriver` has one multiplier per parameter tensor (same
network, one row each). `element_driver.py` adds one per element.

The signal of a step is h = -<g', move> / (|g'| |move|): g' the gradient of the *next* batch before clipping, move
what the previous step did to the parameters. h > 0: the step should have been longer. In expectation over batches
-h is the derivative of the loss after the step with respect to log rho, up to the positive factor |g'| |move|.

Shapes: theta, gradient, move [n]; T tensors; features [R, F] with R = 1 or T. One driver belongs to one process;
weights, accumulated meta-gradient, levels and multipliers can be shared, the last move is always private.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rl.optim.features import FeatureState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rl.optim.controller import ControllerNet
    from rl.optim.counters import Counters
    from rl.optim.flat import FlatBuffer, FlatVector

    FloatArray = NDArray[np.float64]

RATE, THRESHOLD = 0, 1  # the controller's two outputs


class GlobalDriver:
    """One multiplier for all parameters. `multiplier` goes into Adam's rate, `clip_output` into the learned clip."""

    private: tuple[str, ...] = (
        "previous", "move", "move_norm", "window", "signals", "z", "hidden", "last_signal", "judged_scale",
    )  # fmt: skip

    carried: tuple[str, ...] = ("move", "window", "z")
    """State tensors that are private to a process and yet belong to a copy."""

    def __init__(self, flat: FlatBuffer, exp_avg: FlatVector, net: ControllerNet, rows: int = 1) -> None:
        self.flat, self.exp_avg, self.net = flat, exp_avg, net
        self.features = FeatureState(rows)
        self.outputs = torch.zeros(rows, 2, dtype=torch.float64)  # log multipliers, shared
        self._start()

    def _start(self) -> None:
        """Private state of a process: no last move, an empty window."""
        self.log_multiplier: FloatArray = self.outputs.numpy()
        self.previous, self.move = self.flat.new_vector(), self.flat.new_vector()
        self.move_norm = 0.0
        self.last_signal = self.judged_scale = 0.0
        self.window = np.zeros((len(self.outputs), 2))  # sums of h and of h times the clip's sensitivity
        self.signals: FloatArray = np.zeros(len(self.outputs))  # mean h of the last window
        self.z: FloatArray | None = None
        self.hidden: FloatArray | None = None

    @property
    def multiplier(self) -> float:
        """Factor for Adam's rate in the fused step."""
        return math.exp(self.log_multiplier.item(0, RATE))

    @property
    def clip_output(self) -> float:
        """Log multiplier of the clip's threshold."""
        return self.log_multiplier.item(0, THRESHOLD)

    def listen(self, norm: float, sensitivity: float) -> None:
        """The gradient of this step (norm before clipping) judges the previous move, clipped with this sensitivity."""
        if self.move_norm > 0.0 and norm > 0.0:
            self.judged_scale = norm * self.move_norm  # -h times this is the hypergradient in the loss's own unit
            self.last_signal = -self.flat.gradient.dot(self.move) / self.judged_scale
            self.window[0, RATE] += self.last_signal
            self.window[0, THRESHOLD] += self.last_signal * sensitivity

    def credit(self, steps: int) -> None:
        """Close a window of `steps` updates: its signals judge the decision it was run with."""
        if self.z is not None and self.hidden is not None:
            self.net.accumulate(self.z, self.hidden, self.log_multiplier, self.window)
        self.signals = self.window[:, RATE] / max(steps, 1)
        self.window[:] = 0.0

    def decide(self, norm: float, loss: float | None, since_sync: float, regime: float) -> None:
        """Look and set the multipliers for the next window."""
        self.z = self.features.build(*self._measure(norm), loss, since_sync, regime, self.signals)
        self.log_multiplier[:], self.hidden = self.net.forward(self.z)

    def _measure(self, norm: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Per row: gradient norm, cosine to momentum, size of the last move relative to the parameters."""
        momentum = math.sqrt(self.exp_avg.dot(self.exp_avg))
        parameters = math.sqrt(self.flat.theta.dot(self.flat.theta))
        cosine = self.flat.gradient.dot(self.exp_avg) / (norm * momentum) if norm * momentum > 0.0 else 0.0
        relative = self.move_norm / parameters if parameters > 0.0 else 0.0
        return np.array([norm]), np.array([cosine]), np.array([relative])

    def meta_step(self, rate: float, decay: float, counters: Counters) -> None:
        """Level 3: one step of the controller's weights on what the windows have accumulated."""
        counters.note_meta_step(self.net.meta_step(rate, decay))

    @property
    def mean_multiplier(self) -> float:
        """Geometric mean of the multipliers of all rows."""
        return math.exp(float(self.log_multiplier[:, RATE].mean()))

    def before(self) -> None:
        """Adam is about to step."""
        self.previous.copy_from(self.flat.theta)

    def after(self) -> None:
        """Adam has stepped."""
        self.move.set_difference(self.flat.theta, self.previous)
        self.move_norm = math.sqrt(self.move.dot(self.move))

    def identity(self) -> None:
        """Be Adam: multipliers to one, output weights to zero, nothing pending."""
        self.net.reset_to_identity()
        self.log_multiplier[:] = 0.0
        self.window[:] = 0.0
        self.z = self.hidden = None

    def forget_move(self) -> None:
        """After a skipped step the next gradient must not judge an old move."""
        self.move_norm = 0.0

    def share_memory(self) -> None:
        """Move weights, levels and multipliers to shared memory."""
        self.net.share_memory()
        self.features.share_memory()
        self.outputs.share_memory_()  # type: ignore[no-untyped-call]

    def restart(self) -> None:
        """View everything anew after it was moved."""
        self._start()

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Everything that is saved, by name (live tensors)."""
        tensors = {"phi": self.net.phi, "accumulated": self.net.accumulated, "levels": self.features.levels}
        saved = {"outputs": self.outputs, "move": self.move.tensor}
        rows = len(self.outputs)
        z = torch.zeros(rows, 0) if self.z is None else torch.from_numpy(self.z)
        window = torch.from_numpy(self.window)
        return {**tensors, **saved, "window": window, "z": z}

    def load_state_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """The inverse of `state_tensors`, in place."""
        own = self.state_tensors()
        for name in own:
            if name != "z":
                own[name].copy_(tensors[name])
        self.move_norm = math.sqrt(self.move.dot(self.move))
        if tensors["z"].numel():
            self.z = tensors["z"].double().numpy(force=True).copy()
            _, self.hidden = self.net.forward(self.z)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in (*self.private, "log_multiplier")}
        # as arrays: tensors sent to a process would become shared memory, and the last move belongs to one process
        tensors = self.state_tensors()
        return {**kept, "carried": {name: tensors[name].double().numpy(force=True).copy() for name in self.carried}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        carried = state["carried"]
        self.__dict__.update({name: value for name, value in state.items() if name != "carried"})
        self._start()
        flat = self.flat.theta.tensor
        own = {name: torch.from_numpy(array).to(flat.device) for name, array in carried.items()}
        if "inputs" in own:
            own["inputs"] = own["inputs"].to(flat.dtype)
        self.load_state_tensors({**self.state_tensors(), **own})


class TensorDriver(GlobalDriver):
    """One multiplier per parameter tensor; signals, norms and cosines are per tensor too."""

    private = (*GlobalDriver.private, "parts")

    def __init__(self, flat: FlatBuffer, exp_avg: FlatVector, net: ControllerNet) -> None:
        super().__init__(flat, exp_avg, net, rows=len(flat.sizes))

    def _start(self) -> None:
        super()._start()
        offsets = self.flat.offsets
        vectors = (self.flat.gradient, self.exp_avg, self.flat.theta, self.move)
        self.parts = list(zip(*(vector.parts(offsets) for vector in vectors), strict=True))

    @property
    def multiplier(self) -> float:
        """Adam itself steps at the base rate; `after` rescales its move tensor by tensor."""
        return 1.0

    @property
    def clip_output(self) -> float:
        """The clip is one for all tensors: the mean of what the rows say."""
        return float(self.log_multiplier[:, THRESHOLD].mean())

    def listen(self, norm: float, sensitivity: float) -> None:
        """See `GlobalDriver`; each tensor's move is judged by its own gradient."""
        if self.move_norm <= 0.0 or norm <= 0.0:
            return
        self.last_signal = -self.flat.gradient.dot(self.move) / (norm * self.move_norm)
        for row, (gradient, _, _, move) in enumerate(self.parts):
            scale = math.sqrt(gradient.dot(gradient) * move.dot(move))
            if scale > 0.0:
                signal = -gradient.dot(move) / scale
                self.window[row, RATE] += signal
                self.window[row, THRESHOLD] += signal * sensitivity

    def _measure(self, norm: float) -> tuple[FloatArray, FloatArray, FloatArray]:  # noqa: ARG002  # global form has it
        rows = []
        for gradient, momentum, theta, move in self.parts:
            norms = [math.sqrt(part.dot(part)) for part in (gradient, momentum, theta, move)]
            scale = norms[0] * norms[1]
            cosine = gradient.dot(momentum) / scale if scale > 0.0 else 0.0
            rows.append((norms[0], cosine, norms[3] / norms[2] if norms[2] > 0.0 else 0.0))
        columns = np.array(rows)
        return columns[:, 0], columns[:, 1], columns[:, 2]

    def after(self) -> None:
        """See `GlobalDriver`; with all multipliers at exactly one Adam's own bits are kept."""
        super().after()
        if not self.log_multiplier[:, RATE].any():
            return
        for (_, _, _, move), log_multiplier in zip(self.parts, self.log_multiplier[:, RATE].tolist(), strict=True):
            move.multiply(math.exp(log_multiplier))
        torch.add(self.previous.tensor, self.move.tensor, out=self.flat.theta.tensor)
        self.move_norm = math.sqrt(self.move.dot(self.move))
