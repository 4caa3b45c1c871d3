"""Shared by all losses: their type, and targets in the shape and dtype of the predictions."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, cast

import jax
import jax.numpy as jnp

from .._core.checks import check_float
from .._core.described import written
from .._core.dtypes import widened
from .._core.errors import counted, describe, fail
from .._core.trees import resized, shape_of
from .._core.types import Array, ArraySpec, PyTree, Shape

Loss = Callable[[PyTree, PyTree], Array]
FLOATING_HINT = "Losses and metrics take the model's floating-point outputs as predictions; predictions come first."
EPSILON = 1e-7  # Keras's backend epsilon, for losses that divide by data or take their logarithm


P = ParamSpec("P")


def taking_pairs(fn: Callable[P, Array]) -> Callable[P, Array]:
    """Say in the `TypeError` of a call with options alone, such as Keras's ``Huber(delta=2.0)``, what to write."""

    @functools.wraps(fn)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Array:
        if not args and not kwargs.keys() & {"predictions", "targets"}:
            options = "".join(f", {name}={written(value)}" for name, value in kwargs.items())
            name = f"fnn.losses.{fn.__name__}"
            write = f"functools.partial({name}{options})" if options else f"{name}, without parentheses,"
            text = f"{fn.__name__}(): expected predictions and targets, got none. Write {write} for the loss of a task."
            raise TypeError(text)
        return fn(*args, **kwargs)

    return checked


_TARGETS = {"y_true", "true", "target", "targets", "label", "labels", "truth"}


def check_order(where: str, fn: object) -> None:
    """Refuse a function that takes the targets first, as Keras's and PyTorch's modules."""
    hint = "Write lambda predictions, targets: loss(targets, predictions), or a name such as 'mse'."
    if type(fn).__module__.partition(".")[0] == "torch":
        fail(
            where, expected="a function of JAX arrays", got=f"PyTorch's {type(fn).__name__}", hint="Use a name: 'mse'."
        )
    first = ""
    with contextlib.suppress(TypeError, ValueError):  # written in C
        first = next(iter(inspect.signature(cast(Loss, fn)).parameters), "")
    if first in _TARGETS:
        fail(where, expected="a function (predictions, targets)", got=f"one that takes {first!r} first", hint=hint)


def mean_per_example(values: Array) -> Array:
    """The mean over all axes after the batch."""
    return jnp.mean(values, tuple(range(1, values.ndim)))


def per_example_hint(values: ArraySpec) -> str:
    """What to write in a function whose values are not one per example."""
    if len(values.shape) > 1:
        return "Take the mean over the other axes, such as values.mean(-1)."
    return "" if values.shape else "Leave out the mean or sum over the examples; jnp.mean(values, -1) keeps them."


def check_rows_apart(where: str, fn: Loss, predictions: PyTree, targets: PyTree) -> None:
    """Refuse a custom function that compares every row with every other: ``p - t`` of shapes (n, 1) and (n,) is (n, n).

    Such a function also takes targets of another length, and fails where arrays of two ranks do not broadcast.
    """
    shapes = [tuple(getattr(a, "shape", ())) for a in (predictions, targets)]
    if shapes[0] != (*shapes[1], 1) and shapes[1] != (*shapes[0], 1):
        return
    p, t = shape_of((predictions, targets))
    if not _traces(fn, p, resized(t, t.shape[0] + 1)):
        return
    with jax.numpy_rank_promotion("raise"):
        apart = _traces(fn, p, t)
    if not apart:
        got = f"predictions {describe(p)} and targets {describe(t)}, which it broadcasts against each other"
        hint = "Give the targets the predictions' shape, e.g. y[:, None], or write predictions[:, 0] in the function."
        fail(where, expected="a function that compares each prediction with its target", got=got, hint=hint)


def _traces(fn: Loss, *args: jax.ShapeDtypeStruct) -> bool:
    try:
        jax.eval_shape(fn, *args)
    except Exception:  # whatever a user's function raises
        return False
    return True


def align(where: str, predictions: Array, targets: Array) -> tuple[Array, Array]:
    """Predictions and targets in the shape and dtype of the predictions, float32 at least.

    Only a last axis of size 1 may be missing or extra, as in (batch,) for (batch, 1); broadcasting any other difference
    would silently compare every row with every other.
    """
    check_float(where, predictions, FLOATING_HINT)
    if predictions.ndim == targets.ndim + 1 and predictions.shape[-1] == 1:
        targets = targets[..., None]
    elif targets.ndim == predictions.ndim + 1 and targets.shape[-1] == 1:
        targets = targets[..., 0]
    if predictions.shape != targets.shape or predictions.ndim == 0:
        got = f"predictions {describe(predictions)} and targets {describe(targets)}"
        hint = _shapes_hint(where, predictions.shape, targets.shape)
        fail(where, expected="targets of the predictions' shape (batch, ...)", got=got, hint=hint)
    predictions = widened(predictions)
    return predictions, targets.astype(predictions.dtype)


def _shapes_hint(where: str, predictions: Shape, targets: Shape) -> str:
    """What to write for targets that differ from the predictions along the last axis alone."""
    lead, of_classes = predictions[:-1], where.startswith("categorical")
    if predictions and (targets == lead or (targets == (*lead, 1) and of_classes)):
        loss = f"the loss 'sparse_{where if of_classes else 'categorical_crossentropy'}'"
        return f"For class numbers use {loss}, or write fnn.one_hot(y, {predictions[-1]})."
    if len(predictions) > 1 and lead == targets[:-1]:
        return f"Give the last layer {counted(targets[-1], 'unit')}."
    return ""
