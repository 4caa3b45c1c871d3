"""The source of batches from an iterable."""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np

from .._core.checks import keeps_state
from .._core.errors import counted, fail, located
from .._core.processes import is_together
from .._core.trees import bytes_of, own_copy
from .._core.typed import block_until_ready
from .._core.types import PyTree
from .._core.warn import warn
from ..training.batch import Batch, Signature, as_batch, rows_of
from ..training.epoch import pads_last_batch
from ..training.placed import shares_on_devices
from ..training.state import TrainState
from ..training.task import Task
from .inputs import BatchCheck, batches, refuse_empty, weigh
from .options import Options
from .pieces import Piece, in_training_order
from .shares import in_step
from .sources import Source, StepHooks

# Batches are gathered, up to these limits, once the first _LOOK_AFTER of them took less than _SHORT seconds each. The
# program for several batches has to be compiled, which pays off only if the call is a large part of a step.
_GATHER_BYTES = 8 * 2**20
_MOST_GATHERED = 64
_LOOK_AFTER = 32
_SHORT = 2e-3


def is_repeatable(stream: object) -> bool:
    """Whether an iterable can continue from any batch: it has a state, or its batches have numbers."""
    return keeps_state(stream) or isinstance(stream, Sequence)


def restore_stream(stream: object, state: object) -> None:
    """Restore an iterable's saved position, or warn that it has none."""
    if keeps_state(stream):
        stream.restore(state)
    elif not is_repeatable(stream):
        warn(
            f"fit: the {type(stream).__name__} cannot report its position, so the epoch restarts with the next batch "
            "it yields. The result equals that of an uninterrupted training only if it gives the same batches in every "
            "pass. With state() and restore(state) it is exact, see docs/how-to/resume.md."
        )


class StreamSource(Source):
    """An iterable of batches; those that arrive faster than the device trains are gathered into one call.

    An epoch is a pass, or the next ``steps_per_epoch`` batches of passes that follow each other.
    """

    def __init__(self, task: Task, hooks: StepHooks, stream: Iterable[PyTree], options: Options) -> None:
        super().__init__(task, hooks)
        self.stream, self.class_weight, self.steps_per_epoch = stream, options.class_weight, options.steps_per_epoch
        self.asked = options.batch_size  # which the iterable must have, if it was given
        self.check = BatchCheck(task, train=True)
        length = operator.length_hint(stream, -1)
        self.total = self.steps_per_epoch or (None if length < 0 else length)
        self.passes: Iterator[PyTree] | None = None  # the batches of the coming epochs, with steps_per_epoch
        self.first: Signature | None = None  # the shapes of the first batch; batches like it can be gathered
        self.batch_size = 0  # its rows
        self.most = 1  # batches to gather; raised once that pays off
        self.pads = pads_last_batch(task)
        self.resumable = is_repeatable(stream)

    def state(self) -> object:
        """See `Source`."""
        return self.stream.state() if keeps_state(self.stream) else None

    def restore(self, state: object) -> None:
        """See `Source`."""
        restore_stream(self.stream, state)

    def pieces(self, ts: TrainState, done: int, made: int) -> Iterator[Piece]:
        """Single batches, or several gathered ones."""
        given = self._pass(done) if self.steps_per_epoch is None else self._share(self.steps_per_epoch, done, made)
        if is_together():
            yield from self._shared(ts, given, done)
        else:
            yield from self._own(ts, given, done, made)

    def _own(self, ts: TrainState, given: Iterator[Batch], done: int, made: int) -> Iterator[Piece]:
        gathered: list[Batch] = []
        started, count = time.perf_counter(), 0
        state: object = None
        for number, batch in enumerate(given, done):
            with located(f"batch {number}"):
                shapes = self.check(ts, batch)
            if self.class_weight is not None:
                batch = weigh(self.task, batch, self.class_weight)
                shapes = Signature.of(batch)
            if self.first is None:
                self.first, self.batch_size = shapes, rows_of(batch)
                self._check_size(number)
            part = self.pads and _is_part(shapes, self.first)
            alone = not (part or shapes == self.first) or any(isinstance(a, jax.Array) for a in jax.tree.leaves(batch))
            if alone and gathered:
                yield self._piece(gathered, state)
                gathered = []
            if self.hooks.record_stream_state:
                state = self.state()
            if alone:
                # Another shape, or already on a device.
                rows = rows_of(batch)
                data = in_training_order(self.task, own_copy(batch), 1, rows)
                yield Piece(*data, 1, rows, waits=False, stream=state)
                continue
            gathered.append(own_copy(batch))
            if len(gathered) == self.most > 1:
                block_until_ready(self.running)
            # A piece ends where a checkpoint is due, since the iterable's state is known only there.
            due = self.hooks.until_checkpoint(made + number - done) == 1
            if len(gathered) == self.most or part or due or self._idle():
                yield self._piece(gathered, state)
                gathered = []
            count += 1
            if count == 2:
                started = time.perf_counter()  # the first step also compiled
            if self.most == 1 and count == 2 + _LOOK_AFTER and time.perf_counter() - started < _LOOK_AFTER * _SHORT:
                self.most = _most_gathered(batch)
        if gathered:
            yield self._piece(gathered, state)

    def _shared(self, ts: TrainState, given: Iterator[Batch], done: int) -> Iterator[Piece]:
        """Single batches, of which each process reads a share; how fast they arrive differs between processes."""

        def prepare(batch: Batch) -> Batch:
            self.check(ts, batch)
            return batch if self.class_weight is None else weigh(self.task, batch, self.class_weight)

        for number, (batch, counts) in enumerate(in_step(given, "fit", prepare, done), done):
            rows = sum(counts)
            if not self.batch_size:
                self.batch_size = rows
                self._check_size(number)
            state = self.state() if self.hooks.record_stream_state else None
            yield Piece(shares_on_devices(self.task, batch, counts), None, 1, rows, waits=False, stream=state)

    def _check_size(self, number: int) -> None:
        """Refuse a ``batch_size`` other than the rows of the first batch that was read, unless it ends an epoch."""
        ends = self.total == 1 or number > 0
        if self.asked is not None and (self.batch_size > self.asked or (self.batch_size < self.asked and not ends)):
            hint = "The iterable decides: leave batch_size out, or change the iterable."
            got = f"batches of {self.batch_size}"
            fail("fit", expected=f"batches of {self.asked} rows, as batch_size says", got=got, hint=hint)

    def _share(self, count: int, done: int, made: int) -> Iterator[Batch]:
        """The batches of an epoch of ``count`` from number ``done`` on; fewer if the iterable runs out."""
        if self.passes is None:
            self.passes = self._passes(made)
        number = done
        for batch in itertools.islice(self.passes, count - done):
            yield as_batch(batch, f"fit, batch {number}")
            number += 1
        if number == made == 0:
            refuse_empty("fit")
        self.exhausted = number < count

    def _passes(self, made: int) -> Iterator[PyTree]:
        """Pass after pass; a list from its batch for step ``made`` of the run on, an iterable with a state from it."""
        # A restored iterable may be at the end of a pass, so its first one may be empty.
        skip, given, resumed = 0, True, made > 0 and keeps_state(self.stream)
        if isinstance(self.stream, Sequence) and not keeps_state(self.stream):
            skip = made % max(1, len(self.stream))
        while given:
            given, resumed = resumed, False
            for batch in itertools.islice(self.stream, skip, None):
                given = True
                yield batch
            if isinstance(self.stream, Iterator):
                return
            skip = 0

    def _pass(self, done: int) -> Iterator[Batch]:
        """The batches of a pass from number ``done`` on; an iterable with a state is already there."""
        rest = itertools.islice(self.stream, done, None) if done and not keeps_state(self.stream) else self.stream
        count = done
        for batch in batches(rest, "fit", done):
            yield batch
            count += 1
        if self.total is not None and count != self.total:
            warn(
                f"fit: the iterable has a length of {self.total} but gave {counted(count, 'batch', 'batches')} in this "
                "epoch. Does its __iter__ start again, and does its length count batches?"
            )

    def _piece(self, gathered: list[Batch], state: object) -> Piece:
        """Concatenated batches, padded to the largest number, so that every piece has one shape."""
        length = self.most * self.batch_size

        def join(*parts: np.ndarray) -> np.ndarray:
            if len(parts[0]) == length:
                return parts[0]  # one batch, already a copy
            out = np.empty((length, *parts[0].shape[1:]), parts[0].dtype)
            filled = sum(map(len, parts))
            np.concatenate(parts, out=out[:filled])
            out[filled:] = out[:1]
            return out

        size = sum(map(rows_of, gathered)) if self.pads else None  # the last batch may have fewer
        whole = len(gathered)
        data = in_training_order(self.task, jax.tree.map(join, *gathered), whole, self.batch_size)
        return Piece(*data, whole, self.batch_size, size=size, waits=False, stream=state)


def _most_gathered(batch: Batch) -> int:
    """How many batches of this size may be gathered."""
    return max(1, min(_MOST_GATHERED, _GATHER_BYTES // max(1, bytes_of(batch))))


def _is_part(batch: Signature, whole: Signature) -> bool:
    """Whether a batch is like a whole one but has fewer rows."""
    ours, theirs = ([(shape[1:], dtype) for shape, dtype in each.leaves] for each in (batch, whole))
    alike = batch.treedef == whole.treedef and ours == theirs
    return alike and batch.leaves[0][0][0] < whole.leaves[0][0][0]
