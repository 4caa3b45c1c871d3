"""The caches with which a model reads a sequence piece by piece: keys and values of attention, carries of recurrence.

`with_cache` runs a model's ``init`` on shapes with a `CacheRequest` set. Layers that depend on earlier steps then
return a `KeyValueCache`, a `Recurrence` or a `Position` in their state, and their ``apply`` uses it wherever it finds
one.
"""

from __future__ import annotations

import contextlib
import contextvars
from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, is_concrete
from .._core.context import setting
from .._core.errors import counted, describe, fail, kind_of
from .._core.types import Array, DType, PyTree
from .layer import Layer, example_of
from .observe import current_path, is_repeated_call


class KeyValueCache(NamedTuple):
    """Keys and values of the steps that an attention layer has read.

    Attributes:
      key: (batch, length, key_heads, size); zeros from ``position`` on.
      value: (batch, length, key_heads, value_size).
      mask: (batch, length) booleans, False at padding.
      position: () int32, the number of steps read.
    """

    key: Array
    value: Array
    mask: Array
    position: Array


class Position(NamedTuple):
    """The number of steps that a layer of positions has read.

    Attributes:
      value: () int32.
    """

    value: Array


class Recurrence(NamedTuple):
    """The carry of a recurrent layer after the steps that it has read.

    Attributes:
      carry: an `LSTMCarry`, `GRUCarry` or `SimpleRNNCarry`.
    """

    carry: PyTree


class CacheRequest(NamedTuple):
    """What `with_cache` asks of ``init``: caches of a length; `refuse_cache` notes the layers that cannot have one."""

    length: int
    refusals: list[str]


_request: contextvars.ContextVar[CacheRequest | None] = contextvars.ContextVar("cache_request", default=None)


def cache_request() -> CacheRequest | None:
    """The request of `with_cache`; None in any other ``init``."""
    return _request.get()


def without_cache() -> contextlib.AbstractContextManager[None]:
    """Ask no layer inside for a cache: what it reads are not the steps of the sequence."""
    return setting(_request, None)


def refuse_cache(name: str, reason: str) -> None:
    """Note that the current layer cannot read a sequence piece by piece, if `with_cache` asks."""
    if (request := cache_request()) is not None:
        place = "/".join(current_path()) or name
        request.refusals.append(f"{reason} in {place!r}")


def empty_cache(keys: tuple[int, ...], values: tuple[int, ...], dtype: DType) -> KeyValueCache:
    """A cache for keys (batch, length, key_heads, size) and values (batch, length, key_heads, value_size)."""
    position = jnp.zeros((), jnp.int32)
    return KeyValueCache(jnp.zeros(keys, dtype), jnp.zeros(values, dtype), jnp.zeros(keys[:2], bool), position)


def steps_from(position: Array | None, steps: int) -> Array | np.ndarray:
    """The numbers of the next ``steps`` steps, (steps,) int32; from 0 without a position."""
    numbers = np.arange(steps, dtype=np.int32)
    return numbers if position is None else position + numbers


def check_called_once(where: str) -> None:
    """Refuse a cached layer that a `Model` calls again: both calls would share one cache."""
    if is_repeated_call():
        hint = "Use a separate layer for each call, or generate without a cache."
        fail(where, expected="one call of a layer with a cache", got="another call in the same Model", hint=hint)


def extend(where: str, cache: KeyValueCache, key: Array, value: Array, mask: Array | None) -> KeyValueCache:
    """The cache with the keys and values of new steps; the contents are invalid past its end, see `overflows`."""
    check_called_once(where)
    steps, length = key.shape[1], cache.key.shape[1]
    for name, old, new in (("keys", cache.key, key), ("values", cache.value, value)):
        # A cache of float32 also holds what a task computes in half precision.
        held = jnp.promote_types(old.dtype, new.dtype) == old.dtype
        if not held or (old.shape[0], *old.shape[2:]) != (new.shape[0], *new.shape[2:]):
            hint = "A cache belongs to one model and one batch size."
            fail(where, expected=f"{name} like those of its cache, {describe(old)}", got=describe(new), hint=hint)
    read = int(cache.position) if is_concrete(cache.position) else 0
    if read + steps > length:
        hint = "Make a longer one: fnn.with_cache(model, state, x, length)."
        expected = f"at most {counted(length, 'step')}, the length of its cache"
        fail(where, expected=expected, got=str(read + steps), hint=hint)

    def write(old: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), cache.position, axis=1)

    mask = jnp.ones(key.shape[:2], bool) if mask is None else jnp.asarray(mask)
    return KeyValueCache(
        write(cache.key, key), write(cache.value, value), write(cache.mask, mask), cache.position + steps
    )


def visible(cache: KeyValueCache, steps: int) -> Array:
    """Where the last ``steps`` steps of a cache may look, (batch, steps, length): at themselves and earlier ones."""
    places = jax.lax.iota(jnp.int32, cache.key.shape[1])
    rows = cache.position - steps + jax.lax.iota(jnp.int32, steps)
    return (places[None, None] <= rows[None, :, None]) & cache.mask[:, None]


def overflows(cache: KeyValueCache) -> Array:
    """Whether more steps were read than the cache holds."""
    return cache.position > cache.key.shape[1]


def _is_cache(node: object) -> TypeGuard[KeyValueCache | Recurrence | Position]:
    return isinstance(node, (KeyValueCache, Recurrence, Position))


def is_read_in_pieces(shapes: PyTree) -> bool:
    """Whether a layer of the model remembers earlier steps in its state, given the shapes of `cache_shapes`."""
    nodes = jax.tree.leaves(shapes, is_leaf=_is_cache)
    return any(isinstance(node, (KeyValueCache, Recurrence)) for node in nodes)


def has_positions(shapes: PyTree) -> bool:
    """Whether a layer of the model numbers the steps, given the shapes of `cache_shapes`."""
    return any(isinstance(node, Position) for node in jax.tree.leaves(shapes, is_leaf=_is_cache))


def cache_shapes(model: Layer, x: PyTree, length: int) -> tuple[PyTree, list[str]]:
    """The shapes of a model's state with caches, and the layers that cannot have one."""
    request = CacheRequest(length, [])
    with setting(_request, request):
        # A new function, since JAX remembers what it traced, and the request is no argument.
        _, shapes = jax.eval_shape(lambda key, x: model.init(key, x), jax.random.key(0), x)
    return shapes, request.refusals


def add_caches(shapes: PyTree, state: PyTree) -> PyTree:
    """A model's state with the empty caches of `cache_shapes` added."""
    if _is_cache(shapes):
        return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    if isinstance(shapes, dict):
        held = state if isinstance(state, dict) else {}
        return {**held, **{name: add_caches(entry, held.get(name, {})) for name, entry in shapes.items()}}
    if isinstance(shapes, (list, tuple)) and not hasattr(shapes, "_fields"):
        entries = state if isinstance(state, (list, tuple)) else [{}] * len(shapes)
        return type(shapes)(add_caches(a, b) for a, b in zip(shapes, entries, strict=True))
    return state


def with_cache(model: Layer, state: PyTree, x: PyTree, length: int) -> PyTree:
    """Add empty caches to a model's state, so that ``apply`` reads a sequence piece by piece.

    With such a state, each call of ``apply`` continues where the last one ended: attention sees the keys and values of
    all earlier steps, recurrent layers start from their last carry, and positions go on counting. The same ``apply``
    thus reads a prompt at once and then one symbol at a time, also inside ``jax.lax.scan``. The outputs are those of
    reading everything at once, if all other layers treat each step alone; convolutions over time and pooling do not.

    Padding is read as a `Masked`. Steps that follow may be plain arrays.

    Args:
      model: a `Layer` with `MultiHeadAttention(causal=True)`, `LSTM`, `GRU` or `SimpleRNN` inside.
      state: its state, e.g. ``ts.state``; caches in it are replaced by empty ones.
      x: an example input with the batch size of the cache and at most ``length`` steps; only shape and dtype are read.
      length: the largest number of steps, in all calls together. With attention, later steps raise an error where
        their number is known, and give NaN inside ``jit``, ``scan`` and ``vmap``.

    Returns:
      The state with a `KeyValueCache` for each attention and the carry of each recurrent layer.

    Raises:
      InputError: for a model without causal self-attention and recurrent layers, and for one that also looks ahead,
        with other attention, `Bidirectional` or ``go_backwards=True``; for positions shorter than ``length``; from
        ``apply``, for another batch size and for such a layer that a `Model` calls twice.

    >>> import jax, jax.numpy as jnp, fnn
    >>> model = fnn.Sequential(fnn.Dense(8), fnn.MultiHeadAttention(2, 4, causal=True))
    >>> x = jax.random.normal(jax.random.key(0), (1, 6, 3))
    >>> params, state = model.init(jax.random.key(1), x)
    >>> cached = fnn.with_cache(model, state, x, length=6)
    >>> first, cached = model.apply(params, cached, x[:, :4])
    >>> then, cached = model.apply(params, cached, x[:, 4:])
    >>> bool(jnp.allclose(jnp.concatenate([first, then], 1), model.apply(params, state, x)[0], atol=1e-6))
    True
    """
    if not isinstance(model, Layer):
        hint = "Pass task.model." if hasattr(model, "model") else ""
        fail("with_cache", expected="a Layer as model", got=kind_of(model), hint=hint)
    check_count("with_cache", "length", length)
    shapes, refusals = cache_shapes(model, example_of("with_cache", x), int(length))
    if refusals:
        expected = "layers that read a sequence piece by piece, such as attention with causal=True"
        fail("with_cache", expected=expected, got=refusals[0])
    if not is_read_in_pieces(shapes):
        expected = "a model with MultiHeadAttention(causal=True), LSTM, GRU or SimpleRNN"
        fail("with_cache", expected=expected, got=f"{model.kind} without one")
    return add_caches(shapes, state)
