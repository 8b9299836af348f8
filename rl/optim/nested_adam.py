"""NestedAdam: Adam (level 1), a bounded controller of its rate and clip (level 2), the controller's own optimizer (3).

    m <- b1 m + (1 - b1) s g;   v <- b2 v + (1 - b2) (s g)^2;   theta <- theta - rho mhat / (sqrt(vhat) + eps)
    rho = lr exp(kappa tanh a(z)),   s = smooth clip of |g|

Level 1 is Kingma and Ba 2015, Algorithm 1, by torch's own fused kernel on one flat buffer. Level 2 is
`controller.py`: a multiplier in [1/bound, bound], exactly one until something has been learned. Level 3 ascends the
one-step hypergradient every `meta_every` updates, and its starting weights may come from whole runs
(`meta_train.py`). Context flow of each level: gradients; scale-free telemetry; agreement of each move with the next
batch's gradient.

Safety: a step with a non-finite gradient or loss is skipped and counted; a loss far above its level for 50 updates
makes the controller the identity again; the multiplier is bounded; nothing is left of a spike beyond its clipped
gradient.

Shapes: theta, g, m, v are [n], all parameters together. `controller="off"` with `clip=None` is torch's Adam.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import torch

from rl.optim.clipping import LearnedClip, make_clip
from rl.optim.controller import ControllerNet
from rl.optim.counters import Counters
from rl.optim.drivers import GlobalDriver, TensorDriver
from rl.optim.element_driver import ElementDriver
from rl.optim.flat import FlatBuffer
from rl.optim.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

DRIVERS = {"global": GlobalDriver, "per_tensor": TensorDriver, "per_element": ElementDriver}
CLIP_BOUND = 4.0  # the threshold moves within a factor of four of the running norm
CLIPPED = 0.85  # a smooth clip is below one always; at its threshold it is 2^(-1/4) = 0.841


class NestedAdam(torch.optim.Optimizer):
    """Drop-in for torch.optim.Adam that adapts its rate and its clip; see the module's docstring for the formulas.

    lr, betas, eps, weight_decay: as torch's Adam (L2 form). controller: "global", "per_tensor", "per_element"
    (small nets
    only: the cost grows with n), "off". clip: "learned", "auto", "zclip", a fixed threshold, None. meta_every: updates
    between two steps of the controller's weights. meta_lr: their rate; one step with h = 1 moves log rho by about
    meta_lr kappa^2. meta_decay: pull to the identity per meta step, so that weak noise cannot drift far. bound:
    largest multiplier, 1/bound the smallest.
    weights: None (identity), "shipped", "trading", a path, or an array [SIZE]. relative_time: restart Adam's bias correction
    when the target was copied (Adam-Rel, arXiv 2412.17113). seed: of the controller's hidden layer; nothing else is
    random.

    Raises ValueError for an unknown option or parameters that are not dense floats of one dtype and device. Parameters
    become views of one buffer: move the module to its device before. Works inside Stable-Baselines3 as
    `policy_kwargs=dict(optimizer_class=NestedAdam)`.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        controller: str = "global",
        clip: str | float | None = "learned",
        meta_every: int = 100,
        *,
        weight_decay: float = 0.0,
        meta_lr: float = 0.003,
        meta_decay: float = 0.02,
        bound: float = 32.0,
        control_every: int = 10,
        relative_time: bool = False,
        weights: Any = None,
        seed: int = 0,
    ) -> None:
        if controller != "off" and controller not in DRIVERS:
            raise ValueError(f'controller is "global", "per_tensor", "per_element" or "off", got {controller!r}')
        _check_periods(meta_every, control_every)
        _check_numbers(betas, lr=lr, eps=eps, weight_decay=weight_decay, meta_lr=meta_lr, meta_decay=meta_decay)
        self.meta_every, self.control_every = meta_every, control_every
        self.meta_lr, self.meta_decay, self.relative_time = meta_lr, meta_decay, relative_time
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.flat = FlatBuffer([p for group in self.param_groups for p in group["params"]])
        self.exp_avg, self.exp_avg_sq = self.flat.new_vector(), self.flat.new_vector()
        self.steps = torch.zeros(len(self.flat.sizes))  # per tensor: a tensor without gradients does not age
        self.counters, self.clip = Counters(), make_clip(clip)
        self.driver: GlobalDriver | None = None
        if controller != "off":
            net = ControllerNet(seed, bound, CLIP_BOUND)
            if weights is not None:
                net.phi.copy_(load_weights(weights))
            self.driver = DRIVERS[controller](self.flat, self.exp_avg, net)
        self.ragged = False
        self.regime = 0.0
        self._start()

    def _start(self) -> None:
        """What belongs to this process: views, and the telemetry of the step to come."""
        self.last_norm, self.last_scale = 0.0, 1.0
        self.loss: float | None = None
        self.ticks = self.counters.updates  # of this process: workers that share the counters keep their own rhythm
        self.step_views = list(self.steps.unbind())
        vectors = (self.flat.theta, self.flat.gradient, self.exp_avg, self.exp_avg_sq)
        self.tensor_views = [self.flat.views(vector.tensor) for vector in vectors]
        self.group_views = []
        start = index = 0
        for group in self.param_groups:
            stop = start + sum(p.numel() for p in group["params"])
            columns = [[vector.tensor[start:stop]] for vector in vectors]
            self.group_views.append((group, columns, [self.step_views[index]], index))
            start, index = stop, index + len(group["params"])
        for parameter, first, second, step in zip(
            self.flat.parameters, self.tensor_views[2], self.tensor_views[3], self.step_views, strict=True
        ):
            self.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's, before the first step only: the flat buffer is laid out once."""
        if hasattr(self, "flat"):
            raise ValueError("NestedAdam lays its parameters out once: pass all groups to the constructor")
        super().add_param_group(param_group)

    def observe(self, loss: float | Tensor | None = None, regime: float | None = None, synced: bool = False) -> None:
        """Optional context for the next step: its loss, a regime flag in [0, 1] (kept), a hard copy of the target.

        Without it the controller works from gradients alone, and loss spikes are not seen.
        """
        if loss is not None:
            self.loss = loss.item() if isinstance(loss, torch.Tensor) else float(loss)
        if regime is not None:
            self.regime = float(regime)
        if synced:
            self.counters.mark_sync()
            if self.relative_time:
                self.steps.zero_()

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update from `.grad`; returns what `closure` returned and observes it as the loss."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
            self.observe(loss=value)
        self.step_with([parameter.grad for parameter in self.flat.parameters])
        return value

    @torch.no_grad()
    def step_with(self, gradients: Sequence[Tensor | None]) -> bool:
        """One update from `gradients` in the order of the parameters; False if it was skipped as not finite."""
        flat, driver, counters = self.flat, self.driver, self.counters
        loss, self.loss = self.loss, None
        flat.check_binding()
        missing = flat.gather(gradients)
        self.last_norm = norm = math.sqrt(flat.gradient.dot(flat.gradient))
        if not math.isfinite(norm) or (loss is not None and not math.isfinite(loss)):
            self._skip()
            return False
        multiplier = self._control(norm, loss) if driver is not None else 1.0
        self.last_scale = scale = self.clip.scale(norm)
        if scale != 1.0:
            flat.gradient.multiply(scale)
        counters.count_step(clipped=scale < CLIPPED)
        if driver is None:
            self._adam(1.0, missing)
            return True
        driver.before()
        self._adam(multiplier, missing)
        driver.after()
        return True

    def _skip(self) -> None:
        self.last_scale = 0.0
        self.counters.count_skip()
        if self.driver is not None:
            self.driver.forget_move()

    def _control(self, norm: float, loss: float | None) -> float:
        """Levels 2 and 3; returns the multiplier of the rate."""
        driver, counters = self.driver, self.counters
        assert driver is not None
        learned = self.clip if isinstance(self.clip, LearnedClip) else None
        driver.listen(norm, learned.sensitivity if learned is not None else 0.0)
        if counters.loss_is_far_above(loss):
            driver.identity()
        tick, self.ticks = self.ticks, self.ticks + 1
        if tick % self.control_every == 0 and tick > 0:
            driver.credit(self.control_every)
            counters.note_signal(float(driver.signals.mean()))
            if tick % self.meta_every == 0:
                driver.meta_step(self.meta_lr, self.meta_decay, counters)
            if not counters.in_fallback:
                driver.decide(norm, loss, counters.since_sync, self.regime)
            if learned is not None:
                learned.set_output(driver.clip_output)
        return driver.multiplier

    def _adam(self, multiplier: float, missing: list[int]) -> None:
        """Torch's fused Adam, once per group; tensor by tensor from the first time that one had no gradient."""
        self.ragged = self.ragged or bool(missing)
        if not self.ragged:
            self.steps.add_(1.0)
        for group, whole, whole_step, first in self.group_views:
            columns, steps = whole, whole_step
            if self.ragged:
                rows = [i for i in range(first, first + len(group["params"])) if i not in missing]
                if not rows:
                    continue
                columns = [[views[i] for i in rows] for views in self.tensor_views]
                steps = [self.step_views[i] for i in rows]
                torch._foreach_add_(steps, 1.0)
            theta, gradient, first_moment, second_moment = columns
            beta1, beta2 = group["betas"]
            torch._fused_adam_(
                theta, gradient, first_moment, second_moment, [], steps,
                lr=float(group["lr"] * multiplier), beta1=beta1, beta2=beta2,
                weight_decay=group["weight_decay"], eps=group["eps"],
                amsgrad=False, maximize=False, grad_scale=None, found_inf=None,
            )  # fmt: skip

    def report(self) -> dict[str, float]:
        """Current values and counters; `hypergradient` is the running mean of h in [-1, 1] (positive: longer steps).

        Keys: lr, multiplier (per_tensor and per_element: geometric mean), threshold, norm, scale, hypergradient,
        updates, skipped, clipped, spikes (norms above ten thresholds, learned clip), fallbacks, meta_updates,
        meta_gradient.
        """
        driver = self.driver
        return {
            "lr": float(self.param_groups[0]["lr"]),
            "multiplier": 1.0 if driver is None else driver.mean_multiplier,
            "threshold": float(self.clip.threshold),
            "norm": self.last_norm,
            "scale": self.last_scale,
            "spikes": self.clip.spikes if isinstance(self.clip, LearnedClip) else 0,
            **self.counters.report(),
        }

    def share_memory(self) -> None:
        """Parameters, moments, controller, clip levels and counters into shared memory, before workers are spawned.

        Each process keeps its own last move and gradient, so that a move is judged by the gradient of the same worker.
        """
        self.flat.share_memory()
        for vector in (self.exp_avg, self.exp_avg_sq):
            vector.tensor.share_memory_()  # type: ignore[no-untyped-call]
            vector.__setstate__(vector.tensor)
        for tensor in (self.steps, self.clip.state, self.counters.state):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
        self.counters.bind()
        if self.driver is not None:
            self.driver.share_memory()
            self.driver.restart()
        self._start()

    def state_dict(self) -> dict[str, Any]:
        """Torch's Adam layout and, under "nested", the tensors of controller, clip and counters."""
        regime = torch.tensor(self.regime, dtype=torch.float64)
        nested = {"clip": self.clip.state, "counters": self.counters.state, "regime": regime}
        if self.driver is not None:
            nested.update(self.driver.state_tensors())
        return {**super().state_dict(), "nested": {name: tensor.clone() for name, tensor in nested.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`; a plain torch Adam state loads too. Values are copied into (shared) buffers.

        A state with the controller off loads into any controller. Raises ValueError, with nothing changed, for a state
        of another kind of controller or clip.
        """
        self._check_state(state_dict.get("nested"))
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "nested"})
        for index, parameter in enumerate(self.flat.parameters):
            state = self.state.get(parameter, {})
            for views, name in ((self.tensor_views[2], "exp_avg"), (self.tensor_views[3], "exp_avg_sq")):
                views[index].copy_(state[name]) if name in state else views[index].zero_()
            self.steps[index] = float(state.get("step", 0.0))
        self.ragged = bool((self.steps != self.steps[0]).any())
        nested = state_dict.get("nested")
        if nested is not None:
            self.clip.state.copy_(nested["clip"])
            self.counters.state.copy_(nested["counters"])
            self.regime = float(nested.get("regime", 0.0))
            if self.driver is not None and "phi" in nested:
                self.driver.load_state_tensors(nested)
        self._start()

    def _check_state(self, nested: dict[str, Tensor] | None) -> None:
        if nested is None:
            return
        if nested["clip"].shape != self.clip.state.shape:
            raise ValueError("this state was saved with another clip: make the optimizer with the same clip=")
        if self.driver is None or "phi" not in nested:
            return
        own = self.driver.state_tensors()
        saved = {name: tensor for name, tensor in nested.items() if name not in {"clip", "counters", "regime"}}
        free = {"z", "inputs"}  # empty before the first decision
        if set(saved) != set(own) or any(saved[n].shape != own[n].shape for n in own if n not in free):
            raise ValueError(
                "this state was saved with another controller or other parameters: make the optimizer with the same "
                "controller= over the same parameters"
            )

    def __getstate__(self) -> dict[str, Any]:
        names = (
            "meta_every", "control_every", "meta_lr", "meta_decay", "relative_time", "flat", "exp_avg", "exp_avg_sq",
            "steps", "counters", "clip", "driver", "ragged", "regime",
        )  # fmt: skip
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "flat" in state:  # unpickled or copied; torch's load_state_dict comes this way too, without it
            self._start()


def _check_periods(meta_every: Any, control_every: Any) -> None:
    for name, value in (("meta_every", meta_every), ("control_every", control_every)):
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{name} is a whole number of updates, at least 1, got {value!r}")


def _check_numbers(betas: Any, **numbers: Any) -> None:
    """Finite and not negative; betas a pair in [0, 1); meta_decay at most 1."""
    for name, value in numbers.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is a number, got {value!r}") from None
        if not 0.0 <= number < math.inf or (name == "meta_decay" and number > 1.0):
            raise ValueError(f"{name} is finite, not negative (meta_decay at most 1), got {value!r}")
    pair = tuple(betas) if isinstance(betas, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(beta, (int, float)) and 0.0 <= beta < 1.0 for beta in pair):
        raise ValueError(f"betas are two numbers in [0, 1), got {betas!r}")
