"""Regression metrics."""

from __future__ import annotations

import jax.numpy as jnp

from .. import losses
from .._core.checks import check_float
from .._core.dtypes import widened
from .._core.norms import divided
from .._core.types import Array, ArrayLike
from ..losses.common import FLOATING_HINT, align
from .arguments import check_lengths, numeric_array, ones, to_widest, weights_array
from .metric import Metric, Totals, float64_on_host, mean_metric, value_of


@float64_on_host
def rmse(predictions: ArrayLike, targets: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Array:
    """The root of the mean squared error over examples and outputs, in the unit of the targets.

    Args:
      predictions: (batch, ...), floating point.
      targets: (batch, ...), the same shape; (batch,) is taken as (batch, 1).
      sample_weight: (batch,), default all 1; the result is the weighted mean.

    >>> print(rmse([1.0, 2.0], [1.0, 4.0]))
    1.4142135
    """
    return _value(RMSE, predictions, targets, sample_weight)


@float64_on_host
def mae(predictions: ArrayLike, targets: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Array:
    """The mean absolute error over examples and outputs, in the unit of the targets; arguments as in `rmse`.

    >>> print(mae([1.0, 2.0], [1.0, 4.0]))
    1.0
    """
    return _value(MAE, predictions, targets, sample_weight)


@float64_on_host
def mape(predictions: ArrayLike, targets: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Array:
    """The mean absolute percentage error over examples and outputs, in percent; arguments as in `rmse`.

    See `fnn.losses.mean_absolute_percentage_error`. scikit-learn's is a fraction: a hundredth of it.

    >>> print(mape([9.0, 2.0], [10.0, 2.5]))
    15.0
    """
    return _value(MAPE, predictions, targets, sample_weight)


@float64_on_host
def r2_score(predictions: ArrayLike, targets: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Array:
    """The coefficient of determination, ``1 - sum (t - p)^2 / sum (t - mean t)^2``, the mean over outputs.

    1 is perfect; 0 is as good as predicting the mean. A constant output counts 1 if predicted exactly, else 0, as in
    scikit-learn. Sums are taken of deviations from a target, so that a mean far from 0 costs no precision.
    Arguments as in `rmse`.

    >>> print(r2_score([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    1.0
    """
    return _value(R2, predictions, targets, sample_weight)


def _value(metric: Metric, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None) -> Array:
    """The value of a metric, in the wider of the dtypes of predictions and targets."""
    p, t = numeric_array(metric.name, "predictions", predictions), numeric_array(metric.name, "targets", targets)
    check_lengths(metric.name, p, t)
    check_float(metric.name, p, FLOATING_HINT)
    p, t = to_widest(p, t)
    weights = weights_array(metric.name, sample_weight, p.shape[0], p.dtype)
    return value_of(metric, p, t, ones(p.shape[:1], p.dtype) if weights is None else weights)


def mean_of_loss(name: str, loss: losses.Loss) -> Metric:
    """The mean of a loss over examples, computed in float32 at least."""
    return mean_metric(name, lambda p, t: loss(widened(jnp.asarray(p)), jnp.asarray(t)))


def _measure_r2(predictions: Array, targets: Array, weights: Array) -> Totals:
    """The sum of weights, a pivot, the mean less the pivot, and squared deviations from the mean and the predictions.

    The pivot is a target: deviations from it are exact for a constant, and lose little where the mean is far from 0.
    """
    p, t = align("r2", widened(jnp.asarray(predictions)), jnp.asarray(targets))
    w = widened(jnp.asarray(weights))[:, None]
    p, t = (a.reshape(a.shape[0], -1).astype(w.dtype) for a in (p, t))
    # A row of weight 0 is left out even where its values are not finite.
    p, t = (jnp.where(w == 0, jnp.zeros_like(a), a) for a in (p, t))
    count, pivot = jnp.sum(w), t[jnp.argmax(w[:, 0] != 0)]
    shifted = t - pivot[None]
    shift = divided(jnp.sum(w * shifted, 0), count)
    spread = jnp.sum(w * jnp.square(shifted - shift[None]), 0)
    return count, pivot, shift, spread, jnp.sum(w * jnp.square(t - p), 0)


def _merge_r2(a: Totals, b: Totals) -> Totals:
    """Means and squared deviations of two parts without the cancellation of sums of squares (Chan et al. 1979)."""
    (a_count, a_pivot, a_shift, a_spread, a_error), (b_count, b_pivot, b_shift, b_spread, b_error) = a, b
    count = a_count + b_count
    # Both shifts from one pivot, that of a part with rows; an empty part has none.
    moved = jnp.where(b_count > 0, b_pivot - a_pivot + b_shift, a_shift)
    pivots = (a_pivot, b_pivot), (a_shift, b_shift), (moved, b_shift)
    pivot, a_shift, b_shift = (jnp.where(a_count > 0, own, other) for own, other in pivots)
    delta = b_shift - a_shift
    shift = a_shift + delta * divided(b_count, count)
    spread = a_spread + b_spread + jnp.square(delta) * divided(a_count * b_count, count)
    return count, pivot, shift, spread, a_error + b_error


def _result_r2(totals: Totals) -> Array:
    count: Array
    count, _, _, spread, error = totals
    flat = spread == 0
    score = 1 - error / jnp.where(flat, jnp.ones_like(spread), spread)
    constant = jnp.where(error == 0, jnp.ones_like(score), jnp.zeros_like(score))
    return jnp.mean(jnp.where(flat, constant, score)) * (count / count)  # NaN without rows


MAE, MSE = mean_of_loss("mae", losses.mean_absolute_error), mean_of_loss("mse", losses.mean_squared_error)
MAPE = mean_of_loss("mape", losses.mean_absolute_percentage_error)
COSINE = mean_of_loss("cosine_similarity", lambda p, t: -losses.cosine_similarity(p, t))
RMSE = mean_of_loss("rmse", losses.mean_squared_error).replace(result=lambda totals: jnp.sqrt(MSE.result(totals)))
R2 = Metric("r2", _measure_r2, _result_r2, _merge_r2)
