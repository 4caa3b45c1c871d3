"""Metrics of numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .. import losses
from .._core.dtypes import widened
from .._core.types import Array
from ..losses.common import align
from .given import value_of
from .metric import Metric, Totals, in_double, mean_metric, ratio_or_zero


@in_double
def rmse(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The root of the mean squared error over examples and outputs, in the unit of the targets.

    >>> print(rmse([1.0, 2.0], [1.0, 4.0]))
    1.4142135
    """
    return value_of(streaming_rmse(), predictions, targets, sample_weight)


@in_double
def mae(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The mean absolute error over examples and outputs, in the unit of the targets.

    >>> print(mae([1.0, 2.0], [1.0, 4.0]))
    1.0
    """
    return value_of(streaming_mean("mae", losses.mean_absolute_error), predictions, targets, sample_weight)


@in_double
def r2_score(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Array:
    """The coefficient of determination, ``1 - sum (t - p)^2 / sum (t - mean t)^2``, the mean over outputs.

    1 is perfect, 0 is as good as the mean. A constant output counts 1 if predicted exactly and else 0, as in
    scikit-learn. Sums are taken of deviations from a target, so that a mean far from 0 costs no precision.

    >>> print(r2_score([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    1.0
    """
    return value_of(streaming_r2(), predictions, targets, sample_weight)


def streaming_mean(name: str, loss: losses.Loss) -> Metric:
    """The mean of a loss, computed in float32 at least."""
    return mean_metric(name, lambda p, t: loss(widened(jnp.asarray(p)), jnp.asarray(t)))


def streaming_rmse() -> Metric:
    """The root of the mean squared error."""
    inner = streaming_mean("rmse", losses.mean_squared_error)
    return inner.replace(result=lambda totals: jnp.sqrt(inner.result(totals)))


def streaming_r2() -> Metric:
    """Totals are the sum of weights, a pivot, the mean less the pivot, and squared deviations from mean and prediction.

    Deviations from one of the targets are exact for a constant, and lose little where the mean is far from 0.
    """

    def measure(predictions: Array, targets: Array, weights: Array) -> Totals:
        p, t = align("r2", widened(jnp.asarray(predictions)), jnp.asarray(targets))
        w = widened(jnp.asarray(weights))[:, None]
        p, t = (a.reshape(a.shape[0], -1).astype(w.dtype) for a in (p, t))
        # A row of weight 0 is left out even where its values are not finite.
        p, t = (jnp.where(w == 0, jnp.zeros_like(a), a) for a in (p, t))
        count, pivot = jnp.sum(w), t[jnp.argmax(w[:, 0] != 0)]
        shifted = t - pivot[None]
        shift = ratio_or_zero(jnp.sum(w * shifted, 0), count)
        spread = jnp.sum(w * jnp.square(shifted - shift[None]), 0)
        return count, pivot, shift, spread, jnp.sum(w * jnp.square(t - p), 0)

    def merge(a: Totals, b: Totals) -> Totals:
        # Chan et al. 1979: means and squared deviations of two parts, without the cancellation of sums of squares.
        count = a[0] + b[0]
        # A part without rows has no pivot.
        b_shift = jnp.where(b[0] > 0, b[1] - a[1] + b[2], a[2])
        pivot, a_shift, b_shift = (
            jnp.where(a[0] > 0, own, other) for own, other in ((a[1], b[1]), (a[2], b[2]), (b_shift, b[2]))
        )
        delta = b_shift - a_shift
        shift = a_shift + delta * ratio_or_zero(b[0], count)
        spread = a[3] + b[3] + jnp.square(delta) * ratio_or_zero(a[0] * b[0], count)
        return count, pivot, shift, spread, a[4] + b[4]

    def result(totals: Totals) -> Array:
        count, _, _, spread, error = totals
        flat = spread == 0
        score = 1 - error / jnp.where(flat, jnp.ones_like(spread), spread)
        constant = jnp.where(error == 0, jnp.ones_like(score), jnp.zeros_like(score))
        return jnp.mean(jnp.where(flat, constant, score)) * (count / count)  # NaN of no rows

    return Metric("r2", measure, result, merge)
