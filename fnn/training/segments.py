"""Loops over batches of one shape, and loops that a derivative recomputes in segments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar, cast

import jax
import jax.numpy as jnp

from .._core.trees import zeros
from .._core.typed import tree_map
from .._core.types import Array, F, PyTree
from .batch import InBatches, batch_at, rows_of

T = TypeVar("T")
R = TypeVar("R")
Carry = TypeVar("Carry")


def _segment(data: T, start: Array, count: int) -> T:
    return tree_map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, count), data)


def _start(i: Array, size: int, batch_size: int) -> Array:
    """The first row of batch ``i``; a last batch that would be smaller reaches back over rows already seen."""
    return jnp.minimum(i * batch_size, size - batch_size)


def map_batches(fn: Callable[[PyTree], PyTree], x: PyTree, batch_size: int, axis: int = 0) -> PyTree:
    """``fn(x)``, computed for ``batch_size`` rows at a time; ``axis`` is that of the rows in each output.

    `InBatches` are computed as they come.
    """
    if isinstance(x, InBatches):
        parts = tree_map(lambda a: a.reshape(-1, *a.shape[2:]), jax.lax.map(fn, x.full))
        return parts if x.last is None else tree_map(lambda a, b: jnp.concatenate([a, b]), parts, fn(x.last))
    size = rows_of(x)
    whole, rest = divmod(size, batch_size)
    numbers = jnp.arange(whole + (rest > 0), dtype=jnp.int32)
    parts = jax.lax.map(lambda i: fn(_segment(x, _start(i, size, batch_size), batch_size)), numbers)

    def join(a: Array) -> Array:
        a = jnp.moveaxis(a, 0, axis)
        before = (slice(None),) * axis
        full = a[*before, :whole].reshape(*a.shape[:axis], whole * batch_size, *a.shape[axis + 2 :])
        return jnp.concatenate([full, a[*before, whole, batch_size - rest :]], axis) if rest else full

    return tree_map(join, parts)


def fold_batches(
    fn: Callable[[T, Array], R],
    merge: Callable[[R, R], R],
    data: T,
    batch_size: int,
    *,
    own_shape: bool,
    remat: bool = False,
) -> R:
    """``fn(batch, valid)`` of all batches, merged; ``valid`` (batch,) is False for rows already seen.

    With ``own_shape`` a smaller last batch keeps its shape instead of reaching back, as that of `InBatches` does. For
    ``remat`` see `run`.
    """
    count, batch, last = _divided(data, batch_size, own_shape)

    def result_of(i: Array) -> R:
        return fn(*batch(i))

    each = rematerialized(result_of) if remat else result_of
    nothing = zeros(jax.eval_shape(result_of, jnp.int32(0)))
    merged: R = jax.lax.fori_loop(0, count, lambda i, merged: merge(merged, each(jnp.int32(i))), nothing)
    return merged if last is None else merge(merged, fn(*_all_valid(last)))


def _divided(data: T, batch_size: int, own_shape: bool) -> tuple[int, Callable[[Array], tuple[T, Array]], T | None]:
    """How `fold_batches` reads data: the number of batches of one shape, batch ``i``, and a smaller last one."""
    if isinstance(data, InBatches):
        return rows_of(data.full), lambda i: _all_valid(batch_at(data.full, i)), data.last
    size = rows_of(data)
    batch_size = min(batch_size, size)
    whole, rest = divmod(size, batch_size)

    def batch(i: Array) -> tuple[T, Array]:
        start = _start(i, size, batch_size)
        valid = start + jnp.arange(batch_size, dtype=jnp.int32) >= i * batch_size
        return _segment(data, start, batch_size), valid

    if rest and own_shape:
        return whole, batch, _segment(data, jnp.int32(size - rest), rest)
    return whole + (rest > 0), batch, None


def _all_valid(batch: T) -> tuple[T, Array]:
    return batch, jnp.ones(rows_of(batch), bool)


def rematerialized(fn: F) -> F:
    """The same function; its derivative keeps only the arguments and recomputes the rest."""
    return cast(F, jax.checkpoint(fn, prevent_cse=False))  # inside loops, across which nothing is merged anyway


def in_segments(body: Callable[[Carry, Array], tuple[Carry, R]], carry: Carry, xs: Array) -> tuple[Carry, R]:
    """``jax.lax.scan(body, carry, xs)``; its derivative keeps about ``2 sqrt(len(xs))`` carries.

    Those between segments are kept, and those within a segment while its derivative is taken (Griewank 1992, with one
    level; Chen et al. 2016, arXiv:1604.06174). Intermediate values of a round are recomputed.
    """
    count = len(xs)
    length = math.isqrt(count - 1) + 1
    body = rematerialized(body)
    if length < 3:
        return jax.lax.scan(body, carry, xs)
    whole, rest = divmod(count, length)

    def segment(carry: Carry, xs: Array) -> tuple[Carry, R]:
        return jax.lax.scan(body, carry, xs)

    carry, ys = jax.lax.scan(rematerialized(segment), carry, xs[: whole * length].reshape(whole, length))
    ys = tree_map(lambda a: a.reshape(-1, *a.shape[2:]), ys)
    if rest:
        carry, last = rematerialized(segment)(carry, xs[whole * length :])
        ys = tree_map(lambda a, b: jnp.concatenate([a, b]), ys, last)
    return carry, ys
