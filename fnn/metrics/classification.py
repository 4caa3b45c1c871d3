"""Metrics of classes and of yes/no labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, is_concrete
from .._core.described import described
from .._core.dtypes import at_least_float32, is_float, widened
from .._core.errors import describe, fail
from .._core.norms import divided
from .._core.tables import refuse_len
from .._core.typed import jit
from .._core.types import Array, ArrayLike, Scalar, Shape
from ..losses.common import mean_per_example
from .arguments import ClassArguments, class_arguments, is_single_score, numeric_array
from .metric import Metric, Totals, float64_on_host, mean_metric, value_of
from .pairs import compiled_classes, compiled_labels, paired_classes, paired_labels

_R = TypeVar("_R")
TOP_K = "top_k_accuracy"


def _top_k_hits(predictions: Array, targets: Array, k: int) -> Array:
    """Whether the true class of each example is among the ``k`` with the highest scores."""
    predictions = jnp.asarray(predictions)
    if predictions.ndim < 2 or predictions.shape[-1] < 2 or not is_float(predictions):
        got = f"{describe(predictions)} and {describe(targets)}"
        expected = "predictions (batch, ..., classes) and class numbers or one-hot rows"
        fail(TOP_K, expected=expected, got=got, hint="Predictions come first, then targets.")
    best, t = paired_classes(TOP_K, predictions, targets)
    # The rank of the true class; of equal scores the lower class comes first, as in argmax.
    known = (t >= 0) & (t < predictions.shape[-1]) & (best >= 0)
    t = jnp.where(known, t, jnp.zeros_like(t))
    own = jnp.take_along_axis(predictions, t[..., None], -1)
    classes = jax.lax.broadcasted_iota(jnp.int32, predictions.shape, predictions.ndim - 1)
    ahead = (predictions > own) | ((predictions == own) & (classes < t[..., None]))
    return mean_per_example(((jnp.sum(ahead, -1) < k) & known).astype(jnp.result_type(float)))


class Counts(NamedTuple):
    """Of each class or label, the number of correct predictions, of predictions and of true occurrences."""

    right: Array
    predicted: Array
    true: Array


def _weight_of_each(weights: Array | None, shape: Shape) -> Array:
    """The weight of each label in (batch, ...); by default the integer 1, whose sums are exact."""
    if weights is None:
        return jnp.ones(shape, jnp.int32)
    return jnp.broadcast_to(widened(weights).reshape((-1,) + (1,) * (len(shape) - 1)), shape)


def count_labels(p: Array, t: Array, weights: Array | None) -> Counts:
    """Counts of each yes/no label on the last axis; arrays (batch,) hold a single label."""
    if p.ndim == 1:
        p, t = p[:, None], t[:, None]
    w, axes = _weight_of_each(weights, p.shape), tuple(range(p.ndim - 1))
    yes, true = (jnp.where(a == 1, w, jnp.zeros_like(w)) for a in (p, t))
    right = jnp.where(p == t, yes, jnp.zeros_like(yes))
    return Counts(*(jnp.sum(a, axes) for a in (right, yes, true)))


def count_classes(p: Array, t: Array, weights: Array | None, classes: int) -> Counts:
    """Counts of each class; integers outside [0, classes) are ignored."""
    w = _weight_of_each(weights, p.shape).ravel()
    p, t = p.ravel(), t.ravel()

    def count(labels: Array, w: Array) -> Array:
        # A negative index would count from the end; one beyond the last is dropped.
        labels = jnp.where(labels < 0, classes, labels)
        return jnp.zeros(classes, w.dtype).at[labels].add(w, mode="drop")

    return Counts(count(t, jnp.where(p == t, w, jnp.zeros_like(w))), count(p, w), count(t, w))


@refuse_len("Write len(scores.f1) for classes.")
class ClassScores(NamedTuple):
    """Scores by class, or by label where examples have several.

    Attributes:
      precision, recall, f1, support: (classes,).
    """

    precision: Array
    recall: Array
    f1: Array
    support: Array


def class_scores(counts: Counts) -> ClassScores:
    """Precision, recall and F1 from counts; a ratio without examples is 0."""
    dtype = at_least_float32(counts.true.dtype) if is_float(counts.true) else jnp.dtype("float32")
    right, predicted, true = (a.astype(dtype) for a in counts)
    f1 = divided(2 * right, true + predicted)
    return ClassScores(divided(right, predicted), divided(right, true), f1, counts.true)


@float64_on_host
def accuracy(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    threshold: Scalar | None = None,
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """The fraction of examples whose class is predicted correctly; for several yes/no labels, of correct labels.

    Args:
      predictions: (batch, classes) scores of any kind, the largest of which wins; or (batch,) or (batch, 1) scores of
        class 1, compared with ``threshold``; or (batch,) integer classes. Axes may lie between, such as time steps.
      targets: (batch,) integer class labels, or (batch, classes) one-hot rows; or rows of yes/no labels, 0 and 1 or -1
        and +1, of any real dtype or booleans.
      threshold: for yes/no scores; default 0.5, for probabilities. Logits need ``threshold=0.0``: a logit between 0
        and 0.5 means class 1, and only logits outside [0, 1] are recognized as such. A `Task` goes by its loss.
      multi_label: whether rows of targets hold yes/no labels, any number of which may be 1. Default None: they do if
        they have the predictions' shape, hold 0 and 1 (or -1 and +1), and at least one row is not one-hot. Pass True
        where every row has exactly one label: rows that all look one-hot are taken for classes. Inside ``jit``, where
        values are not known, None means classes. A `Task` goes by its loss alone.
      sample_weight: (batch,); the result is the weighted mean.

    Raises:
      InputError: if shapes do not fit, for text, and, if the values are known (not inside ``jit``), for NaN among the
        predictions, labels outside the classes, rows of targets that are neither one-hot nor yes/no labels, yes/no
        scores outside [0, 1] without a threshold, and sample weights that are negative, not finite or all 0. Rows of
        weight 0 are ignored. Inside ``jit`` a prediction that holds NaN counts as wrong.

    >>> print(accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]))
    0.5
    >>> print(accuracy([[0.1, 0.9, 0.7], [0.8, 0.2, 0.6]], [[0, 1, 1], [0, 0, 1]]))
    0.8333333
    """
    given = class_arguments("accuracy", predictions, targets, threshold, multi_label, sample_weight)
    return given.value(streaming_accuracy, given.several)


@float64_on_host
def binary_accuracy(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    threshold: Scalar | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """The fraction of yes/no labels predicted correctly, over examples and labels (multi-label accuracy).

    Args:
      predictions: (batch, ...); above ``threshold`` means yes.
      targets: (batch, ...), 0 and 1 or -1 and +1; above 0.5 means yes.
      threshold, sample_weight: as in `accuracy`, and so are the errors.

    >>> print(binary_accuracy([[0.9, 0.1], [0.2, 0.3]], [[1, 0], [1, 0]]))
    0.75
    """
    given = class_arguments("binary_accuracy", predictions, targets, threshold, True, sample_weight)
    return given.value(streaming_accuracy, True, "binary_accuracy")


@float64_on_host
def top_k_accuracy(
    predictions: ArrayLike, targets: ArrayLike, *, k: int = 5, sample_weight: ArrayLike | None = None
) -> Array:
    """The fraction of examples whose true class is among the ``k`` highest scores.

    Args:
      predictions: (batch, classes) scores.
      targets: (batch,) integer class labels, or (batch, classes) one-hot rows; rows of several labels are refused.
      k: number of highest scores, default 5.
      sample_weight: as in `accuracy`, and so are the errors.

    >>> print(top_k_accuracy([[0.5, 0.3, 0.2]], [1], k=2))
    1.0
    """
    check_count(TOP_K, "k", k)
    hint = "Rows of several labels have no true class; see binary_accuracy."
    given = class_arguments(TOP_K, predictions, targets, None, False, sample_weight, scores=False, hint=hint)
    return value_of(top_k(k), *given.rows_and_weights())


@float64_on_host
def confusion_matrix(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    num_classes: int | None = None,
    threshold: Scalar | None = None,
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """Counts by true class (rows) and predicted class (columns), int32.

    Args:
      predictions, targets, threshold, multi_label: as in `accuracy`.
      num_classes: default the predictions' last axis, or 2 for one score, or one more than the largest class.
      sample_weight: (batch,); the entries are then sums of weights, float32.

    Returns:
      (classes, classes); for several yes/no labels (labels, 2, 2), a matrix of no and yes for each, as in
      scikit-learn's ``multilabel_confusion_matrix``. Inside ``jit`` a prediction that holds NaN is not counted.

    Raises:
      InputError: as `accuracy`, and for classes outside [0, num_classes) if they are known (not inside ``jit``).

    >>> print(confusion_matrix([0, 1, 1], [0, 1, 0]))
    [[1 1]
     [0 1]]
    """
    given = class_arguments("confusion_matrix", predictions, targets, threshold, multi_label, sample_weight)
    pairs = pairs_and_number("confusion_matrix", given, num_classes)
    return of_pairs(_confusion, *pairs, given.weights, given.several)


def _confusion(p: Array, t: Array, classes: int, weights: Array | None, several: bool) -> Array:
    w = _weight_of_each(weights, p.shape)
    if several:
        counts = count_labels(p, t, weights)
        known = jnp.sum(jnp.where((p >= 0) & (t >= 0), w, jnp.zeros_like(w)).reshape(-1, classes), 0)
        wrong = counts.predicted - counts.right, counts.true - counts.right
        cells = (known - sum(wrong) - counts.right, *wrong, counts.right)
        return jnp.stack(cells, -1).reshape(classes, 2, 2)
    p, t = (jnp.where(a < 0, classes, a) for a in (p, t))
    return jnp.zeros((classes, classes), w.dtype).at[t, p].add(w, mode="drop")


def pairs_and_number(where: str, given: ClassArguments, num_classes: int | None) -> tuple[Array, Array, int]:
    """Classes predicted and true, and their number; or yes/no labels with one column each."""
    if given.several:
        p, t = compiled_labels(where, given.predictions, given.targets, given.threshold)
        if num_classes not in (None, p.shape[-1]):
            fail(where, expected=f"num_classes={p.shape[-1]}, the number of labels", got=repr(num_classes))
        return p, t, p.shape[-1]
    p, t = compiled_classes(where, given.predictions, given.targets, given.threshold)
    known = is_concrete(p) and is_concrete(t)
    # Rows of weight 0 may hold any integer.
    seen = np.concatenate([np.asarray(a)[given.rows].ravel() for a in (p, t)]) if known else np.zeros(0, np.int32)
    if num_classes is None:
        if is_float(given.predictions):
            num_classes = 2 if is_single_score(given.predictions) else given.predictions.shape[-1]
        elif not known:
            fail(where, expected="num_classes inside jit, where class numbers are not known", got="None")
        else:
            num_classes = max(int(seen.max()) + 1, 1)
    check_count(where, "num_classes", num_classes)
    if known and not (seen.min() >= 0 and seen.max() < num_classes):
        fail(where, expected=f"class numbers in [0, {num_classes})", got=f"numbers from {seen.min()} to {seen.max()}")
    return p, t, num_classes


def scores_from_confusion(matrix: ArrayLike) -> ClassScores:
    """Precision, recall, F1 and support of each class from the result of `confusion_matrix`.

    ``precision = tp / predicted``, ``recall = tp / true``, ``f1 = 2 tp / (predicted + true)``; 0 where the
    denominator is 0, as in scikit-learn.

    Args:
      matrix: (classes, classes), or (labels, 2, 2) for several yes/no labels.
    """
    counts = widened(numeric_array("scores_from_confusion", "matrix", matrix, classes=True))
    if counts.ndim == 3:
        return class_scores(Counts(counts[:, 1, 1], counts[:, :, 1].sum(1), counts[:, 1].sum(1)))
    return class_scores(Counts(jnp.diagonal(counts), counts.sum(0), counts.sum(1)))


@float64_on_host
def precision_recall_f1(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    num_classes: int | None = None,
    threshold: Scalar | None = None,
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
) -> ClassScores:
    """Precision, recall, F1 and support of each class, or of each of several yes/no labels.

    Arguments and errors as in `accuracy`, ``num_classes`` as in `confusion_matrix`. The mean over classes is
    scikit-learn's macro average.

    >>> print(precision_recall_f1([0, 1, 1], [0, 1, 0]).recall)
    [0.5 1. ]
    """
    given = class_arguments("precision_recall_f1", predictions, targets, threshold, multi_label, sample_weight)
    pairs = pairs_and_number("precision_recall_f1", given, num_classes)
    return of_pairs(scores_of_pairs, *pairs, given.weights, given.several)


@float64_on_host
def balanced_accuracy(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    num_classes: int | None = None,
    threshold: Scalar | None = None,
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """The mean over classes of the fraction of their examples predicted correctly (the mean recall).

    Every class counts alike, however rare; one without examples does not count, as in scikit-learn. For several yes/no
    labels it is the mean over labels of that of yes and no. Arguments and errors as in `accuracy`, ``num_classes`` as
    in `confusion_matrix`.

    >>> print(balanced_accuracy([0, 0, 0, 1], [0, 0, 1, 1]))
    0.75
    """
    where = "balanced_accuracy"
    given = class_arguments(where, predictions, targets, threshold, multi_label, sample_weight)
    pairs = pairs_and_number(where, given, num_classes)
    return of_pairs(_balanced, *pairs, given.weights, given.several)


@float64_on_host
def mean_iou(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    num_classes: int | None = None,
    threshold: Scalar | None = None,
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """The mean intersection over union (Jaccard index), for segmentation: ``right / (predicted + true - right)``.

    The mean is over classes that are predicted or true somewhere, as in Keras; for several yes/no labels over all of
    them, of yes alone, as in scikit-learn. Pixels are axes between those of batch and classes.
    Arguments and errors as in `accuracy`, ``num_classes`` as in `confusion_matrix`.

    >>> print(mean_iou([0, 1, 1, 1], [0, 0, 1, 1]))
    0.5833334
    """
    where = "mean_iou"
    given = class_arguments(where, predictions, targets, threshold, multi_label, sample_weight)
    pairs = pairs_and_number(where, given, num_classes)
    return of_pairs(_iou, *pairs, given.weights, given.several)


@jit(static_argnums=(0, 3, 5))
def of_pairs(fn: Callable[..., _R], p: Array, t: Array, classes: int, weights: Array | None, several: bool) -> _R:
    """``fn`` of classes or labels predicted and true, as one program."""
    return fn(p, t, classes, weights, several)


def scores_of_pairs(p: Array, t: Array, classes: int, weights: Array | None, several: bool) -> ClassScores:
    """Precision, recall, F1 and support of each class or label."""
    return class_scores(count_pairs(p, t, classes, weights, several))


def _balanced(p: Array, t: Array, classes: int, weights: Array | None, several: bool) -> Array:
    return _mean_recall(_count_outcomes(p, t, classes, weights, several), several)


def _iou(p: Array, t: Array, classes: int, weights: Array | None, several: bool) -> Array:
    return _mean_overlap(count_pairs(p, t, classes, weights, several), several)


def count_pairs(p: Array, t: Array, classes: int, weights: Array | None, several: bool) -> Counts:
    """Counts of each class, or of each of several yes/no labels."""
    return count_labels(p, t, weights) if several else count_classes(p, t, weights, classes)


def _count_outcomes(p: Array, t: Array, classes: int, weights: Array | None, several: bool) -> Counts:
    """Counts (1, classes), or (labels, 2) of no and yes."""
    if several:
        no, yes = (count_labels((p == k).astype(jnp.int32), (t == k).astype(jnp.int32), weights) for k in (0, 1))
        return Counts(*(jnp.stack(pair, -1) for pair in zip(no, yes, strict=True)))
    return Counts(*(a[None] for a in count_classes(p, t, weights, classes)))


def _mean_recall(counts: Counts, several: bool) -> Array:
    recall = class_scores(counts).recall
    seen = (counts.true > 0).astype(recall.dtype)
    return jnp.mean(divided(jnp.sum(recall * seen, -1), jnp.sum(seen, -1)))


def _mean_overlap(counts: Counts, several: bool) -> Array:
    """The mean intersection over union of all labels, or of the classes that occur."""
    f1 = class_scores(counts).f1
    overlap = f1 / (2 - f1)  # F1 is twice the intersection over the sum, this the intersection over the union
    if several:
        return jnp.mean(overlap)
    return divided(jnp.sum(overlap), jnp.sum(counts.predicted + counts.true > 0, dtype=overlap.dtype))


def streaming_accuracy(threshold: Scalar, several: bool, name: str = "accuracy") -> Metric:
    """The mean of correct classes, or of correct labels."""
    pairs = paired_labels if several else paired_classes

    def hits(predictions: Array, targets: Array) -> Array:
        p, t = pairs(name, predictions, targets, threshold)
        return mean_per_example((p == t).astype(jnp.result_type(float)))

    return mean_metric(name, hits)


@described
def top_k(k: int = 5) -> Metric:
    """`top_k_accuracy` as a metric of a `Task`, under the name ``"top_k_accuracy"``."""
    check_count("top_k", "k", k)
    return mean_metric(TOP_K, lambda p, t: _top_k_hits(p, t, k)).replace(spec=TOP_K)


def streaming_class_score(name: str, threshold: Scalar, several: bool) -> Metric:
    """Precision, recall or F1: of class 1 where there are two classes, else the mean over classes or labels (macro)."""

    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        if several or is_single_score(predictions):
            return count_labels(*paired_labels(name, predictions, targets, threshold), weights)
        p, t = paired_classes(name, predictions, targets)
        return count_classes(p, t, weights, predictions.shape[-1])

    def result(counts: Counts) -> Array:
        scores = getattr(class_scores(counts), name)
        return scores[1] if not several and scores.shape[0] == 2 else jnp.mean(scores)

    return Metric(name, measure, result)


def _of_counts(
    name: str, count: Callable[..., Counts], result: Callable[[Counts, bool], Array], threshold: Scalar, several: bool
) -> Metric:
    """A metric of the counts of classes or labels."""
    pairs = paired_labels if several else paired_classes

    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        # A single score has two classes, no and yes.
        classes = 2 if is_single_score(predictions) else predictions.shape[-1]
        return count(*pairs(name, predictions, targets, threshold), classes, weights, several)

    return Metric(name, measure, lambda counts: result(counts, several))


streaming_balanced_accuracy = partial(_of_counts, "balanced_accuracy", _count_outcomes, _mean_recall)
streaming_mean_iou = partial(_of_counts, "mean_iou", count_pairs, _mean_overlap)
