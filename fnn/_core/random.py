"""Random numbers from `jax.random` keys, in forms that compile and run fast on every platform."""

from __future__ import annotations

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .dtypes import at_least_float32, is_key
from .sharding import by_row, is_divided
from .trees import is_traced
from .typed import jit, uint32, wrap_key_data
from .types import AnyArray, Array, DType, Key, Scalar, Shape

# Threefry (Salmon et al. 2011) is written out here for two reasons. JAX's own takes three to six times as long to
# compile, and on a CPU to run, since it loops over the rounds there; and a key whose words are on the host needs no
# compiled program at all. Keys and numbers are those of `jax.random`, bit for bit. Keys of other kinds go to JAX, as do
# keys of keys in a program: written out one inside the other, they take XLA minutes to compile.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_Words = TypeVar("_Words", Array, NDArray[np.uint32])


def _mixed(x0: _Words, x1: _Words, rotations: tuple[int, ...]) -> tuple[_Words, _Words]:
    """Four rounds."""
    for rotation in rotations:
        x0 = x0 + x1
        x1 = (x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))
        x1 = x1 ^ x0
    return x0, x1


_mixed_in_program = jit(_mixed, static_argnums=2)  # traced and lowered twice for a shape, in place of five times


def _threefry(key: _Words, counters: _Words) -> tuple[_Words, _Words]:
    """Threefry-2x32 with 20 rounds on the blocks ``(0, counter)``, for arrays of JAX or of NumPy."""
    k0, k1 = key
    mixed = _mixed if isinstance(counters, np.ndarray) else _mixed_in_program
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = (counters & np.uint32(0)) + k0, counters + k1
    for i in range(5):
        x0, x1 = mixed(x0, x1, _ROTATIONS[i % 2])
        x0 = x0 + schedule[(i + 1) % 3]
        x1 = x1 + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1


def _words(key: Key) -> Array | None:
    """The two words of a threefry key; None for keys of another kind."""
    data = jax.random.key_data(key)
    return data if data.shape == (2,) else None


def _on_host(value: Array | int) -> bool:
    """Whether a value may be computed with on the host: it is not traced, and may lie on any device."""
    return not isinstance(value, jax.Array) or not (is_traced(value) or value.committed)


def _key_of(words: AnyArray, like: Key) -> Key:
    """The keys of some words, of the kind of another key: typed or raw."""
    return wrap_key_data(words, impl=jax.random.key_impl(like)) if is_key(like) else jnp.asarray(words)


def fold_in(key: Key, data: Array | int) -> Key:
    """`jax.random.fold_in`: a key that depends on a key and a number."""
    words = _words(key)
    if words is None or not (_on_host(words) and _on_host(data)):
        return jax.random.fold_in(key, data)
    number = np.array(data, np.uint32) if isinstance(data, int) else np.asarray(data).astype(np.uint32)
    return _key_of(np.concatenate(_threefry(np.asarray(words), number[None])), key)


def children(key: Key, count: int) -> Key:
    """``fold_in(key, i)`` for all i below ``count``, as one vectorized hash."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count, dtype=jnp.uint32))


def child_keys(key: Key, count: int) -> tuple[Key, ...]:
    """The keys of `children`, one by one."""
    words = _words(key)
    if words is None or not _on_host(words):
        return _child_keys(key, count)
    blocks = _threefry(np.asarray(words), np.arange(count, dtype=np.uint32))
    return tuple(_key_of(block, key) for block in np.stack(blocks, axis=-1))


# Op by op, this would be some four programs: the hash, its counters, and a slice and a reshape for a key.
@jit(static_argnums=1, inline=True)
def _child_keys(key: Key, count: int) -> tuple[Key, ...]:
    keys = children(key, count)
    return tuple(keys[i] for i in range(count))


# More numbers than these take longer to draw on the host than a program takes to compile.
_DRAWN_ON_HOST = 2**19


def symmetric_uniform(key: Key, limit: float, shape: Shape, dtype: DType) -> Array:
    """The numbers of ``jax.random.uniform(key, shape, dtype, -limit, limit)``, rounded to ``dtype`` from float32.

    On a CPU up to 2^19 of them are drawn on the host, with the same bits, so that no program is compiled for the shape.
    """
    count, words, work = math.prod(shape), _words(key), at_least_float32(dtype)
    on_host = words is not None and _on_host(words) and jax.default_backend() == "cpu"
    if not on_host or count > _DRAWN_ON_HOST or work != jnp.float32:
        return _symmetric_uniform(key, limit, tuple(shape), dtype)
    first, second = _threefry(np.asarray(words), np.arange(count, dtype=np.uint32))
    unit = ((first ^ second) >> 9) * 2.0**-23
    bound = float(np.float32(limit))
    # XLA rounds once, since CPUs multiply and add in one instruction; float64 holds the unrounded value.
    numbers: Array = jax.device_put((unit * (2 * bound) - bound).astype(np.float32).astype(dtype).reshape(shape))
    return numbers


@jit(static_argnums=(1, 2, 3))
def _symmetric_uniform(key: Key, limit: float, shape: Shape, dtype: DType) -> Array:
    return uniform_between(key, -limit, limit, shape, at_least_float32(dtype)).astype(dtype)


def uniform_between(key: Key, low: Scalar, high: Scalar, shape: Shape, dtype: DType) -> Array:
    """The numbers of ``jax.random.uniform(key, shape, dtype, low, high)``, for float32 or float64."""
    count, words = math.prod(shape), _words(key)
    if words is None or count > 2**32:  # positions are uint32
        return jax.random.uniform(key, (count,), dtype, low, high).reshape(shape)
    first, second = _threefry(words, jax.lax.iota(jnp.uint32, count))
    # Random bits as the fraction of a number in [1, 2), whose exponent is that of 1.
    if dtype == jnp.float32:
        random_bits = (first ^ second) >> uint32(9)
    else:
        random_bits = ((first.astype(jnp.uint64) << jnp.uint64(32)) | second.astype(jnp.uint64)) >> jnp.uint64(12)
    one = jax.lax.bitcast_convert_type(jnp.ones((), dtype), random_bits.dtype)
    unit = jax.lax.bitcast_convert_type(random_bits | one, dtype) - 1
    lowest, highest = jnp.asarray(low, dtype), jnp.asarray(high, dtype)
    # Flat until here: XLA takes up to four times as long to compile the hash over several axes.
    return jnp.maximum(lowest, (unit * (highest - lowest) + lowest).reshape(shape))


def standard_normal(key: Key, shape: Shape, dtype: DType) -> Array:
    """The numbers of ``jax.random.normal(key, shape, dtype)``, for float32 or float64."""
    above = np.nextafter(np.array(-1, dtype), np.array(0, dtype))
    return jnp.asarray(math.sqrt(2), dtype) * jax.lax.erf_inv(uniform_between(key, above, 1, shape, dtype))


def truncated_normal(key: Key, bound: float, shape: Shape, dtype: DType) -> Array:
    """The numbers of ``jax.random.truncated_normal(key, -bound, bound, shape, dtype)``, for float32 or float64."""
    root, limit = jnp.asarray(math.sqrt(2), dtype), np.array(bound, dtype)
    mass = jax.lax.erf(limit / root)
    inside = np.nextafter(limit, np.array(0, dtype))
    return jnp.clip(root * jax.lax.erf_inv(uniform_between(key, -mass, mass, shape, dtype)), -inside, inside)


# Each word of a threefry block fills a run of this many numbers, long enough for vector instructions.
_RUN = 128


def bits(key: Key, count: int) -> Array:
    """``count`` random uint32 numbers; the first ones do not depend on ``count``.

    They are both words of threefry blocks; for other kinds of keys, one draw of `jax.random.bits` each.
    """
    words = _words(key)
    if words is None:
        return jax.vmap(lambda one: jax.random.bits(one, (), jnp.uint32))(children(key, count))
    counters = jax.lax.iota(jnp.uint32, _blocks(count))
    return jnp.concatenate(_runs(words, counters), axis=1).reshape(-1)[:count]


def _blocks(count: int) -> int:
    """The number of blocks that `count` numbers take, rounded up to whole runs."""
    return -(-count // (2 * _RUN)) * _RUN


def _runs(words: _Words, counters: _Words) -> tuple[_Words, _Words]:
    """The first and the second words of the blocks, (runs, 128) each."""
    first, second = _threefry(words, counters)
    return first.reshape(-1, _RUN), second.reshape(-1, _RUN)


def _shaped_bits(key: Key, shape: Shape) -> Array:
    """`bits` in a shape. Where rows are divided over devices, each device computes those of its rows alone."""
    words = _words(key)
    if not is_divided() or words is None or not shape or math.prod(shape) > 2**32:  # positions are uint32
        return bits(key, math.prod(shape)).reshape(shape)
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * uint32(math.prod(shape[axis + 1 :]))
    run, within = place // (2 * _RUN), place % (2 * _RUN)
    first, second = _threefry(words, by_row(run * _RUN + within % _RUN))
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
    words = _words(key)
    if words is None or not _on_host(words):
        return _sorted(key, size) if size <= _SORTED else _feistel(bits(key, 2 * _ROUNDS), size)
    if size > _SORTED:
        return _feistel(_host_bits(words, 2 * _ROUNDS), size)
    order: Array = jax.device_put(np.argsort(_host_bits(words, size), kind="stable").astype(np.int32))
    return order  # which compiles nothing


def _host_bits(words: AnyArray, count: int) -> NDArray[np.uint32]:
    """`bits` on the host."""
    runs = _runs(np.asarray(words), np.arange(_blocks(count), dtype=np.uint32))
    numbers: NDArray[np.uint32] = np.concatenate(runs, axis=1).reshape(-1)[:count]
    return numbers


@jit(static_argnums=1, inline=True)
def _sorted(key: Key, size: int) -> Array:
    return jax.lax.sort((bits(key, size), jax.lax.iota(jnp.int32, size)), num_keys=1)[1]


@jit(static_argnums=1, inline=True)
def _feistel(round_keys: AnyArray, size: int) -> Array:
    # Numbers are pairs (high, low) in base `width`, with few more pairs than numbers, so that few are redrawn.
    width = math.isqrt(size - 1) + 1
    height = -(-size // width)
    h, w = uint32(height), uint32(width)
    round_keys = jnp.asarray(round_keys).reshape(-1, 4)

    # In a loop the rounds compile in a quarter of the time.
    def round_pair(i: Array, pair: tuple[Array, Array]) -> tuple[Array, Array]:
        high, low = pair
        high = (high + _hash(low, round_keys[i, 0], round_keys[i, 1]) % h) % h
        return high, (low + _hash(high, round_keys[i, 2], round_keys[i, 3]) % w) % w

    def shuffle(number: Array) -> Array:
        halves: tuple[Array, Array] = (number // w, number % w)
        high, low = jax.lax.fori_loop(0, len(round_keys), round_pair, halves)
        shuffled: Array = high * w + low
        return shuffled

    # Repeating the bijection for the numbers beyond the last keeps it one ("cycle walking", Black and Rogaway 2002).
    # The loop begins with the first pass, in which all are shuffled, so that there is one copy of the bijection.
    def walk(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        order, chosen = carry
        order = jnp.where(chosen, shuffle(order), order)
        return order, order >= size

    start = jax.lax.iota(jnp.uint32, size), jnp.ones(size, bool)
    order: Array = jax.lax.while_loop(lambda carry: carry[1].any(), walk, start)[0].astype(jnp.int32)
    return order


def _hash(x: Array, multiplier: Array, offset: Array) -> Array:
    """A keyed hash of uint32 numbers: a random affine map, then the finalizer of MurmurHash3."""
    x = x * (multiplier | uint32(1)) + offset
    x = (x ^ (x >> uint32(16))) * uint32(0x85EBCA6B)
    x = (x ^ (x >> uint32(13))) * uint32(0xC2B2AE35)
    return x ^ (x >> uint32(16))
