"""Pieces of an epoch: batches on the device, and the compiled loop over them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax

from .._core.types import Array
from ..training.batch import take
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
    data: Any,
    order: Array,
    first: Any,
    count: Any,
    size: Any,
    *,
    batch_size: int,
) -> tuple[TrainState, Totals, Logs]:
    """``count`` steps of an epoch, a traced number, as is the number of rows."""
    ts, totals = steps(task, ts, totals, data, order, first, count, batch_size, size)
    return ts, totals, results(task, totals)


@functools.partial(jax.jit, static_argnums=0, donate_argnames=("ts", "totals"))
def _advance_rows(
    task: Task, ts: TrainState, totals: Totals, data: Any, rows: Array
) -> tuple[TrainState, Totals, Logs]:
    """One step on the given rows: the last, smaller batch."""
    ts, batch_totals = step_and_totals(task, ts, take(data, rows))
    totals = merge(task, totals, batch_totals)
    return ts, totals, results(task, totals)


fill_up = jax.jit(filled_up, static_argnums=1)


class Reached(NamedTuple):
    """Where an epoch has come to.

    Attributes:
      ts: the state.
      totals: of loss and metrics over the batches so far.
      logs: their values so far.
      made: steps made since the last time.
      stream: what an iterable's ``state()`` said behind the last of these batches; None without one.
    """

    ts: TrainState
    totals: Totals
    logs: Logs
    made: int
    stream: Any


class Start(NamedTuple):
    """Where in an epoch to begin.

    Attributes:
      step: the step count at the epoch's beginning, from which its order follows.
      done: steps of the epoch that are made.
      totals: of loss and metrics over these, by path.
    """

    step: int
    done: int
    totals: dict[str, Any]


class Piece(NamedTuple):
    """Some batches of an epoch.

    Attributes:
      data: arrays on the device.
      order: their rows in the order of training.
      whole: batches in it.
      batch_size: of these.
      rest: rows in a last, smaller batch behind them, which is trained on by itself.
      size: rows that count, where the last of the whole batches is only filled up.
      waits: whether to wait for the device now and then, so that a bar can move.
      done: batches of it that were trained on before.
      stream: see `Reached`.
    """

    data: Any
    order: Array
    whole: int
    batch_size: int
    rest: int = 0
    size: int | None = None
    waits: bool = True
    done: int = 0
    stream: Any = None


def advance(
    task: Task, ts: TrainState, totals: Totals, piece: Piece, done: int, count: int
) -> tuple[TrainState, Totals, Logs]:
    """``count`` of a piece's whole batches behind ``done`` of them; 0 is the smaller one behind them all.

    State and totals are given up.
    """
    first = done * piece.batch_size
    if not count:
        return _advance_rows(task, ts, totals, piece.data, piece.order[first : first + piece.rest])
    return _advance(task, ts, totals, piece.data, piece.order, first, count, piece.size, batch_size=piece.batch_size)
