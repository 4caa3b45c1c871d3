"""A watch over processes that train together: if one of them ends or hangs, the others end with a message.

Otherwise they would wait for it forever, in the next collective operation. A thread of each process writes a sign of
life about once a second to the key-value store of `jax.distributed`, and reads those of the others. Process 0 holds the
store, and a call waits for as long as that process is stopped, so another thread judges what was read.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn

import jax

from .._core.errors import fail
from .._core.processes import Messages, is_first, is_together, store, waiting
from .._core.typed import block_until_ready
from .._core.types import PyTree

_SETTING, _DEFAULT = "FNN_PROCESS_TIMEOUT", 20.0
# Seconds that the others have to leave `fit` after one left it with an error, which may be the error of all of them.
_GRACE = 5.0
# Times the limit that the others wait while a process reads or writes files, or does something else before `fit`, and
# that the devices may take, if they never took longer.
_PATIENCE = 10
_FINISHED = "finished"


class AgreedExit(SystemExit):
    """The end of the program, for which all processes have agreed; any other one leaves the others waiting."""


class Place(NamedTuple):
    """Where a process is while others may have to wait for it; the text is empty while all compute together."""

    text: str
    since: float
    limit: float = math.inf  # seconds that it may be there


class Watchdog:
    """The watch of one process during a call.

    Attributes:
      place: where this process is.
      waits_since: when it began to wait for a message of the others; infinity if it does not.
    """

    former = ""  # the folder of the watch before

    def __init__(self, store: Any, limit: float, where: str, advice: str) -> None:
        self.store, self.limit, self.where, self.advice = store, limit, where, advice
        self.own, self.count = jax.process_index(), jax.process_count()
        self.folder = f"fnn/signs/{Messages.sent}"
        self.place, self.waits_since = Place("", time.monotonic()), math.inf
        self.work, self.longest = "", dict[str, float]()  # what all compute together, and the longest times for it
        self.failure = ""  # of a collective operation, which another process may have caused
        self.last: tuple[str, str] | None = None  # the last state to publish, with its text
        self.beat = 0
        self.answer: tuple[float, dict[int, list[Any]]] = time.monotonic(), {}  # when signs were read, and which
        self.heard = self.judged = self.answer[0]  # the answer that was judged last, and when
        self.unanswered = 0.0
        self.latest: dict[int, tuple[object, float]] = {}  # the latest sign of each process, and when it came
        self.period = min(1.0, limit / 10)
        self.closed = threading.Event()
        self.messenger = threading.Thread(target=self._exchange, name="fnn signs of life", daemon=True)
        self.thread = threading.Thread(target=self._watch, name="fnn watchdog", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self.messenger.start()
        self.thread.start()

    def leave(self, state: str, text: str = "") -> None:
        """Publish the last state, if the store answers."""
        self.last = state, text
        self.closed.set()
        self.messenger.join(_GRACE)
        former, Watchdog.former = Watchdog.former, self.folder
        if self.own == 0 and former not in ("", self.folder) and state == _FINISHED:  # all others have left that watch
            with contextlib.suppress(Exception):
                self.store.key_value_delete(f"{former}/")

    def compute(self, work: str) -> None:
        """Begin with what all compute together, and end what they computed before."""
        now = time.monotonic()
        if self.work:
            self.longest[self.work] = max(self.longest.get(self.work, 0.0), now - self.place.since)
        self.work = work
        self.go_on()

    def go_on(self) -> None:
        """Compute together from now on. The first time has no limit, since it may take long to compile."""
        known = self.longest.get(self.work, math.inf)
        self.place = Place("", time.monotonic(), _PATIENCE * max(self.limit, known))

    @contextlib.contextmanager
    def waiting(self) -> Iterator[float]:
        """A wait for a message of the others, which may read or write files meanwhile; the watch limits it."""
        self.waits_since = time.monotonic()
        try:
            yield math.inf
        finally:
            if not self.place.text:
                self.go_on()
            self.waits_since = math.inf

    @contextlib.contextmanager
    def inside_a_call(self) -> Iterator[None]:
        """A call by a callback, in which all processes compute together."""
        before = self.place, self.work
        self.work = ""
        self.go_on()
        try:
            yield
        finally:
            self.place, self.work = before

    def _say(self) -> None:
        """Publish the state of this process, with a new number."""
        place = self.place  # once, since the other thread changes it
        if self.waits_since < math.inf:
            place = Place("", self.waits_since)
        state, text = self.last or (("failed", self.failure) if self.failure else ("at work", place.text))
        self.beat += 1
        message = json.dumps([state, self.beat, text[:500], time.monotonic() - place.since, place.limit])
        self.store.key_value_set(f"{self.folder}/{self.own}", message, allow_overwrite=True)

    def _exchange(self) -> None:
        """Tell the others about this process, and read what they tell, until the watch is closed."""
        over = False
        while not over:
            over = self.closed.is_set()
            with contextlib.suppress(Exception):  # JAX usually ends this process first
                self._say()
                found = dict(self.store.key_value_dir_get(self.folder))
                signs = {int(key.rpartition("/")[2]): json.loads(text) for key, text in found.items()}
                self.answer = time.monotonic(), signs
            self.closed.wait(self.period)

    def _watch(self) -> None:
        while not self.closed.wait(self.period):
            if (problem := self.judge(time.monotonic())) and not self.closed.is_set():
                self.end(problem)

    def judge(self, now: float) -> str:
        """What keeps this process from going on, in words, from the latest answer of the store."""
        answered, signs = self.answer
        # While this process itself was stopped, it did not listen.
        passed = min(now - self.judged, 2 * self.period)
        self.unanswered = 0.0 if answered != self.heard else self.unanswered + passed
        self.heard, self.judged = answered, now
        if self.unanswered > self.limit:
            return f"process 0, which coordinates the others, has not answered for {self.unanswered:.0f} s"
        waits_since, place = self.waits_since, self.place  # in this order, since `waiting` renews the place first
        if not place.text and waits_since == math.inf and (taken := now - place.since) > place.limit:
            before = f"where it never waited for more than {self.longest.get(self.work, 0.0):.0f} s before"
            return f"this process has waited for its devices for {taken:.0f} s in {self.work}, {before}"
        return self.problem(signs, answered)

    def problem(self, signs: dict[int, list[Any]], now: float) -> str:
        """What keeps this process from going on, in words; empty if nothing does."""
        left = [number for number, sign in signs.items() if sign[0] == "failed"]
        for number in range(self.count):
            sign = signs.get(number)
            if number == self.own or (sign and sign[0] == _FINISHED):
                continue
            state, _, text, seconds, limit = sign or ("at work", 0, "", 0.0, math.inf)
            news = state if state == "failed" else sign  # from then on only the time matters
            if number not in self.latest or self.latest[number][0] != news:
                self.latest[number] = news, now
            silent = now - self.latest[number][1]
            if state == "failed":
                if not self.failure and silent > min(_GRACE, self.limit):
                    return f"process {number} failed: {text}"
            elif silent > (min(3.0, self.limit) if self.failure else self.limit * (1 if sign else _PATIENCE)):
                if not sign:
                    return f"process {number} has not called {self.where} with this mesh for {silent:.0f} s"
                return f"process {number} has given no sign for {silent:.0f} s: it was ended, or hangs"
            elif text and seconds > limit and self._waits(limit, now):
                return f"process {number} has been {text} for {seconds:.0f} s, while this one waits for it"
        if self.failure and len(left) == self.count:
            self.closed.set()  # the same error everywhere, such as a lack of memory: it is raised
        return ""

    def _waits(self, limit: float, now: float) -> bool:
        """Whether this process may have waited for another for longer than a limit."""
        waits_since, place = self.waits_since, self.place
        return now - min(waits_since, math.inf if place.text else place.since) > limit

    def end(self, problem: str) -> NoReturn:
        """End this process at once; a regular exit would wait for the others too."""
        cause = f" ({self.failure})" if self.failure else ""
        print(
            f"{self.where}: {problem}{cause}. Process {self.own} of {self.count} therefore ends. {self.advice}",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(1)


_current: ContextVar[Watchdog | None] = ContextVar("_current", default=None)


@contextlib.contextmanager
def watching(where: str, advice: str = "") -> Iterator[None]:
    """Watch the other processes during a call, if there are any; ``advice`` ends the message."""
    client = store() if is_together() else None
    if client is None:
        yield
        return
    if (outer := _current.get()) is not None:
        with outer.inside_a_call():
            yield
        return
    dog = Watchdog(client, _limit(), where, advice)
    tokens = _current.set(dog), waiting.set(dog.waiting)
    dog.start()
    try:
        yield
        dog.leave(_FINISHED)
    except AgreedExit:
        dog.leave(_FINISHED)
        raise
    except BaseException as error:
        if _of_runtime(error):
            traceback.print_exception(error)  # now, since the thread may end this process
            dog.failure = (str(error).splitlines() or [""])[0]
            dog.closed.wait(2 * dog.limit + 10)  # the thread ends this process, unless all failed alike
        else:
            dog.leave("failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        _current.reset(tokens[0])
        waiting.reset(tokens[1])
        dog.closed.set()


def computing(work: str, results: PyTree = ()) -> None:
    """Mark the beginning of what all processes compute together, and the end of what they computed before.

    The first time, wait for the ``results`` of the latter: how long the devices take is then known.
    """
    dog = _current.get()
    if dog is not None and not dog.place.text:
        if dog.work not in dog.longest:
            block_until_ready(results)
        dog.compute(work)


def inside(place: str) -> AbstractContextManager[None]:
    """Mark code of the user's, which may hang."""
    return _at(f"in {place}", 1)


def busy(doing: str) -> AbstractContextManager[None]:
    """Mark work on files, which may take long and may hang."""
    return _at(doing, _PATIENCE)


def busy_for_all(doing: str) -> AbstractContextManager[None]:
    """Mark what process 0 does with files while the others wait for its result."""
    return busy(doing) if is_first() else contextlib.nullcontext()


@contextlib.contextmanager
def _at(text: str, limits: int) -> Iterator[None]:
    dog = _current.get()
    if dog is None:
        yield
        return
    before = dog.place
    dog.place = Place(text, time.monotonic(), limits * dog.limit)
    try:
        yield
    finally:
        if before.text:
            dog.place = before
        else:
            dog.go_on()


def _of_runtime(error: BaseException) -> bool:
    """Whether an error came from running a program, where another process may have caused it."""
    statuses = "UNKNOWN", "INTERNAL", "UNAVAILABLE", "ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "FAILED_PRECONDITION"
    found = isinstance(error, ValueError) and str(error).startswith(tuple(f"{status}: " for status in statuses))
    return found or isinstance(error, jax.errors.JaxRuntimeError)


def _limit() -> float:
    """The time limit of the environment, in seconds."""
    text = os.environ.get(_SETTING) or str(_DEFAULT)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 1 <= limit < math.inf:
        fail("environment", expected=f"{_SETTING} to be a number of seconds, at least 1", got=repr(text))
    return limit


Messages.limit = staticmethod(lambda: _PATIENCE * _limit())
