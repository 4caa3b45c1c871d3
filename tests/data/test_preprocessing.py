"""Preprocessing against scikit-learn and plain NumPy."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import model_selection
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fnn
from fnn.data import (
    Moments,
    TableCode,
    scale_images,
    standardize,
    standardize_fit,
    standardize_invert,
    table_encode,
    table_fit,
    train_test_split,
)


# ------------------------------------------------------------------------------------------------------------- scaling
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


def test_one_row_is_a_mean(rng):
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
def test_narrow_dtypes_are_kept_and_summed_wider(dtype, rng):
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
        with pytest.raises(fnn.InputError, match=f"{apply.__name__}: expected Moments from standardize_fit first"):
            apply(x, moments)
    assert math.isnan(standardize_invert(moments, np.full(3, np.nan))[0])


# -------------------------------------------------------------------------------------------------------------- images
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
        (np.full((2, 3, 3), 0.5), 255, "got fractions from 0.5 to 0.5. They seem to be scaled already: pass top=1"),
        (np.full((2, 3, 3), np.nan), 255, "finite numbers, got nan in row 0, column 0, 0"),
        (np.zeros((2, 3, 3)), 0, r"top in \(0, inf\), got 0"),
        (np.full((2, 3, 3), "a"), 255, "an array of numbers, got text, <U1"),
    ],
)
def test_scale_images_bad_input(x, top, match):
    with pytest.raises(fnn.InputError, match=f"scale_images(, x)?: expected .*{match}"):
        scale_images(x, top)


# --------------------------------------------------------------------------------------------------------------- split
@given(st.integers(2, 60), st.one_of(st.floats(0.01, 0.99), st.integers(1, 59)), st.integers(0, 9))
def test_split_is_disjoint_complete_and_of_sklearns_sizes(rows, test_size, seed):
    numbers = np.arange(rows)
    try:
        want = model_selection.train_test_split(numbers, test_size=test_size)
    except ValueError:
        with pytest.raises(fnn.InputError, match="test_size"):
            train_test_split(numbers, test_size=test_size)
        return
    pairs = np.stack([numbers, -numbers], 1)
    a_train, a_test, b_train, b_test = train_test_split(numbers, pairs, test_size=test_size, seed=seed)
    assert [len(a_train), len(a_test)] == [len(part) for part in want]
    assert sorted([*a_train, *a_test]) == numbers.tolist()
    np.testing.assert_array_equal(b_train, np.stack([a_train, -a_train], 1))
    np.testing.assert_array_equal(b_test, np.stack([a_test, -a_test], 1))


def test_split_is_random_but_repeatable():
    numbers = np.arange(1000)
    first, again, other = (train_test_split(numbers, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[1], again[1])
    assert len(set(first[1]) & set(other[1])) < 100
    for part in (*first, *train_test_split(numbers, seed=5, stratify=numbers % 3)):
        assert np.abs(np.diff(part)).mean() > 200, "rows come in random order"
    # Every row has the same chance, 0.2 in 400 splits.
    counts = np.bincount(np.concatenate([train_test_split(np.arange(20), test_size=4, seed=s)[1] for s in range(400)]))
    assert counts.min() > 45
    assert counts.max() < 115


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.floats(0.05, 0.95), st.integers(0, 5))
def test_stratified_split_keeps_the_shares(sizes, test_size, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 10 - 7, sizes))
    numbers = np.arange(len(labels))
    try:
        model_selection.train_test_split(numbers, test_size=test_size, stratify=labels)
    except ValueError:
        with pytest.raises(fnn.InputError, match=r"rows, one for each class|leaves rows for training"):
            train_test_split(numbers, test_size=test_size, stratify=labels)
        return
    train, test, y_train, y_test = train_test_split(numbers, labels, test_size=test_size, seed=seed, stratify=labels)
    assert sorted([*train, *test]) == numbers.tolist()
    assert len(test) == math.ceil(test_size * len(labels))
    np.testing.assert_array_equal(labels[test], y_test)
    np.testing.assert_array_equal(labels[train], y_train)
    for label, size in zip(np.unique(labels), sizes, strict=True):
        due = size * len(test) / len(labels)
        assert math.floor(due + 1e-9) <= (y_test == label).sum() <= math.ceil(due - 1e-9)


def test_stratified_split_equals_sklearns_counts(rng):
    labels = rng.choice(["a", "b", "c"], 200, p=[0.6, 0.3, 0.1])
    _, want = model_selection.train_test_split(labels, test_size=0.3, stratify=labels)
    _, got = train_test_split(labels, test_size=0.3, stratify=labels)
    for name in "abc":
        assert abs((got == name).sum() - (want == name).sum()) <= 1
    # Of rows that are due in equal parts, chance decides which class gets the odd one.
    y = np.array([0, 0, 0, 1, 1, 1])
    odd = {int(train_test_split(y, test_size=3, seed=seed, stratify=y)[1].sum()) for seed in range(20)}
    assert odd == {1, 2}


def test_split_keeps_the_kind_of_array(rng):
    x, y = jnp.asarray(rng.normal(size=(10, 2))), ["a", "b"] * 5
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=3, stratify=y)
    assert isinstance(x_test, jax.Array)
    assert isinstance(y_train, np.ndarray)
    assert (x_train.shape, x_test.shape, y_train.shape, y_test.shape) == ((7, 2), (3, 2), (7,), (3,))
    np.testing.assert_array_equal(x_test, jax.jit(lambda a: train_test_split(a, test_size=3, stratify=y))(x)[1])


@pytest.mark.parametrize(
    ("arrays", "options", "match"),
    [
        ([], {}, "at least one array, got none"),
        ([np.arange(4), np.arange(5)], {}, "arrays of the same length, got 4, 5"),
        ([np.arange(4), 0.3], {}, "arrays of rows, got a single number. Pass options by name"),
        ([np.arange(1)], {}, "at least 2 rows, got 1"),
        ([np.zeros((0, 3))], {}, "at least 2 rows, got 0"),
        ([np.arange(4)], {"test_size": 0}, "test_size from 1 to 3 for 4 rows, got 0"),
        ([np.arange(4)], {"test_size": 4}, "test_size from 1 to 3 for 4 rows, got 4"),
        ([np.arange(4)], {"test_size": 1.0}, r"test_size to be a fraction in \(0, 1\) or a number of rows, got 1.0"),
        ([np.arange(4)], {"test_size": True}, "a fraction in .* got True"),
        ([np.arange(4)], {"test_size": math.nan}, "a fraction in .* got nan"),
        ([np.arange(4)], {"test_size": 0.8}, "a test_size that leaves rows for training, got 0.8 of 4 rows"),
        ([np.arange(4)], {"seed": -1}, "seed to be an integer of at least 0"),
        ([np.arange(4)], {"seed": 0.5}, "seed to be an integer of at least 0"),
        ([np.arange(4)], {"stratify": [0, 1, 1]}, r"stratify of shape \(4,\), a class for each row, got int64\[3\]"),
        ([np.arange(4)], {"stratify": list("aaab")}, "at least 2 rows of each class in stratify, got 1 of b"),
        ([np.arange(6)], {"stratify": [0, 0, 1, 1, 2, 2], "test_size": 2}, "at least 3 test rows, one for each class"),
        ([np.arange(6)], {"stratify": [0, 0, 1, 1, 2, 2], "test_size": 4}, "at least 3 train rows, one for each class"),
    ],
)
def test_split_bad_input(arrays, options, match):
    with pytest.raises(fnn.InputError, match=f"train_test_split: expected .*{match}"):
        train_test_split(*arrays, **options)


# --------------------------------------------------------------------------------------------------------------- tables
def shop(rng, rows=40):
    return {
        "price": rng.normal(20, 5, rows),
        "colour": rng.choice(["red", "blue", "green"], rows),
        "gender": rng.choice(["M", "F"], rows),
        "count": rng.integers(0, 9, rows),
        "only": np.array(["same"] * rows),
    }


@pytest.mark.parametrize("two_as_one", [True, False])
def test_table_equals_sklearns_encoder(two_as_one, rng):
    columns, fresh = shop(rng), shop(rng, 7)
    code = table_fit(columns, two_as_one=two_as_one)
    for data in (columns, fresh):
        encoder = OneHotEncoder(sparse_output=False, drop="if_binary" if two_as_one else None)
        texts = np.column_stack([columns[name] for name in ("colour", "gender", "only")])
        want = encoder.fit(texts).transform(np.column_stack([data[name] for name in ("colour", "gender", "only")]))
        got = table_encode(code, data)
        width = len(got[0])
        assert got.dtype == np.float32
        assert got.shape == (len(data["price"]), 7 if two_as_one else 8)
        np.testing.assert_allclose(got[:, 0], data["price"], 1e-6)
        np.testing.assert_array_equal(got[:, width - 2], data["count"])
        np.testing.assert_array_equal(np.delete(got, [0, width - 2], 1), want)
        assert len(code.names) == width
        drawn = [n for n in code.names if "=" in n]
        assert drawn == [n.replace("x0_", "colour=").replace("x1_", "gender=").replace("x2_", "only=")
                         for n in encoder.get_feature_names_out()]  # fmt: skip
    assert code.names[:4] == ("price", "colour=blue", "colour=green", "colour=red")


def test_numbers_that_are_categories(rng):
    columns = {"post": np.array([30, 7, 30, 11]), "size": [1.5, 2, 3, 4]}
    code = table_fit(columns, categorical=["post"])
    assert code == TableCode(("post", "size"), ((7.0, 11.0, 30.0), None))
    assert code.names == ("post=7", "post=11", "post=30", "size")
    assert table_encode(code, columns).tolist() == [[0, 0, 1, 1.5], [1, 0, 0, 2], [0, 0, 1, 3], [0, 1, 0, 4]]
    assert table_fit(columns, categorical="post") == code
    assert hash(code) == hash(table_fit(columns, categorical=("post",)))
    with pytest.raises(
        fnn.InputError, match=r"column 'post', row 1, counted from 0: expected one of the categories 7, 11, 30, got 8"
    ):
        table_encode(code, {"post": [7, 8], "size": [1, 2]})
    with pytest.raises(fnn.InputError, match="column 'post': expected numbers, as in table_fit, got text"):
        table_encode(code, {"post": ["7", "8"], "size": [1, 2]})


def test_kinds_of_columns():
    class Series:
        """As pandas gives them: objects, with an ``__array__``."""

        def __init__(self, *values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.array(self.values, object)

    class Frame:
        def items(self):
            return [("name", Series("b", "a")), (3, Series(1, True)), ("jax", jnp.array([0.5, 1.5]))]

    code = table_fit(Frame())
    assert code.names == ("name=b", "3", "jax")
    assert table_encode(code, Frame()).tolist() == [[1, 1, 0.5], [0, 1, 1.5]]
    assert table_encode(code, {"3": [], "name": [], "jax": [], "more": [1]}).shape == (0, 3)
    assert table_fit({"a": [True, False]}).names == ("a",)


def test_columns_come_from_a_csv_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,c\n1,x,\n2,y,3\n")
    columns = fnn.data.read_csv(path)
    with pytest.raises(
        fnn.InputError, match="table_fit, column 'c', row 0, counted from 0: expected a finite number, got a missing"
    ):
        table_fit(columns)
    del columns["c"]
    assert table_encode(table_fit(columns), columns).tolist() == [[1, 0], [2, 1]]


class NAType:
    """pandas.NA: comparing it gives no truth value."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("ambiguous")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({}, "expected at least one column, got none"),
        ([1, 2], "expected a dict of columns by name, or a DataFrame, got list. read_csv makes one"),
        ({"a": []}, "expected at least one row, got none"),
        ({"a": [1, 2], "b": ["x"]}, "expected columns of the same length, got a: 2, b: 1"),
        ({"a": [[1], [2]]}, "column 'a': expected one value for each row, got object"),
        ({"a": np.zeros((2, 2))}, "column 'a': expected one value for each row, got float64"),
        ({"a": [1.0, math.nan]}, r"column 'a', row 1, counted from 0: expected a value, got a missing one \(nan\)"),
        (
            {"a": np.array([1.0, math.nan])},
            r"column 'a', row 1, counted from 0: expected a finite number, got a missing value \(nan\)",
        ),
        ({"a": [1.0, math.inf]}, "column 'a', row 1, counted from 0: expected a finite number, got inf"),
        ({"a": ["x", ""]}, r"column 'a', row 1, counted from 0: expected a value, got a missing one \(''\)"),
        ({"a": ["x", "  ", "y"]}, r"column 'a', row 1, counted from 0: expected a value, got a missing one \('  '\)"),
        (
            {"a": np.array(["x", "y", ""])},
            r"column 'a', row 2, counted from 0: expected a value, got a missing one \(''\)",
        ),
        ({"a": ["x", None]}, r"column 'a', row 1, counted from 0: expected a value, got a missing one \(None\)"),
        ({"a": ["x", math.nan]}, r"column 'a', row 1, counted from 0: expected a value, got a missing one \(nan\)"),
        ({"a": [3, NAType()]}, r"column 'a', row 1, counted from 0: expected a value, got a missing one"),
        ({"a": [1, 2, "x"]}, "column 'a', row 2, counted from 0: expected only numbers or only text, got 'x' after 1"),
        ({"a": ["x", 2]}, "column 'a', row 1, counted from 0: expected only numbers or only text, got 2 after 'x'"),
        ({"a": [1j]}, "column 'a', row 0, counted from 0: expected a number or text, got 1j"),
        (
            {"a": np.array(["2020-01-01"], "datetime64[D]")},
            r"column 'a': expected numbers or text, got dtype date",
        ),
        (
            {"a": ["1.5", "x", "3"]},
            "column 'a', row 1, counted from 0: expected a number as in most rows, got 'x'. Correct it, or",
        ),
        (
            {"a": ["1", "2"]},
            "column 'a', row 0, counted from 0: expected a number as in most rows, got text such as '1'",
        ),
    ],
)
def test_table_fit_bad_input(columns, match):
    with pytest.raises(fnn.InputError, match=f"table_fit(: |, ){match}"):
        table_fit(columns)


def test_text_of_digits_is_a_category_when_asked():
    assert table_fit({"a": ["1", "2", "3"]}, categorical=["a"]).names == ("a=1", "a=2", "a=3")
    with pytest.raises(fnn.InputError, match="table_fit: expected categorical columns from a, b, got c, d"):
        table_fit({"a": [1], "b": [2]}, categorical=["c", "a", "d"])


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"a": [1]}, r": expected the columns b, c, got only a\."),
        ({"a": [1], "b": ["x"], "d": [1]}, r": expected the column c, got only a, b, d\."),
        ({}, ": expected the columns a, b, c, got only none"),
        (
            {"a": [1], "b": ["z"], "c": ["u"]},
            ", column 'b', row 0, counted from 0: expected one of the categories x, y, got 'z'",
        ),
        (
            {"a": [1, 1], "b": ["x", "x"], "c": ["w", "t"]},
            ", column 'c', row 1, counted from 0: expected one of the categories u, v",
        ),
        (
            {"a": [1, 1], "b": ["x", ""], "c": ["w", "u"]},
            ", column 'b', row 1, counted from 0: expected a value, got a missing one",
        ),
        (
            {"a": [1, math.nan], "b": ["x", "x"], "c": ["w", "u"]},
            ", column 'a', row 1, counted from 0: expected a value, got a mi",
        ),
        ({"a": ["q"], "b": ["x"], "c": ["w"]}, ", column 'a': expected numbers, as in table_fit, got text"),
        ({"a": [1], "b": [3], "c": ["w"]}, ", column 'b': expected text, as in table_fit, got numbers"),
        ({"a": [1], "b": ["x", "y"], "c": ["w"]}, ": expected columns of the same length, got a: 1, b: 2, c: 1"),
        (
            {"a": [1, -1e39], "b": ["x", "x"], "c": ["w", "u"]},
            ", column 'a', row 1, counted from 0: expected a number within float32",
        ),
    ],
)
def test_table_encode_bad_input(columns, match):
    code = table_fit({"a": [1, 2, 3], "b": ["x", "y", "x"], "c": ["w", "v", "u"]})
    with pytest.raises(fnn.InputError, match=f"table_encode{match}"):
        table_encode(code, columns)
    with pytest.raises(fnn.InputError, match="table_encode: expected a TableCode from table_fit first, got dict"):
        table_encode(columns, code)


def test_one_hot_is_the_one_of_the_layers():
    assert fnn.data.one_hot is fnn.one_hot


def test_moments_are_plain_state():
    """They pass through JAX as any pytree, and can be made by hand."""
    moments = jax.tree.map(lambda a: a * 2, Moments(np.ones(2), np.ones(2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert standardize(moments, np.array([[2.0, 6.0]])).tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (5.1, r"one value for each row, got 5\.1\. For a table of one row pass \[5\.1\]"),
        (np.float64(5.1), r"got 5\.1\. For a table of one row pass \[5\.1\]"),
        ("red", r"got 'red'\. For a table of one row pass \['red'\]"),
        ([1.0, math.nan], r"row 1, counted from 0: .*missing value \(nan\)|row 1, .*a missing one \(nan\)"),
        (
            np.array([1.0, math.nan]),
            r"row 1, counted from 0: .*fill them: np\.where\(np\.isnan\(column\), np\.nanmedian",
        ),
        (["x", "", "x"], r"Drop such rows, or fill them, e\.g\. np\.where\(column == '', 'unknown', column\)"),
        (
            ["1", "NA", "?"],
            r"row 1, counted from 0: .*a missing value \('NA'\)\. .*np\.where\(column == 'NA', 'nan', col",
        ),
        (["?", "2", "?"], r"row 0, counted from 0: .*a missing value \('\?'\)"),
        ([1, 2, "NA"], r"row 2, counted from 0: expected a number, got a missing value \('NA'\)"),
        (["1,5", "2,25"], r"got decimal commas, such as '1,5'\. Read the file with read_csv\(path, decimal=\",\"\)"),
        ([f"name {i}" for i in range(30)], r"many rows share, got 30 in 30 rows\. Leave it out, or name it in categ"),
    ],
)
def test_columns_that_are_no_numbers_yet(column, match):
    with pytest.raises(fnn.InputError, match=rf"table_fit, column 'a'.*({match})"):
        table_fit({"a": column})


def test_columns_named_as_categorical_are_taken():
    names = [f"name {i}" for i in range(30)]
    assert len(table_fit({"a": names}, categorical="a").names) == 30
    assert len(table_fit({"a": names * 2}).names) == len(table_fit({"a": names * 2}, categorical="a").names) == 30
    assert len(table_fit({"a": names[:20]}).names) == 20
    assert table_fit({"a": ["1", "?", "2"]}, categorical="a").names == ("a=1", "a=2", "a=?")
    code = table_fit({"a": [1.0, 2.0]})
    with pytest.raises(
        fnn.InputError, match=r"table_encode, column 'a', row 1, counted from 0: .*missing value \('NA'\)"
    ):
        table_encode(code, {"a": ["1", "NA"]})
    with pytest.raises(fnn.InputError, match=r"table_encode, column 'a': .* pass \[5\.1\]"):
        table_encode(code, {"a": 5.1})


def test_whole_numbers_name_their_columns_in_full():
    code = fnn.data.table_fit({"zip": [100000001, 100000002, 100000003]}, categorical="zip")
    assert code.names == ("zip=100000001", "zip=100000002", "zip=100000003")


def test_columns_of_any_library_keep_whole_numbers():
    ids = [2**60 + 1, 2**60 + 3, 2**60 + 1]
    pd = pytest.importorskip("pandas", reason="pandas is not installed: its columns are not tested")
    pl = pytest.importorskip("polars", reason="polars is not installed: its columns are not tested")
    tables = [
        {"id": ids, "flag": [True, False, True]},
        {"id": np.array(ids), "flag": np.array([True, False, True])},
        {"id": np.array(ids, object), "flag": [1, 0, 1]},
        pd.DataFrame({"id": ids, "flag": [True, False, True]}, index=[3, 3, 1]),
        pd.DataFrame({"id": pd.array(ids, "Int64"), "flag": pd.array([True, False, True], "boolean")}),
        pl.DataFrame({"id": ids, "flag": [True, False, True]}),
    ]
    for table in tables:
        code = table_fit(table, categorical=["id", "flag"], two_as_one=False)
        assert code.names == (f"id={2**60 + 1}", f"id={2**60 + 3}", "flag=0", "flag=1")
        assert table_encode(code, tables[0]).tolist() == [[1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1]]
    with pytest.raises(
        fnn.InputError, match=r"column 'a', row 0, .*up to 2\*\*53 beside others, .*got 1152921504606846977"
    ):
        table_fit({"a": [2**60 + 1, 0.5]})
    with pytest.raises(fnn.InputError, match="column 'a': expected whole numbers of 64 bits"):
        table_fit({"a": [2**70, 1]})
    with pytest.raises(fnn.InputError, match="columns of different names, got 'a' twice"):
        table_fit(pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]))
    with pytest.raises(fnn.InputError, match="column 'a': expected an array of numbers, got a masked array"):
        table_fit({"a": np.ma.array([1, 2])})
