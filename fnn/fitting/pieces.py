"""Pieces of an epoch: batches on the device, and the compiled loop over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .._core.typed import jit
from .._core.types import Array
from ..training.batch import Batch, take
from ..training.epoch import padded_order, steps
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
    order: Array,
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
def _advance_rows(task: Task, ts: TrainState, totals: Totals, data: Batch, rows: Array) -> Advanced:
    """One step on the given rows: the last, smaller batch."""
    announce_compilation()
    ts, batch_totals = step_and_totals(task, ts, take(data, rows))
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
    """Consecutive batches of an epoch, on the device."""

    data: Batch
    order: Array  # row numbers in training order
    whole: int  # the number of whole batches
    batch_size: int
    rest: int = 0  # rows in a smaller batch after them, a step with another shape
    size: int | None = None  # rows that count, where padding fills the last whole batch; None where all count
    waits: bool = True  # whether to wait for the device between calls, so that the progress bar can move
    batches_done: int = 0  # completed earlier
    stream: object = None  # see EpochUpdate


class Call(NamedTuple):
    """One call of `advance`."""

    piece: Piece
    batches_done: int  # of the piece, before the call
    steps: int
    epoch: int  # its number
    first: bool  # whether the call begins it


def advance(task: Task, ts: TrainState, totals: Totals, piece: Piece, batches_done: int, count: int) -> Advanced:
    """Train on ``count`` batches of a piece after the first ``batches_done``; the smaller last batch is a call alone.

    The buffers of ``ts`` and ``totals`` are donated.
    """
    data, order, size, batch_size = piece.data, piece.order, piece.size, piece.batch_size
    first = batches_done * batch_size
    if batches_done == piece.whole:
        return _advance_rows(task, ts, totals, data, order[first : first + piece.rest])
    return _advance(task, ts, totals, data, order, first, count, size=size, batch_size=batch_size)
