"""Behaviour common to the policies: the contract's names, reproducibility, saving, refusing what is wrong."""

import ast
import io
import itertools
import pathlib
import pickle
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch

import rl.policies
from rl.core.archive import load_tree, save_tree
from rl.policies import A2C, A3C, DQN, PPO

SMALL = {
    DQN: {"learning_starts": 50, "buffer_size": 500, "batch_size": 16},
    PPO: {"n_envs": 2, "n_steps": 16, "batch_size": 16, "n_epochs": 2},
    A2C: {"n_envs": 2, "n_steps": 8},
    A3C: {"mode": "turns", "n_steps": 8},
}
KINDS = list(SMALL)
STEPS = 300


def make(kind, env="CartPole-v1", **hyper):
    return kind(lambda: gym.make(env), **{"seed": 3, **SMALL[kind], **hyper})


def weights(agent):
    return np.concatenate([p.detach().numpy().ravel() for p in agent.net.parameters()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["nested", "adam", "rmsprop"])
def test_two_runs_are_equal_and_another_seed_is_not(kind, optimizer):
    one, two = (make(kind, optimizer=optimizer).learn(STEPS) for _ in range(2))
    np.testing.assert_array_equal(weights(one), weights(two))
    assert not np.array_equal(weights(one), weights(make(kind, optimizer=optimizer, seed=4).learn(STEPS)))
    assert not np.array_equal(weights(one), weights(make(kind, optimizer=optimizer)))
    assert one.steps_done >= STEPS
    assert one.updates_done > 0
    assert one.report()["steps"] == one.steps_done


@pytest.mark.parametrize("kind", KINDS)
def test_nested_is_the_default(kind):
    from rl.optim import NestedAdam

    assert isinstance(make(kind).rule.optimizer, NestedAdam)


@pytest.mark.parametrize("kind", KINDS)
def test_a_callable_makes_the_optimizer(kind):
    agent = make(kind, optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr=lr), learning_rate=0.01)
    before = weights(agent)
    agent.learn(STEPS)
    assert isinstance(agent.rule.optimizer, torch.optim.SGD)
    assert not np.array_equal(before, weights(agent))


@pytest.mark.parametrize("kind", KINDS)
def test_predict_returns_actions_of_the_space(kind):
    agent = make(kind)
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    action = agent.predict(observation)
    assert env.action_space.contains(action)
    assert agent.predict(observation) == action
    rows = np.repeat(observation[None], 200, 0)
    assert agent.predict(rows).tolist() == [action] * 200
    assert set(agent.predict(rows, deterministic=False).tolist()) == {0, 1}
    with pytest.raises(ValueError, match="shape"):
        agent.predict(observation[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_saved_policies_act_and_learn_on_alike(kind, tmp_path):
    agent = make(kind).learn(STEPS)
    path = tmp_path / "policy.bin"
    agent.save(path)
    assert path.exists()  # exactly the path given
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    filled = make(kind, seed=9).load(path)
    alone = kind.load(path)
    for other in (filled, alone):
        np.testing.assert_array_equal(weights(agent), weights(other))
        np.testing.assert_array_equal(agent.predict(observations), other.predict(observations))
        assert other.steps_done == agent.steps_done
    with pytest.raises(RuntimeError, match="without environments"):
        alone.learn(10)


@pytest.mark.parametrize("kind", KINDS)
def test_optimizer_state_is_saved_too(kind, tmp_path):
    """A policy trained on from a file moves as the original does on the same data."""
    agent = make(kind).learn(STEPS)
    agent.save(tmp_path / "p")
    again = kind.load(tmp_path / "p", make_env=lambda: gym.make("CartPole-v1"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        gradients = [torch.randn(p.shape, generator=generator) for p in agent.net.parameters()]
        for each in (agent, again):
            each.rule.update(rl.policies.ppo.Telemetry(loss=1.0), gradients)
    np.testing.assert_array_equal(weights(agent), weights(again))


def test_dqn_with_its_replay_goes_on_as_if_never_stopped(tmp_path):
    agent = make(DQN, save_replay=True).learn(STEPS)
    agent.save(tmp_path / "p")
    again = DQN.load(tmp_path / "p", make_env=lambda: gym.make("CartPole-v1"))
    assert agent.train(20) == again.train(20)
    np.testing.assert_array_equal(weights(agent), weights(again))


def test_files_hold_no_pickle(tmp_path):
    path = tmp_path / "policy"
    make(PPO).learn(64).save(path)
    with zipfile.ZipFile(path) as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
        for name in archive.namelist():
            np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    for module in itertools.chain(pathlib.Path("rl").rglob("*.py")):
        imported = {
            alias.name
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "pickle" not in imported, module


def test_a_pickle_or_another_file_is_refused(tmp_path):
    path = tmp_path / "evil"
    path.write_bytes(pickle.dumps({"policy": "PPO"}))
    with pytest.raises(ValueError, match="not a saved policy"):
        PPO.load(path)
    np.savez(tmp_path / "objects.npz", tree=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="not a saved policy"):
        PPO.load(tmp_path / "objects.npz")
    with pytest.raises(FileNotFoundError):
        PPO.load(tmp_path / "nothing")
    make(DQN).save(tmp_path / "dqn")
    with pytest.raises(ValueError, match="holds DQN, not PPO"):
        PPO.load(tmp_path / "dqn")
    with pytest.raises(ValueError, match="other spaces"):
        make(DQN, "Acrobot-v1").load(tmp_path / "dqn")
    with pytest.raises(ValueError, match="hidden"):
        make(DQN, hidden=(8,)).load(tmp_path / "dqn")


def test_archive_round_trip(tmp_path):
    tree = {"a": [1, 2.5, None, True, "x"], 3: (np.arange(3), torch.ones(2, 2)), "big": 2**100, "inf": float("inf")}
    save_tree(tmp_path / "t", tree)
    back = load_tree(tmp_path / "t")
    assert back["a"] == tree["a"]
    assert back["big"] == 2**100
    assert back["inf"] == float("inf")
    assert isinstance(back[3], tuple)
    np.testing.assert_array_equal(back[3][0], np.arange(3))
    assert torch.equal(back[3][1], torch.ones(2, 2))
    for bad in (object(), np.array([None]), {1.5: 2}):
        with pytest.raises(TypeError):
            save_tree(tmp_path / "t", bad)
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="did you mean 'learning_rate'"):
        make(PPO, learning_rat=1e-3)
    with pytest.raises(TypeError, match="callable"):
        PPO("CartPole-v1")
    with pytest.raises(ValueError, match="Discrete"):
        make(DQN, "Pendulum-v1")
    with pytest.raises(ValueError, match="steps"):
        make(PPO).learn(0)
    with pytest.raises(ValueError, match="gamma"):
        make(PPO, gamma=1.5)
    with pytest.raises(ValueError, match="mode"):
        make(A3C, mode="fast")
    with pytest.raises(ValueError, match="optimizer"):
        make(PPO, optimizer="nadam")


def test_continuous_and_multi_discrete_actions():
    agent = make(PPO, "Pendulum-v1").learn(64)
    env = gym.make("Pendulum-v1")
    assert env.action_space.contains(agent.predict(env.reset(seed=0)[0]))

    class Several(gym.Env):
        observation_space = gym.spaces.Dict({"a": gym.spaces.Discrete(3), "b": gym.spaces.Box(0, 1, (2,), np.float32)})
        action_space = gym.spaces.MultiDiscrete([2, 3])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return {"a": 1, "b": np.zeros(2, np.float32)}, {}

        def step(self, action):
            assert self.action_space.contains(action)
            return {"a": 2, "b": np.ones(2, np.float32)}, float(action[1] == 2), False, True, {}

    several = PPO(Several, seed=0, n_envs=2, n_steps=32, batch_size=64).learn(1500)
    assert several.predict({"a": 1, "b": np.zeros(2, np.float32)})[1] == 2


def test_vector_environments_are_accepted():
    def make_vector():
        return gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")

    for kind in (PPO, A2C, DQN):
        agent = kind(make_vector, **SMALL[kind]).learn(STEPS)
        assert agent.batch.size == 3
        assert agent.batch.recent


def test_learning_leaves_the_thread_count_and_global_randomness_alone():
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    make(PPO).learn(64)
    assert torch.get_num_threads() == threads
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_a_callback_can_stop_training():
    agent = make(PPO).learn(100_000, callback=lambda policy: policy.steps_done < 200)
    assert 200 <= agent.steps_done < 300


class Identity(gym.Env):
    """Reward 1 for answering with the number shown."""

    observation_space = gym.spaces.Box(0, 1, (3,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._show(), {}

    def _show(self):
        self.shown = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.shown]

    def step(self, action):
        reward = float(action == self.shown)
        self.time += 1
        return self._show(), reward, False, self.time >= 20, {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_map_is_learned_quickly(kind):
    hyper = {DQN: {"learning_starts": 100}, A3C: {"mode": "turns"}}.get(kind, {})
    agent = kind(Identity, seed=0, gamma=0.5, **hyper).learn(4000)
    assert agent.predict(np.eye(3, dtype=np.float32)).tolist() == [0, 1, 2]
