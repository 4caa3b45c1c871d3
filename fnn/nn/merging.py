"""Layers over several inputs: sums, products, and so on, and concatenation.

They take a tuple or list of arrays; in the forward of a `Model`, ``layers.add(a, b)`` passes ``(a, b)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from .._core.described import described, in_words
from .._core.errors import counted, describe, fail
from .._core.types import Array, PyTree
from .layer import Layer, stateless
from .masks import KEEPING_HINT, Masked, sequence_of


def _parts(kind: str, inputs: PyTree) -> tuple[list[Array], list[Array]]:
    """The arrays of several inputs, and their masks: one for each array, or none."""
    if not isinstance(inputs, (tuple, list)) or not inputs:
        got = describe(inputs) if hasattr(inputs, "dtype") else in_words(inputs)
        hint = "In the forward of an fnn.Model write layers.name(a, b)."
        fail(kind, expected="a tuple or list of arrays", got=got, hint=hint)
    values, masks = zip(*(sequence_of(f"{kind}, input {i}", x) for i, x in enumerate(inputs)), strict=True)
    if any(x.dtype != values[0].dtype or x.ndim == 0 or x.shape[0] != values[0].shape[0] for x in values):
        _refuse_shapes(kind, "arrays of one dtype and one batch size", values)
    if any(mask is None for mask in masks) and any(mask is not None for mask in masks):
        got = ", ".join(repr(x) if isinstance(x, Masked) else describe(x) for x in inputs)
        fail(kind, expected="a mask with every input, or with none", got=got, hint=KEEPING_HINT)
    return list(values), [mask for mask in masks if mask is not None]


def _refuse_shapes(kind: str, expected: str, values: Sequence[Array]) -> None:
    fail(kind, expected=expected, got=", ".join(map(describe, values)))


def _elementwise(kind: str, name: str, combine: Callable[[list[Array]], Array], count: int | None = None) -> Layer:
    """Make a layer of a function of arrays of one shape, up to axes of size 1."""

    def merge(inputs: PyTree) -> PyTree:
        values, masks = _parts(kind, inputs)
        if count is not None and len(values) != count:
            fail(kind, expected=counted(count, "input"), got=f"{len(values)}")
        rank = max(x.ndim for x in values)
        # As in Keras, axes are missing directly after the batch: (batch, features) meets (batch, time, features).
        values = [x.reshape(x.shape[:1] + (1,) * (rank - x.ndim) + x.shape[1:]) for x in values]
        if any(len({n for n in sizes if n != 1}) > 1 for sizes in zip(*(x.shape for x in values), strict=True)):
            _refuse_shapes(kind, "arrays of one shape, or of size 1 along some axes", values)
        y = combine(values)
        return Masked(y, functools.reduce(jnp.logical_or, masks)) if masks else y

    return stateless(merge, name, kind, mask="read")


@described
def Add(*, name: str = "add") -> Layer:
    """The sum of several inputs, ``a + b + ...``.

    Takes a tuple or list of arrays (batch, ...) of one dtype and one shape; axes of size 1 are repeated, and axes that
    an input lacks are added after its batch axis, as in Keras. Of `Masked` inputs, a step counts where any mask keeps
    it, as in Keras. (`Residual` keeps the steps that both masks keep.)

    Raises:
      InputError: when applied to one array, to shapes or dtypes that do not fit, or to masks with some inputs only.

    >>> import jax.numpy as jnp
    >>> print(Add().apply({}, {}, (jnp.array([[1.0, 2.0]]), jnp.array([[10.0, 20.0]])))[0])
    [[11. 22.]]
    """
    return _elementwise("Add", name, functools.partial(functools.reduce, jnp.add))


@described
def Subtract(*, name: str = "subtract") -> Layer:
    """The difference of two inputs, ``a - b``. Shapes, masks and errors as in `Add`."""
    return _elementwise("Subtract", name, functools.partial(functools.reduce, jnp.subtract), count=2)


@described
def Multiply(*, name: str = "multiply") -> Layer:
    """The product of several inputs, ``a * b * ...``. Shapes, masks and errors as in `Add`."""
    return _elementwise("Multiply", name, functools.partial(functools.reduce, jnp.multiply))


@described
def Average(*, name: str = "average") -> Layer:
    """The mean of several inputs. Shapes, masks and errors as in `Add`."""
    return _elementwise("Average", name, lambda values: functools.reduce(jnp.add, values) / len(values))


@described
def Maximum(*, name: str = "maximum") -> Layer:
    """The largest of several inputs, element by element. Shapes, masks and errors as in `Add`."""
    return _elementwise("Maximum", name, functools.partial(functools.reduce, jnp.maximum))


@described
def Minimum(*, name: str = "minimum") -> Layer:
    """The smallest of several inputs, element by element. Shapes, masks and errors as in `Add`."""
    return _elementwise("Minimum", name, functools.partial(functools.reduce, jnp.minimum))


@described
def Concatenate(axis: int = -1, *, name: str = "concatenate") -> Layer:
    """Several inputs one after the other along an axis.

    Takes a tuple or list of arrays (batch, ...) of one dtype, which differ along this axis alone. Masks of `Masked`
    inputs are concatenated along the steps; along another axis, a step counts where any mask keeps it, as in Keras.
    Errors as in `Add`.

    Args:
      axis: default the last one; not 0, the batch.
      name: base name in `Sequential`.

    >>> import jax.numpy as jnp
    >>> print(Concatenate().apply({}, {}, (jnp.array([[1.0, 2.0]]), jnp.array([[3.0]])))[0])
    [[1. 2. 3.]]
    """
    if axis == 0 or isinstance(axis, bool) or not hasattr(axis, "__index__"):
        fail("Concatenate", expected="axis to be an integer other than 0, the batch", got=in_words(axis))

    def merge(inputs: PyTree) -> PyTree:
        values, masks = _parts("Concatenate", inputs)
        rank = values[0].ndim
        along = axis + rank if axis < 0 else axis
        rests = {x.shape[:along] + x.shape[along + 1 :] for x in values}
        if not 0 < along < rank or any(x.ndim != rank for x in values) or len(rests) > 1:
            _refuse_shapes("Concatenate", f"arrays that differ along axis {axis} alone", values)
        y = jnp.concatenate(values, axis=along)
        if not masks:
            return y
        if along < masks[0].ndim:
            return Masked(y, jnp.concatenate(masks, axis=along))
        return Masked(y, functools.reduce(jnp.logical_or, masks))

    return stateless(merge, name, "Concatenate", mask="read")
