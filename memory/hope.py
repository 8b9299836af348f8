"""HOPE: a small causal sequence model that predicts the next bar, and modifies itself when that is likely to help.

Slow weights (attention or GRU backbone, core, continuum block, readout) are trained offline and never change in use.
Fast weights (low rank, on the core's linear map) learn every bar from the last prediction's real label, but only as a
*shadow*. A two-stage trigger decides when the shadow's weights are put in force, and when that is undone.
Sources: founding document (NestedHOPE), nested-learning.md §2.A H1-H8, §2.B B7, §3.4; docs/hope.md has the formulas.

While nothing is in force (`modified` false) outputs are the frozen net's, bit for bit.
Shapes: x [I] or [S, I] (S markets, each with its own state); prediction [O] or [S, O] in the inputs' own units.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from memory import backbone, engine, fast_weights, layout, pretrained
from memory.counterfactual import collect
from memory.layout import CLOCK_NAMES, CLOCK_SIZE, Config
from memory.titans_core import TitansCore
from memory.unroll import Prepared, Unrolled, prepare, unroll

if TYPE_CHECKING:
    from pathlib import Path

F64 = NDArray[np.float64]
_HOUR_MS, _DAY_MS, _WEEK_MS = 3_600_000, 86_400_000, 604_800_000


@dataclass(slots=True)
class Output:
    """What one step (or a whole sequence) gives; arrays for streams, plain float and bool for a single one.

    prediction of the next bar's first O inputs; embedding [D]; probability that modifying helps over the next 100
    bars (while a modification is in force: that keeping it helps); triggered: a modification was opened on this bar;
    modified: fast weights are in force on this bar; frozen: the prediction of the frozen net; alarm: stage 1 fired.
    """

    prediction: Any
    embedding: Any
    probability: Any
    triggered: Any
    modified: Any
    frozen: Any
    alarm: Any


class HOPE(nn.Module):
    """A self-modifying predictor: `step` for use, `forward` for training.

    `weights`: "auto" takes shipped weights where there are some for this shape (else random ones from `seed`, see
    `trained`), a path takes that file, None takes random ones. `self_modify=False` is the frozen net without trigger.
    Raises ValueError for an impossible shape, a threshold outside [0, ∞), or weights of another shape.
    """

    def __init__(
        self,
        inputs: int = 24,
        width: int = 64,
        targets: int = 1,
        trigger_threshold: float = 0.5,
        seed: int = 0,
        *,
        weights: str | Path | None = "auto",
        self_modify: bool = True,
        **shape: Any,
    ) -> None:
        super().__init__()
        self.config = Config(inputs, width, targets, **shape)
        if not trigger_threshold >= 0.0:
            raise ValueError(f"trigger_threshold must be at least 0, not {trigger_threshold}")
        self.trigger_threshold = float(trigger_threshold)
        self.self_modify = self_modify
        flat = backbone.initial_weights(self.config, torch.Generator().manual_seed(seed))
        self.provenance = pretrained.load(self.config, flat, weights, seed)
        self.weights = nn.Parameter(flat)
        self.titans = TitansCore(width, seed) if self.config.core == "titans" else None
        self._dims = self.config.dims()
        self._off = layout.offsets(layout.weight_sizes(self.config))
        self._aoff = layout.offsets(layout.aux_sizes(self.config))
        self._no_calendar = np.zeros((1, 4))
        self._columns = engine.OUT + 2 * targets + 2 * width
        self._fresh_for: tuple[Any, int] = (None, -1)
        self.reset(0)

    @property
    def trained(self) -> bool:
        """True only when the slow weights of the predictor come from training."""
        return self.provenance.trained

    def reset(self, streams: int) -> None:
        """Forget everything but the slow weights; the next step may bring `streams` streams (0: any number)."""
        self._single: bool | None = None  # [I] or [streams, I]: the next step says
        self._act = np.zeros((streams, layout.act_size(self.config)), np.float32)
        self._aux = np.zeros((streams, int(self._aoff[-1])))
        self._x = np.zeros((streams, 1, self.config.inputs))
        self._record = np.zeros((streams, 1, engine.RECORD))
        if self.titans is not None:
            self.titans.reset(streams)
        self._force = np.zeros((streams, 1), np.int64)  # a session never forces: benchmarks and tests do

    def refresh(self) -> None:
        """Make the arrays the compiled step reads follow the slow weights."""
        weights = self._parameters["weights"]
        assert weights is not None
        self._flat = weights.detach().cpu().float().contiguous().numpy()
        self._derived = derive(self.config, weights.detach().cpu())
        self._fresh_for = (weights, weights._version)  # noqa: SLF001 - torch's only sign of an in-place change

    def step(self, x: Any, time_ms: int | None = None) -> Output:
        """Take one bar x [I] or [S, I] (numpy or torch; the answer is of the same kind) and predict the next one.

        `time_ms`: the bar's UTC open time, for the calendar part of the position layer. NaN raises ValueError and
        changes nothing; values are clipped at ±1e6. The number of streams is fixed by the first call after `reset`.
        """
        return self.step_at(x, self._no_calendar if time_ms is None else calendar_of(np.array([time_ms])))

    def step_at(self, x: Any, calendar: F64) -> Output:
        """`step` with the calendar [1, 4] already made."""
        self._take(x)
        self._follow_weights()
        out = np.empty((len(self._x), 1, self._columns))
        refused = engine.run(
            self._dims, self._off, self._aoff, self._flat, self._derived, self._act, self._aux, self._x, calendar,
            self.trigger_threshold, engine.MODE_TRIGGER if self.self_modify else engine.MODE_OFF, self._force, out,
            self._record,
        )  # fmt: skip
        if refused:
            raise ValueError("x holds NaN: refused, nothing was changed")
        if self.titans is not None and self.self_modify:
            self.titans.correct(self, out[:, 0])
        return self._output(out[:, 0], isinstance(x, Tensor))

    def follow(self, stream: int, sequence: F64, time_ms: NDArray[np.int64] | None = None) -> Output:
        """Step one stream through further bars sequence [T, I] at UTC open times [T]: the same as T steps of it alone.

        Streams advance independently (their number is fixed by `reset`); the answer's fields are arrays with a bar axis.
        Raises ValueError for NaN (nothing is changed) and for the Titans core, whose state is not kept per stream.
        """
        if self.titans is not None:
            raise ValueError("streams with the Titans core advance together: use step")
        self._follow_weights()
        bars = len(sequence)
        calendar = np.zeros((bars, 4)) if time_ms is None else calendar_of(time_ms)
        out = np.empty((1, bars, self._columns))
        one = slice(stream, stream + 1)
        refused = engine.run(
            self._dims, self._off, self._aoff, self._flat, self._derived, self._act[one], self._aux[one],
            np.ascontiguousarray(sequence, np.float64)[None], calendar, self.trigger_threshold,
            engine.MODE_TRIGGER if self.self_modify else engine.MODE_OFF, np.zeros((1, bars), np.int64), out,
            np.zeros((1, bars, engine.RECORD)),
        )  # fmt: skip
        if refused:
            raise ValueError("the sequence holds NaN: refused, nothing was changed")
        at, o, d = engine.OUT, self.config.targets, self.config.width
        rows = out[0]
        flags = rows[:, : engine.OUT] != 0.0
        return Output(
            rows[:, at : at + o], rows[:, at + 2 * o : at + 2 * o + d], rows[:, engine.O_PROBABILITY],
            flags[:, engine.O_TRIGGERED], flags[:, engine.O_MODIFIED], rows[:, at + o : at + 2 * o],
            flags[:, engine.O_ALARM],
        )  # fmt: skip

    def streams(self) -> dict[str, NDArray[Any]]:
        """A copy of all streams' state as numpy arrays: what a checkpoint needs beside the slow weights."""
        return {"act": self._act.copy(), "aux": self._aux.copy()}

    def restore_streams(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue where `streams` was taken. Raises ValueError if it has another shape."""
        if state["act"].shape != self._act.shape or state["aux"].shape != self._aux.shape:
            raise ValueError(f"state of {state['act'].shape[0]} streams, this HOPE follows {len(self._act)}")
        self._act[:], self._aux[:] = state["act"], state["aux"]

    def _follow_weights(self) -> None:
        """Refresh the compiled step's copies if the slow weights changed."""
        weights: Any = self._parameters["weights"]  # not self.weights: module attributes are slow to look up
        if self._fresh_for[0] is not weights or self._fresh_for[1] != weights._version:  # noqa: SLF001
            self.refresh()

    def _take(self, x: Any) -> None:
        """Copy x into the input buffer, fixing the number of streams on the first call."""
        array = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x, np.float64)
        shape = array.shape
        single = len(shape) == 1
        if (single and shape[0] != self.config.inputs) or (
            not single and (len(shape) != 2 or shape[1] != self.config.inputs)
        ):
            raise ValueError(f"x must be [{self.config.inputs}] or [streams, {self.config.inputs}], not {shape}")
        streams = 1 if single else shape[0]
        if len(self._x) == 0:
            self.reset(streams)
        if self._single is None:
            self._single = single
        if streams != len(self._x) or single != self._single:
            raise ValueError(f"this HOPE follows {len(self._x)} streams; x has shape {shape}: call reset first")
        self._x[:, 0] = array

    def _output(self, out: F64, torch_like: bool) -> Output:
        """Cut the step's flat result into an Output."""
        at, o, d = engine.OUT, self.config.targets, self.config.width
        if self._single:
            row: Any = out[0]
            whole = torch.from_numpy(row) if torch_like else row
            return Output(
                whole[at : at + o], whole[at + 2 * o : at + 2 * o + d], float(row[engine.O_PROBABILITY]),
                bool(row[engine.O_TRIGGERED]), bool(row[engine.O_MODIFIED]), whole[at + o : at + 2 * o],
                bool(row[engine.O_ALARM]),
            )  # fmt: skip
        flags = out[:, : engine.OUT] != 0.0
        if torch_like:
            out, flags = torch.from_numpy(out), torch.from_numpy(flags)  # type: ignore[assignment]
        return Output(
            out[:, at : at + o], out[:, at + 2 * o : at + 2 * o + d], out[:, engine.O_PROBABILITY],
            flags[:, engine.O_TRIGGERED], flags[:, engine.O_MODIFIED], out[:, at + o : at + 2 * o],
            flags[:, engine.O_ALARM],
        )  # fmt: skip

    def rollback(self, stream: int | None = None) -> bool:
        """Undo the last modification (of one stream, or of each): the weights in force become what they were before.

        Bit-exact; the journal holds the last 32 modifications. Returns whether anything was undone.
        """
        chosen = range(len(self._aux)) if stream is None else [stream]
        undone = [engine.undo(self._dims, self._aoff, self._aux[i]) for i in chosen]
        return any(undone)

    def forward(self, sequence: Any, time_ms: Any = None, modify: bool | None = None) -> Output:
        """The same as stepping through a sequence [T, I] or [S, T, I] from an empty state, with gradients.

        Returns tensors with a bar axis; the live state is not touched. `modify=False` gives the frozen net.
        NaN raises ValueError. `time_ms` is [T].
        """
        array = torch.as_tensor(sequence).detach().cpu().numpy().astype(np.float64)
        single = array.ndim == 2
        array = array[None] if single else array
        if array.ndim != 3 or array.shape[2] != self.config.inputs or np.isnan(array).any():
            raise ValueError(f"sequence must be [bars, {self.config.inputs}] or [streams, bars, ...] without NaN")
        calendar = np.zeros((array.shape[1], 4)) if time_ms is None else calendar_of(np.asarray(time_ms))
        unrolled, record, prepared = self.unroll(array, calendar, self.self_modify if modify is None else modify)
        center, scale = prepared.center, prepared.scale
        fields = [
            center + scale * unrolled.prediction, unrolled.embedding, record[..., engine.R_PROBABILITY],
            record[..., engine.R_EVENT] > 0, unrolled.active, center + scale * unrolled.frozen,
            record[..., engine.R_RESTART] > 0,
        ]  # fmt: skip
        return Output(*(field[0] if single else field for field in fields))

    def unroll(self, array: F64, calendar: F64, modify: bool, fixed: bool = False) -> tuple[Unrolled, Tensor, Prepared]:
        """(unrolled, record [S, T, RECORD], prepared inputs and labels) of sequences [S, T, I]: what training uses.

        fixed: no gradient through the predictor (module memory.unroll).
        """
        device = self.weights.device
        prepared = prepare(self._aoff, array, self.config.targets, calendar, device)
        record = np.zeros((*array.shape[:2], engine.RECORD))
        if self.titans is not None:
            return self.titans.unroll(self, prepared, array, calendar, modify)
        if modify:
            self.replay(array, calendar, record)
        recorded = torch.from_numpy(record).to(device)
        return unroll(self.config, self.weights, prepared, recorded if modify else None, fixed), recorded, prepared

    def replay(self, array: F64, calendar: F64, record: F64 | None = None, force: Any = None) -> F64:
        """Step through sequences [S, T, I] from empty states without touching the live one: out [S, T, ·].

        `force` [S, T] int: 1 opens a modification on that bar, 2 releases it, -1 does neither, 0 asks the trigger.
        """
        self.refresh()
        s, bars = array.shape[:2]
        out = np.empty((s, bars, self._columns))
        record = np.zeros((s, bars, engine.RECORD)) if record is None else record
        force = np.zeros((s, bars), np.int64) if force is None else force
        act = np.zeros((s, layout.act_size(self.config)), np.float32)
        aux = np.zeros((s, int(self._aoff[-1])))
        refused = engine.run(
            self._dims, self._off, self._aoff, self._flat, self._derived, act, aux, np.ascontiguousarray(array),
            np.ascontiguousarray(calendar), self.trigger_threshold,
            engine.MODE_TRIGGER if self.self_modify else engine.MODE_OFF, force, out, record,
        )  # fmt: skip
        if refused:
            raise ValueError("the sequence holds NaN")
        return out

    def counterfactuals(self, x: F64, rows: F64, *, every: int, horizon: int, warm: int) -> int:
        """Fill rows with paired counterfactuals from one stream x [T, I] (module memory.counterfactual)."""
        act = np.zeros(layout.act_size(self.config), np.float32)
        aux = np.zeros(int(self._aoff[-1]))
        found = collect(
            self._dims, self._off, self._aoff, self._flat, self._derived, act, aux, x, every, horizon, warm, rows
        )
        return int(found)

    def slow_hash(self) -> str:
        """SHA-256 of the slow weights: equal before and after any number of steps and modifications."""
        return hashlib.sha256(self.weights.detach().cpu().numpy().tobytes()).hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of slow weights and of all streams' state, journal included; constant while streaming."""
        titans = 0 if self.titans is None else self.titans.nbytes
        return int(self.weights.numel() * 4 + self._act.nbytes + self._aux.nbytes + titans)

    def clock(self, stream: int = 0) -> dict[str, float]:
        """A stream's counters and controls by name (bar, active, writes, episodes, forget, ...)."""
        at = int(self._aoff[layout.S_CLOCK])
        return dict(zip(CLOCK_NAMES, self._aux[stream, at : at + CLOCK_SIZE].tolist(), strict=False))

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "dims"] = torch.from_numpy(self._dims.copy())
        destination[prefix + "act"] = torch.from_numpy(self._act.copy())
        destination[prefix + "aux"] = torch.from_numpy(self._aux.copy())
        if self.titans is not None:
            destination[prefix + "titans_state"] = self.titans.packed().clone()
        destination[prefix + "settings"] = torch.tensor(
            [
                self.trigger_threshold,
                float(self.self_modify),
                -1.0 if self._single is None else float(self._single),
                float(self.trained),
            ],
            dtype=torch.float64,
        )

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        parts = {name: state.pop(prefix + name) for name in ("dims", "act", "aux", "settings")}
        if not np.array_equal(np.asarray(parts["dims"]), self._dims):
            raise ValueError(
                f"the state is of another shape: {np.asarray(parts['dims']).tolist()} is not {self._dims.tolist()}"
            )
        packed = state.pop(prefix + "titans_state", None)
        super()._load_from_state_dict(state, prefix, *rest)
        self.reset(len(parts["aux"]))
        if self.titans is not None and packed is not None:
            self.titans.unpack(packed)
        self._act[:], self._aux[:] = np.asarray(parts["act"]), np.asarray(parts["aux"])
        self.trigger_threshold = float(parts["settings"][0])
        single = float(parts["settings"][2])
        self.self_modify, self._single = bool(parts["settings"][1]), None if single < 0.0 else bool(single)
        if bool(parts["settings"][3]) != self.trained:
            self.provenance = pretrained.Provenance(bool(parts["settings"][3]), "state_dict", "state_dict")
        self._fresh_for = (None, -1)


def derive(config: Config, flat: Tensor) -> F64:
    """What the compiled step needs besides the weights: [UᵀU, AᵀA/d, prior, cap, U] (module memory.stream)."""
    single, _ = backbone.views(config, flat.double())
    key, head = single["key_weight"], single["head_weight"]
    up = fast_weights.lift(head)
    limit = fast_weights.CAP * single["core_weight"].norm()
    parts = [up.mT @ up, key.mT @ key / config.width, single["log_prior"].exp(), limit, up]
    return torch.cat([part.reshape(-1) for part in parts]).numpy()


def calendar_of(time_ms: NDArray[Any]) -> F64:
    """UTC times [T] in ms to [T, 4]: sine and cosine of the hour of the day and of the day of the week."""
    day = 2.0 * np.pi * (time_ms % _DAY_MS) / _DAY_MS
    week = 2.0 * np.pi * (time_ms % _WEEK_MS) / _WEEK_MS
    return np.stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)], -1)
