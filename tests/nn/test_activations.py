"""Activations: against Keras and plain NumPy, and at the ends of their range."""

import hypothesis
import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import few
from hypothesis import strategies as st

import fnn
from fnn import activations
from fnn.nn.activations import ACTIVATIONS, get_activation

keras = pytest.importorskip("keras", reason="Keras is the reference here")

# Every activation that Keras also has, some with options: (ours, Keras's).
WITH_KERAS = {
    "linear": (activations.linear, keras.activations.linear),
    "sigmoid": (activations.sigmoid, keras.activations.sigmoid),
    "log_sigmoid": (activations.log_sigmoid, keras.activations.log_sigmoid),
    "tanh": (activations.tanh, keras.activations.tanh),
    "relu": (activations.relu, keras.activations.relu),
    "leaky_relu": (activations.leaky_relu, keras.activations.leaky_relu),
    "leaky_relu 0.35": (
        lambda x: activations.leaky_relu(x, 0.35),
        lambda x: keras.activations.leaky_relu(x, negative_slope=0.35),
    ),
    "elu": (activations.elu, keras.activations.elu),
    "elu 0.6": (lambda x: activations.elu(x, 0.6), lambda x: keras.activations.elu(x, alpha=0.6)),
    "gelu": (activations.gelu, keras.activations.gelu),
    "gelu approximate": (lambda x: activations.gelu(x, True), lambda x: keras.activations.gelu(x, approximate=True)),
    "softplus": (activations.softplus, keras.activations.softplus),
    "softsign": (activations.softsign, keras.activations.softsign),
    "swish": (activations.swish, keras.activations.silu),
    "mish": (activations.mish, keras.activations.mish),
    "softmax": (activations.softmax, keras.activations.softmax),
    "log_softmax": (activations.log_softmax, keras.activations.log_softmax),
}


def values_and_gradients(fns, x, cotangent):
    """Those of each function, from one compiled program."""

    def one(fn, x):
        y, pullback = jax.vjp(fn, x)
        return y, pullback(cotangent)[0]

    return jax.jit(lambda x: {name: one(fn, x) for name, fn in fns.items()})(x)


@pytest.fixture(scope="module")
def ours_and_keras():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 5)).astype("float32") * 4
    cotangent = rng.normal(size=x.shape).astype("float32")
    return [values_and_gradients({name: pair[i] for name, pair in WITH_KERAS.items()}, x, cotangent) for i in (0, 1)]


@pytest.mark.parametrize("name", WITH_KERAS)
def test_values_and_gradients_match_keras(name, ours_and_keras):
    (y, slope), (keras_y, keras_slope) = (results[name] for results in ours_and_keras)
    np.testing.assert_allclose(y, keras_y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, keras_slope, rtol=1e-5, atol=1e-6)


def test_every_activation_is_compared_with_keras_or_with_numpy():
    assert {name.split()[0] for name in WITH_KERAS} | {"step", "sign", "sinc", "silu"} == set(ACTIVATIONS)
    assert activations.silu is activations.swish


def test_step_sign_and_sinc_match_numpy(rng):
    x = np.concatenate([rng.normal(size=20), [0.0, -0.5, 0.5, 1e-30, 40.0]]).astype("float32")
    step, sign, sinc = jax.jit(lambda x: (activations.step(x), activations.sign(x), activations.sinc(x)))(x)
    np.testing.assert_array_equal(step, np.heaviside(x, 1))
    np.testing.assert_array_equal(sign, np.sign(x))
    np.testing.assert_allclose(sinc, np.sinc(x.astype("float64") / np.pi), 1e-5, 1e-7)


def test_sinc_has_an_accurate_derivative_near_zero():
    # cos(x) / x - sin(x) / x^2 cancels there: at 1e-4 the float32 error was 30 times the value.
    x = np.array([0.0, 1e-8, 1e-6, 1e-4, 1e-2, 0.3, 0.49, 0.51, 2.0, -3.0])
    slope = jax.jit(jax.vmap(jax.grad(activations.sinc)))(x.astype("float32"))
    safe = np.where(x == 0, 1, x)
    exact = np.where(np.abs(x) < 1e-2, -x / 3 + x**3 / 30, np.cos(safe) / safe - np.sin(safe) / safe**2)
    np.testing.assert_allclose(slope, exact, rtol=2e-5)


def test_values_and_gradients_are_finite_for_large_inputs():
    x = np.array([[1e4, -1e4, 0], [-1e4, 30, -30], [1e-30, -1e-30, 200]], "float32")
    cotangent = np.arange(1, 10, dtype="float32").reshape(3, 3)
    for name, (y, slope) in values_and_gradients(ACTIVATIONS, x, cotangent).items():
        assert np.isfinite(y).all(), name
        assert np.isfinite(slope).all(), name


def test_limits_far_from_zero():
    expected = {
        "sigmoid": [0, 1],
        "log_sigmoid": [-1e4, 0],
        "softplus": [0, 1e4],
        "elu": [-1, 1e4],
        "gelu": [0, 1e4],
        "swish": [0, 1e4],
        "mish": [0, 1e4],
        "softmax": [0, 1],
        "log_softmax": [-2e4, 0],
        "leaky_relu": [-2e3, 1e4],
    }
    found = jax.jit(lambda x: {name: ACTIVATIONS[name](x) for name in expected})(np.array([-1e4, 1e4], "float32"))
    for name, want in expected.items():
        np.testing.assert_allclose(found[name], want, rtol=1e-6, err_msg=name)


def test_derivatives_at_zero():
    fns = {name: fn for name, fn in ACTIVATIONS.items() if "softmax" not in name}
    slope = {
        name: float(g) for name, g in jax.jit(lambda x: {n: jax.grad(fn)(x) for n, fn in fns.items()})(0.0).items()
    }
    assert slope["relu"] == 0
    assert slope["step"] == slope["sign"] == slope["sinc"] == 0
    assert slope["leaky_relu"] == pytest.approx(0.2)
    assert slope["elu"] == slope["linear"] == slope["tanh"] == slope["softsign"] == 1
    assert slope["sigmoid"] == pytest.approx(0.25)
    assert slope["softplus"] == slope["swish"] == slope["gelu"] == slope["log_sigmoid"] == pytest.approx(0.5)


def test_relu_propagates_nan():
    assert np.isnan(activations.relu(jnp.array([jnp.nan, -1.0]))).tolist() == [True, False]


rows = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=2, min_side=4, max_side=4),
    elements=st.floats(-1e4, 1e4, width=32),
)


@jax.jit
def softmaxes(x, shifted):
    return activations.softmax(x), activations.softmax(shifted), activations.log_softmax(x)


@hypothesis.given(rows, st.floats(-1e4, 1e4, width=32))
def test_softmax_is_a_distribution_and_invariant_to_shifts(x, shift):
    p, shifted, log_p = map(np.asarray, softmaxes(x, x + shift))
    assert np.isfinite(p).all()
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(shifted, p, atol=5e-3)
    np.testing.assert_allclose(np.exp(log_p), p, atol=1e-5)
    # The largest input has the largest probability; others may equal it after rounding.
    assert np.array_equal(np.take_along_axis(p, x.argmax(-1, keepdims=True), -1)[..., 0], p.max(-1))


def test_softmax_along_another_axis(rng):
    x = rng.normal(size=(3, 4, 2)).astype("float32")
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    found, log = jax.jit(lambda x: (activations.softmax(x, axis=1), activations.log_softmax(x, axis=1)))(x)
    np.testing.assert_allclose(found, p, 1e-5)
    np.testing.assert_allclose(log, np.log(p), 1e-5, 1e-6)


def test_parameters_of_activations_may_be_traced(rng):
    x, slopes = rng.normal(size=5).astype("float32"), np.array([0.1, 0.7], "float32")
    for fn in (activations.leaky_relu, activations.elu):
        swept, plain = jax.jit(lambda x, s, fn=fn: (jax.vmap(lambda s: fn(x, s))(s), [fn(x, 0.1), fn(x, 0.7)]))(
            x, slopes
        )
        np.testing.assert_allclose(swept, plain, 1e-6)


def test_names():
    assert get_activation(None) is activations.linear
    assert get_activation("gelu") is activations.gelu
    assert get_activation(jnp.sin) is jnp.sin
    for call in (get_activation, fnn.Activation, lambda name: fnn.Dense(2, activation=name)):
        with pytest.raises(fnn.InputError, match=r"activation: expected .* got 'rleu'\. Did you mean 'relu'"):
            call("rleu")
    with pytest.raises(fnn.InputError, match=r"got 'zzz'\. Known: elu, gelu"):
        get_activation("zzz")
    with pytest.raises(fnn.InputError, match=r"expected the name of a known activation or a function, got 3"):
        get_activation(3)


@pytest.mark.parametrize("given", [fnn.Activation, fnn.LSTM, fnn.Activation("relu"), fnn.Dropout(0.1)])
def test_a_layer_is_no_activation(given):
    with pytest.raises(fnn.InputError, match=r"^activation: .* layers?\. Pass a function, or a name such as '\w+'\.$"):
        fnn.Dense(3, activation=given)


def test_activation_layer(rng):
    x = jnp.asarray(rng.normal(size=(2, 3)).astype("float32"))
    for layer, name, want in (
        (fnn.Activation("relu"), "relu", np.maximum(x, 0)),
        (fnn.Activation(jnp.sin), "activation", np.sin(x)),
        (fnn.Activation("tanh", name="squash"), "squash", np.tanh(x)),
    ):
        assert layer.name == name
        assert layer.kind == "Activation"
        assert layer.init(jax.random.key(0), x) == ({}, {})
        y, state = layer.apply({}, {}, x)
        np.testing.assert_allclose(y, want, 1e-5)
        assert state == {}


def test_are_per_example_accepts_only_library_functions():
    assert activations.are_per_example("relu", None, activations.softmax, "silu")
    assert not activations.are_per_example("relu", lambda x: x)
    assert not activations.are_per_example(jnp.tanh)


WIDENED = "log_sigmoid", "elu", "gelu", "softplus", "softsign", "swish", "mish", "sinc", "softmax", "log_softmax"


@pytest.mark.parametrize(
    ("name", "dtype"),
    few([(name, "bfloat16") for name in WIDENED])
    + [pytest.param(name, "float16", marks=[] if name == "mish" else pytest.mark.slow) for name in WIDENED],
)
def test_half_precision_is_rounded_once(name, dtype):
    """Even eagerly, where each operation rounds, the error from float64 is at most half a unit in the last place."""
    fn = ACTIVATIONS[name]
    x = jnp.asarray(np.linspace(-9, 9, 64, dtype="float32").astype(dtype).reshape(4, 16))
    c = np.arange(64).reshape(4, 16) % 5 - 2  # exact in any dtype

    def both(x):
        y, pullback = jax.vjp(fn, x)
        return y, pullback(jnp.asarray(c.astype(x.dtype)))[0]

    with jax.enable_x64(True):
        want, want_slope = jax.jit(both)(np.asarray(x).astype("float64"))
    y, slope = both(x)
    assert y.dtype == slope.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(y).astype("float64"), want, 0.51 * eps, 1e-7)
    np.testing.assert_allclose(np.asarray(slope).astype("float64"), want_slope, 0.51 * eps, 1e-6)


def test_softmax_of_infinite_elements_is_the_limit_of_large_ones():
    x = np.array([[-np.inf, 0, 1], [np.inf, 0, np.inf], [-np.inf] * 3, [np.nan, 0, 1]], "float32")
    s = 1 / (1 + np.e)
    want = np.array([[0, s, 1 - s], [0.5, 0, 0.5], [1 / 3] * 3, [np.nan] * 3])

    @jax.jit
    def found(x):
        slope = jax.grad(lambda x: (activations.softmax(x)[:, 1] ** 2).sum())(x[:3])
        return activations.softmax(x), activations.log_softmax(x), activations.softmax(x.T, 0), slope

    p, log_p, transposed, slope = found(x)
    np.testing.assert_allclose(p, want, 1e-6)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(log_p, np.log(want), 1e-5)
    np.testing.assert_allclose(transposed, want.T, 1e-6)
    np.testing.assert_allclose(slope, [[0, 2 * s * s * (1 - s), -2 * s * s * (1 - s)], [0] * 3, [0] * 3], 1e-5, 1e-7)
