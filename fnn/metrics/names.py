"""Metrics by name: one table of them, and what a task's loss says about them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import losses
from .._core.checks import lookup
from .._core.described import described
from .._core.dtypes import is_float
from .._core.errors import fail
from .._core.types import Array, ArrayLike, ArraySpec, PyTree, Scalar
from ..losses.facts import CLASSES, GAUSSIAN, LABELS, VALUES, expects, facts_of, loss_name
from . import classification, regression
from .arguments import check_class_labels, is_single_score
from .classification import TOP_K, streaming_accuracy, streaming_class_score
from .metric import Metric, mean_metric


class _Facts(NamedTuple):
    make: Callable[[Scalar, bool], Metric]  # from the threshold of yes/no scores, and whether rows hold several labels
    reads: str  # targets as CLASSES, LABELS or VALUES
    function: Callable[..., Array] | None = None  # of whole arrays, which a task takes in place of the name
    better: str = "max"  # or "min"


_BINARY = "binary_accuracy"
_FACTS = {
    "accuracy": _Facts(streaming_accuracy, CLASSES, classification.accuracy),
    _BINARY: _Facts(lambda cut, _: streaming_accuracy(cut, True, _BINARY), LABELS, classification.binary_accuracy),
    TOP_K: _Facts(lambda *_: classification.top_k(5), CLASSES, classification.top_k_accuracy),
    "precision": _Facts(partial(streaming_class_score, "precision"), CLASSES),
    "recall": _Facts(partial(streaming_class_score, "recall"), CLASSES),
    "f1": _Facts(partial(streaming_class_score, "f1"), CLASSES),
    "rmse": _Facts(lambda *_: regression.RMSE, VALUES, regression.rmse, "min"),
    "mae": _Facts(lambda *_: regression.MAE, VALUES, regression.mae, "min"),
    "mse": _Facts(lambda *_: regression.MSE, VALUES, better="min"),
    "r2": _Facts(lambda *_: regression.R2, VALUES, regression.r2_score),
}
METRICS: tuple[str, ...] = tuple(_FACTS)
"""The names that `Task` knows."""
DIRECTIONS = dict.fromkeys(("loss", *losses.LOSSES), "min") | {name: facts.better for name, facts in _FACTS.items()}
"""Which way is better, by name."""


def direction(name: str, logs: Collection[str] = ()) -> str | None:
    """Which way a value of the logs is better: "min" or "max", or None for one that the library does not know.

    With "digit_loss" in ``logs``, "digit_accuracy" is the accuracy of an output; else it may be any function of a user.

    >>> direction("val_loss"), direction("val_digit_loss"), direction("val_f1"), direction("val_auc")
    ('min', 'min', 'max', None)
    >>> direction("digit_accuracy"), direction("val_digit_accuracy", ["loss", "digit_loss", "digit_accuracy"])
    (None, 'max')
    """
    name = name.removeprefix("val_")
    if name.endswith("_loss"):
        return "min"
    outputs = {known: name.removesuffix(f"_{known}") for known in DIRECTIONS}
    found = (known for known, output in outputs.items() if name == known or f"{output}_loss" in logs)
    return DIRECTIONS.get(next(found, ""))


def get_metric(metric: str | Metric | Callable[[PyTree, PyTree], Array], loss: losses.Loss | None = None) -> Metric:
    """A metric by name; a `Metric` is returned unchanged, and a function of predictions and targets is averaged.

    Args:
      metric: a name, a `Metric` or a function.
      loss: of the task. If it takes logits, the threshold of yes/no scores is 0 instead of 0.5. With
        `losses.binary_crossentropy` and `losses.logistic` several outputs are yes/no labels, whatever the targets of a
        batch look like: "accuracy" is the mean over examples and labels, as Keras's binary accuracy, and "precision",
        "recall" and "f1" are means over labels (macro). With `losses.gaussian_nll`, metrics of values read the mean.

    Raises:
      InputError: for an unknown name, with the close matches; for "top_k_accuracy" with a loss of yes/no labels.
    """
    several = loss is not None and losses.several_labels(loss)
    if isinstance(metric, Metric):
        if metric.spec is None or loss is None or (metric.spec == TOP_K and not several):
            return metric
        metric = metric.spec
    named = {facts.function: name for name, facts in _FACTS.items() if facts.function is not None}
    if callable(metric):
        if metric not in named:
            return mean_metric(getattr(metric, "__name__", "metric"), metric)
        metric = named[metric]
    elif metric == "r2_score":
        metric = "r2"
    lookup("metric", metric, _FACTS)
    name = metric.lower()
    if loss is None or facts_of(loss).outputs == VALUES:
        return _get_metric(name)
    if name == TOP_K and several:
        hint = "Use 'accuracy', 'precision', 'recall' or 'f1', or a categorical loss if each example has one class."
        got = f"the loss {loss_name(loss)!r}, of yes/no labels"
        fail(f"metric {TOP_K!r}", expected="a loss of classes", got=got, hint=hint)
    return _get_metric(name, loss)


@described
def _get_metric(name: str, loss: losses.Loss | None = None) -> Metric:
    threshold = 0.0 if loss is not None and expects(loss) == "logits" else 0.5
    facts = _FACTS[name]
    metric = facts.make(threshold, loss is not None and losses.several_labels(loss)).replace(spec=name)
    if loss is None or facts_of(loss).outputs != GAUSSIAN or facts.reads != VALUES:
        return metric
    return metric.replace(measure=lambda p, t, w: metric.measure(losses.gaussian_moments(p).mean, t, w))


_get_metric.__name__ = "get_metric"  # a metric prints as the call that a user would write


def check_labels(metrics: Sequence[Metric], loss: losses.Loss, predictions: ArraySpec, targets: ArrayLike) -> None:
    """Refuse concrete targets that are invalid for a metric of classes; needs values, so the drivers call it.

    With a loss of classes or labels there is nothing left to check after `losses.check_targets`.

    Raises:
      InputError: for classes without an output, rows that do not sum to 1, and labels not 0 and 1, or -1 and +1.
    """
    names = [metric.name for metric in metrics if metric.spec in _FACTS and _FACTS[metric.spec].reads == CLASSES]
    if not names or losses.of_classes(loss) or losses.several_labels(loss):
        return
    labels = np.asarray(targets)
    if is_float(targets) and not is_single_score(predictions) and targets.shape == predictions.shape:
        losses.check_distributions(f"metric {names[0]!r}", labels)
    else:
        hint = "For several yes/no labels use 'binary_accuracy', or the loss 'binary_crossentropy'."
        check_class_labels(f"metric {names[0]!r}", predictions, labels, False, hint)


def _measure_rows(predictions: PyTree, targets: PyTree, weights: Array) -> Array:
    counts = weights > 0
    bad = jnp.zeros(counts.shape, bool)
    for leaf in jax.tree.leaves(predictions):
        if is_float(leaf):
            bad |= jnp.isnan(leaf).reshape(leaf.shape[0], -1).any(1)
    return jnp.stack([jnp.sum(counts, dtype=jnp.int32), jnp.sum(counts & bad, dtype=jnp.int32)])


NAN_ROWS = Metric("rows with NaN", _measure_rows, lambda totals: jnp.where(totals[0] > 0, totals[1], -1))
"""The number of rows whose predictions hold NaN, -1 if no row counts; `evaluate` warns of them."""
