"""Pieces of an epoch: consecutive batches on the device, and the compiled loop over them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax.numpy as jnp

from .._core.typed import array_spec, jit, tree_map
from .._core.types import Array
from ..training.batch import Batch, InBatches, batch_at, rows_of, take
from ..training.epoch import steps
from ..training.placed import data_on_devices
from ..training.state import TrainState
from ..training.step import step_and_totals
from ..training.task import Task
from ..training.totals import Logs, Totals, merge, results
from .progress import announce_compilation

Advanced = tuple[TrainState, Totals, Logs]


@jit(static_argnums=0, static_argnames="batch_size", donate_argnames=("ts", "totals"))
def _advance(
    task: Task,
    ts: TrainState,
    totals: Totals,
    data: Batch,
    order: Array | None,
    first: int,
    count: int,
    *,
    size: int | None,
    batch_size: int,
) -> Advanced:
    """`steps` on whole batches. Their number is traced, so that calls of every length share a program."""
    announce_compilation()
    ts, totals = steps(task, ts, totals, data, order, first, count, batch_size=batch_size, size=size)
    return ts, totals, results(task, totals)


@jit(static_argnums=0, donate_argnames=("ts", "totals"))
def _advance_rows(task: Task, ts: TrainState, totals: Totals, data: Batch, rows: Array | None) -> Advanced:
    """One step on a smaller batch: the given rows of the data, or all of them."""
    announce_compilation()
    ts, batch_totals = step_and_totals(task, ts, data if rows is None else take(data, rows))
    totals = merge(task, totals, batch_totals)
    return ts, totals, results(task, totals)


class Piece(NamedTuple):
    """Consecutive batches of an epoch on the device: ``whole`` ones of ``batch_size`` rows, then one of ``rest`` rows.

    Batch ``i`` is ``data[order[i * batch_size : (i + 1) * batch_size]]``, or without an order that of `InBatches`.
    """

    data: Batch | InBatches
    order: Array | None  # row numbers in training order; None on a mesh, where each device holds its rows of a batch
    whole: int
    batch_size: int
    rest: int = 0  # a batch of another shape is compiled alone; 0 without one
    size: int | None = None  # rows that count, where padding fills the last whole batch; None where all count
    waits: bool = True  # whether to wait for the device between calls, so that the progress bar can move
    batches_done: int = 0  # completed earlier
    stream: object = None  # see EpochUpdate

    @property
    def batches(self) -> int:
        """The number of batches."""
        return self.whole + (self.rest > 0)

    @property
    def one_row(self) -> Batch:
        """The shapes of one row."""
        data, axes = (self.data.full, 2) if isinstance(self.data, InBatches) else (self.data, 1)
        return tree_map(lambda a: array_spec((1, *a.shape[axes:]), a.dtype), data)

    def length(self, number: int) -> int:
        """The number of rows of a batch, without padding."""
        length = self.batch_size if number < self.whole else self.rest
        return length if self.size is None else min(length, self.size - number * self.batch_size)

    def rows(self, number: int) -> Array:
        """The row numbers of a batch in an order, without padding."""
        assert self.order is not None
        start = number * self.batch_size
        return self.order[start : start + self.length(number)]

    def batch(self, number: int) -> Batch:
        """A batch, without padding."""
        if not isinstance(self.data, InBatches):
            return take(self.data, self.rows(number))
        batch: Batch = self.data.last if number == self.whole else batch_at(self.data.full, number)
        return tree_map(lambda a: a[: self.length(number)], batch)


def in_training_order(
    task: Task, rows: Batch, whole: int, batch_size: int, rest: int = 0
) -> tuple[Batch | InBatches, Array | None]:
    """``data`` and ``order`` of a `Piece` of rows that come in training order, some of which may follow its batches.

    On one device they are read as those of `ArraySource` are, by the same program, hence with the same bits.
    """
    if task.placement is None:
        return data_on_devices(task, rows), jnp.arange(rows_of(rows), dtype=jnp.int32)
    start = whole * batch_size
    last = tree_map(lambda a: a[start : start + rest], rows) if rest else None
    return data_on_devices(task, InBatches.of(rows, batch_size)._replace(last=last)), None


class Call(NamedTuple):
    """Consecutive batches of a piece, to train on in one call: whole ones, or the smaller last one alone."""

    piece: Piece
    first: int  # the number of the first batch in the piece
    batches: int
    epoch: int
    begins_epoch: bool


def compiling(task: Task, ts: TrainState, totals: Totals, piece: Piece) -> AbstractContextManager[None]:
    """Compile the loop over whole batches in a thread, while a ``with`` statement does other work; wait at its end.

    The order of the piece may be a shape. The next call of `advance` uses this program. Only XLA's part runs in the
    thread, since JAX's settings belong to the thread that sets them.
    """
    data = piece.data.full if isinstance(piece.data, InBatches) else piece.data
    lowered = _advance.lower(task, ts, totals, data, piece.order, 0, 1, size=piece.size, batch_size=piece.batch_size)
    return _in_thread(lowered.compile)


@contextlib.contextmanager
def _in_thread(fn: Callable[[], object]) -> Iterator[None]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(fn)
        yield
        running.result()


def advance(task: Task, ts: TrainState, totals: Totals, call: Call) -> Advanced:
    """Train on the batches of a call. The buffers of ``ts`` and ``totals`` are donated."""
    piece, first = call.piece, call.first
    data, order, batch_size = piece.data, piece.order, piece.batch_size
    if first < piece.whole:
        whole = data.full if isinstance(data, InBatches) else data
        return _advance(task, ts, totals, whole, order, first, call.batches, size=piece.size, batch_size=batch_size)
    if isinstance(data, InBatches):
        return _advance_rows(task, ts, totals, data.last, None)
    return _advance_rows(task, ts, totals, data, piece.rows(first))
