"""Forms that XLA compiles to faster programs; each is measured in benchmarks/."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def after_all(grads: Any) -> Any:
    """The same gradients, each made to depend on all of them.

    Then no parameter is updated before the last product that reads it, and XLA updates it in place, where it would copy
    each matrix first: within a loop it orders operations by what depends on what alone. An optimization barrier is
    dropped too early to help. The condition is never true, which no simplification can know.
    """
    leaves = [g for g in jax.tree.leaves(grads) if g.size]
    never = sum(jnp.abs(g.ravel()[0]).astype(jnp.float32) for g in leaves) < -jnp.inf
    return jax.tree.map(lambda g: jnp.where(never, jnp.zeros_like(g), g), grads)
