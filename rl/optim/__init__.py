"""Optimizers that learn at several levels, and the one hook (`UpdateRule`) through which every policy trains."""

from rl.optim.nested_adam import NestedAdam
from rl.optim.rmsprop import FlatRMSprop
from rl.optim.target_sync import PeriodicSync, PolyakSync, TargetSync, make_target_sync
from rl.optim.update_rule import NestedUpdate, PlainUpdate, Telemetry, UpdateResult, UpdateRule, make_update_rule

__all__ = [
    "FlatRMSprop",
    "NestedAdam",
    "NestedUpdate",
    "PeriodicSync",
    "PlainUpdate",
    "PolyakSync",
    "TargetSync",
    "Telemetry",
    "UpdateResult",
    "UpdateRule",
    "make_target_sync",
    "make_update_rule",
]
