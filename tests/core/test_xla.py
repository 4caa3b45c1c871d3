"""A form for one platform appears only in programs for that platform."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn._core.xla import after_all

PLATFORMS = pytest.mark.parametrize(("platform", "here"), [("cpu", True), ("cuda", False), ("tpu", False)])


def program_of(platform, grads):
    return jax.jit(after_all).trace(grads).lower(lowering_platforms=(platform,)).as_text()


@PLATFORMS
def test_gradients_are_ordered_only_on_a_cpu(platform, here):
    program = program_of(platform, {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)})
    assert program.count("stablehlo.select") == (2 if here else 0)


@PLATFORMS
@pytest.mark.parametrize(("shape", "tall"), [((40, 16), True), ((31, 16), False), ((40, 17), False), ((16, 40), False)])
def test_gradients_of_tall_matrices_are_transposed_only_on_a_cpu(platform, here, shape, tall):
    assert program_of(platform, {"kernel": jnp.ones(shape)}).count("stablehlo.transpose") == (2 if here and tall else 0)


def test_the_gradient_of_a_tall_matrix_is_computed_as_its_transpose():
    """XLA folds a transpose into a product wherever nothing stands between them."""
    x, w = jnp.ones((8, 48)), jnp.ones((48, 3))
    gradients = jax.grad(lambda w: (jnp.sin(x @ w) ** 2).sum())
    for form, shape in ((lambda grads: grads, "f32[48,3]"), (after_all, "f32[3,48]")):
        program = jax.jit(lambda w, form=form: w - form(gradients(w))).lower(w).compile().as_text()
        products = re.findall(r"= (\S+?)\{\S* dot\(", program)
        assert shape in products, products
        assert len(products) == 2, "forward and backward"


@pytest.mark.parametrize("shape", [(40, 16), (40, 1), (5, 7)])
def test_the_values_of_gradients_stay(shape):
    rng = np.random.default_rng(0)
    grads = {"a": jnp.asarray(rng.normal(size=shape), jnp.float32).at[2, 0].set(jnp.nan), "b": jnp.ones(3)}
    jax.tree.map(np.testing.assert_array_equal, jax.jit(after_all)(grads), grads)
