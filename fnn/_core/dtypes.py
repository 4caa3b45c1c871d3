"""Dtypes and ranks of intermediate results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from .typed import UserContext, finfo, make_user_context
from .types import AnyArray, Array, DType, PyTree, Shaped

A = TypeVar("A", bound=AnyArray)


def is_float(x: Shaped) -> bool:
    """Whether an array is floating-point."""
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def is_key(x: object) -> bool:
    """Whether ``x`` is an array of typed PRNG keys, as made by ``jax.random.key``."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def at_least_float32(dtype: DType) -> np.dtype:
    """The dtype to compute in: float32 for half precision, else the same.

    Strict promotion refuses ``jnp.promote_types(dtype, float32)`` for bfloat16 and float16.
    """
    return jnp.dtype("float32" if finfo(dtype).bits < 32 else dtype)


def widest(*dtypes: DType) -> np.dtype:
    """The widest of several floating-point dtypes, float32 at least."""
    return max(map(at_least_float32, dtypes), key=lambda dtype: dtype.itemsize, default=jnp.dtype("float32"))


def widened(tree: PyTree) -> PyTree:
    """A tree with its half-precision leaves in float32; other leaves are returned as they are."""

    def is_half(leaf: Array) -> bool:
        return is_float(leaf) and finfo(leaf.dtype).bits < 32

    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if is_half(leaf) else leaf, tree)


def floats_in(dtype: DType, tree: PyTree) -> PyTree:
    """A tree with its floating-point leaves in a dtype; integers, booleans and keys are returned as they are."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if is_float(leaf) and leaf.dtype != dtype else leaf, tree)


# JAX caches jitted functions by it too, so user functions called by a model are retraced for each dtype.
_computing: UserContext[np.dtype | None] = make_user_context(None)


def computing_in(dtype: DType) -> AbstractContextManager[None]:
    """Set the dtype to which layers convert integers while a model is traced."""
    return _computing(jnp.dtype(dtype))


def float_of_integers() -> np.dtype:
    """The dtype of floats that a layer makes of integers: that of `computing_in`, else float32."""
    return _computing.value or jnp.dtype("float32")


def sum_of(parts: Sequence[Array]) -> Array:
    """The sum in the widest dtype among the parts, float32 at least."""
    wide = widest(*(part.dtype for part in parts))
    return sum((part.astype(wide) for part in parts), jnp.zeros((), wide))


def lift(v: A, like: AnyArray) -> A:
    """``v`` with leading axes of length 1 up to the rank of ``like``.

    Implicit broadcasting would add them too, but not under ``jax_numpy_rank_promotion="raise"``.
    """
    missing = like.ndim - v.ndim
    return v if missing <= 0 else cast(A, v.reshape((1,) * missing + v.shape))


def spread(v: Array, like: Array) -> Array:
    """``v``, such as a bias, to be added to every row of ``like``.

    Its derivative is a sum over rows. In half precision that is taken in float32 and rounded once: in bfloat16, a sum
    of more than a few hundred equal numbers stops growing.
    """
    wide = at_least_float32(v.dtype)
    lifted = lift(v, like)
    return lifted if v.dtype == wide else jnp.broadcast_to(lifted.astype(wide), like.shape).astype(v.dtype)
