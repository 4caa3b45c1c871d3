"""A report on how each layer learns."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import is_concrete
from .._core.errors import fail
from .._core.jaxprs import last_operations
from .._core.tables import aligned
from .._core.trees import paths
from .._core.types import Array
from ..fitting.inputs import check_data
from ..nn.layer import shape_of
from ..nn.masks import Masked, pairs
from ..training.batch import Batch, as_batch, size_of
from ..training.checks import check_fit
from ..training.probe import LayerValues, layer_values, observed
from ..training.state import TrainState, check_task
from ..training.task import Task


# -------------------------------------------------------------------------------------------------------------- numbers
class LayerRow(NamedTuple):
    """One layer of a `LayerReport`. None stands where a number has no meaning, as for an output of integers or of NaN.

    Attributes:
      path: names from the outermost layer inwards, joined by "/"; "" is the model itself.
      kind: the type.
      shape: of the output, the batch included; for several arrays a tree of shapes.
      mean, std: of all numbers of the output that are finite.
      zeros: the share of them that are 0.
      units: the length of the output's last axis.
      dead: how many of them are 0 for every example (and everywhere in an image or sequence) with no gradient for their
        own parameters, if they have any; units of a layer that starts at 0 are not dead.
      saturated: where the layer ends in sigmoid or tanh, the share of outputs within 0.01 of its bounds.
      gradient_norm, gradient_rms: of the derivative of the loss by the output: root of the sum and of the mean of
        squares; NaN, as are the norms below, if it is not finite.
      param_norm: root of the sum of squares of its parameters, without those of layers inside it.
      param_gradient_norm: likewise of the loss's derivative by them.
      update_ratio: the norm of what the optimizer would add to the parameters, divided by ``param_norm``.
      non_finite: how many numbers are NaN or infinite: in the output, in the gradient at it, in the parameters, in
        their gradient.
    """

    path: str
    kind: str
    shape: Any
    mean: float | None
    std: float | None
    zeros: float | None
    units: int | None
    dead: int | None
    saturated: float | None
    gradient_norm: float | None
    gradient_rms: float | None
    param_norm: float | None
    param_gradient_norm: float | None
    update_ratio: float | None
    non_finite: NonFinite


class NonFinite(NamedTuple):
    """Counts of numbers that are NaN or infinite."""

    outputs: int = 0
    gradients: int = 0
    params: int = 0
    param_gradients: int = 0


class LayerReport(NamedTuple):
    """Activations, gradients and updates of each layer in one training step; printed as a table with notes.

    Attributes:
      rows: a `LayerRow` per layer, in order of computation.
      notes: what is suspicious, in words; empty if nothing is.
      loss: of the batch.
      examples: how many there are in it.
    """

    rows: tuple[LayerRow, ...]
    notes: tuple[str, ...]
    loss: float
    examples: int

    def __repr__(self) -> str:
        columns: dict[str, list[str]] = {
            "layer (type)": [f"{row.path} ({row.kind})".strip() for row in self.rows],
            "mean": [_text(row.mean, ".3g") for row in self.rows],
            "std": [_text(row.std, ".3g") for row in self.rows],
            "zeros": [_text(row.zeros, ".0%") for row in self.rows],
            "dead": ["-" if row.dead is None else f"{row.dead}/{row.units}" for row in self.rows],
        }
        if any(row.saturated is not None for row in self.rows):
            columns["saturated"] = [_text(row.saturated, ".0%") for row in self.rows]
        columns |= {
            "gradient rms": [_text(row.gradient_rms, ".1e") for row in self.rows],
            "params": [_text(row.param_norm, ".3g") for row in self.rows],
            "their gradient": [_text(row.param_gradient_norm, ".1e") for row in self.rows],
            "update/params": [_text(row.update_ratio, ".1e") for row in self.rows],
        }
        if any(any(row.non_finite) for row in self.rows):
            columns["not finite"] = [_counted(row.non_finite) for row in self.rows]
        rule, first, *lines = aligned([list(columns), *zip(*columns.values(), strict=True)], left=1)
        total = f"loss {self.loss:.4g} on {self.examples:,} example{'s' * (self.examples > 1)}"
        return "\n".join([first, rule, *lines, rule, total, *(f"! {note}" for note in self.notes)])


def _counted(counts: NonFinite) -> str:
    names = ("outputs", "gradients", "params", "their gradients")
    return ", ".join(f"{name} {n:,}" for name, n in zip(names, counts, strict=True) if n) or "-"


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


class _Plan(NamedTuple):
    """A layer with an output of its own."""

    name: str
    kind: str
    ending: str | None  # the last operation, if its outputs have bounds
    params: list[str]  # the paths of its parameters


def layer_report(task: Task, ts: TrainState, batch: Batch) -> LayerReport:
    """What one training step does to each layer: activations, gradients, updates, and what is suspicious about them.

    The step is the one that `train_step` would make, dropout and all; nothing is changed. A note says where units are
    dead or saturated, where the gradient vanishes or explodes on its way back, where updates are out of proportion,
    and where numbers are not finite. Take a batch large enough to speak for the data, some hundred examples: a unit
    that is 0 for 8 examples need not be dead. The picture is drawn by `fnn.plot.layer_report`.

    Args:
      task: the `Task`.
      ts: the `TrainState`.
      batch: ``(x, y)`` or ``(x, y, sample_weight)``.

    Returns:
      A `LayerReport`, which prints as a table and holds the numbers.

    Raises:
      InputError: for data that does not fit the task, or that is not finite; for values that are not known yet (inside
        ``jit`` or ``vmap``).

    >>> import jax, jax.numpy as jnp, fnn
    >>> never = fnn.Dense(4, "relu", bias_initializer=lambda key, shape, dtype: jnp.full(shape, -9.0, dtype))
    >>> task = fnn.Task(fnn.Sequential(never, fnn.Dense(1)), "mse")
    >>> x = jnp.eye(3)
    >>> ts = fnn.init(task, jax.random.key(0), x)
    >>> fnn.layer_report(task, ts, (x, x[:, :1])).notes
    ('dense: 4 of 4 units are dead, 0 for all 3 examples',)
    """
    check_task(task, ts)
    if not all(map(is_concrete, jax.tree.leaves((ts, batch)))):
        hint = "Call it on what the compiled function returns."
        fail("layer_report", expected="a state and a batch whose values are known", got="traced ones", hint=hint)
    data = as_batch(batch, "batch")
    check_data(task, check_fit(task, ts, data, "batch"), data, "batch")
    plans = _plan(task, ts, data)
    values, updates = _step(task, ts, data)
    params, grads, moves = paths(ts.params), paths(values.gradients), paths(updates)
    rows = []
    for plan in plans:
        own = [[tree[path] for path in plan.params] for tree in (params, grads, moves)]
        rows.append(_row(plan, values.outputs[plan.name], values.output_gradients[plan.name], *own))
    loss, examples = float(values.loss), size_of(data)
    return LayerReport(tuple(rows), tuple(_notes(rows, loss, examples)), loss, examples)


@partial(jax.jit, static_argnums=0)
def _step(task: Task, ts: TrainState, batch: Batch) -> tuple[LayerValues, Any]:
    values = layer_values(task, ts, batch)
    return values, task.optimizer.update(values.gradients, ts.opt_state, ts.params)[0]


def _plan(task: Task, ts: TrainState, batch: Batch) -> list[_Plan]:
    """The layers in order of computation, from one trace of the model."""
    found: dict[str, tuple[str, list[str], bool]] = {}

    # Nothing traced is kept, which jax.checking_leaks would tell.
    def forward(params: Any, state: Any, x: Any, key: Array) -> list[Any]:
        free = {id(leaf): path for path, leaf in paths(params).items()}
        _, seen = observed(task.model, None, params, state, x, key=key, train=True)
        # Layers inside others are done first and so have their parameters first; what is left is the outer one's own.
        for name, trace in seen.items():
            own = [free.pop(id(leaf)) for leaf in jax.tree.leaves(trace.params) if id(leaf) in free]
            again = any(other.y is trace.y for other in seen.values() if other is not trace)
            found[name] = trace.layer.kind, own, again
        return [trace.y for trace in seen.values()]

    x = batch.x
    program, outputs = jax.make_jaxpr(forward, return_shape=True)(*shape_of((ts.params, ts.state, x, ts.key)))
    ends = iter(last_operations(program))
    plans = []
    for (name, (kind, own, again)), out in zip(found.items(), outputs, strict=True):
        endings = [next(ends) for _ in jax.tree.leaves(out)]
        # A Sequential inside the model has the output of its last layer.
        if not (kind == "Sequential" and not own and again):
            plans.append(_Plan(name, kind, endings[0] if endings else None, own))
    return plans


def _host(leaf: Any) -> np.ndarray:
    # Here and not in the compiled step, which would take three times as long to compile.
    return np.asarray(leaf).astype(np.float64)


def _is_float(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _numbers(y: Any) -> list[np.ndarray]:
    """The arrays of floating-point numbers in an output; of padded sequences the steps that count, (steps, units)."""
    if isinstance(y, Masked) and _is_float(y.x):
        return [_host(y.x)[np.asarray(y.mask)]]
    return [_host(leaf) for leaf in jax.tree.leaves(y) if _is_float(leaf)]


def _norm(leaves: list[Any]) -> tuple[float | None, float | None, int]:
    """Root of the sum and of the mean of squares, NaN if they are not all finite, and the count of those."""
    if not leaves:
        return None, None, 0
    numbers = np.concatenate([_host(leaf).ravel() for leaf in leaves])
    bad = int((~np.isfinite(numbers)).sum())
    scale = 1.0 if bad else float(np.abs(numbers).max(initial=0)) or 1.0  # else squares of float64 could overflow
    norm = math.nan if bad else scale * float(np.sqrt(np.square(numbers / scale).sum()))
    return norm, norm / math.sqrt(max(numbers.size, 1)), bad


def _still(x: np.ndarray) -> np.ndarray:
    """Which places of the last axis are 0 everywhere."""
    still: np.ndarray = (x == 0).all(tuple(range(x.ndim - 1)))
    return still


def _unmoved(slopes: list[Any], units: int) -> np.ndarray:
    """Which units get no gradient in the parameters that have an axis for them."""
    own = [_still(_host(slope)) for slope in slopes if slope.shape[-1:] == (units,)]
    return np.logical_and.reduce([np.ones(units, bool), *own])


# What is within 0.01 of the bounds of a layer that ends so; the slope there is below 0.01 and 0.02.
_NEAR = 0.01
_BOUNDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


def _row(plan: _Plan, y: Any, gradient: Any, params: list[Any], slopes: list[Any], updates: list[Any]) -> LayerRow:
    mean = std = zeros = saturated = units = dead = None
    bad = 0
    if arrays := _numbers(y):
        numbers = np.concatenate([x.ravel() for x in arrays])
        finite = numbers[np.isfinite(numbers)]
        bad = numbers.size - finite.size
        if finite.size:
            mean, std = float(finite.mean()), float(finite.std())
            zeros = float((finite == 0).mean())
            if plan.ending in _BOUNDS:
                low, high = _BOUNDS[plan.ending]
                saturated = float(((finite < low + _NEAR) | (finite > high - _NEAR)).mean())
        wide = [x for x in arrays if x.ndim > 1]
        if wide:
            units = sum(x.shape[-1] for x in wide)
        # A unit that is 0 here and NaN there, or has NaN for its gradient, is not known to be dead or alive.
        if wide and not bad and all(np.isfinite(_host(slope)).all() for slope in slopes):
            dead = sum(int((_still(x) & _unmoved(slopes, x.shape[-1])).sum()) for x in wide)
    gradient_norm, gradient_rms, bad_gradients = _norm(jax.tree.leaves(gradient))
    param_norm, _, bad_params = _norm(params)
    slope_norm, _, bad_slopes = _norm(slopes)
    moved, _, _ = _norm(updates)
    return LayerRow(
        path=plan.name,
        kind=plan.kind,
        shape=jax.tree.map(lambda leaf: tuple(leaf.shape), pairs(y)),
        mean=mean,
        std=std,
        zeros=zeros,
        units=units,
        dead=dead,
        saturated=saturated,
        gradient_norm=gradient_norm,
        gradient_rms=gradient_rms,
        param_norm=param_norm,
        param_gradient_norm=slope_norm,
        update_ratio=moved / param_norm if moved is not None and param_norm else None,
        non_finite=NonFinite(bad, bad_gradients, bad_params, bad_slopes),
    )


# Layers that hand on what came in: what is odd about their outputs was said of the layer before.
PASSING = {
    "ActivityRegularization", "AvgPool", "Dropout", "Flatten", "GlobalAvgPool", "GlobalMaxPool", "MaxPool", "OneHot",
    "Reshape", "Sequential",
}  # fmt: skip
# What is said from here on; the numbers below stand in the table.
_DEAD, _SATURATED, _FALL, _LARGE_UPDATE, _SMALL_UPDATE = 0.2, 0.5, 1e-3, 0.1, 1e-6


def _notes(rows: list[LayerRow], loss: float, examples: int) -> list[str]:
    # What is not finite spoils all that comes after it, so nothing else is worth saying.
    if notes := _not_finite(rows, loss):
        return notes
    if all(not row.gradient_norm for row in rows):
        return ["the gradient of the loss is 0"]
    return [*_flow(rows), *_of_layers(rows, examples)]


def _name(row: LayerRow) -> str:
    return row.path or "the model"


def _are(count: int, noun: str) -> str:
    return f"{count:,} {noun} is" if count == 1 else f"{count:,} {noun}s are"


def _not_finite(rows: list[LayerRow], loss: float) -> list[str]:
    """Where NaN or infinity comes in: parameters, else the first output, else the last gradient."""
    for row in rows:
        if row.non_finite.params:
            return [f"{_name(row)}: {_are(row.non_finite.params, 'parameter')} not finite"]
    for row in rows:
        if row.non_finite.outputs:
            return [f"{_name(row)}: {_are(row.non_finite.outputs, 'output')} not finite, and none before it"]
    if not math.isfinite(loss):
        return [f"the loss is not finite, {loss}, though all outputs are"]
    for row in reversed(rows):
        if row.non_finite.gradients or row.non_finite.param_gradients:
            what = "the gradient at its output" if row.non_finite.gradients else "the gradient of its parameters"
            return [f"{_name(row)}: {what} is not finite, and none is behind it"]
    for row in rows:
        if row.update_ratio is not None and not math.isfinite(row.update_ratio):
            return [f"{_name(row)}: the optimizer's update is not finite, though the gradient is"]
    return []


def _flow(rows: list[LayerRow]) -> list[str]:
    """What becomes of the gradient on its way from the last layer to the first."""
    norms = [(row, row.gradient_norm) for row in rows if row.gradient_norm is not None and row.kind not in PASSING]
    if not norms:
        return []
    (first, low), (last, high) = norms[0], norms[-1]
    if missed := [row for row, norm in norms if norm == 0]:
        return [f"no gradient reaches {_listed(missed)}"]
    way = f"from {_name(last)}, the last layer, to {_name(first)}, the first"
    if low < _FALL * high:
        return [f"the gradient falls to {low / high:.1e} of itself {way}: vanishing"]
    if low * _FALL > high:
        return [f"the gradient grows to {low / high:.1e} times itself {way}: exploding"]
    return []


def _of_layers(rows: list[LayerRow], examples: int) -> list[str]:
    notes = []
    active = [row for row in rows if row.kind not in PASSING]
    dead = [row for row in active if row.dead and row.units and row.dead >= _DEAD * row.units]
    seen = "that example" if examples == 1 else f"all {examples:,} examples"
    if len(dead) > 3:
        most = max(row.dead / row.units for row in dead if row.dead and row.units)
        notes.append(f"{_listed(dead)}: up to {most:.0%} of the units are dead, 0 for {seen}")
    else:
        notes += [f"{_name(row)}: {row.dead} of {_are(row.units or 0, 'unit')} dead, 0 for {seen}" for row in dead]
    # A good classifier is sure of itself, so the last layer may be.
    flat = [row for row in active if row is not rows[-1] and (row.saturated or 0) >= _SATURATED]
    if flat:
        most = max(row.saturated or 0 for row in flat)
        share = f"{'up to ' if len(flat) > 1 else ''}{most:.0%}"
        notes.append(f"{_listed(flat)}: {share} of the outputs are at their bounds: saturated, hardly any slope")
    moved = [(row.update_ratio, row) for row in rows if row.update_ratio]
    if large := [(ratio, row) for ratio, row in moved if ratio > _LARGE_UPDATE]:
        most = max(ratio for ratio, _ in large)
        times = f"{'up to ' if len(large) > 1 else ''}{most:.2g} times"
        layers = _listed([row for _, row in large])
        notes.append(f"{layers}: an update of {times} the parameters; is the learning rate too high?")
    if small := [(ratio, row) for ratio, row in moved if ratio < _SMALL_UPDATE]:
        least = min(ratio for ratio, _ in small)
        times = f"{'as little as ' if len(small) > 1 else ''}{least:.1e} times"
        notes.append(f"{_listed([row for _, row in small])}: an update of {times} the parameters hardly moves them")
    return notes


def _listed(rows: list[LayerRow]) -> str:
    names = [_name(row) for row in rows]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
