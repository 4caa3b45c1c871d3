"""Data made ready for a model: pure functions whose state is an argument and a result, never hidden.

Arrays stay what they are: of NumPy arrays come NumPy arrays; as soon as one argument is a JAX array the result is one,
so that scaling works inside `jax.jit` too. Values are checked where they are known, which they are not inside it.
"""

from __future__ import annotations

import math
import numbers
import re
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_count, check_range, describe, fail, is_concrete, shape_text
from .._dtypes import lift
from .._inputs import as_array, as_column, as_labels, as_rows
from ..nn.masks import Masked


# ------------------------------------------------------------------------------------------------------------- scaling
class Moments(NamedTuple):
    """What `standardize` needs to know.

    Attributes:
      mean: of each column.
      std: the standard deviation of each column, by the number of rows; 1 for a column that is constant.
    """

    mean: Any
    std: Any


def _as_array(where: str, x: Any, *, finite: bool = True) -> Any:
    """An array of numbers; those that are not concrete pass the check of their values."""
    x = as_array(f"{where}, x", x, fits=False)
    if finite and is_concrete(x):
        values = np.asarray(x)
        good = np.isfinite(values)
        if not good.all():
            first = tuple(int(i) for i in np.argwhere(~good)[0])
            place = f"row {first[0]}" if first else "it"
            place += f", column {', '.join(map(str, first[1:]))}" if first[1:] else ""
            more = int((~good).sum()) - 1
            got = f"{values[first]} in {place}, counted from 0" + (f", and {more} more like it" if more else "")
            fail(where, expected="finite numbers", got=got)
    return x


def _result_dtype(x: Any) -> Any:
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.dtype("float32")


def _work_dtype(x: Any) -> Any:
    """Where sums are taken: NumPy has float64 at no cost in speed; JAX has float32, or what is wider."""
    if not isinstance(x, jax.Array):
        return np.promote_types(np.float64, x.dtype) if x.dtype.kind == "f" else np.dtype("float64")
    dtype = _result_dtype(x)
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype("float32")


def standardize_fit(x: Any) -> Moments:
    """Mean and standard deviation of each column, for `standardize`.

    ``mean = 1/n sum_i x_i`` and ``std = sqrt(1/n sum_i (x_i - mean)^2)`` over the first axis, as in scikit-learn's
    StandardScaler. A column whose rows are all equal has the standard deviation 1, so that it becomes 0 instead of a
    division by 0; one row therefore is a mean with standard deviations of 1.

    Args:
      x: (rows, ...) numbers, NumPy or JAX. Fit on the training rows only, or the test rows leak into training.

    Returns:
      `Moments`, each of the shape of a row: float64 of NumPy arrays, else of the dtype of ``x``, at least float32.

    Raises:
      InputError: for no rows, text, or numbers that are not finite.

    >>> import numpy as np
    >>> moments = standardize_fit(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> moments.mean.tolist(), moments.std.tolist()
    ([2.0, 7.0], [1.0, 1.0])
    """
    x = _as_array("standardize_fit", x)
    if x.ndim == 0 or x.size == 0:
        fail("standardize_fit", expected="at least one row of numbers", got=describe(x))
    xp: Any = jnp if isinstance(x, jax.Array) else np
    x = x.astype(_work_dtype(x))
    # Differences from the first row are exact for a constant column, and lose little where a mean is far from 0.
    shifted = x - x[:1]
    shift = shifted.mean(0)
    deviation = shifted - shift[None]
    # Squares of very small or large numbers leave the range of the dtype; those of numbers up to 1 don't.
    scale = xp.abs(deviation).max(0)
    constant = scale == 0
    one = xp.ones_like(scale)
    scale = xp.where(constant, one, jax.lax.stop_gradient(scale) if xp is jnp else scale)
    variance = xp.square(deviation / scale[None]).mean(0)
    return Moments(x[0] + shift, scale * xp.sqrt(xp.where(constant, one, variance)))


def _aligned(where: str, moments: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """``x``, mean and deviation in the dtype in which to compute, and the dtype of the result."""
    if not isinstance(moments, Moments):
        fail(where, expected="Moments from standardize_fit first", got=describe(moments))
    shape = np.shape(moments.mean)
    if x.ndim < len(shape) or x.shape[x.ndim - len(shape) :] != shape:
        fail(where, expected=f"rows of shape {shape_text(shape)}, as in standardize_fit", got=describe(x))
    if any(isinstance(a, jax.Array) for a in (x, *moments)):
        x = jnp.asarray(x)
        work = _work_dtype(x)
        return x.astype(work), jnp.asarray(moments.mean, work), jnp.asarray(moments.std, work), _result_dtype(x)
    work = _work_dtype(x)
    return x.astype(work), np.asarray(moments.mean, work), np.asarray(moments.std, work), _result_dtype(x)


def standardize(moments: Moments, x: Any) -> Any:
    """``z = (x - mean) / std``, column by column.

    Args:
      moments: from `standardize_fit`.
      x: (rows, ...) numbers with the columns that were fitted, or one row.

    Returns:
      An array of the shape of ``x``. Its floating dtype is kept; integers give float32.

    Raises:
      InputError: for other columns, text, or numbers that are not finite.

    >>> import numpy as np
    >>> standardize(Moments(np.array([2.0, 7.0]), np.array([0.5, 1.0])), np.array([[3.0, 7.0], [1.0, 9.0]])).tolist()
    [[2.0, 0.0], [-2.0, 2.0]]
    """
    x = _as_array("standardize", x)
    x, mean, std, out = _aligned("standardize", moments, x)
    return ((x - lift(mean, x)) / lift(std, x)).astype(out)


def standardize_invert(moments: Moments, z: Any) -> Any:
    """``x = z * std + mean``: back to the units of before, e.g. for the predictions of a scaled target.

    Args:
      moments: from `standardize_fit`.
      z: (rows, ...) numbers with the columns that were fitted, or one row. What is not finite stays so.

    Returns:
      An array of the shape of ``z``. Its floating dtype is kept; integers give float32.

    Raises:
      InputError: for other columns, or text.

    >>> import numpy as np
    >>> standardize_invert(Moments(np.array([2.0, 7.0]), np.array([0.5, 1.0])), np.array([[2.0, 0.0]])).tolist()
    [[3.0, 7.0]]
    """
    z = _as_array("standardize_invert", z, finite=False)
    z, mean, std, out = _aligned("standardize_invert", moments, z)
    return (z * lift(std, z) + lift(mean, z)).astype(out)


def scale_images(x: Any, top: Any = 255) -> Any:
    """Images as a model takes them: float32 in [0, 1], with a channel axis.

    Args:
      x: (count, height, width) or (count, height, width, channels) numbers from 0 to ``top``.
      top: the value of full brightness: 255 for bytes, 16 for scikit-learn's digits, 1 for what is scaled already.

    Returns:
      (count, height, width, channels) float32, ``x / top``; images without a channel axis get one of length 1.

    Raises:
      InputError: for another rank, values outside [0, top] or not finite, or fractions where ``top`` is 255.

    >>> import numpy as np
    >>> y = scale_images(np.array([[[0, 51], [255, 102]]], np.uint8))
    >>> y.shape, y.dtype.name
    ((1, 2, 2, 1), 'float32')
    >>> print(y[0, ..., 0])
    [[0.  0.2]
     [1.  0.4]]
    """
    where = "scale_images"
    check_range(where, "top", top, 0, open_low=True)
    x = _as_array(where, x)
    if x.ndim not in (3, 4):
        hint = "Add an axis to a single image: x[None]." if x.ndim == 2 else ""
        fail(where, expected="(count, height, width) or (count, height, width, channels)", got=describe(x), hint=hint)
    # Bytes can't be wrong, and looking at all of them would cost more than scaling them.
    if is_concrete(x) and is_concrete(top) and x.size and not (x.dtype == np.uint8 and top >= 255):
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > float(top):
            hint = "Say what full brightness is, with top=..." if low >= 0 else ""
            fail(where, expected=f"values from 0 to {float(top):g}", got=f"{low:g} to {high:g}", hint=hint)
        if float(top) == 255 and 0 < high <= 1 and jnp.issubdtype(x.dtype, jnp.floating):
            hint = "They seem to be scaled already: pass top=1, or leave this step out."
            fail(where, expected="values up to 255", got=f"fractions from {low:g} to {high:g}", hint=hint)
    xp: Any = jnp if isinstance(x, jax.Array) or isinstance(top, jax.Array) else np
    y = xp.asarray(x, np.float32) / xp.asarray(top, np.float32)
    return y[..., None] if x.ndim == 3 else y


# --------------------------------------------------------------------------------------------------------------- split
def train_test_split(*arrays: Any, test_size: float = 0.25, seed: int = 0, stratify: Any = None) -> tuple[Any, ...]:
    """Rows for training and rows for testing, chosen at random, the same ones from each array.

    Args:
      *arrays: of the same number of rows, at least two; a `Masked` keeps its mask, anything else becomes
        a NumPy array.
      test_size: the share of rows for testing, in (0, 1), of which ``ceil(test_size * rows)`` is taken as in
        scikit-learn; or their number, an integer.
      seed: the same seed gives the same rows.
      stratify: (rows,) class numbers or names, each of which keeps its share: in the test rows it has the number of
        rows due to it, rounded down or up. Default None: rows are drawn without regard to anything.

    Returns:
      ``(a_train, a_test, b_train, b_test, ...)``, with the rows in random order.

    Raises:
      InputError: for no arrays, arrays of different length, a test_size that leaves no rows on one side, or classes
        to stratify that have one row or are more than the rows of a side.

    >>> import numpy as np
    >>> x, y = np.arange(20).reshape(10, 2), np.array([0] * 5 + [1] * 5)
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, stratify=y)
    >>> x_train.shape, x_test.shape, sorted(y_test.tolist())
    ((6, 2), (4, 2), [0, 0, 1, 1])

    A third part, for validation, is a second split:

    >>> x_train, x_validation = train_test_split(x_train, test_size=2)
    """
    where = "train_test_split"
    if not arrays:
        fail(where, expected="at least one array", got="none")
    kept = [_rows_of(f"{where}, array {i}", a) for i, a in enumerate(arrays)]
    leaves = jax.tree.leaves(kept)
    if any(a.ndim == 0 for a in leaves):
        fail(where, expected="arrays of rows", got="a single number", hint="Options are given by name: test_size=0.3.")
    lengths = [len(a) for a in leaves]
    if len(set(lengths)) > 1:
        fail(where, expected="arrays of the same length", got=", ".join(map(str, lengths)))
    rows = lengths[0]
    if rows < 2:
        fail(where, expected="at least 2 rows", got=str(rows))
    test = _test_rows(where, test_size, rows)
    check_count(where, "seed", seed, 0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows)
    if stratify is not None:
        order = _stratified(where, stratify, order, test, rng)
    parts = [order[test:], order[:test]]
    return tuple(jax.tree.map(lambda leaf, part=part: leaf[part], a) for a in kept for part in parts)


def _rows_of(where: str, a: Any) -> Any:
    return jax.tree.map(lambda leaf: as_rows(where, leaf), a) if isinstance(a, Masked) else as_rows(where, a)


def _test_rows(where: str, test_size: Any, rows: int) -> int:
    if isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool):
        test = int(test_size)
        if not 0 < test < rows:
            fail(where, expected=f"test_size from 1 to {rows - 1} for {rows} rows", got=str(test))
        return test
    if not isinstance(test_size, (float, np.floating)) or not 0 < test_size < 1:
        fail(where, expected="test_size to be a share in (0, 1) or a number of rows", got=repr(test_size))
    test = math.ceil(float(test_size) * rows)
    if test == rows:
        fail(where, expected="a test_size that leaves rows for training", got=f"{test_size:g} of {rows} rows")
    return test


def _stratified(where: str, stratify: Any, order: np.ndarray, test: int, rng: np.random.Generator) -> np.ndarray:
    """Rows in random order, the first ``test`` of which hold each class by its share."""
    rows = len(order)
    labels = as_labels(f"{where}, stratify", stratify)
    if labels.shape != (rows,):
        fail(where, expected=f"stratify of shape ({rows},), a class for each row", got=describe(labels))
    names, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        fail(where, expected="at least 2 rows of each class in stratify", got=f"1 of {names[counts.argmin()]}")
    for side, size in (("test", test), ("train", rows - test)):
        if size < len(names):
            fail(where, expected=f"at least {len(names)} {side} rows, as many as classes", got=str(size))
    # The largest remainders are rounded up; equal ones in random order.
    share = counts * (test / rows)
    due = np.floor(share).astype(int)
    mixed = rng.permutation(len(names))
    up = mixed[np.argsort(due[mixed] - share[mixed], kind="stable")][: test - due.sum()]
    due[up] += 1
    number = number[order]
    by_class = np.argsort(number, kind="stable")  # rows of class 0, then those of class 1, ..., each in random order
    starts = np.cumsum(counts) - counts
    rank = np.arange(rows) - np.repeat(starts, counts)
    chosen = np.zeros(rows, bool)
    chosen[by_class] = rank < np.repeat(due, counts)
    return np.concatenate([order[chosen], order[~chosen]])


# -------------------------------------------------------------------------------------------------------------- tables
class TableCode(NamedTuple):
    """How a table becomes numbers; made by `table_fit`.

    Attributes:
      columns: the columns of the table, in the order of the result.
      categories: for each of them its categories in sorted order, whole numbers as integers of Python, or None for a
        column of numbers.
      two_as_one: whether a column of two categories makes one column, which is 1 for the second.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[Any, ...] | None, ...]
    two_as_one: bool = True

    def shown(self, column: int) -> tuple[Any, ...] | None:
        """The categories of a column that have a column of their own."""
        categories = self.categories[column]
        return categories[1:] if categories is not None and self.two_as_one and len(categories) == 2 else categories

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the encoded columns: that of a number as it is, ``column=category`` for a category."""
        names: list[str] = []
        for i, column in enumerate(self.columns):
            shown = self.shown(i)
            names += [column] if shown is None else [f"{column}={_plain(category)}" for category in shown]
        return tuple(names)


def _plain(category: Any) -> str:
    return str(int(category)) if isinstance(category, float) and category.is_integer() else str(category)


MISSING_MARKS = frozenset({"", "?", "na", "n/a", "nan", "null"})
"""Cells, in lower case, that stand for a missing value among numbers."""

_FILL_NUMBERS = "Drop such rows, or fill them: np.where(np.isnan(column), np.nanmedian(column), column)."
_FILL_TEXT = "Drop such rows, or fill them, e.g. np.where(column == '', 'unknown', column)."


def is_mark(cell: str) -> bool:
    """Whether a cell stands for a missing value, were it in a column of numbers."""
    return cell.strip().lower() in MISSING_MARKS


def _at(place: str, row: int) -> str:
    return f"{place}, row {row}, counted from 0"


def _fail_marked(place: str, row: int, cell: str) -> NoReturn:
    """Refuse a cell such as "NA" in a column of numbers."""
    hint = (
        f"Drop such rows, or make NaN of it, np.where(column == {cell!r}, 'nan', column).astype(float), and fill that."
    )
    fail(_at(place, row), expected="a number as in most rows", got=f"a missing value ({cell!r})", hint=hint)


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return not cell.strip()
    # pandas has marks of its own, which are not even unequal to themselves.
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and cell != cell)


def _column(where: str, name: str, values: Any) -> np.ndarray:
    """A column as whole numbers, as finite float64 or as text; missing values are refused with their row."""
    place = f"{where}, column {name!r}"
    text = isinstance(values, (str, bytes))
    rows = isinstance(values, Iterable) or hasattr(values, "__array__")
    if text or not rows or getattr(values, "shape", None) == ():
        got = repr(values) if text else str(values)
        fail(place, expected="one value for each row", got=got, hint=f"For a table of one row pass [{got}].")
    array = as_column(place, values) if hasattr(values, "__array__") else np.array(list(values), object)
    if array.ndim != 1:
        fail(place, expected="one value for each row", got=describe(array))
    if array.dtype.kind in "biu":
        return array.astype(np.uint64 if array.dtype.kind == "u" and array.dtype.itemsize == 8 else np.int64)
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
        for row in np.flatnonzero(~np.isfinite(array))[:1]:
            missing = bool(np.isnan(array[row]))
            got, hint = ("a missing value (nan)", _FILL_NUMBERS) if missing else (str(array[row]), "")
            fail(_at(place, row), expected="a finite number", got=got, hint=hint)
        return array
    if array.dtype.kind not in "OUT":
        fail(place, expected="numbers or text", got=f"dtype {array.dtype}")
    cells = array.tolist()
    texts = 0
    for row, cell in enumerate(cells):
        if _is_missing(cell):
            number = any(isinstance(other, numbers.Real) and other == other for other in cells)
            hint = "Drop such rows, or fill them with a number, such as the median of the others."
            fail(
                _at(place, row),
                expected="a value",
                got=f"a missing one ({cell!r})",
                hint=hint if number else _FILL_TEXT,
            )
        texts += isinstance(cell, str)
        if not isinstance(cell, (str, bool, numbers.Real)):
            fail(_at(place, row), expected="a number or text", got=repr(cell))
        if 0 < texts <= row:
            if isinstance(cell, str) and texts == 1 and is_mark(cell):
                hint = "Drop such rows, or fill them with a number, such as the median of the others."
                fail(_at(place, row), expected="a number", got=f"a missing value ({cell!r})", hint=hint)
            fail(_at(place, row), expected="only numbers or only text", got=f"{cell!r} after {cells[0]!r}")
    return np.array(cells, str) if texts else _column(where, name, _whole_or_not(place, cells))


EXACT = 2**53
"""Whole numbers up to here are exact in float64."""


def _whole_or_not(place: str, cells: list[Any]) -> np.ndarray:
    """Numbers as an array that tells any two of them apart: whole ones stay whole."""
    whole = [isinstance(cell, numbers.Integral) for cell in cells]
    hint = "Categories such as ids can be text: list(map(str, column))."
    if not all(whole):
        for row, cell in enumerate(cells):
            if whole[row] and abs(int(cell)) > EXACT:
                expected = "whole numbers up to 2**53 beside others, which need float64"
                fail(_at(place, row), expected=expected, got=repr(cell), hint=hint)
        return np.array([float(cell) for cell in cells], np.float64)
    made = whole_array(cells)
    if made is None:
        fail(place, expected="whole numbers of 64 bits", got=f"{min(cells)} to {max(cells)}", hint=hint)
    return made


def whole_array(values: Iterable[Any]) -> np.ndarray | None:
    """Whole numbers as int64, or uint64 where those do not reach; None where neither does."""
    values = [int(value) for value in values]
    low, high = min(values, default=0), max(values, default=0)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.array(values, dtype)
    return None


def _columns(where: str, columns: Any) -> dict[str, Any]:
    if hasattr(columns, "get_columns"):  # polars
        return {str(column.name): column for column in columns.get_columns()}
    if not hasattr(columns, "items"):
        hint = "read_csv makes one."
        fail(where, expected="a dict of columns by name, or a DataFrame", got=describe(columns), hint=hint)
    table: dict[str, Any] = {}
    for name, values in columns.items():
        if str(name) in table:
            fail(where, expected="columns of different names", got=f"{str(name)!r} twice", hint="Rename one.")
        table[str(name)] = values
    return table


def looks_decimal(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return re.fullmatch(r"[-+]?\d+,\d+", cell.strip()) is not None


def _as_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def table_fit(columns: Any, *, categorical: Iterable[str] = (), two_as_one: bool = True) -> TableCode:
    """Learn from a table how to make numbers of it: numbers stay, categories become one-hot columns.

    Args:
      columns: a dict of columns by name, as from `fnn.data.read_csv`, or a DataFrame.
      categorical: columns of numbers that are categories too, e.g. a postcode. Columns of text always are, and need to
        be named only where nearly every row has another text.
      two_as_one: whether a column of two categories makes one column, 0 for the first and 1 for the second in sorted
        order, since a second column would only repeat it. A column of a single category is a column of ones.

    Returns:
      `TableCode`, for `table_encode`.

    Raises:
      InputError: for no columns or rows, columns of different length, missing values (None, NaN, empty text, and "NA",
        "?" or the like among numbers), infinite numbers, unknown names, or a column of numbers with some text in it,
        with column and row (counted from 0); for a column of text that is not named in ``categorical`` and has more
        than 20 categories in fewer than twice as many rows, such as names or dates, or whose numbers have decimal
        commas.

    Missing values are to be dropped with their rows or filled before, e.g. with
    ``np.where(np.isnan(column), np.nanmedian(column), column)``. Categories that are whole numbers, such as ids, are
    told apart up to 64 bits. A warning says where different whole numbers of a column that is no category become one
    in float32, the dtype of the result.

    >>> code = table_fit({"size": [3, 5, 4], "colour": ["red", "blue", "red"], "kind": ["a", "c", "b"]})
    >>> code.names
    ('size', 'colour=red', 'kind=a', 'kind=b', 'kind=c')
    """
    where = "table_fit"
    table = {name: _column(where, name, values) for name, values in _columns(where, columns).items()}
    if not table:
        fail(where, expected="at least one column", got="none")
    _same_length(where, table)
    if not len(next(iter(table.values()))):
        fail(where, expected="at least one row", got="none")
    categorical = (categorical,) if isinstance(categorical, str) else tuple(categorical)
    unknown = [name for name in categorical if name not in table]
    if unknown:
        fail(where, expected=f"categorical columns from {', '.join(table)}", got=", ".join(map(str, unknown)))
    categories: list[tuple[Any, ...] | None] = []
    for name, column in table.items():
        if column.dtype.kind != "U" and name not in categorical:
            _warn_of_merging(f"{where}, column {name!r}", column)
            categories.append(None)
            continue
        if column.dtype.kind == "U" and name not in categorical:
            cells = column.tolist()
            numeric = np.array([_as_number(cell) for cell in cells])
            marks = np.array([is_mark(cell) for cell in cells])
            if (numeric & ~marks).any() and marks.any() and (numeric | marks).all():
                _fail_marked(f"{where}, column {name!r}", row := int(np.argmax(marks)), cells[row])
            commas = [cell for cell in cells if not is_mark(cell)]
            if commas and all(map(looks_decimal, commas)):
                hint = 'Read the file with read_csv(path, decimal=","), or name the column in categorical=(...).'
                got = f"decimal commas, such as {commas[0]!r}"
                fail(f"{where}, column {name!r}", expected="numbers or categories", got=got, hint=hint)
            if 2 * numeric.sum() > len(numeric):
                row = int(np.argmin(numeric))
                hint = "Correct it, or name the column in categorical=(...)."
                got = repr(column[row].item()) if not numeric.all() else f"text such as {column[0].item()!r}"
                place = _at(f"{where}, column {name!r}", row)
                fail(place, expected="a number as in most rows", got=got, hint=hint)
            different = len(set(cells))
            if different > 20 and 2 * different > len(cells):
                got, hint = f"{different} in {len(cells)} rows", "Leave it out, or name it in categorical=(...)."
                fail(f"{where}, column {name!r}", expected="categories that many rows share", got=got, hint=hint)
        categories.append(tuple(np.unique(column).tolist()))
    return TableCode(tuple(table), tuple(categories), two_as_one)


def _warn_of_merging(place: str, column: np.ndarray) -> None:
    """Say where different whole numbers, such as ids, become one in float32."""
    if not len(column) or (column.min() >= -(2**24) and column.max() <= 2**24):
        return
    if column.dtype.kind == "f" and (column != np.floor(column)).any():  # measurements, which float32 rounds
        return
    lost = len(np.unique(column)) - len(np.unique(column.astype(np.float32)))
    if lost:
        text = f"{place}: {lost} of the whole numbers become equal to others in float32. Are they ids? "
        warnings.warn(text + "Then name the column in categorical=(...), or leave it out.", stacklevel=3)


def _same_length(where: str, table: dict[str, np.ndarray]) -> None:
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        fail(where, expected="columns of the same length", got=got)


def table_encode(code: TableCode, columns: Any) -> np.ndarray:
    """The numbers of a table, as learned by `table_fit`.

    Args:
      code: from `table_fit`.
      columns: a dict of columns by name, or a DataFrame; further columns than those fitted are left out.

    Returns:
      (rows, width) float32, with the columns that ``code.names`` names. No rows make an array of length 0.

    Raises:
      InputError: for missing columns, a category that was not fitted, missing values, infinite numbers, numbers beyond
        float32, text instead of numbers or the other way round, with column and row.

    >>> code = table_fit({"size": [3, 5], "colour": ["red", "blue"]})
    >>> print(table_encode(code, {"colour": ["blue", "red", "red"], "size": [1, 2, 3]}))
    [[1. 0.]
     [2. 1.]
     [3. 1.]]
    """
    where = "table_encode"
    if not isinstance(code, TableCode):
        fail(where, expected="a TableCode from table_fit first", got=describe(code))
    given = _columns(where, columns)
    missing = [name for name in code.columns if name not in given]
    if missing:
        plural = "s" * (len(missing) > 1)
        fail(where, expected=f"the column{plural} {', '.join(missing)}", got=f"only {', '.join(given) or 'none'}")
    table = {name: _column(where, name, given[name]) for name in code.columns}
    _same_length(where, table)
    encoded: list[np.ndarray] = []
    for i, (name, categories) in enumerate(zip(code.columns, code.categories, strict=True)):
        column, shown = table[name], code.shown(i)
        number = categories is None or not isinstance(categories[0], str)
        if number and column.dtype.kind == "U":
            cells = column.tolist()
            marks = [is_mark(cell) for cell in cells]
            if any(marks) and all(mark or _as_number(cell) for mark, cell in zip(marks, cells, strict=True)):
                _fail_marked(f"{where}, column {name!r}", row := marks.index(True), cells[row])
        if len(column) and number != (column.dtype.kind != "U"):
            fail(
                f"{where}, column {name!r}",
                expected=f"{'numbers' if number else 'text'}, as in table_fit",
                got="text" if number else "numbers",
            )
        if categories is None or shown is None:
            wide = column if column.dtype.kind == "f" else column[:0]
            for row in np.flatnonzero(np.abs(wide) > np.finfo(np.float32).max)[:1]:
                place = _at(f"{where}, column {name!r}", row)
                fail(place, expected="a number within float32", got=f"{column[row]:g}")
            encoded.append(column[:, None])
            continue
        # Python compares whole numbers and floats exactly, where NumPy would make floats of both.
        number_of = {category: n for n, category in enumerate(categories)}
        found, row_of = np.unique(column, return_inverse=True)
        codes = np.array([number_of.get(value, -1) for value in found.tolist()], int)[row_of]
        for row in np.flatnonzero(codes < 0)[:1]:
            known = ", ".join(map(_plain, categories))
            got = repr(column[row].item())
            fail(_at(f"{where}, column {name!r}", row), expected=f"one of the categories {known}", got=got)
        encoded.append(codes[:, None] == np.arange(len(categories) - len(shown), len(categories)))
    return np.concatenate([part.astype(np.float32) for part in encoded], 1)
