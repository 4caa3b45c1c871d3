"""A thread that reads batches ahead of the training that uses them."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar, copy_context
from typing import NamedTuple

import jax
import numpy as np

from .._core.types import PyTree

_PATIENCE = 5.0  # seconds; a thread in a longer read ends after that read


class _Read(NamedTuple):
    """The result of one read: a batch, or what it raised; StopIteration at the end."""

    batch: PyTree
    error: BaseException | None = None


class ReadAhead(Iterator[PyTree]):
    """The batches of an iterable, of which a thread reads up to ``count`` before they are asked for.

    Each is copied before the next one is read, since a loader may refill its buffers. What a read raises is raised in
    place of its batch. `pause` ends the thread and loses no batch; the next call after it starts another thread.
    """

    def __init__(self, batches: Iterable[PyTree], count: int) -> None:
        self._batches, self._count = iter(batches), count
        self._read = deque[_Read]()
        self._changed = threading.Condition()  # whose lock guards what follows
        self._thread: threading.Thread | None = None  # None once it reads no more
        self._paused = self._ended = False

    def __next__(self) -> PyTree:
        with self._changed:
            self._paused = False
            if self._thread is None and not self._ended:
                self._start()
            self._changed.wait_for(lambda: self._read or self._ended)
            if not self._read:
                raise StopIteration
            batch, error = self._read.popleft()
            self._changed.notify_all()
        if error is None:
            return batch
        try:
            raise error
        finally:
            del error  # whose traceback refers to this frame

    def _start(self) -> None:
        run = copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name="fnn reads ahead", daemon=True)
        if (readers := _readers.get()) is not None and self not in readers:
            readers.append(self)
        self._thread.start()

    def _run(self) -> None:
        """Read until the end, an error or a pause."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._paused or len(self._read) < self._count)
                if self._paused:
                    self._thread = None
                    return
            try:
                found = _Read(_own(next(self._batches)))
            except BaseException as error:
                found = _Read(None, error)
            with self._changed:
                self._read.append(found)
                if found.error is not None:
                    self._thread, self._ended = None, True
                self._changed.notify_all()
                if self._ended:
                    return

    def pause(self) -> None:
        """End the thread after the read that it is in, which is waited for up to a few seconds."""
        with self._changed:
            self._paused, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():  # garbage may be collected in any thread
            thread.join(_PATIENCE)


def _own(batch: PyTree) -> PyTree:
    """A copy of a batch, whose leaves may be of any kind; what cannot be copied is refused where it is used."""
    try:
        return jax.tree.map(_copied, batch)
    except (TypeError, ValueError, RuntimeError):
        return batch


def _copied(leaf: object) -> object:
    if isinstance(leaf, jax.Array):  # which nobody changes
        return leaf
    return leaf.copy() if isinstance(leaf, np.ndarray) else copy.deepcopy(leaf)


_readers: ContextVar[list[ReadAhead] | None] = ContextVar("_readers", default=None)


@contextlib.contextmanager
def pausing_readers() -> Iterator[None]:
    """Pause, at the end of a call, the readers that it started; the traceback of an error may keep them alive."""
    readers = list[ReadAhead]()
    token = _readers.set(readers)
    try:
        yield
    finally:
        _readers.reset(token)
        for reader in readers:
            reader.pause()
