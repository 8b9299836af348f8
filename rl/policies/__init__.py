"""Policies: DQN, PPO, A3C and its synchronous control A2C, all trained through one update rule."""

from rl.policies.a2c import A2C, A2CConfig
from rl.policies.a3c import A3C, A3CConfig
from rl.policies.dqn import DQN, DQNConfig
from rl.policies.ppo import PPO, PPOConfig

__all__ = ["A2C", "A3C", "DQN", "PPO", "A2CConfig", "A3CConfig", "DQNConfig", "PPOConfig"]
