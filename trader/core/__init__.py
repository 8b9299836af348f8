"""Types, money, clock, randomness, configuration and features: what every other layer stands on."""

from trader.core.compiled import use_cache

use_cache()
