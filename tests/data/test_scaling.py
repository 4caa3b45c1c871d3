"""Scaling against scikit-learn and NumPy."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import StandardScaler

import fnn
from fnn.data import (
    Moments,
    scale_images,
    standardize,
    standardize_fit,
    standardize_invert,
)


def table(rng, rows=37):
    """Columns of very different size and spread, and one that is constant."""
    x = rng.normal(size=(rows, 5)) * [1, 1e-3, 200, 1e4, 1] + [0, 5, -3, 1e6, 0]
    x[:, 4] = 0.1  # not a sum of few powers of two, so that its mean is not exact
    return x


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 2e-7)])
def test_standardize_equals_sklearn(dtype, rtol, rng):
    x, fresh = table(rng).astype(dtype), table(rng, 6).astype(dtype)
    scaler = StandardScaler().fit(x.astype("float64"))
    moments = standardize_fit(x)
    assert moments.mean.dtype == moments.std.dtype == np.float64
    np.testing.assert_allclose(moments.mean, scaler.mean_, 1e-10)
    np.testing.assert_allclose(moments.std, scaler.scale_, 1e-9)
    for data in (x, fresh):
        z = standardize(moments, data)
        assert isinstance(z, np.ndarray)
        assert z.dtype == x.dtype
        np.testing.assert_allclose(z, scaler.transform(data.astype("float64")), rtol, rtol)
        np.testing.assert_allclose(standardize_invert(moments, z), data, rtol, 1e-4 * (dtype == "float32"))
    assert (standardize(moments, x)[:, 4] == 0).all()


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 3)), elements=st.floats(-1e6, 1e6, width=32)))
def test_standardize_equals_sklearn_for_any_table(x):
    spread = x.max(0) - x.min(0)
    assume(not ((spread > 0) & (spread < 1e-6 * np.abs(x).max(0))).any())  # there scikit-learn sees a constant
    scaler = StandardScaler().fit(x)
    moments = standardize_fit(x)
    np.testing.assert_allclose(moments.mean, scaler.mean_, 1e-9, 1e-9)
    np.testing.assert_allclose(moments.std, scaler.scale_, 1e-7)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_standardize_with_jax(wrap, rng):
    x = table(rng)[:, [0, 1, 2, 4]].astype("float32")
    want = standardize_fit(x)
    got = wrap(standardize_fit)(jnp.asarray(x))
    assert isinstance(got.mean, jax.Array)
    np.testing.assert_allclose(got.mean, want.mean, 1e-5, 1e-6)
    np.testing.assert_allclose(got.std, want.std, 1e-5)
    z = wrap(standardize)(got, jnp.asarray(x))
    assert isinstance(z, jax.Array)
    np.testing.assert_allclose(z, standardize(want, x), 1e-3, 2e-3)
    np.testing.assert_allclose(wrap(standardize_invert)(got, z), x, 1e-5, 1e-5)
    assert (z[:, 3] == 0).all()
    # One JAX array is enough for a JAX result; NumPy's float64 becomes JAX's default without a warning.
    assert isinstance(standardize(got, x.astype("float64")), jax.Array)
    assert isinstance(standardize(want, jnp.asarray(x)), jax.Array)


def test_standardize_inside_one_program(rng):
    """Fit and apply under jit and vmap, and differentiate: a constant column makes no NaN."""
    x = np.stack([table(rng)[:, [0, 2, 4]] for _ in range(3)]).astype("float32")
    each = jax.jit(jax.vmap(lambda a: standardize(standardize_fit(a), a)))(x)
    for z, a in zip(each, x, strict=True):
        np.testing.assert_allclose(z, standardize(standardize_fit(a), a), 1e-4, 1e-4)

    def third_moment(a):
        return (standardize(standardize_fit(a), a) ** 3)[:, :2].mean()

    slope = jax.jit(jax.grad(third_moment))(jnp.asarray(x[0]))
    step = np.zeros_like(x[0], "float64")
    step[3, 1] = 1e-4 * 200
    a = x[0].astype("float64")
    up, down = (float((standardize(standardize_fit(b), b) ** 3)[:, :2].mean()) for b in (a + step, a - step))
    np.testing.assert_allclose(slope[3, 1], (up - down) / (2 * step[3, 1]), 1e-3)
    assert np.isfinite(slope).all()


def test_moments_of_a_single_row(rng):
    x = rng.normal(size=(1, 3))
    moments = standardize_fit(x)
    np.testing.assert_array_equal(moments.mean, x[0])
    assert moments.std.tolist() == [1, 1, 1]
    assert standardize(moments, x).tolist() == [[0, 0, 0]]


def test_one_row_is_standardized_as_within_its_table(rng):
    x = table(rng)
    moments = standardize_fit(x)
    np.testing.assert_array_equal(standardize(moments, x[2]), standardize(moments, x)[2])
    images = rng.normal(size=(4, 3, 2, 1))
    z = standardize(standardize_fit(images), images)
    np.testing.assert_allclose(z, (images - images.mean(0)) / images.std(0), 1e-10)
    line = rng.normal(size=9)
    np.testing.assert_allclose(standardize(standardize_fit(line), line), (line - line.mean()) / line.std(), 1e-10)


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool"])
def test_integers_give_float32(kind, rng):
    x = rng.integers(0, 2 if kind == "bool" else 200, (9, 2)).astype(kind)
    moments = standardize_fit(x)
    z = standardize(moments, x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, StandardScaler().fit_transform(x.astype(float)), 1e-5, 1e-6)
    assert standardize(standardize_fit(jnp.asarray(x)), jnp.asarray(x)).dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_kept_and_summed_in_float32(dtype, rng):
    x = jnp.asarray(rng.normal(300, 100, (2000, 2)), dtype)  # the sum of squares leaves float16
    for data in (x, np.asarray(x)):
        moments = standardize_fit(data)
        assert standardize(moments, data).dtype == jnp.dtype(dtype)
        assert moments.mean.dtype == moments.std.dtype == (jnp.float32 if data is x else np.float64)
        wide = np.asarray(x, np.float64)
        np.testing.assert_allclose(np.asarray(moments.mean, float), wide.mean(0), 1e-6)
        np.testing.assert_allclose(np.asarray(moments.std, float), wide.std(0), 1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_very_small_and_large_numbers(size, rng):
    x = rng.normal(size=(50, 2)).astype("float32")
    for convert in (np.asarray, jnp.asarray):
        z = standardize(standardize_fit(convert(x * np.float32(size))), convert(x * np.float32(size)))
        np.testing.assert_allclose(z, StandardScaler().fit_transform(x), 1e-3, 1e-4)


def test_standardize_bad_input(rng):
    x = rng.normal(size=(6, 3))
    moments = standardize_fit(x)
    for where, fit in (("standardize_fit", standardize_fit), ("standardize", lambda a: standardize(moments, a))):
        for value, shown in ((np.nan, "nan"), (np.inf, "inf")):
            bad = x.copy()
            bad[4, 1] = value
            message = f"{where}: expected finite numbers, got {shown} in row 4, column 1, counted from 0"
            for convert in (np.asarray, jnp.asarray):
                with pytest.raises(fnn.InputError, match=message + r"\."):
                    fit(convert(bad))
            bad[5] = value
            with pytest.raises(fnn.InputError, match=message + ", and 3 more like it"):
                fit(bad)
        message = f"{where}, x: expected an array of numbers, got text, <U1.*table_fit and table_encode"
        with pytest.raises(fnn.InputError, match=message):
            fit(np.array([["a", "b", "c"]]))
    for empty in (np.zeros((0, 3)), np.zeros((3, 0)), np.float64(2)):
        with pytest.raises(fnn.InputError, match="standardize_fit: expected at least one row of numbers, got float64"):
            standardize_fit(empty)
    for apply in (standardize, standardize_invert):
        with pytest.raises(fnn.InputError, match=rf"{apply.__name__}: expected rows of shape \(3,\), as in .* 2\]"):
            apply(moments, x[:, :2])
        with pytest.raises(fnn.InputError, match=f"{apply.__name__}: expected Moments from standardize_fit as"):
            apply(x, moments)
    assert math.isnan(standardize_invert(moments, np.full(3, np.nan))[0])


def test_scale_images(rng):
    x = rng.integers(0, 256, (4, 3, 2)).astype("uint8")
    y = scale_images(x)
    assert isinstance(y, np.ndarray)
    assert (y.shape, y.dtype) == ((4, 3, 2, 1), np.float32)
    np.testing.assert_array_equal(y[..., 0], x.astype("float32") / np.float32(255))
    for convert in (jnp.asarray, lambda a: jnp.asarray(a).astype("float32")):
        assert isinstance(scale_images(convert(x)), jax.Array)
        np.testing.assert_allclose(jax.jit(scale_images)(convert(x)), y, 1e-6)
    coloured = rng.integers(0, 17, (4, 3, 2, 3)).astype("float64")
    np.testing.assert_allclose(scale_images(coloured, top=16), coloured / 16, 1e-6)
    np.testing.assert_array_equal(scale_images(np.zeros((2, 3, 3))), np.zeros((2, 3, 3, 1)))
    assert scale_images(np.zeros((0, 28, 28), "uint8")).shape == (0, 28, 28, 1)
    digits = fnn.data.digits()
    np.testing.assert_array_equal(scale_images(digits.x[..., 0] * 16, top=16), digits.x)


@pytest.mark.parametrize(
    ("x", "top", "match"),
    [
        (np.zeros((28, 28)), 255, r"got float64\[28, 28\]. Add an axis to a single image: x\[None\]"),
        (np.zeros((2, 3, 4, 5, 6)), 255, r"\(count, height, width, channels\), got float64\[2, 3, 4, 5, 6\]\.$"),
        (np.full((2, 3, 3), 256), 255, "values from 0 to 255, got 256 to 256. Give the value of full brightness"),
        (np.full((2, 3, 3), 17, np.uint8), 16, "values from 0 to 16, got 17 to 17. Give the value of full brightness"),
        (np.full((2, 3, 3), -1.0), 255, r"values from 0 to 255, got -1 to -1\.$"),
        (np.full((2, 3, 3), 0.5), 255, "got values from 0.5 to 0.5. The images seem to be scaled already: pass top=1"),
        (np.full((2, 3, 3), np.nan), 255, "finite numbers, got nan in row 0, column 0, 0"),
        (np.zeros((2, 3, 3)), 0, r"top in \(0, inf\), got 0"),
        (np.full((2, 3, 3), "a"), 255, "an array of numbers, got text, <U1"),
    ],
)
def test_scale_images_bad_input(x, top, match):
    with pytest.raises(fnn.InputError, match=f"scale_images(, x)?: expected .*{match}"):
        scale_images(x, top)


def test_moments_are_a_pytree():
    """Moments are a pytree and can be built by hand."""
    moments = jax.tree.map(lambda a: a * 2, Moments(np.ones(2), np.ones(2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert standardize(moments, np.array([[2.0, 6.0]])).tolist() == [[0, 2]]
