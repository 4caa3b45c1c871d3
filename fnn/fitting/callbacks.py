"""Callbacks of the host: logs, checkpoints, and user-defined functions."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .._core.checks import accepts, check_count, renamed
from .._core.errors import fail, kind_of
from .._core.files import check_ending
from .._core.flags import flagged
from .._core.processes import is_first
from .._core.types import PyTree
from ..architecture.write import describe_by_own_names
from ..checkpoint import save_with
from ..training.state import TrainState
from ..training.stopping import Watch
from ..training.task import Task

Callback = Callable[[int, TrainState, dict[str, float]], TrainState | None]
Path = str | os.PathLike[str]


class _Wrapper:
    """A callback around a function; checkpoints save the function's state if it has one."""

    def __init__(self, fn: Callable[..., object]) -> None:
        self.fn = fn

    def __getattr__(self, name: str) -> Any:
        if name not in ("state", "restore"):
            raise AttributeError(name)
        return getattr(self.fn, name)


class WithoutState(_Wrapper):
    """A callback that does not see the state, such as Keras's ``on_epoch_end(epoch, logs)``; its result is ignored."""

    def __call__(self, number: int, ts: TrainState, logs: dict[str, float]) -> None:
        """Call the function without the state."""
        self.fn(number, logs)


def as_callback(given: object, where: str = "callback", number: str = "epoch") -> Callback:
    """A function of (number, ts, logs) as it is, and one of (number, logs); anything else is refused."""
    expected = f"a function callback({number}, ts, logs)"
    if not callable(given):
        hint = f"Keras's callbacks need a Keras model; write a function of ({number}, logs)."
        hint = hint if hasattr(given, "on_epoch_end") else ""
        fail(where, expected=expected, got=kind_of(given), hint=hint)
    if accepts(given, 3):
        return given
    if accepts(given, 2):
        return WithoutState(given)
    name = getattr(given, "__name__", type(given).__name__)
    hint = f"If it makes a callback, call it: {name}(...)."
    hint = f"A function of ({number}, logs) works too." if name == "<lambda>" else hint
    fail(where, expected=expected, got=f"{name}, which does not accept these arguments", hint=hint)


def on_batch(fn: Callable[..., object], *, every: int = 1) -> Callback:
    """Call a function after training steps, for `fit`; without one, `fit` runs as fast as ever.

    Args:
      fn: ``fn(step, logs)`` or ``fn(step, ts, logs)``. ``step`` is ``ts.step``, the number of steps made. ``logs``
        holds loss and metrics of the epoch so far, as the progress bar shows them. A function of three arguments may
        return a TrainState to continue with. `StopTraining` ends the epoch after this step; its validation and the
        callbacks of epochs still run.
      every: the interval in steps of this `fit`; default 1. Each call waits for the device and copies the state if the
        function receives it, so a larger interval is faster.

    Raises:
      InputError: for anything but such a function, or an interval below 1.

    The compiled loop ends where a call is due. The trained bits do not depend on that.

    >>> import fnn
    >>> losses = []
    >>> callback = fnn.on_batch(lambda step, logs: losses.append(logs["loss"]), every=10)
    """
    check_count("on_batch", "every", every)
    return OnBatch(as_callback(fn, "on_batch", "step"), int(every))


class OnBatch(_Wrapper):
    """See `on_batch`."""

    fn: Callback

    def __init__(self, fn: Callback, every: int) -> None:
        super().__init__(fn)
        self.every = every

    def __call__(self, epoch: int, ts: TrainState, logs: dict[str, float]) -> None:
        """Nothing: `fit` calls the function itself, after steps."""


@renamed(separator="it without: a comma separates")
@flagged
def csv_log(path: Path, *, append: bool = False) -> Callback:
    """Write the values of each epoch as a row of a CSV file, which is complete after every epoch.

    The first row holds the names: "epoch", counted from 1 like the progress bar (Keras's CSVLogger counts from 0), then
    those of the logs, "loss" first. Numbers are written with all their digits.

    Args:
      path: the file. Missing folders are created.
      append: whether to append to an existing file, e.g. when a run continues; by default each `fit` starts a new
        file. Columns without a value in an epoch stay empty.

    Raises:
      InputError: in an epoch with values that have no column in the file, or for a file that is not such a table.

    >>> import fnn
    >>> log = fnn.csv_log("out/run.csv")
    """
    check_ending("csv_log", path, ".csv", ".txt")
    return _CsvLog(os.fspath(path), append)


class _CsvLog:
    def __init__(self, path: str, append: bool) -> None:
        self.path, self.append = path, append
        self.columns: list[str] = []

    def __call__(self, epoch: int, ts: TrainState, logs: dict[str, float]) -> None:
        if not is_first():
            return
        row = {"epoch": epoch + 1, **logs}
        fresh = epoch == 0 or not self.columns
        if fresh:
            self.columns = _columns(self.path) if self.append or epoch > 0 else []
        write_header = fresh and not self.columns
        if write_header:
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            self.columns = list(row)
        if more := [name for name in row if name not in self.columns]:
            hint = "Use another file, or append=False."
            expected = f"the columns of {self.path!r}, {self.columns}"
            fail("csv_log", expected=expected, got=f"other values: {more}", hint=hint)
        with open(self.path, "w" if write_header else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            if write_header:
                writer.writeheader()
            writer.writerow(row)

    def state(self) -> int:
        """The length of the file in bytes, for a checkpoint of `fit`."""
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def restore(self, size: int) -> None:
        """Remove the rows of epochs that will be repeated."""
        if is_first() and os.path.exists(self.path) and os.path.getsize(self.path) > size:
            os.truncate(self.path, size)


def _columns(path: str) -> list[str]:
    """The names in the first row of a log, none for an empty or missing file; ends a last row that was cut off."""
    if not os.path.exists(path):
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), [])
            file.seek(0)
            complete = file.read()[-1:] in ("", "\n")
    except (UnicodeDecodeError, csv.Error):
        columns, complete = [""], True
    if columns and columns[0] != "epoch":
        fail("csv_log", expected="a table whose first column is 'epoch'", got=repr(path), hint="Use another file.")
    if not complete:
        with open(path, "a", newline="", encoding="utf-8") as file:
            file.write("\r\n")
    return columns


@renamed(
    save_best_only="monitor='val_loss', to keep the best alone",
    verbose="it without verbose",
    save_weights_only="it without: the file holds the whole state",
    save_freq="it without, for each epoch; fnn.on_batch(fn, every=...) calls a function after steps",
)
def model_checkpoint(path: Path, *, monitor: str | None = None, mode: str | None = None) -> Callback:
    """Save the TrainState after each epoch, or only when a value improved; see `fnn.save`.

    The file also holds the task, so that ``task, ts = fnn.load(path)``, and the history of this `fit` up to that epoch
    (`fnn.load_info`). Functions of your own are stored under their names, as ``custom`` of `fnn.load` takes them. A
    task that holds an unnamed one, such as a lambda, or an optax optimizer is left out.

    Args:
      path: the file, overwritten each time; or a pattern of file names, e.g. ``"run-{epoch:03d}.safetensors"`` or
        ``"{epoch}-{val_loss:.3f}.safetensors"``, with the epoch counted from 1 and the names of the logs, as in Keras.
        Missing folders are created.
      monitor: a key of the logs, e.g. "val_loss": save only when it is better than in all earlier epochs, including
        those of earlier calls of fit with this callback; default None, save always. NaN is never better (in Keras the
        first value always is).
      mode: as in `early_stopping`.

    Raises:
      InputError: for a mode without a monitor or an unknown one, a name without a default and no mode, and for names
        missing from the logs.

    >>> import fnn
    >>> callback = fnn.model_checkpoint("out/best.safetensors", monitor="val_loss")
    """
    if monitor is None and mode is not None:
        fail("model_checkpoint", expected="a monitor with a mode", got=f"mode={mode!r} alone")
    check_ending("model_checkpoint", path, ".safetensors")
    watch = None if monitor is None else Watch.of("model_checkpoint", monitor, 1, 0.0, mode)
    return ModelCheckpoint(os.fspath(path), watch)


class ModelCheckpoint:
    """See `model_checkpoint`.

    Attributes:
      task: that of the latest `fit`; None before.
    """

    def __init__(self, pattern: str, watch: Watch | None) -> None:
        self.pattern, self.watch = pattern, watch
        self.task: Task | None = None
        self.history: dict[str, list[float]] = {}
        self.memory = None if watch is None else watch.start()

    def begin(self, task: Task) -> None:
        """Write this task's architecture into the files; `fit` calls it."""
        self.task = task

    def __call__(self, epoch: int, ts: TrainState, logs: dict[str, float]) -> None:
        """Save if it is time."""
        if epoch == 0:  # a callback may serve several calls of fit
            self.history.clear()
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        if self.watch is not None and self.memory is not None:
            self.memory, better = self.watch.step(self.memory, logs)
            if not better:
                return
        try:
            target = self.pattern.format(**{**logs, "epoch": epoch + 1})
        except (KeyError, IndexError, ValueError) as error:
            expected = f"only {{epoch}} and entries of the logs, {list(logs)}, in braces"
            fail("model_checkpoint", expected=expected, got=f"{self.pattern!r} ({error})")
        description = None if self.task is None else describe_by_own_names(self.task, ts)
        more = {"history": self.history, "extra": {"epoch": epoch + 1}, "model": self.task}
        save_with(target, ts, {}, description=description, **more)

    def state(self) -> PyTree:
        """The best value and the history so far, for a checkpoint of `fit`."""
        memory = None if self.memory is None else (float(self.memory[0]), int(self.memory[1]))
        return {"history": self.history, "memory": memory}

    def restore(self, state: PyTree) -> None:
        """Continue with the memory from a checkpoint."""
        self.history = {name: list(values) for name, values in state["history"].items()}
        if state["memory"] is not None:
            best, waited = state["memory"]
            self.memory = jnp.float32(best), jnp.int32(waited)
