"""Forms that XLA compiles to faster programs, each for the platform where it pays, with the benchmark that shows it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .types import Array, PyTree

# On a CPU, ``x^T dy`` with at most this many columns takes 1.2 to 4 times as long as its transpose.
FEW_COLUMNS = 16

# XLA hands most two-dimensional convolutions on a CPU to YNNPACK. Before this version that took up to ten times as long
# as Eigen; since then up to half as long (``benchmarks/forms.py conv``).
YNNPACK_CONVOLVES_FAST = jax.__version_info__ >= (0, 12)


def after_all(grads: PyTree) -> PyTree:
    """The same gradients; on a CPU each depends on all of them, so that parameters are updated in place.

    Within a loop, XLA orders operations by their dependencies alone. On a CPU it copies each matrix that the backward
    pass still reads when its update may already be written. Once every update depends on all gradients, it follows the
    last read, and the copies disappear: ``benchmarks/in_place.py`` counts and times them. On GPU and TPU the gradients
    stay as they are, since there the dependency keeps the compiler from fusing a product with its update.

    The gradient of a matrix with many rows and few columns is computed as its transpose, ``dy^T x``, which Eigen does
    faster; the update reads it in the other order. The same benchmark times both.
    """
    return jax.lax.platform_dependent(grads, cpu=_ordered, default=lambda grads: grads)


def _ordered(grads: PyTree) -> PyTree:
    # XLA drops an optimization barrier too early to help. It cannot know that this condition is never true.
    leaves = [g for g in jax.tree.leaves(grads) if g.size]
    never = sum(jnp.abs(g.ravel()[0]).astype(jnp.float32) for g in leaves) < -jnp.inf

    def chosen(g: Array) -> Array:
        return jnp.where(never, jnp.zeros_like(g), g)

    # Without the choice between them, XLA would fold the second transpose into the product again.
    return jax.tree.map(lambda g: chosen(g.T).T if _is_tall(g) else chosen(g), grads)


def _is_tall(g: Array) -> bool:
    return g.ndim == 2 and g.shape[1] <= FEW_COLUMNS and g.shape[0] >= 2 * g.shape[1]
