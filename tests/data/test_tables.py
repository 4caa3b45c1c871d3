"""Encoded tables against scikit-learn and NumPy."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import OneHotEncoder

import fnn
from fnn.data import (
    TableCode,
    table_encode,
    table_fit,
)


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
        ([1, 2], "expected a dict of columns by name, or a DataFrame, got a list. read_csv makes one"),
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
    with pytest.raises(
        fnn.InputError, match=r"table_fit: expected categorical= to name columns \('a', 'b'\), got 'c', 'd'"
    ):
        table_fit({"a": [1], "b": [2]}, categorical=["c", "a", "d"])


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"a": [1]}, r": expected the columns 'b', 'c', got only 'a'\."),
        ({"a": [1], "b": ["x"], "d": [1]}, r": expected the column 'c', got only 'a', 'b', 'd'\."),
        ({}, ": expected the columns 'a', 'b', 'c', got none"),
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
    with pytest.raises(
        fnn.InputError, match="table_encode: expected a TableCode from table_fit as the first argument, got a dict"
    ):
        table_encode(columns, code)


def test_one_hot_is_fnn_one_hot():
    assert fnn.data.one_hot is fnn.one_hot


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
def test_text_columns_that_look_numeric_are_refused(column, match):
    with pytest.raises(fnn.InputError, match=rf"table_fit, column 'a'.*({match})"):
        table_fit({"a": column})


def test_columns_named_as_categorical_are_accepted():
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


def test_integer_categories_are_named_in_full():
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
