"""Whole optimizations by fnn and by Keras on the same gradients, for `test_optimizers.py` and `test_transforms.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

keras = pytest.importorskip("keras", reason="Keras is the reference here")

STEPS = 30
SHAPES = {"bias": (3,), "kernel": (2, 3)}


def start(seed=0):
    """Parameters, and noise for each step; the gradient is ``noise + 0.3 p``, so that it depends on the path."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(jnp.result_type(float))
    params = {name: jnp.asarray(rng.normal(size=shape).astype(dtype)) for name, shape in SHAPES.items()}
    scale = rng.lognormal(sigma=1.5, size=(STEPS, 1))
    noise = {
        name: jnp.asarray((rng.normal(size=(STEPS, *shape)).T * scale.T).T.astype(dtype))
        for name, shape in SHAPES.items()
    }
    return params, noise


def gradients(params, noise):
    return jax.tree.map(lambda p, n: n + 0.3 * p, params, noise)


def ours(optimizer, params, noise, state=None):
    """Parameters after each step, and the last state."""

    def body(carry, noise):
        params, state = carry
        updates, state = optimizer.update(gradients(params, noise), state, params)
        params = fnn.apply_updates(params, updates)
        return (params, state), params

    @jax.jit
    def run(params, state, noise):
        (_, state), path = jax.lax.scan(body, (params, state), noise)
        return path, state

    return run(params, optimizer.init(params) if state is None else state, noise)


def keras_s(optimizer, params, noise):
    """Parameters after each step of a Keras optimizer; with EMA, also the averages."""
    names = list(params)
    variables = [keras.Variable(np.asarray(params[name]), dtype=str(params[name].dtype), name=name) for name in names]
    optimizer.build(variables)

    def body(carry, noise):
        values, state = carry
        grads = gradients(dict(zip(names, values, strict=True)), noise)
        values, state = optimizer.stateless_apply(state, [grads[name] for name in names], values)
        return (values, state), (values, state)

    @jax.jit
    def run(values, state, noise):
        return jax.lax.scan(body, (values, state), noise)[1]

    values, states = run([params[name] for name in names], [v.value for v in optimizer.variables], noise)
    by_variable = {v.path: s for v, s in zip(optimizer.variables, states, strict=True)}
    return dict(zip(names, values, strict=True)), by_variable


def assert_same_path(path, keras_path, rtol=1e-9):
    for name in SHAPES:
        assert path[name].shape == (STEPS, *SHAPES[name])
        np.testing.assert_allclose(path[name], keras_path[name], rtol, rtol / 10, err_msg=name)
    assert np.abs(path["kernel"][-1] - path["kernel"][0]).min() > 1e-6, "every element must have moved"
