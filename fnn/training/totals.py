"""Totals of loss and metrics, gathered over batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from .._core.errors import describe, fail, located, shape_text
from .._core.types import Array, Params, PyTree, Scalar, State
from ..losses.weighting import weighted_sum
from ..metrics.names import reads_scores
from ..nn.added_loss import added_losses
from ..nn.masks import Masked, kept, sequence_of
from .batch import Batch, along_rows, rows_of
from .forward import Outputs, forward
from .outputs import OutputLoss
from .state import TrainState
from .task import Task

Totals = dict[str, PyTree]
Logs = dict[str, Array]
PENALTY = "penalty"  # in totals with losses by output


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


def losses_of(task: Task, scores: PyTree, y: PyTree) -> Array:
    """The loss of each example, (batch,), from `Outputs.scores`; of each step (batch, time) for a `Masked` output.

    Masked steps have the loss 0.
    With losses by output it is their weighted sum, (batch,), in which the steps of an example are added up.
    """
    if not task.outputs[0].path:
        return _losses_of(task.outputs[0], scores, y)
    each = [_times(part.weight, _losses_of(part, scores, y)) for part in task.outputs]
    first, *others = (losses.reshape(losses.shape[0], -1).sum(1) for losses in each)
    return sum(others, start=first)


def _losses_of(part: OutputLoss, scores: PyTree, y: PyTree) -> Array:
    scores = part.of("predictions", scores)
    flat, targets, _, valid = flatten_time_steps(scores, part.of("targets", y))
    losses = part.loss(flat, targets)
    if not isinstance(scores, Masked) or valid is None:
        return losses
    return jnp.where(valid, losses, jnp.zeros_like(losses)).reshape(scores.mask.shape)


def measure(
    task: Task, outputs: Outputs, batch: Batch, valid: Array | None = None, penalties: Sequence[Array] = ()
) -> tuple[Array, Totals]:
    """The loss of a batch, and the totals of loss and metrics that are merged over batches.

    ``valid`` (batch,) is False for padding rows.
    """
    if not task.outputs[0].path:
        return _measure(task.outputs[0], outputs, batch, valid, penalties)
    totals: Totals = {}
    losses = []
    for part in task.outputs:
        loss, own = _measure(part, outputs, batch, valid)
        losses.append(_times(part.weight, loss))
        totals |= {part.key(name): total for name, total in own.items()}
    loss = sum(losses[1:], start=losses[0])
    added = sum((penalty.astype(loss.dtype) for penalty in penalties), start=jnp.zeros((), loss.dtype))
    rows = jnp.asarray(rows_of(batch), loss.dtype) if valid is None else jnp.sum(valid, dtype=loss.dtype)
    return loss + added, {**totals, PENALTY: (added * rows, rows)}


def _times(weight: Scalar, loss: Array) -> Array:
    return loss * jnp.asarray(weight, loss.dtype)


def _measure(
    part: OutputLoss, outputs: Outputs, batch: Batch, valid: Array | None, penalties: Sequence[Array] = ()
) -> tuple[Array, Totals]:
    """The loss of one output, and its totals."""
    with located(part.where):
        predictions, scores = (part.of("predictions", tree) for tree in outputs)
        masked, same, y = isinstance(scores, Masked), predictions is scores, part.of("targets", batch.y)
        if not same:
            predictions = flatten_time_steps(predictions, y)[0]
        scores, y, weight, valid = flatten_time_steps(scores, y, part.weight_of(batch.weight), valid)
        if weight is not None:
            scores = _stop_zero_weight_gradients(scores, weight)
        values = part.loss(scores, y)
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
    for metric in part.metrics:
        with located(f"metric {metric.name!r}"):
            read = scores if same or reads_scores(metric) else predictions
            totals[metric.name] = metric.measure(read, y, weights)
    return loss, totals


def merge(task: Task, a: Totals, b: Totals) -> Totals:
    """The totals of two parts of the data together."""
    merges = {part.key(metric.name): metric.merge for part in task.outputs for metric in part.metrics}
    add = partial(jax.tree.map, jnp.add)
    return {name: merges.get(name, add)(a[name], b[name]) for name in a}


def results(task: Task, totals: Totals) -> Logs:
    """The values of loss and metrics from totals; with losses by output, also those of each."""
    logs: Logs = {}
    for part in task.outputs:
        loss, count = totals[part.key("loss")]
        logs[part.key("loss")] = loss / count
        for metric in part.metrics:
            logs[part.key(metric.name)] = metric.result(totals[part.key(metric.name)])
    if not task.outputs[0].path:
        return logs
    losses = [_times(part.weight, logs[part.key("loss")]) for part in task.outputs]
    added, rows = totals[PENALTY]
    return {"loss": sum(losses, start=added / rows), **logs}


def loss_totals(task: Task, totals: Totals) -> list[PyTree]:
    """The totals from which the loss is computed."""
    every = [totals[part.key("loss")] for part in task.outputs]
    return [*every, totals[PENALTY]] if task.outputs[0].path else every


def penalties_of(task: Task, params: Params, state: State = None) -> list[Array]:
    """The terms that the task's penalty and the layers add to the loss."""
    return [*(jnp.asarray(penalty(params)) for penalty in task.penalties), *added_losses(state)]


def total_shapes(task: Task, ts: TrainState, batch: Batch) -> Totals:
    """Shapes and dtypes of the totals of a batch."""

    def totals(ts: TrainState, batch: Batch) -> Totals:
        return measure(task, forward(task, ts.params, ts.state, batch.x)[0], batch)[1]

    return jax.eval_shape(totals, ts, batch)
