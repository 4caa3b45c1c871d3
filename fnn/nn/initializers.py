"""Initializers: functions of ``(key, shape, dtype)`` that return an array (*shape,), known by name or your own.

Fans are Keras's: for a kernel ``(*window, in, out)``, ``fan_in = prod(window) * in`` and
``fan_out = prod(window) * out``. Numbers are drawn in float32 at least and rounded to the dtype last. Parameters of
initializers outside the ranges given raise `InputError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np

from .._core.checks import check_accepts, check_range, is_concrete, real_numbers, resolve
from .._core.described import DescribedFunction, described
from .._core.dtypes import at_least_float32
from .._core.errors import fail, shape_text
from .._core.random import standard_normal, symmetric_uniform, truncated_normal, uniform_between
from .._core.trees import filled
from .._core.typed import jit
from .._core.types import Array, DType, Key, Scalar, Shape

__all__ = [
    "INITIALIZERS", "Initializer", "constant", "fans", "get_initializer", "glorot_normal", "glorot_uniform",
    "he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "normal", "ones", "orthogonal", "uniform", "zeros",
]  # fmt: skip

Initializer = Callable[..., Array]
Initializers = Sequence[str | Initializer]


def zeros(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """All zeros."""
    return filled(key, 0, shape, dtype)


def ones(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """All ones."""
    return filled(key, 1, shape, dtype)


@described
def constant(value: Scalar | np.ndarray) -> Initializer:
    """An initializer that fills with ``value``, a number or an array that broadcasts to the shape, without NaN."""
    numbers = real_numbers("constant", "value", value)
    if numbers is not None and np.isnan(numbers).any():
        fail("constant", expected="a value without NaN", got=repr(value))

    def init(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
        return jnp.broadcast_to(jnp.asarray(value, dtype), shape)

    return DescribedFunction(init)


@described
def uniform(minval: Scalar = -0.05, maxval: Scalar = 0.05) -> Initializer:
    """An initializer that draws uniformly from ``[minval, maxval)``: finite bounds, in this order; Keras's defaults."""
    check_range("uniform", "minval", minval)
    check_range("uniform", "maxval", maxval)
    if is_concrete(minval) and is_concrete(maxval) and maxval < minval:
        fail("uniform", expected="maxval of at least minval", got=f"minval={minval}, maxval={maxval}")

    def init(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
        low, high = (jnp.asarray(bound, at_least_float32(dtype)) for bound in (minval, maxval))
        return _uniform(key, low, high, tuple(shape), dtype)

    return DescribedFunction(init)


@described
def normal(mean: Scalar = 0.0, stddev: Scalar = 0.05) -> Initializer:
    """An initializer that draws from a normal distribution: finite numbers, ``stddev`` at least 0; Keras's defaults."""
    check_range("normal", "mean", mean)
    check_range("normal", "stddev", stddev, 0)

    def init(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
        center, width = (jnp.asarray(value, at_least_float32(dtype)) for value in (mean, stddev))
        return _normal(key, center, width, tuple(shape), dtype)

    return DescribedFunction(init)


# Compiled for each shape, so that equal shapes share a program, in one model and across models.
@jit(static_argnums=(3, 4))
def _uniform(key: Key, low: Array, high: Array, shape: Shape, dtype: DType) -> Array:
    drawn = uniform_between(key, 0, 1, shape, at_least_float32(dtype))
    return (low + (high - low) * drawn).astype(dtype)


@jit(static_argnums=(3, 4))
def _normal(key: Key, mean: Array, stddev: Array, shape: Shape, dtype: DType) -> Array:
    drawn = standard_normal(key, shape, at_least_float32(dtype))
    return (mean + stddev * drawn).astype(dtype)


def fans(shape: Shape) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of a kernel ``(*window, in, out)``; both are the length for a vector and 1 for a scalar.

    >>> fans((3, 3, 16, 32))
    (144, 288)
    """
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


Mode = Literal["in", "avg"]


def _fan(shape: Shape, mode: Mode) -> float:
    fan_in, fan_out = fans(shape)
    return max(1.0, {"in": fan_in, "avg": (fan_in + fan_out) / 2}[mode])


def _scaled_uniform(key: Key, shape: Shape, dtype: DType, scale: float, mode: Mode) -> Array:
    """Uniform numbers of variance ``scale / fan``."""
    return symmetric_uniform(key, math.sqrt(3.0 * scale / _fan(shape, mode)), shape, dtype)


@jit(static_argnums=(1, 2, 3, 4))
def _scaled_normal(key: Key, shape: Shape, dtype: DType, scale: float, mode: Mode) -> Array:
    """Truncated normal numbers of variance ``scale / fan``."""
    work = at_least_float32(dtype)
    # 0.87962566 is the standard deviation of a standard normal truncated to [-2, 2].
    stddev = math.sqrt(scale / _fan(shape, mode)) / 0.87962566103423978
    drawn = truncated_normal(key, 2.0, shape, work)
    return (jnp.asarray(stddev, work) * drawn).astype(dtype)


def glorot_uniform(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """Uniform on ``+-sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio 2010); the default for kernels."""
    return _scaled_uniform(key, tuple(shape), dtype, 1.0, "avg")


def glorot_normal(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """Normal, truncated at two deviations, of variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio 2010)."""
    return _scaled_normal(key, tuple(shape), dtype, 1.0, "avg")


def he_uniform(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """Uniform on ``+-sqrt(6 / fan_in)`` (He et al. 2015, arXiv:1502.01852); suits relu."""
    return _scaled_uniform(key, tuple(shape), dtype, 2.0, "in")


def he_normal(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """Normal, truncated at two deviations, of variance ``2 / fan_in`` (He et al. 2015); suits relu."""
    return _scaled_normal(key, tuple(shape), dtype, 2.0, "in")


def lecun_uniform(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """Uniform on ``+-sqrt(3 / fan_in)`` (LeCun et al. 1998)."""
    return _scaled_uniform(key, tuple(shape), dtype, 1.0, "in")


def lecun_normal(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """Normal, truncated at two deviations, of variance ``1 / fan_in`` (LeCun et al. 1998)."""
    return _scaled_normal(key, tuple(shape), dtype, 1.0, "in")


def orthogonal(key: Key, shape: Shape, dtype: DType = jnp.float32) -> Array:
    """A random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2013, arXiv:1312.6120).

    More than two axes are flattened to ``(prod(shape[:-1]), shape[-1])``; fewer raise `InputError`.
    """
    if len(shape) < 2:
        fail("orthogonal", expected="a shape with at least two axes", got=shape_text(shape))
    return _orthogonal(key, tuple(shape), dtype)


@jit(static_argnums=(1, 2))
def _orthogonal(key: Key, shape: Shape, dtype: DType) -> Array:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    # QR exists for float32 and float64 only.
    work = at_least_float32(dtype)
    gaussian = standard_normal(key, (max(rows, columns), min(rows, columns)), work)
    q, r = jnp.linalg.qr(gaussian)
    # The sign of r's diagonal makes the distribution uniform over the orthogonal matrices (Mezzadri 2007).
    q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(work)[None]
    return (q if rows >= columns else q.T).reshape(shape).astype(dtype)


_NAMED = (zeros, ones, glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal)
INITIALIZERS: dict[str, Initializer] = {**{fn.__name__: fn for fn in _NAMED}, "uniform": uniform(), "normal": normal()}


def get_initializer(initializer: str | Initializer) -> Initializer:
    """Look an initializer up by name; a function is returned unchanged.

    An unknown name raises `InputError` with the close matches.
    """
    found = resolve("initializer", initializer, INITIALIZERS)
    if found is initializer:
        check_accepts("initializer", "(key, shape, dtype)", found, 3)
    return found
