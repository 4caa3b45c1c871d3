"""Regression losses."""

from __future__ import annotations

import jax.numpy as jnp

from .._core.checks import check_range
from .._core.types import Array, Scalar
from .common import EPSILON, align, mean_per_example


def mean_squared_error(predictions: Array, targets: Array) -> Array:
    """``mean((p - t)^2)`` of each example, (batch,).

    Args:
      predictions: (batch, ...), floating point.
      targets: (batch, ...), the same shape; (batch,) is taken as (batch, 1).

    Raises:
      InputError: when the shapes differ.

    >>> import jax.numpy as jnp
    >>> print(mean_squared_error(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])))
    [2.5]
    """
    p, t = align("mean_squared_error", predictions, targets)
    return mean_per_example(jnp.square(p - t))


def mean_absolute_error(predictions: Array, targets: Array) -> Array:
    """``mean(|p - t|)`` of each example. Shapes and errors as in `mean_squared_error`."""
    p, t = align("mean_absolute_error", predictions, targets)
    return mean_per_example(jnp.abs(p - t))


def mean_absolute_percentage_error(predictions: Array, targets: Array) -> Array:
    """``100 mean(|p - t| / max(|t|, 1e-7))`` of each example, in percent.

    Shapes and errors as in `mean_squared_error`.
    """
    p, t = align("mean_absolute_percentage_error", predictions, targets)
    return 100.0 * mean_per_example(jnp.abs(p - t) / jnp.maximum(jnp.abs(t), EPSILON))


def mean_squared_logarithmic_error(predictions: Array, targets: Array) -> Array:
    """``mean((log(1 + p) - log(1 + t))^2)`` of each example, with p and t at least 1e-7, as in Keras.

    Shapes and errors as in `mean_squared_error`.
    """
    p, t = align("mean_squared_logarithmic_error", predictions, targets)
    return mean_per_example(jnp.square(jnp.log1p(jnp.maximum(p, EPSILON)) - jnp.log1p(jnp.maximum(t, EPSILON))))


def huber(predictions: Array, targets: Array, *, delta: Scalar = 1.0) -> Array:
    """Huber's loss (1964), quadratic near 0 and linear beyond ``delta``; the mean of each example.

    ``e^2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta^2 / 2``, with ``e = p - t``.
    Shapes and errors as in `mean_squared_error`.
    """
    check_range("huber", "delta", delta, 0, open_low=True)
    p, t = align("huber", predictions, targets)
    error, d = jnp.abs(p - t), jnp.asarray(delta, p.dtype)
    small = jnp.where(error <= d, error, d)
    return mean_per_example(0.5 * jnp.square(small) + d * (error - small))
