"""Inspection: what a model is made of, and what it runs on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from ._checks import fail, shape_text
from ._tree import Where, matches, paths
from .nn.activity import AddedLoss
from .nn.layer import Layer, Trace, example_of, observe, shape_of
from .nn.masks import pairs
from .optimizers.transforms import frozen_paths

_NAMED = 6  # frozen parameters named under the table


class Row(NamedTuple):
    """One layer of a `Summary`.

    Attributes:
      path: names from the outermost layer inwards, e.g. ``("residual", "body", "conv")``.
      kind: the type.
      output_shape: with None for the batch; for several outputs a tuple of shapes.
      params: count of its own numbers, trained or not: those that no layer inside it has, nor an earlier row. So every
        number is counted in exactly one row.
      size: their bytes.
      trainable: count of those that are trained.
    """

    path: tuple[str, ...]
    kind: str
    output_shape: Any
    params: int
    size: int
    trainable: int = 0


class Summary(NamedTuple):
    """Layers, shapes and sizes of a model; printed as a table.

    Attributes:
      rows: a `Row` per layer, in order of computation, layers inside others indented.
      trainable: count of trained numbers.
      non_trainable: count of the others: layer state, and frozen parameters.
      size: bytes of all of them.
      frozen: paths of the parameters that are not trained, in order.
    """

    rows: tuple[Row, ...]
    trainable: int
    non_trainable: int
    size: int
    frozen: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Count of all numbers, trained or not."""
        return self.trainable + self.non_trainable

    def __repr__(self) -> str:
        head = ("layer (type)", "output shape", "params", "bytes", "trainable")
        body = [
            (
                f"{'  ' * (len(row.path) - 1)}{row.path[-1]} ({row.kind})",
                shape_cell(row.output_shape),
                f"{row.params:,}",
                f"{row.size:,}",
                f"{row.trainable:,}",
            )
            for row in self.rows
        ]
        # Without frozen parameters the last column says nothing new.
        columns = None if self.frozen else -1
        rule, *lines = aligned([cells[:columns] for cells in (head, *body)], left=2)
        frozen = f"frozen: {', '.join(self.frozen[:_NAMED])}"
        frozen += f" and {len(self.frozen) - _NAMED} more" if len(self.frozen) > _NAMED else ""
        return "\n".join(
            [
                lines[0],
                rule,
                *lines[1:],
                rule,
                f"total params: {self.total:,} ({bytes_text(self.size)})",
                f"trainable: {self.trainable:,}",
                f"not trainable: {self.non_trainable:,}",
                *([frozen] if self.frozen else []),
            ]
        )


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A rule, then each row with its columns aligned: the first ``left`` ones on the left, numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    return ["-" * (sum(widths) + 2 * len(widths) - 2), *map(line, rows)]


def _is_added(node: Any) -> bool:
    return isinstance(node, AddedLoss)


def bytes_text(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def shape_cell(shape: Any) -> str:
    """A shape, or a tree of shapes, as text."""
    if isinstance(shape, tuple) and all(n is None or isinstance(n, int) for n in shape):
        return shape_text(shape)
    return ", ".join(
        map(
            shape_cell,
            jax.tree.leaves(shape, is_leaf=lambda s: isinstance(s, tuple) and not any(isinstance(n, tuple) for n in s)),
        )
    )


def count_of(tree: Any) -> tuple[int, int]:
    """Numbers and bytes of a tree."""
    leaves = [leaf for leaf in jax.tree.leaves(tree, is_leaf=_is_added) if not _is_added(leaf)]
    numbers = sum(math.prod(leaf.shape) for leaf in leaves)
    return numbers, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def summary(model: Any, x: Any, *, frozen: Where = ()) -> Summary:
    """The layers of a model with output shapes, parameter counts and bytes; nothing is computed.

    Args:
      model: a `Layer` or a `Task`.
      x: a batch of input, of which only shape and dtype are read, or a shape without the batch, ``(28, 28, 1)``.
      frozen: paths that are not trained, as given to `freeze`, in addition to those that a `freeze` in a task's
        optimizer leaves as they are.

    Returns:
      A `Summary`, which prints as a table and holds the numbers.

    Raises:
      InputError: when a layer refuses its input, with its name and position; when ``frozen`` matches no parameter.

    Parameters that a layer holds itself stand in its row, those of layers inside it in theirs; a layer that is applied
    twice is one row. Running statistics and other layer state count as not trainable.

    >>> import fnn
    >>> print(fnn.summary(fnn.Sequential(fnn.Flatten(), fnn.Dense(10)), (28, 28)))
    layer (type)       output shape  params   bytes
    -----------------------------------------------
    flatten (Flatten)  (None, 784)        0       0
    dense (Dense)      (None, 10)     7,850  31,400
    -----------------------------------------------
    total params: 7,850 (30.66 KB)
    trainable: 7,850
    not trainable: 0
    """
    layer: Layer = getattr(model, "model", model)
    if not isinstance(layer, Layer):
        fail("summary", expected="a Layer or a Task", got=type(model).__name__)
    x = example_of("summary", x)
    params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
    still = _frozen(model, params, frozen)
    rows: list[Row] = []
    for seen in calls(layer, params, state, x):
        count, size = count_of(seen.own)
        trained = {path: leaf for path, leaf in seen.own.items() if path[0] == "params" and path[1] not in still}
        path = seen.two.path or (seen.two.layer.name,)
        row = Row(path, seen.two.layer.kind, seen.shape("y"), count, size, count_of(trained)[0])
        # A layer that is applied again and has its numbers in an earlier row is the same layer.
        if seen.own or not any(row[:3] == earlier[:3] for earlier in rows):
            rows.append(row)
    total, size = count_of((params, state))
    trainable = count_of({path: leaf for path, leaf in paths(params).items() if path not in still})[0]
    return Summary(
        tuple(rows), trainable, total - trainable, size, tuple(path for path in paths(params) if path in still)
    )


def _frozen(model: Any, params: Any, where: Where) -> set[str]:
    """Paths of the parameters that are not trained: those asked for, and those that a task's optimizer freezes."""
    chosen = {path for path in paths(params) if matches(where, path)}
    if where != () and not chosen:
        hint = f"Paths: {list(paths(params))}."
        fail("summary", expected="frozen to match some parameter", got=repr(where), hint=hint)
    return chosen | (frozen_paths(model.optimizer, params) if hasattr(model, "optimizer") else set())


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
    lasting = jax.tree.map(lambda node: None if _is_added(node) else node, state, is_leaf=_is_added)
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


def devices() -> str:
    """The devices that JAX computes on, as text for people.

    >>> print(devices())  # doctest: +SKIP
    cpu: 1 device (cpu)
    """
    groups: dict[tuple[str, str], int] = {}
    for device in jax.devices():
        kind = (device.platform, device.device_kind)
        groups[kind] = groups.get(kind, 0) + 1
    return "\n".join(f"{platform}: {n} device{'s' * (n > 1)} ({kind})" for (platform, kind), n in groups.items())
