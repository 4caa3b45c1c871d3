"""A batch: input, targets and sample weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._core.dtypes import is_float
from .._core.errors import describe, fail
from .._core.types import Array
from ..nn.layer import Layer

Batch = tuple[Any, ...]  # (x, y) or (x, y, sample_weight)


def unpack(batch: Any) -> tuple[Any, Any, Any]:
    """``(x, y, sample_weight or None)`` of a batch or a data set."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        hint = "Pass the tuple (x, y) or (x, y, sample_weight); a list is read as a list of batches."
        got = f"{len(batch)} items" if isinstance(batch, (tuple, list)) else describe(batch)
        fail("data", expected="a pair or a triple", got=got, hint=hint)
    x, y, *weight = batch
    if (
        weight
        and getattr(weight[0], "ndim", 0) == 2
        and weight[0].shape[1] == 1
        and getattr(y, "shape", ())[1:2] != (1,)
    ):
        hint = "Write sample_weight[:, 0]."
        fail("sample_weight", expected="weights of shape (batch,)", got=describe(weight[0]), hint=hint)
    return x, y, weight[0] if weight else None


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
        names = {"[0]": "x", "[1]": "y", "[2]": "sample_weight"}
        named = {names[path[:3]] + path[3:] if path[:3] in names else path.lstrip("."): n for path, n in sizes.items()}
        got = ", ".join(f"{name}: {size}" for name, size in named.items())
        fail("data", expected="arrays of the same length", got=got)
    if not sizes or 0 in sizes.values():
        fail("data", expected="at least one example", got="none")
    return next(iter(sizes.values()))


def take(data: Any, rows: Array) -> Any:
    """Rows of every array, by numbers known to be in range."""
    return jax.tree.map(lambda a: a.at[rows].get(mode="promise_in_bounds"), data)


def along_rows(rows: Array, a: Any) -> Array:
    """A value for each row, (batch,), in a shape that broadcasts against ``a``."""
    return rows.reshape(-1, *(1,) * (a.ndim - 1))


def counted(model: Layer, batch: Batch) -> tuple[Any, Any, Any]:
    """``(x, y, sample_weight or None)``, in which an example of weight 0 does no harm, whatever its values.

    Such an example is replaced by the first one that counts. A product with its zero gradient would be NaN where the
    model makes an infinity of it. Where other rows matter to a row, as in BatchNorm, the model sees every example that
    is finite. If none counts, zeros stand in, which every id and every product allows; masks stay.
    """
    x, y, weight = unpack(batch)
    if weight is None or weight.ndim == 0:  # a single number is refused where weights are applied
        return x, y, weight
    # Of weights by step an example counts if any of its steps does.
    counts = (jnp.asarray(weight) != 0).reshape(weight.shape[0], -1).any(1)
    replaced = ~counts
    if not model.per_example:
        floats = [leaf for leaf in jax.tree.leaves((x, y)) if is_float(leaf)]
        finite = [jnp.isfinite(leaf).all(tuple(range(1, leaf.ndim))) for leaf in floats]
        replaced &= ~jnp.stack(finite).all(0) if finite else jnp.zeros_like(replaced)
    first, found = jnp.argmax(counts), counts.any()

    def cleaned(a: Any) -> Array:
        a = jnp.asarray(a)
        one = jax.lax.stop_gradient(a.at[first].get(mode="promise_in_bounds"))
        if jnp.issubdtype(a.dtype, jnp.number):
            one = jnp.where(found, one, jnp.zeros_like(one))
        return jnp.where(along_rows(replaced, a), one, a)

    x, y = jax.tree.map(cleaned, (x, y))
    return x, y, weight
