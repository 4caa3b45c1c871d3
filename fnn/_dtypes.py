"""Dtypes and ranks of intermediate results."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def at_least_float32(dtype: Any) -> Any:
    """The dtype to compute in: float32 for the half-precision ones, else the same.

    It stands for ``jnp.promote_types(dtype, float32)``, which strict promotion refuses for bfloat16 and float16.
    """
    return jnp.dtype("float32") if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def lift(v: Any, like: Any) -> Any:
    """``v`` with leading axes of length 1 up to the rank of ``like``.

    Broadcasting would add them unasked, which ``jax_numpy_rank_promotion="raise"`` refuses.
    """
    missing = like.ndim - v.ndim
    return v if missing <= 0 else v.reshape((1,) * missing + v.shape)
