"""Metrics: values of whole arrays, and `Metric`, the same numbers gathered batch by batch inside compiled code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import losses
from ._checks import check_count, check_float, describe, fail, is_concrete, lookup, shape_text
from ._dtypes import at_least_float32, lift
from ._inputs import as_array
from .losses import align, expects

Array = jax.Array
Totals = Any


def _add(a: Totals, b: Totals) -> Totals:
    return jax.tree.map(jnp.add, a, b)


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
    """A metric from ``fn(predictions, targets) -> (batch,)``: the mean over all examples, weighted if weights came."""

    def measure(predictions: Any, targets: Any, weights: Array) -> Totals:
        values = jnp.asarray(fn(predictions, targets))
        if values.shape != weights.shape:
            fail(f"metric {name!r}", expected=f"one value per example, of shape {weights.shape}", got=describe(values))
        values = values.astype(weights.dtype)
        # A row of weight 0 is left out even where its value is not finite.
        return jnp.sum(jnp.where(weights == 0, jnp.zeros_like(values), weights * values)), jnp.sum(weights)

    return Metric(name, measure, lambda totals: totals[0] / totals[1])


def _cut(where: str, predictions: Any, threshold: Any) -> Any:
    """The threshold of single scores, 0.5 by default; what cannot be probabilities is then refused."""
    if threshold is not None:
        return threshold
    p = jnp.asarray(predictions)
    single = where == "binary_accuracy" or p.ndim == 1 or p.shape[-1:] == (1,)
    if single and p.size and _is_float(p) and not isinstance(p, jax.core.Tracer):
        low, high = float(p.min()), float(p.max())
        if low < 0 or high > 1:
            got, hint = f"scores from {low:g} to {high:g}", "Logits need threshold=0.0."
            fail(where, expected="probabilities in [0, 1], which are cut at 0.5", got=got, hint=hint)
    return 0.5


def _labelled(where: str, predictions: Any, targets: Any, *, many: bool = False) -> tuple[Array, Array]:
    """Predictions and targets as arrays; what cannot be classes is refused where values are known.

    Args:
      where: the function that was called.
      predictions: as in `accuracy`.
      targets: as in `accuracy`.
      many: whether a row of targets holds yes/no labels, any number of which may be 1.
    """
    predictions, targets = _numeric(where, "predictions", predictions), _numeric(where, "targets", targets)
    if targets.ndim > 1 and targets.shape[-1] > 1 and targets.size and _is_float(targets) and is_concrete(targets):
        rows = np.asarray(targets.astype(at_least_float32(targets.dtype)))
        # Yes/no labels may be -1 and +1 too, as the logistic loss has them.
        good = np.isin(rows, (-1, 0, 1) if many else (0, 1)).all() and (many or (rows.sum(-1) == 1).all())
        if not good:
            expected = (
                "targets of 0 and 1" if many else "class numbers or one-hot rows, of 0 and a single 1, as targets"
            )
            got = f"{describe(targets)} with values from {rows.min():g} to {rows.max():g}"
            fail(where, expected=expected, got=got, hint="Are the arguments swapped? Predictions come first.")
    return predictions, targets


def _numeric(where: str, name: str, x: Any) -> Array:
    """An array of numbers; anything else is refused."""
    return jnp.asarray(as_array(f"{where} {name}", x))


def _value(metric: Metric, predictions: Any, targets: Any, sample_weight: Any) -> Array:
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.ndim == 0 or predictions.shape[0] == 0:
        fail(metric.name, expected="at least one example", got=describe(predictions))
    if targets.ndim == 0 or targets.shape[0] != predictions.shape[0]:
        got = f"{describe(predictions)} and {describe(targets)}"
        fail(metric.name, expected="predictions and targets of the same length", got=got)
    dtype = at_least_float32(predictions.dtype) if _is_float(predictions) else jnp.dtype("float32")
    shape = predictions.shape[:1]
    weights = jnp.ones(shape, dtype) if sample_weight is None else jnp.asarray(sample_weight).astype(dtype)
    if weights.shape != shape:
        fail(metric.name, expected=f"sample weights of shape {shape_text(shape)}", got=describe(weights))
    return metric.result(metric.measure(predictions, targets, weights))


def _is_float(x: Array) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def _per_example(hits: Array) -> Array:
    return jnp.mean(hits.astype(jnp.float32), tuple(range(1, hits.ndim)))


def _class_numbers(where: str, x: Array, threshold: Any) -> Array:
    """Class numbers from scores (..., classes), one score (..., 1) against a threshold, or class numbers."""
    if not _is_float(x):
        return x.astype(jnp.int32)[..., 0] if x.ndim > 1 and x.shape[-1] == 1 else x.astype(jnp.int32)
    if x.ndim > 1 and x.shape[-1] > 1:
        return jnp.argmax(x, -1).astype(jnp.int32)
    x = x[..., 0] if x.ndim > 1 else x
    return (x > jnp.asarray(threshold, x.dtype)).astype(jnp.int32)


def _target_numbers(predictions: Array, targets: Array) -> Array:
    """Class numbers of targets: one-hot rows are those of the predictions' shape with several classes."""
    one_hot = targets.ndim > 1 and targets.shape[-1] > 1 and targets.shape == predictions.shape
    if one_hot and _is_float(predictions):
        return jnp.argmax(targets, -1).astype(jnp.int32)
    single = _is_float(predictions) and (predictions.ndim < 2 or predictions.shape[-1] == 1)
    if _is_float(targets) and not single and not (targets.ndim > 1 and targets.shape[-1] > 1):
        hint = "Use y.astype('int32'). Predictions come first, then targets."
        fail("targets", expected="integer class numbers, or one-hot rows", got=describe(targets), hint=hint)
    return _class_numbers("targets", targets, 0.5)


def _hits(predictions: Array, targets: Array, threshold: Any) -> Array:
    p, t = _class_numbers("accuracy", predictions, threshold), _target_numbers(predictions, targets)
    if (_is_float(predictions) and predictions.shape[-1:] == (1,)) or predictions.ndim == 1:
        t = (t > 0).astype(jnp.int32) if _is_float(predictions) else t  # labels -1 and +1 count as 0 and 1
    if p.shape != t.shape:
        fail(
            "accuracy",
            expected="targets that fit the predictions",
            got=f"{describe(predictions)} and {describe(targets)}",
        )
    return _per_example(p == t)


def _label_hits(predictions: Array, targets: Array, threshold: Any) -> Array:
    p, t = align("binary_accuracy", predictions, targets)
    return _per_example((p > jnp.asarray(threshold, p.dtype)) == (t > jnp.asarray(0.5, t.dtype)))


def _top_k_hits(predictions: Array, targets: Array, k: int) -> Array:
    t = _target_numbers(predictions, targets)
    if predictions.ndim < 2 or t.shape != predictions.shape[:-1]:
        got = f"{describe(predictions)} and {describe(targets)}"
        fail("top_k_accuracy", expected="predictions (batch, ..., classes) and class numbers or one-hot rows", got=got)
    # The rank of the right class; of equal scores the lower class number comes first, as in argmax.
    own = jnp.take_along_axis(predictions, t[..., None], -1)
    classes = lift(jnp.arange(predictions.shape[-1], dtype=jnp.int32), predictions)
    ahead = (predictions > own) | ((predictions == own) & (classes < t[..., None]))
    known = (t >= 0) & (t < predictions.shape[-1]) & ~jnp.isnan(own[..., 0])
    return _per_example((jnp.sum(ahead, -1) < k) & known)


def accuracy(predictions: Any, targets: Any, *, threshold: Any = None, sample_weight: Any = None) -> Array:
    """The fraction of examples whose class is right.

    Args:
      predictions: (batch, classes) scores of any kind, whose largest counts; or (batch,) or (batch, 1) scores of one
        class against ``threshold``; or (batch,) integers, the classes themselves.
      targets: (batch,) class numbers, or one-hot rows of the predictions' shape.
      threshold: for a single score; default 0.5, for probabilities. Logits need ``threshold=0.0``: a logit between 0
        and 0.5 means class 1, and only logits outside [0, 1] give themselves away. The metrics of a `Task` know its
        loss and need no threshold.
      sample_weight: (batch,); the result is the weighted mean.

    Raises:
      InputError: when shapes do not fit, for text, and, when the values are known (not inside ``jit``), for single
        scores outside [0, 1] without a threshold and for floating-point rows of targets that are not one-hot.

    For several yes/no labels per example see `binary_accuracy`.

    >>> print(accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]))
    0.5
    """
    predictions, targets = _labelled("accuracy", predictions, targets)
    threshold = _cut("accuracy", predictions, threshold)
    return _value(_accuracy(threshold), predictions, targets, sample_weight)


def binary_accuracy(predictions: Any, targets: Any, *, threshold: Any = None, sample_weight: Any = None) -> Array:
    """The fraction of yes/no labels that are right, over examples and labels (multi-label accuracy).

    Args:
      predictions: (batch, ...), floating point; above ``threshold`` means yes.
      targets: of the same shape; above 0.5 means yes.
      threshold: default 0.5, for probabilities. Logits need ``threshold=0.0``, see `accuracy`.
      sample_weight: (batch,).

    Raises:
      InputError: as `accuracy`; several labels of an example may be 1.

    >>> print(binary_accuracy([[0.9, 0.1], [0.2, 0.3]], [[1, 0], [1, 0]]))
    0.75
    """
    predictions, targets = _labelled("binary_accuracy", predictions, targets, many=True)
    threshold = _cut("binary_accuracy", predictions, threshold)
    return _value(_binary_accuracy(threshold), predictions, targets, sample_weight)


def top_k_accuracy(predictions: Any, targets: Any, *, k: int = 5, sample_weight: Any = None) -> Array:
    """The fraction of examples whose right class is among the ``k`` highest scores.

    Args:
      predictions: (batch, classes) scores.
      targets: (batch,) class numbers, or one-hot rows.
      k: how many scores count, default 5.
      sample_weight: (batch,).

    >>> print(top_k_accuracy([[0.5, 0.3, 0.2]], [1], k=2))
    1.0
    """
    predictions, targets = _labelled("top_k_accuracy", predictions, targets)
    return _value(top_k(k), predictions, targets, sample_weight)


def rmse(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The root of the mean squared error over examples and outputs, in the unit of the targets.

    >>> print(rmse([1.0, 2.0], [1.0, 4.0]))
    1.4142135
    """
    return _value(_rmse(), predictions, targets, sample_weight)


def mae(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The mean absolute error over examples and outputs, in the unit of the targets.

    >>> print(mae([1.0, 2.0], [1.0, 4.0]))
    1.0
    """
    return _value(mean_metric("mae", losses.mean_absolute_error), predictions, targets, sample_weight)


def r2_score(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The coefficient of determination, ``1 - sum (t - p)^2 / sum (t - mean t)^2``, the mean over outputs.

    1 is perfect, 0 is as good as the mean. A constant output counts 1 if predicted exactly and else 0, as in
    scikit-learn.

    >>> print(r2_score([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    1.0
    """
    return _value(_r2(), predictions, targets, sample_weight)


def confusion_matrix(predictions: Any, targets: Any, *, num_classes: int | None = None, threshold: Any = None) -> Array:
    """Counts by true class (rows) and predicted class (columns), of shape (classes, classes), int32.

    Args:
      predictions: as in `accuracy`.
      targets: as in `accuracy`.
      num_classes: default the predictions' last axis, or 2 for one score, or one more than the largest number.
      threshold: for a single score; default 0.5, for probabilities. Logits need ``threshold=0.0``, see `accuracy`.

    Raises:
      InputError: as `accuracy`, and for class numbers outside [0, num_classes), when they are known (not inside
        ``jit``).

    >>> print(confusion_matrix([0, 1, 1], [0, 1, 0]))
    [[1 1]
     [0 1]]
    """
    return _confusion("confusion_matrix", predictions, targets, num_classes, threshold)


def _confusion(where: str, predictions: Any, targets: Any, num_classes: int | None, threshold: Any) -> Array:
    """`confusion_matrix` for the function whose name errors are to say."""
    predictions, targets = _labelled(where, predictions, targets)
    threshold = _cut(where, predictions, threshold)
    p = _class_numbers(where, predictions, threshold).reshape(-1)
    t = _target_numbers(predictions, targets).reshape(-1)
    if p.shape != t.shape or p.size == 0:
        got = f"{describe(predictions)} and {describe(targets)}"
        fail(where, expected="predictions and targets of the same, positive length", got=got)
    if num_classes is None:
        if _is_float(predictions):
            num_classes = predictions.shape[-1] if predictions.ndim > 1 and predictions.shape[-1] > 1 else 2
        else:
            num_classes = int(max(p.max(), t.max())) + 1
    check_count(where, "num_classes", num_classes)
    if not isinstance(p, jax.core.Tracer) and not isinstance(t, jax.core.Tracer):
        low, high = int(min(p.min(), t.min())), int(max(p.max(), t.max()))
        if low < 0 or high >= num_classes:
            fail(where, expected=f"class numbers in [0, {num_classes})", got=f"numbers from {low} to {high}")
    return _count_pairs(p, t, num_classes, jnp.ones(p.shape, jnp.int32))


def _count_pairs(p: Array, t: Array, classes: int, weights: Array) -> Array:
    # A negative number would count from the end; as one beyond the last it is dropped.
    t, p = (jnp.where(a < 0, classes, a) for a in (t, p))
    return jnp.zeros((classes, classes), weights.dtype).at[t, p].add(weights, mode="drop")


class ClassScores(NamedTuple):
    """Scores by class, each of shape (classes,)."""

    precision: Array
    recall: Array
    f1: Array
    support: Array


def scores_from_confusion(matrix: Any) -> ClassScores:
    """Precision, recall, F1 and support of each class from a confusion matrix (true, predicted).

    ``precision = tp / predicted``, ``recall = tp / true``, ``f1 = 2 tp / (predicted + true)``; 0 where the
    denominator is 0, as in scikit-learn.
    """
    matrix = jnp.asarray(matrix)
    dtype = matrix.dtype if _is_float(matrix) else jnp.dtype("float32")
    right = jnp.diagonal(matrix).astype(dtype)
    true, predicted = matrix.sum(1), matrix.sum(0)

    def ratio(a: Array, b: Array) -> Array:
        b = b.astype(dtype)
        return jnp.where(b > 0, a / jnp.where(b > 0, b, jnp.ones_like(b)), jnp.zeros_like(a))

    return ClassScores(ratio(right, predicted), ratio(right, true), ratio(2 * right, true + predicted), true)


def precision_recall_f1(
    predictions: Any, targets: Any, *, num_classes: int | None = None, threshold: Any = None
) -> ClassScores:
    """Precision, recall, F1 and support of each class; arguments as in `confusion_matrix`.

    Single scores are cut at 0.5, as probabilities are; logits need ``threshold=0.0``.

    >>> print(precision_recall_f1([0, 1, 1], [0, 1, 0]).recall)
    [0.5 1. ]
    """
    return scores_from_confusion(_confusion("precision_recall_f1", predictions, targets, num_classes, threshold))


def classification_report(
    predictions: Any,
    targets: Any,
    *,
    names: list[str] | tuple[str, ...] | None = None,
    threshold: Any = None,
    digits: int = 3,
) -> str:
    """A text table of precision, recall, F1 and support by class, with accuracy and macro and weighted averages.

    The macro average is the mean over every class of the outputs (or of ``names``), also over one that no row has,
    which counts 0; scikit-learn leaves out classes that are neither among the targets nor predicted.

    Args:
      predictions: as in `accuracy`.
      targets: as in `accuracy`.
      names: of the classes; default their numbers.
      threshold: for a single score; default 0.5, for probabilities. Logits need ``threshold=0.0``, see `accuracy`.
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
    where, classes = "classification_report", None if names is None else len(names)
    predictions, targets = _labelled(where, predictions, targets)
    if names is not None and _is_float(predictions) and predictions.ndim > 1:
        width = max(predictions.shape[-1], 2)
        if classes != width:
            fail(where, expected=f"{width} names", got=f"{classes} names")
    matrix = np.asarray(_confusion(where, predictions, targets, classes, threshold))
    precision, recall, f1, support = (np.asarray(column) for column in scores_from_confusion(matrix))
    labels = [str(n) for n in (names if names is not None else range(len(support)))]
    total, share = support.sum(), support / support.sum()
    width = max(len("weighted avg"), *map(len, labels))

    def row(label: str, values: tuple[Any, ...], count: Any) -> str:
        cells = ["" if v is None else f"{v:.{digits}f}" for v in values]
        return f"{label:<{width}}  {cells[0]:>9}  {cells[1]:>6}  {cells[2]:>{digits + 2}}  {count:>7}"

    columns = (precision, recall, f1)
    lines = [f"{'':<{width}}  precision  recall  {'f1':>{digits + 2}}  support"]
    lines += [row(label, tuple(c[i] for c in columns), support[i]) for i, label in enumerate(labels)]
    lines += ["", row("accuracy", (None, None, np.trace(matrix) / total), total)]
    lines += [row("macro avg", tuple(c.mean() for c in columns), total)]
    lines += [row("weighted avg", tuple((c * share).sum() for c in columns), total)]
    return "\n".join(lines)


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
    [       nan 0.82500005] [nan 0.5] [0 4]
    """
    where = "reliability"
    check_count(where, "bins", bins)
    p, t = _labelled(where, probabilities, targets)
    check_float(where, p, "Pass probabilities, such as fnn.activations.softmax(logits).")
    p = p.astype(at_least_float32(p.dtype))
    single = p.ndim == 1 or p.shape[-1] == 1
    if p.ndim == 0 or p.size == 0:
        fail(where, expected="at least one example", got=describe(p))
    if is_concrete(p):
        values = np.asarray(p)
        low, high = float(values.min()), float(values.max())
        hint = f"Of logits they are fnn.activations.{'sigmoid' if single else 'softmax'}(logits)."
        if not (low >= 0 and high <= 1):
            fail(where, expected="probabilities in [0, 1]", got=f"values from {low:g} to {high:g}", hint=hint)
        sums = values.sum(-1)
        if not single and not np.allclose(sums, 1, atol=0.02):
            hint = "Of yes/no labels pass p.ravel() and y.ravel()."
            fail(where, expected="rows that sum to 1", got=f"sums from {sums.min():g} to {sums.max():g}", hint=hint)
    confidence = (p[..., 0] if p.ndim > 1 else p) if single else jnp.max(p, -1)
    t = _target_numbers(p, t)
    if t.shape != confidence.shape:
        fail(where, expected="targets that fit the probabilities", got=f"{describe(p)} and {describe(t)}")
    right = t > 0 if single else jnp.argmax(p, -1).astype(t.dtype) == t
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
    low, high = jnp.asarray(low), jnp.asarray(high)
    for name, bound in (("low", low), ("high", high)):
        check_float(f"{where} {name}", bound)
    if low.shape != high.shape or low.ndim == 0 or low.size == 0:
        fail(where, expected="low and high of the same shape (batch, ...)", got=f"{describe(low)} and {describe(high)}")
    if is_concrete(low) and is_concrete(high) and (wrong := int((~(np.asarray(low) <= np.asarray(high))).sum())):
        fail(where, expected="no low above its high", got=f"{wrong} such of {low.size}")
    return low, high.astype(low.dtype)


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
    low, targets = align("coverage", low, jnp.asarray(targets))
    inside = (low <= targets) & (targets <= high)
    return jnp.mean(inside, dtype=at_least_float32(low.dtype))


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
    mean, variance = jnp.asarray(mean), jnp.asarray(variance)
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
    wide = at_least_float32(mean.dtype)
    mean, targets = align(where, mean.astype(wide), jnp.asarray(targets))
    deviation = jnp.sqrt(variance.astype(wide)).reshape(mean.shape)
    z, nominal = (jnp.asarray(np.asarray(values), wide) for values in (quantiles, levels))
    return CoverageCurve(nominal, _within(jnp.abs(targets - mean), deviation, z), 2 * z * jnp.mean(deviation))


@jax.jit
def _within(distance: Array, deviation: Array, z: Array) -> Array:
    """The fraction of distances of at most z deviations, for each z; one after the other, to save memory."""
    return jax.lax.map(lambda q: jnp.mean(distance <= q * deviation, dtype=z.dtype), z)


def _accuracy(threshold: Any) -> Metric:
    return mean_metric("accuracy", lambda p, t: _hits(p, t, threshold))


def _binary_accuracy(threshold: Any) -> Metric:
    return mean_metric("binary_accuracy", lambda p, t: _label_hits(p, t, threshold))


def top_k(k: int = 5) -> Metric:
    """The streaming form of `top_k_accuracy` for a `Task`, under the name ``"top_k_accuracy"``."""
    check_count("top_k", "k", k)
    return mean_metric("top_k_accuracy", lambda p, t: _top_k_hits(p, t, k))


def _rmse() -> Metric:
    inner = mean_metric("rmse", losses.mean_squared_error)
    return inner._replace(result=lambda totals: jnp.sqrt(inner.result(totals)))


def _r2() -> Metric:
    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        p, t = align("r2", predictions, targets)
        p, t = (a.reshape(a.shape[0], -1).astype(weights.dtype) for a in (p, t))
        w, count = weights[:, None], jnp.sum(weights)
        # A row of weight 0 is left out even where its values are not finite.
        p, t = (jnp.where(w == 0, jnp.zeros_like(a), a) for a in (p, t))
        mean = jnp.sum(w * t, 0) / jnp.where(count > 0, count, jnp.ones_like(count))
        return count, mean, jnp.sum(w * jnp.square(t - mean[None]), 0), jnp.sum(w * jnp.square(t - p), 0)

    def merge(a: Totals, b: Totals) -> Totals:
        # Chan et al. 1979: means and squared deviations of two parts, without the cancellation of sums of squares.
        count = a[0] + b[0]
        share = b[0] / jnp.where(count > 0, count, jnp.ones_like(count))
        delta = b[1] - a[1]
        return count, a[1] + delta * share, a[2] + b[2] + jnp.square(delta) * a[0] * share, a[3] + b[3]

    def result(totals: Totals) -> Array:
        count, mean, spread, error = totals
        # Rounding of the mean leaves a little spread in a constant.
        flat = spread <= count * jnp.square(8 * jnp.finfo(spread.dtype).eps * mean)
        score = 1 - error / jnp.where(flat, jnp.ones_like(spread), spread)
        constant = jnp.where(error == 0, jnp.ones_like(score), jnp.zeros_like(score))
        return jnp.mean(jnp.where(flat, constant, score))

    return Metric("r2", measure, result, merge)


def _class_metric(name: str, threshold: Any) -> Metric:
    """Precision, recall or F1: of class 1 where there are two classes, else the mean over classes (macro)."""

    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        p = _class_numbers(name, predictions, threshold)
        t = _target_numbers(predictions, targets)
        single = predictions.ndim == 1 or predictions.shape[-1] == 1
        if p.shape != t.shape:
            fail(
                name,
                expected="targets that fit the predictions",
                got=f"{describe(predictions)} and {describe(targets)}",
            )
        w = jnp.broadcast_to(weights.reshape((-1,) + (1,) * (p.ndim - 1)), p.shape)
        if single:
            t = (t > 0).astype(jnp.int32)
        return _count_pairs(p.reshape(-1), t.reshape(-1), 2 if single else predictions.shape[-1], w.reshape(-1))

    def result(matrix: Array) -> Array:
        scores = getattr(scores_from_confusion(matrix), name)
        return scores[1] if matrix.shape[0] == 2 else jnp.mean(scores)

    return Metric(name, measure, result)


_METRICS: dict[str, Callable[[Any], Metric]] = {
    "accuracy": _accuracy,
    "binary_accuracy": _binary_accuracy,
    "top_k_accuracy": lambda threshold: top_k(5),
    "precision": lambda threshold: _class_metric("precision", threshold),
    "recall": lambda threshold: _class_metric("recall", threshold),
    "f1": lambda threshold: _class_metric("f1", threshold),
    "rmse": lambda threshold: _rmse(),
    "mae": lambda threshold: mean_metric("mae", losses.mean_absolute_error),
    "mse": lambda threshold: mean_metric("mse", losses.mean_squared_error),
    "r2": lambda threshold: _r2(),
}

METRICS: tuple[str, ...] = tuple(_METRICS)
"""The names that `Task` knows."""


@functools.cache
def _named(name: str, threshold: float) -> Metric:
    """One object for each name, so that tasks made alike have equal metrics."""
    return _METRICS[name](threshold)._replace(spec=name)


@functools.cache
def _of_the_mean(name: str) -> Metric:
    """A metric of the means that a network with the loss `fnn.losses.gaussian_nll` tells."""
    inner = _named(name, 0.5)
    return inner._replace(measure=lambda p, t, w: inner.measure(losses.gaussian_moments(p).mean, t, w))


def get_metric(metric: str | Metric | Callable[[Any, Any], Array], loss: losses.Loss | None = None) -> Metric:
    """A metric by name; a `Metric` is returned as it is, and a function of predictions and targets is averaged.

    Args:
      metric: a name, a `Metric` or a function.
      loss: of the task; if it takes logits, "accuracy" and its like cut a single output at 0 instead of 0.5, and
        with `losses.binary_crossentropy` "accuracy" of several outputs means the labels one by one. With
        `losses.gaussian_nll` "rmse", "mae", "mse" and "r2" are those of the mean.

    Raises:
      InputError: for an unknown name, with the close matches.
    """
    if isinstance(metric, Metric):
        if metric.spec is None or loss is None:
            return metric
        metric = metric.spec
    threshold = 0.0 if loss is not None and expects(loss) == "logits" else 0.5
    if metric == "r2_score":
        metric = "r2"
    own = {accuracy: "accuracy", binary_accuracy: "binary_accuracy", rmse: "rmse", mae: "mae", r2_score: "r2"}
    own[top_k_accuracy] = "top_k_accuracy"
    if callable(metric) and metric not in own:
        return mean_metric(getattr(metric, "__name__", "metric"), metric)
    name = own.get(metric, metric) if callable(metric) else metric
    if name == "accuracy" and loss is not None and losses.base(loss) in (losses.binary_crossentropy, losses.logistic):
        return _named("binary_accuracy", threshold)._replace(name="accuracy", spec="accuracy")
    lookup("metric", name, _METRICS)
    gaussian = loss is not None and losses.base(loss) is losses.gaussian_nll
    if gaussian and str(name).lower() in ("rmse", "mae", "mse", "r2"):
        return _of_the_mean(str(name).lower())
    return _named(str(name).lower(), threshold)
