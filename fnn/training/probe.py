"""Inside one training step: the output of each layer and the gradient at it."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from .._core.dtypes import is_float, sum_of
from .._core.jaxprs import trace_state
from .._core.trees import own_copy, zeros
from .._core.types import Array, PyTree
from ..nn.layer import Layer, Output
from ..nn.observe import Trace, call_name, carry_note, observe
from ..nn.precision import applied_in
from .batch import Batch, as_batch, neutralize_zero_weights, size_of
from .forward import outputs_of
from .state import TrainState, check_state, check_task
from .step import gradients
from .task import Task
from .totals import losses_of, penalties_of, results

# JAX sorts the keys of a plain dict and keeps the order of this one.
ByLayer = OrderedDict[str, PyTree]


class LayerValues(NamedTuple):
    """The values of one training step, layer by layer; a pytree of arrays.

    Layers are named by their path, such as ``"residual/body/conv"``, in the order in which they finish: inner layers
    first. The model itself, ``""``, is included only if its output is not that of its last layer, as with a model that
    is a single layer. The second call of a layer under the same path is named with ``" (call 2)"`` at the end.
    """

    outputs: ByLayer  # trees if they are, such as a Masked
    losses: Array  # (batch,), of each example, before weights but 0 for weight 0; of a Masked output (batch, time)
    loss: Array  # of the batch, as train_step reports it
    penalty: Array  # the part of it that the task's penalty and the layers (AddedLoss) add
    # By each output, or by the input of a softmax that the loss reads; None for arrays without a floating-point dtype.
    output_gradients: ByLayer
    gradients: PyTree  # by each parameter, a tree like ts.params
    state: PyTree  # of the layers after the step


@jax.custom_jvp
def _tap(y: Array, probe: Array) -> Array:
    """``y`` itself; its derivative by the probe is that by ``y``. Adding a probe of zeros would turn -0.0 into 0.0."""
    return y


@_tap.defjvp
def _tap_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[0], tangents[0] + tangents[1]


def _tapped(y: PyTree, probe: PyTree) -> PyTree:
    leaves, treedef = jax.tree.flatten(y)
    probes = iter(jax.tree.leaves(probe))

    def tapped(leaf: Array) -> Array:
        if not is_float(leaf):
            return leaf
        tap = partial(_tap, probe=next(probes))
        carry_note(leaf, y := tap(leaf), tap)
        return y

    return jax.tree.unflatten(treedef, map(tapped, leaves))


def observed(
    model: Layer,
    probes: ByLayer | None,
    params: PyTree,
    before: PyTree,
    x: PyTree,
    *,
    key: Array | None,
    train: bool,
    dtype: str | None = None,
) -> tuple[Output, dict[str, Trace]]:
    """The model's output, and a `Trace` of each layer by name in order of computation.

    ``probes`` has for each layer a tree like the floats of its output; the derivative by it is that by the output.
    The model is computed in ``dtype``, as in `Task`.
    """
    seen: dict[str, Trace] = {}
    here = trace_state()

    def note(trace: Trace) -> PyTree:
        # Values inside a loop, a checkpoint or a vmap mean nothing outside; only the layer around it is recorded.
        if trace_state() != here:
            return None
        path = "/".join(trace.path)
        name = next(name for number in itertools.count(1) if (name := call_name(path, number)) not in seen)
        y = trace.y if probes is None else _tapped(trace.y, probes[name])
        seen[name] = trace._replace(y=y)
        return y

    def apply(params: PyTree, before: PyTree, x: PyTree, **options: Any) -> Output:
        with observe(note):
            y, state = model.apply(params, before, x, **options)
        if not seen or next(reversed(seen.values())).y is not y:
            y = y if probes is None else _tapped(y, probes[""])
            seen[""] = Trace((), model, params, before, x, y)
        return y, state

    apply = apply if dtype is None else applied_in(dtype, apply)
    return apply(params, before, x, key=key, train=train), seen


def _probes(task: Task, ts: TrainState, x: PyTree) -> ByLayer:
    """Zeros for each float in the output of each layer."""

    def forward(params: PyTree, state: PyTree, x: PyTree, key: Array) -> ByLayer:
        _, seen = observed(task.model, None, params, state, x, key=key, train=True, dtype=task.compute_dtype)
        floats = {name: jax.tree.map(lambda a: a if is_float(a) else None, trace.y) for name, trace in seen.items()}
        return OrderedDict(floats)

    return cast(ByLayer, zeros(jax.eval_shape(forward, ts.params, ts.state, x, ts.key)))


def layer_values(task: Task, ts: TrainState, batch: Batch) -> LayerValues:
    """The output of each layer and the gradient at it, in the training step that ``ts`` is about to make.

    The arithmetic is that of `train_step`: the same key, training mode, weights and penalties. Layers inside others
    are observed at any depth, but not inside a `Repeated`, a `Rematerialized`, or a loop, a ``vmap`` or a ``jit`` of
    your own layer, where the whole counts as one layer; inside a `TimeDistributed` their outputs have a row for each
    step.
    """
    check_task(task)
    check_state(ts)
    batch = own_copy(as_batch(batch, "batch"))
    size_of(batch, "batch")
    batch = neutralize_zero_weights(task.model, batch)

    # The step's own function does the work, on a model whose parameters are pairs (parameters, probes) and whose state
    # includes the observed outputs.
    def apply(
        pair: tuple[PyTree, ByLayer], state: PyTree, x: PyTree, *, key: Array | None = None, train: bool = False
    ) -> Output:
        params, probes = pair
        (out, state), seen = observed(
            task.model, probes, params, state, x, key=key, train=train, dtype=task.compute_dtype
        )
        return out, (state, outputs_of(task, out).scores, OrderedDict((name, trace.y) for name, trace in seen.items()))

    penalties = task.penalties
    probed = task.replace(
        model=Layer(task.model.init, apply),
        metrics=(),
        compute_dtype=None,
        penalty=(lambda pair: sum_of([penalty(pair[0]) for penalty in penalties])) if penalties else None,
    )
    start = ts._replace(params=(ts.params, _probes(task, ts, batch.x)))
    (grads, at_outputs), (state, scores, outputs), totals = gradients(probed, start, batch)
    added = penalties_of(task, ts.params, state)
    loss = results(probed, totals)["loss"]
    return LayerValues(
        outputs=outputs,
        losses=losses_of(task, scores, batch),
        loss=loss,
        penalty=sum((one.astype(loss.dtype) for one in added), jnp.zeros((), loss.dtype)),
        output_gradients=at_outputs,
        gradients=grads,
        state=state,
    )
