"""Names of the losses, and what each of them expects."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._core.checks import resolve
from .._core.errors import fail
from .classification import binary_crossentropy, categorical_crossentropy, logistic, sparse_categorical_crossentropy
from .common import Loss
from .gaussian import gaussian_nll
from .regression import (
    huber,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)

LOSSES: dict[str, Loss] = {
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mae": mean_absolute_error,
    "mean_absolute_percentage_error": mean_absolute_percentage_error,
    "mape": mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": mean_squared_logarithmic_error,
    "msle": mean_squared_logarithmic_error,
    "huber": huber,
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "logistic": logistic,
    "gaussian_nll": gaussian_nll,
}


def get_loss(loss: str | Loss) -> Loss:
    """A loss by name; a function ``(predictions, targets) -> (batch,)`` is returned as it is.

    For options use `functools.partial`, e.g. ``partial(fnn.losses.huber, delta=2.0)``.

    Raises:
      InputError: for an unknown name, with the close matches.
    """
    return resolve("loss", loss, LOSSES)


def is_known(loss: Loss) -> bool:
    """Whether a loss is the library's own, in which each example counts by itself, as no other function promises."""
    return base(loss) in LOSSES.values()


def base(loss: Loss) -> Loss:
    """The function inside any `functools.partial`."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return loss


def expects(loss: Loss) -> str:
    """What a loss takes as predictions: "logits", "probabilities", or "values" (also for a loss of your own)."""
    keywords = loss.keywords if isinstance(loss, functools.partial) else {}  # partial flattens itself
    loss = base(loss)
    if loss is logistic:
        return "logits"
    if loss in (binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy):
        return "logits" if keywords.get("from_logits", True) else "probabilities"
    return "values"


def several_labels(loss: Loss) -> bool:
    """Whether several outputs of a model with this loss are yes/no labels, any number of which may be right."""
    return base(loss) in (binary_crossentropy, logistic)


def of_classes(loss: Loss) -> bool:
    """Whether the outputs of a model with this loss are classes, of which one is right."""
    return base(loss) in (categorical_crossentropy, sparse_categorical_crossentropy)


def check_targets(loss: Loss, predictions: Any, targets: Any) -> None:
    """Refuse targets that are invalid for a built-in loss; needs values, so the drivers call it.

    Args:
      loss: any loss; only built-in ones have something to check.
      predictions: an array or its `jax.ShapeDtypeStruct`.
      targets: a concrete array with at least one row.

    Raises:
      InputError: for classes outside [0, classes), rows that do not sum to 1 for categorical_crossentropy, or targets
        outside the loss's range.
    """
    loss = base(loss)
    name = getattr(loss, "__name__", "loss")
    if loss is sparse_categorical_crossentropy:
        low, high = _extremes(targets)
        classes = predictions.shape[-1]
        if low < 0 or high >= classes:
            got = f"labels from {low:g} to {high:g}"
            hint = "Number the classes from 0, or give the last layer more units."
            fail(name, expected=f"labels in [0, {classes}) for {classes} outputs", got=got, hint=hint)
    elif loss in (binary_crossentropy, categorical_crossentropy):
        low, high = _extremes(targets)
        if not (low >= 0 and high <= 1):
            hint = "Labels of -1 and +1 belong to the 'logistic' loss." if low == -1 and high == 1 else ""
            fail(name, expected="targets in [0, 1]", got=f"targets from {low:g} to {high:g}", hint=hint)
        if loss is categorical_crossentropy:
            check_distributions(name, np.asarray(targets))
    elif loss is logistic and not bool(np.isin(np.asarray(targets), (-1, 1)).all()):
        low, high = _extremes(targets)
        hint = "Use 2 * y - 1 for labels of 0 and 1."
        fail(name, expected="targets -1 or +1", got=f"targets from {low:g} to {high:g}", hint=hint)


def check_distributions(where: str, rows: np.ndarray) -> None:
    """Refuse rows (..., classes) that do not sum to 1, such as those of a class that there is not, all 0."""
    # Half precision rounds each of many probabilities.
    tolerance = 1e-3 if rows.dtype.kind in "biu" or jnp.finfo(rows.dtype).bits >= 32 else 0.02
    sums = rows.sum(-1, dtype=np.float64)
    good = (np.abs(sums - 1) <= tolerance) & (rows >= 0).all(-1)
    if not good.all():
        first = tuple(int(i) for i in np.argwhere(~good)[0])
        place = first[0] if len(first) == 1 else first
        got = f"{int((~good).sum())} others, the first at {place} with the sum {sums[first]:g}"
        hint = "For several yes/no labels use the loss 'binary_crossentropy'." if sums[first] > 1 else ""
        hint = hint or "A row of zeros is of no class: leave such rows out, or give them the sample weight 0."
        fail(where, expected="rows of probabilities or one-hot rows, which sum to 1", got=got, hint=hint)


def _extremes(x: Any) -> tuple[float, float]:
    x = np.asarray(x)
    return float(x.min()), float(x.max())
