"""Dropout and noise: their distributions, gradients, keys, and errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

KEY = jax.random.key(4)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_given_fraction_is_dropped_and_the_rest_scaled(rate, rng):
    x = rng.normal(size=(100, 200)).astype("float32")

    @jax.jit
    def both(x):
        y, pullback = jax.vjp(lambda x: fnn.dropout(KEY, x, rate), x)
        return y, pullback(jnp.ones_like(y))[0]

    y, slope = both(x)
    kept = np.asarray(y) != 0
    deviation = (rate * (1 - rate) / x.size) ** 0.5
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), 1e-5)
    np.testing.assert_allclose(slope, kept / (1 - rate), 1e-5)
    # neither whole rows nor whole columns are dropped together
    assert kept.mean(0).min() > 0
    assert kept.mean(0).std() == pytest.approx((rate * (1 - rate) / 100) ** 0.5, rel=0.3)
    assert kept.mean(1).std() == pytest.approx((rate * (1 - rate) / 200) ** 0.5, rel=0.3)


def test_ends_of_the_range():
    x = np.arange(1, 7, dtype="float32")
    assert fnn.dropout(KEY, x, 0) is x

    def both(x, rate):
        y, pullback = jax.vjp(lambda x: fnn.dropout(KEY, x, rate), x)
        return y, pullback(jnp.ones_like(y))[0]

    for rate in (1, jnp.float32(1)):
        for y in jax.jit(lambda x, rate=rate: both(x, rate))(x):
            np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(jax.jit(fnn.dropout)(KEY, x, 0.0), x)


def test_the_mask_depends_only_on_the_key():
    x = jnp.ones(32)
    a, b = fnn.dropout(KEY, x, 0.5), fnn.dropout(jax.random.key(5), x, 0.5)
    np.testing.assert_array_equal(a, fnn.dropout(KEY, x, 0.5))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(fnn.dropout(jax.random.PRNGKey(4), x, 0.5), a)


def test_rates_are_swept_under_vmap():
    x = np.ones(4000, "float32")
    swept = jax.jit(jax.vmap(lambda rate: fnn.Dropout(rate).apply({}, {}, x, key=KEY, train=True)[0]))
    y = swept(np.array([0.2, 0.7], "float32"))
    np.testing.assert_allclose((np.asarray(y) == 0).mean(1), [0.2, 0.7], atol=0.04)
    np.testing.assert_allclose(np.asarray(y).max(1), [1 / 0.8, 1 / 0.3], 1e-5)


def test_half_precision_keeps_dtype_and_drop_rate():
    y = jax.jit(lambda x: fnn.dropout(KEY, x, 0.37))(np.ones(4000, "bfloat16"))
    assert y.dtype == jnp.bfloat16
    assert (np.asarray(y) == 0).mean() == pytest.approx(0.37, abs=0.04)


def test_the_layer_acts_only_in_training():
    layer, x = fnn.Dropout(0.5), jnp.arange(1.0, 33.0)
    assert layer.init(KEY, x) == ({}, {})
    for kwargs in ({}, {"key": KEY}, {"key": KEY, "train": False}):
        assert layer.apply({}, {}, x, **kwargs)[0] is x
    np.testing.assert_array_equal(layer.apply({}, {}, x, key=KEY, train=True)[0], fnn.dropout(KEY, x, 0.5))


def test_each_dropout_of_a_model_draws_its_own_mask():
    model = fnn.Sequential(fnn.Dropout(0.5), fnn.Dropout(0.5))
    nested = fnn.Sequential(fnn.Sequential(fnn.Dropout(0.5)), fnn.Sequential(fnn.Dropout(0.5)))
    apply = jax.jit(lambda x: [m.apply({}, {}, x, key=KEY, train=True)[0] for m in (model, nested)])
    for y in apply(np.ones(2000, "float32")):
        assert (np.asarray(y) != 0).mean() == pytest.approx(0.25, abs=0.04)


def test_the_scale_is_computed_in_float32_for_half_precision():
    x = np.full(20, 1.5, "bfloat16")
    y = np.asarray(jax.jit(lambda x: fnn.dropout(KEY, x, 0.13))(x), "float32")
    assert set(np.unique(y)) <= {0, float(jnp.bfloat16(1.5 / 0.87))}


# ------------------------------------------------------------------------------------------- whole channels, and noise
@pytest.mark.parametrize("spatial", [(6,), (3, 2), (2, 1, 3)])
def test_spatial_dropout_drops_whole_channels(rng, spatial):
    x = rng.normal(size=(40, *spatial, 25)).astype("float32")
    y = np.asarray(fnn.SpatialDropout(0.3).apply({}, {}, x, key=KEY, train=True)[0])
    kept = (y != 0).reshape(40, -1, 25)
    assert (kept == kept[:, :1]).all()
    np.testing.assert_allclose(y, np.where(y != 0, x / np.float32(0.7), 0), 1e-5)
    assert kept[:, 0].mean() == pytest.approx(0.7, abs=4 * (0.21 / 1000) ** 0.5)
    assert len(np.unique(kept[:, 0], axis=0)) == 40, "each example draws its own channels"
    shape = (None, *(1 for _ in spatial), 25)
    np.testing.assert_array_equal(fnn.Dropout(0.3, shape).apply({}, {}, x, key=KEY, train=True)[0], y)


def test_noise_has_its_distribution(rng):
    x = rng.normal(size=(100, 200)).astype("float32")

    @jax.jit
    def both(x):
        layers = fnn.GaussianNoise(1.7), fnn.GaussianDropout(0.3)
        return [layer.apply({}, {}, x, key=KEY, train=True)[0] for layer in layers]

    added, factor = both(x)
    for noise in ((added - x) / 1.7, (factor / x - 1) / (0.3 / 0.7) ** 0.5):
        values = np.sort(np.asarray(noise, "float64").ravel())
        shares = np.array([0.5 * (1 + math.erf(v / 2**0.5)) for v in values[::20]])
        assert np.abs(shares - (np.arange(0, x.size, 20) + 0.5) / x.size).max() < 1.95 / x.size**0.5
        assert np.abs(np.corrcoef(np.asarray(noise)[:, :50], rowvar=False) - np.eye(50)).max() < 0.5


def test_noise_in_half_precision_is_rounded_once(rng):
    x = rng.normal(size=(4, 5)).astype(jnp.bfloat16)
    layer = fnn.GaussianNoise(0.3)
    half, single = (layer.apply({}, {}, a, key=KEY, train=True)[0] for a in (x, x.astype("float32")))
    np.testing.assert_array_equal(half, single.astype(jnp.bfloat16))


LAYERS = [fnn.Dropout(0.4), fnn.SpatialDropout(0.4), fnn.GaussianNoise(0.4), fnn.GaussianDropout(0.4)]


def test_rows_draw_the_same_whatever_follows_and_masks_pass_on(rng):
    x, mask = rng.normal(size=(7, 3, 5)).astype("float32"), rng.random((7, 3)) < 0.5
    for kind in ("threefry2x32", "rbg"):
        key = jax.random.key(5, impl=kind)

        @jax.jit
        def apply(x, mask, key=key):
            return [layer.apply({}, {}, fnn.Masked(x, mask), key=key, train=True)[0] for layer in LAYERS]

        for whole, part in zip(apply(x, mask), apply(x[:2], mask[:2]), strict=True):
            np.testing.assert_array_equal(part.x, whole.x[:2])
            np.testing.assert_array_equal(whole.mask, mask)
            assert not np.array_equal(whole.x, x)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.kind)
def test_noise_is_for_training_alone(layer):
    x = jnp.ones((2, 3, 4))
    assert layer.apply({}, {}, x)[0] is x
    assert layer.per_example
    with pytest.raises(fnn.InputError, match="expected a key in training"):
        layer.apply({}, {}, x, train=True)


def test_strengths_are_swept_under_vmap():
    x = np.zeros(2000, "float32")
    swept = jax.jit(jax.vmap(lambda s: fnn.GaussianNoise(s).apply({}, {}, x, key=KEY, train=True)[0]))
    np.testing.assert_allclose(swept(np.float32([0, 0.1, 2])).std(1), [0, 0.1, 2], rtol=0.07)


X = jnp.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Dropout(1.5), r"Dropout: expected rate in \[0, 1\], got 1\.5"),
        (lambda: fnn.Dropout(-0.1), r"Dropout: expected rate in \[0, 1\], got -0\.1"),
        (lambda: fnn.Dropout(float("nan")), r"Dropout: expected rate in \[0, 1\], got nan"),
        (lambda: fnn.Dropout(True), r"Dropout: expected rate to be a number, got True"),
        (lambda: fnn.Dropout(None), r"Dropout: expected rate to be a number, got None"),
        (lambda: fnn.Dropout(lambda step: 0.5), r"Dropout: expected rate to be a number, got the function"),
        (lambda: fnn.dropout(KEY, X, 1j), r"dropout: expected rate to be a number, got 1j"),
        (lambda: fnn.Dropout("half"), r"Dropout: expected rate to be a number, got 'half'"),
        (lambda: fnn.Dropout([0.1, 0.2]), r"Dropout: expected rate to be a number, got \[0\.1, 0\.2\]"),
        (lambda: fnn.Dropout(0.5, 3), r"Dropout: expected noise_shape with an entry for each axis, .* got 3"),
        (
            lambda: fnn.Dropout(0.5, (None, 2)).apply({}, {}, X, key=KEY, train=True),
            r"dropout: expected x that fits noise_shape=\(None, 2\), where an entry is .* got float32\[2, 3\]",
        ),
        (lambda: fnn.dropout(KEY, X, 0.5, noise_shape=(1,)), r"expected x that fits noise_shape=\(1,\)"),
        (lambda: fnn.SpatialDropout(2), r"SpatialDropout: expected rate in \[0, 1\], got 2"),
        (
            lambda: fnn.SpatialDropout(0.5).apply({}, {}, X, key=KEY, train=True),
            r"spatial_dropout: expected x of shape \(batch, \*spatial, channels\) with 1 to 3 spatial axes",
        ),
        (lambda: fnn.GaussianNoise(-1), r"GaussianNoise: expected stddev in \[0, inf\), got -1"),
        (lambda: fnn.GaussianDropout(1), r"GaussianDropout: expected rate in \[0, 0\.999999\], got 1"),
        (
            lambda: fnn.GaussianNoise(1).apply({}, {}, X.astype(int), key=KEY, train=True),
            r"gaussian_noise: expected a floating-point x, got int32",
        ),
        (lambda: fnn.dropout(KEY, X, 2), r"dropout: expected rate in \[0, 1\], got 2"),
        (lambda: fnn.dropout(KEY, X.astype(int), 0.5), r"dropout: expected a floating-point x, got int32\[2, 3\]"),
        (lambda: fnn.dropout(3, X, 0.5), r"dropout: expected one PRNG key, got 3\. Pass jax\.random\.key\(3\)"),
        (lambda: fnn.dropout(jax.random.split(KEY), X, 0.5), r"dropout: expected one PRNG key, got key<fry>\[2\]"),
        (
            lambda: fnn.Dropout(0.5).apply({}, {}, X, train=True),
            r"dropout: expected a key in training, got key=None\. Call apply\(\.\.\., key=key, train=True\)",
        ),
        (
            lambda: fnn.Sequential(fnn.Flatten(), fnn.Dropout(0.5)).apply({}, {}, X, train=True),
            r"layer 'dropout' \(position 1\) > dropout: expected a key in training",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
