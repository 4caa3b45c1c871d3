"""Inspection: what a model is made of, and what it runs on."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from .._core.errors import fail, shape_text
from .._core.tables import aligned, bytes_text
from .._core.trees import Where, matches, paths
from ..nn.layer import Layer, example_of
from ..optimizers.transforms import frozen_paths
from .layers import calls, count_of

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
