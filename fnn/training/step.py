"""One training step and one epoch, as pure functions.

`train_step` and `train_epoch` are compiled with `jax.jit`, the task and the sizes being static; they can be wrapped in
`jit`, `vmap` and `grad` like any pure function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_count, check_key, describe, fail, located, shape_text
from .._inputs import converting
from .._random import permutation
from .._tree import compiled
from ..losses import is_known, weighted_sum
from ..nn.activity import added_losses
from ..nn.layer import Layer
from ..nn.masks import Masked, kept, sequence_of
from ..optimizers.rules import apply_updates
from .state import Task, TrainState, check_task

Array = jax.Array
Batch = tuple[Any, ...]  # (x, y) or (x, y, sample_weight)
Totals = dict[str, Any]
Logs = dict[str, Any]

_ORDER = 0xFFFFFFFF  # folded in for the order of an epoch; steps count from 0 and never reach it


def unpack(batch: Any) -> tuple[Any, Any, Any]:
    """``(x, y, sample_weight or None)`` of a batch or a data set."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        hint = "Pass the tuple (x, y) or (x, y, sample_weight); a list is read as a list of batches."
        got = f"{len(batch)} items" if isinstance(batch, (tuple, list)) else describe(batch)
        fail("data", expected="a pair or a triple", got=got, hint=hint)
    x, y, *weight = batch
    if (
        weight
        and getattr(weight[0], "ndim", 0) == 2
        and weight[0].shape[1] == 1
        and getattr(y, "shape", ())[1:2] != (1,)
    ):
        hint = "Write sample_weight[:, 0]."
        fail("sample_weight", expected="weights of shape (batch,)", got=describe(weight[0]), hint=hint)
    return x, y, weight[0] if weight else None


def size_of(data: Any) -> int:
    """The number of examples; all arrays must have it as their first axis.

    Raises:
      InputError: when lengths differ or there is no example.
    """
    leaves = jax.tree_util.tree_leaves_with_path(data)
    sizes = {}
    for path, leaf in leaves:
        if not getattr(leaf, "shape", ()):
            hint = "A list is read as a list of batches; pass the tuple (x, y)."
            fail("data", expected="arrays with the examples along their first axis", got=describe(leaf), hint=hint)
        sizes[jax.tree_util.keystr(path)] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        names = {"[0]": "x", "[1]": "y", "[2]": "sample_weight"}
        named = {names[path[:3]] + path[3:] if path[:3] in names else path.lstrip("."): n for path, n in sizes.items()}
        got = ", ".join(f"{name}: {size}" for name, size in named.items())
        fail("data", expected="arrays of the same length", got=got)
    if not sizes or 0 in sizes.values():
        fail("data", expected="at least one example", got="none")
    return next(iter(sizes.values()))


def take(data: Any, rows: Array) -> Any:
    """Rows of every array, by numbers known to be in range."""
    return jax.tree.map(lambda a: a.at[rows].get(mode="promise_in_bounds"), data)


def _along(rows: Array, a: Any) -> Array:
    """A value for each row, (batch,), in a shape that broadcasts against ``a``."""
    return rows.reshape(-1, *(1,) * (a.ndim - 1))


def counted(model: Layer, batch: Batch) -> tuple[Any, Any, Any]:
    """``(x, y, sample_weight or None)``, in which an example of weight 0 does no harm, whatever its values.

    Such an example is replaced by the first one that counts. A product with its zero gradient would be NaN where the
    model makes an infinity of it. Where other rows matter to a row, as in BatchNorm, the model sees every example that
    is finite. If none counts, zeros stand in, which every id and every product allows; masks stay.
    """
    x, y, weight = unpack(batch)
    if weight is None or weight.ndim == 0:  # a single number is refused where weights are applied
        return x, y, weight
    # Of weights by step an example counts if any of its steps does.
    counts = (jnp.asarray(weight) != 0).reshape(weight.shape[0], -1).any(1)
    replaced = ~counts
    if not model.per_example:
        floats = [leaf for leaf in jax.tree.leaves((x, y)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        finite = [jnp.isfinite(leaf).all(tuple(range(1, leaf.ndim))) for leaf in floats]
        replaced &= ~jnp.stack(finite).all(0) if finite else jnp.zeros_like(replaced)
    first, found = jnp.argmax(counts), counts.any()

    def cleaned(a: Any) -> Array:
        a = jnp.asarray(a)
        one = jax.lax.stop_gradient(a.at[first].get(mode="promise_in_bounds"))
        if jnp.issubdtype(a.dtype, jnp.number):
            one = jnp.where(found, one, jnp.zeros_like(one))
        return jnp.where(_along(replaced, a), one, a)

    x, y = jax.tree.map(cleaned, (x, y))
    return x, y, weight


def _without_gradient_of_uncounted(predictions: Any, weight: Array) -> Any:
    """The same predictions, of which rows of weight 0 pass no gradient, not even NaN."""
    counts = weight != 0

    def selected(p: Any) -> Any:
        if p.shape[:1] != counts.shape or not jnp.issubdtype(p.dtype, jnp.inexact):
            return p
        return jnp.where(_along(counts, p), p, jax.lax.stop_gradient(p))

    return jax.tree.map(selected, predictions)


def each_step(predictions: Any, y: Any, weight: Any = None, valid: Any = None) -> tuple[Any, Any, Any, Any]:
    """Predictions, targets, weights and valid rows, in which each step of a `Masked` output is an example.

    Steps that the mask leaves out are not valid. Zeros stand in their predictions and targets, so that neither a loss
    nor its gradient depends on what they hold. Other predictions come back as they are.
    """
    if isinstance(y, Masked):
        hint = "The mask of the model's output decides which steps count: pass y.x."
        fail("targets", expected="an array", got=repr(y), hint=hint)
    if not isinstance(predictions, Masked):
        return predictions, y, weight, valid
    values, mask = sequence_of("model output", predictions)
    shape = tuple(mask.shape)

    def flat(a: Any) -> Array:
        if tuple(a.shape[: len(shape)]) != shape:
            hint = "With return_sequences=False in the last recurrent layer there is one output for each example."
            expected = f"targets of shape {shape_text((*shape, '...'))}, for each step of the masked output"
            fail("targets", expected=expected, got=describe(a), hint=hint)
        return kept(mask, a).reshape(mask.size, *a.shape[len(shape) :])

    def spread(a: Any) -> Array:
        if tuple(a.shape) not in (shape[:1], shape):
            expected = f"sample weights of shape {shape_text(shape[:1])} or {shape_text(shape)}"
            fail("loss", expected=expected, got=describe(a))
        return jnp.broadcast_to(jnp.reshape(a, a.shape + (1,) * (len(shape) - a.ndim)), shape)

    counts = mask if valid is None else mask & spread(valid)
    weight = None if weight is None else spread(weight).reshape(-1)
    return flat(values), jax.tree.map(flat, y), weight, counts.reshape(-1)


def losses_of(task: Task, predictions: Any, y: Any) -> Array:
    """The loss of each example, (batch,); of a `Masked` output that of each step, (batch, time), 0 where masked."""
    flat, targets, _, valid = each_step(predictions, y)
    losses = task.loss(flat, targets)
    if not isinstance(predictions, Masked):
        return losses
    return jnp.where(valid, losses, jnp.zeros_like(losses)).reshape(predictions.mask.shape)


def measure(
    task: Task, predictions: Any, y: Any, weight: Any, valid: Any, penalties: Sequence[Any] = ()
) -> tuple[Array, Totals]:
    """The loss of a batch, and the totals of loss and metrics that are merged over batches."""
    masked = isinstance(predictions, Masked)
    with located("loss"):
        predictions, y, weight, valid = each_step(predictions, y, weight, valid)
        if weight is not None:
            predictions = _without_gradient_of_uncounted(predictions, weight)
        values = task.loss(predictions, y)
        total, count = weighted_sum(values, weight, valid)
    # Of a masked output a whole batch may be padding.
    loss = total / (jnp.maximum(count, jnp.ones_like(count)) if masked else count)
    for penalty in penalties:
        loss = loss + penalty.astype(total.dtype)
    weights = jnp.ones(values.shape, total.dtype) if weight is None else weight.astype(total.dtype)
    if valid is not None:
        weights = jnp.where(valid, weights, jnp.zeros_like(weights))
    totals: Totals = {"loss": (loss * count if penalties else total, count)}
    for metric in task.metrics:
        with located(f"metric {metric.name!r}"):
            totals[metric.name] = metric.measure(predictions, y, weights)
    return loss, totals


def merge(task: Task, a: Totals, b: Totals) -> Totals:
    """Totals of two parts of the data as totals of both."""
    out: Totals = {"loss": jax.tree.map(jnp.add, a["loss"], b["loss"])}
    for metric in task.metrics:
        out[metric.name] = metric.merge(a[metric.name], b[metric.name])
    return out


def results(task: Task, totals: Totals) -> Logs:
    """The values of loss and metrics from totals."""
    loss, count = totals["loss"]
    return {"loss": loss / count, **{metric.name: metric.result(totals[metric.name]) for metric in task.metrics}}


def penalty_of(task: Task, params: Any) -> list[Array]:
    """The task's penalty as a list, empty without one."""
    return [] if task.penalty is None else [jnp.asarray(task.penalty(params))]


def total_shapes(task: Task, ts: TrainState, batch: Batch) -> Totals:
    """Shapes and dtypes of the totals of a batch."""

    def forward(ts: TrainState, batch: Batch) -> Totals:
        x, y, weight = unpack(batch)
        predictions, _ = task.model.apply(ts.params, ts.state, x)
        return measure(task, predictions, y, weight, None)[1]

    shapes: Totals = jax.eval_shape(forward, ts, batch)
    return shapes


def gradients(task: Task, ts: TrainState, batch: Batch, valid: Array | None = None) -> tuple[Any, Any, Totals]:
    """Gradients of the batch loss over the rows that are valid, with the new layer state and the totals."""
    x, y, weight = counted(task.model, batch)
    key = jax.random.fold_in(ts.key, ts.step)

    def loss_fn(params: Any) -> tuple[Array, tuple[Any, Totals]]:
        predictions, state = task.model.apply(params, ts.state, x, key=key, train=True)
        penalties = [*penalty_of(task, params), *added_losses(state)]
        loss, totals = measure(task, predictions, y, weight, valid, penalties)
        return loss, (state, totals)

    grads, (state, totals) = jax.grad(loss_fn, has_aux=True)(ts.params)
    return grads, state, totals


def after_all(grads: Any) -> Any:
    """The same gradients, each made to depend on all of them.

    Then no parameter is updated before the last product that reads it, and XLA updates it in place, where it would copy
    each matrix first: within a loop it orders operations by what depends on what alone. An optimization barrier is
    dropped too early to help. The condition is never true, which no simplification can know.
    """
    leaves = [g for g in jax.tree.leaves(grads) if g.size]
    never = sum(jnp.abs(g.ravel()[0]).astype(jnp.float32) for g in leaves) < -jnp.inf
    return jax.tree.map(lambda g: jnp.where(never, jnp.zeros_like(g), g), grads)


def step_and_totals(task: Task, ts: TrainState, batch: Batch, valid: Array | None = None) -> tuple[TrainState, Totals]:
    """One update on one batch: the single training step on which everything else is built."""
    grads, state, totals = gradients(task, ts, batch, valid)
    updates, opt_state = task.optimizer.update(after_all(grads), ts.opt_state, ts.params)
    params = apply_updates(ts.params, updates)
    if task.constraint is not None:
        params = task.constraint(params)
    return TrainState(params, state, opt_state, ts.key, ts.step + 1), totals


@converting("batch")
@compiled
@partial(jax.jit, static_argnums=0)
def train_step(task: Task, ts: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    """One update of all parameters on one batch.

    Args:
      task: the `Task`.
      ts: the `TrainState` before.
      batch: ``(x, y)`` or ``(x, y, sample_weight)``, each with the batch as first axis.

    Returns:
      ``(ts, logs)``: the new state, and the batch's loss and metrics by name, taken before the update.

    Raises:
      InputError: for shapes that do not fit, with the layer's name and position.

    The loss is ``sum_i w_i l_i / batch``, where each step that the mask of a `Masked` output keeps is an example
    (plus the task's penalty and what layers add, see `AddedLoss`), and the dropout of step i draws from
    ``fold_in(ts.key, i)``. The function is pure; to give up the old state's memory, wrap it in ``jax.jit(...,
    donate_argnums=...)``.
    """
    check_task(task, ts)
    size_of(batch)
    ts, totals = step_and_totals(task, ts, batch)
    return ts, results(task, totals)


@partial(jax.jit, static_argnames=("size", "shuffle"))
def epoch_order(ts: TrainState, size: int, shuffle: bool = True, order_key: Array | None = None) -> Array:
    """The order in which an epoch that starts at ``ts`` visits the rows.

    Args:
      ts: the `TrainState` before the epoch, of which key and step count.
      size: the number of rows.
      shuffle: whether they are permuted; default True.
      order_key: a key that gives the order, in the place of the state; see `train_epoch`.

    Returns:
      (size,) int32; step ``i`` of the epoch trains on ``order[i * batch_size : (i + 1) * batch_size]``.
    """
    if order_key is not None:
        check_key("order_key", order_key)
        if not shuffle:
            fail("order_key", expected="shuffle=True with a key for the order", got="shuffle=False")
    if not shuffle:
        return jnp.arange(size, dtype=jnp.int32)
    if order_key is None:
        order_key = jax.random.fold_in(jax.random.fold_in(ts.key, jnp.uint32(_ORDER)), ts.step)
    return permutation(order_key, size)


def fills_up(task: Task) -> bool:
    """Whether a smaller batch may be filled up with rows that then do not count."""
    return task.model.per_example and is_known(task.loss)


def filled_up(order: Array, batch_size: int) -> Array:
    """An order up to a whole number of batches, with rows that are in it already."""
    return jnp.concatenate([order, jnp.broadcast_to(order[:1], (-len(order) % batch_size,))])


def steps(
    task: Task,
    ts: TrainState,
    totals: Totals,
    data: Any,
    order: Array,
    first: Any,
    count: Any,
    batch_size: int,
    size: Any = None,
    remat: bool = False,
) -> tuple[TrainState, Totals]:
    """``count`` steps on batches of ``order`` from row ``first``; with a Python ``count`` it can be differentiated.

    From number ``size`` on, the rows of the order only fill up the last batch. For ``remat`` see `run`.
    """

    def body(i: Any, carry: tuple[TrainState, Totals]) -> tuple[TrainState, Totals]:
        ts, totals = carry
        start = first + i * batch_size
        rows = jax.lax.dynamic_slice_in_dim(order, start, batch_size)
        valid = None if size is None else start + jnp.arange(batch_size, dtype=jnp.int32) < size
        ts, batch_totals = step_and_totals(task, ts, take(data, rows), valid)
        return ts, merge(task, totals, batch_totals)

    if remat:
        numbers = jnp.arange(count, dtype=jnp.int32)
        return in_segments(lambda carry, i: (body(i, carry), None), (ts, totals), numbers)[0]
    return jax.lax.fori_loop(0, count, body, (ts, totals))


def again(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of which a derivative keeps the arguments alone, to compute the rest again."""
    return jax.checkpoint(fn, prevent_cse=False)  # inside of loops, over which nothing is merged anyway


def in_segments(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Array) -> tuple[Any, Any]:
    """``jax.lax.scan(body, carry, xs)``, of which a derivative keeps about ``2 sqrt(len(xs))`` carries.

    Those between segments are kept, and those within a segment while its derivative is taken (Griewank 1992, with one
    level; Chen et al. 2016, arXiv:1604.06174). What a round computes on the way is computed again.
    """
    count = len(xs)
    length = math.isqrt(count - 1) + 1
    body = again(body)
    if length < 3:
        return jax.lax.scan(body, carry, xs)
    whole, rest = divmod(count, length)

    def segment(carry: Any, xs: Array) -> tuple[Any, Any]:
        return jax.lax.scan(body, carry, xs)

    carry, ys = jax.lax.scan(again(segment), carry, xs[: whole * length].reshape(whole, length))
    ys = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), ys)
    if rest:
        carry, last = again(segment)(carry, xs[whole * length :])
        ys = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, last)
    return carry, ys


def epoch(
    task: Task,
    ts: TrainState,
    data: Any,
    batch_size: int,
    shuffle: bool,
    drop_remainder: bool,
    order_key: Any,
    remat: bool = False,
) -> tuple[TrainState, Totals]:
    """All batches of an epoch, the last, smaller one included unless dropped."""
    size = size_of(data)
    order = epoch_order(ts, size, shuffle, order_key)
    whole, rest = divmod(size, batch_size)
    shapes = total_shapes(task, ts, jax.tree.map(lambda a: a[:1], data))
    totals = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    if whole and rest and not drop_remainder and fills_up(task):
        return steps(task, ts, totals, data, filled_up(order, batch_size), 0, whole + 1, batch_size, size, remat)
    if whole:
        ts, totals = steps(task, ts, totals, data, order, 0, whole, batch_size, None, remat)
    if rest and not drop_remainder:
        ts, last = step_and_totals(task, ts, take(data, order[whole * batch_size :]))
        totals = merge(task, totals, last)
    return ts, totals


def check_sizes(size: int, batch_size: Any, drop_remainder: bool) -> None:
    """Refuse a batch size below 1, or one that leaves nothing to train on."""
    check_count("data", "batch_size", batch_size)
    if drop_remainder and batch_size > size:
        hint = "Use a smaller batch_size, or drop_remainder=False."
        fail(
            "data",
            expected="at least one full batch with drop_remainder",
            got=f"{size} examples in batches of {batch_size}",
            hint=hint,
        )


@converting("data")
@compiled
@partial(jax.jit, static_argnums=0, static_argnames=("batch_size", "shuffle", "drop_remainder"))
def train_epoch(
    task: Task,
    ts: TrainState,
    data: Any,
    *,
    batch_size: int = 32,
    shuffle: bool = True,
    drop_remainder: bool = False,
    order_key: Array | None = None,
) -> tuple[TrainState, Logs]:
    """One pass over the data, as one compiled program.

    Args:
      task: the `Task`.
      ts: the `TrainState` before.
      data: ``(x, y)`` or ``(x, y, sample_weight)``, arrays (or dicts and tuples of arrays) with the examples along
        their first axis. Put them on the device once with `jax.device_put` when calling repeatedly.
      batch_size: examples per step; default 32. The last batch may be smaller.
      shuffle: whether to visit the rows in an order drawn from ``ts.key`` and ``ts.step``; default True.
      drop_remainder: whether to leave out the last, smaller batch; default False.
      order_key: a key that gives the order; by default it follows from ``ts.key`` and ``ts.step``. Networks that train
        together under `many` or `jax.vmap` with one order key visit the rows in the same order: each batch is then
        read once for all of them, which makes small networks about twice as fast. Pass another key for each epoch.

    Returns:
      ``(ts, logs)``: the new state, and loss and metrics over the epoch as they were met, each batch before its update.

    Raises:
      InputError: for a batch size below 1, empty data, lengths that differ, or shapes that do not fit the model.
        Values (labels outside the classes, NaN) are seen only by `fit` and `evaluate`.
    """
    check_task(task, ts)
    check_sizes(size_of(data), batch_size, drop_remainder)
    ts, totals = epoch(task, ts, data, batch_size, shuffle, drop_remainder, order_key)
    return ts, results(task, totals)


def measure_all(task: Task, params: Any, state: Any, data: Any, batch_size: int, remat: bool = False) -> Totals:
    """Totals of loss and metrics over a data set, without training.

    The last batch reaches back over rows already seen, which then do not count, so that one shape serves all. Only
    where a layer adds to the loss, which knows nothing of rows that do not count, it is a batch of its own shape.
    """
    size = size_of(data)
    batch_size = min(batch_size, size)
    penalties = penalty_of(task, params)
    adds = bool(added_losses(state))

    def totals_of(start: Any, rows: int, first: Any) -> Totals:
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, rows), data)
        x, y, weight = counted(task.model, part)
        predictions, after = task.model.apply(params, state, x)
        valid = start + jnp.arange(rows, dtype=jnp.int32) >= first
        return measure(task, predictions, y, weight, valid, [*penalties, *added_losses(after)])[1]

    def batch(i: Any) -> Totals:
        return totals_of(jnp.minimum(i * batch_size, size - batch_size), batch_size, i * batch_size)

    of_batch = again(batch) if remat else batch
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(batch, jnp.int32(0)))
    whole, rest = divmod(size, batch_size)
    count = whole if adds else whole + (rest > 0)
    totals: Totals = jax.lax.fori_loop(0, count, lambda i, totals: merge(task, totals, of_batch(jnp.int32(i))), zeros)
    if adds and rest:
        totals = merge(task, totals, totals_of(jnp.int32(size - rest), rest, size - rest))
    return totals
