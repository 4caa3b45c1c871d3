"""Metrics: values of whole arrays, and `Metric`, the same numbers gathered batch by batch inside compiled code.

The functions see values, so they refuse invalid values: NaN among predictions of classes, labels outside the
classes, weights that are negative or not finite. They compute in float64 where an argument comes from NumPy. Inside
compiled code values are not known: there a prediction that holds NaN, or a label outside the classes, counts as wrong.
An example of weight 0 counts for nothing in both, whatever it holds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from . import losses
from ._checks import check_count, check_float, check_range, describe, fail, is_concrete, lookup, shape_text
from ._dtypes import at_least_float32
from ._inputs import as_array, leaves
from .losses import align, expects

Array = jax.Array
Totals = Any

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Stand for a prediction that holds NaN and for a target that is no class: neither equals the other, or any class.
_NO_ANSWER, _NO_CLASS = np.int32(-(2**31)), np.int32(-(2**31) + 1)


def _add(a: Totals, b: Totals) -> Totals:
    return jax.tree.map(jnp.add, a, b)


def _ratio(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where b is 0."""
    return jnp.where(b != 0, a / jnp.where(b != 0, b, jnp.ones_like(b)), jnp.zeros_like(a))


class Metric(NamedTuple):
    """A metric that is gathered over batches: totals of each batch are merged, and the result is taken at the end.

    Attributes:
      name: the key in logs and history.
      measure: ``measure(predictions, targets, weights) -> totals``, a pytree of arrays; ``weights`` is (batch,). An
        example of weight 0 must count for nothing, since batches are filled up with such.
      result: ``result(totals) -> scalar``.
      merge: ``merge(totals, totals) -> totals``; default the sum. All-zero totals must be its neutral element.
      spec: the name it was looked up by, if it was, so that a task with another loss looks it up again.
    """

    name: str
    measure: Callable[[Any, Any, Array], Totals]
    result: Callable[[Totals], Array]
    merge: Callable[[Totals, Totals], Totals] = _add
    spec: str | None = None


def mean_metric(name: str, fn: Callable[[Any, Any], Array]) -> Metric:
    """A metric from ``fn(predictions, targets) -> (batch,)``: the mean over all examples, weighted if weights came.

    It is summed in float32 at least, and 0 if no example has a weight above 0, as the loss is.
    """

    def measure(predictions: Any, targets: Any, weights: Array) -> Totals:
        values = jnp.asarray(fn(predictions, targets))
        if values.shape != weights.shape:
            fail(f"metric {name!r}", expected=f"one value per example, of shape {weights.shape}", got=describe(values))
        weights = _wide(jnp.asarray(weights))
        values = values.astype(weights.dtype)
        # A row of weight 0 is left out even where its value is not finite.
        return jnp.sum(jnp.where(weights == 0, jnp.zeros_like(values), weights * values)), jnp.sum(weights)

    return Metric(name, measure, lambda totals: _ratio(*totals))


# -------------------------------------------------------------------------------------------------- what is known now
def _in_double(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function of arrays that computes in float64 where one of them is on the host, for which that is exact."""

    @functools.wraps(fn)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        given = leaves((args, kwargs))
        arrays = [leaf for leaf in given if hasattr(leaf, "dtype")]
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in given)
        if traced or (arrays and all(isinstance(leaf, jax.Array) for leaf in arrays)):
            return fn(*args, **kwargs)
        with jax.enable_x64(True):
            out = fn(*args, **kwargs)
        with jax.debug_nans(False):  # such as the mean of an empty bin
            return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)) if isinstance(a, jax.Array) else a, out)

    return wrapped


def _numeric(where: str, name: str, x: Any, *, classes: bool = False) -> Array:
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
    weights = _numeric(where, "sample weights", sample_weight).astype(dtype)
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


class _Given(NamedTuple):
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


def _given(
    where: str,
    predictions: Any,
    targets: Any,
    threshold: Any = None,
    multi_label: bool | None = None,
    sample_weight: Any = None,
    *,
    scores: bool = True,
    hint: str = "Rows of several yes/no labels need multi_label=True.",
) -> _Given:
    """Predictions and targets as arrays; what cannot be classes is refused where values are known.

    Args:
      where: the function that was called.
      predictions, targets, threshold, multi_label, sample_weight: as in `accuracy`.
      scores: whether yes/no scores are compared with the threshold, and have to be probabilities without one.
      hint: what to do with rows of several yes/no labels.
    """
    both = ("predictions", predictions), ("targets", targets)
    p, t = (_numeric(where, name, x, classes=True) for name, x in both)
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
    if is_concrete(p) and _is_float(p):
        _check_scores(where, _host(p)[rows], scores and threshold is None and (several or _single(p)))
    if is_concrete(t):
        _check_labels(where, p, np.asarray(t)[rows], several, hint)
    return _Given(p, t, weights, several, 0.5 if threshold is None else threshold, rows)


def _host(x: Array) -> np.ndarray:
    """The values of a concrete array, those of half precision in float32."""
    values = np.asarray(x)
    return values.astype(at_least_float32(values.dtype)) if _is_float(x) else values


def _several(p: Array, t: Array, rows: Any) -> bool:
    """Whether rows of targets hold yes/no labels: 0 and 1, or -1 and +1, and some row is not one-hot."""
    if p.ndim < 2 or p.shape[-1] < 2 or t.shape != p.shape or not is_concrete(t):
        return False
    labels = _host(t)[rows]
    if not _is_float(p) and not (is_concrete(p) and np.isin(np.asarray(p)[rows], (0, 1)).all()):
        return False
    return bool(np.isin(labels, (-1, 0, 1)).all()) and not _one_hot_rows(labels).all()


def _one_hot_rows(labels: np.ndarray) -> np.ndarray:
    """Which rows hold zeros and a single one."""
    return np.isin(labels, (0, 1)).all(-1) & (labels.sum(-1) == 1)


def _all_one_hot(x: Array) -> bool:
    """Whether an array is known to hold whole numbers in one-hot rows of several classes."""
    if _is_float(x) or x.shape[-1] < 2 or not is_concrete(x):
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


def _check_labels(where: str, p: Any, t: np.ndarray, several: bool, hint: str) -> None:
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
    elif _is_float(t):
        t = t.astype(at_least_float32(t.dtype))
    swapped = "Are the arguments swapped? Predictions come first."
    span = f"{describe(t)} with values from {t.min():g} to {t.max():g}" if t.size else describe(t)
    if several or _single(p):
        # The logistic loss has labels -1 and +1.
        if not (np.isin(t, (0, 1)).all() or np.isin(t, (-1, 1)).all()):
            fail(where, expected="targets of 0 and 1, or -1 and +1", got=span, hint=swapped)
    elif t.ndim > 1 and t.shape[-1] > 1 and (t.dtype.kind == "f" or (_is_float(p) and t.shape[1:] == p.shape[1:])):
        if not _one_hot_rows(t).all():
            expected = "class numbers or one-hot rows, of 0 and a single 1, as targets"
            fail(where, expected=expected, got=span, hint=f"{swapped} {hint}")
    elif _is_float(p) and t.dtype.kind in "iu" and not (t.min() >= 0 and t.max() < p.shape[-1]):
        expected = f"class numbers in [0, {p.shape[-1]}) for {p.shape[-1]} scores"
        fail(where, expected=expected, got=f"numbers from {t.min()} to {t.max()}")


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def _wide(x: Array) -> Array:
    """The same in float32 at least, where it is floating-point."""
    return x.astype(at_least_float32(x.dtype)) if _is_float(x) else x


def _single(p: Any) -> bool:
    """Whether predictions are one yes/no score for each example or step."""
    return _is_float(p) and (len(p.shape) < 2 or p.shape[-1] == 1)


# ------------------------------------------------------------------------------------------------- counting, compiled
def _per_example(hits: Array) -> Array:
    return jnp.mean(hits.astype(jnp.result_type(float)), tuple(range(1, hits.ndim)))


def _yes_no(where: str, predictions: Array, targets: Array, threshold: Any) -> tuple[Array, Array]:
    """Labels predicted and true, 1 for yes and 0 for no, of one shape."""
    p, t = jnp.asarray(predictions), jnp.asarray(targets)
    p, t = align(where, _wide(p) if _is_float(p) else p.astype(jnp.float32), t)
    yes, true = (p > jnp.asarray(threshold, p.dtype)).astype(jnp.int32), (t > 0.5).astype(jnp.int32)
    return jnp.where(jnp.isnan(p), _NO_ANSWER, yes), jnp.where(jnp.isnan(t), _NO_CLASS, true)


def _class_pairs(where: str, predictions: Array, targets: Array, threshold: Any) -> tuple[Array, Array]:
    """Class numbers predicted and true, of one shape (batch, ...)."""
    p, t = jnp.asarray(predictions), jnp.asarray(targets)
    if _single(p):
        p, t = _yes_no(where, p, t, threshold)
        return (p[..., 0], t[..., 0]) if p.ndim > 1 else (p, t)
    t = _class_numbers(p, t)
    if _is_float(p):
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
    if _is_float(predictions) and targets.shape == predictions.shape:
        top = jnp.max(targets, -1)
        # A row without a positive entry is of no class.
        return jnp.where(top > 0, jnp.argmax(targets, -1).astype(jnp.int32), _NO_CLASS)
    if _is_float(targets):
        hint = "Use y.astype('int32'). Predictions come first, then targets."
        fail("targets", expected="integer class numbers, or one-hot rows", got=describe(targets), hint=hint)
    return _squeezed(targets.astype(jnp.int32))


def _hits(predictions: Array, targets: Array, threshold: Any) -> Array:
    p, t = _class_pairs("accuracy", predictions, targets, threshold)
    return _per_example(p == t)


def _label_hits(where: str, predictions: Array, targets: Array, threshold: Any) -> Array:
    p, t = _yes_no(where, predictions, targets, threshold)
    return _per_example(p == t)


def _top_k_hits(predictions: Array, targets: Array, k: int) -> Array:
    predictions = jnp.asarray(predictions)
    if predictions.ndim < 2 or predictions.shape[-1] < 2 or not _is_float(predictions):
        got = f"{describe(predictions)} and {describe(targets)}"
        fail("top_k_accuracy", expected="predictions (batch, ..., classes) and class numbers or one-hot rows", got=got)
    best, t = _class_pairs("top_k_accuracy", predictions, targets, None)
    # The rank of the right class; of equal scores the lower class number comes first, as in argmax.
    known = (t >= 0) & (t < predictions.shape[-1]) & (best >= 0)
    t = jnp.where(known, t, jnp.zeros_like(t))
    own = jnp.take_along_axis(predictions, t[..., None], -1)
    classes = jax.lax.broadcasted_iota(jnp.int32, predictions.shape, predictions.ndim - 1)
    ahead = (predictions > own) | ((predictions == own) & (classes < t[..., None]))
    return _per_example((jnp.sum(ahead, -1) < k) & known)


class _Counts(NamedTuple):
    """Of each class or label: how often it was right, predicted, and true."""

    right: Array
    predicted: Array
    true: Array


def _spread_weights(weights: Array | None, shape: tuple[int, ...]) -> Array:
    """The weight of each label in (batch, ...), by default the integer 1, of which sums stay exact."""
    if weights is None:
        return jnp.ones(shape, jnp.int32)
    return jnp.broadcast_to(_wide(weights).reshape((-1,) + (1,) * (len(shape) - 1)), shape)


def _by_label(p: Array, t: Array, weights: Array | None) -> _Counts:
    """Counts of each yes/no label on the last axis; a single one without it."""
    if p.ndim == 1:
        p, t = p[:, None], t[:, None]
    w, axes = _spread_weights(weights, p.shape), tuple(range(p.ndim - 1))
    yes, true = (jnp.where(a == 1, w, jnp.zeros_like(w)) for a in (p, t))
    right = jnp.where(p == t, yes, jnp.zeros_like(yes))
    return _Counts(*(jnp.sum(a, axes) for a in (right, yes, true)))


def _by_class(p: Array, t: Array, weights: Array | None, classes: int) -> _Counts:
    """Counts of each class; numbers outside [0, classes) are of none."""
    w = _spread_weights(weights, p.shape).ravel()
    p, t = p.ravel(), t.ravel()

    def count(numbers: Array, w: Array) -> Array:
        # A negative number would count from the end; as one beyond the last it is dropped.
        numbers = jnp.where(numbers < 0, classes, numbers)
        return jnp.zeros(classes, w.dtype).at[numbers].add(w, mode="drop")

    return _Counts(count(t, jnp.where(p == t, w, jnp.zeros_like(w))), count(p, w), count(t, w))


class ClassScores(NamedTuple):
    """Scores by class, or by label where examples have several; each of shape (classes,)."""

    precision: Array
    recall: Array
    f1: Array
    support: Array


def _scores(counts: _Counts) -> ClassScores:
    dtype = at_least_float32(counts.true.dtype) if _is_float(counts.true) else jnp.dtype("float32")
    right, predicted, true = (a.astype(dtype) for a in counts)
    f1 = _ratio(2 * right, true + predicted)
    return ClassScores(_ratio(right, predicted), _ratio(right, true), f1, counts.true)


@_in_double
def accuracy(
    predictions: Any,
    targets: Any,
    *,
    threshold: Any = None,
    multi_label: bool | None = None,
    sample_weight: Any = None,
) -> Array:
    """The fraction of examples whose class is right; for several yes/no labels the fraction of right labels.

    Args:
      predictions: (batch, classes) scores of any kind, whose largest counts; or (batch,) or (batch, 1) scores of one
        class against ``threshold``; or (batch,) integers, the classes themselves. Axes may lie between, such as steps.
      targets: (batch,) class numbers, or one-hot rows of the predictions' shape; or rows of yes/no labels, 0 and 1 or
        -1 and +1, of any real dtype or booleans.
      threshold: for yes/no scores; default 0.5, for probabilities. Logits need ``threshold=0.0``: a logit between 0
        and 0.5 means class 1, and only logits outside [0, 1] give themselves away. The metrics of a `Task` know its
        loss and need no threshold.
      multi_label: whether rows of targets hold yes/no labels, any number of which may be 1. Default None: they do if
        they have the predictions' shape, hold 0 and 1 (or -1 and +1), and at least one row is not one-hot. Where
        every row has exactly one label, say it: rows that all look one-hot are taken for classes. Inside ``jit``,
        where values are not known, None means classes. A `Task` goes by its loss alone.
      sample_weight: (batch,); the result is the weighted mean.

    Raises:
      InputError: when shapes do not fit, for text, and, when the values are known (not inside ``jit``), for NaN among
        the predictions, labels outside the classes, rows of targets that are neither one-hot nor yes/no labels, yes/no
        scores outside [0, 1] without a threshold, and sample weights that are negative, not finite or all 0. Rows of
        weight 0 are not looked at. Inside ``jit`` a prediction that holds NaN counts as wrong.

    >>> print(accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]))
    0.5
    >>> print(accuracy([[0.1, 0.9, 0.7], [0.8, 0.2, 0.6]], [[0, 1, 1], [0, 0, 1]]))
    0.8333333
    """
    given = _given("accuracy", predictions, targets, threshold, multi_label, sample_weight)
    return given.measured(_accuracy(given.threshold, given.several))


@_in_double
def binary_accuracy(predictions: Any, targets: Any, *, threshold: Any = None, sample_weight: Any = None) -> Array:
    """The fraction of yes/no labels that are right, over examples and labels (multi-label accuracy).

    Args:
      predictions: (batch, ...); above ``threshold`` means yes.
      targets: of the same shape, 0 and 1 or -1 and +1; above 0.5 means yes.
      threshold: default 0.5, for probabilities. Logits need ``threshold=0.0``, see `accuracy`.
      sample_weight: (batch,).

    Raises:
      InputError: as `accuracy`.

    >>> print(binary_accuracy([[0.9, 0.1], [0.2, 0.3]], [[1, 0], [1, 0]]))
    0.75
    """
    given = _given("binary_accuracy", predictions, targets, threshold, True, sample_weight)
    return given.measured(_accuracy(given.threshold, True, "binary_accuracy"))


@_in_double
def top_k_accuracy(predictions: Any, targets: Any, *, k: int = 5, sample_weight: Any = None) -> Array:
    """The fraction of examples whose right class is among the ``k`` highest scores.

    Args:
      predictions: (batch, classes) scores.
      targets: (batch,) class numbers, or one-hot rows.
      k: how many scores count, default 5.
      sample_weight: (batch,).

    Raises:
      InputError: as `accuracy`, and for rows of several labels, of which none is the right one.

    >>> print(top_k_accuracy([[0.5, 0.3, 0.2]], [1], k=2))
    1.0
    """
    hint = "Of several labels none is the right one; see binary_accuracy."
    given = _given("top_k_accuracy", predictions, targets, None, False, sample_weight, scores=False, hint=hint)
    return given.measured(top_k(k))


@_in_double
def rmse(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The root of the mean squared error over examples and outputs, in the unit of the targets.

    >>> print(rmse([1.0, 2.0], [1.0, 4.0]))
    1.4142135
    """
    return _value(_rmse(), predictions, targets, sample_weight)


@_in_double
def mae(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The mean absolute error over examples and outputs, in the unit of the targets.

    >>> print(mae([1.0, 2.0], [1.0, 4.0]))
    1.0
    """
    return _value(_mean_error("mae", losses.mean_absolute_error), predictions, targets, sample_weight)


@_in_double
def r2_score(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The coefficient of determination, ``1 - sum (t - p)^2 / sum (t - mean t)^2``, the mean over outputs.

    1 is perfect, 0 is as good as the mean. A constant output counts 1 if predicted exactly and else 0, as in
    scikit-learn. Sums are taken of deviations from a target, so that a mean far from 0 costs no precision.

    >>> print(r2_score([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    1.0
    """
    return _value(_r2(), predictions, targets, sample_weight)


def _value(metric: Metric, predictions: Any, targets: Any, sample_weight: Any) -> Array:
    """The value of a metric of numbers, in the wider of the dtypes of predictions and targets."""
    p, t = (_numeric(metric.name, name, x) for name, x in (("predictions", predictions), ("targets", targets)))
    _check_lengths(metric.name, p, t)
    check_float(metric.name, p, "Losses and metrics take the model's floating-point outputs as predictions.")
    p, t = _same_width(p, t)
    weights = _weights(metric.name, sample_weight, p.shape[0], p.dtype)
    weights = jnp.ones(p.shape[:1], p.dtype) if weights is None else weights
    return metric.result(metric.measure(p, t, weights))


def _same_width(*arrays: Array) -> list[Array]:
    """Arrays in the widest floating-point dtype among them, float32 at least."""
    dtypes = [at_least_float32(a.dtype) for a in arrays if _is_float(a)]
    wide = max(dtypes, key=lambda dtype: int(jnp.finfo(dtype).bits))
    return [a.astype(wide) for a in arrays]


@_in_double
def confusion_matrix(
    predictions: Any,
    targets: Any,
    *,
    num_classes: int | None = None,
    threshold: Any = None,
    multi_label: bool | None = None,
    sample_weight: Any = None,
) -> Array:
    """Counts by true class (rows) and predicted class (columns), of shape (classes, classes), int32.

    Args:
      predictions, targets, threshold, multi_label: as in `accuracy`.
      num_classes: default the predictions' last axis, or 2 for one score, or one more than the largest number.
      sample_weight: (batch,); the entries are then sums of weights, float32.

    Returns:
      (classes, classes); for several yes/no labels (labels, 2, 2), a matrix of no and yes for each, as
      scikit-learn's ``multilabel_confusion_matrix``. Inside ``jit`` a prediction that holds NaN is in no entry.

    Raises:
      InputError: as `accuracy`, and for class numbers outside [0, num_classes), when they are known (not inside
        ``jit``).

    >>> print(confusion_matrix([0, 1, 1], [0, 1, 0]))
    [[1 1]
     [0 1]]
    """
    where = "confusion_matrix"
    given = _given(where, predictions, targets, threshold, multi_label, sample_weight)
    p, t, classes = _answers(where, given, num_classes)
    w = _spread_weights(given.weights, p.shape)
    if given.several:
        counts = _by_label(p, t, given.weights)
        known = jnp.sum(jnp.where((p >= 0) & (t >= 0), w, jnp.zeros_like(w)).reshape(-1, classes), 0)
        wrong = counts.predicted - counts.right, counts.true - counts.right
        cells = (known - sum(wrong) - counts.right, *wrong, counts.right)
        return jnp.stack(cells, -1).reshape(classes, 2, 2)
    p, t = (jnp.where(a < 0, classes, a) for a in (p, t))
    return jnp.zeros((classes, classes), w.dtype).at[t, p].add(w, mode="drop")


def _answers(where: str, given: _Given, num_classes: int | None) -> tuple[Array, Array, int]:
    """Classes, or yes/no labels with one column each, predicted and true; and how many classes or labels there are."""
    predictions = given.predictions
    if given.several:
        p, t = _yes_no(where, predictions, given.targets, given.threshold)
        p, t = (p[:, None], t[:, None]) if p.ndim == 1 else (p, t)
        if num_classes not in (None, p.shape[-1]):
            fail(where, expected=f"num_classes={p.shape[-1]}, the number of labels", got=repr(num_classes))
        return p, t, p.shape[-1]
    p, t = _class_pairs(where, predictions, given.targets, given.threshold)
    known = is_concrete(p) and is_concrete(t)
    # Rows of weight 0 may hold anything, also numbers that no class has.
    seen = np.concatenate([np.asarray(a)[given.rows].ravel() for a in (p, t)]) if known else np.zeros(0, np.int32)
    if num_classes is None:
        if _is_float(predictions):
            num_classes = 2 if _single(predictions) else predictions.shape[-1]
        elif not known:
            fail(where, expected="num_classes inside jit, where class numbers are not known", got="None")
        else:
            num_classes = max(int(seen.max()) + 1, 1)
    check_count(where, "num_classes", num_classes)
    if known and not (seen.min() >= 0 and seen.max() < num_classes):
        got = f"numbers from {seen.min()} to {seen.max()}"
        fail(where, expected=f"class numbers in [0, {num_classes})", got=got)
    return p, t, num_classes


def scores_from_confusion(matrix: Any) -> ClassScores:
    """Precision, recall, F1 and support of each class from a confusion matrix (true, predicted).

    ``precision = tp / predicted``, ``recall = tp / true``, ``f1 = 2 tp / (predicted + true)``; 0 where the
    denominator is 0, as in scikit-learn.

    Args:
      matrix: (classes, classes), or (labels, 2, 2) for several yes/no labels; see `confusion_matrix`.
    """
    matrix = _wide(_numeric("scores_from_confusion", "matrix", matrix, classes=True))
    if matrix.ndim == 3:
        return _scores(_Counts(matrix[:, 1, 1], matrix[:, :, 1].sum(1), matrix[:, 1].sum(1)))
    return _scores(_Counts(jnp.diagonal(matrix), matrix.sum(0), matrix.sum(1)))


@_in_double
def precision_recall_f1(
    predictions: Any,
    targets: Any,
    *,
    num_classes: int | None = None,
    threshold: Any = None,
    multi_label: bool | None = None,
    sample_weight: Any = None,
) -> ClassScores:
    """Precision, recall, F1 and support of each class, or of each of several yes/no labels.

    Arguments and errors are those of `confusion_matrix`. Yes/no scores are cut at 0.5, as probabilities are; logits
    need ``threshold=0.0``. The mean over classes is scikit-learn's macro average.

    >>> print(precision_recall_f1([0, 1, 1], [0, 1, 0]).recall)
    [0.5 1. ]
    """
    where = "precision_recall_f1"
    return _class_scores(where, _given(where, predictions, targets, threshold, multi_label, sample_weight), num_classes)


def _class_scores(where: str, given: _Given, num_classes: int | None) -> ClassScores:
    p, t, classes = _answers(where, given, num_classes)
    return _scores(_by_label(p, t, given.weights) if given.several else _by_class(p, t, given.weights, classes))


def classification_report(
    predictions: Any,
    targets: Any,
    *,
    names: Sequence[Any] | None = None,
    threshold: Any = None,
    multi_label: bool | None = None,
    sample_weight: Any = None,
    digits: int = 3,
) -> str:
    """A text table of precision, recall, F1 and support by class or label, with averages.

    Of classes there are accuracy and the macro and weighted averages. Of several yes/no labels there is a row for each
    label, and below them the micro average (over all labels of all examples), the macro and weighted averages (over
    labels) and the samples average (over examples, each by its own labels), as in scikit-learn.

    The macro average is the mean over every class of the outputs (or of ``names``), also over one that no row has,
    which counts 0; scikit-learn leaves out classes that are neither among the targets nor predicted.

    Args:
      predictions, targets, threshold, multi_label, sample_weight: as in `confusion_matrix`.
      names: of the classes or labels; default their numbers.
      digits: behind the decimal point.

    Raises:
      InputError: as `confusion_matrix`, and when the number of names is not that of the classes.

    >>> print(classification_report([0, 1, 1, 0], [0, 1, 0, 0], names=["no", "yes"], digits=2))
                  precision  recall    f1  support
    no                 1.00    0.67  0.80        3
    yes                0.50    1.00  0.67        1
    <BLANKLINE>
    accuracy                         0.75        4
    macro avg          0.75    0.83  0.73        4
    weighted avg       0.88    0.75  0.77        4
    """
    rows, averages = _report_rows(predictions, targets, names, threshold, multi_label, sample_weight)
    width = max(len("weighted avg"), *(len(label) for label, *_ in rows))

    def line(label: str, values: Sequence[Any], count: Any) -> str:
        cells = ["" if v is None else f"{v:.{digits}f}" for v in values]
        # Sums of weights are no integers.
        support = f"{count:.1f}" if isinstance(count, float) else str(count)
        return f"{label:<{width}}  {cells[0]:>9}  {cells[1]:>6}  {cells[2]:>{digits + 2}}  {support:>7}"

    head = f"{'':<{width}}  precision  recall  {'f1':>{digits + 2}}  support"
    return "\n".join([head, *(line(*row) for row in rows), "", *(line(*row) for row in averages)])


_ReportRow = tuple[str, tuple[Any, ...], Any]


@_in_double
def _report_rows(
    predictions: Any, targets: Any, names: Any, threshold: Any, multi_label: Any, sample_weight: Any
) -> tuple[list[_ReportRow], list[_ReportRow]]:
    """The rows of classes or labels, and those of averages: label, precision, recall and F1, and support."""
    where = "classification_report"
    given = _given(where, predictions, targets, threshold, multi_label, sample_weight)
    scored, count = given.several or _is_float(given.predictions), None if names is None else len(names)
    p, t, classes = _answers(where, given, None if scored else count)
    if count not in (None, classes):
        fail(where, expected=f"{classes} names", got=f"{count} names")
    counts = _by_label(p, t, given.weights) if given.several else _by_class(p, t, given.weights, classes)
    columns = [np.asarray(column) for column in _scores(counts)[:3]]
    support = np.asarray(counts.true)
    total = support.sum().item()
    labels = [str(n) for n in (names if names is not None else range(classes))]
    values = zip(*(column.tolist() for column in columns), strict=True)
    rows = list(zip(labels, values, support.tolist(), strict=True))
    means: dict[str, tuple[Any, ...]] = {"macro avg": tuple(c.mean() for c in columns)}
    means["weighted avg"] = tuple((c * support).sum() / total if total else 0.0 for c in columns)
    if given.several:
        micro = _scores(_Counts(*(jnp.sum(a, keepdims=True) for a in counts)))[:3]
        weights = (
            None
            if given.weights is None
            else np.broadcast_to(np.asarray(given.weights).reshape(-1, *(1,) * (p.ndim - 2)), p.shape[:-1]).ravel()
        )
        samples = _scores(_by_label(p.reshape(-1, classes).T, t.reshape(-1, classes).T, None))[:3]
        means = {"micro avg": tuple(c.item() for c in micro), **means}
        means["samples avg"] = tuple(np.average(np.asarray(c), weights=weights) for c in samples)
    else:
        means = {"accuracy": (None, None, np.asarray(counts.right).sum() / total), **means}
    return rows, [(label, values, total) for label, values in means.items()]


# --------------------------------------------------------------------------------------------------------- calibration
class Reliability(NamedTuple):
    """What a model claims beside how often it is right, by bins of confidence; `fnn.plot.reliability` draws it.

    Attributes:
      confidence: (bins,) the mean confidence of the examples in each bin, NaN where there are none.
      accuracy: (bins,) how often they are right, NaN where there are none.
      counts: (bins,) how many they are.
    """

    confidence: Array
    accuracy: Array
    counts: Array

    @property
    def error(self) -> Array:
        """The expected calibration error, see `calibration_error`."""
        gap = jnp.abs(self.confidence - self.accuracy)
        gap = jnp.where(self.counts > 0, gap, jnp.zeros_like(gap))
        return jnp.sum(self.counts.astype(gap.dtype) * gap) / jnp.sum(self.counts).astype(gap.dtype)


@_in_double
def reliability(probabilities: Any, targets: Any, *, bins: int = 10) -> Reliability:
    """The reliability curve: how often predictions are right, by how sure they are.

    Of those made with a confidence of 0.8, 80 % should be right. The confidence of an example is its largest
    probability, which is right if it is that of the true class (Guo et al. 2017, arXiv:1706.04599). Of a single output
    it is the probability of class 1, compared with how often class 1 comes, as in scikit-learn's ``calibration_curve``.
    Bin ``i`` of ``n`` has the confidences in ``(i / n, (i + 1) / n]``, the first one 0 too.

    Args:
      probabilities: (batch, classes), rows that sum to 1, or (batch,) or (batch, 1), the probability of class 1. Of
        several yes/no labels pass all in one row: ``p.ravel(), y.ravel()``.
      targets: (batch,) class numbers, or one-hot rows of the probabilities' shape.
      bins: of equal width; default 10.

    Returns:
      A `Reliability` with arrays of shape (bins,).

    Raises:
      InputError: when shapes do not fit, and, when the values are known, for what cannot be probabilities.

    >>> curve = reliability([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1]], [0, 1, 0, 1], bins=2)
    >>> print(curve.confidence, curve.accuracy, curve.counts)
    [  nan 0.825] [nan 0.5] [0 4]
    """
    where = "reliability"
    check_count(where, "bins", bins)
    p = _numeric(where, "probabilities", probabilities)
    check_float(where, p, "Pass probabilities, such as fnn.activations.softmax(logits).")
    hint = "Of several yes/no labels pass p.ravel() and y.ravel()."
    given = _given(where, p, targets, None, False, scores=False, hint=hint)
    p, single = _wide(p), _single(p)
    if is_concrete(p):
        values = np.asarray(p)
        low, high = float(values.min()), float(values.max())
        logits = f"Of logits they are fnn.activations.{'sigmoid' if single else 'softmax'}(logits)."
        if not (low >= 0 and high <= 1):
            fail(where, expected="probabilities in [0, 1]", got=f"values from {low:g} to {high:g}", hint=logits)
        sums = values.sum(-1)
        if not single and not np.allclose(sums, 1, atol=0.02):
            fail(where, expected="rows that sum to 1", got=f"sums from {sums.min():g} to {sums.max():g}", hint=hint)
    confidence = (p[..., 0] if p.ndim > 1 else p) if single else jnp.max(p, -1)
    predicted, t = _class_pairs(where, p, given.targets, 0.5)
    right = t == 1 if single else predicted == t
    with jax.debug_nans(False):  # the mean of an empty bin is NaN
        return _by_bins(confidence.ravel(), right.ravel(), bins)


@functools.partial(jax.jit, static_argnums=2)
def _by_bins(confidence: Array, right: Array, bins: int) -> Reliability:
    edges = jnp.asarray(np.arange(1, bins) / bins, confidence.dtype)
    place = jnp.searchsorted(edges, confidence, side="left").astype(jnp.int32)
    inside = place[:, None] == jnp.arange(bins, dtype=jnp.int32)[None]
    counts = jnp.sum(inside, 0, dtype=jnp.int32)

    def mean(values: Array) -> Array:
        values = values[:, None].astype(confidence.dtype)
        return jnp.sum(jnp.where(inside, values, jnp.zeros_like(values)), 0) / counts.astype(confidence.dtype)

    return Reliability(mean(confidence), mean(right), counts)


def calibration_error(probabilities: Any, targets: Any, *, bins: int = 10) -> Array:
    """The expected calibration error: the mean distance of confidence and accuracy over the bins of `reliability`.

    ``sum_b count_b |accuracy_b - confidence_b| / sum_b count_b`` (Guo et al. 2017, arXiv:1706.04599). It depends on the
    bins, so compare models by the same ones.

    Args:
      probabilities, targets, bins: as in `reliability`.

    Raises:
      InputError: as `reliability`.

    >>> print(calibration_error([[0.9, 0.1], [0.2, 0.8]], [0, 1]))
    0.15
    """
    return reliability(probabilities, targets, bins=bins).error


def _bounds(where: str, low: Any, high: Any) -> tuple[Array, Array]:
    """The two ends of intervals as floats of one shape, the lower first."""
    low, high = _numeric(where, "low", low), _numeric(where, "high", high)
    for name, bound in (("low", low), ("high", high)):
        check_float(f"{where} {name}", bound)
    if low.shape != high.shape or low.ndim == 0 or low.size == 0:
        fail(where, expected="low and high of the same shape (batch, ...)", got=f"{describe(low)} and {describe(high)}")
    if is_concrete(low) and is_concrete(high) and (wrong := int((~(np.asarray(low) <= np.asarray(high))).sum())):
        fail(where, expected="no low above its high", got=f"{wrong} such of {low.size}")
    low, high = _same_width(low, high)
    return low, high


def _without_nan(where: str, name: str, x: Any) -> Array:
    """An array of numbers, of which NaN is refused where values are known."""
    x = _numeric(where, name, x)
    if is_concrete(x) and _is_float(x) and (bad := int(np.isnan(_host(x)).sum())):
        fail(where, expected=f"{name} without NaN", got=f"{bad} NaN of {x.size}")
    return x


@_in_double
def coverage(low: Any, high: Any, targets: Any) -> Array:
    """The fraction of targets that lie within their intervals, bounds included; over examples and outputs.

    Args:
      low: (batch, ...), the lower ends.
      high: of the same shape, the upper ends.
      targets: of the same shape; (batch,) is taken as (batch, 1).

    Raises:
      InputError: when the shapes differ, or an end is below the other.

    >>> print(coverage([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 2.0, 1.0]))
    0.6666667
    """
    low, high = _bounds("coverage", low, high)
    low, high, targets = _same_width(low, high, _without_nan("coverage", "targets", targets))
    low, targets = align("coverage", low, targets)
    inside = (low <= targets) & (targets <= high)
    return jnp.mean(inside, dtype=at_least_float32(low.dtype))


@_in_double
def interval_width(low: Any, high: Any) -> Array:
    """The mean width of intervals, in the unit of the targets; of two methods of equal `coverage` less is better.

    >>> print(interval_width([0.0, 1.0], [1.0, 4.0]))
    2.0
    """
    low, high = _bounds("interval_width", low, high)
    return jnp.mean(high - low, dtype=at_least_float32(low.dtype))


class Interval(NamedTuple):
    """Intervals, one for each number: their ends, of the same shape."""

    low: Array
    high: Array


def gaussian_interval(mean: Any, variance: Any, coverage: float = 0.9) -> Interval:
    """The intervals that hold a fraction of Gaussian distributions, with as much left out below as above.

    ``mean -+ z sqrt(variance)``, with ``z`` the ``(1 + coverage) / 2`` quantile of the standard normal distribution.

    Args:
      mean: (batch, ...), e.g. of `fnn.losses.gaussian_moments`.
      variance: of the same shape.
      coverage: the fraction, in (0, 1); default 0.9.

    Returns:
      An `Interval` ``(low, high)`` of the same shape.

    Raises:
      InputError: when the shapes differ, for a fraction outside (0, 1), and for negative variances if they are known.

    >>> low, high = gaussian_interval([10.0], [4.0], 0.9)
    >>> print(low, high)
    [6.710293] [13.289707]
    """
    where = "gaussian_interval"
    mean, variance = _moments(where, mean, variance)
    half = jnp.asarray(_quantile(where, coverage), mean.dtype) * jnp.sqrt(variance)
    return Interval(mean - half, mean + half)


def _moments(where: str, mean: Any, variance: Any) -> tuple[Array, Array]:
    """Means and variances as floats of one shape."""
    mean, variance = _numeric(where, "mean", mean), _numeric(where, "variance", variance)
    check_float(where, mean)
    if mean.shape != variance.shape or mean.ndim == 0 or mean.size == 0:
        expected = "mean and variance of the same shape (batch, ...)"
        fail(where, expected=expected, got=f"{describe(mean)} and {describe(variance)}")
    if is_concrete(variance) and not (np.asarray(variance) >= 0).all():
        fail(where, expected="variances of at least 0", got=f"{float(variance.min()):g}")
    return mean, variance.astype(mean.dtype)


def _quantile(where: str, coverage: Any) -> float:
    """How many standard deviations on both sides of the mean hold this fraction of a normal distribution."""
    number = isinstance(coverage, (int, float, np.number)) and not isinstance(coverage, bool)
    if not number or not 0 < coverage < 1:
        hint = f"Write {coverage / 100:g}." if number and 1 < coverage < 100 else ""
        fail(where, expected="a fraction in (0, 1)", got=repr(coverage), hint=hint)
    return NormalDist().inv_cdf((1 + float(coverage)) / 2)


class CoverageCurve(NamedTuple):
    """How often intervals hold the truth, by the level they claim; `fnn.plot.reliability` draws it.

    Attributes:
      nominal: (levels,) the fraction that was promised.
      observed: (levels,) the fraction of targets inside.
      width: (levels,) the mean width of the intervals.
    """

    nominal: Array
    observed: Array
    width: Array

    @property
    def error(self) -> Array:
        """The mean distance of observed and nominal over the levels."""
        return jnp.mean(jnp.abs(self.observed - self.nominal))


LEVELS: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The levels of `coverage_curve`."""


@_in_double
def coverage_curve(mean: Any, variance: Any, targets: Any, *, levels: Sequence[float] = LEVELS) -> CoverageCurve:
    """The calibration of a regression: observed against nominal coverage of Gaussian intervals, over levels.

    The intervals are those of `gaussian_interval`.

    Args:
      mean: (batch, ...), e.g. of `fnn.losses.gaussian_moments` or of an ensemble's predictions.
      variance: of the same shape.
      targets: of the same shape; (batch,) is taken as (batch, 1).
      levels: in (0, 1); default 0.1 to 0.9, 0.95 and 0.99.

    Returns:
      A `CoverageCurve` with arrays of shape (levels,).

    Raises:
      InputError: when the shapes differ, for levels outside (0, 1), and for negative variances where they are known.

    >>> curve = coverage_curve([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.1, -0.9, 1.5, 3.0], levels=(0.5, 0.9))
    >>> print(curve.observed, curve.width)
    [0.25 0.75] [1.3489795 3.2897072]
    """
    where = "coverage_curve"
    mean, variance = _moments(where, mean, variance)
    quantiles = [_quantile(where, level) for level in levels]
    if not quantiles:
        fail(where, expected="at least one level", got="none")
    mean, targets = (_without_nan(where, name, x) for name, x in (("mean", mean), ("targets", targets)))
    mean, variance, targets = _same_width(mean, variance, targets)
    mean, targets = align(where, mean, targets)
    deviation = jnp.sqrt(variance).reshape(mean.shape)
    z, nominal = (jnp.asarray(np.asarray(values), mean.dtype) for values in (quantiles, levels))
    return CoverageCurve(nominal, _within(jnp.abs(targets - mean), deviation, z), 2 * z * jnp.mean(deviation))


@jax.jit
def _within(distance: Array, deviation: Array, z: Array) -> Array:
    """The fraction of distances of at most z deviations, for each z; one after the other, to save memory."""
    return jax.lax.map(lambda q: jnp.mean(distance <= q * deviation, dtype=z.dtype), z)


def _accuracy(threshold: Any, several: bool, name: str = "accuracy") -> Metric:
    if several:
        return mean_metric(name, lambda p, t: _label_hits(name, p, t, threshold))
    return mean_metric(name, lambda p, t: _hits(p, t, threshold))


def top_k(k: int = 5) -> Metric:
    """The streaming form of `top_k_accuracy` for a `Task`, under the name ``"top_k_accuracy"``."""
    check_count("top_k", "k", k)
    return mean_metric("top_k_accuracy", lambda p, t: _top_k_hits(p, t, k))._replace(spec=_TOP_K)


_TOP_K = "top_k_accuracy"


def _mean_error(name: str, loss: losses.Loss) -> Metric:
    """The mean of a loss, computed in float32 at least."""
    return mean_metric(name, lambda p, t: loss(_wide(jnp.asarray(p)), jnp.asarray(t)))


def _rmse() -> Metric:
    inner = _mean_error("rmse", losses.mean_squared_error)
    return inner._replace(result=lambda totals: jnp.sqrt(inner.result(totals)))


def _r2() -> Metric:
    """Totals are the sum of weights, a pivot, the mean less the pivot, and squared deviations from mean and prediction.

    Deviations from one of the targets are exact for a constant, and lose little where the mean is far from 0.
    """

    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        p, t = align("r2", _wide(jnp.asarray(predictions)), jnp.asarray(targets))
        w = _wide(jnp.asarray(weights))[:, None]
        p, t = (a.reshape(a.shape[0], -1).astype(w.dtype) for a in (p, t))
        # A row of weight 0 is left out even where its values are not finite.
        p, t = (jnp.where(w == 0, jnp.zeros_like(a), a) for a in (p, t))
        count, pivot = jnp.sum(w), t[jnp.argmax(w[:, 0] != 0)]
        shifted = t - pivot[None]
        shift = _ratio(jnp.sum(w * shifted, 0), count)
        spread = jnp.sum(w * jnp.square(shifted - shift[None]), 0)
        return count, pivot, shift, spread, jnp.sum(w * jnp.square(t - p), 0)

    def merge(a: Totals, b: Totals) -> Totals:
        # Chan et al. 1979: means and squared deviations of two parts, without the cancellation of sums of squares.
        count = a[0] + b[0]
        # A part without rows has no pivot.
        b_shift = jnp.where(b[0] > 0, b[1] - a[1] + b[2], a[2])
        pivot, a_shift, b_shift = (
            jnp.where(a[0] > 0, own, other) for own, other in ((a[1], b[1]), (a[2], b[2]), (b_shift, b[2]))
        )
        delta = b_shift - a_shift
        shift = a_shift + delta * _ratio(b[0], count)
        spread = a[3] + b[3] + jnp.square(delta) * _ratio(a[0] * b[0], count)
        return count, pivot, shift, spread, a[4] + b[4]

    def result(totals: Totals) -> Array:
        count, _, _, spread, error = totals
        flat = spread == 0
        score = 1 - error / jnp.where(flat, jnp.ones_like(spread), spread)
        constant = jnp.where(error == 0, jnp.ones_like(score), jnp.zeros_like(score))
        return jnp.mean(jnp.where(flat, constant, score)) * (count / count)  # NaN of no rows

    return Metric("r2", measure, result, merge)


def _class_metric(name: str, threshold: Any, several: bool) -> Metric:
    """Precision, recall or F1: of class 1 where there are two classes, else the mean over classes or labels (macro)."""

    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        if several or _single(predictions):
            return _by_label(*_yes_no(name, predictions, targets, threshold), weights)
        return _by_class(*_class_pairs(name, predictions, targets, threshold), weights, predictions.shape[-1])

    def result(counts: _Counts) -> Array:
        scores = getattr(_scores(counts), name)
        return scores[1] if not several and scores.shape[0] == 2 else jnp.mean(scores)

    return Metric(name, measure, result)


_METRICS: dict[str, Callable[[Any, bool], Metric]] = {
    "accuracy": _accuracy,
    "binary_accuracy": lambda threshold, several: _accuracy(threshold, True, "binary_accuracy"),
    _TOP_K: lambda threshold, several: top_k(5),
    "precision": functools.partial(_class_metric, "precision"),
    "recall": functools.partial(_class_metric, "recall"),
    "f1": functools.partial(_class_metric, "f1"),
    "rmse": lambda threshold, several: _rmse(),
    "mae": lambda threshold, several: _mean_error("mae", losses.mean_absolute_error),
    "mse": lambda threshold, several: _mean_error("mse", losses.mean_squared_error),
    "r2": lambda threshold, several: _r2(),
}

METRICS: tuple[str, ...] = tuple(_METRICS)
"""The names that `Task` knows."""

_OF_CLASSES = ("accuracy", _TOP_K, "precision", "recall", "f1")  # that read targets as classes

DIRECTIONS = {
    **dict.fromkeys(("loss", "rmse", *losses.LOSSES), "min"),
    **dict.fromkeys((*_OF_CLASSES, "binary_accuracy", "r2"), "max"),
}
"""Which way is better, by name."""


def direction(name: str) -> str | None:
    """Which way a value of the logs is better: "min" or "max", None for one that the library does not know.

    >>> direction("val_loss"), direction("val_f1"), direction("val_auc")
    ('min', 'max', None)
    """
    return DIRECTIONS.get(name.removeprefix("val_"))


@functools.cache
def _named(name: str, threshold: float, several: bool = False) -> Metric:
    """One object for each name, so that tasks made alike have equal metrics."""
    return _METRICS[name](threshold, several)._replace(spec=name)


@functools.cache
def _of_the_mean(name: str) -> Metric:
    """A metric of the means that a network with the loss `fnn.losses.gaussian_nll` tells."""
    inner = _named(name, 0.5)
    return inner._replace(measure=lambda p, t, w: inner.measure(losses.gaussian_moments(p).mean, t, w))


def get_metric(metric: str | Metric | Callable[[Any, Any], Array], loss: losses.Loss | None = None) -> Metric:
    """A metric by name; a `Metric` is returned as it is, and a function of predictions and targets is averaged.

    Args:
      metric: a name, a `Metric` or a function.
      loss: of the task; if it takes logits, "accuracy" and its like cut yes/no scores at 0 instead of 0.5. With
        `losses.binary_crossentropy` and `losses.logistic` several outputs are yes/no labels, whatever the targets of a
        batch look like: "accuracy" is the mean over examples and labels, as Keras's binary accuracy, and "precision",
        "recall" and "f1" are means over labels (macro). With `losses.gaussian_nll` "rmse", "mae", "mse" and "r2" are
        those of the mean.

    Raises:
      InputError: for an unknown name, with the close matches; for "top_k_accuracy" with a loss of yes/no labels, of
        which none is the right one.
    """
    several = loss is not None and losses.several_labels(loss)
    if isinstance(metric, Metric):
        if metric.spec is None or loss is None or (metric.spec == _TOP_K and not several):
            return metric
        metric = metric.spec
    threshold = 0.0 if loss is not None and expects(loss) == "logits" else 0.5
    if metric == "r2_score":
        metric = "r2"
    own = {accuracy: "accuracy", binary_accuracy: "binary_accuracy", rmse: "rmse", mae: "mae", r2_score: "r2"}
    own[top_k_accuracy] = _TOP_K
    if callable(metric) and metric not in own:
        return mean_metric(getattr(metric, "__name__", "metric"), metric)
    name = own.get(metric, metric) if callable(metric) else metric
    lookup("metric", name, _METRICS)
    name = str(name).lower()
    if name == _TOP_K and several and loss is not None:
        hint = "Use 'accuracy', 'precision', 'recall' or 'f1', or a categorical loss if each example has one class."
        got = f"the loss {losses.base(loss).__name__!r}, of yes/no labels"
        fail(f"metric {_TOP_K!r}", expected="a loss of classes", got=got, hint=hint)
    if loss is not None and losses.base(loss) is losses.gaussian_nll and name in ("rmse", "mae", "mse", "r2"):
        return _of_the_mean(name)
    return _named(name, threshold, several)


def check_labels(metrics: Sequence[Metric], loss: losses.Loss, predictions: Any, targets: Any) -> None:
    """Refuse targets that are invalid for a metric of classes; needs values, so the drivers call it.

    What belongs to a loss of classes `losses.check_targets` has seen.

    Args:
      metrics: of the task.
      loss: of the task.
      predictions: an array or its `jax.ShapeDtypeStruct`.
      targets: a concrete array.

    Raises:
      InputError: for class numbers outside the outputs, rows that are no distribution over classes, and yes/no labels
        other than 0 and 1, or -1 and +1.
    """
    names = [metric.name for metric in metrics if metric.spec in _OF_CLASSES]
    if not names or losses.of_classes(loss) or losses.several_labels(loss):
        return
    labels = np.asarray(targets)
    if _is_float(targets) and not _single(predictions) and targets.shape == predictions.shape:
        losses.check_distributions(f"metric {names[0]!r}", labels)
    else:
        hint = "For several yes/no labels use 'binary_accuracy', or the loss 'binary_crossentropy'."
        _check_labels(f"metric {names[0]!r}", predictions, labels, False, hint)


def _measure_rows(predictions: Any, targets: Any, weights: Array) -> Array:
    counts = weights > 0
    bad = jnp.zeros(counts.shape, bool)
    for leaf in jax.tree.leaves(predictions):
        if _is_float(leaf):
            bad |= jnp.isnan(leaf).reshape(leaf.shape[0], -1).any(1)
    return jnp.stack([jnp.sum(counts, dtype=jnp.int32), jnp.sum(counts & bad, dtype=jnp.int32)])


NAN_ROWS = Metric("rows with NaN", _measure_rows, lambda totals: jnp.where(totals[0] > 0, totals[1], -1))
"""How many rows have predictions that hold NaN, -1 if no row counts; `evaluate` gathers it to warn of them."""
