"""A check before training: shapes, operations and memory of a model, layer by layer."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax

from .._core.checks import renamed
from .._core.errors import InputError, fail, shape_text
from .._core.jaxprs import multiply_adds
from .._core.tables import Table, bytes_text, table_lines
from .._core.trees import bytes_of, resized
from .._core.types import Array, PyTree
from ..nn.layer import Layer, example_of
from ..nn.masks import pairs
from ..nn.observe import Trace, observe
from ..training.forward import check_output
from ..training.state import TrainState
from ..training.task import Task
from .layers import LayerCall, arrays_of, count_of, layer_calls, layer_of, paired, rooted, without_values
from .summary import shape_cell


class CheckRow(NamedTuple):
    """One layer of a `Check`.

    Attributes:
      path: names from the outermost layer inwards, e.g. ``("residual", "body", "conv")``.
      kind: the type.
      input_shape, output_shape: with None for the batch; for several arrays a tree of shapes.
      input_dtype, output_dtype: names of the dtypes; for several arrays a tree of names.
      params: number of elements in its parameters and state, without those of layers inside it.
      operations: multiply-adds per example, without those of layers inside it.
      size: bytes of its output per example.

    Inside a `Repeated` the numbers are those of all copies, inside a `TimeDistributed` those of all steps.
    """

    path: tuple[str, ...]
    kind: str
    input_shape: PyTree
    input_dtype: PyTree
    output_shape: PyTree
    output_dtype: PyTree
    params: int
    operations: int
    size: int


@dataclasses.dataclass(frozen=True, repr=False)
class Check(Table[CheckRow]):
    """Shapes and cost of a model, layer by layer; printed as a table. It iterates over its rows.

    Attributes:
      rows: a `CheckRow` per layer, in order of computation, layers inside others indented.
      operations: multiply-adds of the whole model per example.
      size: bytes of all outputs per example. The output of a `Sequential` or a `TimeDistributed` is that of its last
        layer and counts once.
    """

    rows: tuple[CheckRow, ...]
    operations: int
    size: int

    def __repr__(self) -> str:
        total = f"for each example: {self.operations:,} multiply-adds, {bytes_text(self.size)} of outputs"
        lines = self._lines()
        return "\n".join([*lines, lines[1], total])

    def _lines(self) -> list[str]:
        paths = [row.path for row in self.rows]
        # Indented below the parent; the whole path if the table does not list the parent.
        names = [f"{'  ' * (len(p) - 1)}{p[-1]}" if p[:-1] in paths else "/".join(p) for p in paths]
        columns = {
            "layer (type)": [f"{name} ({row.kind})" for name, row in zip(names, self.rows, strict=True)],
            "input": [_arrays_cell(row.input_dtype, row.input_shape) for row in self.rows],
            "output": [_arrays_cell(row.output_dtype, row.output_shape) for row in self.rows],
            "params": [f"{row.params:,}" for row in self.rows],
            "multiply-adds": [f"{row.operations:,}" for row in self.rows],
            "bytes": [f"{row.size:,}" for row in self.rows],
        }
        return table_lines([list(columns), *zip(*columns.values(), strict=True)], left=3)


def _arrays_cell(dtypes: PyTree, shapes: PyTree) -> str:
    each = jax.tree.map(lambda name, shape: f"{name} {shape_cell(shape)}", dtypes, shapes)
    return ", ".join(jax.tree.leaves(each))


@renamed(input_shape="the shape second, fnn.check(model, {})")
def check(model: Layer | Task, x: PyTree) -> Check:
    """Trace a model layer by layer to check its shapes; nothing is computed and no parameters are created.

    Where `summary` counts parameters, `check` shows the input and output of each layer, with dtypes, and its cost: the
    multiply-adds of matrix products and convolutions only, counted in the traced program, and the bytes of the output,
    which training keeps for the backward pass. A training step costs about three times the operations.

    Args:
      model: a `Layer`, or a `Task`, whose loss must then fit the model's last operation.
      x: an input batch (only its shape and dtype are read), or a shape without the batch, ``(28, 28, 1)``.

    Returns:
      A `Check`, which prints as a table and holds the numbers.

    Raises:
      InputError: when a layer rejects its input, with its name, position and the table so far; a note on other errors.

    >>> import fnn
    >>> print(fnn.check(fnn.Sequential(fnn.Flatten(), fnn.Dense(10)), (28, 28)))
    layer (type)       input                   output               params  multiply-adds  bytes
    --------------------------------------------------------------------------------------------
    flatten (Flatten)  float32 (None, 28, 28)  float32 (None, 784)       0              0  3,136
    dense (Dense)      float32 (None, 784)     float32 (None, 10)    7,850          7,840     40
    --------------------------------------------------------------------------------------------
    for each example: 7,840 multiply-adds, 3.10 KB of outputs
    """
    if isinstance(x, TrainState):
        hint = "It needs no parameters: fnn.check(task, x[:1]), or fnn.check(task, (28, 28, 1))."
        fail("check", expected="a batch of input or its shape after the model", got="a TrainState", hint=hint)
    layer = layer_of("check", model)
    given, x = x, example_of("check", x)
    try:
        params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
        seen = layer_calls(*rooted(layer, params, state), x)
    except Exception as error:
        if isinstance(error, InputError) and given is not x and "expected integer" in str(error):
            hint = ""
            if isinstance(given, (tuple, list)) and isinstance(x, jax.ShapeDtypeStruct):
                dtype = f'jax.ShapeDtypeStruct({shape_text(x.shape)}, "int32")'
                hint = f" A shape alone means float32; for integers pass {dtype}."
            raise type(error)(f"{error}{hint}") from None
        accepted = _accepted(layer, x)
        if not accepted.rows:
            raise
        text = "\n".join(["The layers before it:", *accepted._lines()])
        if isinstance(error, InputError):
            raise type(error)(f"{error}\n{text}") from None
        error.add_note(text)
        raise
    if isinstance(model, Task):
        check_output(model, params, state, x)
    return _table(seen, _operations(layer, params, state, x))


def _table(seen: list[LayerCall], operations: int | None = None) -> Check:
    """The rows of all calls, and their sums; ``operations`` of the whole model if all of it was traced."""
    works = [_work(call) for call in seen]
    rows, total = [], 0
    for call, work in zip(seen, works, strict=True):
        layer, path = call.two.layer, call.two.path
        of_children = sum(other for child, other in zip(seen, works, strict=True) if child.two.path[:-1] == path)
        size = (bytes_of(call.three.y) - bytes_of(call.two.y)) * call.two.runs
        rows.append(
            CheckRow(
                path=call.path,
                kind=layer.kind,
                input_shape=call.shape("x"),
                input_dtype=_dtypes(call.two.x),
                output_shape=call.shape("y"),
                output_dtype=_dtypes(call.two.y),
                params=count_of(call.own)[0],
                operations=max(work - of_children, 0),
                size=size,
            )
        )
        total += 0 if call.has_children and layer.kind in ("Sequential", "TimeDistributed") else size
    return Check(tuple(rows), sum(row.operations for row in rows) if operations is None else operations, total)


def _dtypes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: str(a.dtype), pairs(tree))


def _accepted(layer: Layer, x: PyTree) -> Check:
    """The layers that accepted their input, of a model that fails at a later one."""

    def trace(batch: int) -> list[Trace]:
        traces: dict[tuple[str, ...], Trace] = {}

        # Layers are observed during init, those inside others again during apply.
        def note(trace: Trace) -> None:
            traces.setdefault(trace.path, without_values(trace))

        def forward(key: Array, x: PyTree) -> PyTree:
            params, state = layer.init(key, x)
            return layer.apply(params, state, x)[0]

        with observe(note):
            try:
                jax.eval_shape(forward, jax.random.key(0), resized(x, batch))
            except Exception:
                return list(traces.values())
        return []

    two, three = trace(2), trace(3)
    parents = {trace.path[:-1] for trace in two}
    own = [{} if trace.path in parents else arrays_of(trace.params, trace.state) for trace in two]
    return _table(paired(two, three, own)) if len(two) == len(three) else Check((), 0, 0)


def _work(call: LayerCall) -> int:
    """Multiply-adds of a layer with those inside it, per example; inside a `TimeDistributed` each step is a row."""
    two, three = (jax.tree.leaves(trace.x) for trace in (call.two, call.three))
    rows = max((b.shape[0] - a.shape[0] for a, b in zip(two, three, strict=True) if a.shape), default=1)
    one = _operations(call.two.layer, call.two.params, call.two.state, call.two.x)
    return one * max(rows, 1) * call.two.runs


def _operations(layer: Layer, params: PyTree, state: PyTree, x: PyTree) -> int:
    """Multiply-adds per example: the difference between batches of three and of two."""
    two, three = (
        multiply_adds(jax.make_jaxpr(lambda p, s, x: layer.apply(p, s, x)[0])(params, state, resized(x, batch)))
        for batch in (2, 3)
    )
    return three - two
