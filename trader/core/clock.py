"""Which level is due, and how far the kernel may run before the next one is.

Time is cut at *boundaries*: frames whose number is a multiple of an enabled level's period. Frame 0 is the first frame
after the warm-up, so boundaries are known from the configuration alone and are the same live, in replay and after a
resume. A level due at a frame runs after that frame's decisions; several due together run fast to slow, ties in the
order of registration.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Level:
    """One clock: a name and its period in frames (`unit` says what a frame is, for people)."""

    name: str
    every: int
    unit: str = "candles"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"level {self.name}: a period is at least one frame, not {self.every}")


class LevelClock:
    """The clocks of all enabled levels."""

    def __init__(self, levels: tuple[Level, ...]) -> None:
        names = [level.name for level in levels]
        if len(set(names)) != len(names):
            raise ValueError(f"two levels share a name: {names}")
        self.levels = tuple(sorted(levels, key=lambda level: level.every))

    def due(self, frame: int) -> tuple[Level, ...]:
        """Levels that run after the decisions of `frame`; none in the warm-up and none at frame 0."""
        if frame <= 0:
            return ()
        return tuple(level for level in self.levels if frame % level.every == 0)

    def is_boundary(self, frame: int) -> bool:
        """True if some level runs after this frame."""
        return bool(self.due(frame))

    def frames_to_boundary(self, frame: int) -> int | None:
        """Frames from `frame` to the next boundary, both included; None if no level is enabled."""
        if not self.levels:
            return None
        if frame <= 0:
            return 1 - frame + min(level.every for level in self.levels)
        return min(-(-frame // level.every) * level.every - frame + 1 for level in self.levels)
