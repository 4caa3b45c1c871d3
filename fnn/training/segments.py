"""Loops that a derivative recomputes in segments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._core.types import Array, PyTree


def again(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of which a derivative keeps the arguments alone, to compute the rest again."""
    return jax.checkpoint(fn, prevent_cse=False)  # inside of loops, over which nothing is merged anyway


def in_segments(
    body: Callable[[PyTree, Array], tuple[PyTree, PyTree]], carry: PyTree, xs: Array
) -> tuple[PyTree, PyTree]:
    """``jax.lax.scan(body, carry, xs)``, of which a derivative keeps about ``2 sqrt(len(xs))`` carries.

    Those between segments are kept, and those within a segment while its derivative is taken (Griewank 1992, with one
    level; Chen et al. 2016, arXiv:1604.06174). What a round computes on the way is computed again.
    """
    count = len(xs)
    length = math.isqrt(count - 1) + 1
    body = again(body)
    if length < 3:
        return jax.lax.scan(body, carry, xs)
    whole, rest = divmod(count, length)

    def segment(carry: PyTree, xs: Array) -> tuple[PyTree, PyTree]:
        return jax.lax.scan(body, carry, xs)

    carry, ys = jax.lax.scan(again(segment), carry, xs[: whole * length].reshape(whole, length))
    ys = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), ys)
    if rest:
        carry, last = again(segment)(carry, xs[whole * length :])
        ys = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, last)
    return carry, ys
