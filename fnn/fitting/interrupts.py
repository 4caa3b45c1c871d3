"""Ctrl-C and SIGTERM during training."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from .._core.processes import exchanged, is_together

_PERIOD = 0.5  # seconds between questions to the other processes
_MOST = 16  # calls between them, in case the steps become slower


class Interrupt:
    """Whether a signal asked to stop the training. Several processes stop together, whichever of them was asked.

    Attributes:
      signal: the number of that signal, 0 without one.
    """

    def __init__(self) -> None:
        self.signal = self._own = 0
        self._pressed = False  # Ctrl-C
        self._calls, self._left, self._since = 1, 1, time.perf_counter()

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Remember a signal; a second Ctrl-C raises KeyboardInterrupt."""
        if signum == signal.SIGINT:
            if self._pressed:
                raise KeyboardInterrupt("second Ctrl-C during fit")
            self._pressed = True
        self._own = max(self._own, signum)  # SIGTERM has the larger number, and ends more

    def __call__(self) -> bool:
        """Whether to stop; every process must call this after the same steps."""
        if not is_together():
            self.signal = self._own
        elif not self.signal:
            self._left -= 1
            if self._left <= 0:
                self._ask()
        return self.signal > 0

    def at_the_end(self) -> bool:
        """Whether to stop, with the signals since the last question; every process must call this."""
        if is_together():
            self._ask()
        return self()

    def _ask(self) -> None:
        """Ask all processes; process 0 decides after how many calls again."""
        now = time.perf_counter()
        calls = round(self._calls * _PERIOD / max(now - self._since, 1e-9))
        calls = min(max(1, calls), 2 * self._calls, _MOST)
        found = exchanged(self._own, calls)
        self.signal, self._since = int(found[:, 0].max()), now
        self._calls = self._left = int(found[0, 1])


@contextlib.contextmanager
def interrupts() -> Iterator[Interrupt]:
    """Defer Ctrl-C and, for several processes, which must end together, SIGTERM."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    deferred = [signal.SIGINT, *([signal.SIGTERM] if is_together() else [])]
    previous = {number: signal.signal(number, interrupt.note) for number in deferred}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
