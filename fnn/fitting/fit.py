"""The drivers: `fit`, `evaluate` and `predict`. The only place with side effects: progress, callbacks, interruption."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._core.checks import check_count, check_range
from .._core.errors import fail
from ..training.batch import as_batch, size_of
from ..training.checks import check_fit
from ..training.epoch import check_sizes
from ..training.state import TrainState
from ..training.task import Task
from .callbacks import Callback
from .checkpoints import Checkpoints, check_every, settings_of
from .evaluate import arrays_to_measure, check_call
from .guard import Guard
from .history import History
from .inputs import (
    CHUNK_BYTES,
    check_counting,
    check_slices,
    is_mapped,
    is_stream,
    rows_per_chunk,
    split_validation,
    weigh,
)
from .interrupts import interrupts
from .loop import Loop
from .progress import Progress
from .sources import ArraySource, ChunkSource, Source
from .streams import StreamSource


def _check_callback(callback: Any) -> None:
    """Refuse what cannot be called with (epoch, ts, logs), above all a function that makes a callback."""
    expected = "a function callback(epoch, ts, logs)"
    if not callable(callback):
        fail("callback", expected=expected, got=type(callback).__name__)
    name = getattr(callback, "__name__", type(callback).__name__)
    try:
        inspect.signature(callback).bind(0, None, {})
    except TypeError:
        hint = f"If it makes a callback, call it: {name}(...)."
        fail("callback", expected=expected, got=f"{name}, which does not take these three", hint=hint)
    except ValueError:  # functions of other languages may hide their arguments
        pass


def fit(
    task: Task,
    ts: TrainState,
    data: Any,
    *extra: Any,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    drop_remainder: bool = False,
    class_weight: Any = None,
    callbacks: Sequence[Callback] = (),
    verbose: int = 1,
    eval_batch_size: int = 256,
    chunk_bytes: int | None = None,
    checkpoint: Any = None,
    every: int | str = "epoch",
    keep: int | None = 2,
    check: str | None = None,
) -> tuple[TrainState, History]:
    """Train, with progress, validation and callbacks; the given state stays valid.

    Args:
      task: the `Task`.
      ts: the `TrainState` to start from, e.g. of `init` or of an earlier `fit`.
      data: ``(x, y)`` or ``(x, y, sample_weight)`` as a tuple of NumPy or JAX arrays (x may be a dict or tuple of
        arrays), or an iterable of such batches, for example a list or a data loader. For several epochs it must be
        possible to iterate over it again.
      epochs: passes over the data; default 1.
      batch_size: examples per step, for arrays; default 32. The last, smaller batch trains too.
      validation_data: measured after each epoch, arrays or an iterable as ``data``.
      validation_split: fraction of the rows, taken from the end before shuffling, to validate on instead.
      shuffle: whether each epoch visits the rows in a new order; for arrays only, default True.
      drop_remainder: whether to leave out the last, smaller batch; default False.
      class_weight: weights by class number, a dict or a sequence, or (for arrays) "balanced"; multiplied into the
        sample weights of the training rows. Keys are class numbers, weights finite and at least 0. Rows of several
        yes/no labels have no class: weigh the examples instead.
      callbacks: functions ``callback(epoch, ts, logs)`` called after each epoch (counted from 0). One may return
        another TrainState to go on with, e.g. ``fnn.set_hyper(ts, learning_rate=1e-4)``, or raise `StopTraining`; the
        state it is given stays valid. All are called after each epoch, also behind one that stops. See
        `early_stopping`, `reduce_on_plateau`, `csv_log` and `model_checkpoint`.
      verbose: 0 silent, 1 a progress bar per epoch, 2 a line per epoch.
      eval_batch_size: examples per batch of validation; default 256.
      chunk_bytes: for arrays; by default they are put on the device as a whole, except memory-mapped ones
        (``np.load(path, mmap_mode="r")``), which come in chunks of 64 MiB, the next being read while the device trains
        on one; a file is read through once before, to check its values. A number sets the size of a chunk and streams
        any arrays so, for data larger than the device's memory. Rows and order are the same in both cases.
      checkpoint: a folder for checkpoints of this training, made if missing; default none. When the same call is made
        again, with the same state to start from, the training goes on behind the newest one, whatever ended it, and
        ends with the same numbers bit for bit, the history included; ``epochs`` may be higher than before. An iterable
        is taken up where it was if it has ``state()`` and ``restore(state)`` or is a list, see docs/how-to/resume.md.
      every: how often one is written: after each "epoch" (default), or after every so many steps. One is written
        at the beginning and at the end in any case, and at Ctrl-C if the data can be taken up within an epoch.
      keep: so many of the newest files stay; default 2, None keeps all.
      check: "finite" stops at the first value in a training step that is NaN or infinite, with a `NonFiniteError` that
        names the step, and the layer, parameter or input in which it arose, and holds the state before it. It costs
        next to nothing. Metrics and validation are not part of it.

    Returns:
      ``(ts, history)``: the new state and a `History`, a dict of lists.

    Raises:
      InputError: before anything compiles, for shapes that do not fit the model (with the layer's name and
        position), labels outside the classes, NaN or infinity, empty data, lengths that differ, a state of another
        model, arguments out of range, or a folder with checkpoints of another training.
      NonFiniteError: with ``check="finite"``.
      CheckpointError: when a checkpoint cannot be written, such as on a full disk; it holds the state reached.

    Ctrl-C ends the training after the steps under way and returns what was reached, with
    ``history.interrupted = True``; a second Ctrl-C interrupts at once.

    The same steps as `train_epoch`, `run` and a loop over `train_step`: results agree to floating-point tolerance,
    see docs/design.md.

    >>> import jax, numpy as np, fnn
    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    >>> ts = fnn.init(task, jax.random.key(0), x[:1])
    >>> ts, history = fnn.fit(task, ts, (x, 3 * x + 1), epochs=50, batch_size=16, verbose=0)
    >>> len(history["loss"]), round(fnn.evaluate(task, ts, (x, 3 * x + 1))["loss"], 3)
    (50, 0.0)
    """
    check_call("fit", task, ts, data, extra)
    check_count("fit", "epochs", epochs)
    check_count("fit", "batch_size", batch_size)
    check_count("fit", "eval_batch_size", eval_batch_size)
    if isinstance(validation_split, (int, float, np.number)) and not 0 <= validation_split < 1:
        hint = "All rows would be for validation." if validation_split == 1 else ""
        fail("fit", expected="validation_split in [0, 1)", got=f"{validation_split:g}", hint=hint)
    check_range("fit", "validation_split", validation_split, 0, 1)
    if verbose not in (0, 1, 2):
        fail("fit", expected="verbose 0, 1 or 2", got=repr(verbose))
    callbacks = (callbacks,) if callable(callbacks) or not isinstance(callbacks, Iterable) else tuple(callbacks)
    for callback in callbacks:
        _check_callback(callback)
    if chunk_bytes is not None:
        check_count("fit", "chunk_bytes", chunk_bytes)
    if check not in (None, "finite"):
        fail("fit", expected="check='finite' or None", got=repr(check))
    if not is_stream(data):
        data = as_batch(data, late=True)
    if validation_data is not None and not is_stream(validation_data):
        validation_data = as_batch(validation_data, "validation_data", late=True)
    validating = validation_data
    source, validation_data = _prepare(
        task,
        ts,
        data,
        validation_data,
        validation_split,
        epochs,
        batch_size,
        shuffle,
        drop_remainder,
        class_weight,
        chunk_bytes,
    )
    source.guard = Guard(task) if check == "finite" else None
    kept = None
    check_every(every, keep)
    if checkpoint is None and (every, keep) != ("epoch", 2):
        hint = "Pass checkpoint='folder'."
        fail("fit", expected="a folder for checkpoints with every or keep", got="none", hint=hint)
    if checkpoint is not None:
        if every != "epoch" and not source.resumable:
            hint = "Give it state() and restore(state), or use every='epoch'; see docs/how-to/resume.md."
            expected = "a list of batches, or an iterable that tells its state, with a number as every"
            got = f"{type(data).__name__}, which cannot be taken up within an epoch"
            fail("fit", expected=expected, got=got, hint=hint)
        rules: dict[str, Any] = {"shuffle": bool(shuffle), "drop_remainder": bool(drop_remainder)}
        rules |= {"validation_split": validation_split, "eval_batch_size": eval_batch_size}
        rules |= {"class_weight": class_weight}
        validating = None if validation_split else validating
        settings = settings_of(task, ts, data, validating, callbacks, batch_size=int(batch_size), **rules)
        kept = Checkpoints(checkpoint, every, keep, callbacks, settings, repr(task))
        source.every = kept.every
        source.asks = True
    with interrupts() as interrupted, kept.opened() if kept else contextlib.nullcontext():
        loop = Loop(
            task,
            source,
            validation_data,
            eval_batch_size,
            callbacks,
            epochs,
            kept,
            interrupted,
            Progress(verbose, epochs),
        )
        return loop.run(ts)


def _prepare(
    task: Task,
    ts: TrainState,
    data: Any,
    validation_data: Any,
    validation_split: float,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    drop_remainder: bool,
    class_weight: Any,
    chunk_bytes: int | None,
) -> tuple[Source, Any]:
    """Checked data as a source of steps, and checked validation data."""
    source: Source
    for name, stream in (("data", data), ("validation_data", validation_data)):
        if epochs > 1 and is_stream(stream) and iter(stream) is stream:
            hint = "Pass a list, or an object whose __iter__ starts anew."
            got = type(stream).__name__
            fail("fit", expected=f"{name} that can be iterated over once per epoch", got=got, hint=hint)
    if validation_split and validation_data is not None:
        fail("fit", expected="either validation_data or validation_split", got="both")
    if is_stream(data):
        if isinstance(class_weight, str):
            hint = "Pass the weights by class, e.g. of fnn.class_weights."
            fail("fit", expected="numbers as class_weight with an iterable", got=repr(class_weight), hint=hint)
        if validation_split:
            fail("fit", expected="arrays with validation_split", got=type(data).__name__, hint="Use validation_data.")
        if chunk_bytes is not None:
            fail("fit", expected="arrays with chunk_bytes", got=type(data).__name__, hint="Leave chunk_bytes out.")
        source = StreamSource(task, data, class_weight)
    else:
        chunk_bytes = CHUNK_BYTES if chunk_bytes is None and is_mapped(data) else chunk_bytes
        check_sizes(size_of(data), batch_size, drop_remainder)
        expected = check_fit(task, ts, data)
        check_slices(task, expected, data, size_of(data) if chunk_bytes is None else rows_per_chunk(data, chunk_bytes))
        if validation_split:
            data, validation_data = split_validation(data, validation_split)
            check_sizes(size_of(data), batch_size, drop_remainder)
        if class_weight is not None:
            data = weigh(task, data, class_weight)
            check_counting(data, "data with class_weight,")
        if chunk_bytes is None:
            source = ArraySource(task, data, batch_size, shuffle, drop_remainder)
        else:
            source = ChunkSource(task, data, batch_size, shuffle, drop_remainder, chunk_bytes)
    if validation_data is not None and not is_stream(validation_data):
        validation_data = arrays_to_measure(task, ts, validation_data, "validation_data", chunk_bytes)
    return source, validation_data
