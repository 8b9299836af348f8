"""A planted gradient explosion in A3C on CartPole: is it noticed, does the threshold move, does the return recover?

    python benchmarks/policies_explosion.py [--steps 150000] [--seeds 1] [--mode hogwild]

once: one gradient of every worker is multiplied by 1e6; growth: gradients grow by 3 % an update for 200 updates and stay
370 times as large. "none" is the control. Noticed: updates from the explosion to the first gradient that was scaled below
a thousandth (once), or to the first at which the threshold has risen by a tenth (growth). Printed: threshold before,
100 updates after and at the end; return of the deterministic policy over 20 episodes at the end. The threshold is read
by the parent process a few times a second in "hogwild", at every update in "turns".
"""

from __future__ import annotations

import argparse

import gymnasium as gym
from policies_gates import evaluate

from rl.policies import A3C

FACTOR, GROWTH, LONG = 1e6, 1.03, 200


def hook_of(kind, start):
    def hook(_worker, update, gradients):
        factor = 1.0
        if kind == "once" and update == start:
            factor = FACTOR
        elif kind == "growth":
            factor = GROWTH ** min(max(update - start, 0), LONG)
        return [gradient * factor for gradient in gradients] if factor != 1.0 else gradients

    return hook


def run(kind, mode, steps, seed):
    agent = A3C(lambda: gym.make("CartPole-v1"), seed=seed, mode=mode)
    start = steps // 16 // agent.config.workers // 2  # halfway, in updates of one worker
    agent.gradient_hook = hook_of(kind, start)
    seen = []

    def callback(policy):
        seen.append((policy.updates_done, policy.rule.report()["threshold"]))

    agent.learn(steps, callback)
    first = agent.config.workers * start
    before = [threshold for updates, threshold in seen if updates <= first][-1]
    later = [threshold for updates, threshold in seen if updates >= first + 100]
    dropped = agent.updates_done - len(agent.telemetry)  # the oldest records are forgotten
    scales = [record.clip_scale for record in agent.telemetry]
    cut = [index + dropped for index, scale in enumerate(scales) if scale < 1e-3]
    risen = [updates for updates, threshold in seen if updates > first and threshold > 1.1 * before]
    noticed = {"once": cut, "growth": risen, "none": []}[kind]
    score = evaluate(agent, "CartPole-v1")
    print(
        f"{kind} seed {seed}: noticed {f'after {noticed[0] - first} updates' if noticed else 'nothing'}, threshold "
        f"{before:.3g}, then {later[0]:.3g}, at the end {seen[-1][1]:.3g}, spikes {agent.rule.report()['spikes']}, "
        f"return {score:.1f}",
        flush=True,
    )
    agent.close()
    return score


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--mode", default="hogwild", choices=("hogwild", "turns"))
    arguments = parser.parse_args()
    scores = [
        run(kind, arguments.mode, arguments.steps, seed)
        for kind in ("none", "once", "growth")
        for seed in range(arguments.seeds)
    ]
    worst = min(scores)
    print(f"== worst return {worst:.1f}, promised 475: {'holds' if worst >= 475 else 'DOES NOT HOLD'}")
    return 1 if worst < 475 else 0


if __name__ == "__main__":
    raise SystemExit(main())
