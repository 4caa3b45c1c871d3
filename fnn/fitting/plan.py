"""The plan of a training: checked options, the source of its steps, validation data and checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import length_hint
from typing import cast

import jax
import numpy as np

from .._core.checks import check_count, check_range
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
from .callbacks import Callback, ModelCheckpoint, OnBatch, Path, as_callback
from .checkpoints import Checkpoints, comparable, settings_of
from .evaluate import arrays_to_measure
from .guard import Guard
from .inputs import CHUNK_BYTES, ClassWeight, Data
from .logits import check_logits
from .sources import ArraySource, ChunkSource, Source, StepHooks
from .streams import StreamSource, is_repeatable


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of `fit`, which documents them."""

    epochs: int
    batch_size: int | None
    validation_data: PyTree | Iterable[PyTree]
    validation_split: float
    shuffle: bool
    drop_remainder: bool
    class_weight: ClassWeight | None
    callbacks: Sequence[Callback]
    verbose: int
    eval_batch_size: int
    chunk_bytes: int | None
    checkpoint: Path | None
    every: int | str
    keep: int | None
    check: str | None
    steps_per_epoch: int | None
    validation_steps: int | None

    def checked(self) -> Options:
        """The same options, with counts as Python integers and callbacks as a tuple; refuses invalid values."""
        for name in ("epochs", "eval_batch_size"):
            check_count("fit", name, getattr(self, name))
        split = self.validation_split
        if isinstance(split, (int, float, np.number)) and not 0 <= split < 1:
            hint = "All rows would be for validation." if split == 1 else ""
            fail("fit", expected="validation_split in [0, 1)", got=f"{split:g}", hint=hint)
        check_range("fit", "validation_split", split, 0, 1)
        if split and self.validation_data is not None:
            fail("fit", expected="either validation_data or validation_split", got="both")
        if self.validation_steps is not None and self.validation_data is None:
            fail("fit", expected="an iterable as validation_data with validation_steps", got="none")
        if self.verbose not in (0, 1, 2):
            fail("fit", expected="verbose 0, 1 or 2", got=repr(self.verbose))
        several = isinstance(self.callbacks, Iterable) and not callable(self.callbacks)
        callbacks = tuple(self.callbacks) if several else (cast(Callback, self.callbacks),)
        if isinstance(self.every, str) and self.every != "epoch":
            fail("fit", expected="every='epoch' or a number of steps", got=repr(self.every))
        every = None if self.every == "epoch" else self.every
        counts = {"batch_size": self.batch_size, "chunk_bytes": self.chunk_bytes, "every": every, "keep": self.keep}
        counts["steps_per_epoch"] = self.steps_per_epoch
        for name, count in counts.items():
            if count is not None:
                check_count("fit", name, count)
        if self.check not in (None, "finite"):
            fail("fit", expected="check='finite' or None", got=repr(self.check))
        if self.checkpoint is None and (self.every, self.keep) != ("epoch", 2):
            hint = "Pass checkpoint='folder'."
            fail("fit", expected="a folder for checkpoints with every or keep", got="none", hint=hint)
        # A NumPy integer would compile the step again.
        return dataclasses.replace(
            self,
            epochs=int(self.epochs),
            batch_size=None if self.batch_size is None else int(self.batch_size),
            eval_batch_size=int(self.eval_batch_size),
            callbacks=tuple(map(as_callback, callbacks)),
        )

    @property
    def rows(self) -> int:
        """Examples per step, for arrays."""
        return 32 if self.batch_size is None else self.batch_size


@dataclasses.dataclass(frozen=True)
class FitPlan:
    """What to train, on what, and how."""

    task: Task
    options: Options
    source: Source
    validation_data: Data | None  # checked arrays, slices of them, or an iterable
    checkpoints: Checkpoints | None
    facts: Mapping[str, str]  # what must be the same on every process

    def opened(self) -> contextlib.AbstractContextManager[object]:
        """The checkpoint folder, locked for this process."""
        return contextlib.nullcontext() if self.checkpoints is None else self.checkpoints.opened()


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
    validation = validating if held_out is None else held_out
    _check_monitors(task, options, validation is not None)
    if isinstance(validation, Batch):
        eval_batch_size = options.eval_batch_size
        validation = arrays_to_measure(task, ts, validation, "validation_data", eval_batch_size, chunk_bytes)
    warn_of_former_hyper("fit", task, ts)
    checkpoints = _checkpoints(task, ts, parsed, validating, options)
    return FitPlan(task, options, source, validation, checkpoints, facts)


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
    kept = ("validation_data", "callbacks", "verbose", "checkpoint")
    facts: dict[str, object] = {name: comparable(value) for name, value in vars(options).items() if name not in kept}
    facts["callbacks"] = str(
        [
            f"on_batch every {callback.every} steps" if isinstance(callback, OnBatch) else type(callback).__name__
            for callback in options.callbacks
        ]
    )
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
    return StreamSource(
        task,
        hooks,
        stream,
        class_weight=options.class_weight,
        steps_per_epoch=options.steps_per_epoch,
        asked=options.batch_size,
    )


def _arrays(
    task: Task, ts: TrainState, data: Batch, options: Options, hooks: StepHooks, chunk_bytes: int | None
) -> tuple[Source, Batch | None]:
    """Checked arrays as a source, and the rows that ``validation_split`` holds out."""
    if options.steps_per_epoch is not None:
        hint = "Leave it out: an epoch is one pass over the arrays."
        fail("fit", expected="an iterable of batches with steps_per_epoch", got="arrays", hint=hint)
    held_out = None
    batch_size, drop = options.rows, options.drop_remainder
    expected, size = check_fit(task, ts, data), rows_of(data)
    check_sizes("fit", size, batch_size, drop)
    inputs.check_slices(task, expected, data, size if chunk_bytes is None else inputs.rows_per_chunk(data, chunk_bytes))
    check_logits(task, ts, expected, data.x, "fit")
    if options.validation_split:
        data, held_out = inputs.split_validation(data, options.validation_split)
        check_sizes("fit", rows_of(data), batch_size, drop)
    if options.class_weight is not None:
        inputs.check_class_weight(task, expected.predictions, options.class_weight)
        data = inputs.weigh(task, data, options.class_weight)
        inputs.check_some_weight(data, "data with class_weight")
    shuffle = options.shuffle
    if chunk_bytes is None:
        data = data_on_devices(task, data, in_any_order=True)
        return ArraySource(task, hooks, data, batch_size, shuffle=shuffle, drop=drop), held_out
    data = jax.tree.map(np.asarray, data)
    return ChunkSource(task, hooks, data, batch_size, shuffle=shuffle, drop=drop, chunk_bytes=chunk_bytes), held_out


def _checkpoints(
    task: Task, ts: TrainState, data: Data, validating: Data | None, options: Options
) -> Checkpoints | None:
    """The folder of a run that can be continued."""
    if options.checkpoint is None:
        return None
    if options.every != "epoch" and inputs.is_stream(data) and not is_repeatable(data):
        hint = "Give it state() and restore(state), or use every='epoch'; see docs/how-to/resume.md."
        expected = "a list of batches, or an iterable with a state, with a number as every"
        got = f"{kind_of(data)}, which cannot continue within an epoch"
        fail("fit", expected=expected, got=got, hint=hint)
    names = ["shuffle", "drop_remainder", "validation_split", "eval_batch_size", "class_weight"]
    named = {name: getattr(options, name) for name in [*names, "steps_per_epoch", "validation_steps"]}
    settings = settings_of(task, ts, data, validating, options.callbacks, batch_size=options.rows, **named)
    return Checkpoints(
        options.checkpoint,
        every=options.every,
        keep=options.keep,
        callbacks=options.callbacks,
        settings=settings,
        task=task,
    )
