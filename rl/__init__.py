"""Reinforcement learning as a library of its own: nested optimizers, policies, bandits, environments."""
