"""Dtypes of intermediate results."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def at_least_float32(dtype: Any) -> Any:
    """The dtype to compute in: float32 for the half-precision ones, else the same.

    It stands for ``jnp.promote_types(dtype, float32)``, which strict promotion refuses for bfloat16 and float16.
    """
    return jnp.dtype("float32") if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def widened(x: Any) -> Any:
    """A floating-point array in float32 at least; any other as it is."""
    return x.astype(at_least_float32(x.dtype)) if jnp.issubdtype(x.dtype, jnp.floating) else x
