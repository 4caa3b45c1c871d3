"""Gradients by example, Hessian products and influence, against whole matrices in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import fnn
from fnn.training.batch import Batch
from fnn.training.derivatives import loss_of


def setting(rng, model, loss, y, penalty=None, size=12, features=(3,)):
    x = jnp.asarray(rng.normal(size=(size, *features)))
    task = fnn.Task(model, loss, "sgd", penalty=penalty)
    return task, fnn.init(task, jax.random.key(1), x), (x, jnp.asarray(y))


def dense(rng):
    model = fnn.Sequential(fnn.Dense(4, activation="tanh"), fnn.Dropout(0.5), fnn.Dense(3))
    penalty = fnn.penalties.l2(0.02)
    return setting(rng, model, "sparse_categorical_crossentropy", rng.integers(0, 3, 12), penalty)


def conv(rng):
    model = fnn.Sequential(fnn.Conv(2, 3, activation="tanh"), fnn.Flatten(), fnn.Dense(1))
    return setting(rng, model, "mse", rng.normal(size=(3, 1)), size=3, features=(5, 5, 1))


def recurrent(rng):
    model = fnn.Sequential(fnn.LSTM(2), fnn.Dense(1))
    return setting(rng, model, "mse", rng.normal(size=(3, 1)), size=3, features=(4, 2))


@pytest.mark.slow
@pytest.mark.parametrize("make", [dense, conv, recurrent])
def test_example_gradients_match_the_gradient_of_each_row(make, rng, x64):
    task, ts, (x, y) = make(rng)
    weight = jnp.asarray(rng.uniform(0.5, 2, len(x)))
    grads = fnn.example_gradients(task, ts, (x, y, weight))
    for i in (0, len(x) - 1):
        row = Batch(x[i : i + 1], y[i : i + 1], weight[i : i + 1])
        own = jax.grad(lambda params, row=row: loss_of(task, params, ts.state, row))(ts.params)
        jax.tree.map(lambda g, o, i=i: np.testing.assert_allclose(g[i], o, 1e-9, 1e-12), grads, own)
    whole = jax.grad(lambda params: loss_of(task, params, ts.state, Batch(x, y, weight)))(ts.params)
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g.mean(0), w, 1e-9, 1e-12), grads, whole)


@pytest.mark.parametrize("make", [dense, *(pytest.param(make, marks=pytest.mark.slow) for make in (conv, recurrent))])
def test_hessian_vector_products_match_the_hessian(make, rng, x64):
    task, ts, data = make(rng)
    flat, restore = ravel_pytree(ts.params)
    vector = rng.normal(size=flat.shape)
    found = ravel_pytree(fnn.hessian_vector_product(task, ts, data, restore(jnp.asarray(vector))))[0]
    gradient = jax.jit(jax.grad(lambda p: loss_of(task, restore(p), ts.state, Batch(*data))))
    flat, step = np.asarray(flat), 1e-5 * vector
    slope = (np.asarray(gradient(flat + step)) - np.asarray(gradient(flat - step))) / 2e-5
    np.testing.assert_allclose(found, slope, 1e-5, 1e-7)


def test_influence_predicts_the_change_of_the_test_loss(rng, x64):
    """The formula with the whole Hessian, and training again with one example weighted more."""
    x = rng.normal(size=(10, 2))
    y = x @ np.array([[1.0], [-2.0]]) + rng.normal(size=(10, 1))
    task = fnn.Task(fnn.Dense(1), "mse", "sgd")
    start = fnn.init(task, jax.random.key(0), x)
    design = np.concatenate([x, np.ones((10, 1))], 1)

    def solved(weights):
        w = np.linalg.solve(design.T @ (weights[:, None] * design), design.T @ (weights[:, None] * y))
        return start._replace(params={"kernel": w[:2], "bias": w[2]})

    ts, test = solved(np.ones(10)), (x[:3] + 0.5, y[:3])
    found = fnn.influence(task, ts, (x, y), test, damping=0.0)
    test_loss = jax.jit(lambda params: loss_of(task, params, {}, Batch(*test)))
    for i, row in enumerate(np.eye(10)):
        # The derivative by the weight of row i in the mean over 10 rows, hence the factor.
        up, down = (float(test_loss(solved(1 + e * row).params)) for e in (1e-5, -1e-5))
        assert float(found[i]) == pytest.approx((up - down) / 2e-5 * 10, rel=1e-4, abs=1e-8)


def test_invalid_calls_are_rejected(rng):
    task = fnn.Task(fnn.Dense(1), "mse", "sgd")
    x = jnp.ones((3, 2))
    ts = fnn.init(task, jax.random.key(0), x)
    with pytest.raises(fnn.InputError, match=r"others at \['bias'\]"):
        fnn.hessian_vector_product(task, ts, (x, x[:, :1]), {"kernel": jnp.ones((2, 1))})
    with pytest.raises(fnn.InputError, match="same length"):
        fnn.example_gradients(task, ts, (x, x[:2, :1]))
    with pytest.raises(fnn.InputError, match="damping"):
        fnn.influence(task, ts, (x, x[:, :1]), (x, x[:, :1]), damping=-1.0)
    with pytest.raises(fnn.InputError, match="as first argument"):
        fnn.example_gradients(fnn.Dense(1), ts, (x, x[:, :1]))
