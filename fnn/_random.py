"""Random numbers: what `jax.random` gives, in the forms that compile and run fast on every platform."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ._dtypes import at_least_float32

Array = jax.Array


def children(key: Array, count: int) -> Array:
    """``fold_in(key, i)`` for all i below ``count``, as one vectorized hash."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count, dtype=jnp.uint32))


def draw(sampler: Callable[..., Array], key: Array, *args: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """``sampler(key, *args, shape, dtype)`` drawn flat, then shaped.

    The numbers are the same, but XLA takes up to four times as long to compile the hash for several axes.
    """
    return sampler(key, *args, shape=(math.prod(shape),), dtype=dtype).reshape(shape)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _threefry(key: Array, counters: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011) on the blocks ``(0, counter)``, with the rounds unrolled.

    JAX keeps the rounds in a loop on the CPU, which runs three to six times slower.
    """
    k0, k1 = key
    schedule = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = jnp.zeros_like(counters) + k0, counters + k1
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = (x1 << jnp.uint32(rotation)) | (x1 >> jnp.uint32(32 - rotation))
            x1 = x1 ^ x0
        x0 = x0 + schedule[(i + 1) % 3]
        x1 = x1 + schedule[(i + 2) % 3] + jnp.uint32(i + 1)
    return x0, x1


def bits(key: Array, count: int) -> Array:
    """``count`` random uint32 numbers: both words of threefry blocks; `jax.random.bits` for keys of other kinds."""
    data = jax.random.key_data(key)
    if data.shape != (2,):
        return jax.random.bits(key, (count,), jnp.uint32)
    half = -(-count // 2)
    return jnp.concatenate(_threefry(data, jax.lax.iota(jnp.uint32, half)))[:count]


def bernoulli(key: Array, probability: Array, shape: tuple[int, ...]) -> Array:
    """Booleans that are True with a probability, which is rounded to a multiple of 2^-24."""
    wide = probability.astype(at_least_float32(probability.dtype))
    threshold = jnp.round(wide * 2**24).astype(jnp.uint32)
    return (bits(key, math.prod(shape)) >> jnp.uint32(8) < threshold).reshape(shape)


def permutation(key: Array, size: int) -> Array:
    """The numbers below ``size`` in random order, by sorting random numbers."""
    return jax.lax.sort((bits(key, size), jax.lax.iota(jnp.int32, size)), num_keys=1)[1]
