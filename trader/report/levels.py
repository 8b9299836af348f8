"""What the learning levels did, from their rows: updates of each, heritability, and what the self-modifier expected and got.

The modifier's trials are told one line a trial (its rows are one a gene): advantage expected at the adoption, from the
window before, against the advantage realised in the trial after it, both in log growth of the account.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np

from trader.report.metrics import Columns

BINS: Final = 5
"""Of trials by expected advantage: fifths."""
LARGEST_CLOUD: Final = 500
"""Trials listed one by one in the document; of more, those at equal distances."""


def levels(level: Columns, modification: Columns) -> dict[str, Any]:
    """`updates` by level, `heritability` (None without), and `modifier` (None without trials)."""
    names = level["level"].astype(str)
    kept = np.asarray(level["kept"])
    return {
        "updates": {
            name: {"updates": int((names == name).sum()), "kept": int(kept[names == name].sum())}
            for name in sorted(set(names.tolist()))
        },
        "evolution": _evolution(level, names),
        "modifier": modifier(modification),
    }


def _evolution(level: Columns, names: Any) -> dict[str, Any] | None:
    """Heritability so far and the niches, as natural selection's last row tells them."""
    rows = np.flatnonzero(names == "evolution")
    if not len(rows):
        return None
    detail = json.loads(str(level["detail"][rows[-1]]))
    return {"heritability": detail.get("heritability_so_far"), "niches": detail.get("niches")}


def modifier(modification: Columns) -> dict[str, Any] | None:
    """Trials: how many kept and rolled back; expected beside realised, in fifths of the expected, and one by one."""
    _, first = np.unique(modification["trial"], return_index=True)
    known = np.array([value is not None and np.isfinite(float(value)) for value in modification["kept"][first]], bool)
    if not len(first):
        return None
    ended = first[known]
    expected, realised = (np.asarray(modification[name][ended], np.float64) for name in ("expected", "realised"))
    kept = np.asarray(modification["kept"][ended], np.float64) > 0
    order = np.argsort(expected, kind="stable")
    fifths = [part for part in np.array_split(order, BINS) if len(part)]
    cloud = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), LARGEST_CLOUD)).astype(int))]
    return {
        "adopted": len(first),
        "kept": int(kept.sum()),
        "rolled_back": int((~kept).sum()),
        "under_way": int((~known).sum()),
        "expected": _mean(expected),
        "realised": _mean(realised),
        "realised_of_kept": _mean(realised[kept]),
        "realised_of_rolled_back": _mean(realised[~kept]),
        "fifths": [
            {
                "expected": _mean(expected[part]),
                "realised": _mean(realised[part]),
                "standard_error": float(realised[part].std(ddof=1) / np.sqrt(len(part)))
                if len(part) > 1
                else float("nan"),
                "trials": len(part),
            }
            for part in fifths
        ],
        "trials": [[float(expected[row]), float(realised[row]), int(kept[row])] for row in cloud.tolist()],
    }


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else float("nan")
