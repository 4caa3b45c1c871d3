"""Roots, norms and differences that are right over the whole range of a dtype, with finite derivatives."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from .dtypes import widest
from .typed import finfo
from .types import Array


def root(v: Array) -> Array:
    """The square root, with derivative 0 at 0; otherwise one dead input turns the gradient of a whole run into NaN."""
    zero = v == 0
    return jnp.where(zero, jnp.zeros_like(v), jnp.sqrt(jnp.where(zero, jnp.ones_like(v), v)))


def divided(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where ``b`` is 0."""
    zero = b == 0
    return jnp.where(zero, jnp.zeros_like(b), a / jnp.where(zero, jnp.ones_like(b), b))


def scaled_norm(*arrays: Array, axes: tuple[int, ...] | None = None) -> tuple[Array, Array]:
    """``(scale, norm)``: a power of 2, and the Euclidean norm of all arrays times ``scale``, in float32 at least.

    The norm is ``norm / scale``, which may itself be out of range. The scale is 1 unless squares overflow or
    underflow, so that ordinary norms are the plain ``sqrt(sum of squares)``. With ``axes`` one array has several
    norms, and the axes are kept with size 1.
    """
    wide = widest(*(a.dtype for a in arrays))
    parts, keep = [a.astype(wide) for a in arrays], axes is not None

    def squares(scale: Array | None = None) -> Array:
        scaled = parts if scale is None else [p * scale for p in parts]
        # Not jnp.square, whose derivative 2 p overflows, which makes NaN even where it does not count.
        return sum((jnp.sum(p * p, axes, keepdims=keep) for p in scaled), jnp.zeros((), wide))

    def rescaled() -> tuple[Array, Array]:
        # The norm does not depend on the scale, and so neither does the derivative.
        sizes = [jnp.max(jnp.abs(jax.lax.stop_gradient(p)), axes, keepdims=keep, initial=0) for p in parts]
        largest = functools.reduce(jnp.maximum, sizes, jnp.zeros((), wide))
        # For float32: above 2^40 times 2^-80, below 2^-40 times 2^80. Then squares stay between 2^-92 and 2^96.
        far = finfo(wide).maxexp * 5 // 16
        up, down, one = (jnp.full_like(largest, 2.0**power) for power in (2 * far, -2 * far, 0))
        scale = jnp.where(largest > 2.0**far, down, jnp.where(largest < 2.0**-far, up, one))
        return scale, root(squares(scale))

    total = squares()
    # Squares that underflowed are too small beside this total to matter.
    enough = finfo(wide).tiny / finfo(wide).eps ** 2
    ordinary = jnp.all((total >= enough) & (total < jnp.inf))
    # A condition rather than a selection: a second pass over the arrays would double the time of clipping on a CPU.
    scale_and_norm: tuple[Array, Array] = jax.lax.cond(ordinary, lambda: (jnp.ones_like(total), root(total)), rescaled)
    return scale_and_norm


def norm(*arrays: Array, axes: tuple[int, ...] | None = None) -> Array:
    """The Euclidean norm over all arrays, or over some axes of one, which are kept with size 1."""
    scale, scaled = scaled_norm(*arrays, axes=axes)
    return scaled / scale


def shrunk(x: Array, scale: Array, norm: Array, limit: Array) -> Array:
    """``x`` scaled to norm ``limit`` if its norm exceeds it; ``scale`` and ``norm`` are those of `scaled_norm`.

    A NaN or an infinity in ``x`` makes the norm NaN or infinite; as in PyTorch and optax the result is then NaN.
    """
    limit, one = limit.astype(norm.dtype), jnp.ones_like(norm)
    over = ~(norm / scale <= limit)
    y = x.astype(norm.dtype)
    for factor in (scale, 1 / jnp.where(norm == 0, one, norm), limit):  # no product before the last leaves the range
        y = y * jnp.where(over, factor, one)
    return y.astype(x.dtype)


def below_maximum(x: Array, axis: int) -> Array:
    """``x - max(x)`` along ``axis``; elements equal to an infinite maximum give 0."""
    top = jax.lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    # The limit of large finite values; inf - inf would be NaN. Element by element, which adds no extra operation.
    infinite = (x == top) & jnp.isinf(x)
    return jnp.where(infinite, jnp.zeros_like(x), x) - jnp.where(infinite, jnp.zeros_like(x), top)
