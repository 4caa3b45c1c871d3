"""Loss, metrics and predictions of a data set, as pure functions."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .._core.types import Array, Params, PyTree, State
from ..nn.added_loss import added_losses
from .batch import counted, size_of
from .segments import again
from .task import Task
from .totals import Totals, measure, merge, penalty_of


def measure_all(task: Task, params: Params, state: State, data: Any, batch_size: int, remat: bool = False) -> Totals:
    """Totals of loss and metrics over a data set, without training.

    The last batch reaches back over rows already seen, which then do not count, so that one shape serves all. Only
    where a layer adds to the loss, which knows nothing of rows that do not count, it is a batch of its own shape.
    """
    size = size_of(data)
    batch_size = min(batch_size, size)
    penalties = penalty_of(task, params)
    adds = bool(added_losses(state))

    def totals_of(start: Array | int, rows: int, first: Array | int) -> Totals:
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, rows), data)
        x, y, weight = counted(task.model, part)
        predictions, after = task.model.apply(params, state, x)
        valid = start + jnp.arange(rows, dtype=jnp.int32) >= first
        return measure(task, predictions, y, weight, valid, [*penalties, *added_losses(after)])[1]

    def batch(i: Array) -> Totals:
        return totals_of(jnp.minimum(i * batch_size, size - batch_size), batch_size, i * batch_size)

    of_batch = again(batch) if remat else batch
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(batch, jnp.int32(0)))
    whole, rest = divmod(size, batch_size)
    count = whole if adds else whole + (rest > 0)
    totals: Totals = jax.lax.fori_loop(0, count, lambda i, totals: merge(task, totals, of_batch(jnp.int32(i))), zeros)
    if adds and rest:
        totals = merge(task, totals, totals_of(jnp.int32(size - rest), rest, size - rest))
    return totals


@partial(jax.jit, static_argnums=(0, 4))
def predict_in_batches(task: Task, params: Params, state: State, x: PyTree, batch_size: int) -> PyTree:
    """The model's outputs for all examples; the last batch reaches back over rows already computed."""
    size = jax.tree.leaves(x)[0].shape[0]
    whole, rest = divmod(size, batch_size)

    def body(_: None, i: Array) -> tuple[None, PyTree]:
        start = jnp.minimum(i * batch_size, size - batch_size)
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, batch_size), x)
        return None, task.model.apply(params, state, part)[0]

    _, parts = jax.lax.scan(body, None, jnp.arange(whole + (rest > 0), dtype=jnp.int32))

    def join(a: Array) -> Array:
        full = a[:whole].reshape(whole * batch_size, *a.shape[2:])
        return jnp.concatenate([full, a[whole, batch_size - rest :]]) if rest else full

    return jax.tree.map(join, parts)
