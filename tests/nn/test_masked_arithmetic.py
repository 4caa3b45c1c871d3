"""Operators on `Masked`, and functions of arrays, which refuse it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

X = np.arange(12, dtype="float32").reshape(2, 3, 2) + 1
MASK = np.array([[True, True, False], [True, False, False]])
MASKED = fnn.Masked(jnp.asarray(X), jnp.asarray(MASK))
ROW = np.array([2.0, 3.0], "float32")


@pytest.mark.parametrize(
    ("fn", "want"),
    [
        (lambda m: m * 2, X * 2),
        (lambda m: 2 * m, X * 2),
        (lambda m: 1 - m, 1 - X),
        (lambda m: m - 1, X - 1),
        (lambda m: m + ROW, X + ROW),
        (lambda m: ROW + m, X + ROW),
        (lambda m: m / jnp.asarray(ROW), X / ROW),
        (lambda m: 1 / m, 1 / X),
        (lambda m: -m, -X),
        (lambda m: m**2, X**2),
        (lambda m: m + 2 * m, 3 * X),
    ],
)
def test_operators_keep_the_mask(fn, want):
    for call in (fn, jax.jit(fn)):
        found = call(MASKED)
        np.testing.assert_allclose(found.x, want, rtol=1e-6)
        np.testing.assert_array_equal(found.mask, MASK)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (jnp.tanh, r"Masked: expected one array, .*fnn\.Masked\(f\(masked\.x\), masked\.mask\).*fnn\.Activation"),
        (np.tanh, "Masked: expected one array"),
        (lambda m: jnp.asarray(ROW) * m, r"put the Masked first, masked \* array"),
        (lambda m: m + fnn.Masked(m.x, ~m.mask), "operands with one mask, got two masks"),
        (lambda m: m + np.ones((4, 2, 3, 2), "float32"), r"keeps the shape \(2, 3\) of the steps"),
    ],
)
def test_what_would_lose_the_mask_is_refused(fn, message):
    with pytest.raises(fnn.InputError, match=message):
        fn(MASKED)


def test_operators_in_a_model():
    layers = {"e": fnn.Embedding(5, 3, mask_zero=True), "s": fnn.SimpleRNN(3, return_sequences=True), "r": fnn.GRU(2)}
    ids = np.array([[1, 2, 0], [3, 0, 0]])

    def by_hand(layers, x):
        h = layers.e(x)
        return layers.r(fnn.Masked(h.x * 2 + layers.s(h).x, h.mask))

    def forward(layers, x):
        h = layers.e(x)
        return layers.r(2 * h + layers.s(h))

    plain = fnn.Model(by_hand, **layers)
    params, state = plain.init(jax.random.key(0), ids)
    found, want = (model.apply(params, state, ids)[0] for model in (fnn.Model(forward, **layers), plain))
    np.testing.assert_allclose(found, want, rtol=1e-5)
