"""Callbacks for `fit`: functions ``callback(epoch, ts, logs)`` called after each epoch.

One that has a method ``finish(ts)`` is asked after the last epoch for the state to return (None: the one reached).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .._checks import check_count, check_range, fail
from ..checkpoint import save
from ..optimizers.rules import get_hyper, set_hyper
from .state import TrainState

Callback = Callable[[int, TrainState, dict[str, float]], TrainState | None]


class StopTraining(Exception):  # noqa: N818 (a request, no error)
    """Raise it in a callback of `fit` to end training after this epoch.

    Args:
      ts: the TrainState to return; default the one reached.
    """

    def __init__(self, ts: TrainState | None = None) -> None:
        super().__init__("training was asked to stop")
        self.ts = ts


def is_rising(name: str) -> bool:
    """Whether a value of the logs is better when it is higher: accuracies, precision, recall, F1 and R2."""
    return name.endswith(("accuracy", "precision", "recall", "f1", "r2"))


class _Watch:
    """Follows one value of the logs: whether it got better, and for how many epochs it has not."""

    def __init__(self, where: str, monitor: str, patience: int, min_delta: float, mode: str | None) -> None:
        check_count(where, "patience", patience)
        check_range(where, "min_delta", min_delta, 0)
        if mode not in (None, "min", "max"):
            fail(where, expected="mode 'min', 'max' or None", got=repr(mode))
        self.sign = -1 if mode == "max" or (mode is None and is_rising(monitor)) else 1
        self.where, self.monitor, self.patience, self.min_delta = where, monitor, patience, min_delta
        self.best, self.waited = np.inf, 0

    def better(self, epoch: int, logs: dict[str, float]) -> bool:
        if epoch == 0:  # a callback may serve several calls of fit
            self.best, self.waited = np.inf, 0
        if self.monitor not in logs:
            hint = "Pass validation data to fit." if self.monitor.startswith("val_") else ""
            fail(self.where, expected=f"{self.monitor!r} in the logs", got=str(list(logs)), hint=hint)
        value = self.sign * logs[self.monitor]
        improved = value < self.best - self.min_delta
        self.best, self.waited = (value, 0) if improved else (self.best, self.waited + 1)
        return bool(improved)


def early_stopping(
    monitor: str = "val_loss",
    *,
    patience: int = 5,
    min_delta: float = 0.0,
    mode: str | None = None,
    restore_best: bool = True,
) -> Callback:
    """End training when a value has not got better for some epochs.

    Args:
      monitor: a key of the logs; default "val_loss".
      patience: epochs without improvement until training ends; default 5.
      min_delta: what counts as improvement; default any.
      mode: "min" or "max"; default "max" for accuracies, precision, recall, F1 and R2, else "min".
      restore_best: whether training returns the state of the best epoch, optimizer and step included, in the place of
        the last, ended early or not; default True. Training that Ctrl-C ends returns the state reached.

    Raises:
      InputError: for arguments out of range, or a value that the logs do not have.

    >>> import fnn
    >>> stop = fnn.early_stopping("val_accuracy", patience=3)
    """
    return _EarlyStopping(_Watch("early_stopping", monitor, patience, min_delta, mode), restore_best)


class _EarlyStopping:
    """See `early_stopping`."""

    def __init__(self, watch: _Watch, restore_best: bool) -> None:
        self.watch, self.restore_best = watch, restore_best
        self.best: TrainState | None = None

    def __call__(self, epoch: int, ts: TrainState, logs: dict[str, float]) -> None:
        if epoch == 0:  # of another call of fit
            self.best = None
        if self.watch.better(epoch, logs):
            self.best = ts if self.restore_best else None
        elif self.watch.waited >= self.watch.patience:
            raise StopTraining(self.best)

    def finish(self, ts: TrainState) -> TrainState | None:
        """The best state, when training ran to its last epoch."""
        return self.best


def reduce_on_plateau(
    monitor: str = "val_loss",
    *,
    factor: float = 0.1,
    patience: int = 5,
    min_delta: float = 1e-4,
    min_rate: float = 0.0,
    mode: str | None = None,
) -> Callback:
    """Multiply the learning rate by ``factor`` whenever a value has not got better for some epochs.

    Nothing is compiled anew, since the rate is a leaf of the optimizer's state.

    Args:
      monitor: a key of the logs; default "val_loss".
      factor: in [0, 1]; default 0.1.
      patience: epochs without improvement until the rate falls; default 5.
      min_delta: what counts as improvement; default 1e-4.
      min_rate: the rate never falls below it.
      mode: as in `early_stopping`.

    Raises:
      InputError: for arguments out of range, a value that the logs do not have, or an optimizer whose learning rate is
        no number (a schedule, or an optax optimizer).
    """
    check_range("reduce_on_plateau", "factor", factor, 0, 1)
    check_range("reduce_on_plateau", "min_rate", min_rate, 0)
    watch = _Watch("reduce_on_plateau", monitor, patience, min_delta, mode)

    def callback(epoch: int, ts: TrainState, logs: dict[str, float]) -> TrainState | None:
        if watch.better(epoch, logs) or watch.waited < watch.patience:
            return None
        watch.waited = 0
        rate: Any = get_hyper(ts).get("learning_rate")
        if rate is None or isinstance(rate, dict):
            hint = "Use an fnn optimizer with a plain learning rate."
            fail("reduce_on_plateau", expected="a learning rate that is a number", got=type(rate).__name__, hint=hint)
        rate = np.asarray(rate)
        # One that is below the least rate already stays as it is.
        return set_hyper(ts, learning_rate=np.minimum(rate, np.maximum(rate * factor, min_rate)))

    return callback


def csv_log(path: Any, *, append: bool = False) -> Callback:
    """Write the values of each epoch as a row of a CSV file, which is complete after every epoch.

    The first row holds the names: "epoch", counted from 1 as the progress bar counts (Keras's CSVLogger counts from
    0), then those of the logs, "loss" first. Numbers are written with all their digits.

    Args:
      path: the file. Missing folders are made.
      append: whether to go on in a file that is there already, e.g. for a run that is taken up again; by default each
        `fit` begins the file anew. Columns of the file for which an epoch has no value stay empty.

    Raises:
      InputError: in an epoch with values for which the file has no column, or for a file that is no such table.

    >>> import fnn
    >>> log = fnn.csv_log("out/run.csv")
    """
    path = os.fspath(path)
    columns: list[str] = []

    def callback(epoch: int, ts: TrainState, logs: dict[str, float]) -> None:
        nonlocal columns
        row = {"epoch": epoch + 1, **logs}
        fresh = epoch == 0 or not columns
        if fresh:
            columns = _columns(path) if append or epoch > 0 else []
        write_header = fresh and not columns
        if write_header:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            columns = list(row)
        if more := [name for name in row if name not in columns]:
            hint = "Use another file, or append=False."
            fail("csv_log", expected=f"the columns of {path!r}, {columns}", got=f"other values: {more}", hint=hint)
        with open(path, "w" if write_header else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            if write_header:
                writer.writeheader()
            writer.writerow(row)

    return callback


def _columns(path: str) -> list[str]:
    """The names in the first row of a log, none for an empty or missing file; a last row that was cut off is ended."""
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


def model_checkpoint(path: Any, monitor: str | None = None, mode: str | None = None) -> Callback:
    """Save the TrainState after each epoch, or only when a value got better; see `fnn.save`.

    With it goes the history of this `fit` up to that epoch (`fnn.load_info`).

    Args:
      path: the file, written anew each time; or a pattern of file names, e.g. ``"run-{epoch:03d}.safetensors"`` or
        ``"{epoch}-{val_loss:.3f}.safetensors"``, with the epoch counted from 1 and the names of the logs, as in Keras.
        Missing folders are made.
      monitor: a key of the logs, e.g. "val_loss": save only when it is better than in all epochs before; default
        None, save always. NaN is never better (in Keras the first value always is).
      mode: as in `early_stopping`.

    Raises:
      InputError: for a mode without a monitor or an unknown one, and for names that the logs do not have.

    >>> import fnn
    >>> callback = fnn.model_checkpoint("out/best.safetensors", monitor="val_loss")
    """
    if monitor is None and mode is not None:
        fail("model_checkpoint", expected="a monitor with a mode", got=f"mode={mode!r} alone")
    pattern = os.fspath(path)
    watch = None if monitor is None else _Watch("model_checkpoint", monitor, 1, 0.0, mode)
    history: dict[str, list[float]] = {}

    def callback(epoch: int, ts: TrainState, logs: dict[str, float]) -> None:
        if epoch == 0:
            history.clear()
        for name, value in logs.items():
            history.setdefault(name, []).append(value)
        if watch is not None and not watch.better(epoch, logs):
            return
        try:
            target = pattern.format(**{**logs, "epoch": epoch + 1})
        except (KeyError, IndexError, ValueError) as error:
            expected = f"a path with {{epoch}} or names of the logs, {list(logs)}, in braces"
            fail("model_checkpoint", expected=expected, got=f"{pattern!r} ({error})")
        save(target, ts, history=history, extra={"epoch": epoch + 1})

    return callback
