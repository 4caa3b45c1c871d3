"""Read data files: text in UTF-8, IDX arrays and CSV tables.

`read_idx` and `read_csv` are public; loaders also use the others, which name the file, line and column of a mistake.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._core.errors import InputError, counted, fail
from .._core.files import FilePath
from .._core.warn import warn
from .tables import EXACT, has_decimal_comma, integer_array, is_missing_mark


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        fail(str(path), expected="a file", got="a folder")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, without the byte-order mark that Excel writes."""
    try:
        return _read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not UTF-8 text ({error}). Fetch it again, or save it as UTF-8.") from None


_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: FilePath) -> np.ndarray:
    """Read an array from a file in the IDX format of MNIST, plain or gzipped.

    The format: two zero bytes, a type code, the number of axes, the lengths as big-endian 32-bit integers, the data.

    Args:
      path: the file.

    Returns:
      The array, in native byte order.

    Raises:
      InputError: if the file is missing, damaged, truncated, or in another format.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "three-labels-idx1-ubyte"
    >>> _ = path.write_bytes(b"\\0\\0\\x08\\x01" + b"\\0\\0\\0\\x03" + b"\\x05\\0\\x04")
    >>> read_idx(path).tolist()
    [5, 0, 4]
    """
    path = Path(path)
    raw = _read_bytes(path)
    try:
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path.name}: the gzip file is damaged or truncated ({error}). Fetch it again.") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        fail(path.name, expected="a file in IDX format", got=f"one that starts with {content[:4].hex(' ')}")
    dtype, axes = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        fail(path.name, expected=f"a header of {start} bytes", got=f"{len(content)} bytes", hint="Fetch it again.")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    size = math.prod(shape) * dtype.itemsize
    if len(content) != start + size:
        expected = f"{size} bytes of data for shape {shape}"
        fail(path.name, expected=expected, got=str(len(content) - start), hint="Fetch it again.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


class TextTable(NamedTuple):
    """A table as text: the name of its file, its columns by name, and the line number of each row."""

    file: str
    columns: dict[str, list[str]]
    lines: list[int]

    def place(self, column: str, row: int) -> str:
        """The place of a cell in the file, for messages."""
        return f"{self.file}, line {self.lines[row]}, column {column!r}"


def read_rows(text: str, file: str, delimiter: str = ",") -> tuple[list[list[str]], list[int]]:
    """Split CSV text into cells without spaces around them; the number of each row's line. Blank lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row) or len(row) > 1:  # not a blank line
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: not a row of a CSV file ({error}).") from None
    return rows, lines


def read_table(text: str, file: str, delimiter: str = ",", header: Sequence[str] | None = None) -> TextTable:
    """Split CSV text into columns, named by its first line or by ``header``; all rows must have the same length."""
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        fail(file, expected="a delimiter of one character", got=repr(delimiter))
    rows, lines = read_rows(text, file, delimiter)
    if header is None:
        if not rows:
            fail(file, expected="a line with the names of the columns", got="an empty file")
        header, rows, lines = rows[0], rows[1:], lines[1:]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice or "" in header:
            got = f"{twice[0]!r} twice" if twice and twice[0] else f"no name for column {header.index('') + 1}"
            fail(f"{file}, line 1", expected="a different name for each column", got=got)
    if not rows:
        fail(file, expected="at least one row", got="none")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            other = next((d for d in ";\t|," if d != delimiter and d in text.partition("\n")[0]), None)
            hint = f"Is it separated by {other!r}?" if other and min(len(row), len(header)) == 1 else ""
            expected = f"{counted(len(header), 'cell')}, one for each column"
            fail(f"{file}, line {line}", expected=expected, got=counted(len(row), "cell"), hint=hint)
    return TextTable(file, dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)), lines)


def _parse_float(cell: str) -> float | None:
    try:
        # float also accepts 1_000 and non-ASCII digits, which are not numbers in a data file.
        return None if "_" in cell or not cell.isascii() else float(cell)
    except ValueError:
        return None


def parse_numbers(table: TextTable, column: str) -> np.ndarray:
    """Convert a column of finite numbers to float64."""
    values = [_parse_float(cell) for cell in table.columns[column]]
    for row, value in enumerate(values):
        if value is None or not math.isfinite(value):
            cell = table.columns[column][row]
            fail(table.place(column, row), expected="a number", got=repr(cell) if cell else "nothing")
    return np.array(values, np.float64)


def read_csv(path: FilePath, delimiter: str = ",", *, decimal: str = ".") -> dict[str, np.ndarray]:
    """Read a CSV file as columns, by the names in its first line.

    Spaces around cells and blank lines are ignored. `fnn.data.table_fit` turns the columns into model inputs.

    Args:
      path: the file, in UTF-8, with or without a byte-order mark.
      delimiter: the character between cells.
      decimal: the decimal separator, "." or ",".

    Returns:
      For each column (rows,) int64 if every cell is an integer (uint64 if some exceed int64); else float64 if every
      cell is a number or marks a missing value; else the text unchanged. The marks are an empty cell, "?", "NA", "N/A",
      "nan" and "null", in any case; among numbers they become NaN. Drop those rows, or fill them:
      ``np.where(np.isnan(column), np.nanmedian(column), column)``.

      Columns that no numeric dtype holds exactly stay text: those with an integer that starts with 0, such as "007", a
      code rather than a number; with integers beyond 64 bits; and, with a warning, with integers beyond 2**53 next to
      missing values or decimals. So does, with a warning, a column whose numbers all seem to have decimal commas.
      "True", "0x1F" and "1,000" are text; "1e3" and "inf" are float64.

    Raises:
      InputError: if the file is missing, empty or not UTF-8, a row has too few or too many cells (with its line), a
        column has no name or the name of another, or ``decimal`` is invalid.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("size,colour\\n1.5,red\\n2,blue\\n")
    >>> for name, column in read_csv(path).items():
    ...     print(name, column.tolist())
    size [1.5, 2.0]
    colour ['red', 'blue']

    pandas instead converts "True" and "False" to booleans, drops leading zeros, and rounds integers beyond 2**53.
    """
    path = Path(path)
    if decimal not in (".", ",") or decimal == delimiter:
        fail("read_csv", expected='decimal "." or ",", other than the delimiter', got=repr(decimal))
    columns: dict[str, np.ndarray] = {}
    for name, cells in read_table(read_text(path), path.name, delimiter).columns.items():
        columns[name], inexact = _infer_column(cells, decimal)
        if inexact:
            text = f"{path.name}, column {name!r}: whole numbers such as {inexact!r} are read as text, since the "
            warn(text + "column needs float64 for its other cells, which would round them.", UserWarning)
        present = [cell for cell in cells if not is_missing_mark(cell)]
        if decimal == "." and present and all(map(has_decimal_comma, present)):
            text = f'{path.name}, column {name!r}: numbers such as {present[0]!r} are read as text. Pass decimal=",".'
            warn(text, UserWarning)
    return columns


_INTEGER = re.compile(r"[-+]?[0-9]+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_LONGEST = len(str(-(2**64)))  # int() rejects strings of several thousand digits


def _infer_column(cells: list[str], decimal: str) -> tuple[np.ndarray, str]:
    """Convert a column to integers, else float64, else text: the first that keeps different cells different.

    The second result is an integer that float64 would round, if that is why the column stays text; else "".
    """
    text, numbers = np.array(cells), [_parse_cell(cell, decimal) for cell in cells]
    # A column of marks such as "?" alone is text; a column of empty cells alone is numeric.
    numeric = any(number == number for number in numbers) or {cell.lower() for cell in cells} <= {"", "nan"}
    if not numeric or None in numbers or any(map(_LEADING_ZERO.fullmatch, cells)):
        return text, ""
    if all(map(_INTEGER.fullmatch, cells)):
        integers = None if max(map(len, cells)) > _LONGEST else integer_array(map(int, cells))
        return text if integers is None else integers, ""
    whole = filter(_INTEGER.fullmatch, cells)
    inexact = next((cell for cell in whole if len(cell) > _LONGEST or abs(int(cell)) > EXACT), "")
    return text if inexact else np.array(numbers, np.float64), inexact


def _parse_cell(cell: str, decimal: str) -> float | None:
    """The number in a cell, NaN for a missing value, None for text."""
    if is_missing_mark(cell):
        return math.nan
    if decimal == ",":
        return None if "." in cell else _parse_float(cell.replace(",", "."))
    return _parse_float(cell)
