"""Losses of classes and of yes/no labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .._core.checks import check_float, check_range
from .._core.dtypes import lift, widened
from .._core.errors import describe, fail, shape_text
from .._core.types import Array, Scalar
from ..nn.activations import log_softmax, softplus
from .common import EPSILON, FLOATING_HINT, align, mean_per_example


def binary_crossentropy(
    predictions: Array, targets: Array, *, from_logits: bool = True, label_smoothing: Scalar = 0.0
) -> Array:
    """Binary cross-entropy ``-t log(p) - (1 - t) log(1 - p)``, the mean over the outputs of each example.

    From logits ``x`` it is ``t softplus(-x) + (1 - t) softplus(x)``, stable for any ``x``, even infinite, and accurate
    for small losses. Probabilities are clipped to [1e-7, 1 - 1e-7], as in Keras.

    Args:
      predictions, targets: as in `mean_squared_error`, and so are result and errors; targets are 0, 1 or between.
      from_logits: whether predictions are logits (the default, unlike Keras) or probabilities.
      label_smoothing: targets become ``t (1 - s) + s / 2``; in [0, 1], may be traced.
    """
    check_range("binary_crossentropy", "label_smoothing", label_smoothing, 0, 1)
    p, t = align("binary_crossentropy", predictions, targets)
    smoothing = jnp.asarray(label_smoothing, p.dtype)
    t = t * (1 - smoothing) + 0.5 * smoothing
    if from_logits:
        # Not softplus(p) - t * p, which cancels: at p = 17 and t = 1 it is 0 in float32 instead of 4e-8.
        return mean_per_example(_weighted(t, softplus(-p)) + _weighted(1 - t, softplus(p)))
    p = jnp.clip(p, EPSILON, 1 - EPSILON)
    return mean_per_example(-t * jnp.log(p) - (1 - t) * jnp.log(1 - p))


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
    _check_classes("categorical_crossentropy", predictions)
    p, t = align("categorical_crossentropy", predictions, targets)
    smoothing = jnp.asarray(label_smoothing, p.dtype)
    t = t * (1 - smoothing) + smoothing / p.shape[-1]
    return mean_per_example(jnp.sum(_weighted(t, -_log_probabilities(p, from_logits)), -1))


def sparse_categorical_crossentropy(predictions: Array, targets: Array, *, from_logits: bool = True) -> Array:
    """Cross-entropy ``-log(p_t)`` of integer class labels, the mean of each example, (batch,).

    Args:
      predictions: (batch, ..., classes), logits unless ``from_logits=False``.
      targets: (batch, ...) or (batch, ..., 1), integers in [0, classes); other dtypes are refused. A label outside
        gives NaN here, and an error in `fnn.fit` and `fnn.evaluate`, which see the values.
      from_logits: as in `binary_crossentropy`, and so are result and errors.

    >>> import jax.numpy as jnp
    >>> print(sparse_categorical_crossentropy(jnp.zeros((1, 4)), jnp.array([2])))
    [1.3862944]
    """
    targets = _class_targets("sparse_categorical_crossentropy", predictions, targets)
    classes = predictions.shape[-1]
    # A comparison and a sum instead of a gather: the gradient needs no scatter, and a label outside is noticed.
    numbers = jnp.arange(classes, dtype=jax.dtypes.canonicalize_dtype(targets.dtype))
    chosen = targets[..., None] == lift(numbers, targets[..., None])
    log_p = _log_probabilities(widened(predictions), from_logits)
    log_p_t = jnp.sum(jnp.where(chosen, log_p, jnp.zeros_like(log_p)), -1)
    inside = (targets >= 0) & (targets < classes)
    # 0 / 0 gives NaN for a label outside, and for no other, since `jax.debug_nans` may be on.
    return mean_per_example(jnp.zeros_like(log_p_t) / inside.astype(log_p_t.dtype) - log_p_t)


def logistic(predictions: Array, targets: Array) -> Array:
    """Logistic loss of labels -1 and +1, ``log(1 + exp(-t f))``, the mean of each example.

    Predictions are scores (logits); shapes and errors as in `mean_squared_error`.
    """
    f, t = align("logistic", predictions, targets)
    return mean_per_example(softplus(-t * f))


def _check_classes(where: str, predictions: Array) -> None:
    check_float(where, predictions, FLOATING_HINT)
    if predictions.ndim < 2 or predictions.shape[-1] < 2:
        expected = "predictions of shape (batch, ..., classes) with at least 2 classes"
        hint = "For one output per example use binary_crossentropy."
        fail(where, expected=expected, got=describe(predictions), hint=hint)


def _class_targets(where: str, predictions: Array, targets: Array) -> Array:
    """Integer targets in the shape of the predictions without their last axis, in at least 32 bits."""
    _check_classes(where, predictions)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        hint = "Use y.astype('int32'), or categorical_crossentropy for one-hot rows."
        fail(where, expected="integer class numbers as targets", got=describe(targets), hint=hint)
    if targets.ndim == predictions.ndim and targets.shape[-1] == 1:
        targets = targets[..., 0]
    if targets.shape != predictions.shape[:-1]:
        expected = f"targets of shape {shape_text(predictions.shape[:-1])} for predictions {describe(predictions)}"
        hint = "Use categorical_crossentropy for one-hot rows." if targets.shape == predictions.shape else ""
        fail(where, expected=expected, got=describe(targets), hint=hint)
    return targets if targets.dtype.itemsize >= 4 else targets.astype(jnp.int32)


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
