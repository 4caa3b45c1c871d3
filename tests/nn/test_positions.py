"""Positions: learned, sinusoidal and rotary ones, against NumPy and PyTorch in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn


def sinusoids(positions, features):
    y = np.zeros((*np.shape(positions), features))
    for i in range(features):
        angle = np.asarray(positions) / 10000 ** (2 * (i // 2) / features)
        y[..., i] = np.cos(angle) if i % 2 else np.sin(angle)
    return y


@pytest.mark.parametrize("features", [1, 4, 7])
def test_sinusoidal_positions_equal_the_paper(features):
    positions = np.array([[0, 1, 5], [900, 77, 3]])
    np.testing.assert_allclose(
        fnn.sinusoidal_positions(positions, features), sinusoids(positions, features), 1e-4, 1e-4
    )


def test_rotary_is_a_rotation_by_the_position():
    """Each pair as a complex number times exp(i p w), in float64."""
    rng = np.random.default_rng(0)
    x, positions = rng.normal(size=(2, 3, 4, 6)), np.array([[0, 1, 2], [7, 40, 3]])
    pairs = x[..., :3] + 1j * x[..., 3:]
    speeds = 10000.0 ** (-np.arange(3) / 3)
    turned = pairs * np.exp(1j * positions[:, :, None, None] * speeds)
    right = np.concatenate([turned.real, turned.imag], -1)
    np.testing.assert_allclose(fnn.rotary(x.astype("f"), positions), right, 1e-5, 1e-5)
    np.testing.assert_allclose(fnn.rotary(x.astype("f")), fnn.rotary(x.astype("f"), np.arange(3)), 1e-6)


def test_products_of_rotated_queries_and_keys_depend_on_distances():
    q, k = np.random.default_rng(1).normal(size=(2, 1, 1, 1, 8)).astype("f")
    product = jax.jit(lambda at, of: (fnn.rotary(q, at) * fnn.rotary(k, of)).sum())
    products = [float(product(np.array([p + 3]), np.array([p]))) for p in (0, 5, 200)]
    np.testing.assert_allclose(products, products[0], 1e-4)
    assert abs(float(product(np.array([4]), np.array([0]))) - products[0]) > 1e-2


def test_position_embedding_adds_the_first_rows():
    layer = fnn.PositionEmbedding(6)
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("f")
    params, state = jax.jit(layer.init)(jax.random.key(0), x)
    assert state == {}
    table = np.asarray(params["embeddings"])
    assert np.abs(table).max() <= np.sqrt(6 / 9)

    @jax.jit
    def with_slopes(params, x):
        y, back = jax.vjp(lambda params, x: layer.apply(params, {}, x)[0], params, x)
        return y, *back(x)

    y, slope, x_slope = with_slopes(params, x)
    np.testing.assert_allclose(y, x + table[None, :4], 1e-6)
    np.testing.assert_array_equal(x_slope, x)
    np.testing.assert_allclose(slope["embeddings"], np.concatenate([x.sum(0), np.zeros((2, 3))]), 1e-5, 1e-6)
    masked = fnn.Masked(x, np.ones((2, 4), bool))
    out = layer.apply(params, {}, masked)[0]
    np.testing.assert_array_equal(out.x, y)
    assert out.mask is masked.mask


def test_sinusoidal_layer_adds_them_in_the_dtype_of_the_input(strict_promotion):
    x = jnp.ones((2, 4, 5), jnp.bfloat16)
    y, _ = fnn.SinusoidalPositions().apply({}, {}, x)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(np.asarray(y, "f"), 1 + np.broadcast_to(sinusoids(np.arange(4), 5), y.shape), 0.02, 0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fnn.PositionEmbedding(0), "PositionEmbedding: expected length to be an integer of at least 1"),
        (lambda x: run(fnn.PositionEmbedding(3), x), "PositionEmbedding: expected at most 3 steps, its length, got 4"),
        (
            lambda x: run(fnn.PositionEmbedding(9), x[0]),
            r"PositionEmbedding: expected x of shape \(batch, time, features",
        ),
        (lambda x: run(fnn.SinusoidalPositions(), x[0]), r"SinusoidalPositions: expected x of shape \(batch, time"),
        (lambda x: run(fnn.SinusoidalPositions(), x.astype(int)), "SinusoidalPositions: expected a floating-point x"),
        (lambda x: fnn.SinusoidalPositions(0), r"SinusoidalPositions: expected max_wavelength in \(0, inf\), got 0"),
        (lambda x: fnn.rotary(x), r"rotary: expected x of shape \(batch, time, heads, size\) with an even size"),
        (lambda x: fnn.rotary(x[..., None, :3]), "rotary: expected x of .* with an even size"),
        (lambda x: fnn.rotary(x[:, :, None], [1.0] * 4), "rotary: expected integer positions"),
        (lambda x: fnn.rotary(x[:, :, None], [1, 2, 3]), r"rotary: expected positions of shape \(time,\) or"),
        (lambda x: fnn.sinusoidal_positions([1], 0), "sinusoidal_positions: expected features to be an integer"),
        (lambda x: fnn.MultiHeadAttention(2, 3, rotary=True), "MultiHeadAttention: expected an even key_dim"),
        (lambda x: run(fnn.MultiHeadAttention(2, 4, rotary=True), (x, x)), "expected one sequence with rotary=True"),
    ],
)
def test_positions_refuse(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call(np.ones((2, 4, 4), "f"))


def run(layer, x):
    return jax.eval_shape(lambda x: layer.apply(*layer.init(jax.random.key(0), x), x), x)
