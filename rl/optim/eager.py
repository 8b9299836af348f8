"""Keep torch's compiler out of programs that never compile: importing it takes seconds and hundreds of megabytes.

`torch.optim.Optimizer.add_param_group`, `zero_grad`, `state_dict` and `load_state_dict` import `torch._dynamo` at their
first call (the first checkpoint, say), only to tell the compiler not to trace them (torch 2.13, `torch/_compile.py`). Where
the compiler has not been imported, all may be called as they are; the hook below is the place where torch keeps what it
would have made. Whoever compiles later loses nothing but that hint.
"""

from __future__ import annotations

import sys

import torch

_HOOK = "__dynamo_disable"


def keep_compiler_out() -> None:
    """Let optimizers be made, saved and loaded without importing the compiler; does nothing where torch works otherwise."""
    if "torch._dynamo" in sys.modules:
        return
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        plain = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if plain is not None and not hasattr(plain, _HOOK):
            setattr(plain, _HOOK, plain)
