"""Random numbers: what `jax.random` gives, in the forms that compile and run fast on every platform."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .dtypes import at_least_float32
from .types import Array


def children(key: Array, count: int) -> Array:
    """``fold_in(key, i)`` for all i below ``count``, as one vectorized hash."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count, dtype=jnp.uint32))


def draw(sampler: Callable[..., Array], key: Array, *args: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """``sampler(key, *args, shape, dtype)`` drawn flat, then shaped.

    The numbers are the same, but XLA takes up to four times as long to compile the hash for several axes.
    """
    return sampler(key, *args, shape=(math.prod(shape),), dtype=dtype).reshape(shape)


def is_key(x: Any) -> bool:
    """Whether something is an array of typed PRNG keys, as ``jax.random.key`` makes them."""
    return hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


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


# Each word of a threefry block goes to a run of so many numbers: long enough for vector instructions.
_RUN = 128


def bits(key: Array, count: int) -> Array:
    """``count`` random uint32 numbers, of which the first ones do not depend on how many there are.

    Both words of threefry blocks; for keys of other kinds a draw of `jax.random.bits` for each number.
    """
    data = jax.random.key_data(key)
    if data.shape != (2,):
        return jax.vmap(lambda one: jax.random.bits(one, (), jnp.uint32))(children(key, count))
    runs = -(-count // (2 * _RUN))
    first, second = _threefry(data, jax.lax.iota(jnp.uint32, runs * _RUN))
    return jnp.concatenate([first.reshape(runs, _RUN), second.reshape(runs, _RUN)], axis=1).reshape(-1)[:count]


def bernoulli(key: Array, probability: Array, shape: tuple[int, ...]) -> Array:
    """Booleans that are True with a probability, which is rounded to a multiple of 2^-24.

    The numbers of a row do not depend on how many rows follow it, so that a batch can be filled up with further rows.
    """
    wide = probability.astype(at_least_float32(probability.dtype))
    threshold = jnp.round(wide * 2**24).astype(jnp.uint32)
    return (bits(key, math.prod(shape)) >> jnp.uint32(8) < threshold).reshape(shape)


# Below this size a permutation is a sort, which draws all permutations with equal probability and costs little.
_SORTED = 4096
_ROUNDS = 8


def permutation(key: Array, size: int) -> Array:
    """The numbers below ``size`` in random order, int32.

    Up to 4096 numbers by sorting random numbers. More of them by a Feistel network, a bijection in which half of each
    number is shifted by a hash of the other half, in turns (Luby and Rackoff 1988): every element by itself, which
    takes a twentieth of the time of a sort on a CPU.
    """
    if size <= _SORTED:
        return jax.lax.sort((bits(key, size), jax.lax.iota(jnp.int32, size)), num_keys=1)[1]
    # Numbers are pairs (high, low) in base `width`; barely more pairs than numbers, or few would have to be redrawn.
    width = math.isqrt(size - 1) + 1
    height = -(-size // width)
    round_keys = bits(key, 2 * _ROUNDS)

    h, w = jnp.uint32(height), jnp.uint32(width)

    def shuffle(number: Array) -> Array:
        high, low = number // w, number % w
        for i in range(0, 2 * _ROUNDS, 4):
            high = (high + _hash(low, round_keys[i], round_keys[i + 1]) % h) % h
            low = (low + _hash(high, round_keys[i + 2], round_keys[i + 3]) % w) % w
        return high * w + low

    # Following the bijection from a number beyond the last until it comes back below keeps it one ("cycle walking",
    # Black and Rogaway 2002).
    order = jax.lax.while_loop(
        lambda order: (order >= size).any(),
        lambda order: jnp.where(order >= size, shuffle(order), order),
        shuffle(jax.lax.iota(jnp.uint32, size)),
    )
    return order.astype(jnp.int32)


def _hash(x: Array, multiplier: Array, offset: Array) -> Array:
    """A keyed hash of uint32 numbers: a random affine map, then the finalizer of MurmurHash3."""
    x = x * (multiplier | jnp.uint32(1)) + offset
    x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> jnp.uint32(16))
