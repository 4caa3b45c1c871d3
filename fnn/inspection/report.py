"""A report on one training step, layer by layer: activations, gradients, updates, and notes on suspicious values."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from .._core.checks import is_concrete
from .._core.dtypes import floats_in, is_float
from .._core.errors import counted, fail
from .._core.jaxprs import traced_endings
from .._core.tables import Table, table_lines
from .._core.trees import paths
from .._core.typed import jit
from .._core.types import Array, PyTree
from ..fitting.inputs import check_data
from ..nn.masks import Masked, pairs
from ..training.batch import Batch, Signature, as_batch, size_of
from ..training.checks import check_fit
from ..training.probe import LayerValues, layer_values, observed
from ..training.state import TrainState, check_state, check_task
from ..training.task import Task


class LayerRow(NamedTuple):
    """One layer of a `LayerReport`. A value is None where it is undefined, as for an output of integers or of NaN.

    Attributes:
      path: names from the outermost layer inwards, joined by "/"; "" is the model itself.
      kind: the type.
      shape: of the output, including the batch; for several arrays a tree of shapes.
      mean, std: of all finite elements of the output.
      zeros: the fraction of them that are 0.
      units: the length of the output's last axis.
      dead: number of units that are 0 for every example (and everywhere in an image or sequence) and whose own
        parameters, if any, get no gradient; units of a layer that starts at 0 are not dead.
      saturated: for a layer that ends in sigmoid or tanh, the fraction of outputs within 0.01 of its bounds.
      gradient_norm, gradient_rms: root of the sum and root of the mean of squares of the loss's derivative with respect
        to the output; NaN, like the norms below, if it is not finite.
      param_norm: root of the sum of squares of its parameters, without those of layers inside it.
      param_gradient_norm: the same for the gradient of these parameters.
      update_ratio: the norm of the optimizer's update divided by ``param_norm``.
      non_finite: counts of NaN and infinity in the output, its gradient, the parameters and their gradient.
    """

    path: str
    kind: str
    shape: PyTree
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
    """Counts of elements that are NaN or infinite."""

    outputs: int = 0
    gradients: int = 0
    params: int = 0
    param_gradients: int = 0


@dataclasses.dataclass(frozen=True, repr=False)
class LayerReport(Table[LayerRow]):
    """Activations, gradients and updates of each layer in one training step; printed as a table with notes.

    It iterates over its rows.

    Attributes:
      rows: a `LayerRow` per layer, in order of computation.
      notes: descriptions of suspicious values; empty if there are none.
      loss: of the batch.
      examples: the size of the batch.
    """

    rows: tuple[LayerRow, ...]
    notes: tuple[str, ...]
    loss: float
    examples: int

    def __repr__(self) -> str:
        names = ("outputs", "gradients", "params", "their gradients")
        counts = [zip(names, row.non_finite, strict=True) for row in self.rows]
        columns = {
            "layer (type)": [f"{row.path} ({row.kind})".strip() for row in self.rows],
            "mean": [_or_dash(row.mean, ".3g") for row in self.rows],
            "std": [_or_dash(row.std, ".3g") for row in self.rows],
            "zeros": [_or_dash(row.zeros, ".0%") for row in self.rows],
            "dead": ["-" if row.dead is None else f"{row.dead}/{row.units}" for row in self.rows],
            "saturated": [_or_dash(row.saturated, ".0%") for row in self.rows],
            "gradient rms": [_or_dash(row.gradient_rms, ".1e") for row in self.rows],
            "params": [_or_dash(row.param_norm, ".3g") for row in self.rows],
            "their gradient": [_or_dash(row.param_gradient_norm, ".1e") for row in self.rows],
            "update/params": [_or_dash(row.update_ratio, ".1e") for row in self.rows],
            "not finite": [", ".join(f"{name} {n:,}" for name, n in pairs if n) or "-" for pairs in counts],
        }
        for optional in ("saturated", "not finite"):
            if set(columns[optional]) <= {"-"}:
                del columns[optional]
        lines = table_lines([list(columns), *zip(*columns.values(), strict=True)], left=1)
        total = f"loss {self.loss:.4g} on {counted(self.examples, 'example')}"
        return "\n".join([*lines, lines[1], total, *(f"! {note}" for note in self.notes)])


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


class _RowPlan(NamedTuple):
    name: str  # its path
    kind: str
    ending: str | None  # its last operation, if that bounds the output
    params: list[str]  # paths of parameters in no layer inside it


def layer_report(task: Task, ts: TrainState, batch: Batch) -> LayerReport:
    """Report activations, gradients and updates of each layer in one training step, and point out suspicious ones.

    The step is the one that `train_step` would make, including dropout; ``ts`` is not changed. Notes point out dead or
    saturated units, gradients that vanish or explode, updates that are too large or small, and values that are not
    finite. Use several hundred examples: a unit that is 0 for 8 need not be dead. `fnn.plot.layer_report` draws it.

    Args:
      task: the `Task`.
      ts: the `TrainState`.
      batch: ``(x, y)`` or ``(x, y, sample_weight)``.

    Raises:
      InputError: for data that does not fit the task or is not finite; for traced values (inside ``jit`` or ``vmap``).

    >>> import jax, jax.numpy as jnp, fnn
    >>> never = fnn.Dense(4, "relu", bias_initializer=lambda key, shape, dtype: jnp.full(shape, -9.0, dtype))
    >>> task = fnn.Task(fnn.Sequential(never, fnn.Dense(1)), "mse")
    >>> x = jnp.eye(3)
    >>> ts = fnn.init(task, jax.random.key(0), x)
    >>> fnn.layer_report(task, ts, (x, x[:, :1])).notes
    ('dense: 4 of 4 units are dead, 0 for all 3 examples',)
    """
    check_task(task)
    check_state(ts)
    if not all(map(is_concrete, jax.tree.leaves((ts, batch)))):
        hint = "Call it on the result of the compiled function."
        fail("layer_report", expected="a state and a batch with concrete values", got="traced ones", hint=hint)
    data = as_batch(batch, "batch")
    check_data(task, check_fit(task, ts, data, "batch"), data, "batch")
    return report_of(task, ts, data, *_step(task, ts, data))


def report_of(task: Task, ts: TrainState, data: Batch, values: LayerValues, updates: PyTree) -> LayerReport:
    """The report of a step from what `step_values` computes."""
    plan: Callable[[Task, Signature], list[_RowPlan]] = _plan.__wrapped__ if task.traced else _plan
    plans = plan(task, Signature.of((ts.params, ts.state, data.x, ts.key)))
    params, grads, moves = paths(ts.params), paths(values.gradients), paths(updates)
    rows = []
    for one in plans:
        own = [[tree[path] for path in one.params] for tree in (params, grads, moves)]
        rows.append(_report_row(one, values.outputs[one.name], values.output_gradients[one.name], *own))
    loss, examples = float(values.loss), size_of(data)
    return LayerReport(tuple(rows), tuple(_notes(rows, loss, examples)), loss, examples)


def step_values(task: Task, ts: TrainState, batch: Batch) -> tuple[LayerValues, PyTree]:
    """What the layers do in a step, and the optimizer's updates."""
    values = layer_values(task, ts, batch)
    return values, task.optimizer.update(values.gradients, ts.opt_state, ts.params)[0]


_step = jit(step_values, static_argnums=0)


@functools.lru_cache(maxsize=64)
def _plan(task: Task, args: Signature) -> list[_RowPlan]:
    """The layers in order of computation, from one trace of the model."""
    found: dict[str, tuple[str, list[str], bool]] = {}

    # No traced value may outlive the trace, or jax.checking_leaks would raise.
    def forward(params: PyTree, state: PyTree, x: PyTree, key: Array) -> list[PyTree]:
        if task.compute_dtype is not None:
            params = floats_in(task.compute_dtype, params)  # the arrays that the layers will hold
        unclaimed = {id(leaf): path for path, leaf in paths(params).items()}
        _, seen = observed(task.model, None, params, state, x, key=key, train=True, dtype=task.compute_dtype)
        # Inner layers come first and claim their parameters; the rest belongs to the outer layer.
        for name, trace in seen.items():
            own = [unclaimed.pop(id(leaf)) for leaf in jax.tree.leaves(trace.params) if id(leaf) in unclaimed]
            repeated = any(other.y is trace.y for other in seen.values() if other is not trace)
            found[name] = trace.layer.kind, own, repeated
        return [trace.y for trace in seen.values()]

    outputs, found_ends = traced_endings(forward, *args.tree())
    ends = iter(found_ends)
    plans = []
    for (name, (kind, own, repeated)), out in zip(found.items(), outputs, strict=True):
        own_ends = [next(ends) for _ in jax.tree.leaves(out)]
        # A Sequential inside the model repeats the output of its last layer.
        if not (kind == "Sequential" and not own and repeated):
            plans.append(_RowPlan(name, kind, own_ends[0].activation if own_ends else None, own))
    return plans


def _float64(leaf: Array) -> np.ndarray:
    """An array in float64, on the host: computing the statistics in the compiled step would triple its compile time."""
    return np.asarray(leaf).astype(np.float64)


def _float_outputs(y: PyTree) -> list[np.ndarray]:
    """The floating-point arrays of an output; for padded sequences the valid steps, (steps, units)."""
    if isinstance(y, Masked) and is_float(y.x):
        return [_float64(y.x)[np.asarray(y.mask)]]
    return [_float64(leaf) for leaf in jax.tree.leaves(y) if is_float(leaf)]


def _norm(leaves: list[Array]) -> tuple[float | None, float | None, int]:
    """Root of the sum and of the mean of squares, NaN if any is not finite, and the count of non-finite elements."""
    if not leaves:
        return None, None, 0
    numbers = np.concatenate([_float64(leaf).ravel() for leaf in leaves])
    bad = int((~np.isfinite(numbers)).sum())
    # Scaled, so that squares of float64 cannot overflow.
    scale = 1.0 if bad else float(np.abs(numbers).max(initial=0)) or 1.0
    norm = math.nan if bad else scale * float(np.sqrt(np.square(numbers / scale).sum()))
    return norm, norm / math.sqrt(max(numbers.size, 1)), bad


def _dead_units(x: np.ndarray, grads: list[np.ndarray]) -> int:
    """Number of units (last axis) that are 0 everywhere and get no gradient in any parameter with an axis of units."""
    own = [x, *(grad for grad in grads if grad.shape[-1:] == x.shape[-1:])]
    return int(np.logical_and.reduce([(a == 0).all(tuple(range(a.ndim - 1))) for a in own]).sum())


_NEAR = 0.01  # outputs this close to a bound are saturated: the slope is below 0.01 for sigmoid and 0.02 for tanh
_BOUNDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


def _report_row(
    plan: _RowPlan, y: PyTree, gradient: PyTree, params: list[Array], grads: list[Array], updates: list[Array]
) -> LayerRow:
    """The row of one layer, from its output, the gradient there, its own parameters, their gradients and updates."""
    mean = std = zeros = saturated = units = dead = None
    bad = 0
    if arrays := _float_outputs(y):
        numbers = np.concatenate([x.ravel() for x in arrays])
        finite = numbers[np.isfinite(numbers)]
        bad = numbers.size - finite.size
        if finite.size:
            mean, std = float(finite.mean()), float(finite.std())
            zeros = float((finite == 0).mean())
            if plan.ending in _BOUNDS:
                low, high = _BOUNDS[plan.ending]
                saturated = float(((finite < low + _NEAR) | (finite > high - _NEAR)).mean())
        if wide := [x for x in arrays if x.ndim > 1]:
            units, own = sum(x.shape[-1] for x in wide), [_float64(grad) for grad in grads]
            # With NaN among its outputs or gradients, a unit cannot be called dead or alive.
            if not bad and all(np.isfinite(grad).all() for grad in own):
                dead = sum(_dead_units(x, own) for x in wide)
    gradient_norm, gradient_rms, bad_gradients = _norm(jax.tree.leaves(gradient))
    param_norm, _, bad_params = _norm(params)
    param_gradient_norm, _, bad_param_gradients = _norm(grads)
    update_norm, _, _ = _norm(updates)
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
        param_gradient_norm=param_gradient_norm,
        update_ratio=update_norm / param_norm if update_norm is not None and param_norm else None,
        non_finite=NonFinite(bad, bad_gradients, bad_params, bad_param_gradients),
    )


# Layers that pass their input through: a note on their output would repeat that on the layer before.
PASSING = {
    "ActivityRegularization", "AvgPool", "Dropout", "Flatten", "GlobalAvgPool", "GlobalMaxPool", "MaxPool", "OneHot",
    "Reshape", "Sequential",
}  # fmt: skip
_DEAD, _SATURATED, _FALL, _LARGE_UPDATE, _SMALL_UPDATE = 0.2, 0.5, 1e-3, 0.1, 1e-6  # thresholds of the notes


def _notes(rows: list[LayerRow], loss: float, examples: int) -> list[str]:
    """The notes of a report; only the first non-finite value if there is any, since it spoils the rest."""
    if notes := _not_finite(rows, loss):
        return notes
    if all(not row.gradient_norm for row in rows):
        return ["the gradient of the loss is 0"]
    return [*_gradient_notes(rows), *_layer_notes(rows, examples)]


def _name(row: LayerRow) -> str:
    """The path of a layer, or words for the model itself."""
    return row.path or "the model"


def _are(count: int, noun: str) -> str:
    """A count, its noun and the verb, in singular or plural."""
    return f"{counted(count, noun)} {'is' if count == 1 else 'are'}"


def _not_finite(rows: list[LayerRow], loss: float) -> list[str]:
    """Where NaN or infinity first appears: in parameters, else in an output, the loss, a gradient or an update."""
    for row in rows:
        if row.non_finite.params:
            return [f"{_name(row)}: {_are(row.non_finite.params, 'parameter')} not finite"]
    for row in rows:
        if row.non_finite.outputs:
            return [f"{_name(row)}: {_are(row.non_finite.outputs, 'output')} not finite, the first in the forward pass"]
    if not math.isfinite(loss):
        return [f"the loss is not finite, {loss}, although all outputs are finite"]
    for row in reversed(rows):
        if row.non_finite.gradients or row.non_finite.param_gradients:
            what = "the gradient at its output" if row.non_finite.gradients else "the gradient of its parameters"
            return [f"{_name(row)}: {what} is not finite, the first in the backward pass"]
    for row in rows:
        if row.update_ratio is not None and not math.isfinite(row.update_ratio):
            return [f"{_name(row)}: the optimizer's update is not finite, although the gradient is finite"]
    return []


def _gradient_notes(rows: list[LayerRow]) -> list[str]:
    """How the gradient changes from the last layer back to the first."""
    norms = [(row, row.gradient_norm) for row in rows if row.gradient_norm is not None and row.kind not in PASSING]
    if not norms:
        return []
    (first, low), (last, high) = norms[0], norms[-1]
    if unreached := [row for row, norm in norms if norm == 0]:
        return [f"no gradient reaches {_listed(unreached)}"]
    way = f"from {_name(last)}, the last layer, to {_name(first)}, the first"
    if low < _FALL * high:
        return [f"the gradient falls to {low / high:.1e} of itself {way}: vanishing"]
    if low * _FALL > high:
        return [f"the gradient grows to {low / high:.1e} times itself {way}: exploding"]
    return []


def _layer_notes(rows: list[LayerRow], examples: int) -> list[str]:
    """Layers with dead or saturated units, and updates that are too large or too small."""
    notes = []
    active = [row for row in rows if row.kind not in PASSING]
    dead = [row for row in active if row.dead and row.units and row.dead >= _DEAD * row.units]
    seen = "that example" if examples == 1 else f"all {examples:,} examples"
    if len(dead) > 3:
        most = max(row.dead / row.units for row in dead if row.dead and row.units)
        notes.append(f"{_listed(dead)}: up to {most:.0%} of the units are dead, 0 for {seen}")
    else:
        notes += [f"{_name(row)}: {row.dead} of {_are(row.units or 0, 'unit')} dead, 0 for {seen}" for row in dead]
    # The last layer may saturate: a good classifier is confident.
    saturated = [row for row in active if row is not rows[-1] and (row.saturated or 0) >= _SATURATED]
    if saturated:
        most = max(row.saturated or 0 for row in saturated)
        share = f"{'up to ' if len(saturated) > 1 else ''}{most:.0%}"
        notes.append(f"{_listed(saturated)}: {share} of the outputs are at their bounds: saturated, hardly any slope")
    updates = [(row.update_ratio, row) for row in rows if row.update_ratio]
    if large := [(ratio, row) for ratio, row in updates if ratio > _LARGE_UPDATE]:
        most = max(ratio for ratio, _ in large)
        times = f"{'up to ' if len(large) > 1 else ''}{most:.2g} times"
        layers = _listed([row for _, row in large])
        notes.append(f"{layers}: an update of {times} the parameters; is the learning rate too high?")
    if small := [(ratio, row) for ratio, row in updates if ratio < _SMALL_UPDATE]:
        least = min(ratio for ratio, _ in small)
        times = f"{'as little as ' if len(small) > 1 else ''}{least:.1e} times"
        notes.append(f"{_listed([row for _, row in small])}: an update of {times} the parameters hardly moves them")
    return notes


def _listed(rows: list[LayerRow]) -> str:
    """The names of the first three layers, and the number of the others."""
    names = [_name(row) for row in rows]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
