"""Classes and yes/no labels as predicted and as true, in one form."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .._core.dtypes import is_float, widened
from .._core.errors import describe, fail
from .._core.typed import jit
from .._core.types import Array, Scalar
from ..losses.common import align
from .arguments import is_single_score

# Stand for a prediction that holds NaN and for a target that is no class: neither equals the other, or any class.
_NO_ANSWER, _NO_CLASS = np.int32(-(2**31)), np.int32(-(2**31) + 1)


def paired_labels(where: str, predictions: Array, targets: Array, threshold: Scalar) -> tuple[Array, Array]:
    """Yes/no labels predicted and true, 1 for yes and 0 for no, of one shape."""
    p, t = jnp.asarray(predictions), jnp.asarray(targets)
    p, t = align(where, widened(p) if is_float(p) else p.astype(jnp.float32), t)
    yes, true = (p > jnp.asarray(threshold, p.dtype)).astype(jnp.int32), (t > 0.5).astype(jnp.int32)
    return jnp.where(jnp.isnan(p), _NO_ANSWER, yes), jnp.where(jnp.isnan(t), _NO_CLASS, true)


def paired_classes(where: str, predictions: Array, targets: Array, threshold: Scalar = 0.5) -> tuple[Array, Array]:
    """Classes predicted and true, integers of one shape (batch, ...)."""
    p, t = jnp.asarray(predictions), jnp.asarray(targets)
    if is_single_score(p):
        p, t = paired_labels(where, p, t, threshold)
        return (p[..., 0], t[..., 0]) if p.ndim > 1 else (p, t)
    t = _true_classes(where, p, t)
    if is_float(p):
        p = jnp.where(jnp.isnan(p).any(-1), _NO_ANSWER, jnp.argmax(p, -1).astype(jnp.int32))
    else:
        p = _squeezed(p.astype(jnp.int32))
    if p.shape != t.shape:
        fail(where, expected="targets that fit the predictions", got=f"{describe(predictions)} and {describe(targets)}")
    return p, t


compiled_classes = jit(paired_classes, static_argnums=0)


@jit(static_argnums=0)
def compiled_labels(where: str, predictions: Array, targets: Array, threshold: Scalar) -> tuple[Array, Array]:
    """`paired_labels` with one column each."""
    p, t = paired_labels(where, predictions, targets, threshold)
    return (p[:, None], t[:, None]) if p.ndim == 1 else (p, t)


def _true_classes(where: str, predictions: Array, targets: Array) -> Array:
    """Classes from targets, which are one-hot rows if they have the shape of predictions that are scores."""
    if is_float(predictions) and targets.shape == predictions.shape:
        top = jnp.max(targets, -1)
        # A row without a positive entry has no class.
        return jnp.where(top > 0, jnp.argmax(targets, -1).astype(jnp.int32), _NO_CLASS)
    if is_float(targets):
        hint = "Use y.astype('int32'). Predictions come first, then targets."
        fail(f"{where}, targets", expected="integer class numbers, or one-hot rows", got=describe(targets), hint=hint)
    return _squeezed(targets.astype(jnp.int32))


def _squeezed(labels: Array) -> Array:
    return labels[..., 0] if labels.ndim > 1 and labels.shape[-1] == 1 else labels
