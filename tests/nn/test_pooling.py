"""Pooling against `reduce_window` and Keras, its tie rule, and its compiled programs."""

import itertools

import helpers
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax import export, lax

from fnn._core.errors import InputError
from fnn.nn.pooling import (
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    avg_pool,
    global_avg_pool,
    global_max_pool,
    max_pool,
)

max_pool_on_a_tpu = helpers.for_a_tpu(max_pool)


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank)))

    window, strides = each(1, 4), each(1, 4)
    if draw(st.booleans()):
        strides = window
    size = tuple(k + n for k, n in zip(window, each(0, 5), strict=True))
    pads = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in window)
    return (2, *size, 3), window, strides, draw(st.sampled_from(["valid", "same", pads]))


def distinct(shape, dtype=jnp.float32):
    """Pairwise distinct values of both signs."""
    values = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape)
    return ((values - values.size / 2) / 8).astype(jnp.dtype(dtype))


def window_reduce(x, init, op, window, strides, padding):
    padding = padding.upper() if isinstance(padding, str) else ((0, 0), *padding, (0, 0))
    return lax.reduce_window(x, init, op, (1, *window, 1), (1, *strides, 1), padding)


def reference_max(x, *arguments):
    return window_reduce(x, -jnp.inf, lax.max, *arguments)


def reference_avg(x, *arguments):
    return window_reduce(x, 0.0, lax.add, *arguments) / window_reduce(jnp.ones_like(x), 0.0, lax.add, *arguments)


def values_and_pullbacks(fns, x):
    """The value of each function and its gradient, all from one compiled program."""

    def one(fn, x):
        y, pullback = jax.vjp(fn, x)
        return y, pullback(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype))[0]

    return jax.jit(lambda x: [one(fn, x) for fn in fns])(x)


@given(cases())
@settings(max_examples=5)
def test_values_and_gradients_equal_reduce_window(case):
    shape, *arguments = case
    x = distinct(shape)
    fns = max_pool, max_pool_on_a_tpu, avg_pool, reference_max, reference_max, reference_avg
    results = values_and_pullbacks([lambda x, fn=fn: fn(x, *arguments) for fn in fns], x)
    for (y, gradient), (y_, gradient_) in zip(results[:3], results[3:], strict=True):
        np.testing.assert_allclose(y, y_, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(gradient, gradient_, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@given(cases())
@settings(max_examples=100)
def test_values_and_gradients_equal_reduce_window_many(case):
    test_values_and_gradients_equal_reduce_window.hypothesis.inner_test(case)


@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (4, 5))])
def test_equals_keras_with_ties(seed):
    ops = pytest.importorskip("keras").ops
    rng = np.random.default_rng(seed)
    rank = 1 + seed % 3
    window, strides = int(rng.integers(2, 4)), int(rng.integers(1, 4))
    padding = ["valid", "same"][seed % 2]
    # Few distinct values, as after relu: most windows hold ties, which Keras resolves in the same way.
    x = rng.integers(0, 3, (2, *rng.integers(4, 8, rank), 3)).astype("float32")
    fns = max_pool, max_pool_on_a_tpu, avg_pool, ops.max_pool, ops.max_pool, ops.average_pool
    results = values_and_pullbacks([lambda x, fn=fn: fn(x, window, strides, padding) for fn in fns], x)
    for (y, gradient), (y_, gradient_) in zip(results[:3], results[3:], strict=True):
        np.testing.assert_allclose(y, y_, rtol=1e-6)
        np.testing.assert_allclose(gradient, gradient_, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pool", [max_pool, max_pool_on_a_tpu])
@pytest.mark.parametrize("strides", [2, 1, 3])
def test_the_first_maximum_gets_the_gradient(strides, pool):
    x = np.array([[1, 2, 0], [2, 2, 0], [2, 0, 2]], "float32").reshape(1, 3, 3, 1)

    def top_left(x):
        return pool(x, 2, strides)[0, 0, 0, 0]

    expected = np.zeros((3, 3))
    expected[0, 1] = 1  # row-major: (0, 1) comes before (1, 0) and (1, 1)
    np.testing.assert_array_equal(np.asarray(jax.jit(jax.grad(top_left))(x))[0, :, :, 0], expected)


@pytest.mark.parametrize("arguments", [(2, 2, "valid"), (3, 2, "same"), (2, 1, 1)])
def test_nan_propagates(arguments):
    @jax.jit
    def pooled(x):
        expected = reference_avg(x, *explicit(*arguments))  # sums with NaN are NaN
        ours = [pool(x, *arguments) for pool in (max_pool, max_pool_on_a_tpu, avg_pool)]
        return [jnp.isnan(y) for y in (expected, *ours)]

    for position in itertools.product((1, 2), repeat=2):
        x = distinct((1, 6, 6, 1))
        x[0, *position, 0] = np.nan
        expected, *ours = map(np.asarray, pooled(x))
        for nans in ours:
            np.testing.assert_array_equal(nans, expected)
        assert expected.any()
        assert not expected.all()


def explicit(window, strides, padding):
    padding = padding if isinstance(padding, str) else [(padding, padding)] * 2
    return (window,) * 2, (strides,) * 2, padding


def test_infinities():
    x = np.array([-np.inf, -np.inf, np.inf, 0], "float32").reshape(1, 4, 1)
    for pool in (max_pool, max_pool_on_a_tpu):
        pairs, threes = jax.jit(lambda x, pool=pool: (pool(x), pool(x, 3, 1, "same")))(x)
        np.testing.assert_array_equal(np.ravel(pairs), [-np.inf, np.inf])
        np.testing.assert_array_equal(np.ravel(threes), [-np.inf, np.inf, np.inf, np.inf])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("pool", [max_pool, max_pool_on_a_tpu, avg_pool, global_max_pool, global_avg_pool])
def test_dtype_kept(pool, dtype, strict_promotion):
    x = jax.ShapeDtypeStruct((2, 4, 4, 3), dtype)

    def both(x):
        y, pullback = jax.vjp(pool, x)
        return y, *pullback(y)

    assert [leaf.dtype for leaf in jax.eval_shape(both, x)] == [dtype, dtype]


def test_float64(x64):
    x = distinct((1, 5, 5, 2), jnp.float64) / 3
    both = jax.jit(lambda x: (avg_pool(x, 3, 2), reference_avg(x, (3, 3), (2, 2), "valid")))
    np.testing.assert_allclose(*both(x), rtol=1e-14)
    assert jax.eval_shape(max_pool, x).dtype == jnp.float64


@pytest.mark.parametrize("pool", [max_pool, max_pool_on_a_tpu, avg_pool, global_max_pool, global_avg_pool])
def test_forward_mode_and_second_derivatives(pool, x64):
    x = distinct((1, 4, 4, 2), jnp.float64) / 7
    direction = np.sin(np.arange(x.size)).reshape(x.shape)

    def loss(x):
        return jnp.sum(jnp.sin(pool(x)))

    @jax.jit
    def all_of_them(x):
        value, gradient = jax.value_and_grad(loss)(x)
        forward = jax.jvp(loss, (x,), (direction,))[1]
        over_reverse = jax.jvp(jax.grad(loss), (x,), (direction,))[1]
        return value, gradient, forward, over_reverse, jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x), direction))(x)

    step = 1e-6
    after, before = (all_of_them(x + sign * step * direction) for sign in (1, -1))
    slope, product = ((np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in zip(after[:2], before[:2], strict=True))
    _, _, forward, over_reverse, twice = all_of_them(x)
    np.testing.assert_allclose(forward, slope, rtol=1e-6)
    np.testing.assert_allclose(over_reverse, product, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(twice, over_reverse, rtol=1e-6, atol=1e-9)


def test_vmap_and_jit():
    x = distinct((3, 2, 5, 5, 2))

    def both(a):
        return [pool(a, 3, 2, "same") for pool in (max_pool, avg_pool)]

    one_by_one = [both(jnp.asarray(a)) for a in x]  # without jit
    for i, together in enumerate(jax.jit(jax.vmap(both))(x)):
        np.testing.assert_allclose(together, np.stack([each[i] for each in one_by_one]), rtol=1e-6)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pooling(rank, keepdims):
    x = distinct((2, *range(3, 3 + rank), 4))
    axes = tuple(range(1, 1 + rank))

    @jax.jit
    def pooled(x):
        layers = GlobalMaxPool(keepdims), GlobalAvgPool(keepdims)
        return global_max_pool(x, keepdims), global_avg_pool(x, keepdims), *(f.apply({}, {}, x)[0] for f in layers)

    largest, mean, *layers = pooled(x)
    np.testing.assert_allclose(largest, np.max(x, axes, keepdims=keepdims))
    np.testing.assert_allclose(mean, np.mean(x, axes, keepdims=keepdims), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(layers[0], largest)
    np.testing.assert_array_equal(layers[1], mean)


@pytest.mark.parametrize("arguments", [(2, 2, "valid"), (3, 2, "same"), (3, 1, "valid"), (2, 3, 1)])
def test_a_tpu_alone_reduces_windows(arguments):
    """Their gradient, select-and-scatter, is fast there and slow on a CPU and a GPU."""
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(max_pool(x, *arguments)))))
    for platform in "cpu", "cuda", "tpu":
        text = export.export(gradient, platforms=[platform])(distinct((2, 8, 8, 3))).mlir_module()
        for operation in "reduce_window", "select_and_scatter":
            assert (f"stablehlo.{operation}" in text) == (platform == "tpu"), (operation, platform)


def test_layers_and_defaults():
    x = distinct((2, 7, 6, 3))
    for layer, fn in ((MaxPool, max_pool), (AvgPool, avg_pool)):
        params, state = layer().init(jax.random.key(0), x)
        assert params == state == {}

        @jax.jit
        def outputs(x, layer=layer, fn=fn):
            ours = layer().apply({}, {}, x)[0], layer((3, 2), 1, "same").apply({}, {}, x)[0]
            return ours, (fn(x, 2, 2, "valid"), fn(x, (3, 2), (1, 1), "same"))

        jax.tree.map(np.testing.assert_array_equal, *outputs(x))
    names = [layer().name for layer in (MaxPool, AvgPool, GlobalMaxPool, GlobalAvgPool)]
    assert names == ["max_pool", "avg_pool", "global_max_pool", "global_avg_pool"]


def test_messages():
    x = np.ones((2, 6, 6, 4), "float32")
    bad = [
        (lambda: max_pool(np.ones((2, 144), "float32")), r"1 to 3 spatial axes, got float32\[2, 144\].*Reshape"),
        (lambda: avg_pool(x.astype("int32")), "a floating-point x"),
        (lambda: max_pool(x, 7), "at least 7 elements on spatial axis 0.*got 6"),
        (lambda: max_pool(x, 2, padding=2), "max_pool: expected every window to cover an element"),
        (lambda: avg_pool(x, 2, padding=[(0, 2), 0]), "avg_pool: expected every window to cover an element"),
        (lambda: max_pool(x, (2, 2, 2)), "pool_size to be an integer or 2 of them"),
        (lambda: max_pool(x, 0), "pool_size to be an integer of at least 1, got 0"),
        (lambda: max_pool(x, strides=0), "strides to be an integer of at least 1, got 0"),
        (lambda: MaxPool(0), "pool_size to be an integer of at least 1, got 0"),
        (lambda: AvgPool(strides=0.5), "strides to be an integer of at least 1, got 0.5"),
        (lambda: MaxPool(padding="smae"), "padding to be 'valid'"),
        (lambda: global_max_pool(x[0, 0]), "1 to 3 spatial axes"),
        (lambda: global_avg_pool(x[:, :0, 0]), "at least one element"),
    ]
    for call, message in bad:
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_half_precision_are_summed_in_float32(dtype):
    """A running sum of 1,024 values of 300 overflows in float16 and stops growing early in bfloat16."""
    x = jnp.full((1, 32, 32, 1), 300, dtype)
    for fn in (global_avg_pool, lambda x: avg_pool(x, 32)):
        y, back = jax.vjp(fn, x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, jnp.full_like(y, 300))
        np.testing.assert_allclose(back(jnp.ones_like(y))[0].astype("float32"), 1 / 1024, 1e-2)
