"""`Layer`, a pair of pure functions, and what layers are built from: shapes, parameters, plain functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_accepts, check_count, check_key, check_name, makes_layers
from .._core.described import Described
from .._core.dtypes import is_float, is_key, sum_of
from .._core.errors import describe, fail
from .._core.flags import check_flags
from .._core.inputs import leaves, with_shapes
from .._core.random import child_keys
from .._core.trees import at, changed_at, shape_of
from .._core.typed import array_spec
from .._core.types import Array, ArraySpec, DType, Key, PyTree, Shape
from .initializers import Initializer, get_initializer
from .masks import Masked, array_of, over_steps, sequence_of

Output = tuple[PyTree, PyTree]
"""The output of a layer and its new state."""
MaskMode = Literal["refuse", "read", "keep"]
"""How a layer treats a `Masked`; see `parametric`."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Layer(Described):
    """A network or a part of one: two pure functions and a name.

    Attributes:
      init: ``init(key, x) -> (params, state)``. Reads only the shape and dtype of ``x``, which may be an array or a
        `jax.ShapeDtypeStruct`. A layer without parameters or without state returns ``{}`` in its place.
      apply: ``apply(params, state, x, *, key=None, train=False) -> (y, state)``.
      name: base name in `Sequential`, which numbers repeated names as Keras does.
      kind: the type shown by `summary`.
      per_example: whether the output for an example depends only on that example, not on the rest of its batch, as in
        every layer of the library except `BatchNorm`. If so, the smaller last batch of an epoch is padded and shares
        the compiled program of the others. Default False, which is safe for any function.
      penalty: a function of the layer's parameters, ``params -> scalar``, that a `Task` adds to the loss; default none.
      constraint: a function ``params -> params`` that a `Task` applies after each update; default none.

    Any two such functions make a custom layer:

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

    init: Callable[..., tuple[PyTree, PyTree]]
    apply: Callable[..., Output]
    name: str = "layer"
    kind: str = "Layer"
    per_example: bool = False
    penalty: Callable[[PyTree], Array] | None = None
    constraint: Callable[[PyTree], PyTree] | None = None

    def __post_init__(self) -> None:
        check_name(f"{self.kind}, name", self.name)
        check_flags(self.kind, per_example=self.per_example)
        if callable(self.init) and callable(self.apply):
            check_accepts(f"{self.kind}, init", "init(key, x)", self.init, 2)
            form = "apply(params, state, x, *, key=None, train=False)"
            check_accepts(f"{self.kind}, apply", form, self.apply, 3, "key", "train")

    def __init_subclass__(cls, **options: object) -> None:
        """Refuse a subclass, which defines a layer in Keras, PyTorch and Flax."""
        raise TypeError(
            f"A layer is two functions, not a class to inherit from. In place of class {cls.__name__}, write "
            "functions init(key, x) and apply(params, state, x, *, key=None, train=False), and fnn.Layer(init, apply). "
            "To combine layers, write fnn.Sequential(...) or fnn.Model(forward, ...)."
        )

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Refuse a call, which means one thing in Keras and another in PyTorch."""
        text = "A layer is applied as y, state = layer.apply(params, state, x)."
        raise TypeError(f"{text} To connect layers, write fnn.Sequential(...) or fnn.Model(forward, ...).")

    def __getitem__(self, index: object) -> NoReturn:
        """Refuse an index, which means a layer inside in PyTorch."""
        hint = "Keep layers in variables of yours; print(model) shows them."
        raise TypeError(f"A layer has no items, got [{index!r}]. {hint}")


def penalties_inside(layers: Mapping[tuple[str | int, ...], Layer]) -> dict[str, Callable[[PyTree], PyTree] | None]:
    """The penalty and the constraint of a layer that holds others, by the paths of their parameters, as fields."""
    penalties = {path: layer.penalty for path, layer in layers.items() if layer.penalty is not None}
    constraints = {path: layer.constraint for path, layer in layers.items() if layer.constraint is not None}

    def penalty(params: PyTree) -> Array:
        return sum_of([jnp.asarray(fn(at(params, path))) for path, fn in penalties.items()])

    def constraint(params: PyTree) -> PyTree:
        for path, fn in constraints.items():
            if jax.tree.leaves(at(params, path)):
                params = changed_at(params, path, fn)
        return params

    return {"penalty": penalty if penalties else None, "constraint": constraint if constraints else None}


def call_hint(made: object) -> str:
    """Advice for a constructor of layers in place of a layer; empty for anything else."""
    return f"Call it: {getattr(made, '__name__', 'Layer')}(...)." if makes_layers(made) else ""


def example_of(where: str, x: PyTree) -> PyTree:
    """Shapes and dtypes of an example batch, or of a shape without the batch axis, such as ``(28, 28, 1)``.

    Raises:
      InputError: for leaves that are not arrays, and for a tree without a batch axis.
    """
    if isinstance(x, (tuple, list)) and x and all(n is None or isinstance(n, (int, np.integer)) for n in x):
        lengths = x[1:] if x[0] is None else x
        for n in lengths:
            check_count(where, "each length in the input shape", n)
        return array_spec((1, *map(int, lengths)), jnp.float32)
    given, single = leaves(x), (int, float, complex, np.generic)
    # These have no batch axis: a function, an empty tree, or scalars and keys, as in a TrainState.
    if callable(x) or not given or any(isinstance(a, single) or getattr(a, "shape", None) == () for a in given):
        hint = "Pass a batch such as x[:1], a jax.ShapeDtypeStruct, or a shape without the batch."
        expected = "an array, or a dict or tuple of arrays, as example input"
        fail(where, expected=expected, got=describe(x), hint=hint)
    return shape_of(with_shapes(f"{where}, x", x))


def stateless(
    fn: Callable[[PyTree], PyTree], name: str, kind: str, *, per_example: bool = True, mask: MaskMode = "refuse"
) -> Layer:
    """Make a layer without parameters or state from ``fn(x) -> y``; ``x`` and options as in `parametric`."""
    layer = parametric(lambda key, x: {}, lambda params, x: fn(x), name, kind, per_example=per_example, mask=mask)
    return layer.replace(init=lambda key, x: ({}, {}))  # any x will do


MISSING: Any = object()
"""The input of an ``init`` or ``apply`` that was called without one."""


def check_init(where: str, key: object, x: object) -> None:
    """Refuse a call of ``init`` in another form than ``init(key, x)``."""
    if x is MISSING or is_key(x):
        got = "no input" if x is MISSING else "the key second"
        hint = "Write params, state = model.init(jax.random.key(0), x)."
        raise TypeError(f"{where}: init expects a key and an example input, got {got}. {hint}")
    check_key(where, key)


def check_apply(where: str, x: object) -> None:
    """Refuse a call of ``apply`` without the state, as in Flax."""
    if x is MISSING:
        hint = "Write y, state = model.apply(params, state, x), with both from model.init or in ts."
        raise TypeError(f"{where}: apply expects parameters, state and input, got fewer. {hint}")


def parametric(
    init_fn: Callable[[Key, jax.ShapeDtypeStruct], PyTree],
    fn: Callable[[PyTree, PyTree], PyTree],
    name: str,
    kind: str,
    *,
    per_example: bool = True,
    mask: MaskMode = "refuse",
) -> Layer:
    """Make a layer without state from ``init_fn(key, x) -> params`` and ``fn(params, x) -> y``.

    ``init_fn`` sees only the shape and dtype of the array. ``mask`` says how the layer treats a `Masked`:

    - ``refuse``: one array only.
    - ``read``: ``fn`` receives a `Masked`.
    - ``keep``: ``fn`` receives the array, and the mask is passed on.
    """

    def init(key: Key, x: PyTree = MISSING) -> tuple[PyTree, PyTree]:
        check_init(kind, key, x)
        return init_fn(key, shape_of(array_of(kind, x) if mask == "refuse" else sequence_of(kind, x)[0])), {}

    def apply(
        params: PyTree, state: PyTree, x: PyTree = MISSING, *, key: Key | None = None, train: bool = False
    ) -> Output:
        check_apply(kind, x)
        if mask == "keep":
            return over_steps(kind, partial(fn, params), x), state
        return fn(params, x if mask == "read" else array_of(kind, x)), state

    return Layer(init, apply, name, kind, per_example)


def randomized(
    fn: Callable[[Key, Array], Array],
    name: str,
    kind: str,
    *,
    otherwise: Callable[[Array], Array] = lambda x: x,
    mask: MaskMode = "refuse",
) -> Layer:
    """Make a layer of ``fn(key, x)`` in training and ``otherwise(x)``, by default the identity, outside it.

    What it draws for a row must not depend on the rows after it. ``mask`` is "refuse" or "keep", as in `parametric`.
    """

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        values = array_of(kind, x) if mask == "refuse" else sequence_of(kind, x)[0]
        if not train:
            y = otherwise(values)
        elif key is None:
            fail(name, expected="a key in training", got="key=None", hint="Call apply(..., key=key, train=True).")
        else:
            check_key(name, key)
            y = fn(key, values)
        return (Masked(y, x.mask) if isinstance(x, Masked) else y), state

    return Layer(lambda key, x: ({}, {}), apply, name, kind, per_example=True)


def param_dtype(x: ArraySpec, dtype: DType | None = None) -> np.dtype:
    """The dtype of new parameters: ``dtype`` if given, else that of a floating-point ``x``, else float32."""
    if dtype is not None:
        return jnp.dtype(dtype)
    return x.dtype if is_float(x) else jnp.dtype("float32")


def get_initializers(**initializers: str | Initializer) -> dict[str, Any]:
    """Look up all initializers, to be passed on as keyword arguments."""
    return {argument: get_initializer(initializer) for argument, initializer in initializers.items()}


def initialize(key: Key, dtype: DType, **parameters: tuple[str | Initializer, Shape] | None) -> dict[str, Array]:
    """Parameters by name, each from its own initializer, shape and key; None leaves one out."""
    # One key per name, absent ones too, so that `use_bias` does not change the kernel.
    keys = dict(zip(parameters, child_keys(key, len(parameters)), strict=True))
    given = {name: parameter for name, parameter in parameters.items() if parameter is not None}
    return {name: get_initializer(make)(keys[name], shape, dtype) for name, (make, shape) in given.items()}
