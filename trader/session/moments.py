"""Moments of decision of one market and timeframe that wait for their outcome: a ring of the last MOMENTS closes.

Each holds what was known then: the embedding, the price, the regime, and what the memory expected. One in TRACED keeps
the full trace of the recall too, from which the reader learns. A moment is `taken` once a trade was entered from it;
one that was not is judged by the price `horizon` candles of its timeframe later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOMENTS: Final = 512
"""More than the longest holding time of an agent (400 candles of its timeframe)."""

TRACED: Final = 8
"""Learning from an outcome costs a tenth of a millisecond: every eighth moment teaches."""

_NEVER: Final = -1
_SUMMARY: Final = (6, 3)
_TRACE: Final = (3, 8, 9)
_WAITING, _TAKEN, _PRICED, _JUDGED = range(4)


class Moment(NamedTuple):
    """One moment: key [D], what the memory expected (summary [6, 3]), regime, and the trace [3, 8, 9] if it has one."""

    key: NDArray[np.float32]
    summary: NDArray[np.float64]
    regime: int
    trace: NDArray[np.float64]


class Moments:
    """The ring of one market and timeframe of `length_ms`, whose decisions not taken are judged after `horizon` candles."""

    def __init__(self, length_ms: int, horizon: int, width: int) -> None:
        self._wait_ms = length_ms * min(horizon, MOMENTS // 2)
        self._arrays: dict[str, NDArray[Any]] = {
            "count": np.zeros(1, np.int64),
            "times": np.full(MOMENTS, _NEVER, np.int64),
            "keys": np.zeros((MOMENTS, width), np.float32),
            "prices": np.zeros(MOMENTS),
            "later": np.zeros(MOMENTS),
            "regime": np.zeros(MOMENTS, np.int8),
            "status": np.zeros(MOMENTS, np.int8),
            "summaries": np.zeros((MOMENTS, *_SUMMARY)),
            "traces": np.zeros((MOMENTS // TRACED, *_TRACE)),
        }
        self._row: dict[int, int] = {}

    def add(
        self, times: NDArray[np.int64], keys: NDArray[np.float32], prices: NDArray[np.float64],
        regimes: NDArray[np.int8], summaries: NDArray[np.float64], traces: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Append n <= MOMENTS moments, oldest first; what they push out of the ring is forgotten."""
        a = self._arrays
        first = int(a["count"][0])
        numbers = first + np.arange(len(times))
        slots = numbers % MOMENTS
        for old in a["times"][slots].tolist():
            self._row.pop(old, None)
        a["times"][slots], a["keys"][slots], a["prices"][slots] = times, keys, prices
        a["regime"][slots], a["status"][slots], a["summaries"][slots] = regimes, _WAITING, summaries
        traced = np.flatnonzero(numbers % TRACED == 0)
        a["traces"][numbers[traced] // TRACED % len(a["traces"])] = traces[traced]
        a["count"][0] = first + len(times)
        self._row.update(zip(times.tolist(), slots.tolist(), strict=True))

    def taken(self, time_ms: int) -> None:
        """A trade was entered from the moment of that time."""
        slot = self._row.get(time_ms)
        if slot is not None:
            self._arrays["status"][slot] = _TAKEN

    def find(self, time_ms: int) -> int | None:
        """The place of the moment of that time, if it is still in the ring."""
        return self._row.get(time_ms)

    def at(self, slot: int) -> Moment:
        """The moment in that place; the trace is its own where the place is a multiple of TRACED."""
        a = self._arrays
        return Moment(a["keys"][slot], a["summaries"][slot], int(a["regime"][slot]), a["traces"][slot // TRACED])

    def summaries(self, slots: NDArray[np.int64] | list[int]) -> NDArray[np.float64]:
        """What the memory expected at the moments in these places, [n, 6, 3]."""
        found: NDArray[np.float64] = self._arrays["summaries"][slots]
        return found

    def pass_time(self, times: NDArray[np.int64], closes: NDArray[np.float64], present: NDArray[np.bool_]) -> None:
        """Note the price at which waiting moments are judged: the first close at or after their horizon."""
        a = self._arrays
        here = np.flatnonzero(present)
        waiting = np.flatnonzero((a["times"] != _NEVER) & (a["status"] == _WAITING))
        if len(here) == 0 or len(waiting) == 0:
            return
        place = np.searchsorted(times[here], a["times"][waiting] + self._wait_ms)
        due = place < len(here)
        slots = waiting[due]
        a["later"][slots] = closes[here[place[due]]]
        a["status"][slots] = _PRICED

    def not_taken(self, limit: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Places of the moments nobody traded whose horizon has passed, oldest first, and the percentage the price moved,
        at most `limit` up or down. Once each."""
        a = self._arrays
        priced = np.flatnonzero(a["status"] == _PRICED)
        priced = priced[np.argsort(a["times"][priced], kind="stable")]
        a["status"][priced] = _JUDGED
        return priced, np.clip(100.0 * (a["later"][priced] / a["prices"][priced] - 1.0), -limit, limit)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it remembers."""
        return {name: values.copy() for name, values in self._arrays.items()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Become what `state` described."""
        for name, values in self._arrays.items():
            values[...] = state[name]
        times = self._arrays["times"]
        self._row = {int(time): slot for slot, time in enumerate(times.tolist()) if time != _NEVER}
