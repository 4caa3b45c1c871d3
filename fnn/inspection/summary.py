"""The summary of a model, with its layers, shapes and parameter counts, and the list of devices."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

import jax

from .._core.checks import renamed
from .._core.errors import counted, shape_text
from .._core.tables import Table, bytes_text, table_lines
from .._core.trees import Where, check_matches, matches, paths, resized
from .._core.types import PyTree
from ..nn.graph import connections, source_name
from ..nn.layer import Layer, example_of
from ..nn.observe import call_name
from ..optimizers.transforms import frozen_paths
from ..training.task import Task
from .layers import LayerCall, count_of, layer_calls, layer_of, rooted

_MOST_NAMED = 6  # frozen parameters listed below the table


class Row(NamedTuple):
    """One layer of a `Summary`.

    Attributes:
      path: names from the outermost layer inwards, e.g. ``("residual", "body", "conv")``.
      kind: the type.
      output_shape: with None for the batch; for several outputs a tuple of shapes.
      params: number of elements it owns, trained or not; each element is counted once, in the innermost, earliest row.
      size: their bytes.
      trainable: number of trained elements among them.
      call: which call of the layer this is; above 1 in a `Model` that calls a layer again.
      connected: in a `Model`, names of the calls and inputs from which the input of this call is computed.
    """

    path: tuple[str, ...]
    kind: str
    output_shape: PyTree
    params: int
    size: int
    trainable: int = 0
    call: int = 1
    connected: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, repr=False)
class Summary(Table[Row]):
    """Layers, shapes and sizes of a model; printed as a table. It iterates over its rows.

    Attributes:
      rows: a `Row` per layer, in order of computation, layers inside others indented.
      trainable: number of trained elements.
      non_trainable: number of the others: layer state and frozen parameters.
      size: bytes of all elements.
      frozen: paths of the frozen parameters, in order.
    """

    rows: tuple[Row, ...]
    trainable: int
    non_trainable: int
    size: int
    frozen: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Number of all elements, trained or not."""
        return self.trainable + self.non_trainable

    def __repr__(self) -> str:
        columns = {
            "layer (type)": [
                f"{'  ' * (len(row.path) - 1)}{call_name(row.path[-1], row.call)} ({row.kind})" for row in self.rows
            ],
            "output shape": [shape_cell(row.output_shape) for row in self.rows],
            "connected to": [", ".join(row.connected) for row in self.rows],
            "params": [f"{row.params:,}" for row in self.rows],
            "bytes": [f"{row.size:,}" for row in self.rows],
            "trainable": [f"{row.trainable:,}" for row in self.rows],
        }
        if not self.frozen:
            del columns["trainable"]  # it adds nothing
        if not any(row.connected for row in self.rows):
            del columns["connected to"]
        lines = table_lines([list(columns), *zip(*columns.values(), strict=True)], left=2 + ("connected to" in columns))
        totals = [
            f"total params: {self.total:,} ({bytes_text(self.size)})",
            f"trainable: {self.trainable:,}",
            f"not trainable: {self.non_trainable:,}",
        ]
        if self.frozen:
            more = len(self.frozen) - _MOST_NAMED
            totals.append("frozen: " + ", ".join(self.frozen[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else ""))
        return "\n".join([*lines, lines[1], *totals])


def shape_cell(shape: PyTree) -> str:
    """A shape, or a tree of shapes, as text."""
    if isinstance(shape, tuple) and all(n is None or isinstance(n, int) for n in shape):
        return shape_text(shape)
    each = jax.tree.leaves(shape, is_leaf=lambda s: isinstance(s, tuple) and not any(isinstance(n, tuple) for n in s))
    return ", ".join(map(shape_cell, each))


@renamed(input_shape="the shape second, fnn.summary(model, {})")
def summary(model: Layer | Task, x: PyTree, *, frozen: Where = ()) -> Summary:
    """List the layers of a model with output shapes, parameter counts and bytes; nothing is computed.

    Args:
      model: a `Layer` or a `Task`.
      x: an input batch (only its shape and dtype are read), or a shape without the batch, ``(28, 28, 1)``.
      frozen: paths of further frozen parameters, as in `freeze`; those that a task's optimizer freezes are included.

    Raises:
      InputError: when a layer rejects its input, with its name and position; when ``frozen`` matches no parameter.

    A row counts the layer's own parameters. In a `Model` each call of a layer has a row, which names what its input is
    computed from; elsewhere a layer applied twice has one row. Layer state counts as not trainable.

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
    layer = layer_of("summary", model)
    x = example_of("summary", x)
    params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
    if frozen != ():
        check_matches("summary, frozen", frozen, paths(params))
    fixed = frozen_paths(model.optimizer, params) if isinstance(model, Task) else set()
    fixed |= {path for path in paths(params) if matches(frozen, path)}
    whole = rooted(layer, params, state)
    prefix = "" if whole[0] is layer else f"{layer.name}/"
    calls = layer_calls(*whole, x)  # first, since a function jitted by the user is traced only once
    has_model = "Model" in (layer.kind, *(call.two.layer.kind for call in calls))
    edges = connections(*whole, resized(x, 2))[0] if has_model else {}
    frozen_here = {f"{prefix}{path}" for path in fixed}
    rows: list[Row] = []
    for call in calls:
        *around, (_, number) = call.two.place or (("", 1),)
        row = _summary_row(call, frozen_here, number, map(source_name, edges.get(call.two.place, ())))
        repeats = number == 1 and not call.own and any(row[:3] == earlier[:3] for earlier in rows)
        if not repeats and all(outer == 1 for _, outer in around):  # else it is inside a repeated call
            rows.append(row)
    total, size = count_of((params, state))
    trainable = count_of([leaf for path, leaf in paths(params).items() if path not in fixed])[0]
    in_order = tuple(path for path in paths(params) if path in fixed)
    return Summary(tuple(rows), trainable, total - trainable, size, in_order)


def _summary_row(call: LayerCall, fixed: Collection[str], number: int, sources: Iterable[str]) -> Row:
    count, size = count_of(call.own)
    trained = [leaf for (part, path), leaf in call.own.items() if part == "params" and path not in fixed]
    kind, shape = call.two.layer.kind, call.shape("y")
    return Row(call.path, kind, shape, count, size, count_of(trained)[0], number, tuple(sources))


def devices() -> str:
    """The devices that JAX uses, as text.

    >>> print(devices())  # doctest: +SKIP
    cpu: 1 device (cpu)
    """
    groups = Counter((device.platform, device.device_kind) for device in jax.devices())
    return "\n".join(f"{platform}: {counted(n, 'device')} ({kind})" for (platform, kind), n in groups.items())
