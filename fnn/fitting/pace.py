"""The number of steps per call of the compiled loop."""

from __future__ import annotations

import functools

from ..training.batch import Signature
from ..training.task import Task


class Pace:
    """The duration of a step, remembered from one `fit` to the next.

    An epoch is split into calls only to move the progress bar. Each call sets up the program's temporary memory anew,
    so there should be no more of them than the bar needs.
    """

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    def steps(self, period: float) -> int:
        """The number of steps that take about ``period`` seconds."""
        if self.calls < 2:
            return (1, 4)[self.calls]  # the first call also compiles, the second one is the first to be timed
        return max(1, round(period / self.seconds))

    def note(self, count: int, seconds: float) -> None:
        """Record that ``count`` steps took ``seconds``."""
        self.calls += 1
        self.seconds = max(seconds, 1e-9) / count


@functools.lru_cache(maxsize=64)
def pace_of(task: Task, shapes: Signature, batch_size: int) -> Pace:
    """The `Pace` shared by all fits of this task on these shapes; the cache is the registry."""
    return Pace()
