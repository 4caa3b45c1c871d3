"""Metrics of classes and of yes/no labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, is_concrete
from .._core.described import described
from .._core.dtypes import at_least_float32, is_float, widened
from .._core.errors import describe, fail
from .._core.types import Array
from .given import Given, check_given, class_pairs, is_single, mean_by_example, numeric_array, yes_no_pairs
from .metric import Metric, Totals, in_double, mean_metric, ratio_or_zero


def class_hits(predictions: Array, targets: Array, threshold: Any) -> Array:
    """The share of right classes of each example."""
    p, t = class_pairs("accuracy", predictions, targets, threshold)
    return mean_by_example(p == t)


def label_hits(where: str, predictions: Array, targets: Array, threshold: Any) -> Array:
    """The share of right yes/no labels of each example."""
    p, t = yes_no_pairs(where, predictions, targets, threshold)
    return mean_by_example(p == t)


def top_k_hits(predictions: Array, targets: Array, k: int) -> Array:
    """Whether the right class of each example is among the ``k`` with the highest scores."""
    predictions = jnp.asarray(predictions)
    if predictions.ndim < 2 or predictions.shape[-1] < 2 or not is_float(predictions):
        got = f"{describe(predictions)} and {describe(targets)}"
        fail("top_k_accuracy", expected="predictions (batch, ..., classes) and class numbers or one-hot rows", got=got)
    best, t = class_pairs("top_k_accuracy", predictions, targets, None)
    # The rank of the right class; of equal scores the lower class number comes first, as in argmax.
    known = (t >= 0) & (t < predictions.shape[-1]) & (best >= 0)
    t = jnp.where(known, t, jnp.zeros_like(t))
    own = jnp.take_along_axis(predictions, t[..., None], -1)
    classes = jax.lax.broadcasted_iota(jnp.int32, predictions.shape, predictions.ndim - 1)
    ahead = (predictions > own) | ((predictions == own) & (classes < t[..., None]))
    return mean_by_example((jnp.sum(ahead, -1) < k) & known)


class Counts(NamedTuple):
    """Of each class or label: how often it was right, predicted, and true."""

    right: Array
    predicted: Array
    true: Array


def _spread_weights(weights: Array | None, shape: tuple[int, ...]) -> Array:
    """The weight of each label in (batch, ...), by default the integer 1, of which sums stay exact."""
    if weights is None:
        return jnp.ones(shape, jnp.int32)
    return jnp.broadcast_to(widened(weights).reshape((-1,) + (1,) * (len(shape) - 1)), shape)


def counts_by_label(p: Array, t: Array, weights: Array | None) -> Counts:
    """Counts of each yes/no label on the last axis; a single one without it."""
    if p.ndim == 1:
        p, t = p[:, None], t[:, None]
    w, axes = _spread_weights(weights, p.shape), tuple(range(p.ndim - 1))
    yes, true = (jnp.where(a == 1, w, jnp.zeros_like(w)) for a in (p, t))
    right = jnp.where(p == t, yes, jnp.zeros_like(yes))
    return Counts(*(jnp.sum(a, axes) for a in (right, yes, true)))


def counts_by_class(p: Array, t: Array, weights: Array | None, classes: int) -> Counts:
    """Counts of each class; numbers outside [0, classes) are of none."""
    w = _spread_weights(weights, p.shape).ravel()
    p, t = p.ravel(), t.ravel()

    def count(numbers: Array, w: Array) -> Array:
        # A negative number would count from the end; as one beyond the last it is dropped.
        numbers = jnp.where(numbers < 0, classes, numbers)
        return jnp.zeros(classes, w.dtype).at[numbers].add(w, mode="drop")

    return Counts(count(t, jnp.where(p == t, w, jnp.zeros_like(w))), count(p, w), count(t, w))


class ClassScores(NamedTuple):
    """Scores by class, or by label where examples have several; each of shape (classes,)."""

    precision: Array
    recall: Array
    f1: Array
    support: Array


def scores_of(counts: Counts) -> ClassScores:
    """Precision, recall and F1 from counts; a ratio without examples is 0."""
    dtype = at_least_float32(counts.true.dtype) if is_float(counts.true) else jnp.dtype("float32")
    right, predicted, true = (a.astype(dtype) for a in counts)
    f1 = ratio_or_zero(2 * right, true + predicted)
    return ClassScores(ratio_or_zero(right, predicted), ratio_or_zero(right, true), f1, counts.true)


@in_double
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
    given = check_given("accuracy", predictions, targets, threshold, multi_label, sample_weight)
    return given.measured(streaming_accuracy(given.threshold, given.several))


@in_double
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
    given = check_given("binary_accuracy", predictions, targets, threshold, True, sample_weight)
    return given.measured(streaming_accuracy(given.threshold, True, "binary_accuracy"))


@in_double
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
    given = check_given("top_k_accuracy", predictions, targets, None, False, sample_weight, scores=False, hint=hint)
    return given.measured(top_k(k))


@in_double
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
    given = check_given(where, predictions, targets, threshold, multi_label, sample_weight)
    p, t, classes = answers_of(where, given, num_classes)
    w = _spread_weights(given.weights, p.shape)
    if given.several:
        counts = counts_by_label(p, t, given.weights)
        known = jnp.sum(jnp.where((p >= 0) & (t >= 0), w, jnp.zeros_like(w)).reshape(-1, classes), 0)
        wrong = counts.predicted - counts.right, counts.true - counts.right
        cells = (known - sum(wrong) - counts.right, *wrong, counts.right)
        return jnp.stack(cells, -1).reshape(classes, 2, 2)
    p, t = (jnp.where(a < 0, classes, a) for a in (p, t))
    return jnp.zeros((classes, classes), w.dtype).at[t, p].add(w, mode="drop")


def answers_of(where: str, given: Given, num_classes: int | None) -> tuple[Array, Array, int]:
    """Classes, or yes/no labels with one column each, predicted and true; and how many classes or labels there are."""
    predictions = given.predictions
    if given.several:
        p, t = yes_no_pairs(where, predictions, given.targets, given.threshold)
        p, t = (p[:, None], t[:, None]) if p.ndim == 1 else (p, t)
        if num_classes not in (None, p.shape[-1]):
            fail(where, expected=f"num_classes={p.shape[-1]}, the number of labels", got=repr(num_classes))
        return p, t, p.shape[-1]
    p, t = class_pairs(where, predictions, given.targets, given.threshold)
    known = is_concrete(p) and is_concrete(t)
    # Rows of weight 0 may hold anything, also numbers that no class has.
    seen = np.concatenate([np.asarray(a)[given.rows].ravel() for a in (p, t)]) if known else np.zeros(0, np.int32)
    if num_classes is None:
        if is_float(predictions):
            num_classes = 2 if is_single(predictions) else predictions.shape[-1]
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
    matrix = widened(numeric_array("scores_from_confusion", "matrix", matrix, classes=True))
    if matrix.ndim == 3:
        return scores_of(Counts(matrix[:, 1, 1], matrix[:, :, 1].sum(1), matrix[:, 1].sum(1)))
    return scores_of(Counts(jnp.diagonal(matrix), matrix.sum(0), matrix.sum(1)))


@in_double
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
    return _class_scores(
        where, check_given(where, predictions, targets, threshold, multi_label, sample_weight), num_classes
    )


def _class_scores(where: str, given: Given, num_classes: int | None) -> ClassScores:
    p, t, classes = answers_of(where, given, num_classes)
    return scores_of(
        counts_by_label(p, t, given.weights) if given.several else counts_by_class(p, t, given.weights, classes)
    )


def streaming_accuracy(threshold: Any, several: bool, name: str = "accuracy") -> Metric:
    """The mean of right classes, or of right labels."""
    if several:
        return mean_metric(name, lambda p, t: label_hits(name, p, t, threshold))
    return mean_metric(name, lambda p, t: class_hits(p, t, threshold))


@described
def top_k(k: int = 5) -> Metric:
    """The streaming form of `top_k_accuracy` for a `Task`, under the name ``"top_k_accuracy"``."""
    check_count("top_k", "k", k)
    return mean_metric("top_k_accuracy", lambda p, t: top_k_hits(p, t, k)).replace(spec=TOP_K)


TOP_K = "top_k_accuracy"


def streaming_class_score(name: str, threshold: Any, several: bool) -> Metric:
    """Precision, recall or F1: of class 1 where there are two classes, else the mean over classes or labels (macro)."""

    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        if several or is_single(predictions):
            return counts_by_label(*yes_no_pairs(name, predictions, targets, threshold), weights)
        return counts_by_class(*class_pairs(name, predictions, targets, threshold), weights, predictions.shape[-1])

    def result(counts: Counts) -> Array:
        scores = getattr(scores_of(counts), name)
        return scores[1] if not several and scores.shape[0] == 2 else jnp.mean(scores)

    return Metric(name, measure, result)
