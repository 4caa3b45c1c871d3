"""Loss, metrics and predictions of a data set, as pure functions."""

from __future__ import annotations

import functools
from functools import partial

import jax

from .._core.jaxprs import largest_result
from .._core.sharding import by_row, everywhere, placing
from .._core.typed import jit
from .._core.types import Array, PyTree
from ..nn.added_loss import added_losses
from .batch import Batch, InBatches, Signature, neutralize_zero_weights, rows_of
from .forward import forward
from .placed import at_work
from .segments import fold_batches, map_batches
from .state import TrainState
from .task import Task
from .totals import Totals, measure, merge, penalties_of

RESULT_BYTES = 64 * 2**20  # of the largest array that an operation makes in a batch of the default size
_ROWS = 256  # of a batch at least, and where the model cannot be traced


def rows_at_once(task: Task, ts: TrainState, x: PyTree, batch_size: int | None) -> int:
    """The rows to compute at a time: those asked for, or as many as `RESULT_BYTES` allow, in batches of equal size.

    What layers add to the loss may depend on all rows of a batch, which then keeps its number of rows.
    """
    size = rows_of(x)
    if batch_size is None and size > _ROWS and not added_losses(ts.state):
        return _rows_at_once(task, Signature.of(ts), Signature.of(x), size)
    rows: int = min(_ROWS if batch_size is None else int(batch_size), size)
    return rows


@functools.lru_cache(maxsize=64)
def _rows_at_once(task: Task, state: Signature, given: Signature, size: int) -> int:
    ts, x = state.tree(), given.tree()
    made = largest_result(jax.make_jaxpr(lambda *args: task.network.apply(*args)[0])(ts.params, ts.state, x))
    if made is None:
        return _ROWS
    largest = max(made, sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(x)))
    count = min(-(-largest // RESULT_BYTES), -(-size // _ROWS))
    rows = -(-size // max(1, count))
    devices = 1 if task.placement is None else task.placement.row_devices
    return int(max(rows - rows % devices, min(devices, size)))


def measure_all(
    task: Task, params: PyTree, state: PyTree, data: Batch | InBatches, batch_size: int, remat: bool = False
) -> Totals:
    """Totals of loss and metrics over a data set, without training."""
    params = at_work(task, params)
    penalties = penalties_of(task, params)

    def totals_of(batch: PyTree, valid: Array) -> Totals:
        with placing(task.placement):
            batch = neutralize_zero_weights(task.model, by_row(batch))
            outputs, after = forward(task, params, state, batch.x)
            totals = measure(task, outputs, batch, valid, [*penalties, *added_losses(after)])[1]
        return everywhere(task.placement, totals)

    # Terms that layers add to the loss depend on all rows of a batch, so the last batch must not repeat any.
    own_shape = bool(added_losses(state))
    return fold_batches(totals_of, partial(merge, task), data, batch_size, own_shape=own_shape, remat=remat)


@jit(static_argnums=(0, 4))
def predict_in_batches(task: Task, params: PyTree, state: PyTree, x: PyTree, batch_size: int) -> PyTree:
    """The model's outputs for all examples."""
    params = at_work(task, params)

    def outputs_of(rows: PyTree) -> PyTree:
        with placing(task.placement):
            return task.network.apply(params, state, by_row(rows))[0]

    return everywhere(task.placement, map_batches(outputs_of, x, batch_size))
