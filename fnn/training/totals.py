"""Totals of loss and metrics, gathered over batches."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from .._core.errors import describe, fail, located, shape_text
from .._core.types import Array, Params, PyTree, State
from ..losses.weighting import weighted_sum
from ..nn.added_loss import added_losses
from ..nn.masks import Masked, kept, sequence_of
from .batch import Batch, along_rows
from .state import TrainState
from .task import Task

Totals = dict[str, PyTree]
Logs = dict[str, Array]


def _stop_zero_weight_gradients(predictions: PyTree, weight: Array) -> PyTree:
    """The same predictions; rows of weight 0 pass no gradient, not even NaN."""
    counts = weight != 0

    def selected(p: PyTree) -> PyTree:
        if p.shape[:1] != counts.shape or not jnp.issubdtype(p.dtype, jnp.inexact):
            return p
        return jnp.where(along_rows(counts, p), p, jax.lax.stop_gradient(p))

    return jax.tree.map(selected, predictions)


def flatten_time_steps(
    predictions: PyTree, y: PyTree, weight: Array | None = None, valid: Array | None = None
) -> tuple[PyTree, PyTree, Array | None, Array | None]:
    """Predictions, targets, weights and valid rows, with each step of a `Masked` output as an example.

    Steps that the mask leaves out are not valid. Their predictions and targets become zeros, so that neither a loss
    nor its gradient depends on their values. Other predictions are returned as they are.
    """
    if isinstance(y, Masked):
        hint = "The mask of the model's output decides which steps count: pass y.x."
        fail("targets", expected="an array", got=repr(y), hint=hint)
    if not isinstance(predictions, Masked):
        return predictions, y, weight, valid
    values, mask = sequence_of("model output", predictions)
    shape = tuple(mask.shape)

    def flat(a: PyTree) -> Array:
        if tuple(a.shape[: len(shape)]) != shape:
            hint = "With return_sequences=False in the last recurrent layer there is one output for each example."
            expected = f"targets of shape {shape_text((*shape, '...'))}, for each step of the masked output"
            fail("targets", expected=expected, got=describe(a), hint=hint)
        return kept(mask, a).reshape(mask.size, *a.shape[len(shape) :])

    def spread(a: PyTree) -> Array:
        if tuple(a.shape) not in (shape[:1], shape):
            expected = f"sample weights of shape {shape_text(shape[:1])} or {shape_text(shape)}"
            fail("loss", expected=expected, got=describe(a))
        return jnp.broadcast_to(jnp.reshape(a, a.shape + (1,) * (len(shape) - a.ndim)), shape)

    counts = mask if valid is None else mask & spread(valid)
    weight = None if weight is None else spread(weight).reshape(-1)
    return flat(values), jax.tree.map(flat, y), weight, counts.reshape(-1)


def losses_of(task: Task, predictions: PyTree, y: PyTree) -> Array:
    """The loss of each example, (batch,); for a `Masked` output of each step, (batch, time), 0 where masked."""
    flat, targets, _, valid = flatten_time_steps(predictions, y)
    losses = task.loss(flat, targets)
    if not isinstance(predictions, Masked) or valid is None:
        return losses
    return jnp.where(valid, losses, jnp.zeros_like(losses)).reshape(predictions.mask.shape)


def measure(
    task: Task, predictions: PyTree, batch: Batch, valid: Array | None = None, penalties: Sequence[Array] = ()
) -> tuple[Array, Totals]:
    """The loss of a batch, and the totals of loss and metrics that are merged over batches.

    ``valid`` (batch,) is False for padding rows.
    """
    masked = isinstance(predictions, Masked)
    with located("loss"):
        predictions, y, weight, valid = flatten_time_steps(predictions, batch.y, batch.weight, valid)
        if weight is not None:
            predictions = _stop_zero_weight_gradients(predictions, weight)
        values = task.loss(predictions, y)
        total, count = weighted_sum(values, weight, valid)
    # With a masked output a whole batch may be padding.
    loss = total / (jnp.maximum(count, jnp.ones_like(count)) if masked else count)
    for penalty in penalties:
        loss = loss + penalty.astype(total.dtype)
    weights = jnp.ones(values.shape, total.dtype) if weight is None else weight.astype(total.dtype)
    if valid is not None:
        weights = jnp.where(valid, weights, jnp.zeros_like(weights))
    # A penalty counts once per example, so that the mean over an epoch includes it once.
    totals: Totals = {"loss": (loss * count if penalties else total, count)}
    for metric in task.metrics:
        with located(f"metric {metric.name!r}"):
            totals[metric.name] = metric.measure(predictions, y, weights)
    return loss, totals


def merge(task: Task, a: Totals, b: Totals) -> Totals:
    """The totals of two parts of the data together."""
    out: Totals = {"loss": jax.tree.map(jnp.add, a["loss"], b["loss"])}
    for metric in task.metrics:
        out[metric.name] = metric.merge(a[metric.name], b[metric.name])
    return out


def results(task: Task, totals: Totals) -> Logs:
    """The values of loss and metrics from totals."""
    loss, count = totals["loss"]
    return {"loss": loss / count, **{metric.name: metric.result(totals[metric.name]) for metric in task.metrics}}


def penalties_of(task: Task, params: Params, state: State = None) -> list[Array]:
    """The terms that the task's penalty and the layers add to the loss."""
    own = [] if task.penalty is None else [jnp.asarray(task.penalty(params))]
    return [*own, *added_losses(state)]


def total_shapes(task: Task, ts: TrainState, batch: Batch) -> Totals:
    """Shapes and dtypes of the totals of a batch."""

    def forward(ts: TrainState, batch: Batch) -> Totals:
        predictions, _ = task.model.apply(ts.params, ts.state, batch.x)
        return measure(task, predictions, batch)[1]

    return jax.eval_shape(forward, ts, batch)
