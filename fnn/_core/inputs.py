"""Data sets at the public functions: trees of arrays, rows, labels and columns."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterator

import jax
import numpy as np
from jax.tree_util import keystr, tree_map_with_path

from .arrays import BLOCK, LIMITS, as_array, check_fits, fits_within, is_missing, jax_setting, library_of, read
from .checks import is_concrete
from .errors import InputError, counted, fail, kind_of
from .trees import to_jax
from .types import AnyArray, Array, ArrayLike, KeyPath, PyTree


# --------------------------------------------------------------------------------------------------- trees of arrays
def as_arrays(x: PyTree, where: str = "x", *, defer_checks: bool = False) -> PyTree:
    """An input, which may be a dict or tuple of arrays, with each leaf converted by `as_array`.

    With ``defer_checks``, values are checked and files are read later, in parts, by `check_fits` and `read`.
    """
    refuse_set(x, where, pair=False)
    return convert_tree(where, x, defer_checks)


def refuse_set(data: object, where: str, *, pair: bool) -> None:
    """Refuse the data sets of `fnn.data`, which hold more than inputs and targets."""
    fields = getattr(data, "_fields", ())
    if len(fields) > 3 and fields[:2] in (("x", "y"), ("x_train", "y_train")):
        x, y = (f"data.{field}" for field in fields[:2])
        hint = f"Pass the tuple ({x}, {y})." if pair else f"Pass {x}."
        expected = "(x, y) or (x, y, sample_weight)" if pair else "arrays"
        fail(where, expected=expected, got=f"{kind_of(data)} of {counted(len(fields), 'field')}", hint=hint)


def with_shapes(where: str, x: PyTree) -> PyTree:
    """An input whose shapes and dtypes alone matter, so that a `jax.ShapeDtypeStruct` can replace an array."""
    refuse_set(x, where, pair=False)
    return convert_tree(where, x, defer_checks=True, shapes=True)


def convert_tree(where: str, tree: PyTree, defer_checks: bool, *, shapes: bool = False) -> PyTree:
    """A tree with each leaf converted by `as_array`; with ``shapes``, specifications of arrays stay as they are."""
    # Without jit nothing converts NumPy arrays to JAX arrays at the entry of a program.
    if jax_setting("jax_disable_jit") and not defer_checks:
        return on_device(convert_tree(where, tree, defer_checks=True), check=True, where=where)
    if not shapes and all(_is_ready(leaf, defer_checks) for leaf in leaves(tree)):
        return tree

    def convert(path: KeyPath, leaf: ArrayLike) -> ArrayLike:
        if shapes and isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        return as_array(f"{where}{keystr(path)}", leaf, fits=not defer_checks, files=defer_checks)

    return tree_map_with_path(convert, tree, is_leaf=_is_leaf)


def _is_ready(x: ArrayLike, defer_checks: bool) -> bool:
    """Whether `as_array` would return x itself; quick for small arrays, False if unsure."""
    if isinstance(x, jax.Array):
        return getattr(x.dtype, "kind", "") in "biuf"
    if type(x) is not np.ndarray or x.dtype.kind not in "biuf" or x.dtype.itemsize > 8 or not x.dtype.isnative:
        return False
    if defer_checks or x.dtype.itemsize < 8 or x.size == 0 or jax_setting("jax_enable_x64"):
        return True
    return x.size <= BLOCK and fits_within(x, *LIMITS[x.dtype.kind])


def _is_leaf(x: object) -> bool:
    """Whether a node is one array: a list of numbers is one, a list of arrays is a tree of them."""
    return is_numbers(x) or isinstance(x, Iterator) or (hasattr(x, "todense") and not isinstance(x, jax.Array))


def leaves(tree: PyTree) -> list[ArrayLike]:
    """The arrays of an unconverted tree."""
    return jax.tree.leaves(tree, is_leaf=_is_leaf)


def is_numbers(x: object) -> bool:
    """Whether a list or tuple stands for one array of numbers."""
    if isinstance(x, list):
        return not any(getattr(item, "shape", ()) != () for item in x)
    return type(x) is tuple and len(x) > 0 and all(isinstance(item, (numbers.Number, str)) for item in x)


def on_device(tree: PyTree, *, check: bool = False, where: str = "x") -> PyTree:
    """Converted arrays as JAX arrays. With ``check``, `check_fits` refuses values that JAX cannot hold."""

    def convert(path: KeyPath, a: AnyArray) -> Array:
        if isinstance(a, jax.Array):
            return a
        if check:
            check_fits(f"{where}{keystr(path)}", a)
        return to_jax(read(a))

    return tree_map_with_path(convert, tree)


# ---------------------------------------------------------------------------------------------------------- labels
def as_labels(where: str, x: ArrayLike) -> np.ndarray:
    """Class numbers or names, text and categories included, for functions that only compare them.

    Raises:
      InputError: for missing labels.
    """
    if not is_concrete(x):
        fail(where, expected="concrete values", got="traced ones")
    if library_of(x) == "torch" or isinstance(x, (np.ma.MaskedArray, jax.Array)):
        return np.asarray(as_array(where, x, fits=False))
    array = np.asarray(x)
    if array.dtype.kind == "f" and np.isnan(array).any():
        fail(where, expected="a label in each row", got=f"a missing one in row {int(np.argmax(np.isnan(array)))}")
    if array.dtype.kind == "O":
        for row, item in enumerate(array.ravel()):
            if is_missing(item):
                fail(where, expected="a label in each row", got=f"a missing one, {item!r}, in row {row}")
    return array


def as_column(where: str, x: ArrayLike) -> np.ndarray:
    """A NumPy array of numbers or text; missing values stay as their library marks them."""
    special = isinstance(x, np.ma.MaskedArray) or library_of(x) == "torch"
    return np.asarray(as_array(where, x, fits=False) if special else x)


def as_rows(where: str, x: ArrayLike) -> AnyArray:
    """An array of rows of any kind, text included, for functions that only select rows.

    Frames must hold numbers, since NumPy has no table of mixed columns.
    """
    library = library_of(x)
    if library and hasattr(type(x), "columns"):
        hint = "Of a table with text split the row numbers: train, test = train_test_split(np.arange(len(table)))."
        try:
            return as_array(where, x, fits=False)
        except InputError as error:
            raise InputError(f"{error} {hint}") from None
    if isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray):
        return x
    if library and library != "torch":  # one column
        return as_labels(where, x)
    if isinstance(x, (list, tuple)):
        with contextlib.suppress(Exception):  # rows of different lengths, or anything else that `as_array` explains
            array = np.asarray(x)
            if array.dtype.kind == "U":
                return array
    return as_array(where, x, fits=False)
