"""Reading data files: IDX arrays and CSV tables."""

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

from .._core.errors import InputError, fail
from .._core.warn import warn
from .download import Folder
from .tables import EXACT, is_mark, looks_decimal, whole_array


def _bytes_of(path: Path) -> bytes:
    if not path.is_file():
        fail(str(path), expected="a file", got="a folder" if path.is_dir() else "nothing of that name")
    return path.read_bytes()


def text_of(path: Path) -> str:
    """The text of a UTF-8 file, without a signature at its start."""
    try:
        # The signature of UTF-8 at the start, which Excel writes, is no part of the first name.
        return _bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not a UTF-8 text ({error}). Fetch it again, or save it as UTF-8.") from None


# --------------------------------------------------------------------------------------------------------------- images
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Folder) -> np.ndarray:
    """An array from a file in the IDX format of MNIST, plain or gzipped.

    The format: two zero bytes, a type code, the number of axes, the lengths as big-endian 32-bit integers, the data.

    Args:
      path: of the file.

    Returns:
      The array, in this machine's byte order.

    Raises:
      InputError: for a file that is missing, damaged, cut off, or of another format.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "three-labels-idx1-ubyte"
    >>> _ = path.write_bytes(b"\\0\\0\\x08\\x01" + b"\\0\\0\\0\\x03" + b"\\x05\\0\\x04")
    >>> read_idx(path).tolist()
    [5, 0, 4]
    """
    path = Path(path)
    raw = _bytes_of(path)
    try:
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path.name}: the gzip file is damaged or cut off ({error}). Fetch it again.") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        fail(path.name, expected="a file in IDX format", got=f"one that starts with {content[:4].hex(' ')}")
    dtype, axes = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        fail(path.name, expected=f"a header of {start} bytes", got=f"{len(content)} bytes", hint="Fetch it again.")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    size = math.prod(shape) * dtype.itemsize
    if len(content) != start + size:
        fail(
            path.name,
            expected=f"{size} bytes of data for shape {shape}",
            got=str(len(content) - start),
            hint="Fetch it again.",
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


# --------------------------------------------------------------------------------------------------------------- tables
class Table(NamedTuple):
    """A table as text: its columns by name, and the line of the file on which each row stands."""

    file: str
    columns: dict[str, list[str]]
    lines: list[int]

    def at(self, column: str, row: int) -> str:
        """Where a value stands, for messages."""
        return f"{self.file}, line {self.lines[row]}, column {column!r}"


def read_table(text: str, file: str, delimiter: str = ",", header: Sequence[str] | None = None) -> Table:
    """Rows of equal length with names over them, or with the names given."""
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        fail(file, expected="a delimiter of one character", got=repr(delimiter))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row) or len(row) > 1:  # blank lines are none
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: not a row of a CSV file ({error}).") from None
    if header is None:
        if not rows:
            fail(file, expected="a line with the names of the columns", got="an empty file")
        header, rows, lines = rows[0], rows[1:], lines[1:]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice or "" in header:
            got = f"{twice[0]!r} twice" if twice and twice[0] else f"no name for column {header.index('') + 1}"
            fail(f"{file}, line 1", expected="a name of its own for each column", got=got)
    if not rows:
        fail(file, expected="at least one row", got="none")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            other = next((d for d in ";\t|," if d != delimiter and d in text.partition("\n")[0]), None)
            hint = f"Is it separated by {other!r}?" if other and min(len(row), len(header)) == 1 else ""
            cells = f"{len(row)} cell{'s' * (len(row) != 1)}"
            fail(f"{file}, line {line}", expected=f"{len(header)} cells, one for each column", got=cells, hint=hint)
    return Table(file, dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)), lines)


def _number(cell: str) -> float | None:
    try:
        # Python reads 1_000 and the digits of all scripts as numbers; files don't mean that.
        return None if "_" in cell or not cell.isascii() else float(cell)
    except ValueError:
        return None


def parse_numbers(table: Table, column: str) -> np.ndarray:
    """A column that must hold finite numbers, float64."""
    values = [_number(cell) for cell in table.columns[column]]
    for row, value in enumerate(values):
        if value is None or not math.isfinite(value):
            cell = table.columns[column][row]
            fail(table.at(column, row), expected="a number", got=repr(cell) if cell else "nothing")
    return np.array(values, np.float64)


def read_csv(path: Folder, delimiter: str = ",", *, decimal: str = ".") -> dict[str, np.ndarray]:
    """The columns of a CSV file by the names in its first line.

    Cells lose spaces around them, and blank lines are skipped. See `fnn.data.table_fit` for the way to a model's input.

    Args:
      path: of the file, in UTF-8, with or without a byte-order mark.
      delimiter: what is between the cells.
      decimal: what is before the decimals of a number, "." or ",".

    Returns:
      For each column (rows,) int64 where every cell is a whole number, or uint64 where some are beyond int64; else
      float64 where every cell is a number or a mark of a missing value; else the text as it is.
      Such marks are, in small or capital letters, an empty cell, "?", "NA", "N/A", "nan" and "null"; among numbers they
      become NaN. Drop those rows, or fill them: ``np.where(np.isnan(column), np.nanmedian(column), column)``.

      Columns that no number dtype holds exactly stay text: with a whole number that begins with 0, such as "007", a
      code rather than a number; with whole numbers beyond 64 bits; and, with a warning, with whole numbers beyond
      2**53 beside missing values or decimals. "True", "0x1F" and "1,000" are text, "1e3" and "inf" are float64.

    Raises:
      InputError: for a file that is missing, empty or not UTF-8, for rows with too few or too many cells (with their
        line), for columns without a name or with the same one, and for another ``decimal``.

    A column whose numbers all seem to have decimal commas is kept as text, with a warning.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("size,colour\\n1.5,red\\n2,blue\\n")
    >>> for name, column in read_csv(path).items():
    ...     print(name, column.tolist())
    size [1.5, 2.0]
    colour ['red', 'blue']

    pandas differs in that it makes booleans of "True" and "False", drops leading zeros, and rounds large whole numbers
    beside missing values or decimals.
    """
    path = Path(path)
    if decimal not in (".", ",") or decimal == delimiter:
        fail("read_csv", expected='decimal "." or ",", other than the delimiter', got=repr(decimal))
    columns: dict[str, np.ndarray] = {}
    for name, cells in read_table(text_of(path), path.name, delimiter).columns.items():
        columns[name] = _typed(cells, decimal)
        if columns[name].dtype.kind == "U" and (large := _large(cells, decimal)):
            text = f"{path.name}, column {name!r}: whole numbers such as {large!r} are read as text, since float64, "
            warn(text + "which missing values and decimals need, would change them.", UserWarning)
        given = [cell for cell in cells if not is_mark(cell)]
        if decimal == "." and given and all(map(looks_decimal, given)):
            text = f'{path.name}, column {name!r}: numbers such as {given[0]!r} are read as text. Pass decimal=",".'
            warn(text, UserWarning)
    return columns


_WHOLE = re.compile(r"[-+]?[0-9]+")
_LONGEST = len(str(-(2**64)))  # Python refuses to read whole numbers of some thousand digits
_CODE = re.compile(r"[-+]?0[0-9]+")


def _typed(cells: list[str], decimal: str) -> np.ndarray:
    """The cells of a column in the narrowest of whole numbers, float64 and text that keeps all of them apart."""
    numbers = [_cell(cell, decimal) for cell in cells]
    # A column of nothing but marks such as "?" is text; one of empty cells is of numbers.
    known = any(number == number for number in numbers) or {cell.lower() for cell in cells} <= {"", "nan"}
    if not known or None in numbers or any(map(_CODE.fullmatch, cells)):
        return np.array(cells)
    if all(map(_WHOLE.fullmatch, cells)):
        made = None if max(map(len, cells)) > _LONGEST else whole_array(map(int, cells))
        return np.array(cells) if made is None else made
    return np.array(cells) if _large(cells, decimal) else np.array(numbers, np.float64)


def _large(cells: list[str], decimal: str) -> str:
    """A whole number that float64 would change, in a column of numbers that needs it; empty without one."""
    if all(map(_WHOLE.fullmatch, cells)) or any(map(_CODE.fullmatch, cells)):
        return ""
    if any(_cell(cell, decimal) is None for cell in cells):
        return ""
    return next((cell for cell in cells if _WHOLE.fullmatch(cell) and _beyond(cell)), "")


def _beyond(cell: str) -> bool:
    return len(cell) > _LONGEST or abs(int(cell)) > EXACT


def _cell(cell: str, decimal: str) -> float | None:
    """The number in a cell, NaN for a missing value, None for text."""
    if is_mark(cell):
        return math.nan
    if decimal == ",":
        return None if "." in cell else _number(cell.replace(",", "."))
    return _number(cell)
