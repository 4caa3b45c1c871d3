"""Losses of classes and of yes/no labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from .._core.checks import check_float, check_range
from .._core.dtypes import lift, widened
from .._core.errors import describe, fail, shape_text
from .._core.flags import flagged
from .._core.norms import below_maximum
from .._core.typed import finfo
from .._core.types import Array, PyTree, Scalar
from ..nn.activations import log_softmax, sigmoid, softplus
from .common import EPSILON, FLOATING_HINT, align, mean_per_example, taking_pairs


@taking_pairs
@flagged
def binary_crossentropy(
    predictions: Array, targets: Array, *, from_logits: bool = True, label_smoothing: Scalar = 0.0
) -> Array:
    """Binary cross-entropy ``-t log(p) - (1 - t) log(1 - p)``, the mean over the outputs of each example.

    From logits ``x`` it is ``t softplus(-x) + (1 - t) softplus(x)``, stable for any ``x``, even infinite, and accurate
    for small losses. Probabilities are clipped to [1e-7, 1 - 1e-7], as in Keras.

    Args:
      predictions, targets: as in `mean_squared_error`, and so are result and errors; targets are 0, 1 or between.
      from_logits: whether predictions are logits (the default, unlike Keras) or probabilities. Values are not checked
        here, where they may be traced: what lies outside [0, 1] is clipped, and targets out of range raise an error
        only in `fnn.fit` and `fnn.evaluate`.
      label_smoothing: targets become ``t (1 - s) + s / 2``; in [0, 1], may be traced.
    """
    check_range("binary_crossentropy", "label_smoothing", label_smoothing, 0, 1)
    p, t = align("binary_crossentropy", predictions, targets)
    return mean_per_example(_binary_crossentropies(p, _smoothed(t, label_smoothing, 2), from_logits))


@taking_pairs
@flagged
def categorical_crossentropy(
    predictions: Array, targets: Array, *, from_logits: bool = True, label_smoothing: Scalar = 0.0
) -> Array:
    """Cross-entropy ``-sum_k t_k log(p_k)`` between distributions on the last axis, the mean of each example, (batch,).

    Probabilities are divided by their sum and clipped to [1e-7, 1 - 1e-7], as in Keras. Logits may be infinite: a
    class masked with -inf adds nothing where its target is 0.

    Args:
      predictions: (batch, ..., classes), logits unless ``from_logits=False``.
      targets: (batch, ..., classes), e.g. one-hot.
      from_logits: as in `binary_crossentropy`, and so are result and errors.
      label_smoothing: targets become ``t (1 - s) + s / classes``; in [0, 1], may be traced.
    """
    check_range("categorical_crossentropy", "label_smoothing", label_smoothing, 0, 1)
    check_classes("categorical_crossentropy", predictions)
    p, t = align("categorical_crossentropy", predictions, targets)
    t = _smoothed(t, label_smoothing, p.shape[-1])
    return mean_per_example(jnp.sum(_weighted(t, -_log_probabilities(p, from_logits)), -1))


@taking_pairs
@flagged
def sparse_categorical_crossentropy(
    predictions: Array, targets: Array, *, from_logits: bool = True, label_smoothing: Scalar = 0.0
) -> Array:
    """Cross-entropy ``-log(p_t)`` of integer class labels, the mean of each example, (batch,).

    Args:
      predictions: (batch, ..., classes), logits unless ``from_logits=False``.
      targets: (batch, ...) or (batch, ..., 1), integers in [0, classes); other dtypes are refused. A label outside
        gives NaN here, and an error in `fnn.fit` and `fnn.evaluate`, which see the values.
      from_logits: as in `binary_crossentropy`, and so are result and errors.
      label_smoothing: as in `categorical_crossentropy` of one-hot rows.

    >>> import jax.numpy as jnp
    >>> print(sparse_categorical_crossentropy(jnp.zeros((1, 4)), jnp.array([2])))
    [1.3862944]
    """
    where = "sparse_categorical_crossentropy"
    check_range(where, "label_smoothing", label_smoothing, 0, 1)
    chosen, inside = _chosen_classes(where, predictions, targets)
    if from_logits and isinstance(label_smoothing, (int, float)) and label_smoothing == 0:
        return mean_per_example(_nan_outside(_of_chosen(widened(predictions), chosen), inside))
    log_p = _log_probabilities(widened(predictions), from_logits)
    if isinstance(label_smoothing, (int, float)) and label_smoothing == 0:
        values = -jnp.sum(jnp.where(chosen, log_p, jnp.zeros_like(log_p)), -1)
    else:
        t = _smoothed(chosen.astype(log_p.dtype), label_smoothing, log_p.shape[-1])
        values = jnp.sum(_weighted(t, -log_p), -1)
    return mean_per_example(_nan_outside(values, inside))


@taking_pairs
@flagged
def binary_focal_crossentropy(
    predictions: Array,
    targets: Array,
    *,
    apply_class_balancing: bool = False,
    alpha: Scalar = 0.25,
    gamma: Scalar = 2.0,
    from_logits: bool = True,
    label_smoothing: Scalar = 0.0,
) -> Array:
    """Focal loss of yes/no labels, ``-(1 - p_t)^gamma log(p_t)``, the mean over the outputs of each example, (batch,).

    ``p_t`` is the probability of the label: ``p`` where it is 1, else ``1 - p``. Examples that are already predicted
    well count less than in `binary_crossentropy`, which this is with ``gamma=0`` (Lin et al. 2017, arXiv:1708.02002).

    Args:
      predictions, targets: (batch, ...), as in `binary_crossentropy`, and so are result and errors.
      from_logits, label_smoothing: as in `binary_crossentropy`.
      apply_class_balancing: whether labels of 1 weigh ``alpha`` and labels of 0 ``1 - alpha``; default False, as in
        Keras.
      alpha: in [0, 1]; default 0.25. May be traced, as may ``gamma``.
      gamma: at least 0; default 2.

    >>> import jax.numpy as jnp
    >>> print(binary_focal_crossentropy(jnp.array([0.0, 2.0]), jnp.array([1, 0])).round(4))
    [0.1733 1.6501]
    """
    where = "binary_focal_crossentropy"
    _check_focus(where, alpha, gamma, label_smoothing)
    p, t = align(where, predictions, targets)
    t = _smoothed(t, label_smoothing, 2)
    yes, no = (sigmoid(p), sigmoid(-p)) if from_logits else (p, 1 - p)
    values = _power(t * no + (1 - t) * yes, gamma) * _binary_crossentropies(p, t, from_logits)
    if apply_class_balancing:
        a = jnp.asarray(alpha, p.dtype)
        values = values * (t * a + (1 - t) * (1 - a))
    return mean_per_example(values)


@taking_pairs
@flagged
def categorical_focal_crossentropy(
    predictions: Array,
    targets: Array,
    *,
    alpha: Scalar = 0.25,
    gamma: Scalar = 2.0,
    from_logits: bool = True,
    label_smoothing: Scalar = 0.0,
) -> Array:
    """Focal loss ``-alpha sum_k t_k (1 - p_k)^gamma log(p_k)`` of distributions, the mean of each example, (batch,).

    Args:
      predictions, targets, from_logits, label_smoothing: as in `categorical_crossentropy`, and so are result and
        errors.
      alpha: a weight of all classes, in [0, 1]; default 0.25. Weights by class are ``class_weight`` in `fnn.fit`.
      gamma: as in `binary_focal_crossentropy`.
    """
    where = "categorical_focal_crossentropy"
    _check_focus(where, alpha, gamma, label_smoothing)
    check_classes(where, predictions)
    p, t = align(where, predictions, targets)
    return mean_per_example(_focal(p, t, alpha, gamma, label_smoothing, from_logits))


@taking_pairs
@flagged
def sparse_categorical_focal_crossentropy(
    predictions: Array,
    targets: Array,
    *,
    alpha: Scalar = 0.25,
    gamma: Scalar = 2.0,
    from_logits: bool = True,
    label_smoothing: Scalar = 0.0,
) -> Array:
    """`categorical_focal_crossentropy` of integer class labels, the mean of each example, (batch,).

    Args:
      predictions, targets: as in `sparse_categorical_crossentropy`, and so are result and errors.
      alpha, gamma, from_logits, label_smoothing: as in `categorical_focal_crossentropy`.
    """
    where = "sparse_categorical_focal_crossentropy"
    _check_focus(where, alpha, gamma, label_smoothing)
    chosen, inside = _chosen_classes(where, predictions, targets)
    p = widened(predictions)
    values = _focal(p, chosen.astype(p.dtype), alpha, gamma, label_smoothing, from_logits)
    return mean_per_example(_nan_outside(values, inside))


@taking_pairs
@flagged
def kl_divergence(predictions: Array, targets: Array, *, from_logits: bool = True) -> Array:
    """Kullback-Leibler divergence ``sum_k t_k log(t_k / p_k)`` of distributions, the mean of each example, (batch,).

    It is the cross-entropy less the entropy of the targets: 0 where they agree. With ``from_logits=False`` it is
    Keras's, in which probabilities are clipped to [1e-7, 1], but not divided by their sum.

    Args:
      predictions, targets: as in `categorical_crossentropy`, and so are result and errors.
      from_logits: whether predictions are logits (the default, unlike Keras) or probabilities.

    >>> import jax.numpy as jnp
    >>> print(kl_divergence(jnp.zeros((2, 2)), jnp.array([[0.5, 0.5], [1.0, 0.0]])))
    [0.        0.6931472]
    """
    check_classes("kl_divergence", predictions)
    p, t = align("kl_divergence", predictions, targets)
    log_p = log_softmax(p) if from_logits else jnp.log(jnp.clip(p, EPSILON, 1))
    return mean_per_example(jnp.sum(_weighted(t, jnp.log(jnp.maximum(t, EPSILON)) - log_p), -1))


@taking_pairs
def logistic(predictions: Array, targets: Array) -> Array:
    """Logistic loss of labels -1 and +1, ``log(1 + exp(-t f))``, the mean of each example.

    Predictions are scores (logits); shapes and errors as in `mean_squared_error`.
    """
    f, t = align("logistic", predictions, targets)
    return mean_per_example(softplus(-t * f))


def check_classes(where: str, predictions: Array) -> None:
    """Require predictions (batch, ..., classes)."""
    check_float(where, predictions, FLOATING_HINT)
    if predictions.ndim < 2 or predictions.shape[-1] < 2:
        expected = "predictions of shape (batch, ..., classes) with at least 2 classes"
        hint = "For one output per example use binary_crossentropy."
        fail(where, expected=expected, got=describe(predictions), hint=hint)


def _class_targets(where: str, predictions: Array, targets: Array) -> Array:
    """Integer targets in the shape of the predictions without their last axis, in at least 32 bits."""
    check_classes(where, predictions)
    hint = ""
    if targets.shape == predictions.shape:
        hint = f"For one-hot rows write y.argmax(-1), or use the loss {where.removeprefix('sparse_')!r}."
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        hint = hint or "Write y.astype('int32')."
        fail(where, expected="integer class numbers as targets", got=describe(targets), hint=hint)
    if targets.ndim == predictions.ndim and targets.shape[-1] == 1:
        targets = targets[..., 0]
    if targets.shape != predictions.shape[:-1]:
        expected = f"targets of shape {shape_text(predictions.shape[:-1])} for predictions {describe(predictions)}"
        fail(where, expected=expected, got=describe(targets), hint=hint)
    return targets if targets.dtype.itemsize >= 4 else targets.astype(jnp.int32)


def _chosen_classes(where: str, predictions: Array, targets: Array) -> tuple[Array, Array]:
    """Of each class whether it is the label, (batch, ..., classes), and whether the label is a class, (batch, ...)."""
    targets = _class_targets(where, predictions, targets)
    classes = predictions.shape[-1]
    # A comparison and a sum instead of a gather: the gradient needs no scatter, and a label outside is noticed.
    numbers = jnp.arange(classes, dtype=jax.dtypes.canonicalize_dtype(targets.dtype))
    chosen = targets[..., None] == lift(numbers, targets[..., None])
    return chosen, (targets >= 0) & (targets < classes)


def _nan_outside(values: Array, inside: Array) -> Array:
    # 0 / 0 gives NaN for a label outside, and for no other, since `jax.debug_nans` may be on.
    return jnp.zeros_like(values) / inside.astype(values.dtype) + values


def _smoothed(t: Array, smoothing: Scalar, classes: int) -> Array:
    s = jnp.asarray(smoothing, t.dtype)
    return t * (1 - s) + s / classes


def _binary_crossentropies(p: Array, t: Array, from_logits: bool) -> Array:
    """The cross-entropy of each output."""
    if from_logits:
        return _binary_from_logits(p, t)
    p = jnp.clip(p, EPSILON, 1 - EPSILON)
    return -t * jnp.log(p) - (1 - t) * jnp.log(1 - p)


def _plain_binary_from_logits(x: Array, t: Array) -> Array:
    # Not softplus(x) - t * x, which cancels: at x = 17 and t = 1 it is 0 in float32 instead of 4e-8.
    return _weighted(t, softplus(-x)) + _weighted(1 - t, softplus(x))


@jax.custom_jvp
def _binary_from_logits(x: Array, t: Array) -> Array:
    return _plain_binary_from_logits(x, t)


@_binary_from_logits.defjvp
def _binary_from_logits_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """On a TPU the derivative in its shortest form: its compiler would compute the longer one twice."""
    out: Array = lax.platform_dependent(*primals, *tangents, tpu=_short_binary_tangent, default=_binary_tangent)
    return _binary_from_logits(*primals), out


def _binary_tangent(x: Array, t: Array, dx: Array, dt: Array) -> Array:
    out: Array = jax.jvp(_plain_binary_from_logits, (x, t), (dx, dt))[1]
    return out


def _short_binary_tangent(x: Array, t: Array, dx: Array, dt: Array) -> Array:
    # Not sigmoid(x) - t, which cancels too. At an infinite x it is finite without a guard.
    by_target: Array = jax.jvp(lambda t: _plain_binary_from_logits(x, t), (t,), (dt,))[1]
    return ((1 - t) * sigmoid(x) - t * sigmoid(-x)) * dx + by_target


def _focal(p: Array, t: Array, alpha: Scalar, gamma: Scalar, label_smoothing: Scalar, from_logits: bool) -> Array:
    """The focal loss of each row; ``1 - p`` is computed without cancellation from ``log(p)``."""
    log_p = _log_probabilities(p, from_logits)
    focus = jnp.asarray(alpha, p.dtype) * _power(-jnp.expm1(log_p), gamma)
    return jnp.sum(focus * _weighted(_smoothed(t, label_smoothing, p.shape[-1]), -log_p), -1)


def _power(q: Array, gamma: Scalar) -> Array:
    """``q^gamma``, with a finite derivative at 0 for any ``gamma``."""
    return jnp.power(jnp.maximum(q, finfo(q.dtype).tiny), jnp.asarray(gamma, q.dtype))


def _check_focus(where: str, alpha: Scalar, gamma: Scalar, label_smoothing: Scalar) -> None:
    check_range(where, "alpha", alpha, 0, 1)
    check_range(where, "gamma", gamma, 0)
    check_range(where, "label_smoothing", label_smoothing, 0, 1)


@jax.custom_jvp
def _of_chosen(logits: Array, chosen: Array) -> Array:
    """``-log_softmax(logits)`` of the chosen class: both sums over the classes read the same values, in one pass."""
    return _plain_of_chosen(logits, chosen)


def _plain_of_chosen(logits: Array, chosen: Array) -> Array:
    shifted = below_maximum(logits, -1)
    return jnp.log(jnp.sum(jnp.exp(shifted), -1)) - jnp.sum(jnp.where(chosen, shifted, jnp.zeros_like(shifted)), -1)


@_of_chosen.defjvp
def _of_chosen_jvp(primals: tuple[Array, Array], tangents: tuple[Array, PyTree]) -> tuple[Array, Array]:
    """On a TPU a division for each logit, which costs nothing there; one per row would be a separate operation."""
    logits, chosen = primals
    out: Array = lax.platform_dependent(logits, chosen, tangents[0], tpu=_short_tangent, default=_plain_tangent)
    return _of_chosen(*primals), out


def _plain_tangent(logits: Array, chosen: Array, dlogits: Array) -> Array:
    out: Array = jax.jvp(lambda logits: _plain_of_chosen(logits, chosen), (logits,), (dlogits,))[1]
    return out


def _short_tangent(logits: Array, chosen: Array, dlogits: Array) -> Array:
    shifted, dshifted = jax.jvp(lambda logits: below_maximum(logits, -1), (logits,), (dlogits,))
    powers = jnp.exp(shifted)
    slope = powers / jnp.sum(powers, -1, keepdims=True) - chosen.astype(powers.dtype)
    return jnp.sum(slope * dshifted, -1)


def _log_probabilities(p: Array, from_logits: bool) -> Array:
    if from_logits:
        return log_softmax(p)
    total = jnp.sum(p, -1, keepdims=True)
    total = jnp.where(total == 0, jnp.ones_like(total), total)  # a row of zeros is clipped like any other zero
    return jnp.log(jnp.clip(p / total, EPSILON, 1 - EPSILON))


def _weighted(t: Array, values: Array) -> Array:
    """``t * values``, and 0 where ``t`` is 0 and the value infinite."""
    none = (t == 0) & jnp.isinf(values)
    # Both factors are replaced, so that neither derivative is 0 times infinity; elsewhere they are the product's.
    return jnp.where(none, jnp.zeros_like(t), t) * jnp.where(none, jnp.zeros_like(values), values)
