"""One battery for every allocation rule, and what each rule promises."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio import risk
from portfolio.ledger import Ledger
from portfolio.mixing import Paths
from portfolio.pool import plan
from portfolio.records import Records, drifted
from portfolio.rules import discovered, fixed_share, hrp

RULES = discovered()


def records_of(n=40, epochs=20, seed=0, **changes):
    rng = np.random.default_rng(seed)
    values = {
        "taking_part": rng.uniform(size=n) < 0.9,
        "count": rng.integers(0, 60, n).astype(float),
        "mean": rng.normal(0, 0.01, n),
        "deviation": np.where(rng.uniform(size=n) < 0.2, 0.0, rng.uniform(0.001, 0.05, n)),
        "niche": rng.integers(0, 4, n),
        "group": rng.integers(0, 9, n),
        "returns": rng.normal(0, 0.02, (epochs, n)),
    }
    values |= changes
    part = values["taking_part"]
    values.setdefault("held", np.where(part, 1.0, 0.0) / max(part.sum(), 1))
    return Records(**values)


@pytest.mark.parametrize("name", list(RULES))
class TestEveryRule:
    """What every rule must do."""

    @given(seed=st.integers(0, 10_000), n=st.integers(1, 60), epochs=st.integers(0, 40))
    @settings(max_examples=60, deadline=None)
    def test_shares_are_shares(self, name, seed, n, epochs):
        records = records_of(n, epochs, seed)
        shares = RULES[name].weights(records)
        assert shares.shape == (n,)
        assert np.isfinite(shares).all()
        assert (shares >= 0).all()
        assert shares.sum() <= 1 + 1e-9
        assert (shares[~records.taking_part] == 0).all()

    def test_nothing_known_is_equal_shares(self, name):
        n = 12
        records = records_of(
            n, 0, taking_part=np.ones(n, bool), count=np.zeros(n), mean=np.zeros(n), deviation=np.zeros(n),
        )  # fmt: skip
        np.testing.assert_allclose(RULES[name].weights(records), 1 / n, rtol=1e-12)

    def test_the_order_of_agents_does_not_matter(self, name):
        records = records_of(30, 20, 3)
        order = np.random.default_rng(1).permutation(30)
        moved = Records(
            **{
                field: getattr(records, field)[:, order] if field == "returns" else getattr(records, field)[order]
                for field in Records.__slots__
            }
        )
        np.testing.assert_allclose(RULES[name].weights(records)[order], RULES[name].weights(moved), rtol=1e-9)

    def test_nobody_is_no_error(self, name):
        records = records_of(5, 10, taking_part=np.zeros(5, bool))
        assert RULES[name].weights(records).sum() == 0

    def test_says_what_it_means(self, name):
        assert len(RULES[name].meaning) > 20


def run(name, growth):
    """Log wealth of a rule over growth factors [T, n], and the shares it had."""
    n = growth.shape[1]
    paths = Paths.start((RULES[name],))
    wealth, shares = 0.0, []
    for line in growth:
        records = records_of(n, 0, taking_part=np.ones(n, bool))
        shares.append(paths.divide(records, np.arange(n)))
        wealth += math.log((shares[-1] * line).sum() + 1 - shares[-1].sum())
        paths.earn(line)
    return wealth, np.array(shares)


@given(
    st.lists(
        st.lists(st.fractions(Fraction(0), Fraction(3), max_denominator=1000), min_size=5, max_size=5),
        min_size=1, max_size=30,
    )
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_buy_and_hold_is_never_more_than_log_n_behind_the_best_exactly(results):
    """In fractions: n times its wealth is at least the wealth of the best agent."""
    n = 5
    shares = np.array([Fraction(1, n)] * n, dtype=object)
    wealth, agents = Fraction(1), [Fraction(1)] * n
    for line in results:
        growth = np.array(line, dtype=object)
        wealth *= (shares * growth).sum()
        agents = [value * factor for value, factor in zip(agents, line, strict=True)]
        shares = drifted(shares, growth)
    assert n * wealth >= max(agents)


def test_buy_and_hold_in_the_path_of_a_session_keeps_the_same_bound():
    growth = np.exp(np.random.default_rng(5).normal(0, 0.05, (300, 20)))
    assert run("buy_and_hold", growth)[0] >= np.log(growth).sum(axis=0).max() - math.log(20) - 1e-9


def test_fixed_share_follows_planted_switches():
    rng = np.random.default_rng(2)
    best = np.repeat([3, 7, 11, 2], 100)
    growth = np.exp(rng.normal(0, 0.01, (400, 12)))
    growth[np.arange(400), best] *= 1.05
    followed, shares = run("fixed_share", growth)
    held, _ = run("buy_and_hold", growth)
    assert followed > held + 1.0
    ends = np.arange(99, 400, 100)
    assert (shares[ends, best[ends]] > 0.5).all()
    switching = np.log(growth[np.arange(400), best]).sum()
    a = fixed_share.ALPHA
    assert switching - followed <= math.log(12) + 3 * math.log(12 / a) - 400 * math.log(1 - a)


def test_the_mixture_is_never_far_behind_its_best_rule():
    growth = np.exp(np.random.default_rng(9).normal(0.0, 0.05, (200, 15)) + np.linspace(-0.01, 0.01, 15))
    rules = tuple(RULES.values())
    paths, wealth, each = Paths.start(rules), 0.0, np.zeros(len(rules))
    for line in growth:
        shares = paths.divide(records_of(15, 0, taking_part=np.ones(15, bool)), np.arange(15))
        wealth += math.log((shares * line).sum() + 1 - shares.sum())
        each += [math.log((own * line).sum() + 1 - own.sum()) for own in paths.shares]
        paths.earn(line)
    assert wealth >= each.max() - math.log(len(rules)) - 1e-9


def test_half_kelly_prefers_a_certain_edge_and_ignores_noise():
    n = 40
    mean, deviation = np.full(n, -0.001), np.full(n, 0.01)
    mean[0] = 0.02
    skill = records_of(
        n, 0, taking_part=np.ones(n, bool), count=np.full(n, 250.0), mean=mean, deviation=deviation,
        niche=np.zeros(n, int),
    )  # fmt: skip
    assert RULES["half_kelly"].weights(skill)[0] > 0.9
    noise = records_of(
        n, 0, taking_part=np.ones(n, bool), count=np.full(n, 6.0), deviation=deviation, niche=np.zeros(n, int),
        mean=np.random.default_rng(1).normal(-0.002, 0.01 / np.sqrt(6), n),
    )  # fmt: skip
    assert RULES["half_kelly"].weights(noise).max() < 0.2


def test_risk_parity_shares_among_pairs_of_twins_and_then_inside_them():
    rng = np.random.default_rng(0)
    twin, loner = rng.normal(0, 0.01, (200, 1)), rng.normal(0, 0.01, (200, 1))
    noise = rng.normal(0, 1e-4, (200, 2))
    shares = hrp.of_groups(np.hstack([twin, loner, twin + noise[:, :1], loner + noise[:, 1:]]))
    assert shares[0] + shares[2] == pytest.approx(0.5, abs=0.1)
    assert shares[1] + shares[3] == pytest.approx(0.5, abs=0.1)
    assert hrp.leaf_order(np.array([[0, 9, 1.0, 9], [9, 0, 9, 2.0], [1, 9, 0, 9], [9, 2, 9, 0]])).tolist() == [
        0,
        2,
        1,
        3,
    ]


@given(
    seed=st.integers(0, 1000), agent=st.floats(0, 1), archetype=st.floats(0, 1), market=st.floats(0, 1),
    total=st.integers(0, 10**15),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_caps_hold_to_the_unit(seed, agent, archetype, market, total):
    rng = np.random.default_rng(seed)
    kind, place = rng.integers(0, 3, 20), rng.integers(0, 4, 20)
    weights = rng.dirichlet(np.full(20, 0.3))
    targets = risk.amounts(weights, total)
    assert targets.sum() <= total
    caps = risk.Caps(agent, archetype, market)
    kept, cut = risk.capped(targets, total, caps, kind, place, np.ones(20, bool))
    assert (kept <= targets).all()
    assert (cut == (kept < targets)).all()
    assert kept.max() <= total * Fraction(agent)
    assert all(kept[kind == code].sum() <= total * Fraction(archetype) for code in range(3))
    assert all(kept[place == code].sum() <= total * Fraction(market) for code in range(4))


def test_the_cushion_is_whole_at_the_peak_and_empty_at_the_limit():
    assert risk.cushion(100, 100, 0.2) == 1.0
    assert risk.cushion(90, 100, 0.2) == pytest.approx(0.5)
    assert risk.cushion(80, 100, 0.2) == pytest.approx(0.0, abs=1e-12)
    assert risk.cushion(10, 100, 0.2) == 0.0


def test_netting_counts_what_cancels_out_in_each_market():
    gross, net, saved = risk.netting(np.array([100.0, -60.0, 50.0]), np.array([0, 0, 1]), np.array([0.001, 0.002, 0.5]))
    assert (gross, net) == (210.0, 90.0)
    assert saved == pytest.approx(2 * 0.001 * 120)


def test_money_is_conserved_over_a_million_movements_with_every_rule_and_cap():
    """Grants and recalls of all rules in turn, with results in between: the ledger stays at zero to the unit."""
    rng = np.random.default_rng(4)
    n, moved = 1000, 0
    ledger, capital, deposit = Ledger(), np.zeros(n, np.int64), 10**14
    ledger.post("world", "pool", deposit)
    kind, place = rng.integers(0, 7, n), rng.integers(0, 5, n)
    paths = {name: Paths.start((rule,)) for name, rule in RULES.items()}
    turn = 0
    while moved < 1_000_000:
        name = list(RULES)[turn % len(RULES)]
        records = records_of(n, 10, turn, taking_part=rng.uniform(size=n) < 0.95, niche=kind, group=kind * 5 + place)
        total = ledger.balance("pool") + int(capital.sum())
        handed = risk.cushion(total, deposit, 0.5) if turn % 3 == 0 else 1.0
        goal = risk.amounts(paths[name].divide(records, np.arange(n)), risk.amount_of(handed, total))
        goal, _ = risk.capped(goal, total, risk.Caps(0.01, 0.3, 0.4), kind, place, records.taking_part)
        steps = plan(goal, capital, capital - capital // 7, ledger.balance("pool"), 0)
        for agent in np.flatnonzero(steps.amounts).tolist():
            ledger.move("pool", f"agent:{agent}", int(steps.amounts[agent]))
        result = (capital * rng.normal(0, 0.01, n)).astype(np.int64)
        capital += steps.amounts
        result = np.maximum(result, -capital)
        for agent in np.flatnonzero(result).tolist():
            ledger.move("market", f"agent:{agent}", int(result[agent]))
        capital += result
        moved += int(np.count_nonzero(steps.amounts)) + int(np.count_nonzero(result))
        turn += 1
        ledger.check()
    assert (capital >= 0).all()
    assert all(ledger.balance(f"agent:{agent}") == capital[agent] for agent in range(n))
    assert ledger.balance("pool") + int(capital.sum()) == deposit - ledger.balance("market")
