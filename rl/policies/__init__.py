"""Policies: DQN, PPO, A3C and its synchronous control A2C, all trained through one update rule."""

from rl.policies.dqn import DQN, DQNConfig
from rl.policies.ppo import PPO, PPOConfig

__all__ = ["DQN", "PPO", "DQNConfig", "PPOConfig"]
