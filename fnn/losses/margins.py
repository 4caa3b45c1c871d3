"""Hinge losses: scores should be on the right side of 0, or above those of other classes, by a margin of 1."""

from __future__ import annotations

import jax.numpy as jnp

from .._core.types import Array
from .classification import check_classes
from .common import align, mean_per_example, taking_pairs


@taking_pairs
def hinge(predictions: Array, targets: Array) -> Array:
    """Hinge loss ``max(0, 1 - t f)`` of labels -1 and +1, the mean of each example (a support vector machine's).

    Predictions are scores ``f`` of any size, and yes means above 0. Labels of 0 count as -1, as in Keras.
    Shapes and errors as in `mean_squared_error`.

    >>> import jax.numpy as jnp
    >>> print(hinge(jnp.array([2.0, 0.25, 0.25]), jnp.array([1, 1, 0])))
    [0.   0.75 1.25]
    """
    return mean_per_example(_shortfalls("hinge", predictions, targets))


@taking_pairs
def squared_hinge(predictions: Array, targets: Array) -> Array:
    """``max(0, 1 - t f)^2``, the mean of each example; labels as for `hinge`, shapes as in `mean_squared_error`."""
    return mean_per_example(jnp.square(_shortfalls("squared_hinge", predictions, targets)))


@taking_pairs
def categorical_hinge(predictions: Array, targets: Array) -> Array:
    """``max(0, 1 + max_k (1 - t_k) f_k - sum_k t_k f_k)`` of scores by class, the mean of each example, (batch,).

    The score of the class should exceed those of all others, and 0, by 1, as in Keras.

    Args:
      predictions: (batch, ..., classes), scores of any size.
      targets: (batch, ..., classes), one-hot.

    >>> import jax.numpy as jnp
    >>> print(categorical_hinge(jnp.array([[3.0, 1.0, 2.5]]), jnp.array([[1, 0, 0]])))
    [0.5]
    """
    check_classes("categorical_hinge", predictions)
    f, t = align("categorical_hinge", predictions, targets)
    others, own = jnp.max((1 - t) * f, -1), jnp.sum(t * f, -1)
    return mean_per_example(jnp.maximum(1 + others - own, jnp.zeros_like(own)))


def _shortfalls(where: str, predictions: Array, targets: Array) -> Array:
    """How far each score is from the margin."""
    f, t = align(where, predictions, targets)
    t = jnp.where(t == 0, -jnp.ones_like(t), t)
    return jnp.maximum(1 - t * f, jnp.zeros_like(f))
