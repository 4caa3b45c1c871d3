"""The formats of data files: IDX and CSV."""

import csv
import gzip

import numpy as np
import pytest
from helpers import idx

import fnn

# ------------------------------------------------------------------------------------------------------------------ IDX


@pytest.mark.parametrize(("dtype", "code"), [("u1", 8), ("i1", 9), ("i2", 11), ("i4", 12), ("f4", 13), ("f8", 14)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx(dtype, code, pack, tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(array, code)))
    read = fnn.data.read_idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda b: b[:-1], "expected 24 bytes of data for shape"),
        (lambda b: b + b"0", "got 25"),
        (lambda b: b[:9], "a header of 16 bytes, got 9"),
        (lambda b: b"PK\x03\x04" + b, "a file in IDX format, got one that starts with 50 4b 03 04"),
        (lambda b: b"", "IDX format"),
        (lambda b: gzip.compress(b)[:-9], "damaged or truncated"),
        (lambda b: gzip.compress(b)[:20] + b"xxxx" + gzip.compress(b)[24:], "damaged or truncated"),
    ],
)
def test_damaged_idx(change, match, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(change(idx(np.arange(24, dtype="u1").reshape(2, 3, 4), 8)))
    with pytest.raises(fnn.InputError, match=match):
        fnn.data.read_idx(path)


def test_missing_files_are_refused(tmp_path):
    for read in (fnn.data.read_idx, fnn.data.read_csv):
        with pytest.raises(fnn.InputError, match="no such file"):
            read(tmp_path / "nowhere")
        with pytest.raises(fnn.InputError, match="expected a file, got a folder"):
            read(tmp_path)


# ------------------------------------------------------------------------------------------------------------------ CSV
def test_csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes('\ufeffa, b ,c,"d ""q"", e"\r\n1, x,,"1,5"\r\n\r\n-2.5e3,,4,y\r\n'.encode())
    columns = fnn.data.read_csv(path)
    assert list(columns) == ["a", "b", "c", 'd "q", e']
    assert columns["a"].tolist() == [1, -2500]
    assert columns["b"].tolist() == ["x", ""]
    np.testing.assert_array_equal(columns["c"], [np.nan, 4])
    assert columns['d "q", e'].tolist() == ["1,5", "y"]
    assert [columns[name].dtype.kind for name in columns] == ["f", "U", "f", "U"]
    path.write_text("a;b\n1,5;2\n3;4\n")
    assert fnn.data.read_csv(path, delimiter=";")["a"].tolist() == ["1,5", "3"]
    with pytest.raises(fnn.InputError, match=r"line 2: expected 1 cell, .*, got 2 cells\. Is it separated by ';'\?"):
        fnn.data.read_csv(path)
    with pytest.raises(fnn.InputError, match="a delimiter of one character, got ''"):
        fnn.data.read_csv(path, delimiter="")


# Cells of a column: what read_csv makes of them, and whether pandas makes the same.
COLUMNS = {
    "ids": (["12345678901234567", "12345678901234569"], "i", True),
    "int64": (["-9223372036854775808", "9223372036854775807"], "i", True),
    "uint64": (["9223372036854775808", "1"], "u", True),
    "signs": (["+7", "-0"], "i", True),
    "beyond 64 bits": (["123456789012345678901234", "1"], "U", False),
    "beyond int64, signed": (["9223372036854775808", "-1"], "U", True),
    "endless": (["1" * 5000, "2"], "U", False),
    "codes": (["7", "007"], "U", False),
    "codes of one length": (["01234", "98765"], "U", False),
    "decimals": (["0", "0.5"], "f", True),
    "missing": (["1", "NA", ""], "f", True),
    "empty": (["", ""], "f", True),
    "exponents": (["1e3", "2"], "f", True),
    "infinite": (["inf", "1"], "f", True),
    "hexadecimal": (["0x1F", "2"], "U", True),
    "grouped": (["1_000", "2"], "U", True),
    "mixed": (["1", "x"], "U", True),
    "other digits": (["\u0661", "2"], "U", True),
    "booleans": (["True", "False"], "U", False),
}


@pytest.mark.parametrize("name", list(COLUMNS))
def test_different_cells_of_a_csv_file_stay_different(tmp_path, name):
    cells, kind, like_pandas = COLUMNS[name]
    path = tmp_path / "table.csv"
    path.write_text("".join(f"{cell};k\n" for cell in ["a", *cells]), encoding="utf-8")
    got = fnn.data.read_csv(path, delimiter=";")["a"]
    assert got.dtype.kind == kind
    if kind in "iu":
        assert got.tolist() == list(map(int, cells))
    if kind == "U":
        assert got.tolist() == cells
    if like_pandas:
        pd = pytest.importorskip("pandas", reason="pandas is not installed: read_csv is not compared with it")
        want = pd.read_csv(path, sep=";")["a"]
        if kind == "U":
            assert got.tolist() == want.tolist()
        else:
            np.testing.assert_array_equal(got, want.to_numpy())
            assert got.dtype == want.dtype


def test_whole_numbers_that_float64_would_change_stay_text(tmp_path):
    path = tmp_path / "table.csv"
    for other in ("", "2.5", "NA"):
        path.write_text(f"id;k\n12345678901234567;0\n{other};0\n")
        with pytest.warns(UserWarning, match="column 'id': whole numbers such as '12345678901234567' are read as text"):
            columns = fnn.data.read_csv(path, delimiter=";")
        assert columns["id"].tolist() == ["12345678901234567", other]
    path.write_text(f"id;k\n{2**53};0\n;0\n")
    assert fnn.data.read_csv(path, delimiter=";")["id"].tolist()[0] == 2**53


def test_ids_of_a_csv_file_stay_categories(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("id,size\n12345678901234567,1\n12345678901234569,2\n12345678901234571,4\n")
    columns = fnn.data.read_csv(path)
    code = fnn.data.table_fit(columns, categorical="id")
    assert code.names == tuple(f"id=123456789012345{end}" for end in ("67", "69", "71")) + ("size",)
    assert fnn.data.table_encode(code, columns).tolist() == [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 4]]
    with pytest.raises(fnn.InputError, match=r"column 'id', row 0, .* got 12345678901234568"):
        fnn.data.table_encode(code, {"id": [12345678901234568], "size": [1]})
    with pytest.raises(fnn.InputError, match=r"column 'id', row 0, .* got 1.2345678901234568e[+]16"):
        fnn.data.table_encode(code, {"id": [12345678901234568.0], "size": [1]})
    with pytest.warns(UserWarning, match=r"column 'id': 2 of the whole numbers become equal .* categorical="):
        fnn.data.table_fit(columns)


def test_a_log_is_read_back_exactly(tmp_path, rng):
    log, path = fnn.csv_log(tmp_path / "log.csv"), tmp_path / "log.csv"
    losses = rng.normal(size=20).astype("float32") * 10.0 ** rng.integers(-30, 30, 20)
    for epoch, loss in enumerate(losses):
        log(epoch, None, {"loss": float(loss)})
    columns = fnn.data.read_csv(path)
    assert columns["epoch"].dtype == np.int64
    assert columns["loss"].tolist() == losses.tolist()


def test_csv_equals_the_csv_module(tmp_path, rng):
    rows = [[f"{a:.4g}", rng.choice(['"', "a,b", "ñ", "x y"]), str(b)] for a, b in rng.normal(size=(30, 2))]
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "text", "b"], *rows])
    columns = fnn.data.read_csv(path)
    for i, (name, kind) in enumerate({"a": float, "text": str, "b": float}.items()):
        assert columns[name].tolist() == [kind(row[i]) for row in rows]


def test_rows_of_another_length_name_their_line(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('a,b\n1,2\n\n"3\n4",5\n6\n')
    with pytest.raises(fnn.InputError, match=r"table.csv, line 6: expected 2 cells, one for each column, got 1 cell"):
        fnn.data.read_csv(path)


def test_missing_values_and_decimal_commas_in_a_csv_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a;b;c;d\n1,5;NA;?;x\n;2;?;NA\nn/a;nan;?;y\n")
    with pytest.warns(UserWarning, match=r"column 'a': numbers such as '1,5' are read as text. Pass decimal=\",\""):
        columns = fnn.data.read_csv(path, delimiter=";")
    assert columns["a"].tolist() == ["1,5", "", "n/a"]
    columns = fnn.data.read_csv(path, delimiter=";", decimal=",")
    np.testing.assert_array_equal(columns["a"], [1.5, np.nan, np.nan])
    np.testing.assert_array_equal(columns["b"], [np.nan, 2, np.nan])
    assert columns["c"].tolist() == ["?", "?", "?"]
    assert columns["d"].tolist() == ["x", "NA", "y"]
    path.write_text("a;b\n1.5;1,5\n")
    columns = fnn.data.read_csv(path, delimiter=";", decimal=",")
    assert columns["a"].tolist() == ["1.5"]
    assert columns["b"].tolist() == [1.5]
    for options in ({"decimal": ","}, {"decimal": ";"}):
        with pytest.raises(fnn.InputError, match=r'decimal "." or ",", other than the delimiter'):
            fnn.data.read_csv(path, **options)
