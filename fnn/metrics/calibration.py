"""Calibration: whether predicted probabilities and intervals hold."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_float, is_concrete
from .._core.described import in_words
from .._core.dtypes import at_least_float32, is_float, widened
from .._core.errors import describe, fail
from .._core.tables import refuse_len
from .._core.typed import jit
from .._core.types import Array, ArrayLike
from ..losses.common import align
from .arguments import check_probabilities, class_arguments, host_values, is_single_score, numeric_array, to_widest
from .metric import float64_on_host
from .pairs import paired_classes


@refuse_len("Write len(curve.counts) for bins.")
class Reliability(NamedTuple):
    """Confidence and accuracy by bins of confidence; `fnn.plot.reliability` draws it.

    Attributes:
      confidence, accuracy: (bins,), the mean confidence of the examples in each bin and the fraction of correct ones;
        NaN without examples.
      counts: (bins,), the number of examples.
    """

    confidence: Array
    accuracy: Array
    counts: Array

    @property
    def error(self) -> Array:
        """The expected calibration error; see `calibration_error`."""
        return _mean_gap(self.confidence, self.accuracy, self.counts)


@jit
def _mean_gap(confidence: Array, accuracy: Array, counts: Array) -> Array:
    gap = jnp.abs(confidence - accuracy)
    gap = jnp.where(counts > 0, gap, jnp.zeros_like(gap))
    return jnp.sum(counts.astype(gap.dtype) * gap) / jnp.sum(counts).astype(gap.dtype)


def reliability(probabilities: ArrayLike, targets: ArrayLike, *, bins: int = 10) -> Reliability:
    """The reliability curve: accuracy by confidence.

    Of the predictions with a confidence of 0.8, 80 % should be correct. The confidence of an example is its largest
    probability; it is correct if the true class has it (Guo et al. 2017, arXiv:1706.04599). With a single output it is
    the probability of class 1, compared with the frequency of class 1, as in scikit-learn's ``calibration_curve``.
    Bin ``i`` of ``n`` holds the confidences in ``(i / n, (i + 1) / n]``; the first one includes 0.

    Args:
      probabilities: (batch, classes), rows that sum to 1, or (batch,) or (batch, 1), the probability of class 1. Pass
        several yes/no labels flattened: ``p.ravel(), y.ravel()``.
      targets: (batch,) integer class labels, or (batch, classes) one-hot rows.
      bins: number of bins of equal width; default 10.

    Raises:
      InputError: if shapes do not fit, and, where values are known, for values that cannot be probabilities.

    >>> curve = reliability([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1]], [0, 1, 0, 1], bins=2)
    >>> print(curve.confidence, curve.accuracy, curve.counts)
    [  nan 0.825] [nan 0.5] [0 4]
    """
    return _reliability("reliability", probabilities, targets, bins)


@float64_on_host
def _reliability(where: str, probabilities: ArrayLike, targets: ArrayLike, bins: int) -> Reliability:
    check_count(where, "bins", bins)
    p = numeric_array(where, "probabilities", probabilities)
    check_float(where, p, "Probabilities come first, such as fnn.activations.softmax(logits), then targets.")
    hint = "For several yes/no labels pass p.ravel() and y.ravel()."
    given = class_arguments(where, p, targets, None, False, scores=False, hint=hint)
    p, single = widened(p), is_single_score(p)
    if is_concrete(p):
        check_probabilities(where, np.asarray(p), single, hint)
    with jax.debug_nans(False):  # the mean of an empty bin is NaN
        return _by_bins(where, p, given.targets, bins)


@jit(static_argnums=(0, 3))
def _by_bins(where: str, p: Array, targets: Array, bins: int) -> Reliability:
    single = is_single_score(p)
    predicted, t = paired_classes(where, p, targets)
    confidence = ((p[..., 0] if p.ndim > 1 else p) if single else jnp.max(p, -1)).ravel()
    right = (t == 1 if single else predicted == t).ravel()
    edges = jnp.asarray(np.arange(1, bins) / bins, confidence.dtype)
    place = jnp.searchsorted(edges, confidence, side="left").astype(jnp.int32)
    inside = place[:, None] == jnp.arange(bins, dtype=jnp.int32)[None]
    counts = jnp.sum(inside, 0, dtype=jnp.int32)

    def mean(values: Array) -> Array:
        values = values[:, None].astype(confidence.dtype)
        return jnp.sum(jnp.where(inside, values, jnp.zeros_like(values)), 0) / counts.astype(confidence.dtype)

    return Reliability(mean(confidence), mean(right), counts)


def calibration_error(probabilities: ArrayLike, targets: ArrayLike, *, bins: int = 10) -> Array:
    """The expected calibration error: the mean distance between confidence and accuracy over the bins of `reliability`.

    ``sum_b count_b |accuracy_b - confidence_b| / sum_b count_b`` (Guo et al. 2017, arXiv:1706.04599). It depends on the
    bins, so compare models with the same number of bins. Arguments and errors as in `reliability`.

    >>> print(calibration_error([[0.9, 0.1], [0.2, 0.8]], [0, 1]))
    0.15
    """
    return _reliability("calibration_error", probabilities, targets, bins).error


def _pair(where: str, **two: ArrayLike) -> tuple[Array, Array]:
    """Two arguments as arrays of numbers of one shape."""
    a, b = (numeric_array(where, name, x) for name, x in two.items())
    if a.shape != b.shape or a.ndim == 0 or a.size == 0:
        expected = f"{' and '.join(two)} of the same shape (batch, ...)"
        fail(where, expected=expected, got=f"{describe(a)} and {describe(b)}")
    return a, b


def _bounds(where: str, low: ArrayLike, high: ArrayLike) -> list[Array]:
    """The lower and upper ends of intervals, as floats of one shape."""
    low, high = _pair(where, low=low, high=high)
    check_float(f"{where}, low", low)
    check_float(f"{where}, high", high)
    if is_concrete(low) and is_concrete(high) and (wrong := int((~(np.asarray(low) <= np.asarray(high))).sum())):
        fail(where, expected="low <= high in every row", got=f"low > high in {wrong} of {low.size}")
    return to_widest(low, high)


def _without_nan(where: str, name: str, x: ArrayLike) -> Array:
    a = numeric_array(where, name, x)
    if is_concrete(a) and is_float(a) and (bad := int(np.isnan(host_values(a)).sum())):
        fail(where, expected=f"{name} without NaN", got=f"{bad} NaN of {a.size}")
    return a


@float64_on_host
def coverage(low: ArrayLike, high: ArrayLike, targets: ArrayLike) -> Array:
    """The fraction of targets within their intervals, bounds included, over examples and outputs.

    Args:
      low, high: (batch, ...), the lower and upper ends; a lower end above its upper end is refused.
      targets: (batch, ...), no other shape; (batch,) is taken as (batch, 1).

    >>> print(coverage([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 2.0, 1.0]))
    0.6666667
    """
    low, high = _bounds("coverage", low, high)
    low, high, targets = to_widest(low, high, _without_nan("coverage", "targets", targets))
    low, targets = align("coverage", low, targets)
    inside = (low <= targets) & (targets <= high)
    return jnp.mean(inside, dtype=at_least_float32(low.dtype))


@float64_on_host
def interval_width(low: ArrayLike, high: ArrayLike) -> Array:
    """The mean width of intervals, in the unit of the targets; at equal `coverage`, narrower is better.

    Args:
      low, high: as in `coverage`.

    >>> print(interval_width([0.0, 1.0], [1.0, 4.0]))
    2.0
    """
    low, high = _bounds("interval_width", low, high)
    return jnp.mean(high - low, dtype=at_least_float32(low.dtype))


class Interval(NamedTuple):
    """Intervals, one per target.

    Attributes:
      low, high: (batch, ...), their ends.
    """

    low: Array
    high: Array


def gaussian_interval(mean: ArrayLike, variance: ArrayLike, coverage: float = 0.9) -> Interval:
    """The central intervals ``(low, high)``, of the means' shape, that hold a fraction of Gaussian distributions.

    ``mean -+ z sqrt(variance)``, with ``z`` the ``(1 + coverage) / 2`` quantile of the standard normal distribution.

    Args:
      mean, variance: (batch, ...) of one shape, e.g. of `fnn.losses.gaussian_moments`; no variance below 0.
      coverage: the fraction, in (0, 1); default 0.9.

    Raises:
      InputError: if shapes differ, for a fraction outside (0, 1), and for known variances below 0.

    >>> low, high = gaussian_interval([10.0], [4.0], 0.9)
    >>> print(low, high)
    [6.710293] [13.289707]
    """
    where = "gaussian_interval"
    mean, variance = _moments(where, mean, variance)
    half = jnp.asarray(_quantile(where, coverage), mean.dtype) * jnp.sqrt(variance)
    return Interval(mean - half, mean + half)


def _moments(where: str, mean: ArrayLike, variance: ArrayLike) -> tuple[Array, Array]:
    """Means and variances as floats of one shape."""
    mean, variance = _pair(where, mean=mean, variance=variance)
    check_float(where, mean)
    if is_concrete(variance) and not (np.asarray(variance) >= 0).all():
        fail(where, expected="variances of at least 0", got=f"{float(variance.min()):g}")
    return mean, variance.astype(mean.dtype)


def _quantile(where: str, coverage: float) -> float:
    """The number of standard deviations on both sides of the mean that hold this fraction of a Gaussian."""
    number = isinstance(coverage, (int, float, np.number)) and not isinstance(coverage, bool)
    if not number or not 0 < coverage < 1:
        hint = f"Write {coverage / 100:g}." if number and 1 < coverage < 100 else ""
        fail(where, expected="a fraction in (0, 1)", got=in_words(coverage), hint=hint)
    return NormalDist().inv_cdf((1 + float(coverage)) / 2)


@refuse_len("Write len(curve.nominal) for levels.")
class CoverageCurve(NamedTuple):
    """Observed against nominal coverage of intervals; `fnn.plot.reliability` draws it.

    Attributes:
      nominal: (levels,) the fraction of targets that should be inside.
      observed: (levels,) the fraction of targets inside.
      width: (levels,) the mean width of the intervals.
    """

    nominal: Array
    observed: Array
    width: Array

    @property
    def error(self) -> Array:
        """The mean distance between observed and nominal coverage over the levels."""
        return jnp.mean(jnp.abs(self.observed - self.nominal))


LEVELS: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The levels of `coverage_curve`."""


@float64_on_host
def coverage_curve(
    mean: ArrayLike, variance: ArrayLike, targets: ArrayLike, *, levels: Sequence[float] = LEVELS
) -> CoverageCurve:
    """The calibration of a regression: observed against nominal coverage of the intervals of `gaussian_interval`.

    Args:
      mean, variance: as in `gaussian_interval`, or those of an ensemble's predictions.
      targets: (batch, ...), the same shape; (batch,) is taken as (batch, 1).
      levels: in (0, 1); default 0.1 to 0.9, 0.95 and 0.99. Errors as in `gaussian_interval`.

    >>> curve = coverage_curve([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.1, -0.9, 1.5, 3.0], levels=(0.5, 0.9))
    >>> print(curve.observed, curve.width)
    [0.25 0.75] [1.3489795 3.2897072]
    """
    where = "coverage_curve"
    mean, variance = _moments(where, mean, variance)
    quantiles = [_quantile(where, level) for level in levels]
    if not quantiles:
        fail(where, expected="at least one level", got="none")
    mean, targets = _without_nan(where, "mean", mean), _without_nan(where, "targets", targets)
    mean, variance, targets = to_widest(mean, variance, targets)
    mean, targets = align(where, mean, targets)
    deviation = jnp.sqrt(variance).reshape(mean.shape)
    z, nominal = (jnp.asarray(np.asarray(values), mean.dtype) for values in (quantiles, levels))
    return CoverageCurve(nominal, _within(jnp.abs(targets - mean), deviation, z), 2 * z * jnp.mean(deviation))


@jit
def _within(distance: Array, deviation: Array, z: Array) -> Array:
    """For each z, the fraction of distances of at most z deviations; one z at a time, to save memory."""
    fractions: Array = jax.lax.map(lambda q: jnp.mean(distance <= q * deviation, dtype=z.dtype), z)
    return fractions
