"""One table of all losses: their names, and what each expects of outputs and targets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._core.checks import check_accepts, resolve
from .._core.described import unwrapped
from .._core.errors import counted, fail
from .._core.typed import finfo
from .._core.types import AnyArray, ArraySpec
from . import classification, gaussian, margins, regression
from .common import Loss, check_order

CLASSES, LABELS, GAUSSIAN, VALUES = "classes", "yes or no", "gaussian", "values"
"""The meaning of outputs: classes, one of which is right; labels, any of which is; moments of Gaussians; others."""


class Facts(NamedTuple):
    """Facts about a loss; the defaults are those of a custom loss."""

    loss: Loss
    also: tuple[str, ...] = ()  # its other names
    outputs: str = VALUES
    logits: bool = False  # whether it takes logits, unless from_logits=False
    margin: bool = False  # whether it takes scores around 0 that stand for no probabilities
    per_example: bool = False  # whether its value for an example depends on that example alone
    check: Callable[[str, ArraySpec, AnyArray], None] | None = None  # refuses invalid targets, given the loss's name


def base(loss: Loss) -> Loss:
    """The function inside any `functools.partial`."""
    return unwrapped(loss)[0]


def loss_name(loss: Loss) -> str:
    """The name of a loss for messages."""
    return str(getattr(base(loss), "__name__", "loss"))


def _check_class_numbers(name: str, predictions: ArraySpec, targets: AnyArray) -> None:
    (low, high), classes = _extremes(targets), predictions.shape[-1]
    if low < 0 or high >= classes:
        hint = "Number the classes from 0, or give the last layer more units."
        got = f"labels from {low:g} to {high:g}"
        fail(name, expected=f"labels in [0, {classes}) for {counted(classes, 'output')}", got=got, hint=hint)


def _check_probabilities(name: str, predictions: ArraySpec, targets: AnyArray) -> None:
    low, high = _extremes(targets)
    if not (low >= 0 and high <= 1):
        hint = "Labels of -1 and +1 belong to the 'logistic' loss." if low == -1 and high == 1 else ""
        fail(name, expected="targets in [0, 1]", got=f"targets from {low:g} to {high:g}", hint=hint)


def _check_rows(name: str, predictions: ArraySpec, targets: AnyArray) -> None:
    _check_probabilities(name, predictions, targets)
    check_distributions(name, np.asarray(targets))


def _check_signs(name: str, predictions: ArraySpec, targets: AnyArray) -> None:
    if not np.isin(np.asarray(targets), (-1, 1)).all():
        low, high = _extremes(targets)
        hint = "Use 2 * y - 1 for labels of 0 and 1."
        fail(name, expected="targets -1 or +1", got=f"targets from {low:g} to {high:g}", hint=hint)


def _check_labels(name: str, predictions: ArraySpec, targets: AnyArray) -> None:
    t = np.asarray(targets)
    if not (np.isin(t, (0, 1)).all() or np.isin(t, (-1, 1)).all()):
        low, high = _extremes(t)
        fail(name, expected="targets of 0 and 1, or -1 and +1", got=f"targets from {low:g} to {high:g}")


def _check_counts(name: str, predictions: ArraySpec, targets: AnyArray) -> None:
    low, high = _extremes(targets)
    if not low >= 0:
        fail(name, expected="counts of at least 0 as targets", got=f"targets from {low:g} to {high:g}")


def check_distributions(where: str, rows: np.ndarray) -> None:
    """Refuse rows (..., classes) that do not sum to 1, such as rows of zeros."""
    # Half precision rounds each of many probabilities.
    tolerance = 1e-3 if rows.dtype.kind in "biu" or finfo(rows.dtype).bits >= 32 else 0.02
    sums = rows.sum(-1, dtype=np.float64)
    good = (np.abs(sums - 1) <= tolerance) & (rows >= 0).all(-1)
    if not good.all():
        first = tuple(np.argwhere(~good)[0].tolist())
        place = first[0] if len(first) == 1 else first
        count = int((~good).sum())
        wrong = "1 row that is not," if count == 1 else f"{count} rows that are not, the first"
        got = f"{wrong} at index {place} (sum {sums[first]:g})"
        hint = "A row of zeros has no class: leave such rows out, or give them the sample weight 0."
        hint = "For several yes/no labels use the loss 'binary_crossentropy'." if sums[first] > 1 else hint
        fail(where, expected="rows of probabilities or one-hot rows, which sum to 1", got=got, hint=hint)


def _extremes(x: AnyArray) -> tuple[float, float]:
    x = np.asarray(x)
    return float(x.min()), float(x.max())


_known = functools.partial(Facts, per_example=True)
_on_logits = functools.partial(_known, logits=True)
_of_margins = functools.partial(_known, margin=True)
FACTS: tuple[Facts, ...] = (
    _known(regression.mean_squared_error, ("mse",)),
    _known(regression.mean_absolute_error, ("mae",)),
    _known(regression.mean_absolute_percentage_error, ("mape",)),
    _known(regression.mean_squared_logarithmic_error, ("msle",)),
    _known(regression.huber),
    _known(regression.log_cosh, ("logcosh", "log_cosh_error")),
    _known(regression.poisson, check=_check_counts),
    _known(regression.cosine_similarity),
    _on_logits(classification.binary_crossentropy, ("bce",), outputs=LABELS, check=_check_probabilities),
    _on_logits(classification.binary_focal_crossentropy, outputs=LABELS, check=_check_probabilities),
    _on_logits(classification.categorical_crossentropy, outputs=CLASSES, check=_check_rows),
    _on_logits(classification.categorical_focal_crossentropy, outputs=CLASSES, check=_check_rows),
    _on_logits(classification.sparse_categorical_crossentropy, outputs=CLASSES, check=_check_class_numbers),
    _on_logits(classification.sparse_categorical_focal_crossentropy, outputs=CLASSES, check=_check_class_numbers),
    _on_logits(
        classification.kl_divergence, ("kld", "kullback_leibler_divergence"), outputs=CLASSES, check=_check_rows
    ),
    _on_logits(classification.logistic, outputs=LABELS, check=_check_signs),
    _of_margins(margins.hinge, outputs=LABELS, check=_check_labels),
    _of_margins(margins.squared_hinge, outputs=LABELS, check=_check_labels),
    _of_margins(margins.categorical_hinge, outputs=CLASSES, check=_check_rows),
    _known(gaussian.gaussian_nll, outputs=GAUSSIAN),
)
LOSSES: dict[str, Loss] = {name: facts.loss for facts in FACTS for name in (loss_name(facts.loss), *facts.also)}


def get_loss(loss: str | Loss) -> Loss:
    """A loss by name; a function ``(predictions, targets) -> (batch,)`` is returned unchanged.

    Names are Keras's: "mse", "mean_squared_error" and "MeanSquaredError" are one loss.
    For options use `functools.partial`, e.g. ``partial(fnn.losses.huber, delta=2.0)``. An unknown name raises
    `InputError` with the close matches.
    """
    if callable(loss):
        check_order("loss", loss)
    found = resolve("loss", loss, LOSSES)
    if found is loss:
        check_accepts("loss", "(predictions, targets)", found, 2)
    return found


def facts_of(loss: Loss) -> Facts:
    """The facts about a loss; the defaults for a custom one."""
    loss = base(loss)
    return next((facts for facts in FACTS if facts.loss is loss), Facts(loss))


def is_per_example(loss: Loss) -> bool:
    """Whether the value for an example depends on that example alone; custom losses make no such promise."""
    return facts_of(loss).per_example


def expects(loss: Loss) -> str:
    """The kind of predictions a loss takes: "logits", "probabilities", or "values" (also for a loss of your own)."""
    if not facts_of(loss).logits:
        return "values"
    return "logits" if unwrapped(loss)[1].get("from_logits", True) else "probabilities"


def states_logits(loss: Loss) -> bool:
    """Whether a loss was given with ``from_logits=True``, which is the default, so the author means it."""
    return bool(unwrapped(loss)[1].get("from_logits", False))


def activation_of(loss: Loss) -> str:
    """The activation that turns the logits of a loss into probabilities."""
    return "softmax" if of_classes(loss) else "sigmoid"


def threshold(loss: Loss) -> float:
    """The score above which a model with this loss says yes: 0 for logits and margins, else 0.5."""
    return 0.0 if expects(loss) == "logits" or facts_of(loss).margin else 0.5


def distribution(loss: Loss) -> str:
    """The meaning of outputs that stand for probabilities or moments; `VALUES` for any other, margins included."""
    facts = facts_of(loss)
    return VALUES if facts.margin else facts.outputs


def several_labels(loss: Loss) -> bool:
    """Whether several outputs of a model with this loss are yes/no labels, any number of which may be right."""
    return facts_of(loss).outputs == LABELS


def of_classes(loss: Loss) -> bool:
    """Whether the outputs of a model with this loss are scores of classes, exactly one of which is right."""
    return facts_of(loss).outputs == CLASSES


def check_targets(loss: Loss, predictions: ArraySpec, targets: AnyArray) -> None:
    """Refuse concrete targets that are invalid for a built-in loss; needs values, so the drivers call it.

    Raises:
      InputError: for classes outside [0, classes), rows that do not sum to 1, or targets outside the loss's range.
    """
    if (check := facts_of(loss).check) is not None:
        check(loss_name(loss), predictions, targets)
