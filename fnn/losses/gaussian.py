"""Negative log-likelihood of Gaussians whose mean and variance a model predicts."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .._core.checks import check_float
from .._core.dtypes import widened
from .._core.errors import describe, fail
from .._core.typed import finfo
from .._core.types import Array
from ..nn.activations import softplus
from .common import FLOATING_HINT, align, mean_per_example, taking_pairs

MIN_VARIANCE = 1e-6  # as in Lakshminarayanan et al.; no row can then weigh more than a million others


class Gaussians(NamedTuple):
    """Gaussian distributions, one per target.

    Attributes:
      mean, variance: (batch, ..., k).
    """

    mean: Array
    variance: Array


def gaussian_moments(predictions: Array) -> Gaussians:
    """The mean and variance of each target, (batch, ..., k), from the outputs of a network trained with `gaussian_nll`.

    Args:
      predictions: (batch, ..., 2 k), the k means and then the k raw scales ``r`` of ``softplus(r) + 1e-6``.

    Raises:
      InputError: if the last axis is not even, or there is no batch axis.

    >>> import jax.numpy as jnp
    >>> mean, variance = gaussian_moments(jnp.array([[3.0, 0.0]]))
    >>> print(mean, variance)
    [[3.]] [[0.6931482]]
    """
    where = "gaussian_nll"
    check_float(where, predictions, FLOATING_HINT)
    if predictions.ndim < 2 or predictions.shape[-1] % 2 or predictions.shape[-1] == 0:
        hint = "End the model with Dense(2 * k) for k targets, without an activation."
        expected = "predictions of shape (batch, ..., 2 k), k means and k raw scales"
        fail(where, expected=expected, got=describe(predictions), hint=hint)
    mean, raw = jnp.split(predictions, 2, -1)
    wide = widened(raw)
    return Gaussians(mean, (softplus(wide) + jnp.asarray(MIN_VARIANCE, wide.dtype)).astype(raw.dtype))


def gaussian_outputs(moments: Gaussians) -> Array:
    """The inverse of `gaussian_moments`: outputs (batch, ..., 2 k) with these means and variances."""
    # log(exp(v) - 1) without exp(v), which would overflow. A variance below the least one becomes that.
    wide = widened(moments.variance)
    v = jnp.maximum(wide - MIN_VARIANCE, finfo(wide.dtype).tiny)
    raw = v + jnp.log(-jnp.expm1(-v))
    return jnp.concatenate([moments.mean, raw.astype(moments.variance.dtype)], -1)


@taking_pairs
def gaussian_nll(predictions: Array, targets: Array) -> Array:
    """``-log N(t; m, v)`` of Gaussians whose mean and variance a network predicts, the mean of each example, (batch,).

    ``((t - m)^2 / v + log(v) + log(2 pi)) / 2`` with ``v = softplus(r) + 1e-6`` from the raw output ``r``, as in
    Lakshminarayanan, Pritzel and Blundell 2017 (arXiv:1612.01474). As a log density it falls below 0 where the network
    is confident, and depends on the unit of the targets; scale them to a standard deviation of about 1.

    The metrics "rmse", "mae", "mse" and "r2" of a task with this loss compare the mean with the targets.

    Args:
      predictions: (batch, ..., 2 k), as in `gaussian_moments`, and so are the errors.
      targets: (batch, ..., k), no other shape; (batch,) is taken as (batch, 1).

    >>> import jax.numpy as jnp
    >>> print(gaussian_nll(jnp.array([[3.0, 0.0], [3.0, 5.0]]), jnp.array([3.0, 3.0])))
    [0.73568285 1.7243286 ]
    """
    check_float("gaussian_nll", predictions, FLOATING_HINT)
    # In float16 1 / 1e-6 alone would be infinite.
    mean, variance = gaussian_moments(widened(predictions))
    m, t = align("gaussian_nll", mean, targets)
    return 0.5 * mean_per_example(jnp.square(t - m) / variance + jnp.log(2 * np.pi * variance))
