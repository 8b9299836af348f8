"""One market's candles on one timeframe, as the sequence model reads them: inputs, what was said, and its errors.

A stream remembers the candles of the warm-up, reads the last WARMUP of them from an empty state before the first
decision (so that a longer history changes no bit), and from there every valid closed candle. After a hole its inputs
start anew, so that no return spans what is missing. Sums of errors are integers: no cutting into blocks can move them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memory import market_stream
from trader.core.features import WARMUP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memory.hope import HOPE, Output

BOUND: Final = 8.0
"""Predictions and errors are clipped to so many deviations, as features are."""

ERROR_SCALE: Final = 1_000_000_000
"""Squared errors are counted in 1e-9 of a squared deviation."""

_SCALE_COLUMN: Final = 15
"""Input of the model that holds the log of the return's scale over 128 candles."""

STEPS, FROZEN_ERROR, ERROR, OPENED, IN_FORCE, ALARMS, TALLIES = range(7)


class CandleStream:
    """State of one stream. `number` is its row in the model, `width` the length of an embedding."""

    def __init__(self, model: HOPE, number: int, length_ms: int, width: int) -> None:
        self._model = model
        self._number = number
        self._length_ms = length_ms
        self._width = width
        self._arrays: dict[str, NDArray[Any]] = {
            "inputs": np.zeros(market_stream.STATE),
            "history": np.zeros((WARMUP, 6)),
            "seen": np.zeros(1, np.int64),
            "last_ms": np.full(1, -1, np.int64),
            "held": np.zeros(width + 2),
            "known": np.zeros(1, np.bool_),
            "predicted": np.zeros(2),
            "scale": np.zeros(1),
            "tally": np.zeros(TALLIES, np.int64),
        }

    @property
    def held(self) -> NDArray[np.float64]:
        """The newest row [width + 2]: embedding, prediction in deviations, 2 p − 1 of the trigger."""
        held: NDArray[np.float64] = self._arrays["held"]
        return held

    @property
    def known(self) -> bool:
        """Whether the model has read anything yet."""
        return bool(self._arrays["known"][0])

    @property
    def tally(self) -> NDArray[np.int64]:
        """Counts since the last `settle`: steps, squared errors of the frozen net and in force, triggers, ..."""
        tally: NDArray[np.int64] = self._arrays["tally"]
        return tally

    def settle(self) -> None:
        """Start counting anew."""
        self._arrays["tally"][:] = 0

    def remember(self, candles: NDArray[np.float64], leaders: NDArray[np.float64], times: NDArray[np.int64]) -> None:
        """Candles [n, 5] of the warm-up with the leader's closes [n]; only the last WARMUP are kept."""
        if len(candles) == 0:
            return
        rows = np.concatenate((self._arrays["history"], np.column_stack((candles, leaders))))
        self._arrays["history"][:] = rows[-WARMUP:]
        self._arrays["seen"][0] = min(int(self._arrays["seen"][0]) + len(candles), WARMUP)
        self._arrays["last_ms"][0] = times[-1]

    def begin(self) -> None:
        """Read what the warm-up left, from an empty state."""
        seen = int(self._arrays["seen"][0])
        if seen:
            history = self._arrays["history"][WARMUP - seen :]
            inputs = self._follow(history[:, :5], history[:, 5])
            self._hold(inputs, self._model.follow(self._number, inputs))
            self.settle()
        self._arrays["history"][:] = 0.0

    def take(
        self, candles: NDArray[np.float64], leaders: NDArray[np.float64], times: NDArray[np.int64],
        valid: NDArray[np.bool_],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
        """Read closed candles [n, 5] (open time of the base candle they closed at [n]): which of them the model read,
        and what it said [read, width + 2]."""
        nothing = np.zeros(0, np.int64), np.zeros((0, self._width + 2))
        if len(candles) == 0:
            return nothing
        inputs = self._inputs_of(candles, leaders, times)
        read = np.flatnonzero(valid)
        if len(read) == 0:
            return nothing
        return read, self._hold(inputs[read], self._model.follow(self._number, inputs[read]))

    def _inputs_of(
        self, candles: NDArray[np.float64], leaders: NDArray[np.float64], times: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Inputs [n, 24], starting anew where a whole candle of the timeframe is missing."""
        last = self._arrays["last_ms"]
        before = np.concatenate((last, times[:-1]))
        holes = np.flatnonzero((before >= 0) & (times // self._length_ms > before // self._length_ms + 1)).tolist()
        last[0] = times[-1]
        if not holes:
            return self._follow(candles, leaders)
        parts = []
        for first, stop in zip([0, *holes], [*holes, len(candles)], strict=True):
            if first in holes:
                self._arrays["inputs"][:] = 0.0
            parts.append(self._follow(candles[first:stop], leaders[first:stop]))
        return np.concatenate(parts)

    def _follow(self, candles: NDArray[np.float64], leaders: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(
            market_stream.follow(self._arrays["inputs"], np.ascontiguousarray(candles), np.ascontiguousarray(leaders))
        )

    def _hold(self, inputs: NDArray[np.float64], said: Output) -> NDArray[np.float64]:
        """What was said as rows; the last one is held and the errors of the predictions before are counted."""
        scale = np.exp(inputs[:, _SCALE_COLUMN])
        predicted = np.empty((len(inputs), 2))
        predicted[:, 0], predicted[:, 1] = said.prediction[:, 0], said.frozen[:, 0]
        predicted /= scale[:, None]
        rows = np.empty((len(inputs), self._width + 2))
        rows[:, : self._width] = said.embedding
        rows[:, self._width] = np.clip(predicted[:, 0], -BOUND, BOUND)
        rows[:, self._width + 1] = 2.0 * np.asarray(said.probability) - 1.0
        self._count(predicted, inputs[:, 0], scale)
        tally = self.tally
        tally[OPENED] += np.count_nonzero(said.triggered)
        tally[IN_FORCE] += np.count_nonzero(said.modified)
        tally[ALARMS] += np.count_nonzero(said.alarm)
        self._arrays["held"][:] = rows[-1]
        self._arrays["known"][0] = True
        return rows

    def _count(self, predicted: NDArray[np.float64], returns: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        """Squared errors of the predictions of these candles' returns, in deviations known when they were made."""
        earlier, earlier_scale = predicted[:-1], scale[:-1]
        actual = returns[1:]
        if self._arrays["scale"][0] > 0.0:
            earlier = np.concatenate((self._arrays["predicted"][None], earlier))
            earlier_scale = np.concatenate((self._arrays["scale"], earlier_scale))
            actual = returns
        errors = np.clip(earlier - (actual / earlier_scale)[:, None], -BOUND, BOUND) ** 2
        counted = np.rint(errors * ERROR_SCALE).astype(np.int64).sum(axis=0)
        self.tally[STEPS] += len(actual)
        self.tally[ERROR] += counted[0]
        self.tally[FROZEN_ERROR] += counted[1]
        self._arrays["predicted"][:] = predicted[-1]
        self._arrays["scale"][0] = scale[-1]

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it remembers; the model's own streams are the level's to keep."""
        return {name: values.copy() for name, values in self._arrays.items()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Become what `state` described."""
        for name, values in self._arrays.items():
            values[...] = state[name]
