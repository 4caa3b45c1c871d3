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
                _shape(row.output_shape),
                f"{row.params:,}",
                f"{row.size:,}",
            )
            for row in self.rows
        ]
        widths = [max(len(cells[i]) for cells in [head, *body]) for i in range(4)]

        def line(cells: Sequence[str]) -> str:
            left = [cells[i].ljust(widths[i]) for i in (0, 1)]
            return "  ".join([*left, *(cells[i].rjust(widths[i]) for i in (2, 3))]).rstrip()

        rule = "-" * (sum(widths) + 6)
        return "\n".join(
            [
                line(head),
                rule,
                *map(line, body),
                rule,
                f"total params: {self.total:,} ({_bytes(self.size)})",
                f"trainable: {self.trainable:,}",
                f"not trainable: {self.non_trainable:,}",
            ]
        )


def _is_added(node: Any) -> bool:
    return isinstance(node, AddedLoss)


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def _shape(shape: Any) -> str:
    if isinstance(shape, tuple) and all(n is None or isinstance(n, int) for n in shape):
        return shape_text(shape)
    return ", ".join(
        map(
            _shape,
            jax.tree.leaves(shape, is_leaf=lambda s: isinstance(s, tuple) and not any(isinstance(n, tuple) for n in s)),
        )
    )


def _count(tree: Any) -> tuple[int, int]:
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

    def outputs(batch: int) -> list[tuple[Trace, Any]]:
        seen: list[tuple[Trace, Any]] = []
        resized = jax.tree.map(lambda a: jax.ShapeDtypeStruct((batch, *a.shape[1:]), a.dtype), x)
        with observe(lambda trace: seen.append((trace, shape_of(trace.y)))):
            out = jax.eval_shape(lambda p, s, x: layer.apply(p, s, x)[0], params, state, resized)
        if not seen:
            seen.append((Trace((layer.name,), layer, params, state, resized, out), out))
        return seen

    # What changes with the batch is the batch: no layer needs to say which axis that is.
    traces = list(zip(outputs(2), outputs(3), strict=True))
    # A layer is seen when it is done; parents come before their children in the table.
    order = sorted(range(len(traces)), key=lambda i: _position(traces[i][0][0].path, [t[0][0].path for t in traces]))
    rows = []
    for i in order:
        (trace, two), (_, three) = traces[i]
        shape = jax.tree.map(
            lambda a, b: tuple(None if m != n else m for m, n in zip(a.shape, b.shape, strict=True)), two, three
        )
        inside = any(t[0][0].path[:-1] == trace.path for t in traces)
        count, size = (0, 0) if inside else _count((trace.params, trace.state))
        rows.append(Row(trace.path, trace.layer.kind, shape, count, size))
    still = sum(math.prod(leaf.shape) for path, leaf in paths(params).items() if matches(frozen, path))
    total, size = _count(params)
    state_total, state_size = _count(state)
    return Summary(tuple(rows), total - still, state_total + still, size + state_size)


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
