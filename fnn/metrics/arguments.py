"""Arguments of the metric functions: arrays from whatever holds numbers, and checks of their values.

Values are checked where they are known; inside compiled code only shapes and dtypes are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_range, is_concrete
from .._core.dtypes import at_least_float32, is_float
from .._core.errors import counted, describe, fail, shape_text
from .._core.trees import to_jax
from .._core.typed import finfo, jit
from .._core.types import Array, ArrayLike, ArraySpec, DType, Scalar, Shape
from .metric import Metric, value_of

_SWAPPED = "Are the arguments swapped? Predictions come first."

Rows = slice | np.ndarray


def numeric_array(where: str, name: str, x: ArrayLike, *, classes: bool = False) -> Array:
    """An array of numbers; anything else is refused, as are integers beyond int32 with ``classes``."""
    x = as_array(f"{where}, {name}", x)
    if classes and isinstance(x, np.ndarray) and x.dtype.kind in "iu" and x.size:
        low, high = int(x.min()), int(x.max())
        if max(-low, high) >= 2**31 - 1:
            fail(where, expected=f"{name} that int32 holds", got=f"numbers from {low} to {high}")
    return to_jax(x)


def to_widest(*arrays: Array) -> list[Array]:
    """Arrays in the widest floating-point dtype among them, float32 at least."""
    dtypes = [at_least_float32(a.dtype) for a in arrays if is_float(a)]
    wide = max(dtypes, key=lambda dtype: int(finfo(dtype).bits))
    return [a.astype(wide) for a in arrays]


def host_values(x: Array) -> np.ndarray:
    """The values of a concrete array, with half precision in float32."""
    values = np.asarray(x)
    return values.astype(at_least_float32(values.dtype)) if is_float(x) else values


def check_lengths(where: str, predictions: Array, targets: Array) -> None:
    """Refuse empty predictions, and targets of another length."""
    if predictions.ndim == 0 or predictions.size == 0:
        fail(where, expected="at least one example", got=describe(predictions))
    if targets.ndim == 0 or targets.shape[0] != predictions.shape[0]:
        got = f"{describe(predictions)} and {describe(targets)}"
        fail(where, expected="predictions and targets of the same length", got=got)


def weights_array(where: str, sample_weight: ArrayLike | None, count: int, dtype: DType) -> Array | None:
    """Sample weights (count,); refused if some are negative or not finite, or all are 0."""
    if sample_weight is None:
        return None
    weights = numeric_array(where, "sample weights", sample_weight).astype(dtype)
    if weights.shape != (count,):
        fail(where, expected=f"sample weights of shape {shape_text((count,))}", got=describe(weights))
    if is_concrete(weights):
        values = np.asarray(weights)
        for bad, expected in ((~np.isfinite(values), "finite sample weights"), (values < 0, "weights of at least 0")):
            if bad.any():
                row = int(np.argmax(bad))
                fail(f"{where}, sample_weight", expected=expected, got=f"{values[row]:g} in row {row}")
        if not values.any():
            fail(f"{where}, sample_weight", expected="at least one weight above 0", got="none")
    return weights


class ClassArguments(NamedTuple):
    """Checked arguments of a function on classes or yes/no labels."""

    predictions: Array
    targets: Array
    weights: Array | None  # (batch,)
    several: bool  # whether rows hold yes/no labels, any number of which may be 1
    threshold: Scalar  # for yes/no scores
    rows: Rows  # an index of the rows that count, all rows where the weights are not known

    def value(self, make: Callable[..., Metric], *options: bool | int | str) -> Array:
        """The value of the metric ``make(threshold, *options)``; one program for all thresholds."""
        return _compiled_value(make, options, self.threshold, *self.rows_and_weights())

    def rows_and_weights(self) -> tuple[Array, Array, Array]:
        """Predictions, targets and weights, which are ones if none were given."""
        p, w = self.predictions, self.weights
        return p, self.targets, ones(p.shape[:1], jnp.result_type(float)) if w is None else w


@jit(static_argnums=(0, 1))
def _compiled_value(
    make: Callable[..., Metric], options: tuple[bool | int | str, ...], threshold: Scalar, p: Array, t: Array, w: Array
) -> Array:
    return value_of(make(threshold, *options), p, t, w)


def ones(shape: Shape, dtype: DType) -> Array:
    """Ones that NumPy makes, which compiles nothing."""
    return to_jax(np.ones(shape, dtype))


def class_arguments(
    where: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    threshold: Scalar | None = None,
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    scores: bool = True,
    hint: str = "Rows of several yes/no labels need multi_label=True.",
) -> ClassArguments:
    """Predictions and targets as arrays; values that cannot be scores or labels are refused.

    With ``scores`` yes/no scores are compared with the threshold, and without one must be probabilities. ``hint`` is
    advice for rows of several yes/no labels; the other arguments are those of `accuracy`.
    """
    p = numeric_array(where, "predictions", predictions, classes=True)
    t = numeric_array(where, "targets", targets, classes=True)
    check_lengths(where, p, t)
    if multi_label not in (None, True, False):
        fail(where, expected="multi_label True, False or None", got=repr(multi_label))
    weights = weights_array(where, sample_weight, p.shape[0], jnp.result_type(float))
    known = weights is not None and is_concrete(weights)
    rows = np.flatnonzero(np.asarray(weights)) if known else slice(None)
    if threshold is not None:
        check_range(where, "threshold", threshold)
    # One-hot predictions mean the same in any dtype: one score for each class.
    if p.shape == t.shape and p.ndim > 1 and (p.dtype == bool or (_is_one_hot(p) and _is_one_hot(t))):
        p = p.astype(jnp.float32)
    several = _looks_multi_label(p, t, rows) if multi_label is None else multi_label
    if is_concrete(p) and is_float(p):
        _check_scores(where, host_values(p)[rows], scores and threshold is None and (several or is_single_score(p)))
    if is_concrete(t):
        check_class_labels(where, p, np.asarray(t)[rows], several, hint)
    return ClassArguments(p, t, weights, several, 0.5 if threshold is None else threshold, rows)


def is_single_score(p: ArraySpec) -> bool:
    """Whether predictions are one yes/no score for each example or step."""
    return is_float(p) and (len(p.shape) < 2 or p.shape[-1] == 1)


def _looks_multi_label(p: Array, t: Array, rows: Rows) -> bool:
    """Whether rows of targets hold yes/no labels: 0 and 1, or -1 and +1, and some row is not one-hot."""
    if p.ndim < 2 or p.shape[-1] < 2 or t.shape != p.shape or not is_concrete(t):
        return False
    labels = host_values(t)[rows]
    if not is_float(p) and not (is_concrete(p) and np.isin(np.asarray(p)[rows], (0, 1)).all()):
        return False
    return bool(np.isin(labels, (-1, 0, 1)).all()) and not _one_hot_rows(labels).all()


def _one_hot_rows(labels: np.ndarray) -> np.ndarray:
    """Which rows hold zeros and a single 1."""
    found: np.ndarray = np.isin(labels, (0, 1)).all(-1) & (labels.sum(-1) == 1)
    return found


def _is_one_hot(x: Array) -> bool:
    """Whether an array is known to hold integers in one-hot rows of several classes."""
    return not is_float(x) and x.shape[-1] > 1 and is_concrete(x) and bool(_one_hot_rows(np.asarray(x)).all())


def _check_scores(where: str, p: np.ndarray, probabilities: bool) -> None:
    if bad := int(np.isnan(p).reshape(len(p), -1).any(1).sum()):
        got = f"NaN in {bad} of {len(p)} rows"
        hint = "NaN is no class. Look for its cause with fnn.fit(..., check='finite'), or give such rows the weight 0."
        fail(where, expected="predictions without NaN", got=got, hint=hint)
    if probabilities and not (p.min() >= 0 and p.max() <= 1):
        got, hint = f"scores from {p.min():g} to {p.max():g}", "Logits need threshold=0.0."
        fail(where, expected="probabilities in [0, 1], to be thresholded at 0.5", got=got, hint=hint)


def check_probabilities(where: str, p: np.ndarray, single: bool, hint: str) -> None:
    """Refuse values outside [0, 1] and, unless single, rows that do not sum to 1, with a hint."""
    low, high, sums = float(p.min()), float(p.max()), p.sum(-1)
    if not (low >= 0 and high <= 1):
        logits = f"For logits pass fnn.activations.{'sigmoid' if single else 'softmax'}(logits)."
        fail(where, expected="probabilities in [0, 1]", got=f"values from {low:g} to {high:g}", hint=logits)
    if not single and not np.allclose(sums, 1, atol=0.02):
        fail(where, expected="rows that sum to 1", got=f"sums from {sums.min():g} to {sums.max():g}", hint=hint)


def check_class_labels(
    where: str, p: ArraySpec, t: np.ndarray, several: bool, hint: str, cause: str = _SWAPPED
) -> None:
    """Refuse targets ``t`` that are not labels for predictions ``p``, or, with ``several``, not yes/no labels.

    ``hint`` is advice for rows of yes/no labels where classes were expected, ``cause`` for any other targets.
    """
    if t.dtype == bool:
        t = t.astype(np.int8)
    elif is_float(t):
        t = t.astype(at_least_float32(t.dtype))
    span = f"{describe(t)} with values from {t.min():g} to {t.max():g}" if t.size else describe(t)
    if several or is_single_score(p):
        # The logistic loss has labels -1 and +1.
        if not (np.isin(t, (0, 1)).all() or np.isin(t, (-1, 1)).all()):
            fail(where, expected="targets of 0 and 1, or -1 and +1", got=span, hint=cause)
    elif t.ndim > 1 and t.shape[-1] > 1 and (t.dtype.kind == "f" or (is_float(p) and t.shape[1:] == p.shape[1:])):
        if not _one_hot_rows(t).all():
            expected = "targets that are class numbers or one-hot rows (zeros and a single 1)"
            fail(where, expected=expected, got=span, hint=f"{cause} {hint}")
    elif is_float(p) and t.dtype.kind in "iu" and not (t.min() >= 0 and t.max() < p.shape[-1]):
        expected = f"class numbers in [0, {p.shape[-1]}) for {counted(p.shape[-1], 'score')}"
        fail(where, expected=expected, got=f"numbers from {t.min()} to {t.max()}")
