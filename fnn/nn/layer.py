"""The Layer protocol and the layers that are made of layers: `Sequential` and `Residual`."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import InputError, check_count, describe, fail, located
from .._inputs import leaves, with_shapes
from .._random import children
from .masks import Masked, array_of, sequence_of

Array = jax.Array
Params = Any
State = Any


class Layer(NamedTuple):
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

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}>"


class Trace(NamedTuple):
    """What an observer sees of one layer call."""

    path: tuple[str, ...]
    layer: Layer
    params: Params
    state: State
    x: Any
    y: Any


_observer: contextvars.ContextVar[Callable[[Trace], Any] | None] = contextvars.ContextVar("observer", default=None)
_path: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("path", default=())


@contextlib.contextmanager
def observe(observer: Callable[[Trace], Any]) -> Iterator[None]:
    """Call ``observer`` with every layer that sits in another one and is applied inside the ``with`` block.

    Layers come when they are done, so those inside another come before it. What the observer returns stands in the
    place of the layer's output, unless it is None. This is how `fnn.summary` sees inside a model without a second set
    of shape rules, and how the gradient at each layer's output is found. The values seen belong to the trace in which
    the layer is applied, which may be an inner one where a layer of your own holds others in a loop.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Let observers see the layers within as inside the layer of this name."""
    token = _path.set((*_path.get(), name))
    try:
        yield
    finally:
        _path.reset(token)


def call(name: str, where: str, layer: Layer, params: Params, state: State, x: Any, **kwargs: Any) -> tuple[Any, State]:
    """Apply a layer that sits inside another one, with its place known to errors and observers."""
    with inside(name):
        with located(where):
            out = layer.apply(params, state, x, **kwargs)
            if not (isinstance(out, tuple) and len(out) == 2):
                fail("apply", expected="the pair (y, state)", got=describe(out), hint="Return (y, state).")
        if (observer := _observer.get()) is not None:
            instead = observer(Trace(_path.get(), layer, params, state, x, out[0]))
            if instead is not None:
                return instead, out[1]
        return out


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


def _is_empty(tree: Any) -> bool:
    return isinstance(tree, dict) and not tree


def _unique_names(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Keras's naming: dense, dense_1, dense_2; a name given by hand keeps its first place."""
    used: set[str] = set()
    names = []
    for layer in layers:
        name, count = layer.name, 0
        while name in used:
            count += 1
            name = f"{layer.name}_{count}"
        used.add(name)
        names.append(name)
    return tuple(names)


def Sequential(*layers: Layer, name: str = "sequential") -> Layer:
    """Layers one after the other; itself a `Layer`, so that it nests.

    Parameters and state are dicts by layer name; layers of the same name are numbered as Keras numbers them
    ("dense", "dense_1", ...), and layers without parameters have no entry. Shapes flow from layer to layer by
    `jax.eval_shape`, and layer ``i`` receives ``jax.random.fold_in(key, i)``.

    Args:
      *layers: `Layer` tuples, the library's or your own. A single list or tuple of layers is accepted too.
      name: base name when nested in another `Sequential`.

    Raises:
      InputError: when an item is no Layer, when a layer refuses its input (the message starts with the layer's
        name and position), or when the parameters belong to another model.

    >>> import jax, jax.numpy as jnp, fnn
    >>> model = fnn.Sequential(fnn.Dense(4, activation="relu"), fnn.Dense(2))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> y, state = model.apply(params, state, jnp.ones((5, 3)))
    >>> y.shape
    (5, 2)
    """
    if len(layers) == 1 and isinstance(layers[0], (list, tuple)) and not isinstance(layers[0], Layer):
        layers = tuple(layers[0])
    for position, layer in enumerate(layers):
        if not (isinstance(layer, Layer) and callable(layer.init) and callable(layer.apply)):
            hint = "Use fnn.Layer(init, apply)."
            if isinstance(layer, str):
                hint = f"Use fnn.Activation({layer!r})."
            elif callable(layer):
                made = getattr(layer, "__annotations__", {}).get("return") == "Layer"
                hint = f"Call it: {layer.__name__}(...)." if made else "Wrap a plain function as Activation(fn)."
            fail(f"Sequential, position {position}", expected="a Layer", got=repr(layer), hint=hint)
    names = _unique_names(layers)
    places = tuple(f"layer {name!r} (position {i})" for i, name in enumerate(names))

    def init(key: Array, x: Any) -> tuple[Params, State]:
        params, state = {}, {}
        x, keys = shape_of(x), children(key, len(layers))
        for i, (layer_name, layer) in enumerate(zip(names, layers, strict=True)):
            with located(places[i]), inside(layer_name):
                out = layer.init(keys[i], x)
                if not (isinstance(out, tuple) and len(out) == 2):
                    fail("init", expected="the pair (params, state)", got=describe(out), hint="Return (params, state).")
            p, s = out
            if i + 1 < len(layers):
                x, _ = jax.eval_shape(lambda p, s, x, i=i: call(names[i], places[i], layers[i], p, s, x), p, s, x)
            if not _is_empty(p):
                params[layer_name] = p
            if not _is_empty(s):
                state[layer_name] = s
        return params, state

    def apply(params: Params, state: State, x: Any, *, key: Array | None = None, train: bool = False) -> Any:
        for what, tree in (("parameters", params), ("state", state)):
            if not isinstance(tree, dict) or not tree.keys() <= set(names):
                got = sorted(tree.keys() - set(names)) if isinstance(tree, dict) else describe(tree)
                raise InputError(
                    f"{name}: {what} hold {got}, but the layers are {list(names)}. Are they another model's?"
                )
        new_state = {}
        keys = None if key is None else children(key, len(layers))
        for i, (layer_name, layer) in enumerate(zip(names, layers, strict=True)):
            layer_key = None if keys is None else keys[i]
            p, s = params.get(layer_name, {}), state.get(layer_name, {})
            x, s = call(layer_name, places[i], layer, p, s, x, key=layer_key, train=train)
            if not _is_empty(s):
                new_state[layer_name] = s
        return x, new_state

    return Layer(init, apply, name, "Sequential", all(layer.per_example for layer in layers))


def Residual(*layers: Layer, shortcut: Layer | None = None, name: str = "residual") -> Layer:
    """A block with a skip connection, ``y = x + f(x)`` (He et al. 2015, arXiv:1512.03385).

    Of a `Masked` sequence the arrays are added; a step counts where both masks keep it.

    Args:
      *layers: the layers of ``f``, applied in order.
      shortcut: a layer for the skipped path where shapes differ, e.g. ``Conv(64, 1, strides=2)``; default identity.
      name: base name in `Sequential`.

    Raises:
      InputError: when ``f(x)`` and the shortcut differ in shape.

    >>> import jax, jax.numpy as jnp, fnn
    >>> block = fnn.Residual(fnn.Dense(8, activation="relu"), fnn.Dense(3))
    >>> params, state = block.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> sorted(params)
    ['body']
    """
    body = Sequential(*layers)
    parts = {"body": body} if shortcut is None else {"body": body, "shortcut": shortcut}

    def init(key: Array, x: Any) -> tuple[Params, State]:
        out = {}
        for i, (part, layer) in enumerate(parts.items()):
            with located(f"{name} {part}"), inside(part):
                out[part] = layer.init(jax.random.fold_in(key, i), x)
        params = {part: p for part, (p, _) in out.items() if not _is_empty(p)}
        return params, {part: s for part, (_, s) in out.items() if not _is_empty(s)}

    def apply(params: Params, state: State, x: Any, *, key: Array | None = None, train: bool = False) -> Any:
        outputs, new_state = {"shortcut": x}, {}
        for i, (part, layer) in enumerate(parts.items()):
            part_key = None if key is None else jax.random.fold_in(key, i)
            p, s = params.get(part, {}), state.get(part, {})
            outputs[part], s = call(part, f"{name} {part}", layer, p, s, x, key=part_key, train=train)
            if not _is_empty(s):
                new_state[part] = s
        y, mask = sequence_of(f"{name} body", outputs["body"])
        skip, skip_mask = sequence_of(f"{name} shortcut", outputs["shortcut"])
        if (mask is None) != (skip_mask is None):
            got = f"{outputs['body']!r} and {outputs['shortcut']!r}" if mask is None else "a Masked of the body alone"
            hint = "Layers over steps keep the mask; recurrent ones need return_sequences=True."
            fail(name, expected="a mask from body and shortcut, or from neither", got=got, hint=hint)
        if y.shape != skip.shape or y.dtype != skip.dtype:
            fail(
                name,
                expected=f"a body that keeps {describe(skip)}",
                got=describe(y),
                hint="Pass shortcut=Dense(...) or Conv(..., 1) to match the shapes.",
            )
        if mask is None:
            return skip + y, new_state
        return Masked(skip + y, mask if mask is skip_mask else mask & skip_mask), new_state

    return Layer(init, apply, name, "Residual", all(layer.per_example for layer in parts.values()))


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
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.dtype("float32")
