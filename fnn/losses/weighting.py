"""Sample weights and class weights."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.described import in_words
from .._core.dtypes import at_least_float32
from .._core.errors import counted, describe, fail, shape_text
from .._core.trees import to_jax
from .._core.types import Array, ArrayLike, PyTree
from .common import Loss
from .facts import get_loss


def weighted_sum(values: Array, weights: Array | None = None, valid: Array | None = None) -> tuple[Array, Array]:
    """``(sum(w * v), count)`` of values per example, two scalars in float32 at least; every loss passes through here.

    The mean is ``sum / count``, divided by the number of examples rather than the sum of the weights, as in Keras.

    Args:
      values: (batch,).
      weights: (batch,), default all 1. A row of weight 0 adds nothing even where its value is not finite; its
        derivatives are 0, that by the weight too.
      valid: (batch,) booleans; False leaves a row out of both sum and count, as for padding rows.
    """
    if values.ndim != 1:
        fail("loss", expected="one value per example, of shape (batch,)", got=describe(values))
    if weights is not None and weights.shape != values.shape:
        fail("loss", expected=f"sample weights of shape {shape_text(values.shape)}", got=describe(weights))
    weighted = values = values.astype(at_least_float32(values.dtype))
    if weights is not None:
        # Both selections are needed, so that neither value nor derivative is 0 times infinity.
        counts, zeros = weights != 0, jnp.zeros_like(values)
        weighted = jnp.where(counts, jnp.where(counts, values, zeros) * weights.astype(values.dtype), zeros)
    if valid is None:
        return jnp.sum(weighted), jnp.asarray(values.shape[0], values.dtype)
    return jnp.sum(jnp.where(valid, weighted, jnp.zeros_like(weighted))), jnp.sum(valid, dtype=values.dtype)


def mean_loss(
    loss: str | Loss, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> Array:
    """The mean loss of a batch, ``sum_i w_i l_i / batch``, a scalar in float32 at least.

    Args:
      loss: a name or a function ``(predictions, targets) -> (batch,)``.
      predictions, targets: (batch, ...), as the loss takes them; errors as those of the loss.
      sample_weight: (batch,), default all 1; another shape is refused.
    """
    predictions, targets = (to_jax(as_array("mean_loss", a)) for a in (predictions, targets))
    if sample_weight is not None:
        sample_weight = to_jax(as_array("mean_loss, sample_weight", sample_weight))
    total, count = weighted_sum(get_loss(loss)(predictions, targets), sample_weight)
    return total / count


def class_weights(labels: ArrayLike, weights: Mapping[Hashable, float] | Sequence[float] | str | ArrayLike) -> Array:
    """Sample weights (batch,), float32, from class weights, to pass as the third of ``(x, y, sample_weight)``.

    Args:
      labels: (batch,) or (batch, 1) integer class labels, or (batch, classes) one-hot rows.
      weights: a weight per class, as a sequence by class, a dict in which a missing class weighs 1, or a pandas Series
        with the classes as its index; or "balanced" for ``examples / (classes * examples of the class)``, as in
        scikit-learn. Keys of a dict are whole numbers of any type, or booleans for boolean labels.

    Raises:
      InputError: for labels or keys that are not classes, rows of several labels, and missing or invalid weights.

    >>> print(class_weights([0, 1, 1], {1: 3.0}))
    [1. 3. 3.]
    """
    where = "class_weights"
    classes, place, counts = np.unique(_class_labels(where, labels), return_inverse=True, return_counts=True)
    if isinstance(weights, str):
        if weights != "balanced":
            fail(where, expected="weights by class, or 'balanced'", got=repr(weights))
        by_class = dict(zip(classes.tolist(), (counts.sum() / (len(classes) * counts)).tolist(), strict=True))
    elif callable(items := getattr(weights, "items", None)):  # of a mapping, or a pandas Series by class
        by_class = dict(items())
    else:
        listed: Any = weights
        if np.ndim(listed) != 1:
            fail(where, expected="a weight for each class, a dict, or 'balanced'", got=in_words(weights))
        if classes.size and classes[-1] >= len(listed):
            expected = f"{counted(int(classes[-1]) + 1, 'weight')}, since labels go up to {classes[-1]}"
            fail(where, expected=expected, got=str(len(listed)))
        by_class = dict(enumerate(listed))
    given = dict(_class_and_weight(where, key, weight) for key, weight in by_class.items())
    table = np.asarray([given.get(label, 1.0) for label in classes.tolist()], np.float32)
    return to_jax(table[place.reshape(-1)])


def _class_labels(where: str, labels: ArrayLike) -> np.ndarray:
    """Integer class labels (batch,) from labels or one-hot rows."""
    labels = np.asarray(as_array(f"{where}, labels", labels, fits=False))
    if labels.ndim == 2 and labels.shape[1] > 1 and not (np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()):
        hint = "Rows of several labels have no single class: pass sample weights, (x, y, sample_weight)."
        fail(where, expected="one-hot rows", got=describe(labels), hint=hint)
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(1)
    if labels.ndim != 1:
        fail(where, expected="labels of shape (batch,) or (batch, classes)", got=describe(labels))
    if labels.dtype.kind not in "biu":
        wide = labels.astype(np.float64)
        if not (np.isfinite(wide) & (wide == np.floor(wide)) & (np.abs(wide) < 2**53)).all():
            fail(where, expected="class numbers", got=f"{describe(labels)} with fractions, NaN or infinity")
        labels = wide.astype(np.int64)
    if labels.size and labels.min() < 0:
        hint = "For labels of -1 and +1 use class_weights(y > 0, weights)." if labels.min() == -1 else ""
        fail(where, expected="labels of at least 0", got=f"the label {labels.min()}", hint=hint)
    return labels


def _class_and_weight(where: str, key: PyTree, weight: PyTree) -> tuple[int, float]:
    number = isinstance(key, (int, float, np.number, np.bool_)) and np.isfinite(key) and int(key) == key
    if not number or key < 0:
        hint = f"Write {int(key)} without quotes." if isinstance(key, str) and key.strip().isdecimal() else ""
        fail(where, expected="class numbers of at least 0 as keys", got=in_words(key), hint=hint)
    if isinstance(weight, (str, bytes)) or weight is None or np.ndim(weight) or np.iscomplexobj(weight):
        fail(where, expected=f"a number as the weight of class {key}", got=in_words(weight))
    value = float(weight)
    if not 0 <= value <= np.finfo(np.float32).max:
        fail(where, expected=f"a finite weight of at least 0 for class {key}", got=f"{value:g}")
    return int(key), value
