"""Callbacks for `fit`: functions ``callback(epoch, ts, logs)`` called after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._checks import check_count, check_range, fail
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


class _Watch:
    """Follows one value of the logs: whether it got better, and for how many epochs it has not."""

    def __init__(self, where: str, monitor: str, patience: int, min_delta: float, mode: str | None) -> None:
        check_count(where, "patience", patience)
        check_range(where, "min_delta", min_delta, 0)
        if mode not in (None, "min", "max"):
            fail(where, expected="mode 'min', 'max' or None", got=repr(mode))
        rising = monitor.endswith(("accuracy", "precision", "recall", "f1", "r2"))
        self.sign = -1 if mode == "max" or (mode is None and rising) else 1
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
      restore_best: whether to return the state of the best epoch, optimizer and step included, when it ends training;
        default True. Training that runs to its last epoch returns the state reached.

    Raises:
      InputError: for arguments out of range, or a value that the logs do not have.

    >>> import fnn
    >>> stop = fnn.early_stopping("val_accuracy", patience=3)
    """
    watch = _Watch("early_stopping", monitor, patience, min_delta, mode)
    best: TrainState | None = None

    def callback(epoch: int, ts: TrainState, logs: dict[str, float]) -> None:
        nonlocal best
        if watch.better(epoch, logs):
            best = ts if restore_best else None
        elif watch.waited >= watch.patience:
            raise StopTraining(best)

    return callback


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
        return set_hyper(ts, learning_rate=np.maximum(np.asarray(rate) * factor, min_rate))

    return callback
