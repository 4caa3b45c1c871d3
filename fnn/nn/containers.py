"""Layers made of layers: `Sequential`, `Residual`, `TimeDistributed`, `Repeated` and `Rematerialized`.

A container keeps the parameters and state of each layer under its name, gives each layer a key by ``fold_in``, and
calls it through `fnn.nn.observe.call`, so that observers and errors know its path.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from .._core.checks import check_count
from .._core.described import described, in_words
from .._core.errors import counted, describe, fail, noted
from .._core.random import child_keys, children, fold_in
from .._core.trees import shape_of
from .._core.typed import array_spec
from .._core.types import Array, Key, Params, PyTree, State
from .cache import without_cache
from .embedding import ids_as
from .layer import MISSING, Layer, Output, call_hint, check_apply, check_init, penalties_inside
from .masks import KEEPING_HINT, SEQUENCE_HINT, Masked, array_of, sequence_of
from .observe import call, carry_note, init_inside, looped, pair_of


def _without_empty(entries: dict[str, PyTree]) -> dict[str, PyTree]:
    return {name: tree for name, tree in entries.items() if not (isinstance(tree, dict) and not tree)}


def unique_names(layers: tuple[Layer, ...]) -> list[str]:
    """Number repeated names as Keras does: dense, dense_1, dense_2; the first layer of a name keeps it."""
    names: list[str] = []
    for layer in layers:
        name, count = layer.name, 0
        while name in names:
            count += 1
            name = f"{layer.name}_{count}"
        names.append(name)
    return names


@described
def Sequential(*layers: Layer, name: str = "sequential") -> Layer:
    """Layers applied in order; itself a `Layer`, so it nests.

    Parameters and state are dicts by layer name. Repeated names are numbered as in Keras ("dense", "dense_1", ...),
    and layers without parameters have no entry. `jax.eval_shape` gives each layer's input shape from the one before,
    and layer ``i`` receives ``fold_in(key, i)``.

    Args:
      *layers: layers of the library or custom ones. A single list or tuple of layers is accepted too.
      name: base name when nested in another `Sequential`; every layer has one.

    Raises:
      InputError: for an item that is not a Layer; for parameters of another model; and for any error of a layer, with
        its name and position.

    >>> import jax, jax.numpy as jnp, fnn
    >>> model = fnn.Sequential(fnn.Dense(4, activation="relu"), fnn.Dense(2))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> y, state = model.apply(params, state, jnp.ones((5, 3)))
    >>> y.shape
    (5, 2)
    """
    if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
        layers = tuple(layers[0])
    for position, layer in enumerate(layers):
        _check_layer(f"Sequential, position {position}", layer)
    names = unique_names(layers)
    places = tuple(f"layer {name!r} (position {i})" for i, name in enumerate(names))

    def init(key: Key, x: PyTree = MISSING) -> tuple[Params, State]:
        check_init(name, key, x)
        params, state = {}, {}
        x, keys = shape_of(x), child_keys(key, len(layers))
        for i, (layer_name, layer) in enumerate(zip(names, layers, strict=True)):
            out = init_inside(layer_name, places[i], layer, keys[i], x)
            params[layer_name], state[layer_name] = out
            if i + 1 < len(layers):
                x, _ = jax.eval_shape(partial(call, layer_name, places[i], layer), *out, x)
        return _without_empty(params), _without_empty(state)

    def apply(
        params: Params, state: State, x: PyTree = MISSING, *, key: Key | None = None, train: bool = False
    ) -> Output:
        check_apply(name, x)
        _check_entries(name, "parameters", params, names)
        _check_entries(name, "state", state, names)
        new_state = {}
        keys = None if key is None else child_keys(key, len(layers))
        for i, (layer_name, layer) in enumerate(zip(names, layers, strict=True)):
            layer_key = None if keys is None else keys[i]
            p, s = params.get(layer_name, {}), state.get(layer_name, {})
            x, new_state[layer_name] = call(layer_name, places[i], layer, p, s, x, key=layer_key, train=train)
        return x, _without_empty(new_state)

    per_example = all(layer.per_example for layer in layers)
    inner = penalties_inside({(layer_name,): layer for layer_name, layer in zip(names, layers, strict=True)})
    return Layer(init, apply, name, "Sequential", per_example, **inner)


def _check_layer(where: str, layer: object) -> None:
    if isinstance(layer, Layer) and callable(layer.init) and callable(layer.apply):
        return
    hint = "Use fnn.Layer(init, apply)."
    if isinstance(layer, str):
        hint = f"Use fnn.Activation({layer!r})."
    elif callable(layer):
        hint = "Wrap a plain function as Activation(fn)."
    fail(where, expected="a Layer", got=in_words(layer), hint=call_hint(layer) or hint)


def _check_entries(name: str, kind: str, tree: PyTree, names: list[str]) -> None:
    if not isinstance(tree, dict) or not tree.keys() <= set(names):
        got = sorted(tree.keys() - set(names)) if isinstance(tree, dict) else describe(tree)
        fail(name, expected=f"{kind} of the layers {names}", got=str(got), hint="Do they belong to another model?")


@described
def TimeDistributed(layer: Layer, *, name: str = "time_distributed") -> Layer:
    """A layer applied to each step of a sequence, with the same parameters at every step.

    The steps become rows of one batch, (batch * time, ...), so dropout draws a mask for each step, and a `BatchNorm`
    inside takes its statistics over all steps. (Keras calls the layer step by step, with the statistics of one step.)
    `Dense`, `Activation` and other layers over the last axis need no `TimeDistributed`.

    Args:
      layer: a layer for inputs (batch, ...).
      name: base name in `Sequential`.

    Shapes: (batch, time, ...) to (batch, time, *output). A `Masked` keeps its mask; the layer sees masked steps too.

    Raises:
      InputError: for other than a Layer; when applied to fewer than 3 axes, or to a `Masked` if the layer has state,
        whose statistics would include masked steps; and as the layer.

    >>> import jax, jax.numpy as jnp, fnn
    >>> video = jnp.ones((2, 5, 8, 8, 3))
    >>> layer = TimeDistributed(fnn.Conv(4, 3))
    >>> params, state = layer.init(jax.random.key(0), video)
    >>> layer.apply(params, state, video)[0].shape, sorted(params)
    ((2, 5, 6, 6, 4), ['conv'])
    """
    _check_layer("TimeDistributed", layer)
    place = f"{name} {layer.name!r}"

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        x = shape_of(_steps(name, x))
        rows = array_spec((x.shape[0] * x.shape[1], *x.shape[2:]), x.dtype)
        with without_cache():  # the rows are the steps
            params, state = init_inside(layer.name, place, layer, key, rows)
        return _without_empty({layer.name: params}), _without_empty({layer.name: state})

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        _check_entries(name, "parameters", params, [layer.name])
        _check_entries(name, "state", state, [layer.name])
        values, p, s = _steps(name, x), params.get(layer.name, {}), state.get(layer.name, {})
        if isinstance(x, Masked) and jax.tree.leaves(s):
            hint = "Use BatchNorm outside TimeDistributed; it accepts a Masked."
            fail(name, expected="a layer without state for a Masked", got=f"{layer.kind} with state", hint=hint)
        lead = values.shape[:2]
        rows = values.reshape(lead[0] * lead[1], *values.shape[2:])
        with ids_as(rows, values):
            y, s = call(layer.name, place, layer, p, s, rows, key=key, train=train)

        def unfolded(a: Array) -> Array:
            carry_note(a, steps := a.reshape(*lead, *a.shape[1:]), lambda logits: logits.reshape(steps.shape))
            return steps

        y = jax.tree.map(unfolded, y)
        return (Masked(array_of(name, y), x.mask) if isinstance(x, Masked) else y), _without_empty({layer.name: s})

    return Layer(init, apply, name, "TimeDistributed", layer.per_example, **penalties_inside({(layer.name,): layer}))


def _steps(name: str, x: PyTree) -> Array:
    values, _ = sequence_of(name, x)
    if len(values.shape) < 3:
        expected = "x of shape (batch, time, ...) with at least 3 axes"
        fail(name, expected=expected, got=describe(values), hint=SEQUENCE_HINT)
    return values


@described
def Residual(*layers: Layer, shortcut: Layer | None = None, name: str = "residual") -> Layer:
    """A block with a skip connection, ``y = x + f(x)`` (He et al. 2015, arXiv:1512.03385).

    For a `Masked`, the arrays are added, and a step counts where both masks keep it.

    Args:
      *layers: the layers of ``f``, applied in order.
      shortcut: a layer for the skipped path where shapes differ, e.g. ``Conv(64, 1, strides=2)``; default the identity.

    Raises:
      InputError: as `Sequential`; from ``apply``, if ``f(x)`` and the shortcut differ in shape or dtype, or one alone
        is a `Masked`.

    >>> import jax, jax.numpy as jnp, fnn
    >>> block = fnn.Residual(fnn.Dense(8, activation="relu"), fnn.Dense(3))
    >>> params, state = block.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> sorted(params)
    ['body']
    """
    body = Sequential(*layers)
    if shortcut is not None:
        _check_layer("Residual, shortcut", shortcut)
    parts = {"body": body} if shortcut is None else {"body": body, "shortcut": shortcut}
    other = "its input" if shortcut is None else "that of the shortcut"

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        out = {}
        for i, (part, layer) in enumerate(parts.items()):
            out[part] = init_inside(part, f"{name} {part}", layer, fold_in(key, i), x)
        params, state = ({part: made[i] for part, made in out.items()} for i in range(2))
        return _without_empty(params), _without_empty(state)

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        outputs, new_state = {"shortcut": x}, {}
        for i, (part, layer) in enumerate(parts.items()):
            part_key = None if key is None else fold_in(key, i)
            p, s = params.get(part, {}), state.get(part, {})
            outputs[part], new_state[part] = call(part, f"{name} {part}", layer, p, s, x, key=part_key, train=train)
        return _add_outputs(name, outputs["body"], outputs["shortcut"], other), _without_empty(new_state)

    per_example = all(layer.per_example for layer in parts.values())
    inner = penalties_inside({(part,): layer for part, layer in parts.items()})
    return Layer(init, apply, name, "Residual", per_example, **inner)


def _add_outputs(name: str, body: PyTree, shortcut: PyTree, other: str) -> PyTree:
    y, mask = sequence_of(f"{name} body", body)
    skip, skip_mask = sequence_of(f"{name} shortcut", shortcut)
    if (mask is None) != (skip_mask is None):
        got = f"{body!r} and {shortcut!r}" if mask is None else "a Masked of the body alone"
        fail(name, expected="a mask from body and shortcut, or from neither", got=got, hint=KEEPING_HINT)
    if y.shape != skip.shape or y.dtype != skip.dtype:
        hint = "Pass shortcut=Dense(...) or Conv(..., 1) to match the shapes."
        fail(name, expected=f"the body's output to match {other}, {describe(skip)}", got=describe(y), hint=hint)
    if mask is None:
        return skip + y
    return Masked(skip + y, mask if mask is skip_mask else mask & skip_mask)


@described
def Repeated(layer: Layer, n: int, *, name: str = "repeated") -> Layer:
    """``n`` copies of a layer in order, each with separate parameters, as one ``jax.lax.scan``.

    Compile time does not grow with ``n``. The parameters and the state are those of the layer, stacked along a new
    first axis (n, ...). Copy ``i`` receives ``fold_in(key, i)``, so that `init` and dropout differ.

    `fnn.summary` lists the layers inside once, with the parameters of all copies. Values inside the loop do not exist
    outside it: `fnn.outputs` and `fnn.layer_report` see the output of the last copy alone.

    Args:
      layer: a layer whose output has the shape and dtype of its input, such as a `Residual`.
      n: number of copies, at least 1.

    Raises:
      InputError: for anything but a Layer, ``n`` below 1, parameters of another number of copies, and, from ``apply``,
        for a layer that changes the shape or dtype.

    >>> import jax, jax.numpy as jnp, fnn
    >>> block = fnn.Residual(fnn.LayerNorm(), fnn.Dense(8, activation="relu"), fnn.Dense(4))
    >>> params, state = fnn.Repeated(block, 12).init(jax.random.key(0), jnp.ones((1, 4)))
    >>> params["body"]["dense"]["kernel"].shape
    (12, 4, 8)
    """
    _check_layer("Repeated", layer)
    check_count("Repeated", "n", n)
    place = f"{name} {layer.name!r}"

    def init(key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
        x = shape_of(x)

        def one(key: Key) -> tuple[PyTree, PyTree]:
            with noted(place):
                return pair_of("init", "params, state", layer.init(key, x))

        return jax.vmap(one)(children(key, n))

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        _check_copies(name, n, (params, state))
        keys = None if key is None else children(key, n)

        def step(x: PyTree, copy: tuple[PyTree, PyTree, Key | None]) -> tuple[PyTree, PyTree]:
            params, state, key = copy
            with noted(place):
                y, state = pair_of("apply", "y, state", layer.apply(params, state, x, key=key, train=train))
            _check_kept(name, layer.kind, x, y)
            return y, state

        with looped(n):
            return jax.lax.scan(step, x, (params, state, keys), length=n)

    inner = layer.penalty, layer.constraint
    # Of no parameters, vmap could not tell the number of copies.
    penalty, constraint = (
        None if fn is None else (lambda params, fn=fn: (jax.vmap(fn) if jax.tree.leaves(params) else fn)(params))
        for fn in inner
    )
    total = None if penalty is None else (lambda params: jnp.sum(penalty(params)))
    return Layer(init, apply, name, f"{layer.kind} x {n}", layer.per_example, total, constraint)


def _check_copies(name: str, n: int, tree: PyTree) -> None:
    """Refuse parameters and state of another number of copies."""
    copies = {leaf.shape[:1] for leaf in jax.tree.leaves(tree)}
    if not copies <= {(n,)}:
        expected = f"parameters and state of {counted(n, 'copy', 'copies')}"
        fail(name, expected=expected, got=f"first axes {sorted(copies)}", hint="Do they belong to another model?")


def _check_kept(name: str, kind: str, x: PyTree, y: PyTree) -> None:
    """Refuse an output of another shape or dtype than the input."""
    before, after = (jax.tree.map(describe, tree) for tree in (x, y))
    if jax.tree.flatten(before) != jax.tree.flatten(after):
        fail(name, expected=f"a layer that keeps the shape, {before}", got=f"{after} from {kind}")


@described
def Rematerialized(layer: Layer, *, name: str | None = None) -> Layer:
    """A layer that computes its inner values again for the gradient instead of storing them, by ``jax.checkpoint``.

    The results are the same. Memory in training falls to the input of the layer, at the price of one more forward
    pass; `Repeated` of a rematerialized block stores one array per copy. Parameters and state are the layer's own.
    `fnn.outputs` and `fnn.layer_report` see the output of the whole, and not the values that are not stored.

    Args:
      layer: any layer.
      name: base name in `Sequential`; default the layer's.

    >>> import jax, jax.numpy as jnp, fnn
    >>> block = fnn.Rematerialized(fnn.Sequential(fnn.Dense(64, activation="gelu"), fnn.Dense(4)))
    >>> params, state = block.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> block.apply(params, state, jnp.ones((3, 4)))[0].shape
    (3, 4)
    """
    _check_layer("Rematerialized", layer)

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        def inner(params: PyTree, state: PyTree, inner_x: PyTree, key: Key | None) -> Output:
            with ids_as(inner_x, x):
                return layer.apply(params, state, inner_x, key=key, train=train)

        out: Output = jax.checkpoint(inner)(params, state, x, key)
        return out

    fields = layer.per_example, layer.penalty, layer.constraint
    return Layer(layer.init, apply, name or layer.name, "Rematerialized", *fields)
