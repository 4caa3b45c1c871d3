"""Metrics of a training by name, and in which direction each is better."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import losses
from .._core.checks import lookup
from .._core.described import described
from .._core.dtypes import is_float
from .._core.errors import fail
from .._core.types import Array
from ..losses.facts import expects
from .classification import (
    TOP_K,
    accuracy,
    binary_accuracy,
    streaming_accuracy,
    streaming_class_score,
    top_k,
    top_k_accuracy,
)
from .given import check_class_labels, is_single
from .metric import Metric, mean_metric
from .regression import mae, r2_score, rmse, streaming_mean, streaming_r2, streaming_rmse

_METRICS: dict[str, Callable[[Any, bool], Metric]] = {
    "accuracy": streaming_accuracy,
    "binary_accuracy": lambda threshold, several: streaming_accuracy(threshold, True, "binary_accuracy"),
    TOP_K: lambda threshold, several: top_k(5),
    "precision": functools.partial(streaming_class_score, "precision"),
    "recall": functools.partial(streaming_class_score, "recall"),
    "f1": functools.partial(streaming_class_score, "f1"),
    "rmse": lambda threshold, several: streaming_rmse(),
    "mae": lambda threshold, several: streaming_mean("mae", losses.mean_absolute_error),
    "mse": lambda threshold, several: streaming_mean("mse", losses.mean_squared_error),
    "r2": lambda threshold, several: streaming_r2(),
}
METRICS: tuple[str, ...] = tuple(_METRICS)
"""The names that `Task` knows."""
_OF_CLASSES = ("accuracy", TOP_K, "precision", "recall", "f1")  # that read targets as classes
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


@described
def named(name: str, threshold: float = 0.5, several: bool = False) -> Metric:
    """The library's metric of a name, with the threshold of single scores, for several labels or for classes."""
    return _METRICS[name](threshold, several).replace(spec=name)


@described
def of_mean(name: str) -> Metric:
    """The same metric of the means that a network with the loss `fnn.losses.gaussian_nll` predicts."""
    inner = named(name)
    return inner.replace(measure=lambda p, t, w: inner.measure(losses.gaussian_moments(p).mean, t, w))


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
        if metric.spec is None or loss is None or (metric.spec == TOP_K and not several):
            return metric
        metric = metric.spec
    threshold = 0.0 if loss is not None and expects(loss) == "logits" else 0.5
    if metric == "r2_score":
        metric = "r2"
    own = {accuracy: "accuracy", binary_accuracy: "binary_accuracy", rmse: "rmse", mae: "mae", r2_score: "r2"}
    own[top_k_accuracy] = TOP_K
    if callable(metric) and metric not in own:
        return mean_metric(getattr(metric, "__name__", "metric"), metric)
    name = own.get(metric, metric) if callable(metric) else metric
    lookup("metric", name, _METRICS)
    name = str(name).lower()
    if name == TOP_K and several and loss is not None:
        hint = "Use 'accuracy', 'precision', 'recall' or 'f1', or a categorical loss if each example has one class."
        got = f"the loss {losses.base(loss).__name__!r}, of yes/no labels"
        fail(f"metric {TOP_K!r}", expected="a loss of classes", got=got, hint=hint)
    if loss is not None and losses.base(loss) is losses.gaussian_nll and name in ("rmse", "mae", "mse", "r2"):
        return of_mean(name)
    return named(name, threshold, several)


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
    if is_float(targets) and not is_single(predictions) and targets.shape == predictions.shape:
        losses.check_distributions(f"metric {names[0]!r}", labels)
    else:
        hint = "For several yes/no labels use 'binary_accuracy', or the loss 'binary_crossentropy'."
        check_class_labels(f"metric {names[0]!r}", predictions, labels, False, hint)


def _measure_rows(predictions: Any, targets: Any, weights: Array) -> Array:
    counts = weights > 0
    bad = jnp.zeros(counts.shape, bool)
    for leaf in jax.tree.leaves(predictions):
        if is_float(leaf):
            bad |= jnp.isnan(leaf).reshape(leaf.shape[0], -1).any(1)
    return jnp.stack([jnp.sum(counts, dtype=jnp.int32), jnp.sum(counts & bad, dtype=jnp.int32)])


NAN_ROWS = Metric("rows with NaN", _measure_rows, lambda totals: jnp.where(totals[0] > 0, totals[1], -1))
"""How many rows have predictions that hold NaN, -1 if no row counts; `evaluate` gathers it to warn of them."""
