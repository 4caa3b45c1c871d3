"""Losses: ``(predictions, targets) -> one value per example``, and the one place where they are weighted.

Losses are computed and returned in float32 at least, whatever the dtype of the predictions; targets are cast to that
dtype. Gradients have the predictions' dtype.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import check_float, check_range, describe, fail, resolve, shape_text
from ._dtypes import at_least_float32, lift, widened
from ._inputs import as_array
from .nn.activations import log_softmax, softplus

Array = jax.Array
Loss = Callable[[Any, Any], Array]

_FLOATING = "Losses take the model's floating-point outputs as predictions."
_EPSILON = 1e-7  # Keras's backend epsilon, for losses that divide by or take logarithms of data
_LEAST_VARIANCE = 1e-6  # of a Gaussian, as in Lakshminarayanan et al.; no row can then weigh more than a million others


def _per_example(values: Array) -> Array:
    """The mean over all axes behind the batch."""
    return jnp.mean(values, tuple(range(1, values.ndim)))


def align(where: str, predictions: Array, targets: Array) -> tuple[Array, Array]:
    """Both in the shape of predictions and in their dtype, float32 at least.

    A missing last axis of size 1 is added, (batch,) to (batch, 1); any other difference is refused, since
    broadcasting would silently compare every row with every other.
    """
    check_float(where, predictions, "Losses and metrics take the model's floating-point outputs as predictions.")
    if predictions.ndim == targets.ndim + 1 and predictions.shape[-1] == 1:
        targets = targets[..., None]
    elif targets.ndim == predictions.ndim + 1 and targets.shape[-1] == 1:
        targets = targets[..., 0]
    if predictions.shape != targets.shape or predictions.ndim == 0:
        fail(
            where,
            expected="targets of the predictions' shape (batch, ...)",
            got=f"predictions {describe(predictions)} and targets {describe(targets)}",
            hint="For class numbers use a sparse loss, or one_hot(targets, classes)."
            if predictions.ndim == targets.ndim + 1
            else "",
        )
    predictions = widened(predictions)
    return predictions, targets.astype(predictions.dtype)


def mean_squared_error(predictions: Array, targets: Array) -> Array:
    """``mean((p - t)^2)`` of each example.

    Args:
      predictions: (batch, ...), floating point.
      targets: of the same shape; (batch,) is taken as (batch, 1).

    Returns:
      (batch,).

    Raises:
      InputError: when the shapes differ.

    >>> import jax.numpy as jnp
    >>> print(mean_squared_error(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])))
    [2.5]
    """
    p, t = align("mean_squared_error", predictions, targets)
    return _per_example(jnp.square(p - t))


def mean_absolute_error(predictions: Array, targets: Array) -> Array:
    """``mean(|p - t|)`` of each example. Shapes and errors as for `mean_squared_error`."""
    p, t = align("mean_absolute_error", predictions, targets)
    return _per_example(jnp.abs(p - t))


def mean_absolute_percentage_error(predictions: Array, targets: Array) -> Array:
    """``100 mean(|p - t| / max(|t|, 1e-7))`` of each example, in percent.

    Shapes and errors as for `mean_squared_error`.
    """
    p, t = align("mean_absolute_percentage_error", predictions, targets)
    return 100.0 * _per_example(jnp.abs(p - t) / jnp.maximum(jnp.abs(t), _EPSILON))


def mean_squared_logarithmic_error(predictions: Array, targets: Array) -> Array:
    """``mean((log(1 + p) - log(1 + t))^2)`` of each example, with p and t no less than 1e-7, as in Keras.

    Shapes and errors as for `mean_squared_error`.
    """
    p, t = align("mean_squared_logarithmic_error", predictions, targets)
    return _per_example(jnp.square(jnp.log1p(jnp.maximum(p, _EPSILON)) - jnp.log1p(jnp.maximum(t, _EPSILON))))


def huber(predictions: Array, targets: Array, *, delta: Any = 1.0) -> Array:
    """Squared near 0 and linear beyond ``delta`` (Huber 1964), the mean of each example.

    ``e^2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta^2 / 2``, with ``e = p - t``.
    Shapes and errors as for `mean_squared_error`.
    """
    check_range("huber", "delta", delta, 0, open_low=True)
    p, t = align("huber", predictions, targets)
    error, d = jnp.abs(p - t), jnp.asarray(delta, p.dtype)
    small = jnp.where(error <= d, error, d)
    return _per_example(0.5 * jnp.square(small) + d * (error - small))


def binary_crossentropy(
    predictions: Array, targets: Array, *, from_logits: bool = True, label_smoothing: Any = 0.0
) -> Array:
    """Binary cross-entropy ``-t log(p) - (1 - t) log(1 - p)``, the mean over the outputs of each example.

    From logits ``x`` it is ``t softplus(-x) + (1 - t) softplus(x)``, stable for any ``x``, infinite ones too, and exact
    for small losses.
    Probabilities are clipped to [1e-7, 1 - 1e-7], as in Keras.

    Args:
      predictions: (batch, ...), logits unless ``from_logits=False``.
      targets: of the same shape, 0, 1 or between; (batch,) is taken as (batch, 1).
      from_logits: whether predictions are logits (the default, unlike Keras) or probabilities.
      label_smoothing: targets become ``t (1 - s) + s / 2``; in [0, 1], may be traced.

    Returns:
      (batch,).

    Raises:
      InputError: when the shapes differ.
    """
    check_range("binary_crossentropy", "label_smoothing", label_smoothing, 0, 1)
    p, t = align("binary_crossentropy", predictions, targets)
    smoothing = jnp.asarray(label_smoothing, p.dtype)
    t = t * (1 - smoothing) + 0.5 * smoothing
    if from_logits:
        # Not softplus(p) - t * p, which cancels: at p = 17 and t = 1 it is 0 in float32 instead of 4e-8.
        return _per_example(_share(t, softplus(-p)) + _share(1 - t, softplus(p)))
    p = jnp.clip(p, _EPSILON, 1 - _EPSILON)
    return _per_example(-t * jnp.log(p) - (1 - t) * jnp.log(1 - p))


def categorical_crossentropy(
    predictions: Array, targets: Array, *, from_logits: bool = True, label_smoothing: Any = 0.0
) -> Array:
    """Cross-entropy ``-sum_k t_k log(p_k)`` between distributions on the last axis, the mean of each example.

    Probabilities are divided by their sum and clipped to [1e-7, 1 - 1e-7], as in Keras. Logits may be infinite: a
    class at -inf, as a mask makes it, adds nothing where its target is 0.

    Args:
      predictions: (batch, ..., classes), logits unless ``from_logits=False``.
      targets: of the same shape, e.g. one-hot.
      from_logits: whether predictions are logits (the default, unlike Keras) or probabilities.
      label_smoothing: targets become ``t (1 - s) + s / classes``; in [0, 1], may be traced.

    Returns:
      (batch,).

    Raises:
      InputError: when the shapes differ.
    """
    check_range("categorical_crossentropy", "label_smoothing", label_smoothing, 0, 1)
    _check_classes("categorical_crossentropy", predictions)
    p, t = align("categorical_crossentropy", predictions, targets)
    smoothing = jnp.asarray(label_smoothing, p.dtype)
    t = t * (1 - smoothing) + smoothing / p.shape[-1]
    return _per_example(jnp.sum(_share(t, -_log_probabilities(p, from_logits)), -1))


def sparse_categorical_crossentropy(predictions: Array, targets: Array, *, from_logits: bool = True) -> Array:
    """Cross-entropy ``-log(p_t)`` of class numbers, the mean of each example.

    Args:
      predictions: (batch, ..., classes), logits unless ``from_logits=False``.
      targets: (batch, ...) or (batch, ..., 1), integers in [0, classes). One outside gives NaN here, and an error
        in `fnn.fit` and `fnn.evaluate`, which see the values.
      from_logits: whether predictions are logits (the default, unlike Keras) or probabilities.

    Returns:
      (batch,).

    Raises:
      InputError: for targets that are not integers or do not fit the predictions' shape.

    >>> import jax.numpy as jnp
    >>> print(sparse_categorical_crossentropy(jnp.zeros((1, 4)), jnp.array([2])))
    [1.3862944]
    """
    name = "sparse_categorical_crossentropy"
    _check_classes(name, predictions)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        fail(
            name,
            expected="integer class numbers as targets",
            got=describe(targets),
            hint="Use y.astype('int32'), or categorical_crossentropy for one-hot rows.",
        )
    if targets.ndim == predictions.ndim and targets.shape[-1] == 1:
        targets = targets[..., 0]
    if targets.shape != predictions.shape[:-1]:
        fail(
            name,
            expected=f"targets of shape {shape_text(predictions.shape[:-1])} for predictions {describe(predictions)}",
            got=describe(targets),
            hint="Use categorical_crossentropy for one-hot rows." if targets.shape == predictions.shape else "",
        )
    classes = predictions.shape[-1]
    # A comparison and a sum instead of a gather: its gradient is no scatter, and a class outside is seen.
    targets = targets if targets.dtype.itemsize >= 4 else targets.astype(jnp.int32)
    chosen = targets[..., None] == lift(jnp.arange(classes, dtype=targets.dtype), targets[..., None])
    log_p = _log_probabilities(widened(predictions), from_logits)
    picked = jnp.sum(jnp.where(chosen, log_p, jnp.zeros_like(log_p)), -1)
    inside = (targets >= 0) & (targets < classes)
    # 0 / 0 makes the NaN of a class outside, and of no other: `jax.debug_nans` may be on.
    return _per_example(jnp.zeros_like(picked) / inside.astype(picked.dtype) - picked)


def logistic(predictions: Array, targets: Array) -> Array:
    """The logistic loss on labels -1 and +1, ``log(1 + exp(-t f))``, the mean of each example.

    Args:
      predictions: (batch, ...), scores (logits).
      targets: of the same shape, -1 or +1; (batch,) is taken as (batch, 1).

    Raises:
      InputError: when the shapes differ.
    """
    f, t = align("logistic", predictions, targets)
    return _per_example(softplus(-t * f))


class Gaussians(NamedTuple):
    """Gaussian distributions, one for each number: their means and variances, of the same shape."""

    mean: Array
    variance: Array


def gaussian_moments(predictions: Array) -> Gaussians:
    """What the outputs of a network trained with `gaussian_nll` say: a mean and a variance for each target.

    Args:
      predictions: (batch, ..., 2 k), the k means and then the k raw scales ``r`` of ``softplus(r) + 1e-6``.

    Returns:
      `Gaussians` of two arrays (batch, ..., k).

    Raises:
      InputError: when the last axis is not even, or there is no batch.

    >>> import jax.numpy as jnp
    >>> mean, variance = gaussian_moments(jnp.array([[3.0, 0.0]]))
    >>> print(mean, variance)
    [[3.]] [[0.6931482]]
    """
    where = "gaussian_nll"
    check_float(where, predictions, _FLOATING)
    if predictions.ndim < 2 or predictions.shape[-1] % 2 or predictions.shape[-1] == 0:
        hint = "End the model with Dense(2 * k) for k numbers to predict, without an activation."
        expected = "predictions of shape (batch, ..., 2 k), k means and k raw scales"
        fail(where, expected=expected, got=describe(predictions), hint=hint)
    mean, raw = jnp.split(predictions, 2, -1)
    wide = widened(raw)
    return Gaussians(mean, (softplus(wide) + jnp.asarray(_LEAST_VARIANCE, wide.dtype)).astype(raw.dtype))


def gaussian_outputs(moments: Gaussians) -> Array:
    """The inverse of `gaussian_moments`: outputs (batch, ..., 2 k) that say these means and variances."""
    # log(exp(v) - 1), of which exp(v) alone would overflow; what is too small for a positive v is the least variance.
    wide = widened(moments.variance)
    v = jnp.maximum(wide - _LEAST_VARIANCE, jnp.finfo(wide.dtype).tiny)
    raw = v + jnp.log(-jnp.expm1(-v))
    return jnp.concatenate([moments.mean, raw.astype(moments.variance.dtype)], -1)


def gaussian_nll(predictions: Array, targets: Array) -> Array:
    """``-log N(t; m, v)`` of a Gaussian whose mean and variance the network tells, the mean over an example's targets.

    ``((t - m)^2 / v + log(v) + log(2 pi)) / 2`` with ``v = softplus(r) + 1e-6`` from the raw output ``r``, as in
    Lakshminarayanan, Pritzel and Blundell 2017 (arXiv:1612.01474). It is a log density: it falls below 0 where the
    network is sure, and depends on the unit of the targets, which should be scaled to a spread of about 1.

    Metrics of a task with this loss ("rmse", "mae", "r2") are those of the mean.

    Args:
      predictions: (batch, ..., 2 k), the k means and then the k raw scales; see `gaussian_moments`.
      targets: (batch, ..., k); (batch,) is taken as (batch, 1).

    Returns:
      (batch,).

    Raises:
      InputError: when the last axis of predictions is not even, or half of it is not the shape of the targets.

    >>> import jax.numpy as jnp
    >>> print(gaussian_nll(jnp.array([[3.0, 0.0], [3.0, 5.0]]), jnp.array([3.0, 3.0])))
    [0.73568285 1.7243286 ]
    """
    check_float("gaussian_nll", predictions, _FLOATING)
    # In float16 1 / 1e-6 alone would be infinite.
    mean, variance = gaussian_moments(widened(predictions))
    m, t = align("gaussian_nll", mean, targets)
    return 0.5 * _per_example(jnp.square(t - m) / variance + jnp.log(2 * np.pi * variance))


def _check_classes(where: str, predictions: Array) -> None:
    check_float(where, predictions, _FLOATING)
    if predictions.ndim < 2 or predictions.shape[-1] < 2:
        fail(
            where,
            expected="predictions of shape (batch, ..., classes) with at least 2 classes",
            got=describe(predictions),
            hint="For one output per example use binary_crossentropy.",
        )


def _log_probabilities(p: Array, from_logits: bool) -> Array:
    if from_logits:
        return log_softmax(p)
    total = jnp.sum(p, -1, keepdims=True)
    total = jnp.where(total == 0, jnp.ones_like(total), total)  # a row of zeros is clipped like any other zero
    return jnp.log(jnp.clip(p / total, _EPSILON, 1 - _EPSILON))


def _share(t: Array, values: Array) -> Array:
    """``t * values``, where no share of an infinite value is 0."""
    none = (t == 0) & jnp.isinf(values)
    # Both factors, so that neither derivative is 0 times infinity; at finite values they are those of the product.
    return jnp.where(none, jnp.zeros_like(t), t) * jnp.where(none, jnp.zeros_like(values), values)


LOSSES: dict[str, Loss] = {
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mae": mean_absolute_error,
    "mean_absolute_percentage_error": mean_absolute_percentage_error,
    "mape": mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": mean_squared_logarithmic_error,
    "msle": mean_squared_logarithmic_error,
    "huber": huber,
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "logistic": logistic,
    "gaussian_nll": gaussian_nll,
}


def get_loss(loss: str | Loss) -> Loss:
    """A loss by name; a function ``(predictions, targets) -> (batch,)`` is returned as it is.

    For options use `functools.partial`, e.g. ``partial(fnn.losses.huber, delta=2.0)``.

    Raises:
      InputError: for an unknown name, with the close matches.
    """
    return resolve("loss", loss, LOSSES)


def weighted_sum(values: Array, weights: Array | None = None, valid: Array | None = None) -> tuple[Array, Array]:
    """``(sum(w * v), count)``: the one place where values per example are weighted and counted.

    The mean is ``sum / count`` over the number of examples, not over the sum of the weights, as in Keras.

    Args:
      values: (batch,).
      weights: (batch,), default all 1. A row of weight 0 adds nothing even where its value is not finite, and its
        derivatives, that by the weight too, are 0.
      valid: (batch,) booleans; False leaves a row out of both sum and count, as for the padding of a batch.

    Returns:
      Two scalars in float32 at least.
    """
    if values.ndim != 1:
        fail("loss", expected="one value per example, of shape (batch,)", got=describe(values))
    if weights is not None and weights.shape != values.shape:
        fail("loss", expected=f"sample weights of shape {shape_text(values.shape)}", got=describe(weights))
    weighted = values = values.astype(at_least_float32(values.dtype))
    if weights is not None:
        # Both selections are needed: neither value nor derivative may be 0 times infinity.
        counts, zeros = weights != 0, jnp.zeros_like(values)
        weighted = jnp.where(counts, jnp.where(counts, values, zeros) * weights.astype(values.dtype), zeros)
    if valid is None:
        return jnp.sum(weighted), jnp.asarray(values.shape[0], values.dtype)
    return jnp.sum(jnp.where(valid, weighted, jnp.zeros_like(weighted))), jnp.sum(valid, dtype=values.dtype)


def mean_loss(loss: str | Loss, predictions: Any, targets: Any, sample_weight: Array | None = None) -> Array:
    """The mean loss of a batch, ``sum_i w_i l_i / batch``.

    Args:
      loss: a name or a function ``(predictions, targets) -> (batch,)``.
      predictions, targets: (batch, ...), as the loss takes them.
      sample_weight: (batch,), default all 1.

    Returns:
      A scalar in float32 at least.

    Raises:
      InputError: as the loss, and for sample weights of another shape.
    """
    predictions, targets = (jnp.asarray(as_array("mean_loss", a)) for a in (predictions, targets))
    if sample_weight is not None:
        sample_weight = jnp.asarray(as_array("mean_loss sample_weight", sample_weight))
    total, count = weighted_sum(get_loss(loss)(predictions, targets), sample_weight)
    return total / count


def class_weights(labels: Any, weights: Mapping[Any, float] | Sequence[float] | str | Any) -> Array:
    """Sample weights from class weights, to be passed as the third of ``(x, y, sample_weight)``.

    Args:
      labels: (batch,) or (batch, 1) class numbers, or (batch, classes) one-hot rows.
      weights: a weight per class, as a sequence by class number or a dict in which a missing class weighs 1 (or a
        pandas Series with the classes as its index); or
        "balanced" for ``examples / (classes * examples of the class)``, as in scikit-learn. Keys of a dict are whole
        numbers of any type, also True and False for labels of booleans.

    Returns:
      (batch,) float32.

    Raises:
      InputError: for labels that are no class numbers, rows of several labels, a class without a weight, keys that are
        no class numbers, or weights that are negative or not finite.

    >>> print(class_weights([0, 1, 1], {1: 3.0}))
    [1. 3. 3.]
    """
    where = "class_weights"
    classes, place, counts = np.unique(_class_labels(where, labels), return_inverse=True, return_counts=True)
    if isinstance(weights, str):
        if weights != "balanced":
            fail(where, expected="weights by class, or 'balanced'", got=repr(weights))
        weights = dict(zip(classes.tolist(), (counts.sum() / (len(classes) * counts)).tolist(), strict=True))
    items = getattr(weights, "items", None)
    if callable(items):  # a mapping, or a pandas Series, whose index holds the classes
        weights = dict(items())
    if isinstance(weights, Mapping):
        given = {_class_key(where, key): _class_weight(where, key, weight) for key, weight in weights.items()}
        table = [given.get(number, 1.0) for number in classes.tolist()]
    else:
        if np.ndim(weights) != 1:
            fail(where, expected="a weight for each class, a dict, or 'balanced'", got=repr(weights))
        listed = [_class_weight(where, i, weight) for i, weight in enumerate(weights)]
        if classes.size and classes[-1] >= len(listed):
            expected = f"a weight for each class; the labels reach {classes[-1]}"
            fail(where, expected=expected, got=f"{len(listed)} weights")
        table = [listed[number] for number in classes.tolist()]
    return jnp.asarray(np.asarray(table, np.float32)[place.reshape(-1)])


def _class_labels(where: str, labels: Any) -> np.ndarray:
    """Class numbers (batch,) from numbers or one-hot rows."""
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


def _class_key(where: str, key: Any) -> int:
    """A class number from a key of a dict: a whole number of any type."""
    number = isinstance(key, (int, float, np.number, np.bool_)) and np.isfinite(key) and int(key) == key
    if not number or key < 0:
        hint = f"Write {int(key)} without quotes." if isinstance(key, str) and key.strip().isdecimal() else ""
        fail(where, expected="class numbers of at least 0 as keys", got=repr(key), hint=hint)
    return int(key)


def _class_weight(where: str, key: Any, weight: Any) -> float:
    """A weight of one class: a finite number of at least 0."""
    if isinstance(weight, (str, bytes)) or weight is None or np.ndim(weight) or np.iscomplexobj(weight):
        fail(where, expected=f"a number as the weight of class {key}", got=repr(weight))
    value = float(weight)
    if not 0 <= value <= np.finfo(np.float32).max:
        fail(where, expected=f"a finite weight of at least 0 for class {key}", got=f"{value:g}")
    return value


def is_known(loss: Loss) -> bool:
    """Whether a loss is the library's own, in which each example counts by itself, as no other function promises."""
    return base(loss) in LOSSES.values()


def base(loss: Loss) -> Loss:
    """The function inside any `functools.partial`."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return loss


def expects(loss: Loss) -> str:
    """What a loss takes as predictions: "logits", "probabilities", or "values" (also for a loss of your own)."""
    keywords = loss.keywords if isinstance(loss, functools.partial) else {}  # partial flattens itself
    loss = base(loss)
    if loss is logistic:
        return "logits"
    if loss in (binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy):
        return "logits" if keywords.get("from_logits", True) else "probabilities"
    return "values"


def several_labels(loss: Loss) -> bool:
    """Whether several outputs of a model with this loss are yes/no labels, any number of which may be right."""
    return base(loss) in (binary_crossentropy, logistic)


def of_classes(loss: Loss) -> bool:
    """Whether the outputs of a model with this loss are classes, of which one is right."""
    return base(loss) in (categorical_crossentropy, sparse_categorical_crossentropy)


def check_targets(loss: Loss, predictions: Any, targets: Any) -> None:
    """Refuse targets that are invalid for a built-in loss; needs values, so the drivers call it.

    Args:
      loss: any loss; only built-in ones have something to check.
      predictions: an array or its `jax.ShapeDtypeStruct`.
      targets: a concrete array with at least one row.

    Raises:
      InputError: for classes outside [0, classes), rows that do not sum to 1 for categorical_crossentropy, or targets
        outside the loss's range.
    """
    loss = base(loss)
    name = getattr(loss, "__name__", "loss")
    if loss is sparse_categorical_crossentropy:
        low, high = _extremes(targets)
        classes = predictions.shape[-1]
        if low < 0 or high >= classes:
            got = f"labels from {low:g} to {high:g}"
            hint = "Number the classes from 0, or give the last layer more units."
            fail(name, expected=f"labels in [0, {classes}) for {classes} outputs", got=got, hint=hint)
    elif loss in (binary_crossentropy, categorical_crossentropy):
        low, high = _extremes(targets)
        if not (low >= 0 and high <= 1):
            hint = "Labels of -1 and +1 belong to the 'logistic' loss." if low == -1 and high == 1 else ""
            fail(name, expected="targets in [0, 1]", got=f"targets from {low:g} to {high:g}", hint=hint)
        if loss is categorical_crossentropy:
            check_distributions(name, np.asarray(targets))
    elif loss is logistic and not bool(np.isin(np.asarray(targets), (-1, 1)).all()):
        low, high = _extremes(targets)
        hint = "Use 2 * y - 1 for labels of 0 and 1."
        fail(name, expected="targets -1 or +1", got=f"targets from {low:g} to {high:g}", hint=hint)


def check_distributions(where: str, rows: np.ndarray) -> None:
    """Refuse rows (..., classes) that do not sum to 1, such as those of a class that there is not, all 0."""
    # Half precision rounds each of many probabilities.
    tolerance = 1e-3 if rows.dtype.kind in "biu" or jnp.finfo(rows.dtype).bits >= 32 else 0.02
    sums = rows.sum(-1, dtype=np.float64)
    good = (np.abs(sums - 1) <= tolerance) & (rows >= 0).all(-1)
    if not good.all():
        first = tuple(int(i) for i in np.argwhere(~good)[0])
        place = first[0] if len(first) == 1 else first
        got = f"{int((~good).sum())} others, the first at {place} with the sum {sums[first]:g}"
        hint = "For several yes/no labels use the loss 'binary_crossentropy'." if sums[first] > 1 else ""
        hint = hint or "A row of zeros is of no class: leave such rows out, or give them the sample weight 0."
        fail(where, expected="rows of probabilities or one-hot rows, which sum to 1", got=got, hint=hint)


def _extremes(x: Any) -> tuple[float, float]:
    x = np.asarray(x)
    return float(x.min()), float(x.max())
