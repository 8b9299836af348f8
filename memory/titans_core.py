"""The other core: self-modifying Titans in place of the low-rank fast weights (`HOPE(core="titans")`).

The memories write on every bar, without labels (they make their own targets), starting from their learned state M₀.
What they have learned is the change of their read, Δ = M_t(q) - M₀(q) [D]; it is added to the core's output, around the
continuum block, only while the trigger holds a modification in force. So the frozen net is the low-rank net's, a silent
trigger gives its bits, and undoing a modification is no longer reading Δ. Evidence is gathered on headᵀΔ; the same
detectors, journal and budget apply. Writes are per bar (chunk 1), in torch: slower than the low-rank core, see
docs/hope.md for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from memory import backbone, engine, layout
from memory.associative import unit
from memory.titans import NAMES, SelfModifyingTitans, State
from memory.unroll import Prepared, Unrolled

if TYPE_CHECKING:
    from memory.hope import HOPE

F64 = NDArray[np.float64]


class TitansCore(nn.Module):
    """Titans memories of S streams beside a HOPE; `correct` is one bar, `unroll` a differentiable sequence."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        self.net = SelfModifyingTitans(width, chunk=1, seed=seed)
        self.reset(0)

    def reset(self, streams: int) -> None:
        """Memories at M₀."""
        with torch.no_grad():
            self.state: State = {n: (a.clone(), b.clone()) for n, (a, b) in self.net.initial_state(streams).items()}

    def change(self, n: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(Δ [S, T, D], state after) for core inputs n [S, T, D]; inputs are scaled to unit variance by their norm."""
        x = n / n.shape[-1] ** 0.5
        out, after = self.net(x, state)
        return out - self._initial(x), after

    def _initial(self, x: Tensor) -> Tensor:
        """M₀(q) [S, T, D]."""
        net = self.net
        q = unit(x @ net.query)
        result: Tensor = q + torch.nn.functional.silu(q @ net.w2["memory"].mT) @ net.w1["memory"].mT
        return result

    @torch.inference_mode()
    def correct(self, hope: HOPE, out: F64) -> None:
        """One bar: write, hand the evidence over to the trigger, and correct `out` [S, ·] of streams in force."""
        d, o = hope.config.width, hope.config.targets
        n = torch.from_numpy(out[:, -d:].astype(np.float32))
        delta, self.state = self.change(n[:, None], self.state)
        single, groups = backbone.views(hope.config, hope.weights)
        offset = (delta[:, 0] @ single["head_weight"]).numpy()
        at = int(hope._aoff[layout.S_OFFSET])  # noqa: SLF001 - the core is a part of HOPE
        hope._aux[:, at : at + o] = hope._aux[:, at + o : at + 2 * o] = offset  # noqa: SLF001
        active = out[:, engine.O_ACTIVE] > 0.0
        if active.any():
            prediction = out[:, engine.OUT + o : engine.OUT + 2 * o].copy()
            slow = backbone.readout(single, groups, n + n @ single["core_weight"])[1]  # without low-rank changes
            embedding = (slow + delta[:, 0]).double().numpy()
            scale_at = int(hope._aoff[layout.S_SCALE])  # noqa: SLF001
            scale = hope._aux[:, scale_at : scale_at + o]  # noqa: SLF001
            out[active, engine.OUT : engine.OUT + o] = (prediction + scale * offset)[active]
            out[active, engine.OUT + 2 * o : engine.OUT + 2 * o + d] = embedding[active]

    def unroll(
        self, hope: HOPE, prepared: Prepared, array: F64, calendar: F64, modify: bool
    ) -> tuple[Unrolled, Tensor, Prepared]:
        """A whole sequence with gradients to the memories' initial weights; decisions are those of stepping."""
        record = self._decisions(hope, array, calendar) if modify else np.zeros((*array.shape[:2], engine.RECORD))
        single, groups = backbone.views(hope.config, hope.weights)
        n = backbone.encode(hope.config, single, groups, prepared.z, prepared.calendar)
        core = n + n @ single["core_weight"]
        frozen, embedding = backbone.readout(single, groups, core)
        active = torch.from_numpy(record[..., engine.R_ACTIVE] > 0)
        if not modify:
            return (
                Unrolled(frozen.double(), frozen.double(), frozen.double(), embedding, active),
                torch.from_numpy(record),
                prepared,
            )
        delta, _ = self.change(n)
        shadow = frozen + delta @ single["head_weight"]
        mixed = torch.where(active[..., None], shadow, frozen).double()
        embedding = torch.where(active[..., None], embedding + delta, embedding)
        return Unrolled(frozen.double(), shadow.double(), mixed, embedding, active), torch.from_numpy(record), prepared

    def _decisions(self, hope: HOPE, array: F64, calendar: F64) -> F64:
        """Step a copy of the stream from an empty state and keep its records [S, T, RECORD]."""
        saved = hope._act, hope._aux, hope._x, hope._record, hope._force, hope._single, self.state  # noqa: SLF001
        record = np.zeros((*array.shape[:2], engine.RECORD))
        hope.reset(len(array))
        hope._single = False  # noqa: SLF001
        for t in range(array.shape[1]):
            hope.step_at(array[:, t], calendar[t : t + 1])
            record[:, t] = hope._record[:, 0]  # noqa: SLF001
        hope._act, hope._aux, hope._x, hope._record, hope._force, hope._single, self.state = saved  # noqa: SLF001
        return record

    def packed(self) -> Tensor:
        """All memories of all streams as one tensor [S, ·]."""
        return torch.cat([layer.flatten(1) for name in NAMES for layer in self.state[name]], 1)

    def unpack(self, packed: Tensor) -> None:
        """The inverse of `packed`."""
        self.reset(len(packed))
        at = 0
        for name in NAMES:
            layers = []
            for layer in self.state[name]:
                size = layer[0].numel()
                layers.append(packed[:, at : at + size].reshape(layer.shape).clone())
                at += size
            self.state[name] = (layers[0], layers[1])

    @property
    def nbytes(self) -> int:
        """Bytes of memories and their initial weights."""
        state = sum(layer.numel() for pair in self.state.values() for layer in pair)
        return 4 * (state + sum(p.numel() for p in self.parameters()))
