"""Observations as flat float32 rows, and spaces as JSON (so that a saved policy can act without its environment)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ObservationEncoder:
    """Observations of a space to float32 [D]: a Box is ravelled, anything else goes through Gymnasium's `flatten`.

    Raises ValueError for spaces that have no fixed flat size (graphs, sequences).
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space
        self.is_box = isinstance(space, gym.spaces.Box)
        if not space.is_np_flattenable:
            raise ValueError(f"observations of {space} have no fixed flat size")
        self.size = int(gym.spaces.flatdim(space))
        self.is_flat = self.is_box and len(space.shape or ()) == 1

    def __call__(self, observation: Any) -> NDArray[Any]:
        """One observation to [D] (a view where possible)."""
        if self.is_flat:
            return np.asarray(observation)
        if self.is_box:
            return np.asarray(observation).reshape(-1)
        return np.asarray(gym.spaces.flatten(self.space, observation))

    def rows(self, observation: Any) -> tuple[NDArray[np.float32], bool]:
        """Rows [B, D] float32 and True if it was a batch (one leading axis more than the space has).

        Dict and Tuple observations come one at a time. Raises ValueError for another shape.
        """
        if not self.is_box:
            if self.space.shape is None or np.ndim(observation) == len(self.space.shape):
                return self(observation).astype(np.float32)[None], False
            if np.ndim(observation) != len(self.space.shape) + 1:
                raise ValueError(f"observation has shape {np.shape(observation)}, the space has {self.space.shape}")
            return np.stack([self(row) for row in observation]).astype(np.float32), True
        array = np.asarray(observation, dtype=np.float32)
        batched = array.ndim == len(self.space.shape or ()) + 1
        if array.shape[batched:] != self.space.shape:
            raise ValueError(f"observation has shape {array.shape}, the space has {self.space.shape}")
        return array.reshape(-1, self.size) if batched else array.reshape(1, -1), batched


def space_to_json(space: gym.Space[Any]) -> dict[str, Any]:
    """Plain data for the spaces that policies know. Raises ValueError for others."""
    if isinstance(space, gym.spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, gym.spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": np.asarray(space.start).tolist()}
    if isinstance(space, gym.spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": list(space.shape)}
    if isinstance(space, gym.spaces.Box):
        shape, dtype = list(space.shape), np.dtype(space.dtype).str
        bounds = {name: _bounds(getattr(space, name)) for name in ("low", "high")}
        return {"kind": "Box", "shape": shape, "dtype": dtype, **bounds}
    if isinstance(space, gym.spaces.Dict):
        return {"kind": "Dict", "spaces": {name: space_to_json(part) for name, part in space.spaces.items()}}
    if isinstance(space, gym.spaces.Tuple):
        return {"kind": "Tuple", "spaces": [space_to_json(part) for part in space.spaces]}
    raise ValueError(f"cannot write {space} to a file")


def _bounds(bounds: NDArray[Any]) -> list[str]:
    """Numbers as text: JSON has no infinity."""
    return [repr(value) for value in bounds.ravel().tolist()]


def space_from_json(data: dict[str, Any]) -> gym.Space[Any]:
    """The inverse of `space_to_json`."""
    kind = data["kind"]
    if kind == "Discrete":
        return gym.spaces.Discrete(data["n"], start=data["start"])
    if kind == "MultiDiscrete":
        return gym.spaces.MultiDiscrete(np.asarray(data["nvec"]), start=np.asarray(data["start"]))
    if kind == "MultiBinary":
        return gym.spaces.MultiBinary(data["n"])
    if kind == "Box":
        dtype = np.dtype(data["dtype"])
        low, high = (_parse(data[name], dtype).reshape(data["shape"]) for name in ("low", "high"))
        return gym.spaces.Box(low, high, dtype=dtype.type)
    if kind == "Dict":
        return gym.spaces.Dict({name: space_from_json(part) for name, part in data["spaces"].items()})
    if kind == "Tuple":
        return gym.spaces.Tuple([space_from_json(part) for part in data["spaces"]])
    raise ValueError(f"unknown space {kind!r}")


def _parse(bounds: list[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    number = float if dtype.kind == "f" else int
    return np.array([number(value) for value in bounds], dtype=dtype)
