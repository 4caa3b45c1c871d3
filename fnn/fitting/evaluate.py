"""`evaluate` and `predict`."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._core.arrays import jax_setting
from .._core.checks import check_count, renamed
from .._core.errors import InputError, fail, hinted, located
from .._core.inputs import as_arrays, leaves
from .._core.processes import agreeing, is_together
from .._core.typed import block_until_ready, jit
from .._core.types import Array, PyTree
from ..training.batch import Batch, InBatches, Signature, own_copy, rows_of
from ..training.checks import Limits, check_fit, check_ids_in_range, input_limits
from ..training.evaluation import measure_all, predict_in_batches, rows_at_once
from ..training.placed import (
    DATA_HINTS,
    Shard,
    check_mesh,
    facts_of_call,
    placed,
    read_in_order,
    shares_on_devices,
    together_on,
)
from ..training.state import TrainState, check_state, check_task
from ..training.task import Task
from ..training.totals import merge, results
from . import inputs
from .ahead import pausing_readers
from .batches import input_batches, is_batches, with_hint
from .inputs import CHUNK_BYTES, Data
from .logits import check_logits
from .progress import Scores, as_floats
from .shares import in_step
from .watchdog import busy, computing, watching

_measure_all = jit(measure_all, static_argnums=(0, 4))
_merge = jit(merge, static_argnums=0)
_results = jit(results, static_argnums=0)

_PURE = {
    "fit": "fnn.run, fnn.train_epoch or fnn.train_step",
    "evaluate": "fnn.run(..., validation_data=(x, y)), whose history has the values",
    **dict.fromkeys(("predict", "predictor"), "y, _ = task.model.apply(ts.params, ts.state, x)"),
}
"""The pure function that does the work of a driver."""


def check_call(where: str, task: object, ts: object, data: object, extra: tuple[object, ...] = ()) -> None:
    """Refuse calls that a driver cannot serve: other arguments, or a call inside a JAX transformation."""
    check_task(task)
    check_state(ts)
    if data is None:
        hint = f"Write fnn.{where}(task, ts, {'x' if where == 'predict' else '(x, y)'})."
        fail(where, expected="data as third argument", got="none", hint=hint)
    if extra:
        hint = f"Pass the data as one tuple: {where}(task, ts, (x, y))."
        fail(where, expected="three positional arguments", got=str(3 + len(extra)), hint=hint)
    refuse_traced(where, ts, data)


def refuse_traced(where: str, ts: object, data: PyTree = ()) -> None:
    """Refuse a call inside a JAX transformation; iterables of batches are checked as they are read."""
    given = [] if type(data) is np.ndarray or inputs.is_stream(data) else leaves(data)
    if any(issubclass(kind, jax.core.Tracer) for kind in {type(leaf) for leaf in (*jax.tree.leaves(ts), *given)}):
        hint = f"{where} runs on the host; inside fnn.many, fnn.sweep, jit, vmap or grad write {_PURE[where]}."
        fail(where, expected="concrete values", got="traced ones", hint=hint)


def read_once(task: Task, data: PyTree, batch_size: int) -> PyTree:
    """`read_in_order` for a single call: on one device the call itself copies NumPy arrays, in less time."""
    by_call = task.placement is None and not jax_setting("jax_disable_jit")
    return data if by_call else read_in_order(task, data, batch_size)


def arrays_to_measure(
    task: Task, ts: TrainState, data: Batch, where: str, batch_size: int | None, chunk_bytes: int | None = None
) -> Data:
    """Arrays checked, and for several epochs on the device; slices if they lie in files or are to come in chunks."""
    if chunk_bytes is None and inputs.is_mapped(data):
        chunk_bytes = CHUNK_BYTES
    expected = check_fit(task, ts, data, where, train=False)
    rows = rows_of(data) if chunk_bytes is None else inputs.rows_per_chunk(data, chunk_bytes)
    inputs.check_slices(task, expected, data, rows, where)
    once = where != "validation_data"
    if once:  # fit has checked the training data
        check_logits(task, ts, expected, data.x, "evaluate")
    if chunk_bytes is not None:
        return inputs.Slices(data, rows)
    size = rows_at_once(task, ts, data.x, batch_size)
    found: Data = read_once(task, data, size) if once else read_in_order(task, data, size)
    return found


def measure_data(
    task: Task, ts: TrainState, data: Data, batch_size: int | None, *, counted: bool = False
) -> tuple[dict[str, float], float]:
    """Loss and metrics of checked arrays, or of a stream, which is checked here; and the rows for `warn_of_nan`.

    A stream that is not ``counted`` is read to its end.
    """
    size = rows_at_once(task, ts, data.x, batch_size) if isinstance(data, Batch) else 0
    task = inputs.with_nan_row_metric(task)
    computing("evaluation")
    if isinstance(data, (Batch, InBatches)):
        totals = _measure_all(task, ts.params, ts.state, data, size)
    else:
        totals = None
        for batch, size in _batches(task, ts, data, batch_size, counted):
            part = _measure_all(task, ts.params, ts.state, batch, size)
            computing("evaluation", part)
            totals = part if totals is None else _merge(task, totals, part)
    assert totals is not None  # `batches` refuses an empty stream
    logs = as_floats(task, _results(task, totals))
    return logs, inputs.pop_nan_rows(task, logs)


def _batches(
    task: Task, ts: TrainState, data: Iterable[PyTree], batch_size: int | None, counted: bool
) -> Iterator[tuple[Batch | InBatches, int]]:
    """The batches of an iterable on the devices, with the number of rows to compute at a time."""
    check, slices = inputs.BatchCheck(task, train=False), isinstance(data, inputs.Slices)
    given = inputs.batches(data, "evaluate")
    if is_together() and not slices:

        def prepare(batch: Batch) -> Batch:
            check(ts, batch)
            return batch

        for batch, counts in in_step(given, "evaluate", prepare):
            yield shares_on_devices(task, batch, counts), sum(counts)
        return
    for count, batch in enumerate(given, 1):
        if not counted:
            inputs.warn_of_many("evaluate", data, count, "pass steps, or validation_steps to fit")
        if not slices:
            check(ts, batch)
        size = rows_at_once(task, ts, batch.x, batch_size)
        yield read_once(task, own_copy(batch), size), size


@renamed(
    **dict.fromkeys(("x", "X", "y"), "the data as one tuple, evaluate(task, ts, (x, y))"),
    sample_weight="the data as (x, y, sample_weight)",
    verbose="it without verbose: it prints nothing",
    return_dict="it without: it is a dict",
)
def evaluate(
    task: Task,
    ts: TrainState,
    data: PyTree | Iterable[PyTree] = None,
    *extra: object,
    batch_size: int | None = None,
    steps: int | None = None,
    mesh: Mesh | None = None,
    shard: Shard | None = None,
) -> Scores:
    """Loss and metrics on data, without training.

    Args:
      task, ts: the `Task` and the `TrainState`.
      data: ``(x, y)`` or ``(x, y, sample_weight)`` as a tuple of arrays, which may be memory-mapped, or an iterable of
        such batches.
      batch_size: examples computed at a time, at most. It does not change the result. Default 256, or more while no
        intermediate result takes more than 64 MiB.
      steps: for iterables, the number of batches to read; required if the iterable is endless. By default an iterable
        is read to its end.
      mesh, shard: several devices, as in `fit`; default one device.

    Returns:
      `Scores`, a dict of floats: "loss", then the task's metrics; with losses by output, then the loss and metrics of
      each. The order is that in the task. It unpacks to the values: ``loss, accuracy = ...``.

    Raises:
      InputError: as `fit`; for sample weights that are all 0; for an endless iterable of `itertools` without ``steps``.
        (That a generator is endless cannot be known: without ``steps`` it is read forever.)

    Warns (`RuntimeWarning`) when an iterable has fewer than ``steps`` batches, and when predictions hold NaN; such
    examples count as wrong in metrics of classes.
    """
    with together_on(mesh, "evaluate"), watching("evaluate"), pausing_readers():
        check_call("evaluate", task, ts, data, extra)
        check_rows("evaluate", batch_size)
        task, ts = placed("evaluate", task, ts, mesh, shard)
        check_mesh("evaluate", task, ts)
        with agreeing("evaluate", DATA_HINTS) as facts, busy("checking its data"):
            parsed = found = inputs.data_to_measure(data, "evaluate", "data", steps, "steps")
            arrays = {}
            if isinstance(parsed, Batch):
                arrays = {"data": parsed}
                found = arrays_to_measure(task, ts, parsed, "evaluate, data", batch_size)
            facts |= facts_of_call(task, arrays, batch_size=batch_size)
        logs, nan_rows = measure_data(task, ts, found, batch_size, counted=steps is not None)
    inputs.warn_of_nan("evaluate", nan_rows)
    return Scores(logs)


@renamed(verbose="it without verbose: it prints nothing", steps="itertools.islice(batches, steps)")
def predict(
    task: Task,
    ts: TrainState,
    x: PyTree = None,
    *,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    shard: Shard | None = None,
) -> PyTree:
    """The model's outputs for many examples, in batches, with training mode off.

    Args:
      task, ts: the `Task` and the `TrainState`.
      x: the input, an array with the examples along its first axis, or a dict or tuple of such arrays; memory-mapped
        ones are read in chunks. Or an iterable of batches that ends, such as a data loader, an `fnn.data.Stream`, a
        generator or a list of pairs, of inputs alone or as `evaluate` takes them: of a tuple or list, ``(x, y)`` or
        ``(x, y, sample_weight)``, the first entry is the input. A list of arrays is several inputs.
      batch_size: examples computed at a time, at most. Default 256, or more while no intermediate result takes more
        than 64 MiB.
      mesh, shard: several devices, as in `fit`; default one device.

    Returns:
      The model's outputs, usually logits, with the examples along the first axis. Use ``fnn.activations.softmax`` for
      probabilities and ``.argmax(-1)`` for classes.

    Raises:
      InputError: for an input that does not fit the model or holds NaN or infinity.
    """
    model = _remembered(task, ts, batch_size) if x is not None and mesh is None and shard is None else None
    if model is not None:
        outputs = model.outputs(x)
    else:
        with together_on(mesh, "predict"), watching("predict"):
            check_call("predict", task, ts, x)
            check_rows("predict", batch_size)
            task, ts = placed("predict", task, ts, mesh, shard)
            check_mesh("predict", task, ts)
            model = Inference(task, ts, batch_size, {})
            _remember(model)
            outputs = model.outputs(x)
    # The device may still read a NumPy array, which its owner may change.
    return outputs if isinstance(x, jax.Array) else block_until_ready(outputs)


def check_rows(where: str, batch_size: int | None) -> None:
    """Refuse a ``batch_size`` that is no number of rows; None stands for the default."""
    if batch_size is not None:
        check_count(where, "batch_size", batch_size)


Known = dict[Hashable, tuple[Limits, int]]
"""By the shapes of an input that `Inference` has checked: the `Limits` of its values, and the rows at a time."""


@dataclasses.dataclass(frozen=True)
class Inference:
    """A model that predicts, for one call of `predict` or for all of a `predictor`.

    Attributes:
      task, ts: task and state on their devices, checked.
      batch_size: examples computed at a time, None for the default.
      known: what need not be checked again.
    """

    task: Task
    ts: TrainState
    batch_size: int | None
    known: Known

    def outputs(self, x: PyTree) -> PyTree:
        """See `predict`; the device may still be computing them."""
        shapes = _shapes(x) if self.task.placement is None else None
        if shapes not in self.known:
            return self._checked(x, shapes)
        limits, rows = self.known[shapes]
        check_ids_in_range(limits, x, "x")
        inputs.check_finite(x, "x")
        return self._computed(x, rows)

    def _checked(self, given: PyTree, shapes: Hashable | None) -> PyTree:
        """`outputs` of an input of any kind, after all checks."""
        refuse_traced("predict", None, given)
        if is_batches(given):
            with pausing_readers():
                return _joined(self._of_batches(given))
        x = as_arrays(given, defer_checks=True)
        if inputs.is_mapped(x):
            rows = inputs.rows_per_chunk(x, CHUNK_BYTES)
            for i, part in enumerate(inputs.Slices(x, rows)):
                inputs.check_finite(part, "x", i * rows)
            return _joined(self.outputs(part) for part in inputs.Slices(x, rows))
        with agreeing("predict", DATA_HINTS) as facts, busy("checking its data"):
            try:
                limits = input_limits(self.task, Signature.of(self.ts._replace(opt_state=())), Signature.of(x))
                check_ids_in_range(limits, x, "x")
            except InputError as error:
                raise with_hint(error, x) from None
            inputs.check_finite(x, "x")
            facts |= facts_of_call(self.task, {"x": x}, batch_size=self.batch_size)
        rows = rows_at_once(self.task, self.ts, x, self.batch_size)
        if x is given and shapes is not None:  # nothing had to be converted
            self.known[shapes] = limits, rows
        return self._computed(x, rows)

    def _computed(self, x: PyTree, rows: int) -> PyTree:
        return predict_in_batches(self.task, self.ts.params, self.ts.state, read_once(self.task, x, rows), rows)

    def _of_batches(self, x: Iterable[PyTree]) -> Iterator[PyTree]:
        for i, (part, advice) in enumerate(input_batches(x)):
            inputs.warn_of_many("predict", x, i + 1, "pass itertools.islice(x, count)")
            with located(f"x, batch {i}"), hinted(advice):
                yield self.outputs(part)


def _joined(parts: Iterable[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _shapes(x: PyTree) -> Hashable | None:
    """Structure, shapes and dtypes of NumPy arrays, in less time than `Signature.of`; None for any other input."""
    if type(x) is not np.ndarray and not isinstance(x, (dict, tuple)):
        return None
    arrays, structure = jax.tree.flatten(x)
    if any(type(a) is not np.ndarray for a in arrays):
        return None
    return structure, jax_setting("jax_enable_x64"), *[(a.shape, a.dtype) for a in arrays]


# ------------------------------------------------------------------------------------------- repeated calls of predict
class _Last(NamedTuple):
    """The task and the state of the last call, by weak references, which keep no array in memory."""

    task: Task
    structure: jax.tree_util.PyTreeDef
    arrays: tuple[weakref.ref[Array], ...]
    batch_size: int | None
    known: Known


_last: list[_Last] = []  # one, or none


def _remember(model: Inference) -> None:
    arrays, structure = jax.tree.flatten((model.ts.params, model.ts.state))
    if model.task.placement is None and all(isinstance(a, jax.Array) for a in arrays):
        _last[:] = [_Last(model.task, structure, tuple(map(weakref.ref, arrays)), model.batch_size, model.known)]


def _remembered(task: Task, ts: TrainState, batch_size: int | None) -> Inference | None:
    """The model of the last call, if this one has the same task and arrays."""
    for last in _last:
        if task is last.task and type(ts) is TrainState and batch_size == last.batch_size:
            arrays, structure = jax.tree.flatten((ts.params, ts.state))
            # Equal structures have as many arrays.
            if structure == last.structure and all(map(_refers, last.arrays, arrays)):
                return Inference(task, ts, batch_size, last.known)
    return None


def _refers(reference: weakref.ref[Array], a: Array) -> bool:
    return reference() is a
