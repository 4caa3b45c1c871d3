"""Pieces of an epoch: batches on the device, and the compiled loop over them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax

from .._core.types import Array
from ..training.batch import Batch, take
from ..training.epoch import filled_up, steps
from ..training.state import TrainState
from ..training.step import step_and_totals
from ..training.task import Task
from ..training.totals import Logs, Totals, merge, results


@functools.partial(jax.jit, static_argnums=0, static_argnames="batch_size", donate_argnames=("ts", "totals"))
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
) -> tuple[TrainState, Totals, Logs]:
    """`steps`, with traced counts: calls of every length share a program."""
    ts, totals = steps(task, ts, totals, data, order, first, count, batch_size=batch_size, size=size)
    return ts, totals, results(task, totals)


@functools.partial(jax.jit, static_argnums=0, donate_argnames=("ts", "totals"))
def _advance_rows(
    task: Task, ts: TrainState, totals: Totals, data: Batch, rows: Array
) -> tuple[TrainState, Totals, Logs]:
    """One step on the given rows: the last, smaller batch."""
    ts, batch_totals = step_and_totals(task, ts, take(data, rows))
    totals = merge(task, totals, batch_totals)
    return ts, totals, results(task, totals)


fill_up = jax.jit(filled_up, static_argnums=1)


class EpochUpdate(NamedTuple):
    """Progress of an epoch since the previous update.

    Attributes:
      ts: the current state.
      totals: totals of loss and metrics over the batches of the epoch so far.
      logs: the values computed from them.
      steps: training steps since the previous update.
      stream: the iterable's ``state()`` after the last of these batches; None without one.
    """

    ts: TrainState
    totals: Totals
    logs: Logs
    steps: int
    stream: object


class EpochPosition(NamedTuple):
    """A position within an epoch.

    Attributes:
      step: the step count at which the epoch began; it determines the order of the rows.
      done: completed steps of the epoch.
      totals: totals of loss and metrics over these steps, by path.
    """

    step: int
    done: int
    totals: Mapping[str, Array]


class Piece(NamedTuple):
    """Consecutive batches of an epoch, on the device.

    Attributes:
      data: the rows.
      order: row numbers in training order.
      whole: the number of whole batches.
      batch_size: rows in each of them.
      rest: rows in a smaller batch after them, which is a step of its own shape; 0 for none.
      size: rows that count, where padding fills the last whole batch; None where all count.
      waits: whether to wait for the device between calls, so that the progress bar can move.
      done: batches that were completed earlier.
      stream: see `EpochUpdate`.
    """

    data: Batch
    order: Array
    whole: int
    batch_size: int
    rest: int = 0
    size: int | None = None
    waits: bool = True
    done: int = 0
    stream: object = None


def advance(
    task: Task, ts: TrainState, totals: Totals, piece: Piece, done: int, count: int
) -> tuple[TrainState, Totals, Logs]:
    """Train on ``count`` whole batches of a piece after the first ``done``, or, with 0, on the smaller last one.

    The buffers of ``ts`` and ``totals`` are donated.
    """
    first, size, batch_size = done * piece.batch_size, piece.size, piece.batch_size
    if count:
        out = _advance(task, ts, totals, piece.data, piece.order, first, count, size=size, batch_size=batch_size)
    else:
        out = _advance_rows(task, ts, totals, piece.data, piece.order[first : first + piece.rest])
    ts, totals, logs = out
    return ts, totals, logs
