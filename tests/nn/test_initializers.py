"""Initializers: moments and ranges from their papers and Keras, orthogonality, and independence of draws."""

from functools import partial

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OPTIMIZED, compilations
from hypothesis import strategies as st

import fnn
from fnn import initializers
from fnn.nn.initializers import INITIALIZERS, fans, get_initializer

keras = pytest.importorskip("keras", reason="Keras is the reference here")

SHAPE = (60, 140)
VARIANCE = {
    "glorot_uniform": 2 / 200,
    "glorot_normal": 2 / 200,
    "he_uniform": 2 / 60,
    "he_normal": 2 / 60,
    "lecun_uniform": 1 / 60,
    "lecun_normal": 1 / 60,
    "uniform": 0.1**2 / 12,
    "normal": 0.05**2,
    "orthogonal": 1 / 140,
}


@jax.jit
def draw_all(key):
    return {name: init(key, SHAPE, jnp.float32) for name, init in INITIALIZERS.items()}


@pytest.fixture(scope="module")
def draws():
    return jax.tree.map(np.asarray, draw_all(jax.random.key(5)))


@pytest.fixture(scope="module")
def other_draws():
    return jax.tree.map(np.asarray, draw_all(jax.random.key(6)))


@pytest.mark.parametrize("name", VARIANCE)
def test_mean_and_variance(draws, name):
    values, deviation = draws[name], VARIANCE[name] ** 0.5
    assert values.shape == SHAPE
    assert abs(values.mean()) < 0.04 * deviation  # four deviations of the mean of 8,400 draws
    assert values.std() == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform", "lecun_uniform", "uniform"])
def test_uniform_initializers_fill_exactly_their_range(draws, name):
    limit = (3 * VARIANCE[name]) ** 0.5
    assert 0.999 * limit < draws[name].max() <= limit * (1 + 1e-6)
    assert -limit * (1 + 1e-6) <= draws[name].min() < -0.999 * limit


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform", "lecun_uniform"])
def test_numbers_from_the_host_have_the_bits_of_a_program(name, dtype):
    for shape in [(784, 16), (3, 3, 8, 5), (7,)]:
        key = jax.random.wrap_key_data(np.array([3, len(shape)], np.uint32))
        draw = partial(INITIALIZERS[name], shape=shape, dtype=jnp.dtype(dtype))
        expected = jax.jit(draw).lower(key).compile(compiler_options=OPTIMIZED)(key)
        with compilations() as count:
            drawn = draw(key)
        assert count() == 0
        assert (drawn.dtype, drawn.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(np.asarray(drawn).view(np.uint8), np.asarray(expected).view(np.uint8))


@pytest.mark.parametrize("name", ["glorot_normal", "he_normal", "lecun_normal"])
def test_normal_initializers_are_truncated_at_two_deviations(draws, name):
    limit = 2 * VARIANCE[name] ** 0.5 / 0.87962566103423978
    assert 0.98 * limit < np.abs(draws[name]).max() <= limit * (1 + 1e-6)
    # the plain normal is not truncated
    assert np.abs(draws["normal"]).max() > 3 * 0.05


def test_constants(draws):
    assert (draws["zeros"] == 0).all()
    assert (draws["ones"] == 1).all()
    key = jax.random.key(0)
    np.testing.assert_array_equal(initializers.constant(2.5)(key, (2, 3)), np.full((2, 3), 2.5, "float32"))
    np.testing.assert_array_equal(initializers.constant([1, 2])(key, (3, 2)), [[1, 2]] * 3)


def test_uniform_and_normal_accept_traced_arguments():
    key = jax.random.key(1)
    uniform = jax.jit(jax.vmap(lambda low: initializers.uniform(low, 5.0)(key, (200,))))
    values = np.asarray(uniform(np.array([2, 4], "float32")))
    assert 2 <= values[0].min() < 2.1
    assert 4 <= values[1].min() < 4.1
    normal = jax.jit(lambda stddev: initializers.normal(3.0, stddev)(key, (2000,)))
    values = np.asarray(normal(np.float32(0.1)))
    assert float(values.mean()) == pytest.approx(3, abs=0.01)
    assert float(values.std()) == pytest.approx(0.1, rel=0.06)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 4)])
def test_orthogonal_rows_or_columns(shape):
    q = np.asarray(initializers.orthogonal(jax.random.key(2), shape)).reshape(-1, shape[-1])
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)


def test_orthogonal_is_uniform_over_signs():
    # Without the correction by the signs of R's diagonal, all of LAPACK's first row has the same sign.
    draw = jax.jit(jax.vmap(lambda key: initializers.orthogonal(key, (3, 3))))
    q = draw(jax.random.split(jax.random.key(3), 400))
    assert np.abs(np.asarray(q).mean(0)).max() < 0.15
    assert 0.4 < (np.linalg.det(np.asarray(q)) > 0).mean() < 0.6


@hypothesis.given(st.lists(st.integers(1, 9), min_size=0, max_size=5))
def test_fans_match_keras(shape):
    shape = tuple(shape)
    assert fans(shape) == tuple(keras.src.initializers.random_initializers.compute_fans(shape))


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name not in ("zeros", "ones")])
def test_another_key_gives_other_numbers(name, draws, other_draws):
    assert (other_draws[name] != draws[name]).mean() > 0.99


def test_names_and_errors():
    assert get_initializer("he_normal") is initializers.he_normal

    def own(key, shape, dtype):
        return jnp.full(shape, 3, dtype)

    assert get_initializer(own) is own
    layer, x = fnn.Dense(2, kernel_initializer=own, bias_initializer="ones"), jax.ShapeDtypeStruct((1, 3), "float32")
    params, _ = layer.init(jax.random.key(0), x)
    np.testing.assert_array_equal(params["kernel"], np.full((3, 2), 3))
    np.testing.assert_array_equal(params["bias"], [1, 1])
    with pytest.raises(fnn.InputError, match=r"initializer: .* got 'glorot'\. Did you mean 'glorot_(normal|uniform)'"):
        get_initializer("glorot")
    with pytest.raises(fnn.InputError, match=r"orthogonal: expected a shape with at least two axes, got \(3,\)"):
        initializers.orthogonal(jax.random.key(0), (3,))


@pytest.fixture(scope="module")
def small_draws():
    """By dtype and name."""

    @jax.jit
    def draw(key):
        return {
            dtype: {name: init(key, (30, 20), jnp.dtype(dtype)) for name, init in INITIALIZERS.items()}
            for dtype in ("float32", "bfloat16", "float16")
        }

    return jax.tree.map(np.asarray, draw(jax.random.key(1)))


@pytest.mark.parametrize("name", [n for n in initializers.INITIALIZERS if n not in ("zeros", "ones")])
def test_half_precision_is_the_rounded_float32(name, small_draws):
    want = small_draws["float32"][name]
    for dtype in ("bfloat16", "float16"):
        got, rounded = small_draws[dtype][name], want.astype(dtype)
        assert got.dtype == dtype
        # The two draws may differ in the last bit of float32, which rarely changes how a value rounds.
        assert np.mean(got != rounded) < 0.01
        np.testing.assert_allclose(got.astype("float32"), rounded.astype("float32"), jnp.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: initializers.normal(stddev=float("nan")), r"normal: expected stddev in \[0, inf\), got nan"),
        (lambda: initializers.normal(stddev=-1), r"normal: expected stddev in \[0, inf\), got -1"),
        (lambda: initializers.normal(mean=float("inf")), r"normal: expected mean to be finite, got inf"),
        (lambda: initializers.normal("0"), r"normal: expected mean to be a number, got '0'"),
        (lambda: initializers.uniform(float("nan")), r"uniform: expected minval to be finite, got nan"),
        (lambda: initializers.uniform(1, 0), r"uniform: expected maxval of at least minval, got minval=1, maxval=0"),
        (lambda: initializers.constant(float("nan")), r"constant: expected a value without NaN, got nan"),
        (lambda: initializers.constant([0.0, jnp.nan]), r"constant: expected a value without NaN"),
        (lambda: initializers.constant(None), r"constant: expected value to be a number, got None"),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_shape_may_be_a_list(name):
    key = jax.random.key(0)
    np.testing.assert_array_equal(INITIALIZERS[name](key, [3, 4]), INITIALIZERS[name](key, (3, 4)))


def test_bounds_may_be_integers_beyond_32_bits():
    drawn = fnn.initializers.uniform(0, 2**33)(jax.random.key(0), (100,))
    assert 2**31 < float(drawn.max()) < 2**33
