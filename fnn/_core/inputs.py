"""Data sets at the public doors: trees of arrays, rows, labels and columns of whatever a user has."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import (
    BLOCK,
    LIMITS,
    as_array,
    check_fits,
    fits_within,
    is_missing,
    jax_setting,
    library_of,
    read,
    refuse_kind,
)
from .checks import is_concrete
from .errors import InputError, fail


# --------------------------------------------------------------------------------------------------- trees of arrays
def as_arrays(x: Any, where: str = "x", *, late: bool = False) -> Any:
    """An input, which may be a dict or tuple of arrays, with each leaf as in `as_array`.

    Args:
      x: the input.
      where: its name in messages.
      late: whether values are checked later, and files read in parts then, by `check_fits` and `read`.
    """
    refuse_set(x, where, pair=False)
    return convert_tree(where, x, late)


def refuse_set(data: Any, where: str, *, pair: bool) -> None:
    """Refuse the data sets of `fnn.data`, which hold more than what to learn from."""
    fields = getattr(data, "_fields", ())
    if len(fields) > 3 and fields[:2] in (("x", "y"), ("x_train", "y_train")):
        x, y = (f"data.{field}" for field in fields[:2])
        hint = f"Pass the tuple ({x}, {y})." if pair else f"Pass {x}."
        expected = "a pair (x, y) or a triple (x, y, sample_weight)" if pair else "arrays"
        fail(where, expected=expected, got=f"{type(data).__name__} of {len(fields)} fields", hint=hint)


def convert_tree(where: str, tree: Any, late: bool) -> Any:
    """A tree with each leaf as in `as_array`."""
    # What a compiled program does to NumPy arrays at its door.
    if jax_setting("jax_disable_jit") and not late:
        return on_device(convert_tree(where, tree, late=True), where)
    if all(_as_it_is(leaf, late) for leaf in leaves(tree)):
        return tree

    def convert(path: Any, leaf: Any) -> Any:
        return as_array(f"{where}{jax.tree_util.keystr(path)}", leaf, fits=not late, files=late)

    return jax.tree_util.tree_map_with_path(convert, tree, is_leaf=_is_leaf)


def _as_it_is(x: Any, late: bool) -> bool:
    """Whether `as_array` would give x itself, told in a few microseconds for small arrays; False where in doubt."""
    if isinstance(x, jax.Array):
        return getattr(x.dtype, "kind", "") in "biuf"
    if type(x) is not np.ndarray or x.dtype.kind not in "biuf" or x.dtype.itemsize > 8 or not x.dtype.isnative:
        return False
    if late or x.dtype.itemsize < 8 or x.size == 0 or jax_setting("jax_enable_x64"):
        return True
    return x.size <= BLOCK and fits_within(x, *LIMITS[x.dtype.kind])


def _is_leaf(x: Any) -> bool:
    """Whether a node of a tree is one array: a list of numbers is, a list of arrays is a tree of them."""
    return is_numbers(x) or isinstance(x, Iterator) or (hasattr(x, "todense") and not isinstance(x, jax.Array))


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree that is not converted yet."""
    found: list[Any] = jax.tree.leaves(tree, is_leaf=_is_leaf)
    return found


def is_numbers(x: Any) -> bool:
    """Whether a list or tuple stands for one array of numbers."""
    if isinstance(x, list):
        return not any(getattr(item, "shape", ()) != () for item in x)
    if type(x) is tuple and x:
        return all(isinstance(item, (numbers.Number, str)) for item in x)
    return False


def on_device(tree: Any, where: str | None = None) -> Any:
    """Converted arrays as JAX arrays; given the name of the tree, their values are checked."""

    def convert(path: Any, a: Any) -> Any:
        if isinstance(a, jax.Array):
            return a
        if where is not None:
            check_fits(f"{where}{jax.tree_util.keystr(path)}", a)
        with jax.debug_nans(False):  # rows of weight 0 may hold NaN
            return jnp.asarray(read(a))

    return jax.tree_util.tree_map_with_path(convert, tree)


def with_shapes(where: str, x: Any) -> Any:
    """An input of which shapes and dtypes are asked alone, so that a `jax.ShapeDtypeStruct` will do for an array."""

    def convert(path: Any, leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        return as_array(f"{where}{jax.tree_util.keystr(path)}", leaf, fits=False, files=True)

    refuse_set(x, where, pair=False)
    return jax.tree_util.tree_map_with_path(convert, x, is_leaf=_is_leaf)


# ---------------------------------------------------------------------------------------------------------- labels
def as_labels(where: str, x: Any) -> np.ndarray:
    """Class numbers or names, for functions that only ask which of them are equal: text and categories are fine.

    Raises:
      InputError: for missing ones.
    """
    if not is_concrete(x):
        fail(where, expected="labels with values", got="a traced array")
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


def as_column(where: str, x: Any) -> np.ndarray:
    """NumPy's array of numbers or text, missing values included as the library marks them."""
    special = isinstance(x, np.ma.MaskedArray) or library_of(x) == "torch"
    return np.asarray(as_array(where, x, fits=False) if special else x)


def as_rows(where: str, x: Any) -> Any:
    """An array of rows of any kind, text included, of which rows are only chosen.

    Frames must hold numbers, since NumPy has no table of mixed columns.
    """
    if hasattr(type(x), "columns") and library_of(x):
        hint = "Of a table with text split the row numbers: train, test = train_test_split(np.arange(len(table)))."
        try:
            return as_array(where, x, fits=False)
        except InputError as error:
            raise InputError(f"{error} {hint}") from None
    if isinstance(x, jax.Array) or library_of(x) == "torch":
        return as_array(where, x, fits=False)
    if isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray):
        return x
    refuse_kind(where, x)
    if isinstance(x, (list, tuple)):
        try:
            array = np.asarray(x)
        except Exception:
            return as_array(where, x, fits=False)
        return array if array.dtype.kind in "U" else as_array(where, x, fits=False)
    return as_labels(where, x) if library_of(x) else as_array(where, x, fits=False)
