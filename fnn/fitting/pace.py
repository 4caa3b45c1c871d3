"""Where batches come from: arrays on the device, arrays too large for it, and iterables of batches.

A source repeats the one training step over an epoch, in chunks of steps inside a compiled loop. The number of steps is
a traced argument, so that chunks of every length share one compiled program.
"""

from __future__ import annotations

import functools
from typing import Any

from ..training.checks import Signature
from ..training.task import Task


class Pace:
    """How long a step takes, remembered from one `fit` to the next.

    Steps are cut into calls so that a bar can move; a call costs more than itself, since the compiled program's
    temporary memory is touched anew, so there should be no more of them than that takes.
    """

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    @staticmethod
    def of(task: Task, data: Any, batch_size: int) -> Pace:
        """That of all training on data of these shapes."""
        return _pace(task, Signature.of(data), batch_size)

    def steps(self, period: float) -> int:
        """How many to make in about ``period`` seconds."""
        if self.calls < 2:
            return (1, 4)[self.calls]  # the first call also compiles, the second one is the first to be timed
        return max(1, round(period / self.seconds))

    def note(self, count: int, seconds: float) -> None:
        """Take in that so many steps took so long."""
        self.calls += 1
        self.seconds = max(seconds, 1e-9) / count


@functools.lru_cache(maxsize=64)
def _pace(task: Task, shapes: Signature, batch_size: int) -> Pace:
    return Pace()
