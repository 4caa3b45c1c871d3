"""Layers without parameters that rearrange, pad, cut, enlarge or rescale their input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_float, check_inside, real_numbers
from .._core.described import described, in_words
from .._core.dtypes import at_least_float32, float_of_integers, is_float, lift
from .._core.errors import counted, describe, fail, shape_text
from .._core.types import Array, ArrayLike, Shape
from .layer import Layer, stateless
from .observe import moved
from .windows import Pairs, Sides, Size, check_sides, check_sizes, per_axis, sides_of, spatial_rank


def flatten(x: Array) -> Array:
    """Merge all axes after the batch into one: (batch, features).

    Args:
      x: (batch, ...).
    """
    if x.ndim == 0:
        fail("flatten", expected="x with a batch axis", got=describe(x))
    return moved(lambda x: x.reshape(x.shape[0], math.prod(x.shape[1:])), x)


@described
def Flatten(*, name: str = "flatten") -> Layer:
    """Merge all axes after the batch: (batch, ...) to (batch, features)."""
    return stateless(flatten, name, "Flatten")


def reshape(x: Array, target_shape: Shape) -> Array:
    """Reshape each example: (batch, *target_shape).

    Args:
      x: (batch, ...).
      target_shape: one entry may be -1; the sizes must fit.
    """
    if x.ndim == 0:
        fail("reshape", expected="x with a batch axis", got=describe(x))
    size, known = math.prod(x.shape[1:]), math.prod(n for n in target_shape if n != -1)
    unknown = target_shape.count(-1)
    if unknown > 1 or (size != known if unknown == 0 else known == 0 or size % known):
        fail("reshape", expected=f"x with {shape_text(('batch', *target_shape))} elements", got=describe(x))
    return moved(lambda x: x.reshape(x.shape[0], *target_shape), x)


@described
def Reshape(target_shape: int | Shape, *, name: str = "reshape") -> Layer:
    """Reshape each example, (batch, ...) to (batch, *target_shape); one entry may be -1, and the sizes must fit."""
    target = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
    return stateless(lambda x: reshape(x, target), name, "Reshape")


@described
def Permute(dims: Sequence[int], *, name: str = "permute") -> Layer:
    """Reorder the axes of each example.

    Args:
      dims: the axes in their new order, counted from 1, since 0 is the batch: ``(2, 1)`` swaps two axes.
      name: base name in `Sequential`.

    Shapes: (batch, a, b, ...) to the sizes in the new order. Errors for other than the numbers 1, 2, ... in any order,
    and for an ``x`` with more or fewer axes.

    >>> import jax.numpy as jnp
    >>> Permute((2, 1)).apply({}, {}, jnp.ones((5, 3, 4)))[0].shape
    (5, 4, 3)
    """
    if not isinstance(dims, (tuple, list)) or sorted(dims) != list(range(1, len(dims) + 1)):
        fail("Permute", expected="dims with the axes from 1 in any order, such as (2, 1)", got=in_words(dims))

    def permute(x: Array) -> Array:
        if x.ndim != len(dims) + 1:
            fail("permute", expected=f"x with {counted(len(dims), 'axis', 'axes')} after the batch", got=describe(x))
        return moved(lambda x: jnp.transpose(x, (0, *dims)), x, rows=dims[-1] == len(dims))

    return stateless(permute, name, "Permute")


@described
def RepeatVector(n: int, *, name: str = "repeat_vector") -> Layer:
    """Repeat each row n times: (batch, features) to (batch, n, features)."""
    check_count("RepeatVector", "n", n)

    def repeat(x: Array) -> Array:
        if x.ndim != 2:
            fail("repeat_vector", expected="x of shape (batch, features)", got=describe(x))
        return jnp.repeat(x[:, None], n, axis=1)

    return stateless(repeat, name, "RepeatVector")


@described
def ZeroPadding(padding: Sides = 1, *, name: str = "zero_padding") -> Layer:
    """Zeros around each image or sequence.

    Args:
      padding: the number of zeros: one integer for both sides of every spatial axis, or one integer or ``(low, high)``
        pair for each axis; default 1. For sequences, two integers are the numbers before and after, as in Keras.
      name: base name in `Sequential`.

    Shapes: (batch, *spatial, channels) to (batch, *enlarged, channels), with 1 to 3 spatial axes.

    >>> import jax.numpy as jnp
    >>> ZeroPadding(((1, 2), (0, 3))).apply({}, {}, jnp.ones((5, 8, 8, 3)))[0].shape
    (5, 11, 11, 3)
    """
    check_sides("ZeroPadding", "padding", padding)

    def pad(x: Array) -> Array:
        sides = _sides("zero_padding", "padding", padding, x)
        return jnp.pad(x, ((0, 0), *sides, (0, 0)))

    return stateless(pad, name, "ZeroPadding")


@described
def Cropping(cropping: Sides, *, name: str = "cropping") -> Layer:
    """Each image or sequence without its edges; the opposite of `ZeroPadding`.

    Args:
      cropping: the number of elements to cut, given as the ``padding`` of `ZeroPadding`.
      name: base name in `Sequential`.

    Shapes: (batch, *spatial, channels) to (batch, *inner, channels). At least one element must be left on each axis.

    >>> import jax.numpy as jnp
    >>> Cropping(((1, 2), (0, 3))).apply({}, {}, jnp.ones((5, 8, 8, 3)))[0].shape
    (5, 5, 5, 3)
    """
    check_sides("Cropping", "cropping", cropping)

    def crop(x: Array) -> Array:
        sides = _sides("cropping", "cropping", cropping, x)
        for axis, (n, (low, high)) in enumerate(zip(x.shape[1:-1], sides, strict=True)):
            if low + high >= n:
                expected = f"more than {low + high} elements on spatial axis {axis}, of which {low} and {high} are cut"
                fail("cropping", expected=expected, got=f"{n}")
        inner = (slice(None), *(slice(low, n - high) for n, (low, high) in zip(x.shape[1:-1], sides, strict=True)))
        return moved(lambda x: x[inner], x)

    return stateless(crop, name, "Cropping")


def _sides(where: str, name: str, value: Sides, x: Array) -> Pairs:
    """The (low, high) pair of each spatial axis; for sequences, two integers are the pair, as in Keras."""
    rank = spatial_rank(where, x)
    if rank == 1 and isinstance(value, Sequence) and len(value) == 2:
        low, high = value
        if not isinstance(low, Sequence) and not isinstance(high, Sequence):
            value = [(low, high)]
    return sides_of(where, name, value, rank)


_RESIZE = {"bilinear": "linear", "bicubic": "cubic", "lanczos3": "lanczos3", "lanczos5": "lanczos5"}


@described
def UpSampling(size: Size = 2, interpolation: str = "nearest", *, name: str = "up_sampling") -> Layer:
    """Enlarge each image or sequence by whole factors.

    Args:
      size: the factor, one integer for every spatial axis or one for each; default 2.
      interpolation: "nearest" (the default), which repeats each element, "bilinear", "bicubic", "lanczos3" or
        "lanczos5", all of them with the centres of the outer elements inside the edges, as in `jax.image.resize`.
      name: base name in `Sequential`.

    Shapes: (batch, *spatial, channels) to (batch, *enlarged, channels), with 1 to 3 spatial axes.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 3.0]).reshape(1, 2, 1)
    >>> print(UpSampling().apply({}, {}, x)[0].ravel(), UpSampling(2, "bilinear").apply({}, {}, x)[0].ravel())
    [1. 1. 3. 3.] [1.  1.5 2.5 3. ]
    """
    check_sizes("UpSampling", size=size)
    if interpolation not in ("nearest", *_RESIZE):
        known = ", ".join(("nearest", *_RESIZE))
        fail("UpSampling", expected=f"interpolation to be one of {known}", got=repr(interpolation))

    def enlarge(x: Array) -> Array:
        factors = per_axis("up_sampling", "size", size, spatial_rank("up_sampling", x))
        if interpolation == "nearest":
            for axis, factor in enumerate(factors, start=1):
                x = jnp.repeat(x, factor, axis=axis)
            return x
        check_float("up_sampling", x)
        shape = (x.shape[0], *(n * f for n, f in zip(x.shape[1:-1], factors, strict=True)), x.shape[-1])
        y: Array = jax.image.resize(x.astype(at_least_float32(x.dtype)), shape, _RESIZE[interpolation])
        return y.astype(x.dtype)

    return stateless(enlarge, name, "UpSampling")


@described
def Rescaling(scale: ArrayLike, offset: ArrayLike = 0.0, *, name: str = "rescaling") -> Layer:
    """Rescale the input, ``y = scale * x + offset``; integers become float32, or a task's ``compute_dtype``.

    Args:
      scale, offset: a number, or one for each channel. ``Rescaling(1 / 255)`` takes bytes to [0, 1], and
        ``Rescaling(1 / 127.5, offset=-1)`` to [-1, 1].
      name: base name in `Sequential`.

    Shapes: (..., channels), unchanged. For a `Masked`, the mask is passed on.

    >>> import jax.numpy as jnp
    >>> print(Rescaling(1 / 127.5, offset=-1).apply({}, {}, jnp.array([[0, 255]], jnp.uint8))[0])
    [[-1.  1.]]
    """
    for argument, value in (("scale", scale), ("offset", offset)):
        numbers = real_numbers("Rescaling", argument, value)
        if numbers is not None:
            check_inside("Rescaling", argument, numbers, -np.inf, np.inf, open_low=False)

    def rescale(x: Array) -> Array:
        dtype = x.dtype if is_float(x) else float_of_integers()
        wide = at_least_float32(dtype)
        a, b = jnp.asarray(scale, wide), jnp.asarray(offset, wide)
        if any(v.shape not in ((), (1,), x.shape[-1:]) for v in (a, b)):
            expected = f"x with as many channels as scale {describe(a)} and offset {describe(b)}"
            fail("rescaling", expected=expected, got=describe(x))
        wide_x = x.astype(wide)
        return (lift(a, wide_x) * wide_x + lift(b, wide_x)).astype(dtype)

    return stateless(rescale, name, "Rescaling", mask="keep")
