"""Targets and predictions as the metric functions take them, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_float, check_range, is_concrete
from .._core.dtypes import at_least_float32, is_float, widened
from .._core.errors import describe, fail, shape_text
from .._core.types import Array
from ..losses.common import align
from .metric import Metric

# Stand for a prediction that holds NaN and for a target that is no class: neither equals the other, or any class.
_NO_ANSWER, _NO_CLASS = np.int32(-(2**31)), np.int32(-(2**31) + 1)


def numeric_array(where: str, name: str, x: Any, *, classes: bool = False) -> Array:
    """An array of numbers; anything else is refused, and so are class numbers that int32 does not hold."""
    x = as_array(f"{where} {name}", x)
    if classes and isinstance(x, np.ndarray) and x.dtype.kind in "iu" and x.size:
        low, high = int(x.min()), int(x.max())
        if max(-low, high) >= 2**31 - 1:
            fail(where, expected=f"{name} that int32 holds", got=f"numbers from {low} to {high}")
    with jax.debug_nans(False):  # a row of weight 0 may hold NaN
        return jnp.asarray(x)


def _weights(where: str, sample_weight: Any, count: int, dtype: Any) -> Array | None:
    """Sample weights (count,); those that are not finite, negative or all 0 are refused where they are known."""
    if sample_weight is None:
        return None
    weights = numeric_array(where, "sample weights", sample_weight).astype(dtype)
    if weights.shape != (count,):
        fail(where, expected=f"sample weights of shape {shape_text((count,))}", got=describe(weights))
    if is_concrete(weights):
        values = np.asarray(weights)
        for bad, expected in ((~np.isfinite(values), "finite sample weights"), (values < 0, "weights of at least 0")):
            if bad.any():
                row = int(np.argmax(bad))
                fail(f"{where} sample_weight", expected=expected, got=f"{values[row]:g} in row {row}")
        if not values.any():
            fail(f"{where} sample_weight", expected="at least one weight above 0", got="none")
    return weights


class Given(NamedTuple):
    """Arguments of a function on classes, checked.

    Attributes:
      predictions, targets: arrays.
      weights: (batch,), None without sample weights.
      several: whether rows hold yes/no labels, any number of which may be 1.
      threshold: for yes/no scores.
      rows: an index of the rows that count, where the weights are known.
    """

    predictions: Array
    targets: Array
    weights: Array | None
    several: bool
    threshold: Any
    rows: Any

    def measured(self, metric: Metric) -> Array:
        """The value of a metric."""
        weights = self.weights
        if weights is None:
            weights = jnp.ones(self.predictions.shape[:1], jnp.result_type(float))
        return metric.result(metric.measure(self.predictions, self.targets, weights))


def _check_lengths(where: str, predictions: Array, targets: Array) -> None:
    if predictions.ndim == 0 or predictions.size == 0:
        fail(where, expected="at least one example", got=describe(predictions))
    if targets.ndim == 0 or targets.shape[0] != predictions.shape[0]:
        got = f"{describe(predictions)} and {describe(targets)}"
        fail(where, expected="predictions and targets of the same length", got=got)


def check_given(
    where: str,
    predictions: Any,
    targets: Any,
    threshold: Any = None,
    multi_label: bool | None = None,
    sample_weight: Any = None,
    *,
    scores: bool = True,
    hint: str = "Rows of several yes/no labels need multi_label=True.",
) -> Given:
    """Predictions and targets as arrays; what cannot be classes is refused where values are known.

    Args:
      where: the function that was called.
      predictions, targets, threshold, multi_label, sample_weight: as in `accuracy`.
      scores: whether yes/no scores are compared with the threshold, and have to be probabilities without one.
      hint: what to do with rows of several yes/no labels.
    """
    both = ("predictions", predictions), ("targets", targets)
    p, t = (numeric_array(where, name, x, classes=True) for name, x in both)
    _check_lengths(where, p, t)
    if multi_label not in (None, True, False):
        fail(where, expected="multi_label True, False or None", got=repr(multi_label))
    weights = _weights(where, sample_weight, p.shape[0], jnp.result_type(float))
    rows = slice(None) if weights is None or not is_concrete(weights) else np.flatnonzero(np.asarray(weights))
    if threshold is not None:
        check_range(where, "threshold", threshold)
    # Rows that are 0 and 1 mean the same in any dtype: one score for each class.
    if p.shape == t.shape and p.ndim > 1 and (p.dtype == bool or (_all_one_hot(p) and _all_one_hot(t))):
        p = p.astype(jnp.float32)
    several = _several(p, t, rows) if multi_label is None else multi_label
    if is_concrete(p) and is_float(p):
        _check_scores(where, on_host(p)[rows], scores and threshold is None and (several or is_single(p)))
    if is_concrete(t):
        check_class_labels(where, p, np.asarray(t)[rows], several, hint)
    return Given(p, t, weights, several, 0.5 if threshold is None else threshold, rows)


def on_host(x: Array) -> np.ndarray:
    """The values of a concrete array, those of half precision in float32."""
    values = np.asarray(x)
    return values.astype(at_least_float32(values.dtype)) if is_float(x) else values


def _several(p: Array, t: Array, rows: Any) -> bool:
    """Whether rows of targets hold yes/no labels: 0 and 1, or -1 and +1, and some row is not one-hot."""
    if p.ndim < 2 or p.shape[-1] < 2 or t.shape != p.shape or not is_concrete(t):
        return False
    labels = on_host(t)[rows]
    if not is_float(p) and not (is_concrete(p) and np.isin(np.asarray(p)[rows], (0, 1)).all()):
        return False
    return bool(np.isin(labels, (-1, 0, 1)).all()) and not _one_hot_rows(labels).all()


def _one_hot_rows(labels: np.ndarray) -> np.ndarray:
    """Which rows hold zeros and a single one."""
    return np.isin(labels, (0, 1)).all(-1) & (labels.sum(-1) == 1)


def _all_one_hot(x: Array) -> bool:
    """Whether an array is known to hold whole numbers in one-hot rows of several classes."""
    if is_float(x) or x.shape[-1] < 2 or not is_concrete(x):
        return False
    return bool(_one_hot_rows(np.asarray(x)).all())


def _check_scores(where: str, p: np.ndarray, probabilities: bool) -> None:
    """Refuse NaN among scores, and single ones outside [0, 1] that are to be cut at 0.5."""
    if bad := int(np.isnan(p).reshape(len(p), -1).any(1).sum()):
        got = f"NaN in {bad} of {len(p)} rows"
        hint = "NaN is no class. Look for its cause with fnn.fit(..., check='finite'), or give such rows the weight 0."
        fail(where, expected="predictions without NaN", got=got, hint=hint)
    if probabilities and not (p.min() >= 0 and p.max() <= 1):
        got, hint = f"scores from {p.min():g} to {p.max():g}", "Logits need threshold=0.0."
        fail(where, expected="probabilities in [0, 1], which are cut at 0.5", got=got, hint=hint)


def check_class_labels(where: str, p: Any, t: np.ndarray, several: bool, hint: str) -> None:
    """Refuse targets that are no labels for these predictions, of which shape and dtype are read.

    Args:
      where: for the error.
      p: predictions, or their `jax.ShapeDtypeStruct`.
      t: the rows of targets that count.
      several: whether they hold yes/no labels.
      hint: what to do if they do and this was not expected.
    """
    if t.dtype == bool:
        t = t.astype(np.int8)
    elif is_float(t):
        t = t.astype(at_least_float32(t.dtype))
    swapped = "Are the arguments swapped? Predictions come first."
    span = f"{describe(t)} with values from {t.min():g} to {t.max():g}" if t.size else describe(t)
    if several or is_single(p):
        # The logistic loss has labels -1 and +1.
        if not (np.isin(t, (0, 1)).all() or np.isin(t, (-1, 1)).all()):
            fail(where, expected="targets of 0 and 1, or -1 and +1", got=span, hint=swapped)
    elif t.ndim > 1 and t.shape[-1] > 1 and (t.dtype.kind == "f" or (is_float(p) and t.shape[1:] == p.shape[1:])):
        if not _one_hot_rows(t).all():
            expected = "class numbers or one-hot rows, of 0 and a single 1, as targets"
            fail(where, expected=expected, got=span, hint=f"{swapped} {hint}")
    elif is_float(p) and t.dtype.kind in "iu" and not (t.min() >= 0 and t.max() < p.shape[-1]):
        expected = f"class numbers in [0, {p.shape[-1]}) for {p.shape[-1]} scores"
        fail(where, expected=expected, got=f"numbers from {t.min()} to {t.max()}")


def is_single(p: Any) -> bool:
    """Whether predictions are one yes/no score for each example or step."""
    return is_float(p) and (len(p.shape) < 2 or p.shape[-1] == 1)


# ------------------------------------------------------------------------------------------------- counting, compiled
def mean_by_example(hits: Array) -> Array:
    """The mean of each example over its other axes."""
    return jnp.mean(hits.astype(jnp.result_type(float)), tuple(range(1, hits.ndim)))


def yes_no_pairs(where: str, predictions: Array, targets: Array, threshold: Any) -> tuple[Array, Array]:
    """Labels predicted and true, 1 for yes and 0 for no, of one shape."""
    p, t = jnp.asarray(predictions), jnp.asarray(targets)
    p, t = align(where, widened(p) if is_float(p) else p.astype(jnp.float32), t)
    yes, true = (p > jnp.asarray(threshold, p.dtype)).astype(jnp.int32), (t > 0.5).astype(jnp.int32)
    return jnp.where(jnp.isnan(p), _NO_ANSWER, yes), jnp.where(jnp.isnan(t), _NO_CLASS, true)


def class_pairs(where: str, predictions: Array, targets: Array, threshold: Any) -> tuple[Array, Array]:
    """Class numbers predicted and true, of one shape (batch, ...)."""
    p, t = jnp.asarray(predictions), jnp.asarray(targets)
    if is_single(p):
        p, t = yes_no_pairs(where, p, t, threshold)
        return (p[..., 0], t[..., 0]) if p.ndim > 1 else (p, t)
    t = _class_numbers(p, t)
    if is_float(p):
        p = jnp.where(jnp.isnan(p).any(-1), _NO_ANSWER, jnp.argmax(p, -1).astype(jnp.int32))
    else:
        p = _squeezed(p.astype(jnp.int32))
    if p.shape != t.shape:
        got = f"{describe(predictions)} and {describe(targets)}"
        fail(where, expected="targets that fit the predictions", got=got)
    return p, t


def _squeezed(numbers: Array) -> Array:
    return numbers[..., 0] if numbers.ndim > 1 and numbers.shape[-1] == 1 else numbers


def _class_numbers(predictions: Array, targets: Array) -> Array:
    """Class numbers of targets: one-hot rows are those of the predictions' shape with several classes."""
    if is_float(predictions) and targets.shape == predictions.shape:
        top = jnp.max(targets, -1)
        # A row without a positive entry is of no class.
        return jnp.where(top > 0, jnp.argmax(targets, -1).astype(jnp.int32), _NO_CLASS)
    if is_float(targets):
        hint = "Use y.astype('int32'). Predictions come first, then targets."
        fail("targets", expected="integer class numbers, or one-hot rows", got=describe(targets), hint=hint)
    return _squeezed(targets.astype(jnp.int32))


def value_of(metric: Metric, predictions: Any, targets: Any, sample_weight: Any) -> Array:
    """The value of a metric of numbers, in the wider of the dtypes of predictions and targets."""
    p, t = (numeric_array(metric.name, name, x) for name, x in (("predictions", predictions), ("targets", targets)))
    _check_lengths(metric.name, p, t)
    check_float(metric.name, p, "Losses and metrics take the model's floating-point outputs as predictions.")
    p, t = same_width(p, t)
    weights = _weights(metric.name, sample_weight, p.shape[0], p.dtype)
    weights = jnp.ones(p.shape[:1], p.dtype) if weights is None else weights
    return metric.result(metric.measure(p, t, weights))


def same_width(*arrays: Array) -> list[Array]:
    """Arrays in the widest floating-point dtype among them, float32 at least."""
    dtypes = [at_least_float32(a.dtype) for a in arrays if is_float(a)]
    wide = max(dtypes, key=lambda dtype: int(jnp.finfo(dtype).bits))
    return [a.astype(wide) for a in arrays]
