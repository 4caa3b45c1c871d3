"""One training step, as a pure function."""

from __future__ import annotations

import jax
from jax.sharding import Mesh

from .._core.dtypes import widened
from .._core.processes import agreeing
from .._core.random import fold_in
from .._core.sharding import everywhere, placing
from .._core.trees import map_with_path, own_copy
from .._core.typed import jit
from .._core.types import Array, PyTree
from .._core.xla import after_all
from ..optimizers.base import apply_updates
from ..optimizers.loss_scale import chosen, loss_scale_of, was_applied
from ..optimizers.transforms import frozen_paths
from .batch import Batch, as_batch, neutralize_zero_weights, size_of
from .checks import check_opt_state, check_params
from .entry import calls, compiled, parsing
from .forward import forward
from .placed import (
    DATA_HINTS,
    Shard,
    at_home,
    at_work,
    data_on_devices,
    divided,
    facts_of_call,
    gathered,
    placed,
    together_on,
)
from .state import TrainState, check_state, check_task
from .task import Task
from .totals import Logs, Totals, measure, penalties_of, results


def gradients(task: Task, ts: TrainState, batch: Batch, valid: Array | None = None) -> tuple[PyTree, PyTree, Totals]:
    """Gradients of the batch loss, the new layer state and the totals; ``valid`` (batch,) is False for padding rows.

    `divided`, `at_work`, `gathered` and `at_home` place arrays on a mesh (see placed.py); without one they do nothing.
    """
    batch = neutralize_zero_weights(task.model, divided(task, batch))
    key = fold_in(ts.key, ts.step)
    scale = loss_scale_of(ts.opt_state)

    def loss_fn(params: PyTree) -> tuple[Array, tuple[PyTree, Totals]]:
        with jax.named_scope("model"):
            outputs, state = forward(task, params, ts.state, batch.x, key=key, train=True)
        with jax.named_scope("loss"):
            loss, totals = measure(task, outputs, batch, valid, penalties_of(task, params, state))
        # Keeps float16 gradients from vanishing in the backward pass; divided out of them below, in float32.
        return loss if scale is None else loss * scale.astype(loss.dtype), (state, totals)

    grads, (state, totals) = jax.grad(loss_fn, has_aux=True)(at_work(task, ts.params))
    if scale is not None:
        grads = jax.tree.map(lambda g: g / scale.astype(g.dtype), widened(grads))
    return grads, state, totals


def step_and_totals(task: Task, ts: TrainState, batch: Batch, valid: Array | None = None) -> tuple[TrainState, Totals]:
    """One update on one batch, the step of all training; ``valid`` (batch,) is False for padding rows."""
    with placing(task.placement):
        grads, state, totals = gradients(task, ts, batch, valid)
    with jax.named_scope("update"):
        # Without a mesh, updates after all gradients save copies on a CPU; with one, that would divide the all-reduce.
        grads = after_all(grads) if task.placement is None else gathered(task, grads)
        updates, opt_state = task.optimizer.update(grads, ts.opt_state, ts.params)
        params = apply_updates(ts.params, updates)
        if task.model.constraint is not None:
            params = _constrained_where_trained(task, ts.params, params)
        if task.constraint is not None:  # its own pattern says what it acts on, frozen or not
            params = task.constraint(params)
        if (applied := was_applied(ts.opt_state, opt_state)) is not None:
            params, state = chosen(applied, (params, state), (ts.params, ts.state))
    ts = at_home(task, TrainState(params, state, opt_state, ts.key, ts.step + 1))
    return ts, everywhere(task.placement, totals)


def _constrained_where_trained(task: Task, before: PyTree, params: PyTree) -> PyTree:
    """The constraints of layers, except on frozen parameters, which keep every bit."""
    assert task.model.constraint is not None
    frozen = frozen_paths(task.optimizer, before)
    constrained = task.model.constraint(params)
    return map_with_path(lambda path, old, new: old if path in frozen else new, params, constrained)


@parsing("batch", wait=False)
@compiled
@jit(static_argnums=0)
def _train_step(task: Task, ts: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    check_task(task)
    check_state(ts)
    size_of(batch, "batch")
    check_params(task, ts, batch.x)
    check_opt_state(task, ts)
    ts, totals = step_and_totals(task, ts, batch)
    return ts, results(task, totals)


@calls(_train_step)
def train_step(
    task: Task, ts: TrainState, batch: PyTree, *, mesh: Mesh | None = None, shard: Shard | None = None
) -> tuple[TrainState, Logs]:
    """One update of all parameters on one batch.

    Args:
      task, ts: the `Task`, and the `TrainState` before.
      batch: ``(x, y)`` or ``(x, y, sample_weight)``, each with the batch as first axis.
      mesh, shard: several devices, as in `fnn.fit`; default one device.

    Returns:
      ``(ts, logs)``: the new state, and the batch's loss and metrics by name, before the update.

    Raises:
      InputError: for shapes that do not fit, with the layer's name and position; for an empty batch, sample weights of
        the wrong shape, the state of another model or optimizer, or arguments that are not a `Task` and a `TrainState`;
        for labels outside the classes, unless they are traced or not computed yet.

    The loss is ``sum_i w_i l_i / batch`` (plus the task's penalty and those of layers, see `AddedLoss`), where each
    step kept by the mask of a `Masked` output is an example. Dropout in step i draws from ``fold_in(ts.key, i)``. The
    function is pure; to free the old state's memory, wrap it in ``jax.jit(..., donate_argnums=...)``.
    """
    with together_on(mesh, "train_step", ts, batch):
        task, ts = placed("train_step", task, ts, mesh, shard)
        if mesh is not None:
            with agreeing("train_step", DATA_HINTS) as facts:
                batch = own_copy(as_batch(batch, "batch"))
                facts |= facts_of_call(task, {"batch": batch})
            batch = data_on_devices(task, batch)
        return _train_step(task, ts, batch)
