"""Metrics by name: one table of them, and what a task's loss says about them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple, NoReturn, cast

import jax
import jax.numpy as jnp
import numpy as np

from .. import losses
from .._core.checks import canonical, lookup, refuse_uncalled
from .._core.described import described
from .._core.dtypes import is_float
from .._core.errors import fail, located
from .._core.types import AnyArray, Array, ArraySpec, PyTree, Scalar
from ..losses import facts as loss_facts
from ..losses.common import check_order
from ..losses.facts import CLASSES, GAUSSIAN, LABELS, VALUES, facts_of, loss_name, threshold
from ..losses.facts import FACTS as LOSS_FACTS
from ..losses.facts import Facts as LossFacts
from . import classification, regression
from .arguments import check_class_labels, is_single_score
from .auc import AUC, PR_AUC, auc, binned_auc
from .classification import TOP_K, streaming_accuracy, streaming_class_score
from .metric import Metric, mean_metric
from .regression import mean_of_loss

ONE_CLASS = "one class"  # targets have one class, whatever the loss


class _Facts(NamedTuple):
    make: Callable[[Scalar, bool], Metric]  # from the threshold of yes/no scores, and whether rows hold several labels
    reads: str  # targets as CLASSES, LABELS, VALUES or ONE_CLASS
    function: Callable[..., Array] | None = None  # of whole arrays, which a task takes in place of the name
    better: str = "max"  # or "min"
    also: tuple[str, ...] = ()  # other names, mostly Keras's
    loss: losses.Loss | None = None  # whose mean it is, and whose targets it takes


def _facts_of_loss(facts: LossFacts) -> _Facts:
    """A loss as a metric: of logits or probabilities, as the task's loss."""
    name, loss = loss_name(facts.loss), facts.loss

    def make(cut: Scalar, _: bool) -> Metric:
        options = {"from_logits": cut == 0} if "from_logits" in inspect.signature(loss).parameters else {}
        return mean_of_loss(name, partial(loss, **options))

    return _Facts(make, facts.outputs, None, "min", facts.also, loss)


_CURVES = {AUC: "roc", PR_AUC: "pr"}
_BINARY, _CATEGORICAL = "binary_accuracy", "categorical_accuracy"
_OWN = {
    "accuracy": _Facts(streaming_accuracy, CLASSES, classification.accuracy, also=("acc",)),
    _BINARY: _Facts(lambda cut, _: streaming_accuracy(cut, True, _BINARY), LABELS, classification.binary_accuracy),
    _CATEGORICAL: _Facts(
        lambda cut, _: streaming_accuracy(cut, False, _CATEGORICAL), ONE_CLASS, also=("sparse_categorical_accuracy",)
    ),
    TOP_K: _Facts(
        lambda *_: classification.top_k(5),
        ONE_CLASS,
        classification.top_k_accuracy,
        also=("top_k", "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy"),
    ),
    "balanced_accuracy": _Facts(classification.streaming_balanced_accuracy, CLASSES, classification.balanced_accuracy),
    "precision": _Facts(partial(streaming_class_score, "precision"), CLASSES),
    "recall": _Facts(partial(streaming_class_score, "recall"), CLASSES),
    "f1": _Facts(partial(streaming_class_score, "f1"), CLASSES, also=("f1_score",)),
    "mean_iou": _Facts(
        classification.streaming_mean_iou, CLASSES, classification.mean_iou, also=("mean_io_u", "one_hot_mean_io_u")
    ),
    AUC: _Facts(lambda *_: binned_auc("roc"), CLASSES, auc, also=("roc_auc",)),
    PR_AUC: _Facts(lambda *_: binned_auc("pr"), CLASSES, also=("auc_pr",)),
    "rmse": _Facts(lambda *_: regression.RMSE, VALUES, regression.rmse, "min", ("root_mean_squared_error",)),
    "mae": _Facts(lambda *_: regression.MAE, VALUES, regression.mae, "min", ("mean_absolute_error",)),
    "mse": _Facts(lambda *_: regression.MSE, VALUES, None, "min", ("mean_squared_error",)),
    "mape": _Facts(lambda *_: regression.MAPE, VALUES, regression.mape, "min", ("mean_absolute_percentage_error",)),
    "r2": _Facts(lambda *_: regression.R2, VALUES, regression.r2_score, also=("r2_score",)),
    "cosine_similarity": _Facts(lambda *_: regression.COSINE, VALUES),
}
_OF_LOSSES = {loss_name(facts.loss): _facts_of_loss(facts) for facts in LOSS_FACTS}
_TAKEN = {name for own, facts in _OWN.items() for name in (own, *facts.also)}
_FACTS = _OWN | {name: facts for name, facts in _OF_LOSSES.items() if name not in _TAKEN}
METRICS: tuple[str, ...] = tuple(_OWN)
"""The metrics that `Task` knows by name, without synonyms such as "acc"; names of losses are metrics too."""
_SPECS = {name: spec for spec, facts in _FACTS.items() for name in (spec, *facts.also)}
DIRECTIONS = dict.fromkeys(("loss", *losses.LOSSES), "min") | {
    name: _FACTS[spec].better for name, spec in _SPECS.items()
}
"""Which way is better, by name."""


def direction(name: str, logs: Collection[str] = ()) -> str | None:
    """Which way a value of the logs is better: "min" or "max", or None for one that the library does not know.

    With "digit_loss" in ``logs``, "digit_accuracy" is the accuracy of an output; else it may be any function of a user.

    >>> direction("val_loss"), direction("val_digit_loss"), direction("val_acc"), direction("val_bias")
    ('min', 'min', 'max', None)
    >>> direction("digit_accuracy"), direction("val_digit_accuracy", ["loss", "digit_loss", "digit_accuracy"])
    (None, 'max')
    """
    name = name.removeprefix("val_")
    if name.endswith("_loss"):
        return "min"
    outputs = {known: name.removesuffix(f"_{known}") for known in DIRECTIONS}
    of_output = (known for known, output in outputs.items() if output != name and f"{output}_loss" in logs)
    return DIRECTIONS.get(canonical(name, DIRECTIONS)) or DIRECTIONS.get(next(of_output, ""))


def get_metric(metric: str | Metric | Callable[[PyTree, PyTree], Array], loss: losses.Loss | None = None) -> Metric:
    """A metric by name; a `Metric` is returned unchanged, and a function of predictions and targets is averaged.

    The name is the key in the history as it is written: "acc" is "accuracy" under the key "acc", and "val_acc". Keras's
    names are known, such as "mean_absolute_error", "MeanAbsoluteError" and "sparse_categorical_accuracy". The name of
    a loss is the mean of this loss, without penalties; only "cosine_similarity" has the other sign.

    Args:
      metric: a name, a `Metric` or a function.
      loss: of the task. If it takes logits, the threshold of yes/no scores is 0 instead of 0.5. With
        `losses.binary_crossentropy`, `losses.hinge` and others for yes/no labels, several outputs are such labels,
        whatever the targets of a batch look like: "accuracy" is the mean over examples and labels, as Keras's binary
        accuracy, and "precision", "recall", "f1", "auc" and others are means over labels (macro). With
        `losses.gaussian_nll`, metrics of values read the mean.

    Raises:
      InputError: for an unknown name, with the close matches; for "top_k_accuracy" with a loss of yes/no labels.
    """
    if isinstance(metric, Metric):
        return metric if metric.spec is None or loss is None else _adapted(metric, loss)
    refuse_uncalled("metric", "a name, a Metric or a function (predictions, targets)", metric)
    if callable(metric):
        named = {facts.function: name for name, facts in _OWN.items() if facts.function is not None}
        if loss_facts.base(metric) is losses.cosine_similarity:
            hint = "Write 'cosine_similarity', the name, for the similarity."
            fail("metric", expected="a metric", got="a loss, minus the cosine similarity", hint=hint)
        if metric not in named:
            check_order("metric", metric)
            return mean_metric(getattr(metric, "__name__", "metric"), metric)
        metric = named[metric]
    spec = lookup("metric", metric, _SPECS)
    if spec == TOP_K and loss is not None and loss_facts.several_labels(loss):
        _refuse_top_k(metric, loss)
    if spec in _CURVES:
        made = binned_auc(_CURVES[spec]) if metric == spec else binned_auc(_CURVES[spec], name=metric)
        return made if loss is None else _adapted(made, loss)
    return _get_metric(metric) if loss is None or facts_of(loss).outputs == VALUES else _get_metric(metric, loss)


@described
def _get_metric(metric: str, loss: losses.Loss | None = None) -> Metric:
    spec = lookup("metric", metric, _SPECS)
    facts, cut = _FACTS[spec], 0.5 if loss is None else threshold(loss)
    made = facts.make(cut, loss is not None and loss_facts.several_labels(loss)).replace(name=metric, spec=spec)
    if loss is None or facts_of(loss).outputs != GAUSSIAN or facts.reads != VALUES:
        return made
    return made.replace(measure=lambda p, t, w: made.measure(losses.gaussian_moments(p).mean, t, w), spec=spec)


_get_metric.__name__ = "get_metric"  # a metric prints as the call that a user would write


def reads_scores(metric: Metric) -> bool:
    """Whether a metric reads logits where the loss does: one of classes or labels, made by name for that loss."""
    return metric.spec in _CURVES or (metric.spec in _FACTS and _FACTS[metric.spec].reads != VALUES)


def _adapted(metric: Metric, loss: losses.Loss) -> Metric:
    """A metric of the library for a task's loss, with its own options and name."""
    several = loss_facts.several_labels(loss)
    if metric.spec == TOP_K:
        return _refuse_top_k(metric.name, loss) if several else metric
    if metric.spec in _CURVES:
        if metric.config is None:
            return metric
        implied = {"from_logits": threshold(loss) == 0, "multi_label": several}
        custom = facts_of(loss) not in LOSS_FACTS  # of which the metric's own options alone tell
        options = {name: value for name, value in metric.config.kwargs.items() if custom or name not in implied}
        options |= {name: True for name, holds in implied.items() if holds}
        return cast(Metric, metric.config.make(*metric.config.args, **options))
    known = _SPECS.get(canonical(metric.name, _SPECS)) == metric.spec
    made = get_metric(metric.name if known else str(metric.spec), loss)
    return made if made.name == metric.name else made.replace(name=metric.name)


def check_bounded_scores(metrics: Sequence[Metric]) -> None:
    """Refuse binned metrics that need scores in [0, 1], of a model whose outputs may be any number."""
    for metric in metrics:
        if metric.spec in _CURVES and metric.config is not None and not metric.config.kwargs.get("from_logits"):
            hint = (
                "End the model in sigmoid or softmax; or, if the loss takes logits, write "
                "fnn.metrics.binned_auc(from_logits=True); or use fnn.metrics.auc on the predictions for whole arrays."
            )
            expected = "scores in [0, 1], which it sorts into bins"
            fail(f"metric {metric.name!r}", expected=expected, got="outputs that may be any number", hint=hint)


def _refuse_top_k(name: str, loss: losses.Loss) -> NoReturn:
    hint = "Use 'accuracy', 'precision', 'recall' or 'f1', or a categorical loss if each example has one class."
    got = f"the loss {loss_name(loss)!r}, of yes/no labels"
    fail(f"metric {name!r}", expected="a loss of classes", got=got, hint=hint)


def check_labels(metrics: Sequence[Metric], loss: losses.Loss, predictions: ArraySpec, targets: AnyArray) -> None:
    """Refuse concrete targets that are invalid for a metric; needs values, so the drivers call it.

    With a loss of classes or labels there is little left to check after `losses.facts.check_targets`.

    Raises:
      InputError: for classes without an output, rows that do not sum to 1, and labels not 0 and 1, or -1 and +1.
    """
    of_classes, of_labels = loss_facts.of_classes(loss), loss_facts.several_labels(loss)
    checked = of_classes
    for metric in metrics:
        facts = _FACTS.get(str(metric.spec))
        if facts is None:
            continue
        if facts.loss is not None and facts.loss is not loss_facts.base(loss):
            with located(f"metric {metric.name!r}"):
                loss_facts.check_targets(facts.loss, predictions, targets)
        elif not checked and (facts.reads == ONE_CLASS or (facts.reads == CLASSES and not of_labels)):
            _check_classes(metric.name, predictions, targets)
            checked = True


def _check_classes(name: str, predictions: ArraySpec, targets: AnyArray) -> None:
    where = f"metric {name!r}"
    labels = np.asarray(targets)
    if is_float(targets) and not is_single_score(predictions) and targets.shape == predictions.shape:
        loss_facts.check_distributions(where, labels)
    else:
        hint = "For several yes/no labels use 'binary_accuracy', or the loss 'binary_crossentropy'."
        cause = f"{name!r} compares classes. For values use 'rmse', 'mae' or 'r2'; for classes a cross-entropy as loss."
        check_class_labels(where, predictions, labels, False, hint, cause)


def _measure_rows(predictions: PyTree, targets: PyTree, weights: Array) -> Array:
    counts = weights > 0
    bad = jnp.zeros(counts.shape, bool)
    for leaf in jax.tree.leaves(predictions):
        if is_float(leaf):
            bad |= jnp.isnan(leaf).reshape(leaf.shape[0], -1).any(1)
    return jnp.stack([jnp.sum(counts, dtype=jnp.int32), jnp.sum(counts & bad, dtype=jnp.int32)])


NAN_ROWS = Metric("rows with NaN", _measure_rows, lambda totals: jnp.where(totals[0] > 0, totals[1], -1))
"""The number of rows whose predictions hold NaN, -1 if no row counts; `evaluate` warns of them."""
