"""Where every number of HOPE lives: one flat float32 vector of slow weights, two flat arrays of state per stream.

Slow weights in one vector make three promises cheap: the hash of the frozen net is one hash, an optimizer step is seen
by the compiled step without copying, and `torch.func.functional_call` swaps all weights through one name. State in flat
arrays makes snapshot, rollback and saving a plain copy.

Axes: I inputs, D width, O targets, L layers, H heads, C window, R rank, K continuum levels, M hidden, Z features.
All matrices are [in, out]: y = x @ W.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from memory.drift import ADWIN_SIZE, PH_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

Backbone = Literal["attention", "gru"]
Core = Literal["low_rank", "titans"]
Modifier = Literal["mlp", "lstm"]
Write = Literal["kalman", "delta"]

POSITION = 5  # 1/sqrt(1+bar), sin and cos of the hour, sin and cos of the weekday
CONTEXT = 8  # inputs of the modifier
EVIDENCE = 12  # inputs of the advantage estimate
HIDDEN = 16  # hidden units of the advantage estimate
MODIFIER_HIDDEN = 8
CONTROLS = 3  # what the modifier sets: forgetting, noise, strength
JOURNAL = 32  # modifications that can be undone

# clock: scalars of a stream's state, in this order
CLOCK_NAMES = (
    "bar", "last_event", "last_restart", "armed_until", "active", "probability", "triggered", "alarm", "modified",
    "writes", "episodes", "forget", "noise", "strength", "journal", "opened", "releases", "rollbacks",
    "in_step",
)  # fmt: skip
(
    BAR, LAST_EVENT, LAST_RESTART, ARMED, ACTIVE, PROBABILITY, TRIGGERED, ALARM, MODIFIED,
    WRITES, EPISODES, FORGET, NOISE, STRENGTH, JOURNALED, OPENED, RELEASES, ROLLBACKS,
    IN_STEP,
) = range(len(CLOCK_NAMES))  # fmt: skip
CLOCK_SIZE = 24  # spare room so that a saved state can grow

# stats: exponential means, in this order
STAT_SIZE = 16
(A8, A32, A128, SKILL, S16, S64, S256, SVAR, SPOWER, F16, F64, F256, FVAR, FPOWER, COUNT_S, COUNT_F) = range(STAT_SIZE)

# dims: what the compiled step needs to know of a Config
DIM_NAMES = (
    "inputs",
    "width",
    "targets",
    "gru",
    "layers",
    "heads",
    "window",
    "rank",
    "levels",
    "hidden",
    "lstm",
    "delta",
)
(D_INPUTS, D_WIDTH, D_TARGETS, D_GRU, D_LAYERS, D_HEADS, D_WINDOW, D_RANK, D_LEVELS, D_HIDDEN, D_LSTM, D_DELTA) = range(
    12
)

WEIGHT_NAMES = (
    "input_weight", "input_bias", "position", "backbone", "core_gain", "core_bias", "core_weight", "key_weight",
    "log_prior", "continuum", "head_weight", "head_bias", "modifier", "control_weight", "control_bias",
    "evidence_mean", "evidence_scale", "trigger_1", "trigger_bias_1", "trigger_2", "trigger_bias_2",
)  # fmt: skip
(
    W_IN, B_IN, W_POS, W_BACK, G_CORE, B_CORE, W_CORE, W_KEY, LOG_PRIOR, W_CONT, W_HEAD, B_HEAD, W_MOD, W_CTRL, B_CTRL,
    E_MEAN, E_SCALE, W_T1, B_T1, W_T2, B_T2,
) = range(len(WEIGHT_NAMES))  # fmt: skip

AUX_NAMES = (
    "clock", "mean", "variance", "frozen", "label_center", "label_scale", "key", "shadow", "shadow_cov", "fast",
    "fast_cov", "stats", "ph_scale", "ph_skill", "adwin_scale", "adwin_error", "lstm", "journal", "offset", "scratch",
)  # fmt: skip
(
    S_CLOCK, S_MEAN, S_VAR, S_FROZEN, S_CENTER, S_SCALE, S_KEY, S_SHADOW, S_SHADOW_P, S_FAST, S_FAST_P, S_STATS,
    S_PH_SCALE, S_PH_SKILL, S_AD_SCALE, S_AD_ERROR, S_LSTM, S_JOURNAL, S_OFFSET,
    S_SCRATCH,
) = range(len(AUX_NAMES))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Config:
    """Shape of a HOPE. The larger, GPT-style option is `layers` 2 to 6 with a wider `width`.

    Raises ValueError for impossible shapes.
    """

    inputs: int = 24
    width: int = 64
    targets: int = 1
    backbone: Backbone = "attention"
    core: Core = "low_rank"
    modifier: Modifier = "mlp"
    write: Write = "kalman"
    layers: int = 1
    heads: int = 4
    window: int = 64
    rank: int = 8
    levels: int = 2
    hidden_multiple: int = 2

    def __post_init__(self) -> None:
        counts = asdict(self)
        for name in ("inputs", "width", "targets", "layers", "heads", "window", "rank", "levels", "hidden_multiple"):
            if not (isinstance(counts[name], int) and counts[name] >= 1):
                raise ValueError(f"{name} must be a positive integer, not {counts[name]!r}")
        if self.targets > self.inputs:
            raise ValueError(f"targets are the first inputs of the next bar: {self.targets} > {self.inputs}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        choices = {
            "backbone": ("attention", "gru"),
            "core": ("low_rank", "titans"),
            "modifier": ("mlp", "lstm"),
            "write": ("kalman", "delta"),
        }
        for name, allowed in choices.items():
            if counts[name] not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, not {counts[name]!r}")

    @property
    def hidden(self) -> int:
        """Hidden units of one continuum level."""
        return self.width * self.hidden_multiple

    def dims(self) -> NDArray[np.int64]:
        """The integers of DIM_NAMES, in that order."""
        gru, lstm, delta = self.backbone == "gru", self.modifier == "lstm", self.write == "delta"
        counts = (self.inputs, self.width, self.targets, gru, self.layers, self.heads, self.window, self.rank)
        return np.array([*counts, self.levels, self.hidden, lstm, delta], np.int64)


def layer_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Tensors of one backbone layer, in storage order."""
    d = config.width
    if config.backbone == "gru":
        gates = (3 * d,)
        return {"gain": (d,), "bias": (d,), "wx": (d, 3 * d), "wh": (d, 3 * d), "bx": gates, "bh": gates}
    shapes = {"gain": (d,), "bias": (d,), "qkv": (d, 3 * d), "out": (d, d)}
    return {**shapes, "relative": (config.heads, config.window)}


def level_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Tensors of one continuum level, in storage order."""
    d, m = config.width, config.hidden
    return {"w1": (d, m), "b1": (m,), "w2": (m, d), "b2": (d,)}


def modifier_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Tensors of the modifier before its output layer, in storage order."""
    h = MODIFIER_HIDDEN
    if config.modifier == "lstm":
        return {"wx": (CONTEXT, 4 * h), "wh": (h, 4 * h), "b": (4 * h,)}
    return {"w": (CONTEXT, h), "b": (h,)}


def size_of(shapes: dict[str, tuple[int, ...]]) -> int:
    """Number of elements of a group of tensors."""
    return sum(math.prod(shape) for shape in shapes.values())


def weight_sizes(config: Config) -> list[int]:
    """Elements per entry of WEIGHT_NAMES."""
    i, d, o, r = config.inputs, config.width, config.targets, config.rank
    return [
        i * d, d, POSITION * d, config.layers * size_of(layer_shapes(config)), d, d, d * d, d * r, r,
        config.levels * size_of(level_shapes(config)), d * o, o, size_of(modifier_shapes(config)),
        MODIFIER_HIDDEN * CONTROLS, CONTROLS, EVIDENCE, EVIDENCE, EVIDENCE * HIDDEN, HIDDEN, HIDDEN * 2, 2,
    ]  # fmt: skip


def aux_sizes(config: Config) -> list[int]:
    """Elements per entry of AUX_NAMES."""
    i, o, r = config.inputs, config.targets, config.rank
    return [
        CLOCK_SIZE, i, i, o, o, o, r, o * r, r * r, o * r, r * r, STAT_SIZE, PH_SIZE, PH_SIZE, ADWIN_SIZE, ADWIN_SIZE,
        2 * MODIFIER_HIDDEN, JOURNAL * journal_entry(config), 2 * o, 2 * o + r,
    ]  # fmt: skip


def journal_entry(config: Config) -> int:
    """Floats of one journal entry: active, opening bar, statistics of the weights in force, weights, covariance."""
    return 2 + STAT_SIZE + config.targets * config.rank + config.rank**2


def act_size(config: Config) -> int:
    """Elements of one stream's backbone state: keys and values of the window, or GRU states."""
    per_layer = config.width if config.backbone == "gru" else 2 * config.width * config.window
    return config.layers * per_layer


def offsets(sizes: list[int]) -> NDArray[np.int64]:
    """Start of each entry, and the total as the last element."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
