"""What happens inside one training step: the output of each layer, and the gradient that comes back to it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._core.dtypes import is_float
from .._core.jaxprs import trace_state
from .._core.types import Array, Params, PyTree, State
from ..nn.added_loss import added_losses
from ..nn.layer import Layer
from ..nn.observe import Trace, observe
from .batch import Batch, as_batch, counted, size_of
from .state import TrainState, check_task
from .step import gradients
from .task import Task
from .totals import losses_of, penalty_of, results

# JAX sorts the keys of a plain dict and keeps the order of this one.
ByLayer = OrderedDict[str, PyTree]


class LayerValues(NamedTuple):
    """What one training step computes, layer by layer; a pytree of arrays.

    Layers are named by their path, such as ``"residual/body/conv"``, and stand in the order in which they are done: a
    layer that holds others comes after them. The name of the model itself is ``""``; it is there only if its output is
    not that of its last layer, as with a model that is a single layer. A layer that is applied a second time under the
    same path has ``" (call 2)"`` behind it.

    Attributes:
      outputs: by layer, its output; a tree if it is one, such as a `Masked`.
      losses: (batch,), the loss of each example, before weights; of a `Masked` output (batch, time), 0 where masked.
      loss: the loss of the batch, as `train_step` reports it.
      penalty: what the task's penalty and the layers (`AddedLoss`) add to it.
      output_gradients: by layer, the derivative of the loss by its output; in a tree, None stands for arrays that are
        not of a floating-point dtype.
      gradients: the derivative by each parameter, a tree like ``ts.params``.
      state: the layer state after the step.
    """

    outputs: ByLayer
    losses: Array
    loss: Array
    penalty: Array
    output_gradients: ByLayer
    gradients: PyTree
    state: State


@jax.custom_jvp
def _tap(y: PyTree, probe: PyTree) -> PyTree:
    """``y`` itself, whose derivative by the probe is that by ``y``.

    Adding a probe of zeros would do, but for -0.0, which would turn into 0.0.
    """
    return y


@_tap.defjvp
def _tap_jvp(primals: PyTree, tangents: PyTree) -> PyTree:
    return primals[0], tangents[0] + tangents[1]


def _floats(y: PyTree) -> PyTree:
    """A tree with None for what has no gradient."""
    return jax.tree.map(lambda leaf: leaf if is_float(leaf) else None, y)


def _tapped(y: PyTree, probe: PyTree) -> PyTree:
    leaves, treedef = jax.tree.flatten(y)
    probes = iter(jax.tree.leaves(probe))
    return jax.tree.unflatten(treedef, [_tap(leaf, next(probes)) if is_float(leaf) else leaf for leaf in leaves])


def observed(model: Layer, probes: ByLayer | None, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """``model.apply(*args, **kwargs)``, and a `Trace` of each layer by name in order of computation.

    Args:
      model: the model.
      probes: by name of a layer, a tree like the floats of its output; the derivative by it is the one by the output.
    """
    seen: dict[str, Trace] = {}
    here = trace_state()

    def note(trace: Trace) -> PyTree:
        # Inside a loop or a vmap of a user's layer a value has no meaning out here; the layer around it is seen.
        if trace_state() != here:
            return None
        path = name = "/".join(trace.path)
        calls = 1
        while name in seen:
            calls += 1
            name = f"{path} (call {calls})"
        y = trace.y if probes is None else _tapped(trace.y, probes[name])
        seen[name] = trace._replace(y=y)
        return y

    with observe(note):
        y, state = model.apply(*args, **kwargs)
    if not seen or next(reversed(seen.values())).y is not y:
        params, before, x = args
        y = y if probes is None else _tapped(y, probes[""])
        seen[""] = Trace((), model, params, before, x, y)
    return (y, state), seen


def layer_values(task: Task, ts: TrainState, batch: Batch, valid: Array | None = None) -> LayerValues:
    """The output of each layer and the gradient at it, in the training step that ``ts`` is about to make.

    The arithmetic is that of `train_step`: the same key, training mode, weights, penalties. Pure, so that it can be
    compiled with ``jax.jit(layer_values, static_argnums=0)``. Layers are seen inside `Sequential`, `Residual` and
    `Bidirectional`, nested as they may be, but not inside a loop, a ``vmap`` or a ``jit`` of a layer of your own.

    Args:
      task: the `Task`.
      ts: the `TrainState` before the step.
      batch: ``(x, y)`` or ``(x, y, sample_weight)``.
      valid: (batch,) booleans, False for rows that only fill the batch up; default all count.

    Returns:
      `LayerValues`.

    Raises:
      InputError: for shapes that do not fit, with the layer's name and position.
    """
    check_task(task, ts)
    batch = as_batch(batch, "batch")
    size_of(batch)
    batch = counted(task.model, batch)

    def forward(params: Params, state: State, x: PyTree, key: Array) -> ByLayer:
        _, seen = observed(task.model, None, params, state, x, key=key, train=True)
        return OrderedDict((name, _floats(trace.y)) for name, trace in seen.items())

    shapes = jax.eval_shape(forward, ts.params, ts.state, batch.x, ts.key)
    probes = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

    # The step's own function does the work, for a model whose parameters are pairs (parameters, probes) and which hands
    # out what it has seen beside its state.
    def apply(pair: Any, state: State, x: PyTree, *, key: Array | None = None, train: bool = False) -> PyTree:
        params, probes = pair
        (out, state), seen = observed(task.model, probes, params, state, x, key=key, train=train)
        return out, (state, out, OrderedDict((name, trace.y) for name, trace in seen.items()))

    penalty = task.penalty
    probed = task.replace(
        model=Layer(task.model.init, apply),
        metrics=(),
        penalty=None if penalty is None else lambda pair: penalty(pair[0]),
    )
    start = ts._replace(params=(ts.params, probes))
    (grads, at_outputs), (state, predictions, outputs), totals = gradients(probed, start, batch, valid)
    added = [*penalty_of(task, ts.params), *added_losses(state)]
    loss = results(probed, totals)["loss"]
    return LayerValues(
        outputs=outputs,
        losses=losses_of(task, predictions, batch.y),
        loss=loss,
        penalty=sum((one.astype(loss.dtype) for one in added), jnp.zeros((), loss.dtype)),
        output_gradients=at_outputs,
        gradients=grads,
        state=state,
    )
