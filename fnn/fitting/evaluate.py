"""`evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from .._core.checks import renamed
from .._core.processes import agreeing, is_together
from .._core.trees import own_copy
from .._core.typed import block_until_ready, jit
from .._core.types import PyTree
from ..training.batch import Batch, InBatches, rows_of
from ..training.checks import check_fit
from ..training.evaluation import measure_all, rows_at_once
from ..training.placed import (
    DATA_HINTS,
    Shard,
    check_mesh,
    facts_of_call,
    placed,
    read_in_order,
    shares_on_devices,
)
from ..training.state import TrainState
from ..training.task import Task
from ..training.totals import merge, results
from . import inputs
from .calls import check_call, check_rows, driving
from .inference import Inference, read_once, remember, remembered
from .inputs import CHUNK_BYTES
from .logits import check_logits
from .progress import Scores, as_floats
from .shares import in_step
from .watchdog import busy, computing

_measure_all = jit(measure_all, static_argnums=(0, 4))
_merge = jit(merge, static_argnums=0)
_results = jit(results, static_argnums=0)


class ReadyArrays(NamedTuple):
    """Checked arrays in the form in which they are read, and the number of rows to compute at a time."""

    data: Batch | InBatches
    rows: int


def arrays_to_measure(
    task: Task, ts: TrainState, data: Batch, where: str, batch_size: int | None, chunk_bytes: int | None = None
) -> ReadyArrays | inputs.Slices[Batch]:
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
    return ReadyArrays(read_once(task, data, size) if once else read_in_order(task, data, size), size)


def measure_data(
    task: Task,
    ts: TrainState,
    data: ReadyArrays | Iterable[PyTree],
    batch_size: int | None,
    *,
    counted: bool = False,
) -> tuple[dict[str, float], float]:
    """Loss and metrics of checked arrays, or of a stream, which is checked here; and the rows for `warn_of_nan`.

    A stream that is not ``counted`` is read to its end.
    """
    task = inputs.with_nan_row_metric(task)
    computing("evaluation")
    if isinstance(data, ReadyArrays):
        totals = _measure_all(task, ts.params, ts.state, data.data, data.rows)
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
    with driving("evaluate", mesh):
        check_call("evaluate", task, ts, data, extra)
        check_rows("evaluate", batch_size)
        task, ts = placed("evaluate", task, ts, mesh, shard)
        check_mesh("evaluate", task, ts)
        with agreeing("evaluate", DATA_HINTS) as facts, busy("checking its data"):
            parsed = inputs.data_to_measure(data, "evaluate", "data", steps, "steps")
            arrays: dict[str, Batch] = {}
            found: ReadyArrays | Iterable[PyTree] = parsed
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
    model = remembered(task, ts, batch_size) if x is not None and mesh is None and shard is None else None
    if model is not None:
        outputs = model.outputs(x)
    else:
        with driving("predict", mesh):
            check_call("predict", task, ts, x)
            check_rows("predict", batch_size)
            task, ts = placed("predict", task, ts, mesh, shard)
            check_mesh("predict", task, ts)
            model = Inference(task, ts, batch_size, {})
            remember(model)
            outputs = model.outputs(x)
    # The device may still read a NumPy array, which its owner may change.
    return outputs if isinstance(x, jax.Array) else block_until_ready(outputs)
