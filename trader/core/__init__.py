"""Types, money, clock, randomness, configuration and features: what every other layer stands on."""
