"""``fit(check="finite")``: stop at the first value that is not finite, and name its place.

The compiled steps stay unchanged. About once a second the state is copied, and a second later the current state is
checked, at the cost of one pass over the parameters. If a value is not finite, the steps since the copy are repeated
one at a time by the same program, hence with the same bits, up to the one that went wrong; that step is then repeated
while the values of every layer are observed.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import at_least_float32, is_float
from .._core.processes import decided, on_host, spans
from .._core.trees import bytes_of, copied, paths
from .._core.typed import jit, tree_map
from .._core.types import Array, PyTree
from ..nn.graph import Origin, graph_of
from ..nn.observe import call_name
from ..training.batch import Batch, neutralize_zero_weights, rows_that_count
from ..training.probe import LayerValues, layer_values
from ..training.state import TrainState
from ..training.step import train_step
from ..training.task import Task
from ..training.totals import Logs, Totals, loss_totals
from .pieces import Call, advance
from .progress import History

Graph = dict[str, tuple[str, list[str]]]

# Interval between finiteness checks, in seconds, and the bytes of streamed data that may be kept in between.
_PERIOD, _BYTES = 1.0, 256 * 2**20


class NonFiniteError(FloatingPointError):
    """A value became NaN or infinite during ``fit(..., check="finite")``.

    Attributes:
      place: the layer, parameter, loss or input where it appeared, in words.
      step: the training step, counted from 0 as ``ts.step``.
      epoch: the epoch, counted from 0.
      task: the `Task`.
      ts: the `TrainState` before that step, the last finite one.
      batch: the batch of that step, ``(x, y)`` or ``(x, y, sample_weight)``.
      history: the `History` of the completed epochs.

    Call ``layer_report(error.task, error.ts, error.batch)`` for details of each layer.
    """

    def __init__(self, place: str, task: Task, ts: TrainState, batch: Batch, epoch: int) -> None:
        self.place, self.task, self.ts = place, task, ts
        self.batch = batch.parts
        self.step, self.epoch = int(ts.step), epoch
        self.history: History | None = None
        super().__init__(place)

    def keep(self, history: History) -> None:
        """Attach the history of the completed epochs."""
        self.history = history

    def __reduce__(self) -> tuple[type[FloatingPointError], tuple[str]]:
        # Another process may lack the functions in the task, so only the message goes there.
        return FloatingPointError, (str(self),)

    def __str__(self) -> str:
        help = " A lower learning rate may help, or clipping the gradients (fnn.clip_by_global_norm)."
        return (
            f"fit: not finite since step {self.step} (epoch {self.epoch + 1}): {self.place}. The state before it is "
            ".ts of this error, its batch .batch; .replay() repeats the step."
        ) + (help if self.step else "")

    def replay(self) -> tuple[TrainState, Logs]:
        """Repeat the failing step with `train_step`: the state after it, and its loss and metrics."""
        return train_step(self.task, self.ts, self.batch)


@jit
def _flags(tree: PyTree) -> Array:
    """Whether each leaf is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]) if leaves else jnp.ones(1, bool)


def _watched(task: Task, ts: TrainState, totals: Totals) -> PyTree:
    """The values that must stay finite. Metrics need not: some have no value on some batches."""
    return ts.params, ts.state, ts.opt_state, loss_totals(task, totals)


class Guard:
    """Checks the states of a source for non-finite values."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.calls: list[Call] = []
        self.copy: tuple[TrainState, Totals] | None = None
        self.since = 0.0
        self.held = 0
        # An optimizer's state may hold infinity from the start, for a minimum for example.
        self.expected: np.ndarray | None = None

    def before(self, ts: TrainState, totals: Totals, call: Call) -> None:
        """Record steps that are about to be made."""
        if self.copy is None:
            self.copy = copied((ts, totals))
            if self.expected is None:
                self.expected = on_host(_flags(_watched(self.task, ts, totals)))
            self.since, self.calls, self.held = time.perf_counter(), [], 0
        if self.calls and self.calls[-1].piece.data is not call.piece.data:  # the last data are held anyway
            self.held += bytes_of(call.piece.data)
        self.calls.append(call)

    def after(self, ts: TrainState, totals: Totals) -> None:
        """Check the new state if the last check was long enough ago."""
        if decided(time.perf_counter() - self.since > _PERIOD) or self.held > _BYTES:
            self.look(ts, totals)

    def look(self, ts: TrainState, totals: Totals) -> None:
        """Raise `NonFiniteError` if a number is not finite."""
        if self.copy is not None:
            if not self._good(ts, totals):
                self._search(*self.copy)
            self.copy, self.calls = None, []

    def _good(self, ts: TrainState, totals: Totals) -> bool:
        return bool((on_host(_flags(_watched(self.task, ts, totals))) >= self.expected).all())

    def _search(self, start: TrainState, totals: Totals) -> NoReturn:
        """Repeat the steps one at a time, up to the one that went wrong."""
        ts, totals = copied((start, totals))
        for number, call in enumerate(self.calls):
            if call.begins_epoch and number:
                totals = jax.tree.map(jnp.zeros_like, totals)
            for i in range(call.first, call.first + call.batches):
                before = copied(ts)
                ts, totals, _ = advance(self.task, ts, totals, call._replace(first=i, batches=1))
                if not self._good(ts, totals):
                    batch = _readable(call.piece.batch(i))
                    raise NonFiniteError(_place(self.task, before, batch, ts), self.task, before, batch, call.epoch)
        last = int(start.step) + sum(call.batches for call in self.calls) - 1
        place = f"somewhere in the steps {int(start.step)} to {last}: none of them shows it when repeated alone"
        call = self.calls[0]
        raise NonFiniteError(place, self.task, start, _readable(call.piece.batch(call.first)), call.epoch)


def _readable(batch: Batch) -> Batch:
    """A batch with all rows in this process."""
    return tree_map(on_host, batch) if spans(batch) else batch


_layer_values = jit(layer_values, static_argnums=0)
_harmless = jit(neutralize_zero_weights, static_argnums=0)


def _place(task: Task, ts: TrainState, batch: Batch, after: TrainState) -> str:
    """Where the first non-finite value of a step arises, in the order of computation, in words."""
    harmless = batch if batch.weight is None else _harmless(task.model, batch)
    if bad := _bad_input(task, harmless):
        return bad
    graph = _graph(task, ts, harmless.x)
    values: LayerValues = _layer_values(task, ts, batch)
    if forward := _forward(values, harmless.x, graph):
        return forward
    name, out = next(reversed(values.outputs.items()))
    ending = f"the largest absolute value of the output of {_layer(name)} is {_largest(out)}"
    if _bad(values.loss):
        return f"forward: the losses of the batch, which overflow in their sum; {ending}"
    names = list(values.output_gradients)
    for i in reversed(range(len(names))):
        if bad := _bad(values.output_gradients[names[i]]):
            return (
                f"backward through {_readers(i, names, graph)}: the gradient at the output of {_layer(names[i])} has "
                f"{bad}, while all values forward are finite (the largest loss of an example is "
                f"{_largest(values.losses)})"
            )
    gradients = paths(values.gradients)

    # Backward, the last layer comes first; parameters of no layer in the outputs come last.
    def order(path: str) -> int:
        return -max((i for i, name in enumerate(names) if f"{path}/".startswith(f"{name}/")), default=-1)

    for path in sorted(gradients, key=order):
        if bad := _bad(gradients[path]):
            others = "while those at all layers' outputs are finite"
            return f"backward: the gradient of parameter {path!r} has {bad}, {others}"
    for what, tree in (("parameter", after.params), ("the optimizer's", after.opt_state), ("layer state", after.state)):
        for path, leaf in paths(tree).items():
            if bad := _bad(leaf):
                return f"the update: {what} {path!r} has {bad} after it; the largest gradient is {_largest(gradients)}"
    return f"forward: the losses of the epoch, which overflow in their sum; {ending}"


def _bad_input(task: Task, batch: Batch) -> str:
    """The first array of a batch that is not finite, in words; targets of weight 0 may be."""
    given = [("x", batch.x)]
    for part in task.parts:
        y, weight = jax.tree.map(np.asarray, (part.of("targets", batch.y), part.weight_of(batch.weight)))
        counts = rows_that_count(weight)
        y = y if counts is None else jax.tree.map(partial(np.compress, counts, axis=0), y)
        given.append((f"y{part.subscript}", y))
    for name, tree in (*given, ("sample_weight", batch.weight)):
        for path, leaf in paths(tree).items():
            if bad := _bad(leaf):
                return f"input {name}{f'[{path}]' if path else ''} has {bad}"
    return ""


def _graph(task: Task, ts: TrainState, x: PyTree) -> Graph:
    """For each layer called by a `Model`, that model and the layers that it reads, by the names of `LayerValues`."""
    found, _ = graph_of(task.network, ts.params, ts.state, x, train=True)
    names: dict[Origin, str] = {}
    counts = Counter[str]()
    for place in found:
        path = "/".join(name for name, _ in place)
        counts[path] += 1
        names[place] = call_name(path, counts[path])
    parents = {place: names.get(place[:-1], "/".join(name for name, _ in place[:-1])) for place in found}
    return {
        names[place]: (parents[place], [names[source] for source in sources if source in names])
        for place, sources in found.items()
    }


def _readers(i: int, names: list[str], graph: Graph) -> str:
    """The layers that read the output of layer ``i``, in words."""
    following = names[i + 1 : i + 2]
    if names[i] in graph:
        parent = graph[names[i]][0]
        following = [name for name, (_, sources) in graph.items() if names[i] in sources]
        following = following or [parent] * (parent in names)
    return " and ".join(map(_layer, following)) or "the loss"


def _forward(values: LayerValues, x: PyTree, graph: Graph) -> str:
    """The first layer with a non-finite output, or the loss, in words; empty if all are finite."""
    before, size = "the input", _largest(x)
    for name, out in values.outputs.items():
        if bad := _bad(out):
            parent, sources = graph.get(name, ("", []))
            if sources:
                before = f"the output of {' and '.join(map(_layer, sources))}"
                size = _largest([values.outputs[source] for source in sources])
            elif name in graph and not parent:
                before, size = "the input", _largest(x)
            return f"forward: the output of {_layer(name)} has {bad}; the largest absolute value of {before} is {size}"
        before, size = f"the output of {_layer(name)}", _largest(out)
    if bad := _bad(values.losses):
        rows = np.unique(np.nonzero(~np.isfinite(on_host(values.losses).astype(np.float64)))[0])
        return (
            f"forward: the loss of {len(rows)} of {len(values.losses)} examples, the first of which is row {rows[0]} "
            f"of the batch, is not finite ({bad}); the largest absolute value of {before} is {size}"
        )
    if bad := _bad(values.penalty):
        return f"forward: the penalty, with the terms that layers add to the loss, has {bad}"
    return ""


def _layer(name: str) -> str:
    return f"layer {name!r}" if name else "the model"


def _bad(tree: PyTree) -> str:
    """The number of NaN and infinite values, in words; empty if there are none."""
    values = [_on_host(leaf) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    counts = (sum(int(np.count_nonzero(kind(a))) for a in values) for kind in (np.isnan, np.isinf))
    found = [f"{count:,} {name}" for count, name in zip(counts, ("NaN", "infinite"), strict=True) if count]
    return f"{' and '.join(found)} of {sum(a.size for a in values):,} values" if found else ""


def _largest(tree: PyTree) -> str:
    """The largest absolute value in a tree."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size and not jnp.issubdtype(leaf.dtype, jnp.bool_)]
    return f"{max((float(np.abs(_on_host(leaf)).max()) for leaf in leaves), default=0.0):.3g}"


def _on_host(leaf: Array) -> np.ndarray:
    """The values of an array; NumPy compiles no program for each shape, as JAX would."""
    values = on_host(leaf)
    return values.astype(at_least_float32(values.dtype)) if is_float(values) else values
