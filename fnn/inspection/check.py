"""A check before training: does everything fit, and how much work and memory is a step?"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax

from .._core.errors import InputError, fail, shape_text
from .._core.jaxprs import multiply_adds
from .._core.tables import aligned, bytes_text
from .._core.types import Array
from ..nn.layer import Layer, example_of
from ..nn.masks import pairs
from ..nn.observe import Trace, observe
from ..training.state import TrainState
from ..training.task import Task, check_output
from .layers import Seen, abstract, calls, count_of, held, pair_up, resized
from .summary import shape_cell


# --------------------------------------------------------------------------------------------------------------- shapes
class CheckRow(NamedTuple):
    """One layer of a `Check`.

    Attributes:
      path: names from the outermost layer inwards, e.g. ``("residual", "body", "conv")``.
      kind: the type.
      input_shape, output_shape: with None for the batch; for several arrays a tree of shapes.
      input_dtype, output_dtype: the dtypes' names; likewise.
      params: count of its parameters and of its state's numbers, without those of layers inside it.
      operations: multiply-adds for each example, without those of layers inside it.
      size: bytes of its output for each example.
    """

    path: tuple[str, ...]
    kind: str
    input_shape: Any
    input_dtype: Any
    output_shape: Any
    output_dtype: Any
    params: int
    operations: int
    size: int


class Check(NamedTuple):
    """Shapes and cost of a model, layer by layer; printed as a table.

    Attributes:
      rows: a `CheckRow` per layer, in order of computation, layers inside others indented.
      operations: multiply-adds of the whole model for each example.
      size: bytes of the outputs of all layers for each example, of layers inside others without those around them.
    """

    rows: tuple[CheckRow, ...]
    operations: int
    size: int

    def __repr__(self) -> str:
        total = f"for each example: {self.operations:,} multiply-adds, {bytes_text(self.size)} of outputs"
        lines = self._lines()
        return "\n".join([*lines, lines[1], total])

    def _lines(self) -> list[str]:
        head = ("layer (type)", "input", "output", "params", "multiply-adds", "bytes")
        known = {row.path for row in self.rows}
        body = [
            (
                f"{_indented(row.path, known)} ({row.kind})",
                _arrays(row.input_dtype, row.input_shape),
                _arrays(row.output_dtype, row.output_shape),
                f"{row.params:,}",
                f"{row.operations:,}",
                f"{row.size:,}",
            )
            for row in self.rows
        ]
        rule, first, *lines = aligned([head, *body], left=3)
        return [first, rule, *lines]


def _indented(path: tuple[str, ...], known: set[tuple[str, ...]]) -> str:
    """The name of a layer under the layer it is in, or its whole path if that one is not in the table."""
    return f"{'  ' * (len(path) - 1)}{path[-1]}" if path[:-1] in known else "/".join(path)


def _arrays(dtypes: Any, shapes: Any) -> str:
    """Dtype and shape of one array or several."""
    each = jax.tree.map(lambda name, shape: f"{name} {shape_cell(shape)}", dtypes, shapes)
    return ", ".join(jax.tree.leaves(each))


def check(model: Any, x: Any) -> Check:
    """The shapes that go through a model, layer by layer; nothing is computed, and no parameters are made.

    Where `summary` counts parameters, this shows what goes into each layer and what comes out of it, with dtypes, and
    what it costs: the multiply-adds of products and convolutions, counted in the traced program (additions and
    functions of single elements, which are few or fast, are not counted), and the bytes of the output, which training
    keeps for the way back. A training step costs about three times the operations.

    Args:
      model: a `Layer`, or a `Task`, whose loss must then fit the model's last operation.
      x: a batch of input, of which only shape and dtype are read, or a shape without the batch, ``(28, 28, 1)``.

    Returns:
      A `Check`, which prints as a table and holds the numbers.

    Raises:
      InputError: when a layer refuses its input, with its name and position, and the table up to that layer. An error
        of another type, which a layer of your own raises, has the table as a note.

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
    layer: Layer = getattr(model, "model", model)
    if not isinstance(layer, Layer):
        fail("check", expected="a Layer or a Task", got=type(model).__name__)
    given, x = x, example_of("check", x)
    try:
        params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
        seen = calls(layer, params, state, x)
    except Exception as error:
        so_far = _until_refused(layer, x)
        if isinstance(error, InputError) and given is not x and "expected integer" in str(error):
            raise InputError(f"{error} {_integers(given, x)}".rstrip()) from None
        if not so_far.rows:
            raise
        text = "\n".join(["The layers before it:", *so_far._lines()])
        if isinstance(error, InputError):
            raise InputError(f"{error}\n{text}") from None
        error.add_note(text)
        raise
    if isinstance(model, Task):
        check_output(model, params, state, x)
    return _table(seen, _work(layer, params, state, x))


def _integers(given: Any, x: Any) -> str:
    """What to pass in the place of a shape, which stands for floats."""
    if not isinstance(given, (tuple, list)) or not isinstance(x, jax.ShapeDtypeStruct):
        return ""
    shape = shape_text(x.shape)
    return f'A shape alone stands for float32; of integers it is jax.ShapeDtypeStruct({shape}, "int32").'


def _table(seen: list[Seen], operations: int | None = None) -> Check:
    works = [_work(one.two.layer, one.two.params, one.two.state, one.two.x) for one in seen]
    rows, total = [], 0
    for i, one in enumerate(seen):
        path = one.two.path
        within = sum(work for other, work in zip(seen, works, strict=True) if other.two.path[:-1] == path)
        size = _bytes(one.three.y) - _bytes(one.two.y)
        rows.append(
            CheckRow(
                path or (one.two.layer.name,),
                one.two.layer.kind,
                one.shape("x"),
                _dtypes(one.two.x),
                one.shape("y"),
                _dtypes(one.two.y),
                count_of(one.own)[0],
                max(works[i] - within, 0),
                size,
            )
        )
        total += 0 if one.inside and one.two.layer.kind == "Sequential" else size
    return Check(tuple(rows), sum(row.operations for row in rows) if operations is None else operations, total)


def _dtypes(tree: Any) -> Any:
    return jax.tree.map(lambda a: str(a.dtype), pairs(tree))


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _until_refused(layer: Layer, x: Any) -> Check:
    """The layers that took their input, of a model one of whose layers does not."""

    def seen(batch: int) -> list[Trace]:
        traces: dict[tuple[str, ...], Trace] = {}

        # Layers are seen while the model is made, and those inside others once more while it is applied.
        def note(trace: Trace) -> None:
            traces.setdefault(trace.path, abstract(trace))

        def whole(key: Array, x: Any) -> Any:
            params, state = layer.init(key, x)
            return layer.apply(params, state, x)[0]

        with observe(note):
            try:
                jax.eval_shape(whole, jax.random.key(0), resized(x, batch))
            except Exception:
                return list(traces.values())
        return []

    two, three = seen(2), seen(3)
    around = {trace.path[:-1] for trace in two}
    own = [{} if trace.path in around else held(trace.params, trace.state) for trace in two]
    return _table(pair_up(two, three, own)) if len(two) == len(three) else Check((), 0, 0)


def _work(layer: Layer, params: Any, state: Any, x: Any) -> int:
    """Multiply-adds of one example."""
    counts = []
    for batch in (2, 3):
        program = jax.make_jaxpr(lambda p, s, x: layer.apply(p, s, x)[0])(params, state, resized(x, batch))
        counts.append(multiply_adds(program))
    return counts[1] - counts[0]
