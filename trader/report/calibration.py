"""How far told probabilities can be believed: Brier score and calibration error of trades' confidence.

Confidence was told at the decision, before anything of the trade was known, so every figure here is out of sample. Brier
score: mean squared distance of probability and outcome (Brier 1950), lower is better; always saying the overall rate
scores rate x (1 - rate). Calibration error: mean distance of told probability and share of profits over bins of equally many
cases (Naeini, Cooper and Hauskrecht 2015, bins of equal mass).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trader.report.metrics import Columns

BINS: Final = 10


def expected_calibration_error(probability: NDArray[np.float64], won: NDArray[np.bool_], bins: int = BINS) -> float:
    """Weighted by cases; NaN without cases."""
    parts = _parts(probability, bins)
    if not parts:
        return float("nan")
    gaps = [abs(float(probability[part].mean()) - float(won[part].mean())) * len(part) for part in parts]
    return float(sum(gaps)) / len(probability)


def calibration(trades: Columns) -> dict[str, Any]:
    """Figures of all closed trades, shadows' too: `cases`, `rate` (share of profits), `brier`, `brier_of_score` (|score|
    taken as a probability), `brier_of_rate`, `error`, and `bins` with `told`, `rate`, `mean_return_on_margin`, `cases`."""
    told, score = (np.asarray(trades[name], np.float64) / 100.0 for name in ("confidence", "score"))
    won = np.asarray(trades["pnl"], np.float64) > 0
    returns = np.asarray(trades["return_on_margin"], np.float64)
    if len(told) == 0:
        return {"cases": 0, "bins": []}
    rate = float(won.mean())
    return {
        "cases": len(told),
        "rate": rate,
        "brier": float(np.mean((told - won) ** 2)),
        "brier_of_score": float(np.mean((score - won) ** 2)),
        "brier_of_rate": rate * (1.0 - rate),
        "error": expected_calibration_error(told, won),
        "bins": [
            {
                "told": float(told[part].mean()), "rate": float(won[part].mean()),
                "mean_return_on_margin": float(np.nanmean(returns[part])), "cases": len(part),
            }
            for part in _parts(told, BINS)
        ],
    }  # fmt: skip


def _parts(probability: NDArray[np.float64], bins: int) -> list[NDArray[np.int64]]:
    """Rows of equally many cases, from the least probable to the most."""
    if len(probability) == 0:
        return []
    order = np.argsort(probability, kind="stable")
    return [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
