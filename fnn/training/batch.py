"""A batch: input, targets and sample weights, parsed once at each public door."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._core.dtypes import is_float
from .._core.errors import describe, fail
from .._core.inputs import convert_tree, is_numbers, leaves, refuse_set
from .._core.trees import COMPILED
from .._core.types import Array, F, PyTree
from ..nn.layer import Layer


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
    def of(cls, data: Any) -> Batch:
        """``(x, y)`` or ``(x, y, sample_weight)`` as a batch; arrays stay as they are."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            hint = "Pass the tuple (x, y) or (x, y, sample_weight); a list is read as a list of batches."
            got = f"{len(data)} items" if isinstance(data, (tuple, list)) else describe(data)
            fail("data", expected="a pair or a triple", got=got, hint=hint)
        return cls(*data)

    def checked(self) -> Batch:
        """The same batch, once its weights are known not to be a column."""
        shape: tuple[int, ...] = getattr(self.weight, "shape", ())
        if len(shape) == 2 and shape[1] == 1 and getattr(self.y, "shape", ())[1:2] != (1,):
            hint = "Write sample_weight[:, 0]."
            fail("sample_weight", expected="weights of shape (batch,)", got=describe(self.weight), hint=hint)
        return self


def as_batch(data: Any, where: str = "data", *, late: bool = False) -> Batch:
    """Parse what a user passes as data: the one door of every function that takes a batch or a data set.

    Args:
      data: ``(x, y)`` or ``(x, y, sample_weight)`` of whatever `as_array` takes; a list of arrays, such as a data
        loader's batch, is a tuple of them.
      where: its name in messages.
      late: as in `as_arrays`.

    Raises:
      InputError: for another structure, or values that are no arrays.
    """
    if isinstance(data, Batch) and _is_ready(data):
        return data.checked()
    refuse_set(data, where, pair=True)
    if isinstance(data, list) and is_numbers(data):
        data = convert_tree(where, data, late)
    batch, names = Batch.of(data), ("x", "y", "sample_weight")
    if _is_ready(batch):
        return batch.checked()
    return Batch(
        *(convert_tree(f"{where} {name}", part, late) for name, part in zip(names, batch, strict=True))
    ).checked()


def _is_ready(data: Any) -> bool:
    """Whether all leaves are JAX arrays, traced or not, and nothing is left to convert."""
    return all(issubclass(kind, (jax.Array, jax.core.Tracer)) for kind in set(map(type, leaves(data))))


def parsing(*names: str) -> Callable[[F], F]:
    """A compiled function of (task, ts, data, ...) that takes data as users have it, see `as_batch`.

    Args:
      *names: of the arguments from the third on that are data.
    """

    def wrap(jitted: Any) -> PyTree:
        def parsed(parse: Callable[[Any, str], Any], args: Any, kwargs: Any) -> PyTree:
            given = dict(zip(names, args[2:], strict=False))
            args = (*args[:2], *(parse(data, name) for name, data in given.items()), *args[2 + len(given) :])
            return args, {name: parse(arg, name) if name in names else arg for name, arg in kwargs.items()}

        @functools.wraps(jitted)
        def call(*args: Any, **kwargs: Any) -> PyTree:
            args, kwargs = parsed(as_batch, args, kwargs)
            return jitted(*args, **kwargs)

        # Shapes will do for these.
        for name in COMPILED:
            if hasattr(jitted, name):
                setattr(call, name, _of_shapes(getattr(jitted, name), parsed))
        return call

    return wrap


def _of_shapes(method: Callable[..., Any], parsed: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> PyTree:
        args, kwargs = parsed(lambda data, _: Batch.of(data), args, kwargs)
        return method(*args, **kwargs)

    return call


def size_of(data: Any) -> int:
    """The number of examples; all arrays must have it as their first axis.

    Raises:
      InputError: when lengths differ or there is no example.
    """
    leaves = jax.tree_util.tree_leaves_with_path(data)
    sizes = {}
    for path, leaf in leaves:
        if not getattr(leaf, "shape", ()):
            hint = "A list is read as a list of batches; pass the tuple (x, y)."
            fail("data", expected="arrays with the examples along their first axis", got=describe(leaf), hint=hint)
        sizes[jax.tree_util.keystr(path)] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        names = ((path.lstrip("."), size) for path, size in sizes.items())
        got = ", ".join(f"{'sample_' * name.startswith('weight')}{name}: {size}" for name, size in names)
        fail("data", expected="arrays of the same length", got=got)
    if not sizes or 0 in sizes.values():
        fail("data", expected="at least one example", got="none")
    return next(iter(sizes.values()))


def take(data: Any, rows: Array) -> PyTree:
    """Rows of every array, by numbers known to be in range."""
    return jax.tree.map(lambda a: a.at[rows].get(mode="promise_in_bounds"), data)


def along_rows(rows: Array, a: PyTree) -> Array:
    """A value for each row, (batch,), in a shape that broadcasts against ``a``."""
    return rows.reshape(-1, *(1,) * (a.ndim - 1))


def counted(model: Layer, batch: Batch) -> Batch:
    """The batch with examples of weight 0 made harmless, whatever their values.

    Such an example is replaced by the first one that counts. A product with its zero gradient would be NaN where the
    model makes an infinity of it. Where other rows matter to a row, as in BatchNorm, the model sees every example that
    is finite. If none counts, zeros stand in, which every id and every product allows; masks stay.
    """
    x, y, weight = batch
    if weight is None or weight.ndim == 0:  # a single number is refused where weights are applied
        return batch
    # Of weights by step an example counts if any of its steps does.
    counts = (jnp.asarray(weight) != 0).reshape(weight.shape[0], -1).any(1)
    replaced = ~counts
    if not model.per_example:
        floats = [leaf for leaf in jax.tree.leaves((x, y)) if is_float(leaf)]
        finite = [jnp.isfinite(leaf).all(tuple(range(1, leaf.ndim))) for leaf in floats]
        replaced &= ~jnp.stack(finite).all(0) if finite else jnp.zeros_like(replaced)
    first, found = jnp.argmax(counts), counts.any()

    def cleaned(a: PyTree) -> Array:
        a = jnp.asarray(a)
        one = jax.lax.stop_gradient(a.at[first].get(mode="promise_in_bounds"))
        if jnp.issubdtype(a.dtype, jnp.number):
            one = jnp.where(found, one, jnp.zeros_like(one))
        return jnp.where(along_rows(replaced, a), one, a)

    x, y = jax.tree.map(cleaned, (x, y))
    return Batch(x, y, weight)
