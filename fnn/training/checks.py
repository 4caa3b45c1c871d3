"""Checks of shapes: does a batch fit the task?"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import is_float
from .._core.errors import describe, fail, hinted, located, shape_text
from .._core.sharding import on_every_device
from .._core.trees import other_entries, paths, resized, shape_of, to_jax
from .._core.typed import array_spec
from .._core.types import Array, PyTree, Shape
from ..losses.common import check_rows_apart
from ..losses.facts import is_per_example
from ..nn.embedding import observe_ids
from ..nn.layer import Layer
from ..nn.masks import Masked, unmasked
from ..nn.observe import Trace, observe
from .batch import Batch, Signature, rows_of, size_of
from .forward import check_output
from .outputs import OutputLoss, Path
from .state import TrainState, check_state, check_task
from .task import Task
from .totals import Totals, flatten_time_steps, total_shapes

_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "Bidirectional")
Limits = dict[str, tuple[str, int]]
"""For arrays of x that a layer reads as row numbers, by path: the layer's kind and the number of rows."""


class Expected(NamedTuple):
    """Facts about a task and its data that follow from shapes, for the checks of values."""

    predictions: PyTree  # their shapes
    ids: Limits
    unclear: tuple[Path, ...] = ()  # of losses of logits whose predictions may be probabilities


def check_ids_in_range(limits: Limits, x: PyTree, where: str) -> None:
    """Refuse ids beyond the rows of the layer that reads them."""
    if not limits:
        return
    for path, leaf in paths(x).items():
        if path in limits:
            kind, count = limits[path]
            low, high = int(leaf.min()), int(leaf.max())
            if low < 0 or high >= count:
                hint = f"Number them from 0, or make the layer for {high + 1} of them." if low >= 0 else ""
                name = where + (f"[{path}]" if path else "")
                fail(name, expected=f"ids in [0, {count}) for {kind}", got=f"ids from {low} to {high}", hint=hint)


def check_fit(task: Task, ts: TrainState, data: Batch, where: str = "data", train: bool = True) -> Expected:
    """Refuse data whose shapes do not fit model and loss, or a state that is not of this task."""
    check_task(task)
    check_state(ts)
    size_of(data, where)
    return _check_shapes(task, Signature.of(ts), Signature.of(data), where, train)


@functools.lru_cache(maxsize=64)
def _check_shapes(task: Task, state: Signature, data: Signature, where: str, train: bool) -> Expected:
    ts, batch = state.tree(), data.tree()
    with _hinted(task, ts, batch.x, batch.y), located(where):
        predictions, unclear = check_output(task, ts.params, ts.state, batch.x)
    check_params(task, ts, batch.x)
    with _hinted(task, ts, batch.x, batch.y), located(where):
        for part in task.parts:
            with hinted(functools.partial(_steps_hint, task, ts, batch, part, predictions)):
                check_part(part, predictions, batch, where)
    if train:
        check_opt_state(task, ts)
    integers = any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(batch.x))
    return Expected(predictions, _id_limits(task, ts, batch.x) if integers else {}, unclear)


def check_part(part: OutputLoss, predictions: PyTree, batch: Batch, where: str) -> None:
    """Refuse targets and weights whose shapes do not fit an output, and losses or metrics of another shape."""
    rows, predictions = rows_of(batch), part.of("predictions", predictions)
    flat, targets, _, _ = jax.eval_shape(flatten_time_steps, predictions, shape_of(part.of("targets", batch.y)))
    with located(part.where):
        losses = jax.eval_shape(part.loss, flat, targets)
    if not is_per_example(part.loss):
        check_rows_apart(part.where, part.loss, flat, targets)
    steps = predictions.mask.shape if isinstance(predictions, Masked) else (rows,)
    part.checked(losses, (math.prod(steps),))
    for metric in part.metrics:
        weights = array_spec(losses.shape, jnp.float32)
        with located(f"metric {metric.name!r}"):
            out = jax.eval_shape(lambda *data, m=metric: m.result(m.measure(*data)), flat, targets, weights)
            if getattr(out, "shape", None) != ():
                fail("result", expected="a scalar", got=describe(out))
    weight = part.weight_of(batch.weight)
    if weight is not None and weight.shape not in ((rows,), steps):
        fail(f"{where}, sample_weight", expected=f"shape {(rows,)}", got=describe(weight))


def _steps_hint(
    task: Task, ts: TrainState, batch: Batch, part: OutputLoss, predictions: PyTree, error: Exception
) -> str:
    """What to change in the model if its output has steps or spatial axes that the targets lack, or the reverse."""
    out, wanted = _shape(part.of("predictions", predictions)), _shape(part.of("targets", batch.y))
    if out[:2] == wanted[:2]:
        return ""
    calls: list[Trace] = []
    with observe(calls.append):
        jax.eval_shape(task.network.apply, ts.params, ts.state, batch.x)
    recurrent = next((call for call in reversed(calls) if call.layer.kind in _RECURRENT), None)
    if len(out) > 2 >= len(wanted):
        if recurrent is not None and _shape(recurrent.y)[:2] == out[:2]:
            return f"For one output per example, leave return_sequences=True out of {_layer_name(recurrent)}."
        reader = next((call for call in calls if call.layer.kind == "Dense" and len(_shape(call.x)) > 2), None)
        return f"For one output per example, add fnn.Flatten(){f' before {_layer_name(reader)}' if reader else ''}."
    if recurrent is not None and len(out) == len(_shape(recurrent.y)) == 2 and _shape(recurrent.x)[:2] == wanted[:2]:
        return f"For an output at each step, give {_layer_name(recurrent)} return_sequences=True."
    return ""


def _shape(x: PyTree) -> tuple[int, ...]:
    """The shape of an array or of a `Masked`; () for several arrays."""
    return tuple(getattr(unmasked(x), "shape", ()))


def _layer_name(call: Trace) -> str:
    return f"layer {'/'.join(call.path)!r}"


def _id_limits(task: Task, ts: TrainState, x: PyTree) -> Limits:
    """The `Limits` of an input, from one trace of the model."""
    limits: Limits = {}

    def forward(params: PyTree, state: PyTree, x: PyTree) -> PyTree:
        names = {id(leaf): path for path, leaf in paths(x).items()}

        def note(kind: str, ids: Array, count: int) -> None:
            # Of several layers that read the same ids, the one with the fewest rows decides.
            path = names.get(id(ids))
            if path is not None and count < limits.get(path, (kind, count + 1))[1]:
                limits[path] = kind, count

        with observe_ids(note):
            return task.network.apply(params, state, x)[0]

    jax.eval_shape(forward, *shape_of((ts.params, ts.state, x)))
    return limits


@functools.lru_cache(maxsize=64)
def input_limits(task: Task, state: Signature, given: Signature) -> Limits:
    """The `Limits` of an input of `predict`; refuse one that does not fit the model in a state of these shapes."""
    ts, x = state.tree(), given.tree()
    size_of(x, "x")
    with _hinted(task, ts, x, None), located("predict"):
        limits = _id_limits(task, ts, x)
    check_params(task, ts, x)
    return limits


def _hinted(task: Task, ts: TrainState, x: PyTree, y: PyTree) -> AbstractContextManager[None]:
    """Add the likely cause to an error, unless it names the remedy already."""

    def cause(error: Exception) -> str:
        text = _cause(task, shape_of(ts), shape_of(x), shape_of(y))
        return "" if text.rpartition(" write ")[2].rstrip(".") in str(error) else text

    return hinted(cause)


def _cause(task: Task, ts: TrainState, x: PyTree, y: PyTree) -> str:
    numbers = hasattr(x, "shape") and len(x.shape) == 1 and jnp.issubdtype(x.dtype, jnp.integer)
    if numbers and hasattr(y, "shape") and len(y.shape) > 1 and is_float(y):
        return "Are x and y swapped?"
    axis = _missing_axis(task, ts, x, is_batch=y is not None)
    try:
        params, _ = jax.eval_shape(task.network.init, ts.key, x)
    except Exception:  # the model takes no such input, and the error already says so
        return axis
    want, have = paths(params), paths(ts.params)
    others = [] if want.keys() != have.keys() else [path for path in want if want[path].shape != have[path].shape]
    # Kernels of another rank come from an axis too few, and not from a state of other inputs.
    if others and not (axis and any(want[path].ndim != have[path].ndim for path in others)):
        state = "the state made for inputs of another shape? fnn.init takes some rows of the input, such as x[:1]."
        return f"{axis} Or was {state}" if axis else f"Was {state}"
    return axis


def _missing_axis(task: Task, ts: TrainState, x: PyTree, is_batch: bool) -> str:
    """What to write for an input that the model takes only with another axis: of channels or, unless given, a batch."""

    def takes(shape: Callable[[Shape], Shape]) -> bool:
        given = jax.tree.map(lambda a: array_spec(shape(a.shape), a.dtype), x)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                jax.eval_shape(task.network.apply, ts.params, ts.state, given)
        except Exception:  # whatever a layer says of it
            return False
        return True

    forms: dict[str, Callable[[Shape], Shape]] = {
        "[None]": lambda shape: (1, *shape),
        "[..., None]": lambda shape: (*shape, 1),
        "[None, ..., None]": lambda shape: (1, *shape, 1),
    }
    fitting = (form for form, shape in forms.items() if takes(shape) and not (is_batch and form.startswith("[None")))
    form = "" if takes(lambda shape: shape) else next(fitting, "")
    what = {"[None]": "For one example", "[..., None]": "For one channel or feature"}
    array = "x" if hasattr(x, "shape") else "each array of x"
    return form and f"{what.get(form, 'For one example of one channel')}, write {array}{form}."


@functools.lru_cache(maxsize=64)
def _total_shapes(task: Task, state: Signature, batch: Signature) -> Totals:
    return total_shapes(task, state.tree(), batch.tree())


def zero_totals(task: Task, ts: TrainState, data: Batch) -> Totals:
    """Totals of zero, in new buffers; one row of the data gives the shapes."""
    shapes = _total_shapes(task, Signature.of(ts), Signature.of(resized(data, 1)))
    return on_every_device(task.placement, jax.tree.map(lambda a: to_jax(np.zeros(a.shape, a.dtype)), shapes))


def check_opt_state(task: Task, ts: TrainState) -> None:
    """Refuse the optimizer state of another optimizer or other parameters, by its structure and shapes."""
    expected = jax.eval_shape(task.optimizer.init, ts.params)
    want, have = paths(expected), paths(ts.opt_state)
    hint = (
        "Is it the state of another model or optimizer? Make one with fnn.init; to continue with another optimizer, "
        "write task, ts = fnn.with_optimizer(task, ts, optimizer)."
    )
    structures: list[object] = [jax.tree.structure(tree) for tree in (expected, ts.opt_state)]
    if structures[0] != structures[1]:
        got = other_entries(want, have) or "another tree structure"
        fail("optimizer state", expected="one made for these parameters by this optimizer", got=got, hint=hint)
    for path, leaf in want.items():
        if jnp.shape(have[path]) != leaf.shape:
            expected = f"shape {shape_text(leaf.shape)}"
            fail(f"optimizer state, {path}", expected=expected, got=describe(have[path]), hint=hint)


def check_params(task: Task, ts: TrainState, x: PyTree) -> None:
    """Refuse the parameters of another model, such as one of other widths, which fit each other and the input."""
    shapes = _param_shapes.__wrapped__ if task.traced else _param_shapes
    if (made := shapes(task.model, Signature.of(x))) is None:
        return
    want, have = paths(made), paths(ts.params)
    differ = [path for path in want if path not in have or jnp.shape(have[path]) != want[path].shape]
    if not differ and len(want) == len(have):
        return
    # Where the model refuses the input, its layer says so.
    jax.eval_shape(lambda p, s, x: task.network.apply(p, s, x)[0], ts.params, ts.state, x)
    hint = "Is it the state of another model? Make one for this task with fnn.init(task, key, x[:1])."
    if got := other_entries(want, have):
        fail("state", expected="the parameters of the task's model", got=got, hint=hint)
    expected = f"shape {shape_text(want[differ[0]].shape)}, as the task's model has"
    fail(f"state, {differ[0]}", expected=expected, got=describe(have[differ[0]]), hint=hint)


@functools.lru_cache(maxsize=64)
def _param_shapes(model: Layer, x: Signature) -> PyTree | None:
    """The shapes of a model's parameters; None for a model whose ``init`` cannot be traced."""
    try:
        return jax.eval_shape(lambda x: model.init(jax.random.key(0), x)[0], x.tree())
    except Exception:  # of a user's own layer, which may need values
        return None
