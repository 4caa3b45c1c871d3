"""The layers of a model as they are called, and the parameters that each of them owns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from .._core.trees import paths
from ..nn.added_loss import AddedLoss
from ..nn.layer import Layer, shape_of
from ..nn.masks import pairs
from ..nn.observe import Trace, observe


def is_added_loss(node: Any) -> bool:
    """Whether a node is an `AddedLoss`."""
    return isinstance(node, AddedLoss)


def count_of(tree: Any) -> tuple[int, int]:
    """Numbers and bytes of a tree."""
    leaves = [leaf for leaf in jax.tree.leaves(tree, is_leaf=is_added_loss) if not is_added_loss(leaf)]
    numbers = sum(math.prod(leaf.shape) for leaf in leaves)
    return numbers, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


class Seen(NamedTuple):
    """A layer as it is applied to a batch of two and to one of three examples, with shapes in the place of values.

    What changes with the batch is the batch: no layer needs to say which axis that is.
    """

    two: Trace
    three: Trace
    inside: bool  # whether there are layers in it
    own: dict[tuple[str, str], Any]  # what it holds that no layer inside it does, by ("params" or "state", path)

    def shape(self, what: str) -> Any:
        """The shape of the input "x" or the output "y", with None for the batch; a tree if it is one."""
        return jax.tree.map(
            lambda a, b: tuple(None if m != n else m for m, n in zip(a.shape, b.shape, strict=True)),
            pairs(getattr(self.two, what)),
            pairs(getattr(self.three, what)),
        )


def resized(x: Any, batch: int) -> Any:
    """The shapes of so many examples."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype), x)


def abstract(trace: Trace) -> Trace:
    """Shapes in the place of values, which have no meaning outside the program that is traced."""
    return Trace(trace.path, trace.layer, *shape_of((trace.params, trace.state, trace.x, trace.y)))


def calls(layer: Layer, params: Any, state: Any, x: Any) -> list[Seen]:
    """Every layer of a model with its shapes, in order of computation, but parents before what is in them."""

    def seen(batch: int) -> tuple[list[Trace], list[Own]]:
        traces: list[Trace] = []
        owned: list[Own] = []

        def forward(params: Any, state: Any, x: Any) -> Any:
            free = held(params, state)
            names = {id(leaf): name for name, leaf in free.items()}

            def note(trace: Trace) -> None:
                traces.append(abstract(trace))
                owned.append(_claimed(trace, free, names))

            with observe(note):
                y = layer.apply(params, state, x)[0]
            if free or not traces:  # held by the model itself, as by a user-defined layer that holds others
                path = () if traces else (layer.name,)
                traces.append(abstract(Trace(path, layer, params, state, x, y)))
                owned.append({name: shape_of(leaf) for name, leaf in free.items()})
            return y

        jax.eval_shape(forward, params, state, resized(x, batch))
        return traces, owned

    two, own = seen(2)
    return pair_up(two, seen(3)[0], own)


Own = dict[tuple[str, str], Any]


def held(params: Any, state: Any) -> Own:
    """All arrays of a model by part and path, but what layers add to the loss."""
    # That travels in the state, but belongs to the batch and not to the model.
    lasting = jax.tree.map(lambda node: None if is_added_loss(node) else node, state, is_leaf=is_added_loss)
    return {
        (part, path): leaf
        for part, tree in (("params", params), ("state", lasting))
        for path, leaf in paths(tree).items()
    }


def _claimed(trace: Trace, free: Own, names: dict[int, tuple[str, str]]) -> Own:
    """What a layer that is done holds and no layer before it does; it is taken out of ``free``.

    An array is known by its identity or, where a transformation such as ``jit`` stands between, by its path.
    """
    own: Own = {}
    for (part, path), leaf in held(trace.params, trace.state).items():
        name = names.get(id(leaf), (part, "/".join((*trace.path, path) if path else trace.path)))
        if name in free and free[name].shape == leaf.shape:
            own[name] = shape_of(free.pop(name))
    return own


def pair_up(two: list[Trace], three: list[Trace], own: Sequence[Own]) -> list[Seen]:
    """What was seen with two and with three examples, in the order of a table."""
    every = [trace.path for trace in two]
    # A layer is seen when it is done; parents come before their children in a table.
    order = sorted(range(len(two)), key=lambda i: _position(every[i], every))
    return [Seen(two[i], three[i], any(path[:-1] == every[i] for path in every), own[i]) for i in order]


def _position(path: tuple[str, ...], all_paths: list[tuple[str, ...]]) -> tuple[int, ...]:
    """Sort key: at each depth, when the first layer below that prefix was done."""
    return tuple(
        next(i for i, other in enumerate(all_paths) if other[: depth + 1] == path[: depth + 1])
        for depth in range(len(path))
    )
