"""Training a policy must not import torch's compiler: it takes seconds, and nothing here compiles."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import gymnasium
from rl.policies import DQN, PPO

for kind in (DQN, PPO):
    for optimizer in ("nested", "adam"):
        kind(lambda: gymnasium.make("CartPole-v1"), seed=0, optimizer=optimizer).learn(128)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_no_compiler_and_no_symbolic_algebra():
    assert run(PROGRAM) == "[]"


def test_optimizers_go_on_working_where_the_compiler_came_first():
    assert run("import torch._dynamo\n" + PROGRAM) == "['torch._dynamo', 'sympy']"
