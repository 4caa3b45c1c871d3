"""Pooling over one, two or three spatial axes: the maximum or mean of each window, or of the whole image.

A window is a product of windows along each axis, and so is its maximum or sum. Pooling therefore runs along one axis
after the other as elementwise operations on shifted slices, which XLA fuses and differentiates well. It avoids
`reduce_window`, whose gradient (select-and-scatter) is slow on CPU and GPU. A TPU has units for both, and there slices
along an axis of the image move all its elements: the maximum is taken by `reduce_window` (in a step of a CNN on a v5e,
``benchmarks/accelerators.py cnn``, 383 thousand cycles in place of 553).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
from jax import lax

from .._core.checks import check_float
from .._core.described import described
from .._core.dtypes import at_least_float32
from .._core.errors import describe, fail
from .._core.flags import flagged
from .._core.types import Array, PyTree, Shape
from .layer import Layer, stateless
from .masks import SEQUENCE_HINT, kept, sequence_of
from .windows import Padding, Pairs, Size, check_padding, check_sizes, pads, per_axis, spatial_rank


def max_pool(x: Array, pool_size: Size = 2, strides: Size | None = None, padding: Padding = "valid") -> Array:
    """The maximum of each window, ``y[o] = max_i x[o s + i - low]``.

    Tie rule: the first of several equal maxima in the window, in row-major order, gets the whole gradient (as in Keras
    and PyTorch). A NaN in the window makes the maximum NaN. Padding never wins, unless all elements of the window are
    -infinity. Derivatives exist in forward and reverse mode; those of second order are zero.

    Args:
      x: (batch, *spatial, channels) of a floating-point dtype, with 1 to 3 spatial axes.
      pool_size: size of the window, one integer for every spatial axis or one for each; default 2.
      strides: step of the window; default the window's size.
      padding: "valid" (the default), "same", an integer, or an integer or ``(low, high)`` pair for each axis.

    Returns:
      (batch, *positions, channels), with ``(size + low + high - k) // s + 1`` positions on an axis.

    Raises:
      InputError: for another rank or dtype, sizes below 1, an unknown padding, or a window beyond the padded input or
        within its padding.

    >>> import jax.numpy as jnp
    >>> print(max_pool(jnp.array([1.0, 3.0, 2.0, 5.0]).reshape(1, 4, 1))[0, :, 0])
    [3. 5.]
    """
    window, steps, pairs = _windows("max_pool", x, pool_size, strides, padding)
    by_window, by_slices = (functools.partial(f, window, steps, pairs) for f in (_max_by_window, _max_by_slices))
    out: Array = lax.platform_dependent(x, tpu=by_window, default=by_slices)
    return out


def avg_pool(x: Array, pool_size: Size = 2, strides: Size | None = None, padding: Padding = "valid") -> Array:
    """The mean of each window without its padding, as in Keras: ``y[o] = mean_i x[o s + i - low]``.

    Arguments, result and errors as in `max_pool`.

    >>> import jax.numpy as jnp
    >>> print(avg_pool(jnp.array([1.0, 3.0, 5.0]).reshape(1, 3, 1), padding="same")[0, :, 0])
    [2. 5.]
    """
    window, steps, pairs = _windows("avg_pool", x, pool_size, strides, padding)
    dtype = x.dtype
    # Half precision is summed in float32, so that large windows do not lose small numbers.
    x = x.astype(at_least_float32(dtype))
    for axis in reversed(range(len(window))):
        (low, high), n, k, s = pairs[axis], x.shape[axis + 1], window[axis], steps[axis]
        start = np.arange((n + low + high - k) // s + 1) * s - low
        counted = np.minimum(start + k, n) - np.maximum(start, 0)
        if (k, s, (low, high)) != (1, 1, (0, 0)):
            total = functools.reduce(jnp.add, _taps(x, axis + 1, k, s, (low, high), 0.0))
            share = (1.0 / counted).reshape(*(1,) * (axis + 1), -1, *(1,) * (x.ndim - axis - 2))
            # If no window is cut by padding, one scalar does, and multiplying by a scalar fuses better.
            x = total * jnp.asarray(share if (counted != k).any() else 1.0 / k, x.dtype)
    return x.astype(dtype)


@flagged
def global_max_pool(x: Array, keepdims: bool = False, *, mask: Array | None = None) -> Array:
    """The maximum of each channel over all spatial axes; NaN propagates.

    Tie rule: equal maxima share the gradient equally (a whole image has no natural first element).

    Args:
      x: (batch, *spatial, channels) of a floating-point dtype, with 1 to 3 spatial axes.
      keepdims: keep the spatial axes, with size 1; default False.
      mask: (batch, *spatial) booleans, True where an element counts, by default all; an example without any gives 0.

    Returns:
      (batch, channels), or (batch, 1, ..., channels) with ``keepdims``.

    Raises:
      InputError: for an ``x`` of another rank or dtype, or without elements.

    >>> import jax.numpy as jnp
    >>> print(global_max_pool(jnp.array([1.0, 3.0, 2.0]).reshape(1, 3, 1)))
    [[3.]]
    """
    axes = _spatial_axes("global_max_pool", x, mask)
    if mask is None:
        return jnp.max(x, axis=axes, keepdims=keepdims)
    y = jnp.max(jnp.where(mask[..., None], x, jnp.full_like(x, -jnp.inf)), axis=axes, keepdims=keepdims)
    some = jnp.any(mask, axis=axes, keepdims=keepdims)[..., None]
    return jnp.where(some, y, jnp.zeros_like(y))


@flagged
def global_avg_pool(x: Array, keepdims: bool = False, *, mask: Array | None = None) -> Array:
    """The mean of each channel over all spatial axes (Lin et al. 2013, arXiv:1312.4400).

    Arguments, result and errors as in `global_max_pool`.

    >>> import jax.numpy as jnp
    >>> print(global_avg_pool(jnp.array([1.0, 3.0, 2.0]).reshape(1, 3, 1)))
    [[2.]]
    """
    axes = _spatial_axes("global_avg_pool", x, mask)
    if mask is None:
        return jnp.mean(x, axis=axes, keepdims=keepdims)
    wide = at_least_float32(x.dtype)
    count = jnp.sum(mask, axis=axes, keepdims=keepdims, dtype=wide)[..., None]
    total = jnp.sum(kept(mask, x), axis=axes, keepdims=keepdims, dtype=wide)
    return (total / jnp.maximum(count, jnp.ones_like(count))).astype(x.dtype)


def _windows(
    where: str, x: Array, pool_size: Size, strides: Size | None, padding: Padding
) -> tuple[Shape, Shape, Pairs]:
    """Window, strides and padding for each spatial axis of ``x``, after all checks."""
    rank = spatial_rank(where, x, "Add Reshape((h, w, c)) before it." if x.ndim == 2 else "")
    check_float(where, x)
    window = per_axis(where, "pool_size", pool_size, rank)
    steps = window if strides is None else per_axis(where, "strides", strides, rank)
    padding = check_padding(where, padding)
    pairs = pads(where, padding, x.shape[1:-1], window, steps, (1,) * rank)
    for axis, (n, k, s, (low, high)) in enumerate(zip(x.shape[1:-1], window, steps, pairs, strict=True)):
        last = (n + low + high - k) // s * s - low
        if low >= k or last >= n:
            expected = f"every window to cover an element of x, hence padding below {k} on spatial axis {axis}"
            fail(where, expected=expected, got=f"padding {low} and {high}")
    return window, steps, pairs


def _taps(x: Array, axis: int, window: int, stride: int, padding: tuple[int, int], fill: float) -> Iterator[Array]:
    """For each element of the window along one axis, the elements of ``x`` that it reads at all positions."""
    low, high = padding
    positions = (x.shape[axis] + low + high - window) // stride + 1
    if low or high:
        config = [(0, 0, 0)] * x.ndim
        config[axis] = (low, high, 0)
        x = lax.pad(x, jnp.asarray(fill, x.dtype), config)
    if window == stride:
        # Windows side by side: a separate axis for the window keeps the slices, and their gradient, contiguous.
        x = lax.slice_in_dim(x, 0, positions * window, axis=axis)
        x = x.reshape(*x.shape[:axis], positions, window, *x.shape[axis + 1 :])
        for i in range(window):
            yield lax.index_in_dim(x, i, axis + 1, keepdims=False)
    else:
        for i in range(window):
            yield lax.slice_in_dim(x, i, i + (positions - 1) * stride + 1, stride, axis)


def _max_by_window(window: Shape, steps: Shape, pairs: Pairs, x: Array) -> Array:
    lowest = np.asarray(-np.inf, x.dtype)
    # Its gradient goes to the first maximum too: select-and-scatter keeps an element until another is larger.
    out: Array = lax.reduce_window(x, lowest, lax.max, (1, *window, 1), (1, *steps, 1), ((0, 0), *pairs, (0, 0)))
    return out


def _max_by_slices(window: Shape, steps: Shape, pairs: Pairs, x: Array) -> Array:
    # The last axis first: then the first maximum along each axis is the first in row-major order.
    for axis in reversed(range(len(window))):
        if (window[axis], steps[axis], pairs[axis]) != (1, 1, (0, 0)):
            taps = _taps(x, axis + 1, window[axis], steps[axis], pairs[axis], -np.inf)
            x = functools.reduce(_larger, taps)
    return x


def _larger(best: Array, other: Array) -> Array:
    # Only a larger element wins, so that the first maximum gets the gradient; or NaN, which differs from itself.
    return jnp.where((other > best) | (other != other), other, best)


def _spatial_axes(where: str, x: Array, mask: Array | None) -> Shape:
    rank = spatial_rank(where, x, f"It pools over the spatial axes. {SEQUENCE_HINT}")
    check_float(where, x)
    shape = x.shape[:-1]
    if math.prod(shape[1:]) == 0:
        fail(where, expected="at least one element on every spatial axis", got=describe(x))
    if mask is not None and (mask.shape != shape or mask.dtype != jnp.bool_):
        fail(where, expected=f"a boolean mask of shape (batch, *spatial) = {shape}", got=describe(mask))
    return tuple(range(1, rank + 1))


def _pool_layer(
    fn: Callable[..., Array], kind: str, name: str, pool_size: Size, strides: Size | None, padding: Padding
) -> Layer:
    check_sizes(kind, pool_size=pool_size, strides=pool_size if strides is None else strides)
    check_padding(kind, padding)
    return stateless(lambda x: fn(x, pool_size, strides, padding), name, kind)


@described
def MaxPool(
    pool_size: Size = 2, strides: Size | None = None, padding: Padding = "valid", *, name: str = "max_pool"
) -> Layer:
    """The maximum of each window; see `max_pool` for the tie rule.

    Arguments and errors as in `max_pool`; ``name`` is the base name in `Sequential`.

    Shapes: (batch, *spatial, channels) to (batch, *positions, channels).

    >>> import jax, jax.numpy as jnp
    >>> MaxPool().apply({}, {}, jnp.ones((1, 28, 28, 3)))[0].shape
    (1, 14, 14, 3)
    """
    return _pool_layer(max_pool, "MaxPool", name, pool_size, strides, padding)


@described
def AvgPool(
    pool_size: Size = 2, strides: Size | None = None, padding: Padding = "valid", *, name: str = "avg_pool"
) -> Layer:
    """The mean of each window without its padding; see `avg_pool`. Arguments, shapes and errors as in `MaxPool`."""
    return _pool_layer(avg_pool, "AvgPool", name, pool_size, strides, padding)


def _global_pool(fn: Callable[..., Array], kind: str, name: str, keepdims: bool) -> Layer:
    def pool(x: PyTree) -> Array:
        values, mask = sequence_of(kind, x)
        return fn(values, keepdims, mask=mask)

    return stateless(pool, name, kind, mask="read")


@described
def GlobalMaxPool(keepdims: bool = False, *, name: str = "global_max_pool") -> Layer:
    """The maximum of each channel, (batch, *spatial, channels) to (batch, channels); see `global_max_pool`.

    For a `Masked`, only the steps that the mask keeps count.
    """
    return _global_pool(global_max_pool, "GlobalMaxPool", name, keepdims)


@described
def GlobalAvgPool(keepdims: bool = False, *, name: str = "global_avg_pool") -> Layer:
    """The mean of each channel; see `global_avg_pool`. Shapes and masks as in `GlobalMaxPool`, and in Keras."""
    return _global_pool(global_avg_pool, "GlobalAvgPool", name, keepdims)
