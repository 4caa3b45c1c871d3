"""Dense, Flatten and Reshape: against Keras and NumPy, with random widths, and their errors."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import fnn
from fnn.nn.shape import flatten, reshape

keras = pytest.importorskip("keras", reason="Keras is the reference here")


@pytest.mark.parametrize("case", range(4))
def test_values_and_gradients_match_keras(case):
    rng = np.random.default_rng(case)
    units, width = rng.integers(2, 7, 2)
    shape = (int(rng.integers(2, 5)), *rng.integers(2, 4, case % 2), width)
    activation, bias = [None, "tanh", "softmax", "gelu"][case], case != 2
    x = rng.normal(size=shape).astype("float32")
    theirs = keras.layers.Dense(int(units), activation=activation, use_bias=bias, kernel_initializer="zeros")
    theirs.build(shape)
    ours = fnn.Dense(int(units), activation, use_bias=bias)
    shapes, _ = jax.eval_shape(ours.init, jax.random.key(0), x)
    assert {name: leaf.shape for name, leaf in shapes.items()} == {v.name: tuple(v.shape) for v in theirs.weights}
    params = jax.tree.map(lambda p: rng.normal(size=p.shape).astype("float32"), shapes)
    weights = [params[v.name] for v in theirs.weights]
    cotangent = rng.normal(size=(*shape[:-1], units)).astype("float32")

    @jax.jit
    def both(params, weights, x):
        y, back = jax.vjp(lambda p, x: ours.apply(p, {}, x)[0], params, x)
        keras_y, keras_back = jax.vjp(lambda w, x: theirs.stateless_call(w, [], x)[0], weights, x)
        return (y, back(cotangent)), (keras_y, keras_back(cotangent))

    (y, (slope, x_slope)), (keras_y, (keras_slope, keras_x_slope)) = both(params, weights, x)
    np.testing.assert_allclose(y, keras_y, 1e-5, 1e-6)
    np.testing.assert_allclose(x_slope, keras_x_slope, 1e-5, 1e-5)
    for variable, theirs_slope in zip(theirs.weights, keras_slope, strict=True):
        np.testing.assert_allclose(slope[variable.name], theirs_slope, 1e-5, 1e-5)


def test_defaults_of_init():
    params = fnn.dense_init(jax.random.key(0), 30, 50)
    limit = (6 / 80) ** 0.5
    assert params["kernel"].shape == (30, 50)
    assert 0.98 * limit < np.abs(params["kernel"]).max() <= limit
    np.testing.assert_array_equal(params["bias"], np.zeros(50))
    key = jax.random.key(0)
    assert set(jax.eval_shape(lambda: fnn.dense_init(key, 3, 2, use_bias=False))) == {"kernel"}
    both = jax.jit(lambda key: fnn.dense_init(key, 4, 4, bias_initializer="normal", kernel_initializer="normal"))(key)
    both = jax.tree.map(np.asarray, both)
    assert not np.array_equal(both["kernel"][0], both["bias"]), "kernel and bias must not share a key"


def test_parameters_take_the_dtype_of_x_unless_one_is_given():
    key = jax.random.key(0)
    for x_dtype, dtype, want in (
        ("bfloat16", None, "bfloat16"),
        ("uint8", None, "float32"),
        ("float32", "bfloat16", "bfloat16"),
    ):
        x = jax.ShapeDtypeStruct((1, 3), jnp.dtype(x_dtype))
        params, _ = jax.eval_shape(fnn.Dense(2, dtype=dtype).init, key, x)
        assert {leaf.dtype for leaf in params.values()} == {jnp.dtype(want)}


def test_a_single_example_inside_vmap(rng):
    params = {"kernel": rng.normal(size=(3, 2)).astype("float32"), "bias": rng.normal(size=2).astype("float32")}
    x = rng.normal(size=(5, 3)).astype("float32")
    both = jax.jit(lambda x: (jax.vmap(lambda row: fnn.dense(params, row))(x), fnn.dense(params, x)))
    np.testing.assert_allclose(*both(x), 1e-6)


PARAMS = {"kernel": jnp.ones((12, 2)), "bias": jnp.ones(2)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Dense(0), r"Dense: expected units to be an integer of at least 1, got 0"),
        (lambda: fnn.Dense(2.0), r"Dense: expected units to be an integer of at least 1, got 2\.0"),
        (lambda: fnn.Dense(True), r"Dense: expected units to be an integer of at least 1, got True"),
        (lambda: fnn.dense_init(jax.random.key(0), 0, 2), r"dense_init: expected in_features to be an integer .* 0"),
        (lambda: fnn.dense_init(jax.random.key(0), 3, -1), r"dense_init: expected units to be an integer .* got -1"),
        (lambda: fnn.Dense(2, kernel_initializer="he"), r"initializer: .*'he'"),
        (
            lambda: fnn.dense(PARAMS, jnp.ones((4, 11))),
            r"dense: expected x of shape \(batch, 12\) .*, got float32\[4, 11\]",
        ),
        (lambda: fnn.dense(PARAMS, jnp.ones(())), r"dense: expected x of shape \(batch, 12\)"),
        (lambda: fnn.dense(PARAMS, jnp.ones((4, 3, 4))), r"got float32\[4, 3, 4\]\. Add Flatten\(\) before it"),
        (
            lambda: fnn.dense(PARAMS, jnp.ones((4, 12), jnp.int32)),
            r"dense: expected a floating-point x, got int32\[4, 12\]",
        ),
        (
            lambda: fnn.dense(PARAMS, jnp.ones((4, 12), jnp.bfloat16)),
            r"expected x of dtype float32.*\. Cast x with x.astype",
        ),
        (
            lambda: fnn.dense({"weight": jnp.ones(2)}, jnp.ones((4, 2))),
            r"dense: expected parameters with a leaf 'kernel', got \['weight'\]",
        ),
        (lambda: fnn.dense([], jnp.ones((4, 2))), r"expected parameters with a leaf 'kernel', got a list"),
        (
            lambda: fnn.dense(PARAMS | {"bias": jnp.ones((4, 1))}, jnp.ones((4, 12))),
            r"dense: expected a bias of shape \(2,\) beside its kernel, got float32\[4, 1\]",
        ),
        (lambda: fnn.dense(PARAMS | {"bias": jnp.ones(1)}, jnp.ones((4, 12))), r"expected a bias of shape \(2,\)"),
        (
            lambda: fnn.Dense(2).init(jax.random.key(0), jnp.ones(3)),
            r"Dense: expected x of shape \(batch, \.\.\., features\), got float32\[3\]\. Use x\[None\] for one",
        ),
        (lambda: flatten(jnp.ones(())), r"flatten: expected x with a batch axis, got float32\[\]"),
        (lambda: reshape(jnp.ones(()), (1,)), r"reshape: expected x with a batch axis, got float32\[\]"),
        (
            lambda: reshape(jnp.ones((2, 6)), (4, 2)),
            r"reshape: expected x with \(batch, 4, 2\) elements, got float32\[2, 6\]",
        ),
        (lambda: reshape(jnp.ones((2, 6)), (4, -1)), r"reshape: expected x with \(batch, 4, -1\) elements"),
        (lambda: reshape(jnp.ones((2, 6)), (-1, -1)), r"reshape: expected x with \(batch, -1, -1\) elements"),
        (lambda: reshape(jnp.ones((2, 6)), (0, -1)), r"reshape: expected x with \(batch, 0, -1\) elements"),
        (lambda: reshape(jnp.ones((2, 6)), (-2, 3)), r"reshape: expected x with \(batch, -2, 3\) elements"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


@hypothesis.settings(max_examples=12)
@hypothesis.given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_flatten_and_reshape_keep_the_order_of_elements(shape, data):
    x = np.arange(np.prod(shape)).reshape(shape).astype("float32")
    y = flatten(x)
    assert y.shape == (shape[0], int(np.prod(shape[1:])))
    np.testing.assert_array_equal(y, x.reshape(shape[0], -1))

    target = data.draw(st.permutations(shape[1:]))
    np.testing.assert_array_equal(reshape(x, tuple(target)), x.reshape(shape[0], *target))
    if target:
        target[data.draw(st.integers(0, len(target) - 1))] = -1
        np.testing.assert_array_equal(reshape(x, tuple(target)), x.reshape(shape[0], *target))


def test_flatten_and_reshape_layers():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    for layer, shape in (
        (fnn.Flatten(), (2, 12)),
        (fnn.Reshape((4, -1)), (2, 4, 3)),
        (fnn.Reshape(12), (2, 12)),
        (fnn.Reshape([2, 6]), (2, 2, 6)),
    ):
        assert layer.init(jax.random.key(0), x) == ({}, {})
        y, state = layer.apply({}, {}, x)
        assert y.shape == shape
        assert state == {}
        np.testing.assert_array_equal(np.ravel(y), np.arange(24))
    empty = flatten(jnp.ones((0, 3, 2)))
    assert empty.shape == (0, 6)
