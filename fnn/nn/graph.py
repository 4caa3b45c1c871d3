"""How the layers of a `Model` are connected."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax

from .._core.jaxprs import origins, trace_state
from .._core.typed import checkpoint_name
from .._core.types import Array, Key, PyTree
from .layer import Layer
from .observe import Trace, call_name, observe

Place = tuple[tuple[str, int], ...]  # as in `Trace`
Origin = str | Place
"""An input of a `Model`, such as "x['left']", or the place of a call."""


class _Call(NamedTuple):
    """A call: its place, the kind of its layer, the names of its inputs and the number of its outputs."""

    place: Place
    kind: str
    inputs: list[str]
    outputs: int


def leaf_names(name: str, tree: PyTree) -> list[str]:
    """The arrays of a tree as Python writes them: "x['left']"."""
    return [f"{name}{jax.tree_util.keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def source_name(source: Origin) -> str:
    """An input or a call by its name inside its `Model`."""
    return source if isinstance(source, str) else call_name(*source[-1])


def connections(
    layer: Layer, params: PyTree, state: PyTree, x: PyTree
) -> tuple[dict[Place, list[Origin]], list[list[Origin]]]:
    """The calls in every `Model`, each with the calls and inputs that its own input comes from; and the outputs.

    Calls made only in training are included. The second result has the origins of each output of the model itself
    outside training, empty for layers other than a `Model`.
    """
    found, ends = graph_of(layer, params, state, x, train=False)
    return {**graph_of(layer, params, state, x, train=True)[0], **found}, ends


def graph_of(
    layer: Layer, params: PyTree, state: PyTree, x: PyTree, *, train: bool
) -> tuple[dict[Place, list[Origin]], list[list[Origin]]]:
    """`connections` in training or outside it, in order of the calls.

    Calls inside a ``scan``, ``vmap`` or ``jit`` of the user's have none, since their values do not exist outside it.
    """
    args = params, state, jax.random.key(0), x
    calls, origins_of, count = _recorded(layer, args, train)
    labels: list[Origin | None] = [None] * len(jax.tree.leaves(args[:3]))
    unnamed: list[Origin | None] = [*labels, *(None for _ in jax.tree.leaves(x))]
    labels += leaf_names("x", x)
    inputs, results, start = list[range](), list[range](), 0
    for call in calls:
        inputs.append(range(start, start := start + len(call.inputs)))
        results.append(range(start, start := start + call.outputs))
    models = {call.place: i for i, call in enumerate(calls) if call.kind == "Model"}

    def siblings(parent: Place) -> dict[int, Origin]:
        """The results of all calls directly inside a model, by position."""
        of_parent = [i for i, call in enumerate(calls) if call.place[:-1] == parent]
        return {position: calls[i].place for i in of_parent for position in results[i]}

    found: dict[Place, list[Origin]] = {}
    for i, call in enumerate(calls):
        parent = call.place[:-1]
        if parent in models:
            above = dict(zip(inputs[models[parent]], calls[models[parent]].inputs, strict=True))
            found[call.place] = origins_of(inputs[i], above | siblings(parent), unnamed)
        elif not parent and layer.kind == "Model":
            found[call.place] = origins_of(inputs[i], siblings(()), labels)
    if layer.kind != "Model":
        return found, []
    return found, [origins_of([i], siblings(()), labels) for i in range(start, count)]


def _recorded(
    layer: Layer, args: tuple[PyTree, PyTree, Key, PyTree], train: bool
) -> tuple[list[_Call], Callable[..., list[Origin]], int]:
    """The calls in a layer, and `origins` in a program that returns their inputs and outputs, then those of the layer.

    Last comes the number of all that it returns.
    """
    calls: list[_Call] = []

    def forward(params: PyTree, state: PyTree, key: Key, x: PyTree) -> list[Array]:
        here = trace_state()
        values: list[Array] = []

        def note(trace: Trace) -> PyTree:
            if trace_state() != here:
                return None
            # A value that is passed on unchanged needs a variable for each call.
            y = jax.tree.map(lambda a: checkpoint_name(a, trace.layer.name), trace.y)
            both = [jax.tree.leaves(part) for part in (trace.x, y)]
            # Without its values, which would outlive the trace.
            calls.append(_Call(trace.place, trace.layer.kind, leaf_names("x", trace.x), len(both[1])))
            values.extend(leaf for leaves in both for leaf in leaves)
            return y

        with observe(note):
            y = layer.apply(params, state, x, key=key, train=train)[0]
        return [*values, *jax.tree.leaves(y)]

    program, shapes = jax.make_jaxpr(forward, return_shape=True)(*args)
    return calls, partial(origins, program), len(shapes)
