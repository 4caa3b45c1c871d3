"""A form for one platform appears only in programs for that platform."""

import jax
import jax.numpy as jnp
import pytest

from fnn._core.xla import after_all


@pytest.mark.parametrize(("platform", "selections"), [("cpu", 2), ("cuda", 0), ("tpu", 0)])
def test_gradients_are_ordered_only_on_a_cpu(platform, selections):
    grads = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    program = jax.jit(after_all).trace(grads).lower(lowering_platforms=(platform,)).as_text()
    assert program.count("stablehlo.select") == selections
