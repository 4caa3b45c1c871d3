"""Arrays from the data of users: one set of rules and messages for every function that takes data.

Other libraries are not imported; their objects are recognized by the module of their type.
"""

from __future__ import annotations

import functools
import numbers
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .errors import InputError, describe, fail, kind_of
from .types import AnyArray, ArrayLike, Shape

_TEXT = (
    "Encode text first: categories with fnn.data.table_fit and table_encode, class names with "
    "names, y = np.unique(labels, return_inverse=True)."
)
_DATES = "Write it as a number, such as days: (t - t.min()) / np.timedelta64(1, 'D')."
_COMPLEX = "Write real and imaginary parts as columns: np.stack([z.real, z.imag], -1)."
_MASKED = "Write x.filled(0) and pass the mask as a sample_weight or a column, or leave those rows out."
_KINDS = {"S": "text", "U": "text", "T": "text", "M": "dates", "m": "times"}
BLOCK = 2**20  # elements checked at once, so that a check needs little memory


def jax_setting(name: str) -> bool:
    """A setting of JAX, which a context manager may have changed."""
    return bool(getattr(jax.config, name))


def _refuse(where: str, got: str, hint: str = "") -> NoReturn:
    fail(where, expected="an array of numbers", got=got, hint=hint)


# ------------------------------------------------------------------------------------------------------- one array
def as_array(where: str, x: ArrayLike, *, fits: bool = True, files: bool = False) -> AnyArray:
    """An array of numbers or booleans: NumPy's, or ``x`` itself if it is JAX's or traced.

    It accepts what docs/how-to/data-in.md lists; the error for anything else says how to convert it.

    Args:
      where: the name of ``x`` in messages.
      x: the data.
      fits: whether to refuse values that JAX's narrower dtypes would change, see `check_fits`.
      files: whether a memory-mapped array may keep a foreign byte order, for `read` to convert in parts.
    """
    array = _converted(where, x)
    if isinstance(array, jax.Array):
        return array
    if fits:
        check_fits(where, array)
    return array if files else read(array)


def _converted(where: str, x: ArrayLike) -> AnyArray:
    """`as_array` without the checks of NumPy arrays' values."""
    if isinstance(x, jax.Array):
        _check_dtype(where, x)
        return x
    if isinstance(x, np.ma.MaskedArray):
        _refuse(where, f"a masked array, {describe(x)}", _MASKED)
    if isinstance(x, np.memmap):
        return _native(where, x)
    if isinstance(x, (np.ndarray, numbers.Number, np.generic)):
        return _native(where, np.asarray(x))
    if isinstance(x, (list, tuple)):
        return _of_list(where, x)
    if library := library_of(x):
        return _READERS[library](where, x)
    _refuse_kind(where, x)
    try:
        array = np.asarray(x)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:  # an array of another library, which may raise anything
        _refuse(where, f"{kind_of(x)} ({error})", "Convert it to a NumPy array.")
    if array.dtype == object and array.ndim == 0:
        _refuse(where, kind_of(x), "Convert it to a NumPy array.")
    return _native(where, array)


def library_of(x: object) -> str:
    """The library in `_READERS` that defines the type of ``x`` or a type it extends; empty if there is none."""
    roots = (kind.__module__.partition(".")[0] for kind in type(x).__mro__)
    return next((root for root in roots if root in _READERS), "")


def _refuse_kind(where: str, x: object) -> None:
    """Refuse objects that are not arrays."""
    if callable(x) and not hasattr(x, "__array__"):
        fail(where, expected="arrays or an iterable of batches", got="a function", hint="Call it.")
    if isinstance(x, (str, bytes)):
        _refuse(where, "a string", _TEXT)
    if isinstance(x, (set, frozenset)):
        _refuse(where, "a set, which has no order", "Write sorted(x).")
    if isinstance(x, dict):
        _refuse(where, "a dict", "Write np.stack(list(x.values()), -1), or use a model that takes a dict.")
    if hasattr(x, "todense"):  # scipy.sparse, jax.experimental.sparse and the like
        write = "x.toarray()" if hasattr(x, "toarray") else "x.todense()"
        got = f"a sparse {type(x).__name__}{list(getattr(x, 'shape', ()))}"
        fail(where, expected="an array that is not sparse", got=got, hint=f"Write {write}.")
    if not hasattr(x, "__array__") and isinstance(x, Iterator):
        _refuse(where, kind_of(x), "Write list(x), or if it is endless list(itertools.islice(x, count)).")


def _check_dtype(where: str, x: AnyArray) -> None:
    """Refuse dtypes that are not numbers; the message depends on the dtype alone."""
    dtype, kind = x.dtype, getattr(x.dtype, "kind", "")
    # NumPy counts timedelta among the integers.
    if (jnp.issubdtype(dtype, np.number) or dtype == np.bool_) and kind not in ("m", "c"):
        return
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        _refuse(where, f"keys, {describe(x)}", "Keys go where an argument is named key.")
    if kind == "c":
        fail(where, expected="real numbers", got=f"complex numbers, {describe(x)}", hint=_COMPLEX)
    if kind in _KINDS:
        _refuse(where, f"{_KINDS[kind]}, {describe(x)}", _DATES if kind in "mM" else _TEXT)
    if dtype.fields is not None:
        hint = "Write numpy.lib.recfunctions.structured_to_unstructured(x)."
        _refuse(where, f"records of {', '.join(dtype.fields)}, {describe(x)}", hint)
    if kind == "O":
        _fail_objects(where, x)
    _refuse(where, describe(x))


def _fail_objects(where: str, x: AnyArray) -> NoReturn:
    """Name the first element of an array of objects that is not a number."""
    for flat, item in enumerate(np.ravel(x)):
        index = _index(flat, x.shape)
        place = f"{item!r} at index {index}"
        if is_missing(item):
            hint = "Drop those rows, or fill them."
            fail(where, expected="numbers only", got=f"a missing value: {place}", hint=hint)
        if isinstance(item, (str, bytes)):
            _refuse(where, f"text, {place}", _TEXT)
        if isinstance(item, numbers.Number):
            if isinstance(item, numbers.Integral) and not -(2**63) <= int(item) < 2**64:
                hint = "Keep such ids as text, or number them: ids, x = np.unique(x, return_inverse=True)."
                fail(where, expected="integers of at most 64 bits", got=place, hint=hint)
        elif hasattr(item, "__len__"):
            lengths = sorted({len(row) for row in np.ravel(x) if hasattr(row, "__len__")})
            if len(lengths) > 1:
                _fail_ragged(where, f"rows of lengths {lengths[0]} to {lengths[-1]}")
            _refuse(where, f"an array of arrays, {describe(x)}", "Write np.stack(list(x)).")
        elif not hasattr(item, "__float__"):
            _refuse(where, f"{kind_of(item)} at index {index}")
    _refuse(where, f"an array of objects, {describe(x)}", "Write x.astype('float32') if every element is a number.")


def _fail_ragged(where: str, got: str = "a ragged list") -> NoReturn:
    fail(where, expected="rows of the same length", got=got, hint="Pad them first.")


def _index(flat: int, shape: Shape, offset: int = 0) -> str:
    """The index of an element, given its flat index, with ``offset`` added to its row."""
    place = [int(i) for i in np.unravel_index(flat, shape)]
    if place:
        place[0] += offset
    return str(place[0] if len(place) == 1 else tuple(place))


def is_missing(item: object) -> bool:
    """Whether an element stands for a missing value: None, NaN, or one of pandas's marks."""
    nan = isinstance(item, (float, np.floating)) and bool(item != item)
    return nan or item is None or type(item).__name__ in ("NAType", "NaTType")


def _native(where: str, x: np.ndarray) -> np.ndarray:
    """A NumPy array of real numbers, in this machine's byte order unless it is memory-mapped."""
    _check_dtype(where, x)
    if x.dtype.itemsize > 8:  # long double
        with np.errstate(over="ignore"):
            narrow = x.astype(np.float64)
        if (np.isinf(narrow) & np.isfinite(x)).any():
            fail(where, expected="numbers within float64", got=f"larger ones, {describe(x)}")
        return narrow
    return x if isinstance(x, np.memmap) else read(x)


def read(x: np.ndarray) -> np.ndarray:
    """An array, or a part of a memory-mapped one, in this machine's byte order."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _of_list(where: str, x: list[Any] | tuple[Any, ...]) -> AnyArray:
    """A list of numbers, of lists of them, or of arrays."""
    kinds = set(map(type, x))
    if all(kind in _PLAIN or issubclass(kind, np.generic) for kind in kinds):
        try:
            array = np.asarray(x)
        except (ValueError, TypeError, OverflowError):
            array = np.empty((), object)
        if array.dtype != object:
            whole = bool(kinds) and all(issubclass(kind, (int, np.integer, np.bool_)) for kind in kinds)
            if whole and array.dtype.kind == "f":  # NumPy makes floats of 2**63 beside -1
                fail(where, expected="integers of one dtype", got=f"numbers from {min(x)} to {max(x)}")
            if array.dtype.kind == "f" and array.size and np.abs(array).max() >= 2**53:
                integers = [item for item in np.array(x, object).flat if isinstance(item, int)]
                _check_beside_floats(where, np.array(integers, object))
            return _native(where, array)
        if not kinds & {list, tuple}:
            return _native(where, np.array(x, object))
    parts = [_converted(f"{where}[{i}]", item) for i, item in enumerate(x)]
    if len({part.shape for part in parts}) > 1:
        _fail_ragged(where)
    if any(isinstance(part, jax.Array) for part in parts):
        return jnp.stack([jnp.asarray(part) for part in parts])
    dtype = _common(where, parts)
    return np.stack([part.astype(dtype, copy=False) for part in parts])


_PLAIN = {int, float, bool, str, bytes, type(None), complex, list, tuple}


def _common(where: str, parts: Sequence[AnyArray]) -> np.dtype:
    """One dtype for several arrays: booleans count as integers, and rounding integers is an error."""
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
                fail(where, expected="integers within int64", got=f"{int(part.max())} beside signed ones")
    if dtype.kind == "f":
        _check_beside_floats(where, *parts)
    return dtype


def _check_beside_floats(where: str, *parts: AnyArray) -> None:
    """Refuse integers beside floats that float64 would round, such as ids."""
    integers = [part for part in parts if part.dtype.kind in "iuO" and part.size]
    for value in (int(end) for part in integers for end in (part.min(), part.max())):
        if abs(value) > 2**53:
            hint = "Leave ids out, or number them: ids, x = np.unique(x, return_inverse=True)."
            fail(where, expected="integers within 2**53 beside floats", got=str(value), hint=hint)


# -------------------------------------------------------------------------------------------------- values that fit
LIMITS: dict[str, tuple[float, float]] = {
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "f": (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
}
"""The smallest and the largest number of each kind that JAX keeps without 64 bits."""


def check_fits(where: str, x: np.ndarray, offset: int = 0) -> None:
    """Refuse values that JAX would silently change when it narrows int64, uint64 and float64.

    JAX keeps 64 bits only with ``jax_enable_x64``; otherwise integers beyond 32 bits wrap around, and numbers beyond
    float32 become infinite. Rounding to float32 is allowed. ``offset`` is the number of the first row.
    """
    if x.dtype.itemsize < 8 or x.size == 0 or jax_setting("jax_enable_x64"):
        return
    low, high = LIMITS[x.dtype.kind]
    rows = x.reshape(-1) if x.flags.c_contiguous else x
    row_size = rows.size // len(rows)
    step = max(1, BLOCK // row_size)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        if not fits_within(part, low, high):
            # NaN hides the others from min and max; NaN and infinity survive the narrowing.
            beyond = ((part < low) | (part > high)) & np.isfinite(part)
            if beyond.any():
                _fail_narrow(where, x, start * row_size + int(np.argmax(beyond)), offset)


def fits_within(x: np.ndarray, low: float, high: float) -> bool:
    """Whether all numbers are within limits; False if one is NaN."""
    return bool(low <= x.min() and x.max() <= high)


def _fail_narrow(where: str, x: np.ndarray, flat: int, offset: int) -> NoReturn:
    place = f" at index {_index(flat, x.shape, offset)}" if x.ndim else ""
    wide, narrow = x.dtype.name, jax.dtypes.canonicalize_dtype(x.dtype.newbyteorder("=")).name
    kind, hint = "numbers", "Scale them, e.g. with fnn.data.standardize or np.log1p"
    if x.dtype.kind in "iu":
        kind = "integers"
        hint = "Number ids from 0: ids, x = np.unique(x, return_inverse=True); convert measurements to floats"
    fail(
        where,
        expected=f"{kind} within {narrow}, to which JAX converts {wide}",
        got=f"{x.flat[flat].item()}{place}",
        hint=f"{hint}; or set jax.config.update('jax_enable_x64', True) first.",
    )


# ------------------------------------------------------------------------------------------- frames and other tensors
_Foreign = Any  # an object of a library that is not imported


def _of_pandas(where: str, x: _Foreign) -> np.ndarray:
    """A frame as rows and columns, a series or an index as a row of numbers."""
    if is_missing(x):
        fail(where, expected="a number", got=f"a missing value, {x!r}")
    if hasattr(x, "columns"):
        dtypes = set(x.dtypes)
        if len(dtypes) == 1 and isinstance(only := next(iter(dtypes)), np.dtype) and only.kind in "iuf":
            return _native(where, x.to_numpy())
        columns = [_pandas_column(f"{where}, column {name!r}", x.iloc[:, i]) for i, name in enumerate(x.columns)]
        return _table(where, columns, len(x))
    if hasattr(x, "dtype"):
        return _pandas_column(where if getattr(x, "name", None) is None else f"{where}, column {x.name!r}", x)
    date = hasattr(x, "to_numpy") or hasattr(x, "asm8")
    _refuse(where, kind_of(x), _DATES if date else "Convert it to a NumPy array.")


def _pandas_column(where: str, column: _Foreign) -> np.ndarray:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return _native(where, column.to_numpy())
    if hasattr(dtype, "fill_value"):  # sparse
        return _native(where, np.asarray(column))
    if getattr(dtype, "kind", "O") in "biuf" and hasattr(dtype, "numpy_dtype"):
        _check_missing(where, np.asarray(column.isna(), bool), "x.dropna()", "x.fillna(...)")
        return _native(where, column.to_numpy(dtype=dtype.numpy_dtype))
    _refuse_column(where, dtype, codes=".cat.codes", dummies="pd.get_dummies", cast=".astype('float32')")


def _refuse_column(where: str, dtype: object, *, codes: str, dummies: str, cast: str) -> NoReturn:
    """Say what a column holds instead of numbers, and how to convert it."""
    name = str(dtype).lower()
    got, hint = f"dtype {dtype}", f"Write {cast}."
    if name.startswith(("categor", "enum")):
        got, hint = "categories", f"Write {codes} for the numbers of its categories, or {dummies} for a column of each."
    elif name.startswith(("period", "interval", "date", "time", "duration")):
        got, hint = f"dates, {got}", _DATES
    elif name == "str" or name.startswith(("string", "large_string")):
        got, hint = f"text, {got}", _TEXT
    fail(where, expected="a column of numbers", got=got, hint=hint)


def _check_missing(where: str, missing: np.ndarray, drop: str, fill: str) -> None:
    count = int(missing.sum())
    if count:
        got = f"{count} missing value{'s' * (count > 1)}, the first in row {int(np.argmax(missing))}, counted from 0"
        fail(where, expected="a number in each row", got=got, hint=f"Write {drop} to drop those rows, or {fill}.")


def _of_polars(where: str, x: _Foreign) -> np.ndarray:
    """A frame as rows and columns, a series as a row of numbers."""
    if hasattr(x, "collect"):
        _refuse(where, "a LazyFrame", "Write x.collect().")
    if hasattr(x, "get_columns"):
        columns = [_polars_column(f"{where}, column {column.name!r}", column) for column in x.get_columns()]
        return _table(where, columns, x.height)
    if not (hasattr(x, "null_count") and hasattr(x, "to_numpy")):
        _refuse(where, f"{kind_of(x)} of polars", "Write df.select(x).")
    return _polars_column(f"{where}, column {x.name!r}" if x.name else where, x)


def _polars_column(where: str, column: _Foreign) -> np.ndarray:
    kind = str(column.dtype)
    if not kind.startswith(("Categorical", "Enum", "String", "Date", "Time", "Duration")):
        _check_missing(where, column.is_null().to_numpy(), "x.drop_nulls()", "x.fill_null(...)")
    if "128" in kind or not kind.startswith(("Int", "UInt", "Float", "Boolean", "Array")):
        _refuse_column(where, kind, codes=".to_physical()", dummies="df.to_dummies()", cast=".cast(pl.Float32)")
    return _native(where, column.to_numpy())


def _table(where: str, columns: list[np.ndarray], rows: int) -> np.ndarray:
    """Columns as one array (rows, columns) of their common dtype.

    Beside a boolean column, such as a dummy, integers become floats: they are measurements, not ids.
    """
    if not columns:
        fail(where, expected="a frame with columns", got="one without any")
    for column in columns:
        if column.ndim != 1:
            fail(where, expected="columns of single numbers", got=describe(column))
    dtype = _common(where, columns)
    if any(column.dtype == bool for column in columns) and dtype.kind in "biu":
        dtype = np.result_type(dtype, np.float32)
        _check_beside_floats(where, *columns)
    out = np.empty((rows, len(columns)), dtype)
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


def _of_torch(where: str, x: _Foreign) -> np.ndarray:
    """A tensor on the CPU, without a copy."""
    if not hasattr(x, "detach"):
        _refuse(where, f"{kind_of(x)} of torch", "Pass a tensor.")
    if str(x.layout) != "torch.strided":
        got = f"a sparse tensor{list(x.shape)}"
        fail(where, expected="an array that is not sparse", got=got, hint="Write x.to_dense().")
    if x.is_quantized:
        _refuse(where, "a quantized tensor", "Write x.dequantize().")
    if x.device.type != "cpu":
        fail(where, expected="a tensor on the CPU", got=f"one on {x.device}", hint="Write x.cpu().")
    x = x.detach().resolve_conj().resolve_neg()
    name = str(x.dtype).removeprefix("torch.")
    try:
        array = x.numpy()
    except (TypeError, RuntimeError):  # dtypes that NumPy lacks
        dtype = getattr(jnp, name, None)
        if dtype is None:
            _refuse(where, f"a tensor of dtype {name}", "Write x.float().")
        bits = getattr(sys.modules["torch"], {1: "uint8", 2: "int16"}[np.dtype(dtype).itemsize])
        array = x.view(bits).numpy().view(np.dtype(dtype))
    return _native(where, array)


_READERS: dict[str, Callable[..., np.ndarray]] = {"pandas": _of_pandas, "polars": _of_polars, "torch": _of_torch}
