"""The tables `[levels.*]` of the config: each learning level's switch, clock and own keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from trader.core.config_section import Section
from trader.core.config_values import Count, Flag, Fraction


class EvolutionConfig(Section):
    """Natural selection."""

    enabled: Flag = Field(True, description="switch the level on")
    every: Count = Field(720, description="base candles of a generation")
    cull: Fraction = Field(0.2, description="share of the population replaced in each generation")
    tournament: Annotated[int, Strict(), Field(ge=1, le=1000)] = Field(
        3, description="candidates from which each parent is chosen"
    )
    policy_births: Fraction = Field(
        0.3, description="share of births decided by policies and their random control, when one of them is on"
    )
    immigrants: Fraction = Field(0.05, description="share of the children that have no parents")
    migration_every: Count = Field(5, description="generations between two migrations among `population.islands`")
    migrants: Fraction = Field(0.05, description="share of an island that moves on to the next, at least one")
    archived: Fraction = Field(
        0.1,
        description="share of the children that are dead agents of the archive born again, with `population.grid` above 1",
    )
    blind: Flag = Field(
        False,
        description="who makes room and who has children is drawn by lot instead of judged: the random twin of a whole "
        "population, against which `trader evaluate` measures selection",
    )


class PoolLevelConfig(Section):
    """Division of the capital."""

    enabled: Flag = Field(True, description="switch the level on; off: one equal grant at the start")
    every: Count = Field(168, description="base candles of an allocation epoch")


class HopeConfig(Section):
    """The sequence model that modifies itself."""

    enabled: Flag = Field(False, description="switch the level on")
    every: Count = Field(168, description="base candles between two rows of the level; the model reads every candle")
    trigger_threshold: Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)] = Field(
        0.5, description="probability of an advantage at which fast weights are put in force; above 1: never"
    )


class MemoryConfig(Section):
    """Nested memory of closed trades and of decisions not taken. Its keys are the sequence model's embeddings; with
    `levels.hope` off, the market's features."""

    enabled: Flag = Field(False, description="switch the level on")
    every: Count = Field(24, description="base candles between two deliveries of what has closed")
    working: Count = Field(50, description="experiences always kept")
    episodic: Count = Field(5_000, description="experiences the gate may keep")
    horizon: Count = Field(24, description="candles of its timeframe after which a decision not taken is judged")


class BanditsConfig(Section):
    """MetaRL bandits: multipliers of parameters by timeframe and regime, partly pooled over archetypes."""

    enabled: Flag = Field(True, description="switch the level on")
    every: Count = Field(48, description="base candles between two boundaries: rewards come in, new tickets go out")
    forgetting: Literal["discounted", "window"] = Field("discounted", description="how the past is forgotten")
    discount: Fraction = Field(0.99, description="weight of an arm's older rewards at each of its plays (discounted)")
    window: Count = Field(150, description="plays of an arm that are remembered (window)")
    pooling: Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)] = Field(
        20.0, description="rewards of other archetypes that count for each one at most"
    )
    patience: Count = Field(20, description="boundaries after which a ticket without a trade runs out")


class CalibrationConfig(Section):
    """Confidence as a probability."""

    enabled: Flag = Field(True, description="switch the level on; off: confidence is the size of the score")
    every: Count = Field(48, description="base candles between two updates of the probabilities")
    memory: Count = Field(2_000, description="trades of its archetype after which a trade counts half")


class SelfModifierConfig(Section):
    """Changes of an agent's genes within its life, tried, kept or rolled back."""

    enabled: Flag = Field(True, description="switch the level on")
    every: Count = Field(48, description="base candles between two looks")
    window: Count = Field(
        240, description="base candles on which a change is compared with no change before it is adopted"
    )
    trial: Count = Field(240, description="base candles after its adoption at which a change is judged")
    trial_trades: Count = Field(
        4, description="shadow trades of either side a trial needs; without, it lasts up to three times"
    )
    budget: Count = Field(16, description="most agents looked at, at once")
    proposals: Annotated[int, Strict(), Field(ge=1, le=64)] = Field(4, description="changes compared for each of them")
    points: Annotated[float, Strict(), Field(ge=0, le=100)] = Field(
        10.0, description="percentage points by which the calibrated confidence in the decision must rise"
    )
    margin: Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)] = Field(
        1.0, description="standard errors by which the expected advantage must be above zero"
    )
    inheritance: Literal["baldwinian", "lamarckian"] = Field(
        "baldwinian", description="children inherit the genome a parent was born with, or with what it kept"
    )


class PolicyConfig(Section):
    """A policy that decides births."""

    enabled: Flag = Field(False, description="switch the level on (it acts through natural selection's births)")
    every: Count = Field(720, description="base candles between two trainings")
    discount: Fraction = Field(
        0.5, description="weight of what follows a birth in the same market; 0: a contextual bandit"
    )


class LevelsConfig(Section):
    """The learning levels, each with its own clock."""

    hope: HopeConfig = Field(HopeConfig(), description="the sequence model")
    memory: MemoryConfig = Field(MemoryConfig(), description="nested memory")
    bandits: BanditsConfig = Field(BanditsConfig(), description="multipliers of parameters by timeframe and regime")
    calibration: CalibrationConfig = Field(CalibrationConfig(), description="confidence as a probability")
    self_modifier: SelfModifierConfig = Field(SelfModifierConfig(), description="changes of genes within a life")
    dqn: PolicyConfig = Field(PolicyConfig(), description="deep Q-network that decides births")
    a3c: PolicyConfig = Field(PolicyConfig(), description="advantage actor-critic, in turns, that decides births")
    ppo: PolicyConfig = Field(PolicyConfig(), description="proximal policy optimisation that decides births")
    evolution: EvolutionConfig = Field(EvolutionConfig(), description="natural selection of genomes")
    pool: PoolLevelConfig = Field(PoolLevelConfig(), description="division of the capital among agents")
