"""The `Metric` protocol, metrics that are means, and the precision of the metric functions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import ParamSpec, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_accepts
from .._core.described import Described, described
from .._core.dtypes import widened
from .._core.errors import describe, fail
from .._core.inputs import leaves
from .._core.norms import divided
from .._core.trees import to_jax
from .._core.typed import jit, tree_map
from .._core.types import Array, PyTree
from ..losses.common import check_rows_apart, per_example_hint

Totals = PyTree
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _add(a: Totals, b: Totals) -> Totals:
    return jax.tree.map(jnp.add, a, b)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Metric(Described):
    """A metric accumulated over batches: the totals of each batch are merged, and the result is computed at the end.

    Attributes:
      name: the key in logs and history.
      measure: ``measure(predictions, targets, weights) -> totals``, a pytree of arrays; ``weights`` is (batch,). An
        example of weight 0 must not count, since batches are padded with such examples.
      result: ``result(totals) -> scalar``.
      merge: ``merge(totals, totals) -> totals``; default the sum. All-zero totals must be its neutral element.
      spec: the name by which the library made it, so that a task with another loss can adapt it; else None.
    """

    name: str
    measure: Callable[[PyTree, PyTree, Array], Totals]
    result: Callable[[Totals], Array]
    merge: Callable[[Totals, Totals], Totals] = _add
    spec: str | None = None

    def replace(self, **changes: object) -> Self:
        """The same metric with other fields; one that computes something else is no longer adapted to a task's loss."""
        return super().replace(**changes if changes.keys() <= {"name"} else {"spec": None, **changes})


@jit(static_argnums=0)
def value_of(metric: Metric, predictions: PyTree, targets: PyTree, weights: Array) -> Array:
    """The value of a metric over one batch, as one program: its operations one by one would be a program each."""
    return metric.result(metric.measure(predictions, targets, weights))


@described
def mean_metric(name: str, fn: Callable[[PyTree, PyTree], Array]) -> Metric:
    """A metric from ``fn(predictions, targets) -> (batch,)``: the mean over all examples, weighted by sample weights.

    It is summed in float32 at least, and 0 if no example has a weight above 0, as the loss is.
    """
    check_accepts(f"metric {name!r}", "(predictions, targets)", fn, 2)

    def measure(predictions: PyTree, targets: PyTree, weights: Array) -> Totals:
        check_rows_apart(f"metric {name!r}", fn, predictions, targets)
        values = fn(predictions, targets)
        if getattr(values, "shape", None) != weights.shape:
            hint = per_example_hint(values) if hasattr(values, "shape") else ""
            hint = "Does it end in a return?" if values is None else hint
            expected = f"one value per example, of shape {weights.shape}"
            fail(f"metric {name!r}", expected=expected, got=describe(values), hint=hint)
        values = jnp.asarray(values)
        weights = widened(jnp.asarray(weights))
        values = values.astype(weights.dtype)
        # A row of weight 0 is left out even where its value is not finite.
        return jnp.sum(jnp.where(weights == 0, jnp.zeros_like(values), weights * values)), jnp.sum(weights)

    return Metric(name, measure, lambda totals: divided(*totals))


def float64_on_host(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function of arrays that computes in float64 if an argument is on the host, for which float64 is exact.

    Its result has the default dtypes. Arguments that JAX holds or traces are computed in their own dtype.
    """

    @functools.wraps(fn)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        given = leaves((args, kwargs))
        arrays = [leaf for leaf in given if hasattr(leaf, "dtype")]
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in given)
        if traced or (arrays and all(isinstance(leaf, jax.Array) for leaf in arrays)):
            return fn(*args, **kwargs)
        with jax.enable_x64(True):
            out = fn(*args, **kwargs)
        # A mean of an empty bin is NaN, and a value may be beyond float32.
        with jax.debug_nans(False), np.errstate(over="ignore"):
            return tree_map(lambda a: to_jax(np.asarray(a)) if isinstance(a, jax.Array) else a, out)

    return wrapped
