"""Regression losses."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .._core.checks import check_range
from .._core.errors import describe, fail
from .._core.norms import divided, norm
from .._core.types import Array, Scalar
from .common import EPSILON, align, mean_per_example, taking_pairs


@taking_pairs
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


@taking_pairs
def mean_absolute_error(predictions: Array, targets: Array) -> Array:
    """``mean(|p - t|)`` of each example. Shapes and errors as in `mean_squared_error`."""
    p, t = align("mean_absolute_error", predictions, targets)
    return mean_per_example(jnp.abs(p - t))


@taking_pairs
def mean_absolute_percentage_error(predictions: Array, targets: Array) -> Array:
    """``100 mean(|p - t| / max(|t|, 1e-7))`` of each example, in percent.

    Shapes and errors as in `mean_squared_error`.
    """
    p, t = align("mean_absolute_percentage_error", predictions, targets)
    return 100.0 * mean_per_example(jnp.abs(p - t) / jnp.maximum(jnp.abs(t), EPSILON))


@taking_pairs
def mean_squared_logarithmic_error(predictions: Array, targets: Array) -> Array:
    """``mean((log(1 + p) - log(1 + t))^2)`` of each example, with p and t at least 1e-7, as in Keras.

    Shapes and errors as in `mean_squared_error`.
    """
    p, t = align("mean_squared_logarithmic_error", predictions, targets)
    return mean_per_example(jnp.square(jnp.log1p(jnp.maximum(p, EPSILON)) - jnp.log1p(jnp.maximum(t, EPSILON))))


@taking_pairs
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


@taking_pairs
def log_cosh(predictions: Array, targets: Array) -> Array:
    """``log(cosh(e))`` with ``e = p - t``, the mean of each example: ``e^2 / 2`` near 0, ``|e| - log(2)`` far from it.

    Stable for any ``e``, and accurate near 0, where Keras's formula cancels.
    Shapes and errors as in `mean_squared_error`.

    >>> import jax.numpy as jnp
    >>> print(log_cosh(jnp.array([0.0, 90.0]), jnp.zeros(2)))
    [ 0.       89.306854]
    """
    p, t = align("log_cosh", predictions, targets)
    error = jnp.abs(p - t)
    near = error < 1
    # cosh(e) = 1 + 2 sinh(e / 2)^2 there, and exp(e) (1 + exp(-2 e)) / 2 elsewhere.
    small = jnp.log1p(2 * jnp.square(jnp.sinh(jnp.where(near, error, jnp.zeros_like(error)) / 2)))
    large = error + jnp.log1p(jnp.exp(-2 * error)) - np.log(2).astype(p.dtype)
    return mean_per_example(jnp.where(near, small, large))


@taking_pairs
def poisson(predictions: Array, targets: Array) -> Array:
    """Poisson loss ``p - t log(p)`` of counts ``t``, the mean of each example; predictions are rates, above 0.

    The negative log-likelihood less a constant, with 1e-7 added inside the logarithm, as in Keras. End the model with
    an activation that keeps rates positive, such as ``Dense(1, activation="softplus")``. PyTorch's default takes the
    logarithm of the rate. Shapes and errors as in `mean_squared_error`.
    """
    p, t = align("poisson", predictions, targets)
    return mean_per_example(p - t * jnp.log(p + EPSILON))


@taking_pairs
def cosine_similarity(predictions: Array, targets: Array) -> Array:
    """Minus the cosine of the angle between vectors, ``-p . t / (|p| |t|)``, the mean of each example, (batch,).

    -1 where they point the same way, 1 where opposite, and 0 (with gradient 0) where one is shorter than 1e-7. The
    metric "cosine_similarity" has the other sign, as in Keras.

    Args:
      predictions: (batch, ..., features), floating point.
      targets: (batch, ..., features), the same shape.

    Raises:
      InputError: when the shapes differ, or there is no axis of features.

    >>> import jax.numpy as jnp
    >>> print(cosine_similarity(jnp.array([[3.0, 0.0], [3.0, 0.0]]), jnp.array([[5.0, 0.0], [1.0, 1.0]])))
    [-1.         -0.70710677]
    """
    p, t = align("cosine_similarity", predictions, targets)
    if p.ndim < 2:
        fail("cosine_similarity", expected="vectors of shape (batch, ..., features)", got=describe(predictions))
    return -mean_per_example(jnp.sum(_direction(p) * _direction(t), -1))


def _direction(v: Array) -> Array:
    """Vectors of length 1, and 0 for those without a length."""
    length = norm(v, axes=(-1,))
    return divided(v, jnp.where(length < EPSILON, jnp.zeros_like(length), length))
