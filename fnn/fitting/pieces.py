"""Pieces of an epoch: batches on the device, and the compiled loop over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from .._core.typed import array_spec, jit, tree_map
from .._core.types import Array
from ..training.batch import Batch, InBatches, batch_at, rows_of, take
from ..training.epoch import padded_order, steps
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
    """`steps`, with traced counts: calls of every length share a program."""
    announce_compilation()
    ts, totals = steps(task, ts, totals, data, order, first, count, batch_size=batch_size, size=size)
    return ts, totals, results(task, totals)


@jit(static_argnums=0, donate_argnames=("ts", "totals"))
def _advance_rows(task: Task, ts: TrainState, totals: Totals, data: Batch, rows: Array | None) -> Advanced:
    """One step on the given rows, or on all: the last, smaller batch."""
    announce_compilation()
    ts, batch_totals = step_and_totals(task, ts, data if rows is None else take(data, rows))
    totals = merge(task, totals, batch_totals)
    return ts, totals, results(task, totals)


padded_order_jit = jit(padded_order, static_argnums=1)


class EpochUpdate(NamedTuple):
    """Progress of an epoch since the previous update.

    ``ts`` and ``totals`` are donated when the generator continues; copy what you keep.
    """

    ts: TrainState
    totals: Totals  # of loss and metrics over the batches of the epoch so far
    logs: Logs  # the values computed from them
    steps: int  # since the previous update
    stream: object  # the iterable's ``state()`` after the last of these batches; None without one


class EpochPosition(NamedTuple):
    """A position within an epoch."""

    first_step: int  # the step count at which the epoch began; it determines the order of the rows
    done: int  # completed steps of the epoch
    totals: Mapping[str, Array]  # of loss and metrics over these steps, by path


class Piece(NamedTuple):
    """Consecutive batches of an epoch, on the device: rows in an order, or `InBatches`."""

    data: Batch | InBatches
    order: Array | None  # row numbers in training order; None for batches
    whole: int  # the number of whole batches
    batch_size: int
    rest: int = 0  # rows in a smaller batch after them, a step with another shape
    size: int | None = None  # rows that count, where padding fills the last whole batch; None where all count
    waits: bool = True  # whether to wait for the device between calls, so that the progress bar can move
    batches_done: int = 0  # completed earlier
    stream: object = None  # see EpochUpdate

    @classmethod
    def of(cls, task: Task, rows: Batch, whole: int, batch_size: int, rest: int = 0, **others: Any) -> Piece:
        """A piece of rows in training order, some of which may follow its batches; ``others`` are its other fields.

        On one device they are read as those of `ArraySource` are, by the same program, hence with the same bits.
        """
        if task.placement is None:
            order = jnp.arange(rows_of(rows), dtype=jnp.int32)
            return cls(data_on_devices(task, rows), order, whole, batch_size, rest=rest, **others)
        start = whole * batch_size
        last = tree_map(lambda a: a[start : start + rest], rows) if rest else None
        data = InBatches.of(rows, batch_size)._replace(last=last)
        return cls(data_on_devices(task, data), None, whole, batch_size, rest=rest, **others)

    @property
    def one_row(self) -> Batch:
        """The shapes of one row."""
        data, axes = (self.data.full, 2) if isinstance(self.data, InBatches) else (self.data, 1)
        return tree_map(lambda a: array_spec((1, *a.shape[axes:]), a.dtype), data)

    def rows(self, number: int) -> Array:
        """The numbers of the rows of a batch in an order, without padding."""
        assert self.order is not None
        start = number * self.batch_size
        count = self.batch_size if number < self.whole else self.rest
        return self.order[start : start + count][: None if self.size is None else self.size - start]

    def batch(self, number: int) -> Batch:
        """A batch, without padding."""
        if not isinstance(self.data, InBatches):
            return take(self.data, self.rows(number))
        batch: Batch = self.data.last if number == self.whole else batch_at(self.data.full, number)
        count = None if self.size is None else self.size - number * self.batch_size
        return tree_map(lambda a: a[:count], batch)


class Call(NamedTuple):
    """One call of `advance`."""

    piece: Piece
    batches_done: int  # of the piece, before the call
    batches: int  # to train on
    epoch: int  # its number
    first: bool  # whether the call begins it


def advance(task: Task, ts: TrainState, totals: Totals, piece: Piece, batches_done: int, count: int) -> Advanced:
    """Train on ``count`` batches of a piece after the first ``batches_done``; the smaller last batch is a call alone.

    The buffers of ``ts`` and ``totals`` are donated.
    """
    data, order, batch_size = piece.data, piece.order, piece.batch_size
    if batches_done < piece.whole:
        rows = data.full if isinstance(data, InBatches) else data
        return _advance(task, ts, totals, rows, order, batches_done, count, size=piece.size, batch_size=batch_size)
    # Only the smaller last batch is left.
    if isinstance(data, InBatches):
        return _advance_rows(task, ts, totals, data.last, None)
    return _advance_rows(task, ts, totals, data, piece.rows(batches_done))
