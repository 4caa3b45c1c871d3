"""The drivers: `fit`, `evaluate` and `predict`. The only place with side effects: progress, callbacks, interruption."""

from __future__ import annotations

import contextlib
import inspect
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_count, check_range, describe, fail, keeps_state
from .._inputs import as_arrays, as_data, leaves, on_device, read
from .._summary import summary
from .._tree import copied, paths
from ..metrics import NAN_ROWS
from .callbacks import (
    Callback,
    PureCallback,
    StopTraining,
)
from .checks import check_counting, check_finite, check_fit, check_input, check_slices, counting_rows, warn_of_nan
from .finite import Guard, NonFiniteError
from .resume import Checkpoints, Standing, check_every, settings_of
from .sources import (
    CHUNK_BYTES,
    ArraySource,
    BatchCheck,
    ChunkSource,
    Source,
    Start,
    StreamSource,
    batches,
    is_mapped,
    is_stream,
    restore_stream,
    row_bytes,
    weigh,
)
from .state import Task, TrainState, check_task
from .step import Logs, check_sizes, measure_all, merge, results, size_of

Array = jax.Array


class History(dict[str, list[float]]):
    """What `fit` saw: lists with one entry per epoch.

    Keys: "loss", the metrics of the task, with validation data "val_loss" and so on, and "seconds", the time of each
    epoch with its validation.

    Attributes:
      interrupted: whether Ctrl-C ended the training early.
    """

    interrupted: bool = False

    def record(self, logs: dict[str, float]) -> None:
        """Append the values of one epoch."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)


_measure_all = jax.jit(measure_all, static_argnums=(0, 4))
_merge = jax.jit(merge, static_argnums=0)
_results = jax.jit(results, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 4))
def _predict(task: Task, params: Any, state: Any, x: Any, batch_size: int) -> Any:
    size = jax.tree.leaves(x)[0].shape[0]
    whole, rest = divmod(size, batch_size)

    def body(_: None, i: Array) -> tuple[None, Any]:
        start = jnp.minimum(i * batch_size, size - batch_size)
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, batch_size), x)
        return None, task.model.apply(params, state, part)[0]

    _, parts = jax.lax.scan(body, None, jnp.arange(whole + (rest > 0), dtype=jnp.int32))

    def join(a: Array) -> Array:
        full = a[:whole].reshape(whole * batch_size, *a.shape[2:])
        return jnp.concatenate([full, a[whole, batch_size - rest :]]) if rest else full

    return jax.tree.map(join, parts)


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C into a question asked between chunks, so that no step is lost half-way; a second one acts at once."""
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt("second Ctrl-C during fit")
        asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous if previous is not None else signal.SIG_DFL)


class _Progress:
    """What the user sees: a bar per epoch (verbose 1), a line per epoch (2), or nothing (0)."""

    def __init__(self, verbose: int, epochs: int) -> None:
        self.verbose, self.epochs, self.bar = verbose, epochs, None
        # The bar moves a few times a second; without one, a chunk only bounds how long Ctrl-C waits.
        self.period = 0.2 if verbose == 1 else 1.0

    def start(self, epoch: int, total: int | None, done: int) -> None:
        if self.verbose == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm warns where notebook widgets are missing, and falls back to text
                from tqdm.auto import tqdm

                name = f"epoch {epoch + 1}/{self.epochs}"
                self.bar = tqdm(total=total, initial=done, desc=name, unit="step", file=sys.stdout)

    def advance(self, count: int, logs: dict[str, float]) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(_format(logs), refresh=False)
            self.bar.update(count)

    def end(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        if self.bar is not None:
            if logs:
                self.bar.set_postfix_str(_format(logs), refresh=True)
            self.bar.close()
            self.bar = None
        elif self.verbose == 2 and logs:
            print(f"epoch {epoch + 1}/{self.epochs}: {_format(logs)} ({seconds:.2f} s)", flush=True)


def _format(logs: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())


def _floats(logs: Logs) -> dict[str, float]:
    """Values on the host, the loss first (compiled functions return dicts in the order of their keys)."""
    host = jax.device_get(logs)
    return {name: float(host[name]) for name in sorted(host, key=lambda name: (name != "loss", name))}


def _split(data: Any, fraction: float) -> tuple[Any, Any]:
    """All but the last fraction of the rows, and the last fraction."""
    size = size_of(data)
    at = math.floor(size * (1 - fraction) + 1e-9)
    if at == 0 or at == size:
        fail(
            "fit", expected="a validation_split that leaves rows on both sides", got=f"{fraction:g} of {size} examples"
        )
    y = data[1]
    if getattr(y, "ndim", 0) == 1 and jnp.issubdtype(y.dtype, jnp.integer):
        new = ~np.isin(np.asarray(y[at:]), np.asarray(y[:at]))
        if new.mean() > 0.5:
            warnings.warn(
                f"fit: {new.mean():.0%} of the validation rows are of classes that no training row has. "
                "validation_split takes the last rows; are they sorted by class? Shuffle them first, or use "
                "fnn.data.train_test_split.",
                RuntimeWarning,
                stacklevel=4,
            )
    return jax.tree.map(lambda a: a[:at], data), jax.tree.map(lambda a: a[at:], data)


def _check_call(where: str, task: Any, ts: Any, data: Any, extra: tuple[Any, ...]) -> None:
    """Refuse what a driver cannot work on: other arguments, or a call from inside a JAX transformation."""
    check_task(task, ts)
    if extra:
        hint = f"Pass the data as one tuple: {where}(task, ts, (x, y))."
        fail(where, expected="three arguments before the keywords", got=str(3 + len(extra)), hint=hint)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves((ts, () if is_stream(data) else data))):
        hint = "Inside jit, vmap or grad use fnn.run, fnn.train_epoch or fnn.train_step."
        fail(where, expected="arrays with values", got="a traced array", hint=hint)


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
    _check_call("fit", task, ts, data, extra)
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
        data = as_data(data, late=True)
    if validation_data is not None and not is_stream(validation_data):
        validation_data = as_data(validation_data, "validation_data", late=True)
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
        kept = Checkpoints(checkpoint, every, keep, callbacks, settings, partial(_description, task, source))
        source.every = kept.every
        source.asks = True
    with _interrupts() as interrupted, kept.opened() if kept else contextlib.nullcontext():
        loop = _Loop(
            task,
            source,
            validation_data,
            eval_batch_size,
            callbacks,
            epochs,
            kept,
            interrupted,
            _Progress(verbose, epochs),
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
        check_slices(task, expected, data, size_of(data) if chunk_bytes is None else _rows(data, chunk_bytes))
        if validation_split:
            data, validation_data = _split(data, validation_split)
            check_sizes(size_of(data), batch_size, drop_remainder)
        if class_weight is not None:
            data = weigh(task, data, class_weight)
            check_counting(data, "data with class_weight,")
        if chunk_bytes is None:
            source = ArraySource(task, data, batch_size, shuffle, drop_remainder)
        else:
            source = ChunkSource(task, data, batch_size, shuffle, drop_remainder, chunk_bytes)
    if validation_data is not None and not is_stream(validation_data):
        validation_data = _arrays_to_measure(task, ts, validation_data, "validation_data", chunk_bytes)
    return source, validation_data


def _rows(data: Any, size: int) -> int:
    """How many rows fit into so many bytes, at least one."""
    return max(1, size // row_bytes(data))


def _part(a: Any, rows: slice) -> Any:
    return a[rows] if isinstance(a, jax.Array) else np.asarray(read(a[rows]))


class _Slices:
    """Arrays, already checked, as an iterable of consecutive slices."""

    def __init__(self, data: Any, rows: int) -> None:
        self.data, self.rows = data, rows

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, size_of(self.data), self.rows):
            yield jax.tree.map(lambda a, start=start: _part(a, slice(start, start + self.rows)), self.data)


def _arrays_to_measure(task: Task, ts: TrainState, data: Any, where: str, chunk_bytes: int | None) -> Any:
    """Arrays checked and on the device, or as an iterable of slices if they lie in files or are to come in chunks."""
    if chunk_bytes is None and is_mapped(data):
        chunk_bytes = CHUNK_BYTES
    expected = check_fit(task, ts, data, where, train=False)
    rows = size_of(data) if chunk_bytes is None else _rows(data, chunk_bytes)
    check_slices(task, expected, data, rows, where)
    return on_device(data) if chunk_bytes is None else _Slices(data, rows)


def _description(task: Task, source: Source) -> tuple[str, bool]:
    """What a checkpoint tells about the model, in words, and whether that is all there is to say."""
    if source.example is None:  # an iterable has not given a batch yet
        return repr(task), False
    try:
        return f"{summary(task.model, source.example)}\n{task!r}", True
    except Exception:  # summary tries other batch sizes, which a model may refuse; no reason to lose a training
        return repr(task), True


def _place(at: Standing) -> Any:
    """What tells one standing of a run from another."""
    return at.made, at.epoch, at.start is None, at.stopped


class _Loop:
    """The loop of `fit`: epochs with progress, validation, callbacks and checkpoints."""

    def __init__(
        self,
        task: Task,
        source: Source,
        validation_data: Any,
        eval_batch_size: int,
        callbacks: Sequence[Callback],
        epochs: int,
        kept: Checkpoints | None,
        interrupted: Callable[[], bool],
        progress: _Progress,
    ) -> None:
        self.task, self.source = task, source
        self.validation_data, self.eval_batch_size = validation_data, eval_batch_size
        self.callbacks, self.epochs, self.kept = callbacks, epochs, kept
        self.interrupted, self.progress = interrupted, progress
        self.saved: Any = None  # where the last checkpoint was written
        self.warned = False

    def run(self, ts: TrainState) -> tuple[TrainState, History]:
        """Train from the state given, or from a checkpoint of the same run."""
        at = self._resumed(ts) or self._begun(ts)
        history = History({name: list(values) for name, values in at.history.items()})
        while at.epoch < self.epochs and not at.stopped:
            at, complete = self._epoch(at, history)
            if not complete or self.interrupted():
                break
        ts = at.ts if at.stopped or at.epoch < self.epochs else _finish(self.callbacks, at.ts)
        if at.start is None:
            self._save(at)
        history.interrupted = self.interrupted()
        if history.interrupted and self.progress.verbose:
            kept = self.kept is not None and self.saved != _place(at)
            note = "; the checkpoint is that of the epoch's beginning" if kept else ""
            print(f"interrupted at step {int(ts.step)}; the state reached is returned{note}", flush=True)
        return ts, history

    def _begun(self, ts: TrainState) -> Standing:
        """The beginning, of which there is a checkpoint too: what cannot be written is met before any training."""
        at = Standing(copied(ts), stream=self.source.standing(), validation=self._validation())
        if self.kept is not None:
            self.kept.begin()
            self._save(at)
        return at

    def _resumed(self, ts: TrainState) -> Standing | None:
        """Where an earlier process left off, if one did."""
        at = None if self.kept is None else self.kept.latest(ts)
        if at is None or self.kept is None:
            return None
        if at.epoch > self.epochs:
            hint = "Raise epochs, or give another folder."
            got = f"{self.epochs}, where the run in {self.kept.folder!r} is behind {at.epoch} epochs"
            fail("fit", expected="epochs that are not over", got=got, hint=hint)
        self.saved = _place(at)
        over = at.stopped or at.epoch >= self.epochs
        if self.progress.verbose and at.stopped:
            print(f"complete: a callback ended this training after epoch {at.epoch} ({self.kept.folder})", flush=True)
        elif self.progress.verbose and over:
            print(f"complete: all {at.epoch} epochs are done ({self.kept.folder})", flush=True)
        elif self.progress.verbose and at.made:
            print(f"resumed at epoch {at.epoch + 1}, step {int(at.ts.step)} from {self.kept.folder}", flush=True)
        if not over:
            self.source.restore(at.stream)
            if is_stream(self.validation_data) and not isinstance(self.validation_data, _Slices):
                restore_stream(self.validation_data, at.validation)
        return at._replace(ts=copied(at.ts))

    def _validation(self) -> Any:
        """Where an iterable of validation data stands."""
        return self.validation_data.state() if keeps_state(self.validation_data) else None

    def _save(self, at: Standing) -> None:
        if self.kept is not None and self.saved != _place(at):
            self.kept.save(at)
            self.saved = _place(at)

    def _epoch(self, at: Standing, history: History) -> tuple[Standing, bool]:
        """The standing behind the next epoch, and True; or within it, and False, when Ctrl-C came before its end."""
        started = time.perf_counter() - at.seconds
        self.progress.start(at.epoch, self.source.total, 0 if at.start is None else at.start.done)
        logs: dict[str, float] = {}
        try:
            at, logs = self._steps(at, started)
            if at.start is None and self.validation_data is not None:
                seen = _evaluate(self.task, at.ts, self.validation_data, self.eval_batch_size)
                rows = seen.pop(NAN_ROWS.name)
                # A loss that is not finite is told anyway.
                if math.isfinite(seen["loss"]) and not self.warned:
                    self.warned = warn_of_nan("fit, validation_data", rows, stacklevel=5)
                logs |= {f"val_{name}": value for name, value in seen.items()}
        except NonFiniteError as error:
            error.history = History({name: values[: error.epoch] for name, values in history.items()})
            raise
        finally:
            self.progress.end(at.epoch, logs if at.start is None else {}, time.perf_counter() - started)
        if at.start is not None:
            return at, False
        history.record({**logs, "seconds": time.perf_counter() - started})
        _warn_once(history, self.source.guard is not None)
        ts, stop = _call_back(self.callbacks, at.epoch, at.ts, history)
        stream, validation = self.source.standing(), self._validation()
        at = Standing(ts, at.made, at.epoch + 1, history=history, stopped=stop, stream=stream, validation=validation)
        if stop and self.progress.verbose:
            print(f"stopped after epoch {at.epoch}; the state at step {int(ts.step)} is returned", flush=True)
        if self.kept is not None and (self.kept.every is None or at.made % self.kept.every == 0):
            self._save(at)
        return at, True

    def _steps(self, at: Standing, started: float) -> tuple[Standing, dict[str, float]]:
        """The standing behind the epoch's last step, with its values; or within it, without, after Ctrl-C."""
        source, every = self.source, None if self.kept is None else self.kept.every
        begin, done = (int(at.ts.step), 0) if at.start is None else (at.start.step, at.start.done)
        source.before = at.made - done
        guard, totals = source.guard, None
        if guard is not None:
            guard.epoch = at.epoch
        ts, logs, shown, refreshed = at.ts, dict(at.logs), done, time.perf_counter()
        with contextlib.closing(source.steps(ts, self.progress.period, at.start)) as chunks:
            for reached in chunks:
                ts, totals, logs = reached.ts, reached.totals, reached.logs
                done, now = done + reached.made, time.perf_counter()
                # Reading values waits for the device, so the bar does it a few times a second, not at every step.
                if self.progress.bar is not None and now - refreshed >= self.progress.period:
                    self.progress.advance(done - shown, _floats(logs))
                    refreshed, shown = now, done
                made, asked = source.before + done, self.interrupted()
                due = every is not None and made % every == 0
                if done != source.total and (due or asked):
                    if guard is not None:
                        guard.look(ts, totals)
                    start, seconds, validation = Start(begin, done, paths(totals)), now - started, self._validation()
                    at = Standing(
                        ts, made, at.epoch, start, _floats(logs), seconds, at.history, False, reached.stream, validation
                    )
                    if source.resumable:
                        self._save(at)
                    if asked:
                        return at, {}
        logs = _floats(logs)
        self.progress.advance(done - shown, logs)
        if guard is not None and totals is not None:
            # Behind the epoch others see the state; else a look now and then will do.
            seen = bool(self.callbacks) or self.kept is not None or at.epoch + 1 == self.epochs
            if seen or self.interrupted() or not math.isfinite(logs["loss"]):
                guard.look(ts, totals)
        return Standing(ts, source.before + done, at.epoch, history=at.history), logs


def _warn_once(history: History, guarded: bool) -> None:
    """Say when the loss stops being finite."""
    *before, val_loss = history.get("val_loss", [0.0])
    if not np.isfinite(val_loss) and np.isfinite(before).all() and np.isfinite(history["loss"][-1]):
        text = f"fit: val_loss is {val_loss} in epoch {len(before) + 1}, while the training loss is finite."
        warnings.warn(text, RuntimeWarning, stacklevel=5)
    *before, loss = history["loss"]
    if not np.isfinite(loss) and np.isfinite(before).all():
        more = "" if guarded else " With fit(..., check='finite') the first step and layer are named."
        warnings.warn(
            f"fit: the loss is {loss} in epoch {len(before) + 1}. The learning rate may be too high (or clip the "
            f"gradients: fnn.clip_by_global_norm), or ids may be outside the range of the layer that reads them.{more}",
            RuntimeWarning,
            stacklevel=5,
        )


def _call_back(callbacks: Sequence[Callback], epoch: int, ts: TrainState, history: History) -> tuple[TrainState, bool]:
    """The state after each callback has seen it and possibly changed it, and whether one asked to stop.

    All are called, also behind one that asks to stop, so that a log has its last row. The state to return is that of
    the first such request which names one.
    """
    chosen, stop = None, False
    for callback in callbacks:
        # A callback may keep the state it is given, so it gets one that no later step gives up.
        try:
            changed = callback(epoch, copied(ts), {name: values[-1] for name, values in history.items()})
        except StopTraining as request:
            stop, chosen = True, chosen if request.ts is None else (chosen or request.ts)
            continue
        if changed is not None:
            if not isinstance(changed, TrainState):
                hint = "To stop, raise fnn.StopTraining."
                if callable(changed) and not isinstance(changed, type):
                    hint = "Is it a function that makes a callback? Call it, and pass what it returns."
                fail("callback", expected="None or a TrainState", got=describe(changed), hint=hint)
            ts = copied(changed)
    if chosen is not None:
        return copied(chosen), True
    return (_finish(callbacks, ts) if stop else ts), stop


def _finish(callbacks: Sequence[Callback], ts: TrainState) -> TrainState:
    """The state to return after the last epoch: early stopping may put the best in the place of the last."""
    for callback in callbacks:
        if isinstance(callback, PureCallback):
            ts = callback.finish(ts)
    return ts


def _evaluate(task: Task, ts: TrainState, data: Any, batch_size: int) -> dict[str, float]:
    """Loss and metrics of checked arrays, or of a stream whose batches are checked here; and the rows with NaN."""
    task = counting_rows(task)
    if not is_stream(data):
        return _floats(_results(task, _measure_all(task, ts.params, ts.state, data, batch_size)))
    totals, check = None, BatchCheck(task, train=False)
    for batch in batches(data, "evaluate"):
        if not isinstance(data, _Slices):
            check(ts, batch)
        # A loader may fill the same buffer again while the device still reads.
        batch = jax.tree.map(lambda a: jnp.asarray(np.copy(a)) if isinstance(a, np.ndarray) else jnp.asarray(a), batch)
        part = _measure_all(task, ts.params, ts.state, batch, min(batch_size, size_of(batch)))
        totals = part if totals is None else _merge(task, totals, part)
    return _floats(_results(task, totals))


def evaluate(task: Task, ts: TrainState, data: Any, *extra: Any, batch_size: int = 256) -> dict[str, float]:
    """Loss and metrics on data, without training.

    Args:
      task: the `Task`.
      ts: the `TrainState`.
      data: ``(x, y)`` or ``(x, y, sample_weight)`` as a tuple of arrays, which may be memory-mapped, or an iterable of
        such batches.
      batch_size: examples computed at a time, at most; default 256. It does not change the result.

    Returns:
      A dict of floats: "loss" and the task's metrics.

    Raises:
      InputError: as `fit`; for sample weights that are all 0.

    Where the predictions hold NaN there is a `RuntimeWarning`; such examples count as wrong in metrics of classes.
    """
    _check_call("evaluate", task, ts, data, extra)
    check_count("evaluate", "batch_size", batch_size)
    if not is_stream(data):
        data = _arrays_to_measure(task, ts, as_data(data, late=True), "data", None)
    logs = _evaluate(task, ts, data, batch_size)
    warn_of_nan("evaluate", logs.pop(NAN_ROWS.name))
    return logs


def predict(task: Task, ts: TrainState, x: Any, *, batch_size: int = 256) -> Any:
    """The model's outputs for many examples, in batches, with training mode off.

    Args:
      task: the `Task`.
      ts: the `TrainState`.
      x: the input, an array with the examples along its first axis, or a dict or tuple of such arrays; memory-mapped
        ones are read in chunks.
      batch_size: examples computed at a time; default 256.

    Returns:
      Outputs with the examples along the first axis: whatever the model ends in, so mostly logits. Use
      ``fnn.activations.softmax`` for probabilities and ``.argmax(-1)`` for classes.

    Raises:
      InputError: for an input that does not fit the model or holds NaN or infinity.
    """
    _check_call("predict", task, ts, x, ())
    check_count("predict", "batch_size", batch_size)
    x = as_arrays(x, late=True)
    if is_mapped(x):
        rows = _rows(x, CHUNK_BYTES)
        for i, part in enumerate(_Slices(x, rows)):
            check_finite(part, "x", i * rows)
        parts = [predict(task, ts, part, batch_size=batch_size) for part in _Slices(x, rows)]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    size = size_of(x)
    check_input(task, ts, x)
    check_finite(x, "x")
    return _predict(task, ts.params, ts.state, on_device(x), min(batch_size, size))
