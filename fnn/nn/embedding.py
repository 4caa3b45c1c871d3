"""Integers as vectors: learned embeddings and one-hot rows, and the row lookups that other layers share."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Mapping
from typing import NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._core.arrays import as_array
from .._core.checks import check_count, is_concrete, leaf
from .._core.context import setting
from .._core.described import described
from .._core.dtypes import at_least_float32, float_of_integers, is_float, lift
from .._core.errors import describe, fail
from .._core.sharding import is_divided
from .._core.types import Array, ArraySpec, DType, Key, PyTree
from .initializers import Initializer, get_initializer
from .layer import Layer, param_dtype, parametric, stateless
from .masks import Masked, sequence_of
from .regularized import EmbeddingOptions, regularized

# Off the CPU, the gradient of `take_rows` is a product with one-hot rows up to this many rows, and a scatter-add above
# it; the cost of the product grows with the number of rows.
ONE_HOT_ROWS = 256


def _check_ids(where: str, ids: ArraySpec | np.ndarray) -> None:
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        hint = "Convert them with x.astype('int32') if they hold whole numbers."
        fail(where, expected="integer ids", got=describe(ids), hint=hint)


IdsObserver = Callable[[str, Array, int], None]
_ids_observer: contextvars.ContextVar[IdsObserver | None] = contextvars.ContextVar("ids_observer", default=None)


def observe_ids(observer: IdsObserver) -> contextlib.AbstractContextManager[None]:
    """Inside the block, call ``observer(where, ids, count)`` for all ids that are read as row numbers below ``count``.

    The drivers, which have the values, use it to refuse ids out of range before training starts.
    """
    return setting(_ids_observer, observer)


def note_ids(where: str, ids: Array, count: int) -> None:
    """Pass ids to the observer, if there is one."""
    if (observer := _ids_observer.get()) is not None:
        observer(where, ids, count)


def _wide(ids: Array) -> Array:
    # A narrow dtype cannot hold the row numbers to compare with.
    return ids if ids.dtype.itemsize >= 4 else ids.astype(jnp.int32)


def _one_hot(ids: Array, rows: int, dtype: DType) -> Array:
    ids = _wide(ids)
    numbers = jnp.arange(rows, dtype=jax.dtypes.canonicalize_dtype(ids.dtype))
    return (ids[..., None] == lift(numbers, ids[..., None])).astype(dtype)


class Rows(NamedTuple):
    """Rows of a table that are not read yet; all ``ids`` are in range, and the last row is NaN."""

    table: Array
    ids: Array

    @classmethod
    def of(cls, table: Array, ids: Array) -> Rows:
        """Rows by integer ids of any shape; an id outside [0, rows) gets the row of NaN."""
        ids, count = _wide(ids), table.shape[0]
        # An extra row of NaN is cheaper than a check of every row read.
        with jax.debug_nans(False):  # this NaN is deliberate
            table = jnp.concatenate([table, jnp.full_like(table[:1], jnp.nan)])
        return cls(table, jnp.where((ids < 0) | (ids >= count), jnp.full_like(ids, count), ids))

    def read(self) -> Array:
        """The rows, (*ids, width)."""
        return self.table.at[self.ids].get(mode="promise_in_bounds")

    def tangent(self, dtable: Array) -> Array:
        """The same rows of another table, in the form whose transpose, the gradient of the table, is fast.

        On a CPU that is a gather, whose transpose adds each row once (``benchmarks/forms.py rows``). In half precision
        it would add in half precision.
        """
        if is_divided() or dtable.dtype != at_least_float32(dtable.dtype):
            return self._product(dtable)
        rows: Array = lax.platform_dependent(
            dtable, cpu=lambda table: self._replace(table=table).read(), default=self._product
        )
        return rows

    def _product(self, dtable: Array) -> Array:
        """The same rows of another table, as a product with one-hot rows."""
        if is_divided():  # merging the axes would gather all ids, as in `all_steps`
            return _one_hot(self.ids, self.table.shape[0], self.table.dtype) @ dtable
        rows = _one_hot(self.ids.reshape(-1), self.table.shape[0], self.table.dtype) @ dtable
        return rows.reshape(*self.ids.shape, -1)

    def read_by_product(self) -> Array:
        """`read` for a TPU, where a product is faster than a gather; an infinity in a column makes it NaN in all rows.

        At the highest precision, the product with a one-hot row is the row itself.
        """
        last = self.table.shape[0] - 1
        one_hot = _one_hot(self.ids, last, self.table.dtype)
        rows = jnp.matmul(one_hot, self.table[:-1], precision=lax.Precision.HIGHEST)
        return jnp.where((self.ids == last)[..., None], jnp.full_like(rows, jnp.nan), rows)


@jax.custom_jvp
def _take_few(table: Array, ids: Array) -> Array:
    return Rows(table, ids).read()


@_take_few.defjvp
def _take_few_jvp(primals: tuple[Array, Array], tangents: tuple[Array, PyTree]) -> tuple[Array, Array]:
    return _take_few(*primals), Rows(*primals).tangent(tangents[0])


def take_rows(table: Array, ids: Array) -> Array:
    """Rows of ``table`` (rows, width) by integer ``ids`` of any shape; an id outside [0, rows) gives NaN."""
    if table.shape[0] <= ONE_HOT_ROWS:
        return _take_few(*Rows.of(table, ids))
    ids = _wide(ids)
    # Indexing would count negative ids from the end; here they are out of range.
    ids = jnp.where(ids < 0, jnp.full_like(ids, table.shape[0]), ids)
    wide = at_least_float32(table.dtype)
    return _take_many(table, ids) if table.dtype == wide else _take_half(table, ids)


def _take_many(table: Array, ids: Array) -> Array:
    return table.at[ids].get(mode="fill", fill_value=jnp.nan)


@jax.custom_jvp
def _take_half(table: Array, ids: Array) -> Array:
    """Rows of a table in half precision, whose gradient adds up rows in float32."""
    return _take_many(table, ids)


@_take_half.defjvp
def _take_half_jvp(primals: tuple[Array, Array], tangents: tuple[Array, PyTree]) -> tuple[Array, Array]:
    table, ids = primals
    # In bfloat16, a sum of more than a few hundred equal rows stops growing.
    return _take_half(table, ids), _take_many(tangents[0].astype(jnp.float32), ids).astype(table.dtype)


def ids_as(inner: PyTree, outer: PyTree) -> contextlib.AbstractContextManager[None]:
    """Inside the block, a layer that reads a leaf of ``inner`` counts as one that reads that leaf of ``outer``.

    A layer inside another trace or after a reshape sees other arrays than those whose values the drivers know.
    """
    if (observer := _ids_observer.get()) is None:
        return contextlib.nullcontext()
    leaves = zip(jax.tree.leaves(inner), jax.tree.leaves(outer), strict=True)
    origins = {id(leaf): origin for leaf, origin in leaves}
    return observe_ids(lambda where, ids, count: observer(where, origins.get(id(ids), ids), count))


def embedding_init(
    key: Key,
    input_dim: int,
    output_dim: int,
    *,
    embeddings_initializer: str | Initializer = "uniform",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of an embedding: ``embeddings`` (input_dim, output_dim)."""
    check_count("embedding_init", "input_dim", input_dim)
    check_count("embedding_init", "output_dim", output_dim)
    return {"embeddings": get_initializer(embeddings_initializer)(key, (input_dim, output_dim), dtype)}


def embedding(params: Mapping[str, Array], ids: Array) -> Array:
    """``y = embeddings[ids]``, a learned vector for every id (Bengio et al. 2003).

    An id outside [0, input_dim), including a negative one, gives a row of NaN: values cannot be checked before
    compilation, and another symbol's vector would be a silent error.

    Args:
      params: ``embeddings`` (input_dim, output_dim).
      ids: (...) integers; another dtype is refused.

    Returns:
      (..., output_dim).

    >>> import jax.numpy as jnp
    >>> print(embedding({"embeddings": jnp.array([[0.0, 1.0], [2.0, 3.0]])}, jnp.array([1, 0, 1])))
    [[2. 3.]
     [0. 1.]
     [2. 3.]]
    """
    table, ids = leaf("embedding", params, "embeddings"), jnp.asarray(as_array("embedding, ids", ids))
    _check_ids("embedding", ids)
    note_ids("embedding", ids, table.shape[0])
    return take_rows(table, ids)


@described
def Embedding(
    input_dim: int,
    output_dim: int,
    embeddings_initializer: str | Initializer = "uniform",
    mask_zero: bool = False,
    *,
    dtype: DType | None = None,
    name: str = "embedding",
    **weights: Unpack[EmbeddingOptions],
) -> Layer:
    """A learned vector for every integer id.

    Args:
      input_dim: number of ids, from 0 to ``input_dim - 1``.
      output_dim: length of the vectors.
      embeddings_initializer: a name or a function ``(key, shape, dtype) -> array``; default uniform on [-0.05, 0.05).
      mask_zero: whether id 0 is padding. Then the output is ``Masked(vectors, ids != 0)``, and recurrent layers skip
        the padded steps. The mask of a `Masked` input is combined with this one.
      dtype: of the vectors; default float32.
      **weights: embeddings_regularizer, embeddings_constraint; as in `Dense`.

    Shapes: (batch, ...) integers to (batch, ..., output_dim). Errors as in `embedding`, for unknown
    names, and for sizes below 1.

    >>> import jax, jax.numpy as jnp
    >>> layer = Embedding(1000, 8, mask_zero=True)
    >>> params, _ = layer.init(jax.random.key(0), jnp.array([[5, 7, 0]]))
    >>> y, _ = layer.apply(params, {}, jnp.array([[5, 7, 0]]))
    >>> print(y, y.mask)
    Masked(float32[1, 3, 8], bool[1, 3]) [[ True  True False]]
    """
    check_count("Embedding", "input_dim", input_dim)
    check_count("Embedding", "output_dim", output_dim)
    initializer = get_initializer(embeddings_initializer)

    def init(key: Key, x: ArraySpec) -> dict[str, Array]:
        _check_ids("Embedding", x)
        vector_dtype = param_dtype(x, dtype)
        return embedding_init(key, input_dim, output_dim, embeddings_initializer=initializer, dtype=vector_dtype)

    def apply(params: Mapping[str, Array], x: PyTree) -> Array | Masked:
        ids, mask = sequence_of("Embedding", x)
        vectors = embedding(params, ids)
        if mask_zero:
            real = jnp.asarray(ids) != 0
            mask = real if mask is None else real & mask
        return vectors if mask is None else Masked(vectors, mask)

    return regularized(parametric(init, apply, name, "Embedding", mask="read"), weights)


def one_hot(ids: PyTree, num_classes: int | None = None, dtype: DType = jnp.float32) -> Array:
    """One-hot rows, ``y[..., k] = 1 if ids[...] == k else 0``.

    Args:
      ids: (...) integers in [0, num_classes).
      num_classes: length of the rows; default one more than the largest id. Give it where ids are a part of the data,
        which may lack the last class; it is required inside ``jit``.
      dtype: of the result; default float32.

    Returns:
      (..., num_classes). Inside ``jit``, where values are unknown, an id out of range gives a row of NaN, as in
      `embedding`, or a row of zeros if the dtype has no NaN. A known id out of range raises `InputError`,
      as do other dtypes of ids and ``num_classes`` below 1.

    >>> import jax.numpy as jnp
    >>> print(one_hot(jnp.array([2, 0]), 3))
    [[0. 0. 1.]
     [1. 0. 0.]]
    """
    ids = as_array("one_hot, ids", ids, fits=False)  # JAX would truncate long integers, some into the range
    _check_ids("one_hot", ids)
    known = is_concrete(ids) and ids.size
    if num_classes is None:
        if not known:
            got = "no ids" if is_concrete(ids) else "ids inside jit, whose values are not known"
            fail("one_hot", expected="num_classes", got=got, hint="Write one_hot(ids, num_classes).")
        num_classes = max(int(ids.max()) + 1, 1)
    check_count("one_hot", "num_classes", num_classes)
    if known and not (int(ids.min()) >= 0 and int(ids.max()) < num_classes):
        hint = "Number the classes from 0: names, y = np.unique(labels, return_inverse=True)."
        fail("one_hot", expected=f"ids in [0, {num_classes})", got=f"ids from {ids.min()} to {ids.max()}", hint=hint)
    ids = jnp.asarray(ids)
    note_ids("one_hot", ids, num_classes)
    rows = _one_hot(ids, num_classes, dtype)
    if known or not is_float(rows):
        return rows
    ids = _wide(ids)
    inside = (ids >= 0) & (ids < num_classes)
    return jnp.where(inside[..., None], rows, np.asarray(np.nan, rows.dtype))


@described
def OneHot(num_classes: int, *, dtype: DType | None = None, name: str = "one_hot") -> Layer:
    """Integers as one-hot rows, (batch, ...) to (batch, ..., num_classes).

    Arguments and errors as in `one_hot`, except that ``dtype`` is a task's ``compute_dtype`` by default, if it has
    one; ``name`` is the base name in `Sequential`.
    """
    check_count("OneHot", "num_classes", num_classes)

    def rows(ids: PyTree) -> Array:
        return one_hot(ids, num_classes, float_of_integers() if dtype is None else dtype)

    return stateless(rows, name, "OneHot", mask="keep")
