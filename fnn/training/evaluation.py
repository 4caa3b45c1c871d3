"""Loss, metrics and predictions of a data set, as pure functions."""

from __future__ import annotations

from functools import partial

from .._core.sharding import by_row, everywhere, placing
from .._core.typed import jit
from .._core.types import Array, PyTree
from ..nn.added_loss import added_losses
from .batch import Batch, InBatches, neutralize_zero_weights
from .forward import forward
from .placed import at_work
from .segments import fold_batches, map_batches
from .task import Task
from .totals import Totals, measure, merge, penalties_of


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
