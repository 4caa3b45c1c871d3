"""Layers over several inputs against Keras, their masks, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conv_cases import assert_close_in_scale, normal, value_and_pullback

import fnn

MERGING = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]


def keras_layers():
    return pytest.importorskip("keras").layers


# Shapes that repeat axes of size 1, and that lack axes after the batch.
@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 3, 4)), ((2, 1, 4), (2, 3, 1)), ((2, 4), (2, 3, 4))])
def test_values_and_gradients_equal_keras(rng, shapes):
    layers, inputs = keras_layers(), [normal(rng, *shape) for shape in shapes]
    names = MERGING if shapes[0] == shapes[1] else MERGING[:-1]

    def keras(a, b):
        return [getattr(layers, name)()([a, b]) for name in names]

    def ours(a, b):
        return [getattr(fnn, name)().apply({}, {}, (a, b))[0] for name in names]

    def all_of(fn):
        return lambda a, b: jnp.concatenate([y.ravel() for y in fn(a, b)])

    assert_close_in_scale(*value_and_pullback((all_of(ours), all_of(keras)), inputs), 1e-6)


def test_three_inputs_or_one(rng):
    a, b, c = (normal(rng, 2, 3) for _ in range(3))

    def of(layer, *inputs):
        return layer.apply({}, {}, list(inputs))[0]

    np.testing.assert_allclose(of(fnn.Average(), a, b, c), (a + b + c) / 3, 1e-6)
    np.testing.assert_array_equal(of(fnn.Maximum(), a, b, c), np.max([a, b, c], 0))
    np.testing.assert_array_equal(of(fnn.Concatenate(1), a, b, c[:, :1]), np.concatenate([a, b, c[:, :1]], 1))
    np.testing.assert_array_equal(of(fnn.Add(), a), a)


def test_in_a_model_and_in_a_sequential(rng):
    a, b = normal(rng, 3, 4), normal(rng, 3, 4)
    model = fnn.Model(lambda layers, x: layers.add(layers.left(x[0]), x[1]), left=fnn.Dense(4), add=fnn.Add())
    params, state = jax.jit(model.init)(jax.random.key(0), (a, b))
    want = a @ np.asarray(params["left"]["kernel"]) + params["left"]["bias"] + b
    np.testing.assert_allclose(jax.jit(model.apply)(params, state, (a, b))[0], want, 1e-5, 1e-6)
    chain = fnn.Sequential(fnn.Concatenate(), fnn.Dense(2))
    params, state = jax.eval_shape(chain.init, jax.random.key(0), (a, b))
    assert params["dense"]["kernel"].shape == (8, 2)
    assert chain.per_example


@pytest.mark.parametrize("name", MERGING)
def test_masks_are_those_of_keras(rng, name):
    x = [normal(rng, 2, 3, 4), normal(rng, 2, 3, 4)]
    masks = [
        np.array([[True, True, False], [True, False, False]]),
        np.array([[True, False, False], [False, True, False]]),
    ]
    y, _ = getattr(fnn, name)().apply({}, {}, tuple(map(fnn.Masked, x, masks)))
    np.testing.assert_array_equal(y.mask, getattr(keras_layers(), name)().compute_mask(x, masks))
    np.testing.assert_array_equal(y.x, getattr(fnn, name)().apply({}, {}, tuple(x))[0])


def test_masks_are_concatenated_along_steps(rng):
    parts = [fnn.Masked(normal(rng, 2, n, 4), rng.random((2, n)) < 0.5) for n in (3, 2)]
    y, _ = fnn.Concatenate(axis=1).apply({}, {}, parts)
    np.testing.assert_array_equal(y.mask, np.concatenate([part.mask for part in parts], 1))


X = np.ones((2, 3), "float32")
STEPS = np.ones((2, 3, 4), "float32")
MASKED = fnn.Masked(STEPS, np.ones((2, 3), bool))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fnn.Add().apply({}, {}, X),
            r"Add: expected a tuple or list of arrays, got float32\[2, 3\].*layers\.name\(a",
        ),
        (lambda: fnn.Add().apply({}, {}, ()), r"Add: expected a tuple or list of arrays, got \(\)"),
        (lambda: fnn.Add().apply({}, {}, (X, None)), r"Add, input 1: expected one array"),
        (
            lambda: fnn.Multiply().apply({}, {}, (X, X[:, :2])),
            r"one shape, or of size 1 .* float32\[2, 3\], float32\[2, 2\]",
        ),
        (lambda: fnn.Add().apply({}, {}, (X, X[:1])), r"Add: expected arrays of one dtype and one batch size"),
        (
            lambda: fnn.Add().apply({}, {}, (X, X.astype(int))),
            r"one dtype and one batch size, got float32\[2, 3\], int64",
        ),
        (lambda: fnn.Subtract().apply({}, {}, (X, X, X)), r"Subtract: expected 2 inputs, got 3"),
        (
            lambda: fnn.Add().apply({}, {}, (MASKED, STEPS)),
            r"expected a mask with every input, or with none, got Masked",
        ),
        (lambda: fnn.Concatenate(0), r"Concatenate: expected axis to be an integer other than 0, the batch, got 0"),
        (lambda: fnn.Concatenate("1"), r"expected axis to be an integer"),
        (
            lambda: fnn.Concatenate(2).apply({}, {}, (X, X)),
            r"expected arrays that differ along axis 2 alone, got float32",
        ),
        (lambda: fnn.Concatenate(-2).apply({}, {}, (X, X)), r"expected arrays that differ along axis -2 alone"),
        (
            lambda: fnn.Concatenate().apply({}, {}, (STEPS, STEPS[:, :2])),
            r"along axis -1 alone, got .*float32\[2, 2, 4\]",
        ),
        (lambda: fnn.Concatenate().apply({}, {}, (STEPS, X)), r"along axis -1 alone, got float32\[2, 3, 4\], float32"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
