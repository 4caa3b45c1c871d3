"""The area under the ROC or the precision-recall curve: exact for whole arrays, and binned over batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_float, is_concrete
from .._core.described import described
from .._core.dtypes import widened
from .._core.errors import fail
from .._core.norms import divided
from .._core.typed import jit
from .._core.types import Array, ArrayLike
from ..nn.activations import sigmoid, softmax
from .arguments import check_probabilities, class_arguments, is_single_score, ones
from .metric import Metric, float64_on_host
from .pairs import paired_classes, paired_labels

AUC, PR_AUC = "auc", "pr_auc"
_NAMES = {"roc": AUC, "pr": PR_AUC}


@float64_on_host
def auc(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    curve: str = "roc",
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array:
    """The area under the ROC curve: how often an example of class 1 has a higher score than one of class 0.

    It is exact, as scikit-learn's ``roc_auc_score``. A `Task` gathers it over batches and therefore bins the scores;
    see `binned_auc`.

    Args:
      predictions: (batch,) or (batch, 1) scores of class 1 in any range; or (batch, classes) probabilities, each class
        against the rest; or (batch, labels) scores of yes/no labels. The result is the mean over classes or labels.
      targets: (batch,) classes or one-hot rows, or rows of yes/no labels, as in `accuracy`.
      curve: "roc", or "pr" for precision by recall, whose area is the average precision
        ``sum_n (R_n - R_(n-1)) P_n``, as scikit-learn's ``average_precision_score``.
      multi_label, sample_weight: as in `accuracy`, and so are the errors.

    Raises:
      InputError: also for classes instead of scores, rows of classes that are not probabilities, and, if values are
        known, for a class or label without examples for or against it. Inside ``jit`` the mean leaves such a class out.

    >>> print(auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]))
    0.75
    """
    _check_curve(AUC, curve)
    given = class_arguments(AUC, predictions, targets, None, multi_label, sample_weight, scores=False)
    p = given.predictions
    check_float(AUC, p, "Pass scores, not classes. Predictions come first, then targets.")
    if is_concrete(p) and not (given.several or is_single_score(p)):
        check_probabilities(AUC, np.asarray(widened(p))[given.rows], False, "For yes/no labels use multi_label=True.")
    weights = ones(p.shape[:1], jnp.result_type(float)) if given.weights is None else given.weights
    with jax.debug_nans(False):  # where a column has no example of a class: reported below
        mean, positives, negatives = _exact_mean(p, given.targets, weights, given.several, curve)
    if is_concrete(positives):
        _check_both(np.asarray(positives), np.asarray(negatives))
    return mean


@described
def binned_auc(
    curve: str = "roc",
    *,
    thresholds: int = 200,
    from_logits: bool = False,
    multi_label: bool = False,
    name: str | None = None,
) -> Metric:
    """The area under a curve as a metric of a `Task`, from scores sorted into bins; "auc" and "pr_auc" stand for it.

    As in Keras, the curve has one point for each of 200 thresholds, evenly spaced in [0, 1]. Trapezoids between them
    make up the area under the ROC curve, the interpolation of Davis and Goadrich 2006 that under the precision-recall
    curve. Two scores in one bin count as equal: the value differs from the exact one of `auc`, little where scores
    spread over [0, 1], much where nearly all of them fall into a few bins. It does not depend on how the examples are
    divided into batches.

    Args:
      curve: "roc" or "pr".
      thresholds: their number, at least 2; more of them are more exact.
      from_logits: whether scores are logits, which a sigmoid (or, for classes, a softmax) turns into probabilities.
        A `Task` sets it by its loss. Scores outside [0, 1] otherwise give NaN.
      multi_label: whether rows hold yes/no labels instead of one class. A `Task` sets it by its loss.
      name: in the history; default "auc", or "pr_auc" for "pr".

    Classes or labels without examples for and against them are left out of the mean; it is NaN if none remains.
    """
    where = "binned_auc"
    _check_curve(where, curve)
    check_count(where, "thresholds", thresholds, 2)

    def measure(predictions: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
        p = widened(jnp.asarray(predictions))
        check_float(name or _NAMES[curve], p, "It needs scores or probabilities.")
        if from_logits:
            p = sigmoid(p) if multi_label or is_single_score(p) else softmax(p)
        scores, labels, w = _columns(p, jnp.asarray(targets), widened(jnp.asarray(weights)), multi_label)
        outside = (w[:, None] != 0) & jnp.isfinite(scores) & ((scores < -_SLACK) | (scores > 1 + _SLACK))
        bins = jnp.ceil(jnp.clip(scores, 0, 1) * (thresholds - 1)).astype(jnp.int32) - 1
        # From the highest scores down, so that sums from the left count what lies above a threshold.
        bins = thresholds - 2 - jnp.maximum(bins, jnp.zeros_like(bins))
        columns = jax.lax.broadcasted_iota(jnp.int32, bins.shape, 1)
        kinds = jnp.where(labels < 0, 2, labels)  # neither yes nor no is dropped
        counts = jnp.zeros((2, bins.shape[1], thresholds - 1), w.dtype)
        w = jnp.broadcast_to(w[:, None], bins.shape)
        return counts.at[kinds, columns, bins].add(w, mode="drop"), jnp.sum(outside, dtype=jnp.int32)

    def result(totals: tuple[Array, Array]) -> Array:
        counts, outside = totals
        fp, tp = jnp.cumsum(counts[0], -1), jnp.cumsum(counts[1], -1)
        area = jax.vmap(_roc_area if curve == "roc" else _interpolated_pr_area)(tp, fp)
        value = _mean_of_known(area, (tp[:, -1] > 0) & (fp[:, -1] > 0))
        return jnp.where(outside == 0, value, jnp.full_like(value, jnp.nan))

    own = name or _NAMES[curve]
    return Metric(own, measure, result, spec=_NAMES[curve])


_SLACK = 1e-3  # beyond [0, 1], for rounding in half precision


def _check_curve(where: str, curve: str) -> None:
    if curve not in _NAMES:
        fail(where, expected="curve 'roc' or 'pr'", got=repr(curve))


def _check_both(positives: np.ndarray, negatives: np.ndarray) -> None:
    for found, number, text in ((positives, 1, "no example of"), (negatives, 0, "only examples of")):
        if (found == 0).any():
            got = f"none of class {number}" if len(found) == 1 else f"{text} column {int(np.argmax(found == 0))}"
            fail(AUC, expected="targets with examples of both classes, in each column", got=got)


def _columns(p: Array, t: Array, w: Array, several: bool) -> tuple[Array, Array, Array]:
    """Scores and 0/1 labels (rows, columns), one column for each label or class to be told from the rest, and weights.

    Of two classes the second alone is a column. A score that is NaN becomes the worst.
    """
    if several or is_single_score(p):
        _, labels = paired_labels(AUC, p, t, 0.0)
        p, labels = (a.reshape(-1, p.shape[-1] if several and p.ndim > 1 else 1) for a in (p, labels))
    else:
        classes = p.shape[-1]
        _, numbers = paired_classes(AUC, p, t)
        labels = (numbers[..., None] == jax.lax.broadcasted_iota(jnp.int32, p.shape, p.ndim - 1)).astype(jnp.int32)
        p, labels = (a.reshape(-1, classes)[:, 1 if classes == 2 else 0 :] for a in (p, labels))
    steps = p.shape[0] // w.shape[0]
    worst = jnp.where(labels == 1, -jnp.inf, jnp.inf).astype(p.dtype)
    return jnp.where(jnp.isnan(p), worst, p), labels, jnp.repeat(w, steps)


@jit(static_argnums=(3, 4))
def _exact_mean(p: Array, t: Array, weights: Array, several: bool, curve: str) -> tuple[Array, Array, Array]:
    """The mean area over columns with both classes, and the weight of the positives and of the negatives of each."""
    scores, labels, w = _columns(p, t, weights, several)
    positives, negatives = (jnp.sum(jnp.where(labels == k, w[:, None], 0 * w[:, None]), 0) for k in (1, 0))
    areas = _exact_areas(scores, labels, w, curve)
    return _mean_of_known(areas, (positives > 0) & (negatives > 0)), positives, negatives


def _exact_areas(scores: Array, labels: Array, w: Array, curve: str) -> Array:
    """The area under the curve of each column, with a point for each distinct score."""

    def area(p: Array, t: Array) -> Array:
        order = jnp.argsort(-p)
        p, sorted_w = p[order], w[order]
        last = jnp.concatenate([p[1:] != p[:-1], jnp.ones(1, bool)])  # of equal scores
        sums = (jnp.cumsum(jnp.where(t[order] == k, sorted_w, jnp.zeros_like(w))) for k in (1, 0))
        tp, fp = (jax.lax.cummax(jnp.where(last, total, jnp.zeros_like(total))) for total in sums)
        return _roc_area(tp, fp) if curve == "roc" else _average_precision(tp, fp)

    return jax.vmap(area, 1)(scores, labels)


def _roc_area(tp: Array, fp: Array) -> Array:
    """Trapezoids below the true positives over the false positives, both as fractions."""
    area = jnp.sum((fp - _before(fp)) * (tp + _before(tp))) / 2
    return divided(area, tp[-1] * fp[-1])


def _average_precision(tp: Array, fp: Array) -> Array:
    """Precision at each point, weighted by the growth of recall to it."""
    return divided(jnp.sum((tp - _before(tp)) * divided(tp, tp + fp)), tp[-1])


def _interpolated_pr_area(tp: Array, fp: Array) -> Array:
    """The area below precision over recall, with true positives linear in all positives between two points."""
    above, tp_above = _before(tp + fp), _before(tp)
    slope = divided(tp - tp_above, tp + fp - above)
    both = (above > 0) & (tp + fp > 0)
    ratio = jnp.where(both, divided(tp + fp, above), jnp.ones_like(tp))
    return divided(jnp.sum(slope * (tp - tp_above + (tp_above - slope * above) * jnp.log(ratio))), tp[-1])


def _before(totals: Array) -> Array:
    return jnp.concatenate([jnp.zeros_like(totals[:1]), totals[:-1]])


def _mean_of_known(values: Array, known: Array) -> Array:
    """The mean of the known values, NaN if there is none."""
    return jnp.sum(jnp.where(known, values, jnp.zeros_like(values))) / jnp.sum(known, dtype=values.dtype)
