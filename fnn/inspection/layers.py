"""The layer calls of a model, with shapes and without values, and the arrays that each layer owns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from .._core.errors import fail, kind_of
from .._core.trees import bytes_of, paths, resized, shape_of
from .._core.types import PyTree
from ..nn.added_loss import is_added_loss
from ..nn.containers import Sequential
from ..nn.layer import Layer, Output
from ..nn.masks import pairs
from ..nn.observe import Trace, call, observe
from ..training.task import Task

Arrays = dict[tuple[str, str], PyTree]  # by ("params" or "state", path)


class LayerCall(NamedTuple):
    """A layer applied to a batch of two and to a batch of three examples, with shapes in place of values.

    An axis whose length differs between the two is the batch axis, so no layer has to name it.
    """

    two: Trace
    three: Trace
    has_children: bool  # whether the layer contains others
    own: Arrays  # those that the layer holds and no layer inside it does

    @property
    def path(self) -> tuple[str, ...]:
        """Names from the outermost layer inwards; for a model that is a single layer, its name."""
        return self.two.path or (self.two.layer.name,)

    def shape(self, side: str) -> PyTree:
        """The shape of the input ``"x"`` or the output ``"y"``, with None for the batch; a tree for several arrays."""
        return jax.tree.map(
            lambda a, b: tuple(None if m != n else m for m, n in zip(a.shape, b.shape, strict=True)),
            pairs(getattr(self.two, side)),
            pairs(getattr(self.three, side)),
        )


def layer_of(where: str, model: Layer | Task) -> Layer:
    """The model of a task, or the layer itself."""
    layer = getattr(model, "model", model)
    if not isinstance(layer, Layer):
        fail(where, expected="a Layer or a Task", got=kind_of(model))
    return layer


def count_of(tree: PyTree) -> tuple[int, int]:
    """The number of elements in a tree and their bytes, without what layers add to the loss."""
    leaves = [leaf for leaf in jax.tree.leaves(tree, is_leaf=is_added_loss) if not is_added_loss(leaf)]
    return sum(math.prod(leaf.shape) for leaf in leaves), bytes_of(leaves)


def without_values(trace: Trace) -> Trace:
    """A trace with shapes in place of values, which have no meaning outside the traced program."""
    params, state, x, y = shape_of((trace.params, trace.state, trace.x, trace.y))
    return trace._replace(params=params, state=state, x=x, y=y)


def arrays_of(params: PyTree, state: PyTree) -> Arrays:
    """All arrays of a layer, without what it adds to the loss, which belongs to a batch and not to the model."""
    lasting = jax.tree.map(lambda node: None if is_added_loss(node) else node, state, is_leaf=is_added_loss)
    return {
        (part, path): leaf
        for part, tree in (("params", params), ("state", lasting))
        for path, leaf in paths(tree).items()
    }


def rooted(layer: Layer, params: PyTree, state: PyTree) -> tuple[Layer, PyTree, PyTree]:
    """A model whose layers are those of a table: the given one, or around a single layer a `Sequential`.

    A layer that holds others, such as `Repeated`, then has a row, above theirs. Errors are those of the
    layer, without a position in a model that the user did not write.
    """
    if layer.kind in ("Sequential", "Model"):
        return layer, params, state
    name = layer.name

    def apply(params: PyTree, state: PyTree, x: PyTree, **options: Any) -> Output:
        y, new = call(name, "", layer, params[name], state[name], x, **options)
        return y, {name: new}

    return Sequential(layer).replace(apply=apply), {name: params}, {name: state}


def layer_calls(layer: Layer, params: PyTree, state: PyTree, x: PyTree) -> list[LayerCall]:
    """Every layer call of a model in order of computation, each parent before its children."""
    two, three = _Recorder(layer), _Recorder(layer)
    for batch, recorder in ((2, two), (3, three)):
        jax.eval_shape(recorder.forward, params, state, resized(x, batch))
    return paired(two.traces, three.traces, two.owned)


class _Recorder:
    """Records the layer calls of a model while it is traced, and the arrays that each layer owns."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.traces: list[Trace] = []
        self.owned: list[Arrays] = []

    def forward(self, params: PyTree, state: PyTree, x: PyTree) -> PyTree:
        """The output of the model."""
        self.unclaimed = arrays_of(params, state)
        self.names = {id(leaf): name for name, leaf in self.unclaimed.items()}
        with observe(self._note):
            y = self.layer.apply(params, state, x)[0]
        if "Model" in (self.layer.kind, *(trace.layer.kind for trace in self.traces)):
            known = {trace.place for trace in self.traces}
            with observe(lambda trace: None if trace.place in known else self._note(trace)):
                self.layer.apply(params, state, x, key=jax.random.key(0), train=True)
        if self.unclaimed or not self.traces:  # of the model itself, such as a user-defined layer with others inside
            path = () if self.traces else (self.layer.name,)
            self.traces.append(without_values(Trace(path, self.layer, params, state, x, y)))
            self.owned.append({name: shape_of(leaf) for name, leaf in self.unclaimed.items()})
        return y

    def _note(self, trace: Trace) -> None:
        # A container that finished before may hold the arrays of a layer that it calls only in training.
        before = zip(self.traces, self.owned, strict=True)
        around = [own for other, own in before if other.path == trace.path[: len(other.path)] != trace.path]
        claims = [_claim(trace, arrays, self.names) for arrays in (self.unclaimed, *around)]
        self.traces.append(without_values(trace))
        self.owned.append({name: leaf for own in claims for name, leaf in own.items()})


def _claim(trace: Trace, unclaimed: Arrays, names: dict[int, tuple[str, str]]) -> Arrays:
    """Move the arrays of a finished layer out of ``unclaimed`` and return them.

    An array is recognized by its identity or, across a transformation such as ``jit``, by its path. Inside a
    `Repeated`, a layer sees one of several copies, which are stacked in the model's array.
    """
    own: Arrays = {}
    for (part, path), leaf in arrays_of(trace.params, trace.state).items():
        name = names.get(id(leaf), (part, "/".join((*trace.path, path) if path else trace.path)))
        if name in unclaimed and unclaimed[name].shape[len(unclaimed[name].shape) - leaf.ndim :] == leaf.shape:
            own[name] = shape_of(unclaimed.pop(name))
    return own


def paired(two: list[Trace], three: list[Trace], own: Sequence[Arrays]) -> list[LayerCall]:
    """The calls with two and with three examples as pairs, in the order of a table."""
    every = [trace.place for trace in two]

    def position(i: int) -> list[int]:
        """For each prefix of the place, the position of the first call that has this prefix."""
        prefixes = [every[i][: depth + 1] for depth in range(len(every[i]))]
        return [next(j for j, place in enumerate(every) if place[: len(prefix)] == prefix) for prefix in prefixes]

    # Observers see a layer after those inside it; a table lists it before them.
    order = sorted(range(len(two)), key=position)
    return [LayerCall(two[i], three[i], any(place[:-1] == every[i] for place in every), own[i]) for i in order]
