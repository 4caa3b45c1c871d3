"""Every function that takes data accepts the same kinds of data and refuses others with the same message."""

import pathlib
import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from helpers import few

import fnn
from fnn import metrics
from fnn._core.arrays import as_array, check_fits
from fnn._core.inputs import as_arrays, as_labels
from fnn.training.batch import as_batch

ROWS, COLUMNS = 6, 3
X = np.random.default_rng(0).integers(-3, 4, (ROWS, COLUMNS)).astype("float32")  # exact in every dtype used here
X[:, 1] = [0, 1, 1, 0, 1, 0]
Y = np.array([0, 2, 1, 1, 0, 2], np.int32)


@pytest.fixture(scope="module")
def small():
    """A task and its state, whose programs all entry points share."""
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    return task, fnn.init(task, jax.random.key(0), X[:1])


def pandas():
    return pytest.importorskip("pandas", reason="pandas is not installed: its frames are not tested")


def polars():
    return pytest.importorskip("polars", reason="polars is not installed: its frames are not tested")


def torch():
    return pytest.importorskip("torch", reason="torch is not installed: its tensors are not tested")


def mapped(array, folder):
    path = pathlib.Path(folder) / f"{array.dtype.str[1:]}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def mixed_columns():
    return {"a": X[:, 0].astype("float64"), "b": X[:, 1].astype(bool), "c": X[:, 2].astype("int64")}


def strided(array):
    """The same values with a gap between any two of them."""
    out = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
    out[tuple(slice(None, None, 2) for _ in array.shape)] = array
    return out[tuple(slice(None, None, 2) for _ in array.shape)]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


KINDS = {
    "big-endian": lambda f: (X.astype(">f4"), Y.astype(">i4")),
    "big-endian float64": lambda f: (X.astype(">f8"), Y.astype(">i8")),
    "Fortran order": lambda f: (np.asfortranarray(X), Y),
    "negative strides": lambda f: (X[::-1, ::-1].copy()[::-1, ::-1], Y[::-1].copy()[::-1]),
    "gaps": lambda f: (strided(X), strided(Y)),
    "read-only": lambda f: (read_only(X), read_only(Y)),
    "memory-mapped": lambda f: (mapped(X, f), mapped(Y, f)),
    "memory-mapped, big-endian": lambda f: (mapped(X.astype(">f4"), f), mapped(Y.astype(">i8"), f)),
    "float64 and int64": lambda f: (X.astype("float64"), Y.astype("int64")),
    "long double": lambda f: (X.astype(np.longdouble), Y),
    "uint8 labels": lambda f: (X, Y.astype("uint8")),
    "JAX": lambda f: (jnp.asarray(X), jnp.asarray(Y)),
    "lists": lambda f: (X.tolist(), Y.tolist()),
    "tuples and lists of arrays": lambda f: (X.astype(float).tolist(), tuple(Y.tolist())),
    "NumPy scalars": lambda f: (X.tolist(), [np.int64(y) for y in Y]),
    "pandas": lambda f: (
        pandas().DataFrame(mixed_columns(), index=[7, 3, 3, 0, 1, 2]),
        pandas().Series(Y, index=[9, 8, 7, 6, 5, 4], name="label"),
    ),
    "pandas, one dtype": lambda f: (pandas().DataFrame(X), pandas().Series(Y)),
    "pandas, nullable": lambda f: (
        pandas().DataFrame(mixed_columns()).astype({"a": "Float64", "b": "boolean", "c": "Int64"}),
        pandas().Series(Y, dtype="Int64"),
    ),
    "polars": lambda f: (polars().DataFrame(mixed_columns()), polars().Series("label", Y)),
    "torch": lambda f: (torch().tensor(X, requires_grad=True), torch().tensor(Y).long()),
    "torch, transposed": lambda f: (torch().tensor(X.T.copy()).T, torch().tensor(Y)),
}


@pytest.fixture(params=list(KINDS))
def given(request, tmp_path):
    return KINDS[request.param](tmp_path)


# Functions that take data: (task, ts, x, y) -> a result to compare.
DOORS = {
    "init": lambda t, ts, x, y: fnn.init(t, jax.random.key(0), x).params,
    "summary": lambda t, ts, x, y: fnn.summary(t, x).trainable,
    "check": lambda t, ts, x, y: str(fnn.check(t, x)),
    "train_step": lambda t, ts, x, y: fnn.train_step(t, ts, (x, y)),
    "train_epoch": lambda t, ts, x, y: fnn.train_epoch(t, ts, (x, y), batch_size=6),
    "run": lambda t, ts, x, y: fnn.run(t, ts, (x, y), batch_size=6, validation_data=(x, y)),
    "fit": lambda t, ts, x, y: fnn.fit(t, ts, (x, y), batch_size=6, validation_data=(x, y), verbose=0)[0],
    "fit of batches": lambda t, ts, x, y: fnn.fit(t, ts, [(x, y)], verbose=0)[0],
    "evaluate": lambda t, ts, x, y: fnn.evaluate(t, ts, (x, y)),
    "predict": lambda t, ts, x, y: fnn.predict(t, ts, x),
    "layer_report": lambda t, ts, x, y: str(fnn.layer_report(t, ts, (x, y))),
    "example_gradients": lambda t, ts, x, y: fnn.example_gradients(t, ts, (x, y)),
    "accuracy": lambda t, ts, x, y: metrics.accuracy(x, y),
    "confusion_matrix": lambda t, ts, x, y: metrics.confusion_matrix(y, y),
    "classification_report": lambda t, ts, x, y: fnn.classification_report(x, y),
    "class_weights": lambda t, ts, x, y: fnn.class_weights(y, "balanced"),
    "standardize": lambda t, ts, x, y: fnn.data.standardize(fnn.data.standardize_fit(x), x),
    "train_test_split": lambda t, ts, x, y: fnn.data.train_test_split(x, y, test_size=3, stratify=y),
    "folds": lambda t, ts, x, y: fnn.data.folds(0, 6, 2, stratify=y)[0].test,
    "take_fold": lambda t, ts, x, y: fnn.data.take_fold(fnn.data.folds(0, 6, 2)[0], x, y),
    "one_hot": lambda t, ts, x, y: fnn.one_hot(y, 3),
}
SHAPES_ONLY = {"init", "summary", "check"}


def values(tree):
    if isinstance(tree, str):
        return tree
    keys = jax.tree.map(
        lambda a: jax.random.key_data(a) if hasattr(a, "dtype") and a.dtype.name == "key<fry>" else a, tree
    )
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(keys)]


@pytest.fixture(scope="module")
def expected(small):
    return {name: values(door(*small, X, Y)) for name, door in DOORS.items()}


@pytest.mark.parametrize("door", few(DOORS, 2))
def test_every_entry_point_accepts_the_same_data(small, expected, given, door):
    got, want = values(DOORS[door](*small, *given)), expected[door]
    if isinstance(want, str):
        assert got == want
        return
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, 1e-6, 1e-6)


def frame(**columns):
    return pandas().DataFrame({"a": np.ones(ROWS), **columns})


# Data refused as x: a function that makes it, and a pattern of the message.
REFUSED = {
    "scipy matrix": (lambda: sparse("csr_matrix"), r"not sparse, got a sparse csr_matrix\[6, 3\]. Write x.toarray\(\)"),
    "scipy array": (lambda: sparse("csr_array"), r"not sparse, got a sparse csr_array\[6, 3\]. Write x.toarray\(\)"),
    "masked": (lambda: np.ma.array(X), r"got a masked array, float32\[6, 3\]. Write x.filled\(0\)"),
    "masked in part": (lambda: np.ma.array(X, mask=X > 1), "got a masked array"),
    "complex": (lambda: X + 1j, r"real numbers, got complex numbers, complex.*np.stack\(\[z.real, z.imag\], -1\)"),
    "dates": (
        lambda: np.full((6, 3), "2020-01-01", "M8[D]"),
        r"got dates, datetime64\[D\]\[6, 3\]. Write it as a number",
    ),
    "spans": (lambda: np.full((6, 3), 5, "m8[s]"), r"got times, timedelta64\[s\]\[6, 3\]. Write it as a number"),
    "text": (lambda: X.astype(str), r"an array of numbers, got text, <U\d+\[6, 3\]. Encode text first"),
    "bytes": (lambda: X.astype("S"), r"an array of numbers, got text, \|S\d+\[6, 3\]. Encode text first"),
    "list with text": (lambda: [[1, 2, "a"]] * 6, "an array of numbers, got text"),
    "objects": (lambda: X.astype(object), r"got an array of objects, object\[6, 3\]. Write x.astype\('float32'\)"),
    "None inside": (lambda: np.where(X > 2, None, X), r"numbers only, got a missing value: None at index \("),
    "None in a list": (lambda: [[1.0, None, 2.0]] * 6, "a missing value: None at index 1. Drop those rows"),
    "ragged list": (lambda: [[1, 2, 3]] * 5 + [[1, 2]], "rows of the same length, got a ragged list. Pad them first"),
    "ragged objects": (
        lambda: np.array([np.ones(3), np.ones(2)], object),
        "rows of the same length, got rows of lengths 2 to 3",
    ),
    "records": (
        lambda: np.zeros(6, [("a", int), ("b", float)]),
        r"got records of a, b, .*recfunctions.structured_to_unstructured\(x\)",
    ),
    "huge integers": (lambda: [[2**70] * 3] * 6, r"integers of at most 64 bits, got 1180591620717411303424"),
    "sparse JAX": (lambda: jax_sparse(), r"not sparse, got a sparse BCOO\[6, 3\]. Write x.todense\(\)"),
    "text column": (
        lambda: frame(name=["ann"] * ROWS),
        r"column 'name': expected a column of numbers, got text, dtype str.*table_fit and table_encode",
    ),
    "missing in a nullable column": (
        lambda: frame(age=pandas().array([1, 2, None, 4, None, 6])),
        r"column 'age': expected a number in each row, got 2 missing values, the first in row 2.*x.dropna\(\)",
    ),
    "category": (
        lambda: frame(k=pandas().Categorical(["u", "v"] * 3)),
        r"column 'k': expected a column of numbers, got categories. Write .cat.codes",
    ),
    "dates in a frame": (lambda: frame(t=pandas().date_range("2020", periods=6)), "column 't': .* got dates"),
    "column of objects": (lambda: frame(o=[1, "a"] * 3), r"column 'o': expected an array of numbers, got text, 'a'"),
    "polars text": (
        lambda: polars().DataFrame({"name": ["ann"] * 6}),
        "column 'name': expected a column of numbers, got text, dtype String. Encode text first",
    ),
    "polars null": (
        lambda: polars().DataFrame({"age": [1, 2, None, 4, 5, 6]}),
        r"column 'age': expected a number in each row, got 1 missing value, the first in row 2.*x.drop_nulls\(\)",
    ),
    "polars category": (
        lambda: polars().DataFrame({"k": polars().Series(["u"] * 6, dtype=polars().Categorical)}),
        r"column 'k': .*got categories. Write .to_physical\(\)",
    ),
    "lazy frame": (lambda: polars().DataFrame({"k": [1] * 6}).lazy(), r"got a LazyFrame. Write x.collect\(\)"),
    "sparse tensor": (
        lambda: torch().tensor(X).to_sparse(),
        r"not sparse, got a sparse tensor\[6, 3\]. Write x.to_dense",
    ),
    "tensor elsewhere": (lambda: torch().ones((6, 3), device="meta"), r"on the CPU, got one on meta. Write x.cpu\(\)"),
}


def sparse(name):
    module = pytest.importorskip("scipy.sparse", reason="scipy is not installed: its sparse arrays are not tested")
    return getattr(module, name)(np.eye(ROWS, COLUMNS))


def jax_sparse():
    from jax.experimental import sparse

    places = np.stack([np.arange(COLUMNS)] * 2, -1)
    return sparse.BCOO((np.ones(COLUMNS, "f"), places), shape=(ROWS, COLUMNS))


TAKE_X = [
    *("init", "summary", "check", "train_step", "train_epoch", "run", "fit", "fit of batches", "evaluate", "predict"),
    *("layer_report", "example_gradients", "accuracy", "classification_report", "standardize", "train_test_split"),
    "take_fold",
]


@pytest.mark.parametrize("kind", list(REFUSED))
def test_every_entry_point_refuses_the_same_data_with_the_same_message(small, kind):
    make, message = REFUSED[kind]
    x, said = make(), {}
    # Rows of text and of objects are split as they are.
    for door in TAKE_X if x_is_numbers(x) else [door for door in TAKE_X if door != "train_test_split"]:
        with pytest.raises(fnn.InputError, match=message) as caught:
            DOORS[door](*small, x, Y)
        said[door] = str(caught.value)
    # The message starts with the entry point; for frames, train_test_split adds a hint.
    found = {re.sub(r" Of a table with text split.*", "", text[text.index(": expected") :]) for text in said.values()}
    assert len(found) == 1, found


def x_is_numbers(x):
    return not (isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray)) and not isinstance(x, list)


@pytest.mark.parametrize(
    "door", ["fit", "evaluate", "train_step", "run", "accuracy", "class_weights", "confusion_matrix"]
)
def test_bad_labels_get_the_same_message(small, door):
    for y, message in (
        (["no", "yes", "no"] * 2, r"an array of numbers, got text, <U3\[6\]. .*names, y = np.unique\(labels"),
        (np.array([0, 1, None] * 2), "numbers only, got a missing value: None at index 2"),
        (np.ma.array(Y), "got a masked array"),
        ({0, 1, 2}, r"got a set, which has no order. Write sorted\(x\)"),
        (iter([0, 1, 2]), r"got a list_iterator. Write list\(x\)"),
    ):
        with pytest.raises(fnn.InputError, match=message):
            DOORS[door](*small, X, y)


# ----------------------------------------------------------------------------------------------- values that do not fit
WIDE = {
    "int64": (np.array([[1, 2, 3]] * 5 + [[1, 2, 2**31]]), "integers within int32.*got 2147483648 at index"),
    "low": (np.array([[1, 2, 3]] * 5 + [[1, 2, -(2**31) - 1]]), "within int32.*got -2147483649 at index"),
    "uint64": (np.full((6, 3), 2**32, np.uint64), "integers within uint32.*got 4294967296 at index"),
    "float64": (np.full((6, 3), 1e39), "numbers within float32.*got 1e[+]39 at index"),
    "float64 beside NaN": (np.array([[np.nan, 1.0, -1e300]] * 6), "numbers within float32.*got -1e[+]300 at index"),
}


@pytest.mark.parametrize("door", ["train_step", "train_epoch", "run", "fit", "fit of batches", "evaluate", "predict"])
@pytest.mark.parametrize("kind", list(WIDE))
def test_values_that_jax_would_change_are_rejected(small, door, kind):
    x, message = WIDE[kind]
    if door in {"fit", "fit of batches", "evaluate", "predict"} or kind != "low":
        model = fnn.Sequential(fnn.Activation(lambda x: x.astype(jnp.float32)), fnn.Dense(3))
        small = small if x.dtype.kind == "f" else (small[0].replace(model=model), small[1])
    ts = small[1]
    if x.dtype.kind != "f":
        ts = ts._replace(params={"dense": ts.params})
        ts = ts._replace(opt_state=small[0].optimizer.init(ts.params))
    with pytest.raises(fnn.InputError, match=message + ".*jax_enable_x64"):
        DOORS[door](small[0], ts, x, Y)


def test_limits_are_exact():
    for dtype, narrow in (("int64", "int32"), ("uint64", "uint32")):
        limits = np.iinfo(narrow)
        fine = np.array([limits.min, limits.max], dtype)
        assert as_array("x", fine) is fine
        with pytest.raises(fnn.InputError, match=f"got {limits.max + 1} at index 1"):
            as_array("x", np.array([0, limits.max + 1], dtype))
    top = float(np.finfo(np.float32).max)
    fine = np.array([top, -top, np.inf, np.nan])
    assert as_array("x", fine) is fine
    with pytest.raises(fnn.InputError, match="at index 3"):
        as_array("x", np.array([top, -top, np.nan, -np.nextafter(top, np.inf)]))


def test_the_index_is_right_for_every_layout():
    for x in (np.zeros((700, 2000)), np.zeros((2000, 700)).T, np.zeros((1400, 2000))[::2]):
        x[613, 1999] = 1e300
        with pytest.raises(fnn.InputError, match=r"got 1e\+300 at index \(613, 1999\)"):
            check_fits("x", x)
        with pytest.raises(fnn.InputError, match=r"got 1e\+300 at index \(1613, 1999\)"):
            check_fits("x", x, offset=1000)


def test_64_bit_values_are_accepted_with_x64(x64):
    wide = np.array([2**62, -(2**62)])
    assert as_array("x", wide) is wide
    assert float(as_array("x", np.array([1e300]))[0]) == 1e300
    assert jnp.asarray(as_array("x", wide)).tolist() == wide.tolist()


def test_long_doubles_beyond_float64_are_rejected():
    with pytest.raises(fnn.InputError, match="numbers within float64, got larger ones"):
        as_array("x", np.array([np.longdouble("1e4000")]) if np.finfo(np.longdouble).max > 1e308 else np.array([1e39]))


def test_memory_mapped_files_are_checked_in_chunks(small, tmp_path):
    x = np.ones((ROWS, COLUMNS))
    x[4, 1] = 1e39
    for dtype in ("f8", ">f8"):
        file = mapped(x.astype(dtype), tmp_path)
        for chunk in (1, None):
            with pytest.raises(fnn.InputError, match=r"data, x: .* got 1e\+39 at index \(4, 1\)"):
                fnn.fit(*small, (file, Y), chunk_bytes=chunk, verbose=0)


# ---------------------------------------------------------------------------------------------------------- one array
def test_ready_arrays_are_not_copied():
    for x in (X, Y, X.astype("float16"), X.astype("uint8"), X > 0, X.astype("float64"), X.astype(ml_dtypes.bfloat16)):
        assert as_array("x", x) is x
        assert as_batch((x, Y))[0] is x
        assert as_arrays({"a": x})["a"] is x
    zero = np.broadcast_to(np.float32(1), (10**6, 10**6))
    assert as_array("x", zero) is zero
    on_device = jnp.ones(3)
    assert as_array("x", on_device) is on_device


def test_scalars_become_arrays_without_axes():
    for x in (2, 2.5, True, np.float16(2), np.int64(3), np.array(4.0), jnp.float32(1)):
        got = as_array("x", x)
        assert got.shape == ()
        assert float(got) == float(x)


def test_lists_of_every_type():
    assert as_array("x", [[1, 2], (3, 4)]).tolist() == [[1, 2], [3, 4]]
    assert as_array("x", [X[0], X[1].astype("float64")]).tolist() == X[:2].tolist()
    assert as_array("x", [jnp.asarray(X[0]), X[1]]).tolist() == X[:2].tolist()
    assert as_array("x", [True, 2]).tolist() == [1, 2]
    assert as_array("x", range(3)).tolist() == [0, 1, 2]
    half = as_array("x", [np.ones(2, ml_dtypes.bfloat16), np.zeros(2, ml_dtypes.bfloat16)])
    assert half.dtype == ml_dtypes.bfloat16
    with pytest.raises(fnn.InputError, match=r"integers of one dtype, got numbers from -1 to 9223372036854775808"):
        as_array("x", [2**63, -1])
    with pytest.raises(fnn.InputError, match=r"x\[1\]: expected numbers only, got a missing value"):
        as_array("x", [[1, 2], [None, 2]])
    with pytest.raises(fnn.InputError, match=r"x: expected an array of numbers, got None"):
        as_array("x", None)


def test_inputs_in_dicts_and_tuples_keep_their_names():
    got = as_batch(({"a": [[1.0, 2.0]], "b": (X, [1, 2])}, (0, 1)))
    assert [got[0]["b"][1].tolist(), got[1].tolist()] == [[1, 2], [0, 1]]
    with pytest.raises(fnn.InputError, match=r"data, x\['b'\]: expected an array of numbers, got text"):
        as_batch(({"a": X, "b": ["u", "v"]}, Y))
    with pytest.raises(fnn.InputError, match=r"data, sample_weight: expected .* got a missing value: None at index 1"):
        as_batch((X, Y, [1.0, None]))


def test_data_frames_become_one_dtype_that_holds_all_columns():
    pd = pandas()
    dummies = pd.get_dummies(pd.DataFrame({"kind": ["u", "v", "u"], "size": [1.5, 2.0, 3.0]}))
    got = as_array("x", dummies)
    assert got.dtype == np.float64
    assert got.tolist() == [[1.5, 1, 0], [2, 0, 1], [3, 1, 0]]
    assert as_array("x", pd.DataFrame({"a": [True, False], "b": [2, 3]})).dtype == np.float64
    assert as_array("x", pd.DataFrame({"a": np.float32([1]), "b": [True]})).dtype == np.float32
    assert as_array("x", pd.DataFrame({"a": [True], "b": [False]})).dtype == np.float32
    assert as_array("x", pd.DataFrame({"a": [1, 2]})).shape == (2, 1)
    assert as_array("x", pd.Series([1, 2])).shape == (2,)
    twice = pd.DataFrame(np.arange(4).reshape(2, 2), columns=["a", "a"])
    assert as_array("x", twice.assign(b=0.5)).tolist() == [[0, 1, 0.5], [2, 3, 0.5]]
    signed = pd.DataFrame({"a": np.array([2**60 + 1], np.int64), "b": np.array([1], np.uint64)})
    with jax.enable_x64(True):
        assert as_array("x", signed).tolist() == [[2**60 + 1, 1]]
        with pytest.raises(fnn.InputError, match=f"integers within int64, got {2**63} beside signed ones"):
            as_array("x", signed.assign(b=np.array([2**63], np.uint64)))
    with pytest.raises(fnn.InputError, match="a frame with columns, got one without any"):
        as_array("x", pd.DataFrame())


def test_torch_tensors_without_a_copy():
    th = torch()
    x = th.ones((2, 3), requires_grad=True)
    assert np.shares_memory(as_array("x", x), x.detach().numpy())
    half = th.tensor([[1.5, -2.0], [3.0, 4.0]], dtype=th.bfloat16)
    assert as_array("x", half).dtype == ml_dtypes.bfloat16
    assert as_array("x", half.T).astype("float32").tolist() == [[1.5, 3], [-2, 4]]
    with pytest.raises(fnn.InputError, match="real numbers, got complex numbers"):
        as_array("x", th.ones(2, dtype=th.complex64))


def test_rows_are_split_by_position():
    pd = pandas()
    x = pd.DataFrame({"a": np.arange(10.0), "b": np.arange(10) % 2 == 0}, index=list(range(9, -1, -1)))
    names = pd.Series(list("uvuvuvuvuv"), index=[5] * 10)
    parts = fnn.data.train_test_split(x, names, np.arange(10), test_size=4, stratify=names.astype("category"))
    for rows, text, number in (parts[::2], parts[1::2]):
        np.testing.assert_array_equal(rows, np.stack([number, number % 2 == 0], -1))
        assert text.tolist() == ["uv"[n % 2] for n in number]
    hint = (
        r"column 'a': .* got text.*split the row numbers: train, test = train_test_split\(np.arange\(len\(table\)\)\)"
    )
    with pytest.raises(fnn.InputError, match=hint):
        fnn.data.train_test_split(pd.DataFrame({"a": ["u", "v"]}))
    with pytest.raises(fnn.InputError, match="stratify: expected a label in each row, got a missing one"):
        fnn.data.train_test_split(x, stratify=pd.Series(["u", None] * 5))
    assert as_labels("y", pd.Series(["u", "v"], dtype="category")).tolist() == ["u", "v"]


# ------------------------------------------------------------------------------------------------- compiled functions
def test_compiled_functions_keep_their_methods_and_transformations(small):
    task, ts = small
    x, y = jnp.asarray(X), jnp.asarray(Y)
    want = fnn.train_step(task, ts, (x, y))[1]["loss"]
    inside = jax.jit(fnn.train_step, static_argnums=0)(task, ts, (x, y))[1]["loss"]
    np.testing.assert_allclose(inside, want, 1e-6)
    np.testing.assert_allclose(fnn.train_step(task, ts, batch=(X.tolist(), Y.tolist()))[1]["loss"], want, 1e-6)
    assert fnn.train_step.lower(task, ts, (x, y)).out_info[1]["loss"].shape == ()
    both = jax.vmap(lambda x: fnn.train_step(task, ts, (x, y))[1]["loss"])(jnp.stack([x, x]))
    np.testing.assert_allclose(both, [want, want], 1e-6)
    slope = jax.grad(lambda x: fnn.train_step(task, ts, (x, Y))[1]["loss"])(x)
    assert slope.shape == x.shape
    assert float(jnp.abs(slope).max()) > 0
    size = fnn.train_step._cache_size()
    fnn.train_step(task, ts, (X.astype(">f4"), Y.astype("int64")))
    assert fnn.train_step._cache_size() <= size + 1


def test_a_dataset_is_not_a_pair(small):
    data = fnn.data.iris()
    for door in ("fit", "train_step"):
        fn = fnn.fit if door == "fit" else fnn.train_step
        with pytest.raises(fnn.InputError, match=r"Pass the tuple \(data.x, data.y\)"):
            fn(*small, data)


def test_ids_beside_floats_are_not_merged():
    """float64 would merge two ids beyond 2**53 into one number."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")
    ids = [12345678901234567, 12345678901234569]
    columns = {"id": ids, "v": [0.5, 1.0]}
    for table in (pandas.DataFrame(columns), polars.DataFrame(columns), [[ids[0], 0.5], [ids[1], 1.5]]):
        with pytest.raises(fnn.InputError, match=r"within 2\*\*53 beside floats, got 12345678901234567.*np\.unique"):
            fnn.data.train_test_split(table)
        with pytest.raises(fnn.InputError, match=r"within 2\*\*53 beside floats"):
            fnn.data.standardize_fit(table)
    with pytest.raises(fnn.InputError, match=f"beside floats, got {2**63}"):
        as_array("x", [0.5, 2**63])


def test_dummies_are_measurements():
    """A frame with boolean columns becomes floats; integers alone may be ids."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    dummies = pandas.get_dummies(pandas.DataFrame({"c": ["a", "b", "a"], "n": [1, 2, 3]}))
    task = fnn.Task(fnn.Dense(2), "mse")
    for frame in (dummies, dummies[["c_a", "c_b"]]):
        ts = fnn.init(task, jax.random.key(0), frame)
        want = np.asarray(frame, "float32") @ np.asarray(ts.params["kernel"])
        np.testing.assert_allclose(fnn.predict(task, ts, frame), want, 1e-6)
    with pytest.raises(fnn.InputError, match=r"got int32.*np.asarray\(x, 'float32'\).*Ids go into fnn.Embedding"):
        fnn.init(task, jax.random.key(0), dummies[["n"]])


@pytest.mark.parametrize("door", ["train_step", "train_epoch", "run", "fit", "evaluate"])
def test_weights_in_a_column_get_the_same_message(small, door):
    task, ts = small
    data = X, Y, np.ones((len(Y), 1), "float32")
    calls = {
        "train_step": lambda: fnn.train_step(task, ts, data),
        "train_epoch": lambda: fnn.train_epoch(task, ts, data),
        "run": lambda: fnn.run(task, ts, data),
        "fit": lambda: fnn.fit(task, ts, data, verbose=0),
        "evaluate": lambda: fnn.evaluate(task, ts, data),
    }
    with pytest.raises(fnn.InputError, match=r"sample_weight: expected weights of shape \(batch,\), got .*\[:, 0\]"):
        calls[door]()
