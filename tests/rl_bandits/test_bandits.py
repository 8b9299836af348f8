"""Bandits: one battery for all of them, then each against its formula, then regret on drifting and steady problems."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.bandits import (
    UCB1,
    DiscountedLinearThompson,
    DiscountedThompson,
    DiscountedUCB,
    Exp3S,
    PooledThompson,
    PooledWindowThompson,
    SlidingWindowThompson,
    SlidingWindowUCB,
    Thompson,
)

KINDS = (UCB1, Thompson, DiscountedThompson, SlidingWindowThompson, DiscountedUCB, SlidingWindowUCB, Exp3S)
KEYED = pytest.mark.parametrize("kind", KINDS)
ALL = pytest.mark.parametrize("kind", [*KINDS, DiscountedLinearThompson])
SHORT = {DiscountedThompson: {"discount": 0.9}, SlidingWindowThompson: {"window": 7}, SlidingWindowUCB: {"window": 7}}


def make(kind, arms=3, **options):
    if kind is DiscountedLinearThompson:
        return kind(arms, 2, **options)
    return kind(arms, **SHORT.get(kind, {}), **options)


def context_of(kind, index):
    return [1.0, index / 3.0] if kind is DiscountedLinearThompson else index


def play(bandit, kind, steps, rng, contexts=3):
    out = []
    for step in range(steps):
        decision = bandit.select(context_of(kind, step % contexts))
        out.append(decision)
        bandit.update(decision.ticket, float(rng.random()))
    return out


@ALL
def test_json_round_trip_continues_with_the_same_draws(kind):
    bandit = make(kind, arms=["a", "b", ["c", 1]], seed=3)
    rng = np.random.default_rng(0)
    play(bandit, kind, 50, rng)
    open_ticket = bandit.select(context_of(kind, 1)).ticket
    twin = kind.from_json(bandit.to_json())
    assert json.loads(twin.to_json()) == json.loads(bandit.to_json())
    for one in (bandit, twin):
        one.update(open_ticket, 0.75)
    first = play(bandit, kind, 50, np.random.default_rng(1))
    assert first == play(twin, kind, 50, np.random.default_rng(1))
    assert len({decision.arm for decision in first}) > 1


@ALL
def test_propensities_are_the_true_frequencies(kind):
    """Many identical states drawn at once: how often each arm comes up must match what was logged."""
    bandit = make(kind, floor=0.1, seed=1)
    play(bandit, kind, 40, np.random.default_rng(5), contexts=1)
    decisions = bandit.select_many([context_of(kind, 0)] * 20_000)
    logged = {}
    for decision in decisions:
        logged.setdefault(decision.arm, decision.propensity)
        assert decision.propensity == logged[decision.arm]
    assert set(logged) == {0, 1, 2}
    assert sum(logged.values()) == pytest.approx(1.0)
    for arm, propensity in logged.items():
        count = sum(decision.arm == arm for decision in decisions)
        assert abs(count / 20_000 - propensity) < 4.5 * math.sqrt(propensity * (1 - propensity) / 20_000)
        assert propensity >= 0.1 / 3 - 1e-12


@ALL
def test_tickets_redeem_once(kind):
    bandit = make(kind)
    ticket = bandit.select(context_of(kind, 0)).ticket
    bandit.update(ticket, 1.0)
    with pytest.raises(KeyError, match="already redeemed"):
        bandit.update(ticket, 1.0)
    with pytest.raises(KeyError, match="unknown"):
        bandit.update(10**9, 1.0)
    other = bandit.select(context_of(kind, 0)).ticket
    with pytest.raises(ValueError, match="finite"):
        bandit.update(other, math.nan)
    bandit.forget(other)
    assert not bandit.pending


@pytest.mark.parametrize("kind", [kind for kind in (*KINDS, DiscountedLinearThompson) if kind is not Exp3S])
@settings(max_examples=25, deadline=None)
@given(data=st.data(), count=st.integers(1, 25))
def test_updates_commute(kind, data, count):
    """Late rewards in any order leave the same state as prompt order, and the same as prompt arrival where that
    applies.
    """
    order = data.draw(st.permutations(range(count)))
    rewards = data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    forward, shuffled = make(kind, seed=7), make(kind, seed=7)
    tickets = [[b.select(context_of(kind, i % 2)).ticket for i in range(count)] for b in (forward, shuffled)]
    for i in range(count):
        forward.update(tickets[0][i], rewards[i])
    for i in order:
        shuffled.update(tickets[1][i], rewards[i])
    for context in range(2):
        one, two = (b.expectations(context_of(kind, context)) for b in (forward, shuffled))
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [DiscountedThompson, SlidingWindowThompson, Thompson])
def test_a_late_reward_counts_like_a_prompt_one(kind):
    prompt, late = make(kind, seed=2), make(kind, seed=2)
    rng = np.random.default_rng(3)
    waiting = []
    for _ in range(30):
        arm_index = int(rng.integers(3))
        reward = float(rng.random())
        for bandit in (prompt, late):  # force the same arm in both
            bandit._probabilities = lambda rows, a=arm_index: np.eye(3)[[a] * len(rows)]
            ticket = bandit.select("x").ticket
            if bandit is prompt:
                bandit.update(ticket, reward)
            else:
                waiting.append((ticket, reward))
    for ticket, reward in reversed(waiting):
        late.update(ticket, reward)
    np.testing.assert_allclose(prompt.effective_n("x"), late.effective_n("x"), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(prompt.expectations("x"), late.expectations("x"), rtol=1e-9)


@pytest.mark.parametrize(("discount", "idle"), [(0.9, 0.9), (0.9, 0.98)])
@pytest.mark.parametrize(("window", "horizon"), [(7, 7), (4, 15)])
def test_discounted_and_windowed_evidence_by_brute_force(discount, idle, window, horizon):
    rng = np.random.default_rng(0)
    discounted = DiscountedThompson(3, discount=discount, idle_discount=idle)
    windowed = SlidingWindowThompson(3, window=window, horizon=horizon)
    for bandit in (discounted, windowed):
        log = []
        for _ in range(60):
            decision, reward = bandit.select(), float(rng.random())
            bandit.update(decision.ticket, reward)
            log.append((decision.arm, reward))
        for arm in range(3):
            times = [time for time, (a, _) in enumerate(log) if a == arm]
            if bandit is discounted:
                weights = [math.prod(discount if a == arm else idle for a, _ in log[time + 1 :]) for time in times]
            else:
                weights = [float(time >= 60 - horizon and time in times[-window:]) for time in times]
            total = sum(weights)
            assert bandit.effective_n()[arm] == pytest.approx(total, abs=1e-9)
            mean = (1 + sum(w * log[time][1] for w, time in zip(weights, times, strict=True))) / (2 + total)
            assert bandit.expectations()[arm] == pytest.approx(mean, rel=1e-9)


@KEYED
def test_contexts_do_not_touch_each_other(kind):
    alone, together = make(kind, seed=0), make(kind, seed=0)
    for step in range(30):
        for bandit in (alone, together):
            bandit._probabilities = lambda rows, a=step % 3: np.eye(3)[[a] * len(rows)]
            bandit.update(bandit.select(("1h", "bull", "stop")).ticket, (step % 5) / 4)
        together.update(together.select(("4h", "bear", step % 20)).ticket, 1.0)
    key = ("1h", "bull", "stop")
    np.testing.assert_array_equal(alone.expectations(key), together.expectations(key))
    assert len(together.rows) == 21


@ALL
def test_arms_come_and_go(kind):
    bandit = make(kind, arms=["a", "b"], seed=4)
    rng = np.random.default_rng(0)
    play(bandit, kind, 30, rng)
    orphan = next(d for d in iter(lambda: bandit.select(context_of(kind, 0)), None) if d.arm == "a").ticket
    bandit.add_arm("c")
    with pytest.raises(ValueError, match="exists"):
        bandit.add_arm("c")
    seen = {decision.arm for decision in play(bandit, kind, 200, rng)}
    assert "c" in seen
    before = bandit.expectations(context_of(kind, 0))
    bandit.remove_arm("a")
    after = bandit.expectations(context_of(kind, 0))
    share = before[1:] / before[1:].sum() if kind is Exp3S else before[1:]
    np.testing.assert_allclose(after, share)
    bandit.update(orphan, 1.0)  # its arm is gone: closed, without effect
    np.testing.assert_array_equal(bandit.expectations(context_of(kind, 0)), after)
    assert {decision.arm for decision in play(bandit, kind, 60, rng)} == {"b", "c"}
    with pytest.raises(ValueError, match="unknown"):
        bandit.remove_arm("a")
    bandit.remove_arm("b")
    with pytest.raises(ValueError, match="last"):
        bandit.remove_arm("c")


def test_window_survives_removal_of_an_arm():
    bandit = SlidingWindowThompson(["a", "b", "c"], window=5, seed=0)
    rng = np.random.default_rng(0)
    play(bandit, SlidingWindowThompson, 12, rng, contexts=1)
    bandit.remove_arm("b")
    play(bandit, SlidingWindowThompson, 5, rng, contexts=1)
    assert (bandit.effective_n(0) == np.minimum(bandit.plays[0], 5)).all()
    assert (bandit.S >= 0.0).all()


def test_thompson_probability_of_best_against_monte_carlo():
    from rl.bandits.best import best_of_beta, best_of_normal

    rng = np.random.default_rng(0)
    successes, failures = np.array([[3.0, 30.0, 1.0, 300.0]]), np.array([[2.0, 25.0, 1.0, 280.0]])
    draws = rng.beta(successes, failures, (400_000, 4))
    np.testing.assert_allclose(best_of_beta(successes, failures)[0], np.bincount(draws.argmax(1)) / 400_000, atol=6e-3)
    mean, deviation = np.array([[0.0, 0.5, 0.2]]), np.array([[1.0, 0.2, 0.05]])
    draws = rng.normal(mean, deviation, (400_000, 3))
    np.testing.assert_allclose(best_of_normal(mean, deviation)[0], np.bincount(draws.argmax(1)) / 400_000, atol=6e-3)


def test_ucb1_plays_its_formula():
    bandit = UCB1(3, seed=0)
    rng = np.random.default_rng(1)
    means, counts, sums = (0.2, 0.5, 0.8), np.zeros(3), np.zeros(3)
    for step in range(300):
        decision = bandit.select()
        if step >= 3:
            index = sums / counts + np.sqrt(2 * np.log(step) / counts)
            assert index[decision.arm] == pytest.approx(index.max())
            assert decision.propensity * (index == index.max()).sum() == pytest.approx(1.0)
        reward = float(rng.random() < means[decision.arm])
        counts[decision.arm] += 1
        sums[decision.arm] += reward
        bandit.update(decision.ticket, reward)
    assert counts.argmax() == 2
    assert counts.min() >= 1


def test_exp3s_step_by_the_formula():
    bandit = Exp3S(3, horizon=100, switches=2, seed=0)
    gamma, alpha, weights = bandit.gamma, bandit.alpha, np.ones(3)
    assert gamma == pytest.approx(min(1, math.sqrt(3 * (2 * math.log(300) + math.e) / ((math.e - 1) * 100))))
    for step in range(30):
        p = (1 - gamma) * weights / weights.sum() + gamma / 3
        decision = bandit.select()
        assert decision.propensity == pytest.approx(p[decision.arm])
        reward = (step % 3) / 2
        total = weights.sum()
        weights[decision.arm] *= math.exp(gamma * reward / (p[decision.arm] * 3))
        weights += math.e * alpha / 3 * total
        bandit.update(decision.ticket, reward)
    np.testing.assert_allclose(bandit.expectations(), weights / weights.sum(), rtol=1e-9)


def test_linear_thompson_matches_weighted_ridge_and_tracks_a_flip():
    bandit = DiscountedLinearThompson(2, 3, discount=0.98, seed=0)
    rng = np.random.default_rng(0)
    log, chosen = [], []
    for step in range(600):
        x = np.array([1.0, *rng.uniform(-1, 1, 2)])
        sign = 1 if step < 300 else -1
        decision = bandit.select(x)
        best = int(sign * x[1] < 0)
        chosen.append(decision.arm == best)
        reward = min(max(0.5 + 0.4 * sign * x[1] * (1 if decision.arm == 0 else -1) + 0.05 * rng.normal(), 0), 1)
        bandit.update(decision.ticket, reward)
        log.append((decision.arm, x, reward))
    assert np.mean(chosen[150:300]) > 0.8
    assert np.mean(chosen[450:]) > 0.8
    for arm in range(2):
        A, b = np.eye(3), np.zeros(3)
        for time, (a, x, r) in enumerate(log):
            if a == arm:
                A += 0.98 ** (599 - time) * np.outer(x, x)
                b += 0.98 ** (599 - time) * (r - 0.5) * x
        x = np.array([1.0, 0.3, -0.2])
        assert bandit.expectations(x)[arm] == pytest.approx(0.5 + x @ np.linalg.solve(A, b), rel=1e-8)
    with pytest.raises(ValueError, match="3 features"):
        bandit.select([1.0, 2.0])


def test_rewards_are_mapped_and_clipped_and_warm_started():
    bandit = Thompson(2, reward_range=(-1.0, 3.0))
    ticket = bandit.select().ticket
    bandit.update(ticket, 1e9)
    assert bandit.S.sum() == 1.0
    bandit.warm_start(0, mean=1.0, evidence=1e6)
    assert bandit.expectations()[0] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Thompson, {"arms": 0}),
        (Thompson, {"arms": ["a", "a"]}),
        (Thompson, {"arms": 2, "posterior": "cauchy"}),
        (DiscountedThompson, {"arms": 2, "discount": 1.5}),
        (SlidingWindowUCB, {"arms": 2, "window": 0}),
        (Exp3S, {"arms": 2, "gamma": 2.0}),
        (UCB1, {"arms": 2, "floor": 1.0}),
        (DiscountedLinearThompson, {"arms": 2, "dim": 0}),
    ],
)
def test_bad_settings_are_refused(kind, options):
    with pytest.raises(ValueError, match=r".+"):
        kind(**options)
    with pytest.raises(ValueError, match="state of a"):
        Thompson(2).load_state_dict(UCB1(2).state_dict())


def run(make_bandit, means_at, repetitions, steps):
    """Mean dynamic regret over repetitions, which are contexts of one bandit."""
    bandit, rng, total = make_bandit(), np.random.default_rng(11), 0.0
    for step in range(steps):
        means = means_at(step)
        success = rng.random((repetitions, len(means))) < means
        for context, decision in enumerate(bandit.select_many(range(repetitions))):
            total += means.max() - means[decision.arm]
            bandit.update(decision.ticket, success[context, decision.arm])
    return total / repetitions


def test_switching_and_stationary_regret_small():
    """benchmarks/bandits_regret.py has T = 10,000 and 100 repetitions; here T = 4,000 and 12, with the same gates."""

    def switching(step):
        means = np.full(4, 0.4)
        means[(step // 1000) % 4] = 0.6
        return means

    steady = np.array([0.5, 0.45, 0.4, 0.3])
    plain = [run(lambda: Thompson(4, seed=0), problem, 12, 4000) for problem in (switching, lambda _: steady)]
    assert plain[1] < plain[0] < 0.15 * 4000  # uniform play
    for kind in (DiscountedThompson, SlidingWindowThompson):
        assert run(lambda kind=kind: kind(4, seed=0), switching, 12, 4000) < 0.6 * plain[0]
        assert run(lambda kind=kind: kind(4, seed=0), lambda _: steady, 12, 4000) <= 3.0 * plain[1]


def test_thompson_regret_grows_logarithmically():
    means = np.array([0.5, 0.45, 0.4, 0.3])
    early = run(lambda: Thompson(4, seed=0), lambda _: means, 30, 300)
    late = run(lambda: Thompson(4, seed=0), lambda _: means, 30, 3000)
    assert early < late < early + 17.4 * math.log(10) * 1.5  # Lai-Robbins slope, sum of gap / kl = 17.4
    assert late < 60


def test_off_policy_estimates_recover_the_value_of_another_policy():
    from rl.bandits import doubly_robust, ips, snips

    rng = np.random.default_rng(0)
    means, logging, target = np.array([0.2, 0.5, 0.8]), np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
    arms = rng.choice(3, 20_000, p=logging)
    rewards = (rng.random(20_000) < means[arms]).astype(float)
    truth = float(means @ target)
    wrong_model = np.full(3, 0.4)
    estimates = (
        ips(rewards, logging[arms], target[arms]),
        snips(rewards, logging[arms], target[arms]),
        doubly_robust(rewards, logging[arms], target[arms], wrong_model[arms], np.full(20_000, 0.4)),
        doubly_robust(rewards, logging[arms], target[arms], means[arms], np.full(20_000, truth)),
    )
    for estimate in estimates:
        assert abs(estimate.value - truth) < 4 * estimate.standard_error
        assert 0 < estimate.effective_n < 20_000
    assert estimates[3].standard_error < estimates[0].standard_error
    with pytest.raises(ValueError, match="propensities"):
        ips([1.0], [0.0], [1.0])
    with pytest.raises(ValueError, match="never takes"):
        snips([1.0], [0.5], [0.0])


class TestPooling:
    """Contexts of one group lend each other evidence, up to `strength`."""

    def test_a_new_member_starts_where_its_group_stands(self):
        bandit = PooledThompson(2, strength=10.0, discount=1.0, idle_discount=1.0)
        for _ in range(200):
            decision = bandit.select(("g", "old"))
            bandit.update(decision.ticket, float(decision.arm))
        assert bandit.probabilities(("g", "new"))[1] > 0.95
        assert bandit.probabilities(("other", "new"))[1] == pytest.approx(0.5)
        count, total = bandit.evidence(np.array([bandit.row(("g", "new"))]))
        assert count.max() == 10.0
        assert total[0, 1] == pytest.approx(10.0)

    def test_own_rewards_outweigh_what_was_lent(self):
        bandit = PooledThompson(2, strength=5.0, discount=1.0, idle_discount=1.0)
        for member, better in (("one", 1), ("two", 0)):
            for _ in range(300):
                decision = bandit.select(("g", member))
                bandit.update(decision.ticket, float(decision.arm == better))
        assert bandit.probabilities(("g", "one"))[1] > 0.9
        assert bandit.probabilities(("g", "two"))[0] > 0.9

    def test_without_strength_it_is_the_plain_bandit(self):
        pooled, plain = (kind(3, seed=2, **options) for kind, options in
                         ((PooledThompson, {"strength": 0.0}), (DiscountedThompson, {})))  # fmt: skip
        for step in range(300):
            pair = [bandit.select(("g", step % 3)) for bandit in (pooled, plain)]
            assert pair[0] == pair[1]
            for bandit in (pooled, plain):
                bandit.update(pair[0].ticket, pair[0].arm / 2)

    @pytest.mark.parametrize("kind", [PooledThompson, PooledWindowThompson])
    def test_state_round_trip(self, kind):
        bandit = kind(3, seed=1, strength=7.0)
        for step in range(50):
            decision = bandit.select(("a", step % 4))
            bandit.update(decision.ticket, 0.3 * decision.arm)
        twin = kind.from_json(bandit.to_json())
        assert [bandit.select(("a", k)) for k in range(9)] == [twin.select(("a", k)) for k in range(9)]
        assert twin.strength == 7.0
