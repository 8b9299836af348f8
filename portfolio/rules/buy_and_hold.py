"""Buy and hold of agents: equal shares at the start, then winners compound and nothing is moved.

Wealth is the mean of the agents' wealths, so log W_T >= max_i log W_i - ln n without any parameter: exact, for any
sequence of results (the Bayes mixture of experts under log loss; Cover and Thomas, "Elements of Information Theory").
Newcomers get 1 / n and the others keep their proportions.
"""

from __future__ import annotations

from portfolio.records import Floats, Records

MEANING = "winners compound: shares drift with results and are not brought back"


def weights(records: Records) -> Floats:
    """b_i(t + 1) proportional to b_i(t) x_i(t), which is what is held."""
    return records.held
