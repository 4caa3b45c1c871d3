"""Encode tables: numbers are kept, categories become one-hot columns.

`table_fit` learns the columns and categories of a table as a `TableCode`; `table_encode` applies it to any table with
the same columns. Both accept a dict of columns or a DataFrame of pandas or polars. `fnn.data.files` reads CSV files by
the same rules for missing values, decimal commas and integers.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, SupportsInt

import numpy as np

from .._core.arrays import is_missing
from .._core.errors import describe, fail
from .._core.flags import flagged
from .._core.inputs import as_column
from .._core.tables import refuse_len
from .._core.warn import warn

Category = str | int | float


@refuse_len("Write len(code.columns), or len(code.names) for encoded columns.")
class TableCode(NamedTuple):
    """The encoding of a table, from `table_fit`.

    Attributes:
      columns: the columns of the table, in the order of the result.
      categories: for each column its sorted categories (integers as Python ints), or None for a column of numbers.
      two_as_one: whether two categories share one encoded column, which is 1 for the second category.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[Category, ...] | None, ...]
    two_as_one: bool = True

    def shown(self, column: int) -> tuple[Category, ...] | None:
        """The categories of a column that have an encoded column; None for a column of numbers."""
        categories = self.categories[column]
        return categories[1:] if categories is not None and self.two_as_one and len(categories) == 2 else categories

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoded columns: ``column`` for numbers, ``column=category`` for each category."""
        names: list[str] = []
        for i, column in enumerate(self.columns):
            shown = self.shown(i)
            names += [column] if shown is None else [f"{column}={_category_text(category)}" for category in shown]
        return tuple(names)


def _category_text(category: Category) -> str:
    return str(int(category)) if isinstance(category, float) and category.is_integer() else str(category)


EXACT = 2**53  # float64 holds every integer up to this magnitude
_FILL_NUMBERS = "Drop such rows, or fill them: np.where(np.isnan(column), np.nanmedian(column), column)."
_FILL_TEXT = "Drop such rows, or fill them, e.g. np.where(column == '', 'unknown', column)."
_FILL_MIXED = "Drop such rows, or fill them with a number, such as the median of the others."


def is_missing_mark(cell: str) -> bool:
    """Whether a cell marks a missing value in a column of numbers; case is ignored."""
    return cell.strip().lower() in {"", "?", "na", "n/a", "nan", "null"}


def has_decimal_comma(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return re.fullmatch(r"[-+]?\d+,\d+", cell.strip()) is not None


def integer_array(values: Iterable[SupportsInt]) -> np.ndarray | None:
    """Convert integers to int64, else to uint64; None if neither holds all of them."""
    integers = [int(value) for value in values]
    low, high = min(integers, default=0), max(integers, default=0)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.array(integers, dtype)
    return None


def is_number(cell: str) -> bool:
    """Whether a cell is a number as Python reads it."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _at(place: str, row: int) -> str:
    return f"{place}, row {row}, counted from 0"


def _fail_marked(place: str, row: int, cell: str) -> NoReturn:
    """Reject a mark such as "NA" in a column of numbers."""
    hint = f"Drop such rows, or write np.where(column == {cell!r}, 'nan', column).astype(float) and fill the NaN."
    fail(_at(place, row), expected="a number as in most rows", got=f"a missing value ({cell!r})", hint=hint)


def _read_columns(where: str, columns: object, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The columns of a table by name, by default all, read by `_read_column` and of one length."""
    if hasattr(columns, "get_columns"):  # polars
        pairs = [(column.name, column) for column in columns.get_columns()]
    elif hasattr(columns, "items"):
        pairs = list(columns.items())
    else:
        expected = "a dict of columns by name, or a DataFrame"
        fail(where, expected=expected, got=describe(columns), hint="read_csv makes one.")
    given: dict[str, object] = {}
    for name, values in pairs:
        if str(name) in given:
            fail(where, expected="columns of different names", got=f"{str(name)!r} twice", hint="Rename one.")
        given[str(name)] = values
    names = tuple(given) if names is None else names
    check_columns(where, names, given)
    table = {name: _read_column(f"{where}, column {name!r}", given[name]) for name in names}
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        fail(where, expected="columns of the same length", got=got)
    return table


def _read_column(place: str, values: Any) -> np.ndarray:
    """Read a column as int64 or uint64, finite float64 or text; a missing value raises an error with its row."""
    text = isinstance(values, (str, bytes))
    rows = isinstance(values, Iterable) or hasattr(values, "__array__")
    if text or not rows or getattr(values, "shape", None) == ():
        got = repr(values) if text else str(values)
        fail(place, expected="one value for each row", got=got, hint=f"For a table of one row pass [{got}].")
    array = as_column(place, values) if hasattr(values, "__array__") else np.array(list(values), object)
    if array.ndim != 1:
        fail(place, expected="one value for each row", got=describe(array))
    if array.dtype.kind in "OUT":
        cells = array.tolist()
        if _check_cells(place, cells):
            return np.array(cells, str)
        array = _number_array(place, cells)
    if array.dtype.kind in "biu":
        return array.astype(np.uint64 if array.dtype.kind == "u" and array.dtype.itemsize == 8 else np.int64)
    if array.dtype.kind != "f":
        fail(place, expected="numbers or text", got=f"dtype {array.dtype}")
    array = array.astype(np.float64)
    for row in np.flatnonzero(~np.isfinite(array))[:1]:
        missing = bool(np.isnan(array[row]))
        got, hint = ("a missing value (nan)", _FILL_NUMBERS) if missing else (str(array[row]), "")
        fail(_at(place, row), expected="a finite number", got=got, hint=hint)
    return array


def _check_cells(place: str, cells: list[Any]) -> bool:
    """Check that a column holds only numbers or only text, without missing values; return whether it is text."""
    texts = 0
    for row, cell in enumerate(cells):
        if not cell.strip() if isinstance(cell, str) else is_missing(cell):
            number = any(isinstance(other, numbers.Real) and other == other for other in cells)
            hint = _FILL_MIXED if number else _FILL_TEXT
            fail(_at(place, row), expected="a value", got=f"a missing one ({cell!r})", hint=hint)
        texts += isinstance(cell, str)
        if not isinstance(cell, (str, bool, numbers.Real)):
            fail(_at(place, row), expected="a number or text", got=repr(cell))
        if 0 < texts <= row:
            if isinstance(cell, str) and texts == 1 and is_missing_mark(cell):
                fail(_at(place, row), expected="a number", got=f"a missing value ({cell!r})", hint=_FILL_MIXED)
            fail(_at(place, row), expected="only numbers or only text", got=f"{cell!r} after {cells[0]!r}")
    return texts > 0


def _number_array(place: str, cells: list[Any]) -> np.ndarray:
    """Convert numbers to an integer array if all are integers, else to float64, without rounding any integer."""
    whole = [isinstance(cell, numbers.Integral) for cell in cells]
    hint = "Categories such as ids can be text: list(map(str, column))."
    if not all(whole):
        for row, cell in enumerate(cells):
            if whole[row] and abs(int(cell)) > EXACT:
                expected = "whole numbers up to 2**53 beside others, which need float64"
                fail(_at(place, row), expected=expected, got=repr(cell), hint=hint)
        return np.array([float(cell) for cell in cells], np.float64)
    array = integer_array(cells)
    if array is None:
        fail(place, expected="whole numbers of 64 bits", got=f"{min(cells)} to {max(cells)}", hint=hint)
    return array


@flagged
def table_fit(columns: object, *, categorical: Iterable[str] = (), two_as_one: bool = True) -> TableCode:
    """Learn how to encode a table: numbers are kept, text and other categories become one-hot columns.

    Args:
      columns: a dict of columns by name, as from `fnn.data.read_csv`, or a DataFrame.
      categorical: columns of numbers that are categories, e.g. a postcode, or of text that differs in nearly every row.
      two_as_one: whether two categories share one encoded column, 0 for the first and 1 for the second in sorted order,
        since a second column would be redundant. A single category becomes a column of ones.

    Returns:
      `TableCode`, for `table_encode`.

    Raises:
      InputError: for no columns or rows, columns of different length, missing values (None, NaN, empty text, and "NA",
        "?" or the like among numbers), infinite numbers, unknown names, or a column of numbers with some text in it,
        with column and row (counted from 0); for a column of text that is not named in ``categorical`` and has more
        than 20 categories in fewer than twice as many rows, e.g. names or dates, or whose numbers have decimal commas.

    Drop rows with missing values, or fill them first as in `fnn.data.read_csv`. Integer categories, such as ids, are
    exact up to 64 bits. A warning names a column of numbers whose different integers become equal in float32.

    >>> code = table_fit({"size": [3, 5, 4], "colour": ["red", "blue", "red"], "kind": ["a", "c", "b"]})
    >>> code.names
    ('size', 'colour=red', 'kind=a', 'kind=b', 'kind=c')
    """
    where = "table_fit"
    table = _read_columns(where, columns)
    if not table:
        fail(where, expected="at least one column", got="none")
    if not len(next(iter(table.values()))):
        fail(where, expected="at least one row", got="none")
    categorical = (categorical,) if isinstance(categorical, str) else tuple(categorical)
    if unknown := [name for name in categorical if name not in table]:
        expected = f"categorical= to name columns ({', '.join(map(repr, table))})"
        fail(where, expected=expected, got=", ".join(map(repr, unknown)))
    categories: list[tuple[Category, ...] | None] = []
    for name, column in table.items():
        number = column.dtype.kind != "U" and name not in categorical
        if name not in categorical:
            check = _warn_if_merged if number else _check_categories
            check(f"{where}, column {name!r}", column)
        categories.append(None if number else tuple(np.unique(column).tolist()))
    return TableCode(tuple(table), tuple(categories), two_as_one)


def _warn_if_merged(place: str, column: np.ndarray) -> None:
    """Warn if different integers, such as ids, become equal in float32."""
    if not len(column) or (column.min() >= -(2**24) and column.max() <= 2**24):
        return
    if column.dtype.kind == "f" and (column != np.floor(column)).any():  # measurements, which may be rounded
        return
    with np.errstate(over="ignore"):  # `table_encode` refuses numbers beyond float32
        lost = len(np.unique(column)) - len(np.unique(column.astype(np.float32)))
    if lost:
        text = f"{place}: {lost} of the whole numbers become equal to others in float32. If they are ids, "
        warn(text + "name the column in categorical=(...), or leave it out.", UserWarning)


def _check_categories(place: str, column: np.ndarray) -> None:
    """Reject a column of text that looks like numbers with a flaw, or like names rather than categories."""
    cells: list[str] = column.tolist()
    numeric = np.array([is_number(cell) for cell in cells])
    marks = np.array([is_missing_mark(cell) for cell in cells])
    if (numeric & ~marks).any() and marks.any() and (numeric | marks).all():
        _fail_marked(place, row := int(np.argmax(marks)), cells[row])
    present = [cell for cell in cells if not is_missing_mark(cell)]
    if present and all(map(has_decimal_comma, present)):
        hint = 'Read the file with read_csv(path, decimal=","), or name the column in categorical=(...).'
        got = f"decimal commas, such as {present[0]!r}"
        fail(place, expected="numbers or categories", got=got, hint=hint)
    if 2 * numeric.sum() > len(numeric):
        row = int(np.argmin(numeric))
        hint = "Correct it, or name the column in categorical=(...)."
        got = repr(cells[row]) if not numeric.all() else f"text such as {cells[0]!r}"
        fail(_at(place, row), expected="a number as in most rows", got=got, hint=hint)
    different = len(set(cells))
    if different > 20 and 2 * different > len(cells):
        got, hint = f"{different} in {len(cells)} rows", "Leave it out, or name it in categorical=(...)."
        fail(place, expected="categories that many rows share", got=got, hint=hint)


def table_encode(code: TableCode, columns: object) -> np.ndarray:
    """Encode a table with the columns and categories learned by `table_fit`.

    Args:
      code: from `table_fit`.
      columns: a dict of columns by name, or a DataFrame; columns that were not fitted are ignored.

    Returns:
      (rows, width) float32, with the columns named by ``code.names``. A table without rows gives an array of length 0.

    Raises:
      InputError: for missing columns, a category that was not fitted, missing values, infinite numbers, numbers beyond
        float32, and text instead of numbers or the reverse, with column and row.

    >>> code = table_fit({"size": [3, 5], "colour": ["red", "blue"]})
    >>> print(table_encode(code, {"colour": ["blue", "red", "red"], "size": [1, 2, 3]}))
    [[1. 0.]
     [2. 1.]
     [3. 1.]]
    """
    if not isinstance(code, TableCode):
        fail("table_encode", expected="a TableCode from table_fit as the first argument", got=describe(code))
    table = _read_columns("table_encode", columns, code.columns)
    encoded: list[np.ndarray] = []
    for i, (name, categories) in enumerate(zip(code.columns, code.categories, strict=True)):
        column, shown, place = table[name], code.shown(i), f"table_encode, column {name!r}"
        _check_kind(place, column, number=categories is None or not isinstance(categories[0], str))
        if categories is None or shown is None:
            wide = column if column.dtype.kind == "f" else column[:0]
            for row in np.flatnonzero(np.abs(wide) > np.finfo(np.float32).max)[:1]:
                fail(_at(place, row), expected="a number within float32", got=f"{column[row]:g}")
            encoded.append(column[:, None])
        else:
            codes = _category_codes(place, column, categories)
            encoded.append(codes[:, None] == np.arange(len(categories) - len(shown), len(categories)))
    return np.concatenate([part.astype(np.float32) for part in encoded], 1)


def check_columns(where: str, names: Iterable[str], given: Mapping[str, object]) -> None:
    """Check that a table has the columns with these names."""
    if missing := [name for name in names if name not in given]:
        got = f"only {', '.join(map(repr, list(given)[:20]))}" if given else "none"
        expected = f"the column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}"
        fail(where, expected=expected, got=got)


def _check_kind(place: str, column: np.ndarray, *, number: bool) -> None:
    """Reject text in place of numbers and the reverse; a column without rows may be either."""
    if number and column.dtype.kind == "U":
        cells = column.tolist()
        marks = [is_missing_mark(cell) for cell in cells]
        if any(marks) and all(mark or is_number(cell) for mark, cell in zip(marks, cells, strict=True)):
            _fail_marked(place, row := marks.index(True), cells[row])
    if len(column) and number != (column.dtype.kind != "U"):
        expected, got = ("numbers", "text") if number else ("text", "numbers")
        fail(place, expected=f"{expected}, as in table_fit", got=got)


def _category_codes(place: str, column: np.ndarray, categories: tuple[Category, ...]) -> np.ndarray:
    """The index of each cell among the categories."""
    # Python compares integers and floats exactly; NumPy would convert both to floats.
    code_of = {category: code for code, category in enumerate(categories)}
    values, index = np.unique(column, return_inverse=True)
    codes = np.array([code_of.get(value, -1) for value in values.tolist()], int)[index]
    for row in np.flatnonzero(codes < 0)[:1]:
        known = ", ".join(map(_category_text, categories))
        fail(_at(place, row), expected=f"one of the categories {known}", got=repr(column[row].item()))
    return codes
