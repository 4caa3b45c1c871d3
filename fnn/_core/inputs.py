"""Data sets at the public doors: trees of arrays, rows, labels and columns of whatever a user has."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterator
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
from .trees import COMPILED
from .types import F


# --------------------------------------------------------------------------------------------------- trees of arrays
def as_arrays(x: Any, where: str = "x", *, late: bool = False) -> Any:
    """An input, which may be a dict or tuple of arrays, with each leaf as in `as_array`.

    Args:
      x: the input.
      where: its name in messages.
      late: whether values are checked later, and files read in parts then, by `check_fits` and `read`.
    """
    _refuse_set(x, where, pair=False)
    return _tree(where, x, late)


def as_data(data: Any, where: str = "data", *, late: bool = False) -> Any:
    """A data set or batch, ``(x, y)`` or ``(x, y, sample_weight)``, with each leaf as in `as_array`.

    Args:
      data: the arrays; a list of arrays, such as a data loader's batch, is a tuple of them.
      where: its name in messages.
      late: as in `as_arrays`.
    """
    _refuse_set(data, where, pair=True)
    if isinstance(data, list) and not _is_numbers(data):
        data = tuple(data)
    if type(data) is tuple and len(data) in (2, 3):
        names = ("x", "y", "sample_weight")
        return tuple(_tree(f"{where} {name}", part, late) for name, part in zip(names, data, strict=False))
    return _tree(where, data, late)


def _refuse_set(data: Any, where: str, *, pair: bool) -> None:
    """Refuse the data sets of `fnn.data`, which hold more than what to learn from."""
    fields = getattr(data, "_fields", ())
    if len(fields) > 3 and fields[:2] in (("x", "y"), ("x_train", "y_train")):
        x, y = (f"data.{field}" for field in fields[:2])
        hint = f"Pass the tuple ({x}, {y})." if pair else f"Pass {x}."
        expected = "a pair (x, y) or a triple (x, y, sample_weight)" if pair else "arrays"
        fail(where, expected=expected, got=f"{type(data).__name__} of {len(fields)} fields", hint=hint)


def _tree(where: str, tree: Any, late: bool) -> Any:
    # What a compiled program does to NumPy arrays at its door.
    if jax_setting("jax_disable_jit") and not late:
        return on_device(_tree(where, tree, late=True), where)
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
    return _is_numbers(x) or isinstance(x, Iterator) or (hasattr(x, "todense") and not isinstance(x, jax.Array))


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree that is not converted yet."""
    found: list[Any] = jax.tree.leaves(tree, is_leaf=_is_leaf)
    return found


def _is_numbers(x: Any) -> bool:
    if isinstance(x, list):
        return not any(getattr(item, "shape", ()) != () for item in x)
    if type(x) is tuple and x:
        return all(isinstance(item, (numbers.Number, str)) for item in x)
    return False


def on_device(tree: Any, where: str | None = None) -> Any:
    """Arrays that `as_arrays` or `as_data` gave as JAX arrays; with the name of the tree, their values are checked."""

    def convert(path: Any, a: Any) -> Any:
        if isinstance(a, jax.Array):
            return a
        if where is not None:
            check_fits(f"{where}{jax.tree_util.keystr(path)}", a)
        with jax.debug_nans(False):  # rows of weight 0 may hold NaN
            return jnp.asarray(read(a))

    return jax.tree_util.tree_map_with_path(convert, tree)


def ready(data: Any) -> bool:
    """Whether all leaves are JAX arrays, traced or not, and nothing is left to convert."""
    return all(issubclass(kind, (jax.Array, jax.core.Tracer)) for kind in set(map(type, leaves(data))))


def converting(*names: str) -> Callable[[F], F]:
    """A compiled function of (task, ts, data, ...) that takes whatever `as_data` does as data.

    JAX arrays and traced ones pass as they are, so that it can be compiled, mapped and differentiated as before. What
    a compiled function offers besides, such as ``lower``, stays.

    Args:
      *names: of the arguments from the third on that are data.
    """

    def wrap(jitted: Any) -> Any:
        @functools.wraps(jitted)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = {i: args[i] for i in range(2, min(len(args), 2 + len(names)))}
            changed = {i: as_data(data, names[i - 2]) for i, data in given.items() if not ready(data)}
            if changed:
                args = tuple(changed.get(i, arg) for i, arg in enumerate(args))
            for name in names:
                if name in kwargs and not ready(kwargs[name]):
                    kwargs[name] = as_data(kwargs[name], name)
            return jitted(*args, **kwargs)

        for name in COMPILED:
            if hasattr(jitted, name):
                setattr(call, name, getattr(jitted, name))
        return call

    return wrap


def with_shapes(where: str, x: Any) -> Any:
    """An input of which shapes and dtypes are asked alone, so that a `jax.ShapeDtypeStruct` will do for an array."""

    def convert(path: Any, leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        return as_array(f"{where}{jax.tree_util.keystr(path)}", leaf, fits=False, files=True)

    _refuse_set(x, where, pair=False)
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
