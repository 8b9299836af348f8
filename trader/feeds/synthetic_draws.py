"""Random numbers of the synthetic market: each is a hash of what it is for, and the same bits on every processor.

A draw is keyed by (seed, frame, market, purpose, number), so a frame's numbers depend on nothing before it. Only
additions, multiplications, divisions and square roots are used, all of them exactly rounded by IEEE 754; the logarithm
is a series of its own because library ones differ in the last bit. No shared generator: see trader/core/rng.py for the
array form of the same hash.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit

LARGEST_DEVIATE: Final = 6.0
"""Normal deviates are cut here, on both sides alike: one draw in half a billion."""
SMALLEST_PRECISION: Final = 1.0 / 40.0
"""Least value of the precision that makes a Student-t candle out of a normal one; once in about 3,000 draws."""
_LN_2: Final = 0.6931471805599453
_ROOT_HALF: Final = 0.7071067811865476


@njit(cache=True, nogil=True)
def _mix(value: Any) -> Any:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def uniform(seed: int, frame: int, market: int, purpose: int, number: int) -> float:
    """In [0, 1), 53 bits: splitmix64's finaliser applied once for each key."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = _mix(np.uint64(seed) + golden)
    state = _mix((state ^ np.uint64(frame)) + golden)
    state = _mix((state ^ np.uint64(market)) + golden)
    state = _mix((state ^ np.uint64(purpose * 4096 + number)) + golden)
    return float(state >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def logarithm(value: float) -> float:
    """Natural logarithm of a positive number, to 1e-15: 2 artanh((m - 1) / (m + 1)) as a series, plus the exponent."""
    mantissa, exponent = math.frexp(value)
    if mantissa < _ROOT_HALF:
        mantissa *= 2.0
        exponent -= 1
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    total = 0.0
    for k in range(19, 0, -2):
        total = total * square + 1.0 / k
    return 2.0 * ratio * total + exponent * _LN_2


@njit(cache=True, nogil=True)
def exponential(seed: int, frame: int, market: int, purpose: int, number: int) -> float:
    """Exponential with mean 1."""
    return -logarithm(1.0 - uniform(seed, frame, market, purpose, number))


@njit(cache=True, nogil=True)
def normal(seed: int, frame: int, market: int, purpose: int) -> float:
    """Standard normal by the polar method (Marsaglia and Bray, 1964), cut at LARGEST_DEVIATE; numbers 0, 1, 2, ..."""
    number = 0
    while True:
        a = 2.0 * uniform(seed, frame, market, purpose, number) - 1.0
        b = 2.0 * uniform(seed, frame, market, purpose, number + 1) - 1.0
        w = a * a + b * b
        number += 2
        if 0.0 < w < 1.0:
            break
    value = a * math.sqrt(-2.0 * logarithm(w) / w)
    return min(max(value, -LARGEST_DEVIATE), LARGEST_DEVIATE)


@njit(cache=True, nogil=True)
def precision(seed: int, frame: int, market: int, purpose: int) -> float:
    """Gamma(2) draw g: a standard normal over sqrt(g) is Student-t with 4 degrees of freedom brought to variance 1."""
    total = exponential(seed, frame, market, purpose, 0) + exponential(seed, frame, market, purpose, 1)
    return max(total, SMALLEST_PRECISION)
