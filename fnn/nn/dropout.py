"""Dropout and noise, with an explicit key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
import numpy as np

from .._core.checks import check_float, check_key, check_range, is_concrete
from .._core.described import described, in_words
from .._core.dtypes import at_least_float32
from .._core.errors import describe, fail, shape_text
from .._core.random import bernoulli, normal
from .._core.types import Array, Key, Scalar
from .layer import Layer, randomized
from .windows import spatial_rank

NoiseShape = Sequence[int | None]
"""An entry for each axis: 1 where all elements are dropped together, else None or the size."""


def dropout(key: Key, x: Array, rate: Scalar, *, noise_shape: NoiseShape | None = None) -> Array:
    """Zero each element with probability ``rate`` and scale the others by ``1 / (1 - rate)``.

    Srivastava et al. 2014; the scaling keeps the expectation of every element (inverted dropout).

    Args:
      key: a PRNG key.
      x: (...), of a floating-point dtype.
      rate: the fraction dropped, in [0, 1]; may be traced. Other rates and other dtypes of ``x`` are refused.
      noise_shape: an entry for each axis of ``x``: 1 where all elements are dropped together, None or the size where
        each is dropped by itself, as on every axis by default.

    Returns:
      (...).

    >>> import jax, jax.numpy as jnp
    >>> print(dropout(jax.random.key(0), jnp.ones(4), 0.0))
    [1. 1. 1. 1.]
    """
    check_key("dropout", key)
    check_range("dropout", "rate", rate, 0, 1)
    check_float("dropout", x)
    shape = x.shape if noise_shape is None else _noise_shape(x, noise_shape)
    if is_concrete(rate) and np.ndim(rate) == 0 and float(rate) == 0:
        return x
    keep = 1 - jnp.asarray(rate, at_least_float32(x.dtype))
    # Rate 1 keeps nothing; the guard keeps the scale and its gradient finite there.
    scale = 1 / jnp.where(keep > 0, keep, jnp.ones_like(keep))
    return jnp.where(bernoulli(key, keep, shape), (x.astype(scale.dtype) * scale).astype(x.dtype), jnp.zeros_like(x))


def _noise_shape(x: Array, noise_shape: NoiseShape) -> tuple[int, ...]:
    """``noise_shape`` with None replaced by the sizes of ``x``."""
    fits = len(noise_shape) == x.ndim and all(n in (None, 1, x.shape[i]) for i, n in enumerate(noise_shape))
    if not fits:
        expected = f"x that fits noise_shape={shape_text(noise_shape)}, where an entry is 1, None or a size of x"
        fail("dropout", expected=expected, got=describe(x))
    return tuple(size if n is None else n for n, size in zip(noise_shape, x.shape, strict=True))


@described
def Dropout(rate: Scalar, noise_shape: NoiseShape | None = None, *, name: str = "dropout") -> Layer:
    """Dropout in training, the identity otherwise; see `dropout`.

    Args:
      rate: the fraction dropped, in [0, 1]; may be traced, so that it can be swept under ``vmap``.
      noise_shape: as in `dropout`: ``(None, 1, None)`` drops the same features at all steps of a sequence.

    Raises:
      InputError: for a rate outside [0, 1]; when applied to other than one array or a `Masked`, or without a key in
        training.
    """
    check_range("Dropout", "rate", rate, 0, 1)
    if noise_shape is not None and not isinstance(noise_shape, (tuple, list)):
        expected = "noise_shape with an entry for each axis, such as (None, 1, None)"
        fail("Dropout", expected=expected, got=in_words(noise_shape))
    fn = partial(dropout, rate=rate, noise_shape=noise_shape)
    return randomized(fn, name, "Dropout", mask="keep")


@described
def SpatialDropout(rate: Scalar, *, name: str = "spatial_dropout") -> Layer:
    """Dropout of whole channels, since neighbouring pixels or steps are alike (Tompson et al. 2014, arXiv:1411.4280).

    Shapes: (batch, *spatial, channels), unchanged, with 1 to 3 spatial axes. Arguments and errors as in `Dropout`.
    """
    check_range("SpatialDropout", "rate", rate, 0, 1)

    def fn(key: Key, x: Array) -> Array:
        rank = spatial_rank("spatial_dropout", x)
        return dropout(key, x, rate, noise_shape=(None, *(1,) * rank, None))

    return randomized(fn, name, "SpatialDropout", mask="keep")


@described
def GaussianNoise(stddev: Scalar, *, name: str = "gaussian_noise") -> Layer:
    """Add normal noise in training, ``y = x + stddev * noise``; the identity otherwise.

    Args:
      stddev: the standard deviation, at least 0; may be traced.

    Shapes: (...), unchanged. Errors as in `Dropout`.
    """
    check_range("GaussianNoise", "stddev", stddev, 0)

    def fn(key: Key, x: Array) -> Array:
        wide, noise = _with_noise("gaussian_noise", key, x)
        return (wide + jnp.asarray(stddev, wide.dtype) * noise).astype(x.dtype)

    return randomized(fn, name, "GaussianNoise", mask="keep")


@described
def GaussianDropout(rate: Scalar, *, name: str = "gaussian_dropout") -> Layer:
    """Multiply by normal noise in training, ``y = x * (1 + sqrt(rate / (1 - rate)) * noise)``; the identity otherwise.

    Srivastava et al. 2014, section 10: mean and variance of the factor are those of `Dropout`.

    Args:
      rate: as in `Dropout`, below 1.

    Shapes: (...), unchanged. Errors as in `Dropout`.
    """
    check_range("GaussianDropout", "rate", rate, 0, 1 - 2**-20)

    def fn(key: Key, x: Array) -> Array:
        wide, noise = _with_noise("gaussian_dropout", key, x)
        p = jnp.asarray(rate, wide.dtype)
        return (wide * (1 + jnp.sqrt(p / (1 - p)) * noise)).astype(x.dtype)

    return randomized(fn, name, "GaussianDropout", mask="keep")


def _with_noise(where: str, key: Key, x: Array) -> tuple[Array, Array]:
    """``x`` and standard normal noise of its shape, in float32 at least."""
    check_float(where, x)
    wide = at_least_float32(x.dtype)
    return x.astype(wide), normal(key, x.shape, wide)
