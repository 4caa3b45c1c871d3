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


class Row(NamedTuple):
    """One layer of a `Summary`.

    Attributes:
      path: names from the outermost layer inwards, e.g. ``("residual", "body", "conv")``.
      kind: the type.
      output_shape: with None for the batch; for several outputs a tuple of shapes.
      params: count of its numbers, trained or not, without those of layers inside it.
      size: their bytes.
    """

    path: tuple[str, ...]
    kind: str
    output_shape: Any
    params: int
    size: int


class Summary(NamedTuple):
    """Layers, shapes and sizes of a model; printed as a table.

    Attributes:
      rows: a `Row` per layer, in order of computation, layers inside others indented.
      trainable: count of trained numbers.
      non_trainable: count of the others: layer state, and frozen parameters.
      size: bytes of all of them.
    """

    rows: tuple[Row, ...]
    trainable: int
    non_trainable: int
    size: int

    @property
    def total(self) -> int:
        """Count of all numbers, trained or not."""
        return self.trainable + self.non_trainable

    def __repr__(self) -> str:
        head = ("layer (type)", "output shape", "params", "bytes")
        body = [
            (
                f"{'  ' * (len(row.path) - 1)}{row.path[-1]} ({row.kind})",
                shape_cell(row.output_shape),
                f"{row.params:,}",
                f"{row.size:,}",
            )
            for row in self.rows
        ]
        rule, *lines = aligned([head, *body], left=2)
        return "\n".join(
            [
                lines[0],
                rule,
                *lines[1:],
                rule,
                f"total params: {self.total:,} ({bytes_text(self.size)})",
                f"trainable: {self.trainable:,}",
                f"not trainable: {self.non_trainable:,}",
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
    # What a layer adds to the loss travels in its state, but belongs to the batch and not to the model.
    leaves = [leaf for leaf in jax.tree.leaves(tree, is_leaf=_is_added) if not _is_added(leaf)]
    numbers = sum(math.prod(leaf.shape) for leaf in leaves)
    return numbers, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def summary(model: Any, x: Any, *, frozen: Where = ()) -> Summary:
    """The layers of a model with output shapes, parameter counts and bytes; nothing is computed.

    Args:
      model: a `Layer` or a `Task`.
      x: a batch of input, of which only shape and dtype are read, or a shape without the batch, ``(28, 28, 1)``.
      frozen: paths that are not trained, as given to `freeze`.

    Returns:
      A `Summary`, which prints as a table and holds the numbers.

    Raises:
      InputError: when a layer refuses its input, with its name and position.

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
    rows = []
    for seen in calls(layer, params, state, x):
        count, size = (0, 0) if seen.inside else count_of((seen.two.params, seen.two.state))
        rows.append(Row(seen.two.path, seen.two.layer.kind, seen.shape("y"), count, size))
    still = sum(math.prod(leaf.shape) for path, leaf in paths(params).items() if matches(frozen, path))
    total, size = count_of(params)
    state_total, state_size = count_of(state)
    return Summary(tuple(rows), total - still, state_total + still, size + state_size)


class Seen(NamedTuple):
    """A layer as it is applied to a batch of two and to one of three examples, with shapes in the place of values.

    What changes with the batch is the batch: no layer needs to say which axis that is.
    """

    two: Trace
    three: Trace
    inside: bool  # whether there are layers in it

    def shape(self, what: str) -> Any:
        """The shape of the input "x" or the output "y", with None for the batch; a tree if it is one."""
        return jax.tree.map(
            lambda a, b: tuple(None if m != n else m for m, n in zip(a.shape, b.shape, strict=True)),
            getattr(self.two, what),
            getattr(self.three, what),
        )


def resized(x: Any, batch: int) -> Any:
    """The shapes of so many examples."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype), x)


def abstract(trace: Trace) -> Trace:
    """Shapes in the place of values, which have no meaning outside the program that is traced."""
    return Trace(trace.path, trace.layer, *shape_of((trace.params, trace.state, trace.x, trace.y)))


def calls(layer: Layer, params: Any, state: Any, x: Any) -> list[Seen]:
    """Every layer of a model with its shapes, in order of computation, but parents before what is in them."""

    def seen(batch: int) -> list[Trace]:
        traces: list[Trace] = []
        with observe(lambda trace: traces.append(abstract(trace))):
            out = jax.eval_shape(lambda p, s, x: layer.apply(p, s, x)[0], params, state, resized(x, batch))
        return traces or [Trace((layer.name,), layer, params, state, resized(x, batch), out)]

    return pair_up(seen(2), seen(3))


def pair_up(two: list[Trace], three: list[Trace]) -> list[Seen]:
    """What was seen with two and with three examples, in the order of a table."""
    every = [trace.path for trace in two]
    # A layer is seen when it is done; parents come before their children in a table.
    order = sorted(range(len(two)), key=lambda i: _position(every[i], every))
    return [Seen(two[i], three[i], any(path[:-1] == every[i] for path in every)) for i in order]


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
