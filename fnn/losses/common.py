"""What all losses share: the type, and aligning targets with predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .._core.checks import check_float
from .._core.dtypes import widened
from .._core.errors import describe, fail
from .._core.types import Array

Loss = Callable[[Any, Any], Array]
FLOATING_HINT = "Losses take the model's floating-point outputs as predictions."
EPSILON = 1e-7  # Keras's backend epsilon, for losses that divide by or take logarithms of data
LEAST_VARIANCE = 1e-6  # of a Gaussian, as in Lakshminarayanan et al.; no row can then weigh more than a million others


def mean_per_example(values: Array) -> Array:
    """The mean over all axes behind the batch."""
    return jnp.mean(values, tuple(range(1, values.ndim)))


def align(where: str, predictions: Array, targets: Array) -> tuple[Array, Array]:
    """Both in the shape of predictions and in their dtype, float32 at least.

    A missing last axis of size 1 is added, (batch,) to (batch, 1); any other difference is refused, since
    broadcasting would silently compare every row with every other.
    """
    check_float(where, predictions, "Losses and metrics take the model's floating-point outputs as predictions.")
    if predictions.ndim == targets.ndim + 1 and predictions.shape[-1] == 1:
        targets = targets[..., None]
    elif targets.ndim == predictions.ndim + 1 and targets.shape[-1] == 1:
        targets = targets[..., 0]
    if predictions.shape != targets.shape or predictions.ndim == 0:
        fail(
            where,
            expected="targets of the predictions' shape (batch, ...)",
            got=f"predictions {describe(predictions)} and targets {describe(targets)}",
            hint="For class numbers use a sparse loss, or one_hot(targets, classes)."
            if predictions.ndim == targets.ndim + 1
            else "",
        )
    predictions = widened(predictions)
    return predictions, targets.astype(predictions.dtype)
