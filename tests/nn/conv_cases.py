"""What the tests of convolutions share: random arrays, pullbacks and comparisons."""

import jax
import jax.numpy as jnp
import numpy as np


def normal(rng, *shape, dtype=jnp.float32):
    return rng.normal(size=shape).astype(jnp.dtype(dtype))


def value_and_pullback(fns, arguments):
    """The value of each function and its gradients in the arguments, all from one compiled program."""

    def one(fn, arguments):
        y, pullback = jax.vjp(fn, *arguments)
        weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype)
        return y, pullback(weights)

    return jax.jit(lambda *arguments: [one(fn, arguments) for fn in fns])(*arguments)


def assert_close_in_scale(ours, reference, tolerance):
    assert jax.tree.structure(ours) == jax.tree.structure(reference)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(b).max(initial=0)))
