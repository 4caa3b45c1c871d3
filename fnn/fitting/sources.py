"""Sources of batches: arrays on the device, and arrays too large for it."""

from __future__ import annotations

import abc
import contextlib
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import jax_setting
from .._core.processes import decided
from .._core.sharding import on_every_device
from .._core.trees import from_paths, is_uncommitted
from .._core.typed import array_spec, block_until_ready, jit
from .._core.types import Array
from ..training.batch import Batch, Signature, rows_of
from ..training.checks import zero_totals
from ..training.epoch import division, epoch_order, padded_order
from ..training.placed import own_rows
from ..training.state import TrainState
from ..training.task import Task
from ..training.totals import Logs, Totals
from .guard import Guard
from .inputs import rows_per_chunk, take_from_host
from .options import Options
from .pace import pace_of
from .pieces import Call, Piece, advance, compiling, in_training_order
from .progress import History
from .watchdog import busy

_padded_order = jit(padded_order, static_argnums=1)


class EpochPosition(NamedTuple):
    """A position within an epoch."""

    first_step: int  # the step count at which the epoch began; it determines the order of the rows
    done: int  # completed steps of the epoch
    totals: Mapping[str, Array]  # of loss and metrics over these steps, by path


class RunPosition(NamedTuple):
    """The position of a run of `fit`: everything another process needs to continue it exactly."""

    ts: TrainState
    history: History  # of the completed epochs
    made: int = 0  # training steps made in this run
    epoch: int = 0  # completed epochs
    within_epoch: EpochPosition | None = None  # in the next epoch; None at its beginning
    logs: Mapping[str, float] = MappingProxyType({})  # of that epoch so far
    seconds: float = 0.0  # spent on that epoch
    stopped: bool = False  # whether a callback stopped the training
    stream: object = None  # the iterable's ``state()``
    validation: object = None  # likewise for an iterable of validation data

    @property
    def identity(self) -> tuple[int, int, bool, bool]:
        """Identity of a position, used to avoid writing it twice."""
        return self.made, self.epoch, self.within_epoch is None, self.stopped


class EpochUpdate(NamedTuple):
    """Progress of an epoch. ``ts`` and ``totals`` are donated when training continues; copy what you keep."""

    ts: TrainState
    totals: Totals  # of loss and metrics over the batches of the epoch so far
    logs: Logs  # the values computed from them
    done: int  # completed steps of the epoch
    made: int  # training steps made in this run
    stream: object  # the iterable's ``state()`` after the last batch; None without one


class StepHooks(NamedTuple):
    """What happens between the steps of a source: checks of the state, and stops for checkpoints."""

    guard: Guard | None = None  # checks every new state
    checkpoint_every: int | None = None  # update at each multiple of this number of steps in the run
    call_every: tuple[int, ...] = ()  # likewise, for functions that are called after steps
    record_stream_state: bool = False  # whether to ask an iterable for its state after each batch

    def until_checkpoint(self, made: int) -> int | None:
        """Steps from step ``made`` of the run to the next checkpoint."""
        return None if self.checkpoint_every is None else self.checkpoint_every - made % self.checkpoint_every

    def until_stop(self, made: int) -> int | None:
        """Steps from step ``made`` of the run to the next checkpoint or function call."""
        intervals = [*self.call_every, *([] if self.checkpoint_every is None else [self.checkpoint_every])]
        return min((every - made % every for every in intervals), default=None)


class Source(abc.ABC):
    """Epochs of training steps, in calls of a compiled loop."""

    total: int | None  # steps in an epoch; None if unknown
    resumable: bool = True  # whether training can continue in the middle of an epoch
    exhausted: bool = False  # whether an iterable ran out of batches before the epoch was complete

    def __init__(self, task: Task, hooks: StepHooks) -> None:
        self.task, self.hooks = task, hooks
        self.running: Logs = {}  # the results of the latest call, which the device may still be computing

    @abc.abstractmethod
    def pieces(self, ts: TrainState, done: int, made: int) -> Iterator[Piece]:
        """The batches of an epoch that began at ``ts``, from its step ``done``, which is step ``made`` of the run."""

    def state(self) -> object:
        """The iterable's saved position between epochs."""
        return None

    def restore(self, state: object) -> None:
        """Continue from a saved position of the iterable, between epochs or within one."""
        assert state is None

    def updates(self, position: RunPosition, period: float) -> Generator[EpochUpdate, TrainState | None, None]:
        """Train for one epoch, or the rest of one, with an update about every ``period`` seconds.

        A state that is sent replaces the current one.
        """
        # `made` counts the steps of the run, `done` those of the epoch; `number` is that of a batch in its piece.
        ts, made, within, totals = position.ts, position.made, position.within_epoch, None
        skipped = done = 0 if within is None else within.done
        # The row order follows from the step at which the epoch began.
        begin = ts if within is None else ts._replace(step=jnp.asarray(within.first_step, ts.step.dtype))
        for piece in self.pieces(begin, skipped, made):
            if totals is None:  # which depend on the shapes of a row, known from a piece
                totals = self._totals(ts, piece, within)
            if self.task.placement is None:
                ts, totals, piece = _on_one_device(ts, totals, piece)
            pace = pace_of(self.task, Signature.of(piece.one_row), piece.batch_size) if piece.waits else None
            number = piece.batches_done
            while number < piece.batches:
                timed = pace if number < piece.whole else None
                wanted = piece.whole if timed is None else decided(timed.steps(period))
                # No whole batches are left before a smaller last one, which has a call to itself.
                count = max(1, min(wanted, piece.whole - number, self.hooks.until_stop(made) or piece.whole))
                started = time.perf_counter()
                call = Call(piece, number, batches=count, epoch=position.epoch, begins_epoch=done == skipped)
                ts, totals, logs = self._call(ts, totals, call)
                if timed is not None:
                    block_until_ready(logs)
                    if count == wanted:  # the end of an epoch may be too short to measure
                        timed.note(count, time.perf_counter() - started)
                number, done, made = number + count, done + count, made + count
                stream = piece.stream if number == piece.batches else None
                ts = (yield EpochUpdate(ts, totals, logs, done=done, made=made, stream=stream)) or ts

    def _totals(self, ts: TrainState, piece: Piece, within: EpochPosition | None) -> Totals:
        """The totals of the epoch so far: zeros, or those of a position within it."""
        totals = zero_totals(self.task, ts, piece.one_row)
        if within is None:
            return totals
        return on_every_device(self.task.placement, from_paths("the totals of the epoch", totals, within.totals))

    def _call(self, ts: TrainState, totals: Totals, call: Call) -> tuple[TrainState, Totals, Logs]:
        """`advance`, observed by the guard."""
        guard = self.hooks.guard
        if guard is not None:
            guard.before(ts, totals, call)
        ts, totals, logs = advance(self.task, ts, totals, call)
        self.running = logs
        if guard is not None:
            guard.after(ts, totals)
        return ts, totals, logs

    def _idle(self) -> bool:
        return all(leaf.is_ready() for leaf in jax.tree.leaves(self.running))


def _on_one_device(ts: TrainState, totals: Totals, piece: Piece) -> tuple[TrainState, Totals, Piece]:
    """State, totals and order on the device on which something put the state or the data.

    Results lie there too, so that otherwise the second call, which gets them, would be compiled once more.
    """
    for leaf in jax.tree.leaves((ts, piece.data)):
        if isinstance(leaf, jax.Array) and leaf.committed and len(leaf.devices()) == 1:
            ts, totals, order = jax.device_put((ts, totals, piece.order), leaf.sharding)
            return ts, totals, piece._replace(order=order)
    return ts, totals, piece


class ArraySource(Source):
    """Arrays that fit on the device."""

    def __init__(self, task: Task, hooks: StepHooks, data: Batch, options: Options) -> None:
        super().__init__(task, hooks)
        self.data, self.shuffle, self.size = data, options.shuffle, rows_of(data)
        self.batch_size = min(options.rows, self.size)
        self.whole, self.rest, self.pads = division(task, self.size, self.batch_size, options.drop_remainder)
        self.total = self.whole + (self.rest > 0)

    def pieces(self, ts: TrainState, done: int, made: int) -> Iterator[Piece]:
        """The whole data set."""
        size = self.size if self.pads else None
        piece = Piece(self.data, None, self.whole, self.batch_size, rest=self.rest, size=size, batches_done=done)
        with self._compiling(ts, piece):
            order = epoch_order(ts, size=self.size, shuffle=self.shuffle)
            if self.pads:
                order = _padded_order(order, self.batch_size)
        yield piece._replace(order=order)

    def _compiling(self, ts: TrainState, piece: Piece) -> contextlib.AbstractContextManager[None]:
        """`compiling`, where the loop has not run yet in this process, and nothing asks for another program."""
        new = pace_of(self.task, Signature.of(piece.one_row), self.batch_size).calls == 0
        # The program for arrays that were put on some device depends on whether the order lies there too.
        plain = self.task.placement is None and is_uncommitted((ts, self.data))
        if not (new and plain and self.whole) or jax_setting("jax_disable_jit"):
            return contextlib.nullcontext()
        shape = array_spec((self.whole * self.batch_size if self.pads else self.size,), jnp.int32)
        totals = zero_totals(self.task, ts, piece.one_row)
        return compiling(self.task, ts, totals, piece._replace(order=cast(Array, shape)))


class ChunkSource(ArraySource):
    """Arrays on the host or in a file, copied to the device in chunks that a thread reads ahead.

    The steps are those of `ArraySource`, on the same rows in the same order.
    """

    def __init__(self, task: Task, hooks: StepHooks, data: Batch, options: Options, chunk_bytes: int) -> None:
        super().__init__(task, hooks, data, options)
        most = max(1, rows_per_chunk(self.data, chunk_bytes) // self.batch_size)
        self.batches = -(-self.whole // -(-self.whole // most))  # per chunk; only the last may have fewer

    def pieces(self, ts: TrainState, done: int, made: int) -> Iterator[Piece]:
        """Chunks of one shape, so that they share a compiled program."""
        order = np.asarray(epoch_order(ts, size=self.size, shuffle=self.shuffle))
        rows = self.batches * self.batch_size
        length = rows + self.rest
        starts = range(0, self.whole * self.batch_size, rows)
        last, held = starts[-1], own_rows(self.task, self.batch_size)
        starts = starts[min(done // self.batches, len(starts) - 1) :]

        def read(start: int) -> Batch:
            given = order[start : start + (length if start == last else rows)]
            wanted = None if held is None else np.resize(held, len(given))
            if wanted is not None and start == last and self.rest:
                wanted[-self.rest :] = True
            return take_from_host(self.data, given, length, wanted)

        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(read, starts[0])
            for start in starts:
                with busy("reading its data"):
                    chunk = coming.result()
                if start != last:
                    coming = reader.submit(read, start + rows)
                whole = min(self.batches, self.whole - start // self.batch_size)
                rest = self.rest if start == last else 0
                size = min(whole * self.batch_size, self.size - start) if self.pads else None
                trained = max(0, done - start // self.batch_size)
                data, rows_in_order = in_training_order(self.task, chunk, whole, self.batch_size, rest)
                yield Piece(data, rows_in_order, whole, self.batch_size, rest, size, batches_done=trained)
