"""Randomness without state: every draw is a hash of what it is for.

A draw is keyed by (seed, stream, generation, item, number): `item` is an agent, a market, a frame; `number` counts the
draws of that item. No generator is shared or carried along, so nothing depends on the order of rows, blocks, threads
or workers, and a resumed session needs no random state. The hash is splitmix64's finaliser (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014, and Stafford's variant 13), applied once for each key.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Stream(IntEnum):
    """What a random number is for. Numbers are stable: changing one changes every run."""

    FOUNDER = 1
    HABITAT = 2
    SELECTION = 3
    CROSSOVER = 4
    MUTATION = 5
    IMMIGRANT = 6
    PATH = 7
    CONTROL = 8
    BANDIT = 9
    MODIFIER = 10
    PLACEBO = 11
    ISLAND = 12
    BIRTH = 20


_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


def hash_bits(seed: int, stream: int, generation: int, item: ArrayLike, number: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits for each pair of `item` and `number` (broadcast together)."""
    with np.errstate(over="ignore"):
        state = _mix(np.asarray(np.uint64(seed & 0xFFFFFFFFFFFFFFFF)) + _GOLDEN)
        for key in (stream, generation):
            state = _mix((state ^ np.uint64(key)) + _GOLDEN)
        for keys in (item, number):
            state = _mix((state ^ np.asarray(keys).astype(np.int64).astype(np.uint64)) + _GOLDEN)
        return state


def uniform(seed: int, stream: int, generation: int, item: ArrayLike, number: ArrayLike) -> NDArray[np.float64]:
    """Uniform draws in [0, 1) with 53 bits."""
    bits = hash_bits(seed, stream, generation, item, number)
    return np.asarray((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def normal(seed: int, stream: int, generation: int, item: ArrayLike, number: ArrayLike) -> NDArray[np.float64]:
    """Standard normal draws by the Box-Muller transform; each uses the uniform draws 2k and 2k + 1 of its item."""
    numbers = np.asarray(number)
    radius = np.sqrt(-2.0 * np.log1p(-uniform(seed, stream, generation, item, 2 * numbers)))
    angle = 2.0 * np.pi * uniform(seed, stream, generation, item, 2 * numbers + 1)
    return np.asarray(radius * np.cos(angle))


def integers(
    seed: int, stream: int, generation: int, item: ArrayLike, number: ArrayLike, below: int
) -> NDArray[np.int64]:
    """Uniform integers in [0, below)."""
    return np.asarray((uniform(seed, stream, generation, item, number) * below).astype(np.int64))
