"""A batch: input, targets and sample weights, parsed once at each public door."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import is_float
from .._core.errors import counted, describe, fail, kind_of
from .._core.inputs import convert_tree, is_numbers, leaves, refuse_set
from .._core.sharding import automatic
from .._core.trees import device_dtype
from .._core.typed import array_spec, tree_map
from .._core.types import Array, DType, PyTree, Shape
from ..nn.layer import Layer

T = TypeVar("T")


class Batch(NamedTuple):
    """Some examples, or a whole data set; each array has the examples along its first axis.

    Attributes:
      x: the input, an array or a tree of arrays.
      y: the targets, likewise.
      weight: sample weights, (batch,) or for each step of a sequence; None for 1.
    """

    x: PyTree
    y: PyTree
    weight: PyTree = None

    @classmethod
    def of(cls, data: object, where: str = "data") -> Batch:
        """``(x, y)`` or ``(x, y, sample_weight)`` as a batch; arrays stay as they are."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            hint = "Call it." if callable(data) else "Pass a tuple; a list is read as a list of batches."
            if isinstance(data, Iterator) or inspect.isgeneratorfunction(data):
                hint = "Pass whole arrays; fnn.fit and fnn.evaluate read batches, such as those of an fnn.data.Stream."
            got = counted(len(data), "item") if isinstance(data, (tuple, list)) else describe(data)
            if hasattr(data, "opt_state"):
                got, hint = kind_of(data), f"The order is (task, ts, {where})."
            fail(where, expected="(x, y) or (x, y, sample_weight)", got=got, hint=hint)
        return cls(*data)

    @property
    def parts(self) -> tuple[PyTree, ...]:
        """``(x, y)`` or ``(x, y, sample_weight)``, without entries that are None."""
        return tuple(part for part in self if part is not None)


class InBatches(NamedTuple):
    """Rows in the order in which they are read, batch by batch: a device can then hold its rows of each.

    Attributes:
      full: a tree of arrays (batches, batch_size, ...).
      last: the rows of a last, smaller batch; None without one.
    """

    full: PyTree
    last: PyTree = None

    @classmethod
    def of(cls, data: PyTree, batch_size: int) -> InBatches:
        """Rows as they come, in batches of at most this size."""
        size = min(batch_size, rows_of(data))
        count, rest = divmod(rows_of(data), size)
        full = tree_map(lambda a: a[: count * size].reshape(count, size, *a.shape[1:]), data)
        return cls(full, tree_map(lambda a: a[count * size :], data) if rest else None)


def as_batch(data: object, where: str = "data", *, defer_checks: bool = False) -> Batch:
    """Parse data in any supported form; every function that takes a batch or a data set calls this.

    It takes ``(x, y)`` or ``(x, y, sample_weight)`` of anything `as_array` takes, as a tuple or, as data loaders give
    it, a list. ``where`` is its name in messages, ``defer_checks`` as in `as_arrays`.
    """
    refuse_set(data, where, pair=True)
    if isinstance(data, list) and is_numbers(data):
        data = convert_tree(where, data, defer_checks)
    batch = Batch.of(data, where)
    if not all(issubclass(kind, (jax.Array, jax.core.Tracer)) for kind in set(map(type, leaves(batch)))):
        parts = zip(("x", "y", "sample_weight"), batch, strict=True)
        batch = Batch(*(convert_tree(f"{where}, {name}", part, defer_checks) for name, part in parts))
    batch = tree_map(automatic, batch)
    shape: Shape = getattr(batch.weight, "shape", ())
    if len(shape) == 2 and shape[1] == 1 and getattr(batch.y, "shape", ())[1:2] != (1,):
        hint = "Write sample_weight[:, 0]."
        fail(f"{where}, sample_weight", expected="weights of shape (batch,)", got=describe(batch.weight), hint=hint)
    return batch


def rows_that_count(weight: PyTree) -> Array | None:
    """(batch,) booleans, False for an example whose weights are all 0, for every output and step; None without weights.

    A single number is no weight of examples; it is refused where weights are applied.
    """
    leaves = [leaf for leaf in jax.tree.leaves(weight) if leaf.ndim]
    if not leaves:
        return None
    each = [(leaf != 0).reshape(leaf.shape[0], -1).any(1) for leaf in leaves]
    counts: Array = functools.reduce(operator.or_, each)
    return counts


def size_of(data: PyTree, where: str = "data") -> int:
    """The number of examples, after a check that all arrays have it as their first axis and there is one.

    ``where`` is the name of the data in messages.
    """
    sizes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        if not getattr(leaf, "shape", ()):
            hint = (
                "For one example write (x[None], [y])." if isinstance(data, Batch) else "For one example write x[None]."
            )
            fail(where, expected="arrays with the examples along their first axis", got=describe(leaf), hint=hint)
        name = jax.tree_util.keystr(path)
        name = name.removeprefix(".") if isinstance(data, Batch) else f"{where}{name}"
        sizes[f"sample_{name}" if name.startswith("weight") else name] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        hint = "Row i of every array belongs to example i."
        fail(where, expected="arrays of the same length", got=got, hint=hint)
    if not sizes or 0 in sizes.values():
        fail(where, expected="at least one example", got="none")
    return rows_of(data)


def rows_of(data: PyTree) -> int:
    """The number of examples of arrays that `size_of` has checked."""
    rows: int = jax.tree.leaves(data)[0].shape[0]
    return rows


def take(data: T, rows: Array) -> T:
    """Rows of every array, by numbers known to be in range: none is negative, to be counted from the end."""
    return tree_map(lambda a: a.at[rows].get(mode="promise_in_bounds", wrap_negative_indices=False), data)


def batch_at(whole: T, number: Array | int) -> T:
    """A batch of `InBatches.full`, by its number."""
    return tree_map(lambda a: jax.lax.dynamic_index_in_dim(a, number, keepdims=False), whole)


def along_rows(rows: Array, a: Array) -> Array:
    """A value for each row, (batch,), in a shape that broadcasts against ``a``."""
    return rows.reshape(-1, *(1,) * (a.ndim - 1))


def neutralize_zero_weights(model: Layer, batch: Batch) -> Batch:
    """The batch with examples of weight 0 made harmless, whatever their values.

    Such an example is replaced by the first one that counts. Multiplying by its zero gradient would give NaN where the
    model makes it infinite. Where an output depends on other rows, as in BatchNorm, the model sees every finite
    example. If none counts, they become zeros, which are valid ids and finite in every product; masks stay.
    """
    counts = rows_that_count(tree_map(jnp.asarray, batch.weight))
    if counts is None:
        return batch
    replaced = ~counts
    if not model.per_example:
        floats = [leaf for leaf in jax.tree.leaves(batch[:2]) if is_float(leaf)]
        finite = [jnp.isfinite(leaf).all(tuple(range(1, leaf.ndim))) for leaf in floats]
        replaced &= ~jnp.stack(finite).all(0) if finite else jnp.zeros_like(replaced)
    first, found = jnp.argmax(counts), counts.any()

    def cleaned(a: Array) -> Array:
        a = jnp.asarray(a)
        one = jax.lax.stop_gradient(a.at[first].get(mode="promise_in_bounds"))
        if jnp.issubdtype(a.dtype, jnp.number):
            one = jnp.where(found, one, jnp.zeros_like(one))
        return jnp.where(along_rows(replaced, a), one, a)

    return Batch(tree_map(cleaned, batch.x), tree_map(cleaned, batch.y), batch.weight)


class Signature(NamedTuple):
    """Structure, shapes and dtypes of a tree; hashable, so that checks of shapes run once for each."""

    treedef: jax.tree_util.PyTreeDef
    leaves: tuple[tuple[Shape, DType], ...]
    widest: DType  # of JAX's float dtypes; checks cached in one x64 mode do not apply in the other

    @classmethod
    def of(cls, tree: PyTree) -> Signature:
        """The signature of a tree of arrays."""
        leaves, treedef = jax.tree.flatten(tree)
        widest = jax.dtypes.canonicalize_dtype(np.float64)
        return cls(treedef, tuple([(leaf.shape, device_dtype(leaf)) for leaf in leaves]), widest)

    def tree(self) -> PyTree:
        """The tree with a `jax.ShapeDtypeStruct` for each array."""
        return self.treedef.unflatten([array_spec(*leaf) for leaf in self.leaves])
