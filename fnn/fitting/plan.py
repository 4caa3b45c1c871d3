"""The plan of a training: the source of its steps, its validation data, and what identifies it in checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from operator import length_hint

import jax
import numpy as np

from .._core.errors import fail, kind_of
from .._core.jaxprs import without_addresses
from .._core.processes import spans
from .._core.types import PyTree
from ..training.batch import Batch, rows_of
from ..training.checks import check_fit
from ..training.epoch import check_sizes
from ..training.placed import ONE_DATA_SET, check_mesh, data_on_devices, facts_of_call
from ..training.state import TrainState
from ..training.stopping import Watch
from ..training.task import Task
from ..training.totals import log_names
from ..training.values import warn_of_former_hyper
from . import inputs
from .callbacks import ModelCheckpoint, OnBatch
from .checkpoints import Checkpoints, identity_of_state, settings_of
from .evaluate import ReadyArrays, arrays_to_measure
from .guard import Guard
from .inputs import CHUNK_BYTES, Data
from .logits import check_logits
from .options import Options
from .sources import ArraySource, ChunkSource, Source, StepHooks
from .streams import StreamSource, is_repeatable


@dataclasses.dataclass(frozen=True)
class FitPlan:
    """What to train, on what, and how."""

    task: Task
    options: Options
    source: Source
    validation_data: ReadyArrays | Iterable[PyTree] | None  # an iterable may be slices of arrays
    settings: Mapping[str, object] | None  # of a run with checkpoints; they must be the same when it continues
    facts: Mapping[str, str]  # what must be the same on every process

    def opened(self, ts: TrainState) -> contextlib.AbstractContextManager[Checkpoints | None]:
        """The checkpoints of the run that begins at ``ts``, their folder locked for this process; None without them.

        All processes call it together, to gather a state that is divided between them.
        """
        folder = self.options.checkpoint
        if folder is None or self.settings is None:
            return contextlib.nullcontext()
        settings = {**self.settings, "state": identity_of_state(ts)}
        return Checkpoints(folder, self.options, settings, self.task).opened()


def make_plan(task: Task, ts: TrainState, data: PyTree | Iterable[PyTree], options: Options) -> FitPlan:
    """Check the data, and choose the source of the steps and their interruptions."""
    check_mesh("fit", task, ts)
    parsed, validating = inputs.as_data(data), options.validation_data
    if validating is not None:
        validating = _validation_data(validating, options.validation_steps)
    _check_kinds(parsed, validating, options)
    hooks = StepHooks(
        guard=Guard(task) if options.check == "finite" else None,
        checkpoint_every=None if options.checkpoint is None or options.every == "epoch" else int(options.every),
        call_every=tuple(callback.every for callback in options.callbacks if isinstance(callback, OnBatch)),
        record_stream_state=options.checkpoint is not None,
    )
    chunk_bytes = options.chunk_bytes
    if isinstance(parsed, Batch):
        if chunk_bytes is None and inputs.is_mapped(parsed):
            chunk_bytes = CHUNK_BYTES
        source, held_out = _arrays(task, ts, parsed, options, hooks, chunk_bytes)
    else:
        source, held_out = _stream(task, parsed, options, hooks), None
    for callback in options.callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.begin(task)
    facts = _facts(task, options, {"data": parsed, "validation_data": validating})
    validation: ReadyArrays | Data | None = validating if held_out is None else held_out
    _check_monitors(task, options, validation is not None)
    if isinstance(validation, Batch):
        eval_batch_size = options.eval_batch_size
        validation = arrays_to_measure(task, ts, validation, "validation_data", eval_batch_size, chunk_bytes)
    warn_of_former_hyper("fit", task, ts)
    settings = None
    if options.checkpoint is not None:
        _check_resumable(parsed, options)
        settings = settings_of(task, ts, parsed, validating, options)
    return FitPlan(task, options, source, validation, settings, facts)


def _check_kinds(parsed: Data, validating: Data | None, options: Options) -> None:
    """Refuse arrays of other processes, and iterables that do not last."""
    for name, arrays in (("data", parsed), ("validation_data", validating)):
        if isinstance(arrays, Batch) and spans(arrays):
            expected, got = "arrays of this process", "one on devices of several"
            fail(name, expected=expected, got=got, hint=f"Pass NumPy arrays. {ONE_DATA_SET}")
    for name, stream in (("data", parsed), ("validation_data", validating)):
        endless = name == "data" and options.steps_per_epoch is not None
        if options.epochs > 1 and isinstance(stream, Iterator) and not endless:
            hint = "Pass a list, or fnn.data.Stream(batches) of a generator function batches(epoch)."
            option = "steps_per_epoch" if name == "data" else "validation_steps"
            hint += f" For an endless one, pass {option}."
            expected = f"{name} that can be iterated over once per epoch"
            fail("fit", expected=expected, got=kind_of(stream), hint=hint)
    if options.steps_per_epoch is not None and isinstance(validating, Iterator) and length_hint(validating, -1) < 0:
        hint = "It may be endless, like the training data. Pass a list if it ends."
        got = f"{kind_of(validating)} without it"
        fail("fit", expected="validation_steps with an iterator as validation_data", got=got, hint=hint)


def _facts(task: Task, options: Options, given: Mapping[str, Data | None]) -> dict[str, str]:
    """What the processes must have in common: options, and arrays or the kind of an iterable and its length."""
    facts: dict[str, object] = dict(options.of_all_processes())
    facts["callbacks"] = [
        f"on_batch every {callback.every} steps" if isinstance(callback, OnBatch) else type(callback).__name__
        for callback in options.callbacks
    ]
    facts |= {"checkpoint": str(options.checkpoint is not None), "task": without_addresses(repr(task))}
    for name, data in given.items():
        is_batch = isinstance(data, Batch)
        facts |= {name: "arrays"} if is_batch else {name: kind_of(data), f"{name}, length": length_hint(data, -1)}
    arrays = {name: data for name, data in given.items() if isinstance(data, Batch)}
    return facts_of_call(task, arrays, **facts)


def _validation_data(data: PyTree | Iterable[PyTree], steps: int | None) -> Data:
    """Validation data as parsed; of an iterable the first ``steps`` batches, kept: every epoch is measured on them."""
    parsed = inputs.data_to_measure(data, "fit", "validation_data", steps, "validation_steps")
    if isinstance(parsed, list):
        for i, batch in enumerate(parsed[:steps]):  # before training, unlike those that arrive one by one
            Batch.of(batch, f"validation_data, batch {i}")
    if steps is None:
        return parsed
    batches = [jax.tree.map(np.copy, batch) for batch in parsed]  # a loader may refill its buffers
    return batches or inputs.refuse_empty("validation_data")


def _check_monitors(task: Task, options: Options, validated: bool) -> None:
    """Refuse callbacks that watch what the logs will not hold."""
    names = log_names(task)
    logs = [*names, *(f"val_{name}" for name in names if validated), "seconds"]
    for callback in options.callbacks:
        if isinstance(watch := getattr(callback, "watch", None), Watch):
            watch.check(logs)


def _stream(task: Task, stream: Iterable[PyTree], options: Options, hooks: StepHooks) -> Source:
    """An iterable as a source."""
    if isinstance(options.class_weight, str):
        hint = "Pass the weight of each class."
        fail("fit", expected="numbers as class_weight with an iterable", got=repr(options.class_weight), hint=hint)
    kind = kind_of(stream)
    if options.validation_split:
        fail("fit", expected="arrays with validation_split", got=kind, hint="Use validation_data.")
    if options.chunk_bytes is not None:
        fail("fit", expected="arrays with chunk_bytes", got=kind, hint="Leave chunk_bytes out.")
    if options.drop_remainder:
        fail("fit", expected="arrays with drop_remainder", got=kind, hint="Leave the last batch out in the iterable.")
    if options.steps_per_epoch is None:
        inputs.check_ends("fit", stream, "steps_per_epoch")
    return StreamSource(task, hooks, stream, options)


def _arrays(
    task: Task, ts: TrainState, data: Batch, options: Options, hooks: StepHooks, chunk_bytes: int | None
) -> tuple[Source, Batch | None]:
    """Checked arrays as a source, and the rows that ``validation_split`` holds out."""
    if options.steps_per_epoch is not None:
        hint = "Leave it out: an epoch is one pass over the arrays."
        fail("fit", expected="an iterable of batches with steps_per_epoch", got="arrays", hint=hint)
    held_out = None
    expected, size = check_fit(task, ts, data), rows_of(data)
    check_sizes("fit", size, options.rows, options.drop_remainder)
    inputs.check_slices(task, expected, data, size if chunk_bytes is None else inputs.rows_per_chunk(data, chunk_bytes))
    check_logits(task, ts, expected, data.x, "fit")
    if options.validation_split:
        data, held_out = inputs.split_validation(data, options.validation_split)
        check_sizes("fit", rows_of(data), options.rows, options.drop_remainder)
    if options.class_weight is not None:
        inputs.check_class_weight(task, expected.predictions, options.class_weight)
        data = inputs.weigh(task, data, options.class_weight)
        inputs.check_some_weight(data, "data with class_weight")
    if chunk_bytes is None:
        return ArraySource(task, hooks, data_on_devices(task, data, in_any_order=True), options), held_out
    return ChunkSource(task, hooks, jax.tree.map(np.asarray, data), options, chunk_bytes), held_out


def _check_resumable(data: Data, options: Options) -> None:
    """Refuse checkpoints within an epoch for an iterable that cannot continue there."""
    if options.every != "epoch" and inputs.is_stream(data) and not is_repeatable(data):
        hint = "Give it state() and restore(state), or use every='epoch'; see docs/how-to/resume.md."
        expected = "a list of batches, or an iterable with a state, with a number as every"
        got = f"{kind_of(data)}, which cannot continue within an epoch"
        fail("fit", expected=expected, got=got, hint=hint)
