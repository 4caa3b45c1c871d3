"""Random numbers from `jax.random` keys, in forms that compile and run fast on every platform."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from .dtypes import at_least_float32
from .sharding import by_row, is_divided
from .typed import jit, uint32
from .types import Array, DType, Key, Scalar, Shape


def children(key: Key, count: int) -> Key:
    """``fold_in(key, i)`` for all i below ``count``, as one vectorized hash."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count, dtype=jnp.uint32))


# Op by op, each of these would be some four programs: the hash, its counters, and a slice and a reshape for a key.
@jit(static_argnums=1, inline=True)
def child_keys(key: Key, count: int) -> tuple[Key, ...]:
    """The keys of `children`, one by one."""
    keys = children(key, count)
    return tuple(keys[i] for i in range(count))


@jit(static_argnums=1, inline=True)
def split(key: Key, count: int) -> tuple[Key, ...]:
    """The keys of `jax.random.split`, one by one."""
    return tuple(jax.random.split(key, count))


def draw(sampler: Callable[..., Array], key: Key, *args: Scalar, shape: Shape, dtype: DType) -> Array:
    """``sampler(key, *args, shape, dtype)``, drawn flat and then reshaped.

    The numbers are the same; XLA takes up to four times as long to compile the hash over several axes.
    """
    return sampler(key, *args, shape=(math.prod(shape),), dtype=dtype).reshape(shape)


def is_key(x: object) -> bool:
    """Whether ``x`` is an array of typed PRNG keys, as made by ``jax.random.key``."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _threefry(key: Array, counters: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 unrolled rounds (Salmon et al. 2011) on the blocks ``(0, counter)``.

    JAX loops over the rounds on the CPU, which takes three to six times as long.
    """
    k0, k1 = key
    schedule = (k0, k1, k0 ^ k1 ^ uint32(0x1BD11BDA))
    x0, x1 = jnp.zeros_like(counters) + k0, counters + k1
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = (x1 << uint32(rotation)) | (x1 >> uint32(32 - rotation))
            x1 = x1 ^ x0
        x0 = x0 + schedule[(i + 1) % 3]
        x1 = x1 + schedule[(i + 2) % 3] + uint32(i + 1)
    return x0, x1


# Each word of a threefry block fills a run of this many numbers, long enough for vector instructions.
_RUN = 128


def bits(key: Key, count: int) -> Array:
    """``count`` random uint32 numbers; the first ones do not depend on ``count``.

    They are both words of threefry blocks; for other kinds of keys, one draw of `jax.random.bits` each.
    """
    data = jax.random.key_data(key)
    if data.shape != (2,):
        return jax.vmap(lambda one: jax.random.bits(one, (), jnp.uint32))(children(key, count))
    runs = -(-count // (2 * _RUN))
    first, second = _threefry(data, jax.lax.iota(jnp.uint32, runs * _RUN))
    return jnp.concatenate([first.reshape(runs, _RUN), second.reshape(runs, _RUN)], axis=1).reshape(-1)[:count]


def _shaped_bits(key: Key, shape: Shape) -> Array:
    """`bits` in a shape. Where rows are divided over devices, each device computes those of its rows alone."""
    data = jax.random.key_data(key)
    if not is_divided() or data.shape != (2,) or not shape or math.prod(shape) > 2**32:  # positions are uint32
        return bits(key, math.prod(shape)).reshape(shape)
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * uint32(math.prod(shape[axis + 1 :]))
    run, within = place // (2 * _RUN), place % (2 * _RUN)
    first, second = _threefry(data, by_row(run * _RUN + within % _RUN))
    return jnp.where(within < _RUN, first, second)


def bernoulli(key: Key, probability: Array, shape: Shape) -> Array:
    """Booleans that are True with a probability, which is rounded to a multiple of 2^-24.

    The booleans of a row do not depend on the number of rows after it, so that a batch can be padded.
    """
    wide = probability.astype(at_least_float32(probability.dtype))
    threshold = jnp.round(wide * 2**24).astype(jnp.uint32)
    return _shaped_bits(key, shape) >> uint32(8) < threshold


def uniform(key: Key, shape: Shape, dtype: DType) -> Array:
    """Multiples of 2^-24 in [0, 1), at least float32; those of a row do not depend on the number of rows after it."""
    return (_shaped_bits(key, shape) >> uint32(8)).astype(dtype) * 2**-24


def normal(key: Key, shape: Shape, dtype: DType) -> Array:
    """Standard normal numbers, at least float32; those of a row do not depend on the number of rows after it."""
    # The odd multiples of 2^-23 in (-1, 1), through the inverse of the normal distribution.
    index = (_shaped_bits(key, shape) >> uint32(9)).astype(dtype)
    symmetric = (index + 0.5) * 2**-22 - 1
    return math.sqrt(2) * jax.lax.erf_inv(symmetric)


# Up to this size a permutation is a sort, which draws all permutations with equal probability and costs little.
_SORTED = 4096
_ROUNDS = 8


def permutation(key: Key, size: int) -> Array:
    """The numbers below ``size`` in random order, int32.

    Up to 4096 numbers are ordered by sorting random bits. More are ordered by a Feistel network, a bijection that in
    turns shifts one half of each number by a hash of the other half (Luby and Rackoff 1988). It computes every element
    independently and takes a twentieth of the time of a sort on a CPU.
    """
    if size <= _SORTED:
        return jax.lax.sort((bits(key, size), jax.lax.iota(jnp.int32, size)), num_keys=1)[1]
    # Numbers are pairs (high, low) in base `width`, with few more pairs than numbers, so that few are redrawn.
    width = math.isqrt(size - 1) + 1
    height = -(-size // width)
    round_keys = bits(key, 2 * _ROUNDS)
    h, w = uint32(height), uint32(width)

    def shuffle(number: Array) -> Array:
        high, low = number // w, number % w
        for i in range(0, 2 * _ROUNDS, 4):
            high = (high + _hash(low, round_keys[i], round_keys[i + 1]) % h) % h
            low = (low + _hash(high, round_keys[i + 2], round_keys[i + 3]) % w) % w
        return high * w + low

    # Repeating the bijection for the numbers beyond the last keeps it one ("cycle walking", Black and Rogaway 2002).
    order = jax.lax.while_loop(
        lambda order: (order >= size).any(),
        lambda order: jnp.where(order >= size, shuffle(order), order),
        shuffle(jax.lax.iota(jnp.uint32, size)),
    )
    return order.astype(jnp.int32)


def _hash(x: Array, multiplier: Array, offset: Array) -> Array:
    """A keyed hash of uint32 numbers: a random affine map, then the finalizer of MurmurHash3."""
    x = x * (multiplier | uint32(1)) + offset
    x = (x ^ (x >> uint32(16))) * uint32(0x85EBCA6B)
    x = (x ^ (x >> uint32(13))) * uint32(0xC2B2AE35)
    return x ^ (x >> uint32(16))
