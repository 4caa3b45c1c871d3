"""How the layers of a `Model` are connected."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jax.ad_checkpoint import checkpoint_name

from .._core.jaxprs import origins, trace_state
from .._core.types import Array, Params, PyTree, State
from ..nn.layer import Layer
from ..nn.observe import Trace, observe
from .layers import resized

Place = tuple[tuple[str, int], ...]  # as in `Trace`


class _Call(NamedTuple):
    """A call: its place, the kind of its layer, the names of its inputs and the number of its outputs."""

    place: Place
    kind: str
    inputs: list[str]
    outputs: int


def _names(x: PyTree) -> list[str]:
    return [f"x{jax.tree_util.keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(x)]


def call_name(name: str, number: int) -> str:
    """A layer's name, with the number of the call if it is not the first."""
    return name if number == 1 else f"{name} (call {number})"


def connections(
    layer: Layer, params: Params, state: State, x: PyTree
) -> tuple[dict[Place, list[str]], list[list[str]]]:
    """The calls in a `Model`, each with the calls and inputs that its own input comes from, by place; and the outputs.

    Calls inside a ``scan``, ``vmap`` or ``jit`` of the user's have none, since their values do not exist outside it.
    The second result has the origins of each output of the model itself, empty for other layers.
    """
    calls: list[_Call] = []

    def forward(params: Params, state: State, x: PyTree) -> list[Array]:
        here = trace_state()
        values: list[Array] = []

        def note(trace: Trace) -> PyTree:
            if trace_state() != here:
                return None
            # A value that is passed on unchanged needs a variable for each call.
            y = jax.tree.map(lambda a: checkpoint_name(a, trace.layer.name), trace.y)
            both = [jax.tree.leaves(part) for part in (trace.x, y)]
            # Without its values, which would outlive the trace.
            calls.append(_Call(trace.place, trace.layer.kind, _names(trace.x), len(both[1])))
            values.extend(leaf for leaves in both for leaf in leaves)
            return y

        with observe(note):
            y = layer.apply(params, state, x)[0]
        return [*values, *jax.tree.leaves(y)]

    args = params, state, resized(x, 2)
    program, shapes = jax.make_jaxpr(forward, return_shape=True)(*args)
    others: list[str | None] = [None] * len(jax.tree.leaves(args[:2]))
    names = _names(x)
    inputs, results, start = list[range](), list[range](), 0
    for call in calls:
        inputs.append(range(start, start := start + len(call.inputs)))
        results.append(range(start, start := start + call.outputs))
    models = {call.place: i for i, call in enumerate(calls) if call.kind == "Model"}

    def siblings(parent: Place) -> dict[int, str]:
        """Labels of the results of all calls directly inside a model."""
        return {
            position: call_name(*call.place[-1])
            for i, call in enumerate(calls)
            if call.place[:-1] == parent
            for position in results[i]
        }

    found: dict[Place, list[str]] = {}
    for i, call in enumerate(calls):
        parent = call.place[:-1]
        if parent in models:
            above = dict(zip(inputs[models[parent]], calls[models[parent]].inputs, strict=True))
            found[call.place] = origins(program, inputs[i], above | siblings(parent), [*others, *(None for _ in names)])
        elif not parent and layer.kind == "Model":
            found[call.place] = origins(program, inputs[i], siblings(()), [*others, *names])
    if layer.kind != "Model":
        return found, []
    ends = range(start, len(shapes))
    return found, [origins(program, [i], siblings(()), [*others, *names]) for i in ends]
