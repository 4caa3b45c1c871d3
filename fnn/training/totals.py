"""Totals of loss and metrics, gathered over batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from .._core.dtypes import is_float
from .._core.errors import describe, fail, located, shape_text
from .._core.types import Array, PyTree
from ..losses.weighting import weighted_sum
from ..metrics.names import reads_scores
from ..nn.added_loss import added_losses
from ..nn.masks import Masked, kept, sequence_of
from .batch import Batch, along_rows, rows_of
from .forward import ModelOutputs, forward
from .outputs import OutputLoss
from .state import TrainState
from .task import Task

Totals = dict[str, PyTree]
"""By key of the logs. With losses by output "loss" holds what penalties and layers add; else the one loss too."""
Logs = dict[str, Array]

ONE_OUTPUT_HINT = "With return_sequences=False in the last recurrent layer there is one output for each example."
"""Advice for a model with an output at each step where each example needs one."""


def _stop_gradients(predictions: PyTree, counts: Array | bool) -> PyTree:
    """The same predictions; rows that do not count, or all for False, pass no gradient, not even NaN."""
    if isinstance(counts, bool):
        return predictions if counts else jax.lax.stop_gradient(predictions)

    def selected(p: PyTree) -> PyTree:
        if p.shape[: counts.ndim] != counts.shape or not is_float(p):
            return p
        return jnp.where(along_rows(counts, p) if counts.ndim else counts, p, jax.lax.stop_gradient(p))

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
            expected = f"targets of shape {shape_text((*shape, '...'))}, for each step of the masked output"
            fail("targets", expected=expected, got=describe(a), hint=ONE_OUTPUT_HINT)
        return kept(mask, a).reshape(mask.size, *a.shape[len(shape) :])

    def spread(a: PyTree) -> Array:
        if tuple(a.shape) not in (shape[:1], shape):
            expected = f"sample weights of shape {shape_text(shape[:1])} or {shape_text(shape)}"
            fail("loss", expected=expected, got=describe(a))
        return jnp.broadcast_to(jnp.reshape(a, a.shape + (1,) * (len(shape) - a.ndim)), shape)

    counts = mask if valid is None else mask & spread(valid)
    weight = None if weight is None else spread(weight).reshape(-1)
    return flat(values), jax.tree.map(flat, y), weight, counts.reshape(-1)


def losses_of(task: Task, scores: PyTree, batch: Batch) -> Array:
    """The loss of each example, (batch,), from `ModelOutputs.scores`; of each step (batch, time) for a `Masked`.

    With several losses it is their weighted sum, (batch,), in which the steps of an example are added up. Steps and
    targets that do not count, by mask or weight 0, have the loss 0.
    """
    first, *others = (_times(part, _losses_of(part, scores, batch)) for part in task.parts)
    if not others:
        return first
    first, *others = (losses.reshape(losses.shape[0], -1).sum(1) for losses in (first, *others))
    return sum(others, start=first)


def _losses_of(part: OutputLoss, scores: PyTree, batch: Batch) -> Array:
    scores, y = part.of("predictions", scores), part.of("targets", batch.y)
    flat, targets, weight, counts = flatten_time_steps(scores, y, part.weight_of(batch.weight))
    losses = part.checked(part.loss(flat, targets))
    for rows in (counts, None if weight is None else weight != 0):
        losses = losses if rows is None else jnp.where(rows, losses, jnp.zeros_like(losses))
    return losses.reshape(scores.mask.shape) if isinstance(scores, Masked) else losses


def measure(
    task: Task, outputs: ModelOutputs, batch: Batch, valid: Array | None = None, penalties: Sequence[Array] = ()
) -> tuple[Array, Totals]:
    """The loss of a batch, and the totals of loss and metrics that are merged over batches.

    ``valid`` (batch,) is False for padding rows.
    """
    totals: Totals = {}
    losses = []
    for part in task.parts:
        loss, own = _measure(part, outputs, batch, valid)
        losses.append(_times(part, loss))
        totals |= {part.key(name): total for name, total in own.items()}
    loss = sum(losses[1:], start=losses[0])
    added = [penalty.astype(loss.dtype) for penalty in penalties]
    rows = jnp.asarray(rows_of(batch), loss.dtype) if valid is None else jnp.sum(valid, dtype=loss.dtype)
    total, count = totals.get("loss", (jnp.zeros_like(loss), rows))
    if added:  # once per example, so that the mean over an epoch includes them once
        total = sum(added, start=_mean(total, count)) * count
    return sum(added, start=loss), {**totals, "loss": (total, count)}


def _times(part: OutputLoss, loss: Array) -> Array:
    """A loss times its weight; 0 for the weight 0, whatever the loss, and with derivatives of 0."""
    if part.counts is not True:
        loss = jnp.where(part.counts, loss, jnp.zeros_like(loss))
    return loss * jnp.asarray(part.weight, loss.dtype)


def _mean(total: Array, count: Array) -> Array:
    """The mean over examples; 0 over none, as where the mask of an output keeps no step."""
    return total / jnp.maximum(count, jnp.ones_like(count))


def _measure(part: OutputLoss, outputs: ModelOutputs, batch: Batch, valid: Array | None) -> tuple[Array, Totals]:
    """The loss of one output, and its totals."""
    with located(part.where):
        (predictions, scores), y = outputs.of(part), part.of("targets", batch.y)
        same = predictions is scores
        if not same:
            predictions = flatten_time_steps(predictions, y)[0]
        scores, y, weight, valid = flatten_time_steps(scores, y, part.weight_of(batch.weight), valid)
        scores = _stop_gradients(scores, part.counts if weight is None else (weight != 0) & part.counts)
        values = part.loss(scores, y)
    total, count = weighted_sum(part.checked(values), weight, valid)
    weights = jnp.ones(values.shape, total.dtype) if weight is None else weight.astype(total.dtype)
    if valid is not None:
        weights = jnp.where(valid, weights, jnp.zeros_like(weights))
    totals: Totals = {"loss": (total, count)}
    for metric in part.metrics:
        with located(f"metric {metric.name!r}"):
            read = scores if same or reads_scores(metric) else predictions
            totals[metric.name] = metric.measure(read, y, weights)
    return _mean(total, count), totals


def merge(task: Task, a: Totals, b: Totals) -> Totals:
    """The totals of two parts of the data together."""
    merges = {part.key(metric.name): metric.merge for part in task.parts for metric in part.metrics}
    add = partial(jax.tree.map, jnp.add)
    return {name: merges.get(name, add)(a[name], b[name]) for name in a}


def results(task: Task, totals: Totals) -> Logs:
    """The values of loss and metrics from totals; with losses by output, also those of each."""
    logs: Logs = {"loss": _mean(*totals["loss"])}
    for part in task.parts:
        logs[part.key("loss")] = _mean(*totals[part.key("loss")])
        for metric in part.metrics:
            logs[part.key(metric.name)] = metric.result(totals[part.key(metric.name)])
    each = [_times(part, logs[part.key("loss")]) for part in task.parts if part.path]
    return {**logs, "loss": sum(each, start=logs["loss"])}


def log_names(task: Task) -> list[str]:
    """The keys of `results`, in order: the loss, then for each output its loss and metrics, as the task has them."""
    own = [part.key(name) for part in task.parts for name in ("loss", *(metric.name for metric in part.metrics))]
    return list(dict.fromkeys(["loss", *own]))


def loss_totals(task: Task, totals: Totals) -> list[PyTree]:
    """The totals from which the loss is computed."""
    return [totals["loss"], *(totals[part.key("loss")] for part in task.parts if part.counts)]


def penalties_of(task: Task, params: PyTree, state: PyTree = None) -> list[Array]:
    """The terms that the task's penalty and the layers add to the loss."""
    return [*(jnp.asarray(penalty(params)) for penalty in task.penalties), *added_losses(state)]


def total_shapes(task: Task, ts: TrainState, batch: Batch) -> Totals:
    """Shapes and dtypes of the totals of a batch."""

    def totals(ts: TrainState, batch: Batch) -> Totals:
        return measure(task, forward(task, ts.params, ts.state, batch.x)[0], batch)[1]

    shapes: Totals = jax.eval_shape(totals, ts, batch)
    return shapes
