"""What a user has as arrays: one set of rules, and one set of words, for every function that takes data.

Nothing here knows of networks. Other libraries are not imported; their objects are known by the module of their type.
"""

from __future__ import annotations

import functools
import numbers
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .errors import InputError, describe, fail

_NUMBERS = "an array of numbers"
_TEXT = (
    "Encode text first: categories with fnn.data.table_fit and table_encode, class names with "
    "names, y = np.unique(labels, return_inverse=True)."
)
_DATES = "Write it as a number, such as days: (t - t.min()) / np.timedelta64(1, 'D')."
_OBJECTS = "Write x.astype('float32') if every element is a number."
_COMPLEX = "Write real and imaginary parts as columns: np.stack([z.real, z.imag], -1)."
_MASKED = "Write x.filled(0) and pass the mask as a sample_weight or a column, or leave those rows out."
_RECORDS = "Write numpy.lib.recfunctions.structured_to_unstructured(x)."
BLOCK = 2**20  # elements looked at together, so that a check needs little memory


def jax_setting(name: str) -> bool:
    """A setting of JAX as it is here, within context managers too."""
    return bool(getattr(jax.config, name))


# ------------------------------------------------------------------------------------------------------- one array
def as_array(where: str, x: Any, *, fits: bool = True, files: bool = False) -> Any:
    """One array of numbers or booleans: NumPy's, or x itself if it is JAX's or traced.

    Args:
      where: the name of ``x`` in messages.
      x: whatever docs/how-to/data-in.md lists.
      fits: whether to refuse values that JAX would change by its narrower dtypes, see `check_fits`.
      files: whether a memory-mapped array may stay in its file in another byte order, for `read` to take in parts.

    Raises:
      InputError: for anything else, with what to write.
    """
    if isinstance(x, jax.Array):
        _check_dtype(where, x)
        return x
    array = _converted(where, x)
    if isinstance(array, jax.Array):
        return array
    if fits:
        check_fits(where, array)
    return array if files else read(array)


def _converted(where: str, x: Any) -> Any:
    """`as_array` without a look at the values of NumPy arrays."""
    if type(x) is np.ndarray or type(x) is np.memmap:
        return _native(where, x)
    if isinstance(x, (np.ndarray, np.generic)):
        if isinstance(x, np.ma.MaskedArray):
            fail(where, expected=_NUMBERS, got=f"a masked array, {describe(x)}", hint=_MASKED)
        return _native(where, np.asarray(x))
    if isinstance(x, jax.Array):
        _check_dtype(where, x)
        return x
    if isinstance(x, numbers.Number):
        return _native(where, np.asarray(x))
    if isinstance(x, (list, tuple)):
        return _of_list(where, x)
    library = library_of(x)
    if library in _READERS:
        return _READERS[library](where, x)
    refuse_kind(where, x)
    try:
        array = np.asarray(x)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:  # an array of another library, which may raise anything
        fail(where, expected=_NUMBERS, got=f"a {type(x).__name__} ({error})", hint="Convert it to a NumPy array.")
    if array.dtype == object and array.ndim == 0:
        got = "None" if x is None else f"a {type(x).__name__}"
        fail(where, expected=_NUMBERS, got=got, hint="Convert it to a NumPy array.")
    return _native(where, array)


def library_of(x: Any) -> str:
    """The library that an object's type, or a type that it extends, comes from, if it is one with rules of its own."""
    for kind in type(x).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in _READERS:
            return root
    return ""


def refuse_kind(where: str, x: Any) -> None:
    """Refuse what is no array at all."""
    if callable(x) and not hasattr(x, "__array__"):
        fail(where, expected="arrays or an iterable of batches", got="a function", hint="Call it.")
    if isinstance(x, (str, bytes)):
        fail(where, expected=_NUMBERS, got="a text", hint=_TEXT)
    if isinstance(x, (set, frozenset)):
        fail(where, expected=_NUMBERS, got="a set, which has no order", hint="Write sorted(x).")
    if isinstance(x, dict):
        hint = "Write np.stack(list(x.values()), -1), or use a model that takes a dict."
        fail(where, expected=_NUMBERS, got="a dict", hint=hint)
    if hasattr(x, "todense"):  # scipy.sparse, jax.experimental.sparse and the like
        write = "x.toarray()" if hasattr(x, "toarray") else "x.todense()"
        got = f"a sparse {type(x).__name__}{list(getattr(x, 'shape', ()))}"
        fail(where, expected="an array that is not sparse", got=got, hint=f"Write {write}.")
    if not hasattr(x, "__array__") and isinstance(x, Iterator):
        fail(where, expected=_NUMBERS, got=f"a {type(x).__name__}", hint="Write list(x).")


def _check_dtype(where: str, x: Any) -> None:
    """Refuse dtypes that are no numbers, in words that depend on the dtype alone."""
    dtype = x.dtype
    if (jnp.issubdtype(dtype, np.number) and not jnp.issubdtype(dtype, np.complexfloating)) or dtype == np.bool_:
        if getattr(dtype, "kind", "") in "mM":  # NumPy counts timedelta among the integers
            fail(where, expected=_NUMBERS, got=f"times, {describe(x)}", hint=_DATES)
        return
    if jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        fail(where, expected=_NUMBERS, got=f"keys, {describe(x)}", hint="Keys go where an argument is named key.")
    if jnp.issubdtype(dtype, np.complexfloating):
        fail(where, expected="real numbers", got=f"complex ones, {describe(x)}", hint=_COMPLEX)
    if dtype.kind in "SUT":
        fail(where, expected=_NUMBERS, got=f"text, {describe(x)}", hint=_TEXT)
    if dtype.kind == "M":
        fail(where, expected=_NUMBERS, got=f"dates, {describe(x)}", hint=_DATES)
    if dtype.fields is not None:
        fail(where, expected=_NUMBERS, got=f"records of {', '.join(dtype.fields)}, {describe(x)}", hint=_RECORDS)
    if dtype.kind == "O":
        _fail_objects(where, x)
    fail(where, expected=_NUMBERS, got=describe(x))


def _fail_objects(where: str, x: Any) -> NoReturn:
    """Say which element of an array of objects is in the way."""
    for index, item in enumerate(np.ravel(x)):
        place = f"{item!r} at index {_index(index, x.shape)}"
        if is_missing(item):
            hint = "Drop those rows, or fill them."
            fail(where, expected="a number in each place", got=f"a missing value, {place}", hint=hint)
        if isinstance(item, (str, bytes)):
            fail(where, expected=_NUMBERS, got=f"text, {place}", hint=_TEXT)
        if isinstance(item, numbers.Integral) and not -(2**63) <= int(item) < 2**64:
            hint = "Keep such ids as text, or number them: ids, x = np.unique(x, return_inverse=True)."
            fail(where, expected="whole numbers of at most 64 bits", got=place, hint=hint)
        if not isinstance(item, numbers.Number) and hasattr(item, "__len__"):
            lengths = sorted({len(row) for row in np.ravel(x) if hasattr(row, "__len__")})
            if len(lengths) > 1:
                _fail_ragged(where, f"rows of lengths {lengths[0]} to {lengths[-1]}")
            hint = "Write np.stack(list(x))."
            fail(where, expected=_NUMBERS, got=f"an array of arrays, {describe(x)}", hint=hint)
        if not isinstance(item, numbers.Number) and not hasattr(item, "__float__"):
            fail(where, expected=_NUMBERS, got=f"a {type(item).__name__} at index {_index(index, x.shape)}")
    fail(where, expected=_NUMBERS, got=f"an array of objects, {describe(x)}", hint=_OBJECTS)


def _fail_ragged(where: str, got: str = "a ragged list") -> NoReturn:
    fail(where, expected="rows of the same length", got=got, hint="Pad them first.")


def _index(flat: int, shape: tuple[int, ...]) -> Any:
    place = tuple(int(i) for i in np.unravel_index(flat, shape))
    return place[0] if len(place) == 1 else place


def is_missing(item: Any) -> bool:
    """Whether an element stands for a missing value: None, NaN, or pandas's own marks."""
    if type(item).__name__ in ("NAType", "NaTType"):
        return True
    return item is None or (isinstance(item, (float, np.floating)) and bool(item != item))


def _native(where: str, x: np.ndarray) -> np.ndarray:
    """A NumPy array of real numbers, in this machine's byte order unless it lies in a file."""
    _check_dtype(where, x)
    if x.dtype.itemsize > 8:  # long double
        with np.errstate(over="ignore"):
            narrow = x.astype(np.float64)
        if (np.isinf(narrow) & np.isfinite(x)).any():
            fail(where, expected="numbers within float64", got=f"larger ones, {describe(x)}")
        return narrow
    return x if isinstance(x, np.memmap) else read(x)


def read(x: np.ndarray) -> np.ndarray:
    """The array, or a part of one that lies in a file, in this machine's byte order."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _of_list(where: str, x: Any) -> Any:
    """A list of numbers, of lists of them, or of arrays."""
    kinds = set(map(type, x))
    if all(kind in _PLAIN or issubclass(kind, np.generic) for kind in kinds):
        try:
            array = np.asarray(x)
        except (ValueError, TypeError, OverflowError):
            array = None
        if array is not None and array.dtype != object:
            whole = bool(kinds) and all(issubclass(kind, (int, np.integer, np.bool_)) for kind in kinds)
            if whole and array.dtype.kind == "f":  # NumPy makes floats of 2**63 beside -1
                fail(where, expected="whole numbers of one dtype", got=f"numbers from {min(x)} to {max(x)}")
            if array.dtype.kind == "f" and array.size and np.abs(array).max() >= 2**53:
                whole_ones = [item for item in _scalars(x) if isinstance(item, int)]
                _check_beside_floats(where, np.array(whole_ones[:1] and [min(whole_ones), max(whole_ones)], np.int64))
            return _native(where, array)
        if not kinds & {list, tuple}:
            return _native(where, np.array(x, object))
    parts = [_converted(f"{where}[{i}]", item) for i, item in enumerate(x)]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        _fail_ragged(where)
    if any(isinstance(part, jax.Array) for part in parts):
        return jnp.stack([jnp.asarray(part) for part in parts])
    dtype = _common(where, parts)
    return np.stack([part.astype(dtype, copy=False) for part in parts])


def _scalars(x: Any) -> Iterator[Any]:
    for item in x:
        if isinstance(item, (list, tuple)):
            yield from _scalars(item)
        else:
            yield item


_PLAIN: set[Any] = {int, float, bool, str, bytes, type(None), complex, list, tuple}


def _common(where: str, parts: list[Any]) -> Any:
    """One dtype for several arrays: booleans count as whole numbers, and no whole number is rounded unnoticed."""
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1:
        return next(iter(dtypes))
    try:
        dtype = np.result_type(*dtypes)
    except TypeError:  # bfloat16 beside others
        with jax.numpy_dtype_promotion("standard"):
            dtype = functools.reduce(jnp.promote_types, dtypes)
    if dtype.kind == "f" and all(d.kind in "biu" for d in dtypes):  # int64 and uint64
        dtype = np.dtype(np.int64)
        for part in parts:
            if part.dtype == np.uint64 and part.size and int(part.max()) > np.iinfo(dtype).max:
                fail(where, expected="whole numbers within int64", got=f"{int(part.max())} beside signed ones")
    if dtype.kind == "f":
        for part in parts:
            _check_beside_floats(where, part)
    return dtype


def _check_beside_floats(where: str, part: np.ndarray) -> None:
    """Refuse whole numbers that float64 would round, such as ids, where a float stands beside them."""
    if part.dtype.kind in "iu" and part.size:
        for value in (int(part.min()), int(part.max())):
            if abs(value) > 2**53:
                hint = "Leave ids out, or number them: ids, x = np.unique(x, return_inverse=True)."
                fail(where, expected="whole numbers within 2**53 beside floats", got=str(value), hint=hint)


# -------------------------------------------------------------------------------------------------- values that fit
def check_fits(where: str, x: np.ndarray, offset: int = 0) -> None:
    """Refuse values that JAX would change without a word when it narrows int64, uint64 and float64.

    JAX keeps 64 bits only with ``jax_enable_x64``; otherwise whole numbers beyond 32 bits would wrap around, and
    numbers beyond float32 would become infinite. Rounding to float32 is what the dtype means, so it is not refused.

    Args:
      where: the name of ``x`` in messages.
      x: a NumPy array.
      offset: the number of the first row.
    """
    if x.dtype.itemsize < 8 or x.size == 0 or jax_setting("jax_enable_x64"):
        return
    whole = x.dtype.kind in "iu"
    low, high = LIMITS[x.dtype.kind]
    for start, part in _blocks(x.reshape(-1) if x.flags.c_contiguous else x):
        if fits_within(part, low, high):
            continue
        # Infinity stays infinity, and NaN is a matter of its own; it also hides the others from min and max.
        beyond = (part < low) | (part > high)
        if not whole:
            beyond &= np.isfinite(part)
        if beyond.any():
            _fail_narrow(where, x, whole, int(np.argmax(beyond.ravel())) + start, offset)


LIMITS: dict[str, tuple[Any, Any]] = {
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "f": (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
}
"""The least and the greatest number that JAX keeps of each kind without 64 bits."""


def fits_within(x: np.ndarray, low: Any, high: Any) -> bool:
    """Whether all numbers are within limits; not so with NaN, which hides the others."""
    return bool(low <= x.min() and x.max() <= high)


def _blocks(x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Parts of an array along its first axis with the number of their first element."""
    if x.ndim == 0:
        yield 0, x
        return
    inner = max(1, x.size // max(1, len(x)))
    rows = max(1, BLOCK // inner)
    for start in range(0, len(x), rows):
        yield start * inner, x[start : start + rows]


def _fail_narrow(where: str, x: np.ndarray, whole: bool, flat: int, offset: int) -> NoReturn:
    place = tuple(int(i) for i in np.unravel_index(flat, x.shape))
    value = int(x[place]) if whole else float(x[place])
    place = (place[0] + offset, *place[1:]) if place else place
    at = f" at index {place[0] if len(place) == 1 else place}" if place else ""
    wide, narrow = x.dtype.name, jax.dtypes.canonicalize_dtype(x.dtype.newbyteorder("=")).name
    hint = "Scale them, e.g. with fnn.data.standardize or np.log1p"
    if whole:
        hint = "Number ids from 0: ids, x = np.unique(x, return_inverse=True); make floats of measurements"
    fail(
        where,
        expected=f"{'whole ' * whole}numbers within {narrow}, which JAX makes of {wide}",
        got=f"{value}{at}",
        hint=f"{hint}; or set jax.config.update('jax_enable_x64', True) first.",
    )


# ------------------------------------------------------------------------------------------- frames and other tensors
def _of_pandas(where: str, x: Any) -> np.ndarray:
    """A frame as rows and columns, a series or an index as a row of numbers."""
    if not hasattr(x, "dtype") and not hasattr(x, "columns"):
        return _of_marks(where, x)
    if not hasattr(x, "columns"):
        return _pandas_column(where if getattr(x, "name", None) is None else f"{where}, column {x.name!r}", x)
    dtypes = set(x.dtypes)
    if len(dtypes) == 1 and isinstance(only := next(iter(dtypes)), np.dtype) and only.kind in "iuf":
        return _native(where, x.to_numpy())
    names = list(x.columns)
    return _beside(where, [_pandas_column(f"{where}, column {n!r}", x.iloc[:, i]) for i, n in enumerate(names)], len(x))


def _of_marks(where: str, x: Any) -> NoReturn:
    if is_missing(x):
        fail(where, expected="a number", got=f"a missing value, {x!r}")
    if hasattr(x, "to_numpy") or hasattr(x, "asm8"):
        fail(where, expected=_NUMBERS, got=f"a {type(x).__name__}", hint=_DATES)
    fail(where, expected=_NUMBERS, got=f"a {type(x).__name__}", hint="Convert it to a NumPy array.")


def _pandas_column(where: str, column: Any) -> np.ndarray:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return _native(where, column.to_numpy())
    if hasattr(dtype, "categories"):
        hint = "Write .cat.codes for the numbers of its categories, or pd.get_dummies for a column of each."
        fail(where, expected="a column of numbers", got="categories", hint=hint)
    kind = getattr(dtype, "kind", "O")
    if hasattr(dtype, "fill_value"):  # sparse
        return _native(where, np.asarray(column))
    if kind in "biuf" and hasattr(dtype, "numpy_dtype"):
        missing = np.asarray(column.isna(), bool)
        if missing.any():
            _fail_missing(where, missing, "x.dropna()", "x.fillna(...)")
        return _native(where, column.to_numpy(dtype=dtype.numpy_dtype))
    if kind in "mM" or str(dtype).startswith(("period", "interval", "date", "time", "duration")):
        fail(where, expected="a column of numbers", got=f"dates, dtype {dtype}", hint=_DATES)
    if str(dtype).startswith(("str", "string", "large_string")):
        fail(where, expected="a column of numbers", got=f"text, dtype {dtype}", hint=_TEXT)
    fail(where, expected="a column of numbers", got=f"dtype {dtype}", hint="Write .astype('float32').")


def _fail_missing(where: str, missing: np.ndarray, drop: str, fill: str) -> NoReturn:
    count = int(missing.sum())
    got = f"{count} missing value{'s' * (count > 1)}, the first in row {int(np.argmax(missing))}, counted from 0"
    fail(where, expected="a number in each row", got=got, hint=f"Write {drop} to drop those rows, or {fill}.")


def _of_polars(where: str, x: Any) -> np.ndarray:
    """A frame as rows and columns, a series as a row of numbers."""
    if hasattr(x, "collect"):
        fail(where, expected=_NUMBERS, got="a LazyFrame", hint="Write x.collect().")
    if hasattr(x, "get_columns"):
        columns = x.get_columns()
        made = [_polars_column(f"{where}, column {column.name!r}", column) for column in columns]
        return _beside(where, made, x.height)
    if not (hasattr(x, "null_count") and hasattr(x, "to_numpy")):
        fail(where, expected=_NUMBERS, got=f"a {type(x).__name__} of polars", hint="Write df.select(x).")
    return _polars_column(f"{where}, column {x.name!r}" if x.name else where, x)


def _polars_column(where: str, column: Any) -> np.ndarray:
    kind = str(column.dtype)
    if kind.startswith(("Categorical", "Enum")):
        hint = "Write .to_physical() for the numbers of its categories, or df.to_dummies() for a column of each."
        fail(where, expected="a column of numbers", got="categories", hint=hint)
    if kind.startswith("String"):
        fail(where, expected="a column of numbers", got="text, dtype String", hint=_TEXT)
    if kind.startswith(("Date", "Time", "Duration")):
        fail(where, expected="a column of numbers", got=f"dates, dtype {kind}", hint=_DATES)
    if column.null_count():
        _fail_missing(where, column.is_null().to_numpy(), "x.drop_nulls()", "x.fill_null(...)")
    if "128" in kind or not kind.startswith(("Int", "UInt", "Float", "Boolean", "Array")):
        fail(where, expected="a column of numbers", got=f"dtype {kind}", hint="Write .cast(pl.Float32).")
    return _native(where, column.to_numpy())


def _beside(where: str, columns: list[np.ndarray], rows: int) -> np.ndarray:
    """Columns as one array (rows, columns) of the dtype that holds them all; float32 for booleans and short integers.

    A column of booleans, as dummies are, makes the table one of measurements and not of ids.
    """
    if not columns:
        fail(where, expected="a frame with columns", got="one without any")
    for column in columns:
        if column.ndim != 1:
            fail(where, expected="columns of single numbers", got=describe(column))
    dtype = _common(where, columns)
    if any(column.dtype == bool for column in columns) and dtype.kind in "biu":
        dtype = np.result_type(dtype, np.float32)
        for column in columns:
            _check_beside_floats(where, column)
    out = np.empty((rows, len(columns)), dtype)
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


def _of_torch(where: str, x: Any) -> np.ndarray:
    """A tensor on the CPU, without a copy."""
    if not hasattr(x, "detach"):
        fail(where, expected=_NUMBERS, got=f"a {type(x).__name__} of torch", hint="Pass a tensor.")
    if str(x.layout) != "torch.strided":
        got = f"a sparse tensor{list(x.shape)}"
        fail(where, expected="an array that is not sparse", got=got, hint="Write x.to_dense().")
    if x.is_quantized:
        fail(where, expected=_NUMBERS, got="a quantized tensor", hint="Write x.dequantize().")
    if x.device.type != "cpu":
        fail(where, expected="a tensor on the CPU", got=f"one on {x.device}", hint="Write x.cpu().")
    x = x.detach().resolve_conj().resolve_neg()
    name = str(x.dtype).removeprefix("torch.")
    try:
        array = x.numpy()
    except (TypeError, RuntimeError):  # dtypes that NumPy has from elsewhere
        dtype = getattr(jnp, name, None)
        if dtype is None:
            fail(where, expected=_NUMBERS, got=f"a tensor of dtype {name}", hint="Write x.float().")
        bits = getattr(sys.modules["torch"], {1: "uint8", 2: "int16"}[np.dtype(dtype).itemsize])
        array = x.view(bits).numpy().view(np.dtype(dtype))
    return _native(where, array)


_READERS: dict[str, Callable[[str, Any], Any]] = {"pandas": _of_pandas, "polars": _of_polars, "torch": _of_torch}
