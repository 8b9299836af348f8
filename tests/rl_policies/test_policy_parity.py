"""One update with the plain optimizer equals Stable-Baselines3's, and a computation by hand, to 1e-6."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.nn import functional

from rl.buffers import Sample
from rl.core.rollout import TrainingRows
from rl.policies import DQN, PPO

sb3 = pytest.importorskip("stable_baselines3")


def adam(parameters, lr):
    """What Stable-Baselines3 uses for DQN: torch's Adam with its defaults."""
    return torch.optim.Adam(parameters, lr=lr)


def adam_ppo(parameters, lr):
    return torch.optim.Adam(parameters, lr=lr, eps=1e-5)


def copy_linears(source, target):
    """Linear layers in order."""
    ours = [m for m in target.modules() if isinstance(m, torch.nn.Linear)]
    theirs = [m for m in source.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.weight.shape for m in ours] == [m.weight.shape for m in theirs]
    for a, b in zip(ours, theirs, strict=True):
        a.weight.data.copy_(b.weight.data)
        a.bias.data.copy_(b.bias.data)


def linear_difference(source, target):
    ours = [m for m in target.modules() if isinstance(m, torch.nn.Linear)]
    theirs = [m for m in source.modules() if isinstance(m, torch.nn.Linear)]
    return max(float((a.weight - b.weight).abs().max()) for a, b in zip(ours, theirs, strict=True))


class Quiet:
    """A logger that records nothing."""

    def record(self, *args, **kwargs):
        """Ignore."""


def test_dqn_update_equals_stable_baselines3(monkeypatch):
    env = gym.make("Acrobot-v1")
    theirs = sb3.DQN("MlpPolicy", env, learning_rate=1e-3, batch_size=32, seed=1, max_grad_norm=10)
    theirs._logger = Quiet()
    ours = DQN(
        lambda: gym.make("Acrobot-v1"), optimizer=adam, learning_rate=1e-3, layer_norm=False, double=False,
        dueling=False, prioritized=False, n_steps=1, batch_size=32,
    )  # fmt: skip
    copy_linears(theirs.q_net, ours.online)
    copy_linears(theirs.q_net_target, ours.target)
    rng = np.random.default_rng(0)
    start = [p.detach().clone() for p in ours.online.parameters()]
    for _ in range(5):
        observations, successors = rng.normal(size=(2, 32, 6)).astype(np.float32)
        actions = rng.integers(0, 3, 32)
        rewards, done = rng.normal(size=32).astype(np.float32) * 5, rng.random(32) < 0.3
        batch = sb3.common.type_aliases.ReplayBufferSamples(
            torch.from_numpy(observations), torch.from_numpy(actions)[:, None], torch.from_numpy(successors),
            torch.from_numpy(done.astype(np.float32))[:, None], torch.from_numpy(rewards)[:, None],
        )  # fmt: skip
        monkeypatch.setattr(theirs.replay_buffer, "sample", lambda *_, batch=batch, **__: batch)
        theirs.train(gradient_steps=1, batch_size=32)
        discounts = np.where(done, 0.0, 0.99).astype(np.float32)
        ours.update(Sample(observations, actions, rewards, successors, discounts, None, np.arange(32)))
    assert linear_difference(theirs.q_net, ours.online) < 1e-6
    assert max(float((a - b).abs().max()) for a, b in zip(start, ours.online.parameters(), strict=True)) > 1e-3


def test_ppo_update_equals_stable_baselines3():
    env = sb3.common.vec_env.DummyVecEnv([lambda: gym.make("CartPole-v1")] * 4)
    theirs = sb3.PPO(
        "MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=3, learning_rate=1e-3, gamma=0.98, gae_lambda=0.8,
        ent_coef=0.01, seed=2,
    )  # fmt: skip
    theirs._setup_learn(1000)
    theirs.set_logger(sb3.common.logger.Logger(None, []))
    callback = sb3.common.callbacks.CallbackList([])
    callback.init_callback(theirs)
    theirs.collect_rollouts(theirs.env, callback, theirs.rollout_buffer, 16)
    ours = PPO(
        lambda: gym.make("CartPole-v1"), optimizer=adam_ppo, learning_rate=1e-3, layer_norm=False, ent_coef=0.01,
        value_loss="mse", n_epochs=3, batch_size=64, max_grad_norm=0.5,
    )  # fmt: skip
    copy_linears(theirs.policy.mlp_extractor.policy_net, ours.net.actor.linears)
    copy_linears(theirs.policy.mlp_extractor.value_net, ours.net.critic.linears)
    copy_linears(theirs.policy.action_net, ours.net.actor.head)
    copy_linears(theirs.policy.value_net, ours.net.critic.head)
    batch = next(iter(theirs.rollout_buffer.get(64)))
    rows = TrainingRows(
        batch.observations, batch.actions.long().flatten(), batch.old_log_prob, batch.old_values, batch.advantages,
        batch.returns,
    )  # fmt: skip
    theirs.train()
    ours.train_on(rows, 0.2)
    pairs = [
        (theirs.policy.mlp_extractor.policy_net, ours.net.actor.linears),
        (theirs.policy.mlp_extractor.value_net, ours.net.critic.linears),
        (theirs.policy.action_net, ours.net.actor.head),
        (theirs.policy.value_net, ours.net.critic.head),
    ]
    assert max(linear_difference(a, b) for a, b in pairs) < 1e-6


def test_ppo_advantages_equal_stable_baselines3():
    from rl.core.returns import generalized_advantages

    rng = np.random.default_rng(0)
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    buffer = sb3.common.buffers.RolloutBuffer(12, space, gym.spaces.Discrete(2), gae_lambda=0.9, gamma=0.97, n_envs=3)
    rewards, values = rng.normal(size=(2, 12, 3)).astype(np.float32)
    dones = rng.random((13, 3)) < 0.2
    for t in range(12):
        buffer.add(
            np.zeros((3, 2)), np.zeros((3, 1)), rewards[t], dones[t], torch.from_numpy(values[t]), torch.zeros(3)
        )
    last = rng.normal(size=3).astype(np.float32)
    buffer.compute_returns_and_advantage(torch.from_numpy(last), dones[12])
    following = np.concatenate([values[1:], last[None]])
    ours = generalized_advantages(rewards, values, following, dones[1:], dones[1:], 0.97, 0.9)
    np.testing.assert_allclose(ours, buffer.advantages, atol=1e-5)


@pytest.mark.parametrize("double", [False, True])
def test_dqn_update_by_hand(double):
    """Double, dueling, weighted Huber, clip and one Adam step, written out again in double precision."""
    agent = DQN(
        lambda: gym.make("CartPole-v1"),
        optimizer="adam",
        double=double,
        learning_rate=1e-3,
        max_grad_norm=0.1,
        n_steps=1,
    )
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for p in agent.target.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(4)) * 0.05)
    observations, successors = rng.normal(size=(2, 16, 4)).astype(np.float32)
    actions, rewards = rng.integers(0, 2, 16), rng.normal(size=16).astype(np.float32) * 3
    discounts = rng.choice([0.0, 0.9], 16).astype(np.float32)
    weights = rng.random(16).astype(np.float32)
    import copy

    online, target = copy.deepcopy(agent.online).double(), copy.deepcopy(agent.target).double()
    next_target, next_online = (net(torch.from_numpy(successors).double()) for net in (target, online))
    best = (next_online if double else next_target).argmax(1)
    y = torch.from_numpy(rewards).double() + torch.from_numpy(discounts).double() * next_target[torch.arange(16), best]
    q = online(torch.from_numpy(observations).double())[torch.arange(16), torch.from_numpy(actions)]
    error = q - y.detach()
    huber = torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5)
    loss = (torch.from_numpy(weights).double() * huber).mean()
    gradients = torch.autograd.grad(loss, list(online.parameters()))
    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    scale = min(1.0, 0.1 / (float(norm.detach()) + 1e-6))
    assert scale < 1.0
    for _ in range(4):  # enough transitions for the priorities to be written somewhere
        agent.buffer._store(observations[0], 0, 0.0, successors[0], 0.9)
    agent.buffer.count = 16
    found = agent.update(Sample(observations, actions, rewards, successors, discounts, weights, np.arange(16)))
    assert found == pytest.approx(float(loss.detach()), rel=1e-5)
    for ours, before, g in zip(agent.online.parameters(), online.parameters(), gradients, strict=True):
        clipped = scale * g
        expected = before.detach() - 1e-3 * clipped / (clipped.abs() + 1e-8)  # first Adam step: m / sqrt(v) = sign
        moved = clipped.abs() > 1e-5  # near zero the sign is rounding
        assert float((ours.detach().double() - expected)[moved].abs().max()) < 1e-6
    np.testing.assert_allclose(
        agent.buffer.tree.priorities(np.arange(16)), (error.detach().abs().numpy() + 1e-6) ** 0.6, rtol=1e-4
    )


def test_ppo_loss_by_hand():
    agent = PPO(lambda: gym.make("CartPole-v1"), n_envs=1, ent_coef=0.02, clip_range_vf=0.1)
    generator = torch.Generator().manual_seed(0)
    n = 12
    log_new, log_old = -torch.rand(n, generator=generator), -torch.rand(n, generator=generator)
    values, old, returns, advantages, entropy = (torch.randn(n, generator=generator) for _ in range(5))
    rows = TrainingRows(torch.zeros(n, 4), torch.zeros(n).long(), log_old, old, advantages, returns)
    found = agent.loss(rows, (log_new - log_old).exp(), values, entropy, 0.2)
    a = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    total = 0.0
    for i in range(n):
        ratio = float((log_new[i] - log_old[i]).exp())
        surrogate = min(float(a[i]) * ratio, float(a[i]) * min(max(ratio, 0.8), 1.2))
        value = float(old[i]) + min(max(float(values[i] - old[i]), -0.1), 0.1)
        value_loss = functional.smooth_l1_loss(torch.tensor(value), returns[i])
        total += -surrogate + 0.5 * float(value_loss) - 0.02 * float(entropy[i])
    assert float(found) == pytest.approx(total / n, rel=1e-5)
