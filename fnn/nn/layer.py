"""The Layer protocol, and layers from plain functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count
from .._core.described import Described
from .._core.dtypes import is_float
from .._core.errors import describe, fail
from .._core.inputs import leaves, with_shapes
from .._core.types import Array, Params, State
from .masks import array_of, sequence_of


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Layer(Described):
    """A network or a part of one: two pure functions and a name.

    Attributes:
      init: ``init(key, x) -> (params, state)``. Reads only shape and dtype of ``x``, which may be an array or a
        `jax.ShapeDtypeStruct`. A layer without parameters or state returns ``{}`` for it.
      apply: ``apply(params, state, x, *, key=None, train=False) -> (y, state)``.
      name: the base of its name in `Sequential`, which numbers repetitions as Keras does.
      kind: the type shown by `summary`.
      per_example: whether the output for an example depends on that example alone and not on the others in its batch,
        as in all layers here but `BatchNorm`. Then the last, smaller batch of an epoch is filled up and shares the
        compiled program of the others. Default False, which is right for any function.

    A layer of your own is any two functions:

    >>> import jax, jax.numpy as jnp, fnn
    >>> def init(key, x):
    ...     return {"scale": jnp.ones(x.shape[-1], x.dtype)}, {}
    >>> def apply(params, state, x, *, key=None, train=False):
    ...     return params["scale"] * x, state
    >>> model = fnn.Sequential(fnn.Layer(init, apply, name="scale"), fnn.Dense(2))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> {path: leaf.shape for path, leaf in fnn.paths(params).items()}
    {'dense/bias': (2,), 'dense/kernel': (3, 2), 'scale/scale': (3,)}
    """

    init: Callable[..., tuple[Params, State]]
    apply: Callable[..., tuple[Any, State]]
    name: str = "layer"
    kind: str = "Layer"
    per_example: bool = False


def example_of(where: str, x: Any) -> Any:
    """Shapes and dtypes of an example batch, which may be given as a shape without the batch, ``(28, 28, 1)``.

    Raises:
      InputError: for leaves that are no arrays.
    """
    if isinstance(x, (tuple, list)) and x and all(n is None or isinstance(n, (int, np.integer)) for n in x):
        lengths = x[1:] if x[0] is None else x
        for n in lengths:
            check_count(where, "each length in the input shape", n)
        return jax.ShapeDtypeStruct((1, *map(int, lengths)), jnp.float32)
    given = leaves(x)
    # No batch: a function, nothing, or single numbers and keys, such as in a TrainState.
    if callable(x) or not given or any(map(_is_single, given)):
        hint = "Pass a batch such as x[:1], a jax.ShapeDtypeStruct, or a shape without the batch."
        expected = "an array, or a dict or tuple of arrays, as example input"
        fail(where, expected=expected, got=describe(x), hint=hint)
    return shape_of(with_shapes(f"{where}, x", x))


def _is_single(leaf: Any) -> bool:
    return isinstance(leaf, (int, float, complex, np.generic)) or getattr(leaf, "shape", None) == ()


def shape_of(x: Any) -> Any:
    """The shapes and dtypes of a pytree of arrays."""

    def struct(a: Any) -> Any:
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.extended):  # PRNG keys
            return jax.ShapeDtypeStruct(a.shape, a.dtype)
        return jax.ShapeDtypeStruct(a.shape, jax.dtypes.canonicalize_dtype(a.dtype.newbyteorder("=")))

    return jax.tree.map(struct, x)


def stateless(
    fn: Callable[[Any], Any], name: str, kind: str, per_example: bool = True, *, masked: bool = False
) -> Layer:
    """A layer without parameters and state from a function of ``x`` alone: one array, unless it is ``masked`` too."""

    def init(key: Array, x: Any) -> tuple[Params, State]:
        return {}, {}

    def apply(params: Params, state: State, x: Any, *, key: Array | None = None, train: bool = False) -> Any:
        return fn(x if masked else array_of(kind, x)), state

    return Layer(init, apply, name, kind, per_example)


def parametric(
    init_fn: Callable[[Array, Any], Params],
    fn: Callable[[Params, Any], Any],
    name: str,
    kind: str,
    per_example: bool = True,
    *,
    masked: bool = False,
) -> Layer:
    """A layer with parameters and no state from ``init_fn(key, x) -> params`` and ``fn(params, x) -> y``.

    With ``masked`` it takes a `Masked` too, of which ``init_fn`` sees the array; else one array alone.
    """

    def init(key: Array, x: Any) -> tuple[Params, State]:
        return init_fn(key, shape_of(sequence_of(kind, x)[0] if masked else array_of(kind, x))), {}

    def apply(params: Params, state: State, x: Any, *, key: Array | None = None, train: bool = False) -> Any:
        return fn(params, x if masked else array_of(kind, x)), state

    return Layer(init, apply, name, kind, per_example)


def param_dtype(x: Any, dtype: Any = None) -> Any:
    """The dtype of new parameters: the one asked for, else that of a floating-point ``x``, else float32."""
    if dtype is not None:
        return jnp.dtype(dtype)
    return x.dtype if is_float(x) else jnp.dtype("float32")
