"""Optimizers that learn at several levels, and the one hook (`UpdateRule`) through which every policy trains."""

from rl.optim.clipping import AutoClip, FixedClip, LearnedClip, NoClip, ZClip, make_clip
from rl.optim.eager import keep_compiler_out
from rl.optim.learned_sync import LearnedSync
from rl.optim.m3 import M3
from rl.optim.momentum import DeltaMomentum, MultiScaleMomentum
from rl.optim.nested_adam import NestedAdam
from rl.optim.rmsprop import FlatRMSprop
from rl.optim.target_sync import PeriodicSync, PolyakSync, TargetSync, make_target_sync
from rl.optim.update_rule import NestedUpdate, PlainUpdate, Telemetry, UpdateResult, UpdateRule, make_update_rule

keep_compiler_out()

__all__ = [
    "M3",
    "AutoClip",
    "DeltaMomentum",
    "FixedClip",
    "FlatRMSprop",
    "LearnedClip",
    "LearnedSync",
    "MultiScaleMomentum",
    "NestedAdam",
    "NestedUpdate",
    "NoClip",
    "PeriodicSync",
    "PlainUpdate",
    "PolyakSync",
    "TargetSync",
    "Telemetry",
    "UpdateResult",
    "UpdateRule",
    "ZClip",
    "make_clip",
    "make_target_sync",
    "make_update_rule",
]
