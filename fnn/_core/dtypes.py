"""Dtypes and ranks of intermediate results."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def is_float(x: Any) -> bool:
    """Whether an array is floating-point."""
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def at_least_float32(dtype: Any) -> Any:
    """The dtype to compute in: float32 for the half-precision ones, else the same.

    It stands for ``jnp.promote_types(dtype, float32)``, which strict promotion refuses for bfloat16 and float16.
    """
    return jnp.dtype("float32") if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def widest(*dtypes: Any) -> Any:
    """The widest of several floating-point dtypes, float32 at least."""
    wide = map(at_least_float32, dtypes)
    return max(wide, key=lambda dtype: dtype.itemsize, default=jnp.dtype("float32"))


def widened(tree: Any) -> Any:
    """A tree with its half-precision leaves in float32; other leaves are returned as they are."""

    def widen(leaf: Any) -> Any:
        half = is_float(leaf) and jnp.finfo(leaf.dtype).bits < 32
        return leaf.astype(jnp.float32) if half else leaf

    return jax.tree.map(widen, tree)


def lift(v: Any, like: Any) -> Any:
    """``v`` with leading axes of length 1 up to the rank of ``like``.

    Broadcasting would add them unasked, which ``jax_numpy_rank_promotion="raise"`` refuses.
    """
    missing = like.ndim - v.ndim
    return v if missing <= 0 else v.reshape((1,) * missing + v.shape)
