"""Pytrees of arrays: their shapes, the paths of their leaves, and selecting leaves by path."""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .dtypes import is_float, is_key
from .errors import describe, fail
from .typed import array_spec, jit, tree_map
from .types import AnyArray, Array, ArraySpec, DType, KeyPath, PyTree, Shape

T = TypeVar("T")
Where = str | tuple[str, ...] | Callable[[str], bool]
"""A selection of parameters: a glob pattern such as ``"*/kernel"``, several of them, or a function of the path.

A pattern that matches a layer selects everything below it: ``"dense_1"`` means ``"dense_1/*"`` too.
"""


def is_traced(tree: PyTree) -> bool:
    """Whether an array in a tree is traced, and has no value yet."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def is_uncommitted(tree: PyTree) -> bool:
    """Whether all arrays of a tree lie on the default device because nothing put them elsewhere."""
    leaves = [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    return not any(isinstance(leaf, jax.Array) and leaf.committed for leaf in leaves)


def all_finite(tree: PyTree) -> Array:
    """Whether all floating-point numbers of a tree are finite, a boolean scalar."""
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree) if is_float(leaf)]
    return jnp.stack(finite).all() if finite else jnp.bool_(True)


def path_text(path: KeyPath) -> str:
    """A JAX key path as text: ``dense_1/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def joined_path(path: Iterable[str | int]) -> str:
    """The names and indices from a tree down to a part as text: ``blocks/0``."""
    return "/".join(map(str, path))


def shape_of(x: PyTree) -> PyTree:
    """Shapes and dtypes of a pytree of arrays."""
    return jax.tree.map(lambda a: array_spec(a.shape, device_dtype(a)), x)


def device_dtype(a: AnyArray | ArraySpec) -> DType:
    """The dtype that JAX gives an array."""
    if isinstance(a, jax.Array) or is_key(a):
        return a.dtype
    native: DType = jax.dtypes.canonicalize_dtype(a.dtype.newbyteorder("="))
    return native


def copied(tree: PyTree) -> PyTree:
    """The same values in new buffers on the same devices; without a program where nothing chose a device."""
    arrays = all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree))
    free = arrays and not is_traced(tree) and is_uncommitted(tree)
    return jax.device_put(tree, may_alias=False) if free else _copied(tree)


@jit
def _copied(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)  # one program instead of one per array


@jit
def rows_at(tree: PyTree, index: AnyArray | int) -> PyTree:
    """The rows of all arrays at an index, or at each of several, by one program instead of some for each shape."""
    return jax.tree.map(lambda a: a[index], tree)


_ALIGNMENT = 64  # bytes; JAX on a CPU uses arrays at such addresses as they are, and copies others


def own_copy(tree: T) -> T:
    """The tree with a copy of each NumPy array.

    JAX reads an array that it was given after the call has returned, when a loader may have refilled its buffer. These
    copies lie where JAX does not copy them once more.
    """
    return tree_map(lambda a: _own_copy(a) if isinstance(a, np.ndarray) else a, tree)


def _own_copy(a: np.ndarray) -> np.ndarray:
    space = np.empty(a.nbytes + _ALIGNMENT, np.uint8)
    copy = np.ndarray(a.shape, a.dtype, space, offset=-space.ctypes.data % _ALIGNMENT)
    copy[...] = a
    return copy


def to_jax(a: AnyArray) -> Array:
    """An array as a JAX array that shares no memory with it.

    Unlike `jnp.array`, it compiles no program for each shape of a NumPy array.
    """
    array: Array = jax.device_put(_own_copy(a)) if isinstance(a, np.ndarray) else jnp.asarray(a)
    return array


def filled(like: Array, value: float, shape: Shape, dtype: DType) -> Array:
    """An array of one value. ``like`` tells whether this is a trace.

    Outside one the array comes from the host, since JAX would compile a program for each shape.
    """
    if is_traced(like):
        return jnp.full(shape, value, dtype)
    array: Array = jax.device_put(np.full(shape, value, jax.dtypes.canonicalize_dtype(dtype)))
    return array


def scalar(value: jax.typing.ArrayLike, dtype: DType) -> Array:
    """A number as an array, which unlike that of `jnp.asarray` comes without a program; arrays are converted."""
    return jnp.asarray(value, dtype) if isinstance(value, jax.Array) else to_jax(np.asarray(value, dtype))


def zeros_like(a: Array) -> Array:
    """Zeros of the shape and dtype of an array."""
    return filled(a, 0, a.shape, a.dtype)


def zeros(shapes: T) -> T:
    """Zeros of the given shapes and dtypes, keys included, in the current trace."""
    return tree_map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)


def paths(tree: PyTree) -> dict[str, Any]:
    """All leaves of a pytree by path.

    >>> paths({"dense": {"kernel": 1, "bias": 2}})
    {'dense/bias': 2, 'dense/kernel': 1}
    """
    return {path_text(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def from_paths(where: str, like: PyTree, leaves: Mapping[str, PyTree]) -> PyTree:
    """The tree of ``leaves`` by path, which must have the structure, shapes and dtypes of ``like``."""
    wanted = paths(like)
    for name in sorted(wanted.keys() ^ leaves.keys()):
        fail(where, expected="the same leaves", got=f"{name!r} on one side only")
    for name, leaf in wanted.items():
        if describe(leaf) != describe(leaves[name]):
            fail(f"{where}, {name}", expected=describe(leaf), got=describe(leaves[name]))
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in wanted])


def matches(where: Where, path: str) -> bool:
    """Whether a path is selected. ``*`` in a pattern also crosses ``/``."""
    if callable(where):
        return bool(where(path))
    patterns = (where,) if isinstance(where, str) else tuple(where)
    return any(fnmatch.fnmatchcase(path, end) for pattern in patterns for end in (pattern, f"{pattern}/*"))


def other_entries(want: Iterable[str], have: Iterable[str]) -> str:
    """How the entries of a tree differ from those wanted, for a message; empty if they are the same."""
    missing, extra = sorted(set(want) - set(have)), sorted(set(have) - set(want))
    parts = [f"lacks {missing[:4]}"] * bool(missing) + [f"has unexpected entries {extra[:4]}"] * bool(extra)
    return f"one that {' and '.join(parts)}" if parts else ""


def check_matches(place: str, where: Where, available: Iterable[str]) -> None:
    """Refuse a selection that matches no path, most often a typo."""
    available = list(available)
    if not any(matches(where, path) for path in available):
        fail(place, expected="a pattern that matches some parameter", got=repr(where), hint=f"Paths: {available}.")


def map_with_path(fn: Callable[..., PyTree], tree: PyTree, *rest: PyTree) -> PyTree:
    """``jax.tree.map`` that also passes ``fn`` the path as text, as first argument."""
    return jax.tree_util.tree_map_with_path(lambda path, *leaves: fn(path_text(path), *leaves), tree, *rest)


def at(tree: PyTree, path: Sequence[str | int]) -> PyTree:
    """The part of nested dicts and lists at a path; empty where dicts leave it out."""

    def entry_of(part: PyTree, entry: str | int) -> PyTree:
        return part.get(entry, {}) if isinstance(part, Mapping) else part[entry]

    return functools.reduce(entry_of, path, tree)


def changed_at(tree: PyTree, path: Sequence[str | int], fn: Callable[[PyTree], PyTree]) -> PyTree:
    """Nested dicts and lists with a function applied to the part at a path."""
    if not path:
        return fn(tree)
    new: Any = dict(tree) if isinstance(tree, Mapping) else list(tree)
    new[path[0]] = changed_at(tree[path[0]], path[1:], fn)
    return new


def bytes_of(tree: PyTree) -> int:
    """The bytes of all arrays in a tree."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def resized(tree: PyTree, rows: int) -> PyTree:
    """The shapes of a tree with another number of rows."""
    return jax.tree.map(lambda a: array_spec((rows, *a.shape[1:]), a.dtype), tree)
