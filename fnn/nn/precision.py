"""Run a model in a dtype other than its parameters'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from .._core.dtypes import at_least_float32, computing_in, floats_in, is_float
from .._core.trees import shape_of
from .._core.typed import array_spec
from .._core.types import Array, DType, Key, PyTree
from .layer import Layer, Output
from .observe import carry_note, pair_of

Apply = Callable[..., Output]


def in_dtype(dtype: DType, model: Layer) -> Layer:
    """The model computed in ``dtype``, with parameters, state and outputs in float32 at least.

    Its parameters are those that it has for a float32 input, whatever half-precision input they are made from.
    """

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        return model.init(key, jax.tree.map(_widened_shape, shape_of(x)))

    return model.replace(init=init, apply=applied_in(dtype, model.apply))


def applied_in(dtype: DType, apply: Apply) -> Apply:
    """``apply`` in ``dtype``: the one place where mixed precision casts.

    Parameters and floating-point inputs are cast to ``dtype``. The state is passed on as it is, so that running
    statistics are not rounded, and comes back in the dtypes that it had. Outputs come back in float32 at least.
    """

    def applied(params: PyTree, state: PyTree, x: PyTree, **options: Any) -> Output:
        with computing_in(dtype):
            out = apply(floats_in(dtype, params), state, floats_in(dtype, x), **options)
        y, after = pair_of("apply", "y, state", out)
        return jax.tree.map(_widened, y), _as_before(after, state)

    return applied


def _widened(y: Array) -> Array:
    """An output in float32 at least; its note of logits is carried over."""
    if not (hasattr(y, "dtype") and is_float(y)) or y.dtype == (wide := at_least_float32(y.dtype)):
        return y
    new = y.astype(wide)
    carry_note(y, new, lambda x: x.astype(at_least_float32(x.dtype)))
    return new


def _widened_shape(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return array_spec(leaf.shape, at_least_float32(leaf.dtype)) if is_float(leaf) else leaf


def _as_before(after: PyTree, before: PyTree) -> PyTree:
    """The new state, in the dtypes of the old one where they have the same structure."""
    structures: list[object] = [jax.tree.structure(tree) for tree in (before, after)]
    if structures[0] != structures[1]:
        return after

    def cast(new: Array, old: Array) -> Array:
        floats = all(hasattr(a, "dtype") and is_float(a) for a in (new, old))
        return new.astype(old.dtype) if floats and new.dtype != old.dtype else new

    return jax.tree.map(cast, after, before)
