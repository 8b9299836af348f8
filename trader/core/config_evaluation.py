"""The table `[evaluation]` of the config: how `trader evaluate` cuts history and what it repeats.

A length below 1 is a share of the history, from 1 on it is a number of base candles. No session reads this table.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, Strict, model_validator

from trader.core.config_section import Section
from trader.core.config_values import LARGEST_COUNT


def whole_from_one(value: float) -> float:
    """A share below 1, or a whole number of candles.

    Raises:
        ValueError: a number above 1 that is not whole.
    """
    if value >= 1 and value != int(value):
        raise ValueError("below 1 a share of the history, from 1 on a whole number of base candles")
    return value


Length = Annotated[float, Strict(), Field(ge=0, le=LARGEST_COUNT, allow_inf_nan=False), AfterValidator(whole_from_one)]
Multiple = Annotated[float, Strict(), Field(ge=0, le=100, allow_inf_nan=False)]


class EvaluationConfig(Section):
    """Windows, seeds and costs of `trader evaluate`."""

    train: Annotated[Length, Field(gt=0)] = Field(
        0.3, description="first part of the history, in sample: shown beside the result, never as the result"
    )
    test: Annotated[Length, Field(gt=0)] = Field(0.1, description="length of a test window, out of sample")
    embargo: Length = Field(0.01, description="left out between two windows, and before the hold-out")
    holdout: Length = Field(
        0.2,
        description="last part of the history: not even traded until `--open-holdout`, and every opening is counted",
    )
    seeds: Annotated[int, Strict(), Field(ge=1, le=100)] = Field(
        3, description="populations, from `session.seed` on, that live through the same candles"
    )
    costs: Annotated[tuple[Multiple, ...], Field(min_length=1)] = Field(
        (0.0, 1.0, 2.0, 4.0), description="multiples of fees and slippage under which the sessions are repeated"
    )
    block: Annotated[float, Strict(), Field(ge=1, le=LARGEST_COUNT, allow_inf_nan=False)] | None = Field(
        None, description="mean block of the bootstrap in steps (days, or hours below 30 days); default: by the data"
    )
    draws: Annotated[int, Strict(), Field(ge=20, le=100_000)] = Field(
        400, description="random agents: the population's own positions and costs dealt to other times"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        shares = [value for value in (self.train, self.test, self.holdout) if value < 1]
        if sum(shares) >= 1:
            raise ValueError("train, test and holdout are parts of one history: their shares must sum to less than 1")
        if len(set(self.costs)) != len(self.costs) or list(self.costs) != sorted(self.costs) or 1.0 not in self.costs:
            raise ValueError("costs: each multiple once, rising, 1.0 (the config's own costs) among them")
        return self
