"""Callbacks that are pure functions: early stopping and learning-rate reduction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeVar

import jax.numpy as jnp

from .._core.checks import check_count, check_range, renamed
from .._core.described import in_words
from .._core.errors import did_you_mean, fail, kind_of
from .._core.trees import is_traced
from .._core.typed import tree_map
from .._core.types import Array, PyTree, Scalar
from ..metrics.names import DIRECTIONS, direction
from ..optimizers.base import Groups, OptState, map_opt_states, opt_states
from .state import TrainState

T = TypeVar("T")
Values = Mapping[str, Scalar]
After = tuple[PyTree, TrainState, bool | Array]
Watched = tuple[Array, Array]
"""The best value so far, with the sign that makes less better, and the epochs since it improved."""


class StopTraining(Exception):  # noqa: N818 (a request, not an error)
    """Raise it in a callback of `fit` to end training after this epoch.

    Args:
      ts: the TrainState to return; default the current one.
    """

    def __init__(self, ts: TrainState | None = None) -> None:
        super().__init__("training was asked to stop")
        self.ts = ts


def check_monitor(where: str, monitor: object, **options: type) -> None:
    """Refuse anything but a name as ``monitor``; a number may be meant for the option of its type."""
    if not isinstance(monitor, str):
        meant = next((name for name, kind in options.items() if type(monitor) is kind), "")
        hint = f"Write {where}({meant}={monitor!r})." if meant else "Write a name, such as monitor='val_loss'."
        fail(where, expected="the name of a value in the logs as monitor", got=in_words(monitor), hint=hint)


def known_rising(where: str, monitor: str, mode: str | None = None) -> bool | None:
    """`is_rising` before there are logs; None for what may be a metric of an output, which they decide."""
    check_monitor(where, monitor)
    if mode is None and not direction(monitor) and any(monitor.endswith(f"_{name}") for name in DIRECTIONS):
        return None
    return is_rising(where, monitor, mode)


def is_rising(where: str, monitor: str, mode: str | None = None, logs: Collection[str] = ()) -> bool:
    """Whether a higher value in the logs is better, by ``mode`` or else by its name, see `fnn.metrics.direction`."""
    check_monitor(where, monitor)
    mode = None if mode == "auto" else mode  # as Keras calls it
    if mode not in (None, "min", "max"):
        fail(where, expected="mode 'min', 'max' or None", got=repr(mode))
    mode = mode or direction(monitor, logs)
    if mode is None:
        known = [f"{prefix}{name}" for name in DIRECTIONS for prefix in ("", "val_")]
        meant = did_you_mean(monitor, known, surely=True)
        hint = f"Write mode='max' if higher is better, mode='min' if lower is. {meant}".strip()
        expected = "mode='max' or mode='min' for an unknown metric"
        fail(where, expected=expected, got=f"monitor={monitor!r} without a mode", hint=hint)
    return mode == "max"


class PureCallback(ABC):
    """A callback for `fit` and for `run`, which includes it in its compiled program.

    It is written as pure functions, and its memory is a pytree. Callbacks with equal settings share compiled programs.
    """

    def __init__(self, *settings: object) -> None:
        self.settings = settings
        self._memory: PyTree = None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash((type(self), self.settings))

    @abstractmethod
    def start(self, ts: TrainState) -> PyTree:
        """The memory before the first epoch."""

    @abstractmethod
    def after(self, memory: PyTree, epoch: int | Array, ts: TrainState, logs: Values) -> After:
        """After each epoch: the new memory, the state to continue with, and whether to stop."""

    def end(self, memory: PyTree, ts: TrainState, epoch: T) -> tuple[TrainState, Array | T]:
        """The state to return, and the number of its epoch."""
        return ts, epoch

    def __call__(self, epoch: int, ts: TrainState, logs: Mapping[str, float]) -> TrainState:
        """The same on the host, as a callback of `fit`."""
        if epoch == 0:  # a callback may serve several calls of fit
            self._memory = self.start(ts)
        self._memory, ts, stop = self.after(self._memory, epoch, ts, logs)
        if stop:
            raise StopTraining(self.finish(ts))
        return ts

    def state(self) -> PyTree:
        """The memory, for a checkpoint of `fit`; None before the first epoch."""
        return self._memory

    def restore(self, memory: PyTree) -> None:
        """Continue with the memory from a checkpoint."""
        self._memory = memory

    def finish(self, ts: TrainState) -> TrainState:
        """The state for `fit` to return."""
        return self.end(self._memory, ts, None)[0]


class Watch(NamedTuple):
    """Follows one value of the logs: whether it improves, and for how many epochs it has not."""

    where: str
    monitor: str
    patience: int
    min_delta: float
    rising: bool | None  # None if the logs decide

    @classmethod
    def of(cls, where: str, monitor: str, patience: int, min_delta: float, mode: str | None) -> Watch:
        """A watch with checked settings."""
        check_count(where, "patience", patience, least=0)
        check_range(where, "min_delta", min_delta, 0)
        return cls(where, monitor, patience, min_delta, known_rising(where, monitor, mode))

    def start(self) -> Watched:
        """The memory before the first epoch."""
        return jnp.float32(jnp.inf), jnp.int32(0)

    def check(self, logs: Collection[str]) -> None:
        """Refuse logs without the watched value."""
        if self.monitor not in logs:
            hint = ""
            if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in logs):
                hint = "Pass validation data."
            hint = hint or did_you_mean(self.monitor, logs)
            fail(self.where, expected=f"{self.monitor!r} in the logs", got=str(list(logs)), hint=hint)

    def value(self, logs: Values) -> Array:
        """The watched value, with the sign that makes less better."""
        self.check(logs)
        return self.signed(logs[self.monitor], logs)

    def signed(self, value: Scalar, logs: Values) -> Array:
        """A value with the sign that makes less better."""
        rising = is_rising(self.where, self.monitor, None, logs) if self.rising is None else self.rising
        return jnp.asarray(value, jnp.float32) * (-1 if rising else 1)

    def beats(self, value: Array, best: Array) -> Array:
        """Whether a signed value improves on another; NaN never does."""
        return value < best - self.min_delta

    def step(self, memory: Watched, logs: Values) -> tuple[Watched, Array]:
        """The memory after an epoch, and whether the value improved."""
        value, (best, waited) = self.value(logs), memory
        better = self.beats(value, best)
        return (jnp.where(better, value, best), jnp.where(better, 0, waited + 1)), better


def _choose(condition: Array, a: T, b: T) -> T:
    """One of two trees; with a known condition no array is touched."""
    if is_traced(condition):
        return tree_map(lambda x, y: jnp.where(condition, x, y), a, b)
    return a if condition else b


@renamed(verbose="it without verbose: it prints nothing", min_epochs="start_from_epoch={}")
def early_stopping(
    monitor: str = "val_loss",
    *,
    patience: int = 5,
    min_delta: float = 0.0,
    mode: str | None = None,
    baseline: float | None = None,
    start_from_epoch: int = 0,
    restore_best: bool = True,
) -> PureCallback:
    """End training when a value has not improved for several epochs; for `fit` and `run`.

    Args:
      monitor: a key of the logs; default "val_loss".
      patience: epochs without improvement until training ends; default 5. 0 acts like 1, as in Keras.
      min_delta: the smallest improvement that counts; default any.
      mode: "min" or "max". The names of the library's losses and metrics have a default, "max" for "accuracy",
        "acc", "f1", "auc", "r2" and others, "min" for "loss", "rmse" and the losses, also with "val_" or an output's
        name before them; any other name needs a mode. See `fnn.metrics.direction`.
      baseline: a value to beat by more than ``min_delta``: epochs that do not beat it count as waiting, even if they
        improve on those before; default none.
      start_from_epoch: epochs at the beginning that are not watched, whose states are never the best; default 0.
      restore_best: whether training returns the state of the best epoch, optimizer and step included, instead of the
        last, ended early or not; default True. Ctrl-C returns the current state.

    Raises:
      InputError: for arguments out of range, a name without a default and no mode, or a value missing from the logs.

    >>> import fnn
    >>> stop = fnn.early_stopping("val_accuracy", patience=3)
    """
    check_monitor("early_stopping", monitor, patience=int, min_delta=float)
    watch = Watch.of("early_stopping", monitor, patience, min_delta, mode)
    check_count("early_stopping", "start_from_epoch", start_from_epoch, least=0)
    if baseline is not None:
        check_range("early_stopping", "baseline", baseline)
    return _EarlyStopping(watch, restore_best, baseline, start_from_epoch)


class _EarlyStopping(PureCallback):
    def __init__(self, watch: Watch, restore_best: bool, baseline: float | None, first: int) -> None:
        # Checkpoints hold the settings; those of version 0.1 know neither of the last two.
        super().__init__(watch, restore_best, *([] if (baseline, first) == (None, 0) else [baseline, first]))
        self.watch, self.restore_best, self.baseline, self.first = watch, restore_best, baseline, first

    def start(self, ts: TrainState) -> PyTree:
        return self.watch.start(), (ts if self.restore_best else None), jnp.int32(-1)

    def after(self, memory: PyTree, epoch: int | Array, ts: TrainState, logs: Values) -> After:
        (before, waited), best, number = memory
        value, watching = self.watch.value(logs), jnp.asarray(epoch) >= self.first
        passed = better = watching & self.watch.beats(value, before)
        if self.baseline is not None:
            passed = better & self.watch.beats(value, self.watch.signed(self.baseline, logs))
        waited = jnp.where(passed, 0, waited + watching.astype(jnp.int32))
        if self.restore_best:
            best, number = _choose(better, (ts, jnp.asarray(epoch, jnp.int32)), (best, number))
        memory = (jnp.where(better, value, before), waited), best, number
        return memory, ts, watching & ~better & (waited >= self.watch.patience)

    def end(self, memory: PyTree, ts: TrainState, epoch: T) -> tuple[TrainState, Array | T]:
        _, best, number = memory
        return _choose(number >= 0, (best, number), (ts, epoch)) if self.restore_best else (ts, epoch)


@renamed()
def reduce_on_plateau(
    monitor: str = "val_loss",
    *,
    factor: float = 0.1,
    patience: int = 5,
    cooldown: int = 0,
    min_delta: float = 1e-4,
    min_rate: float = 0.0,
    mode: str | None = None,
) -> PureCallback:
    """Multiply the learning rate by ``factor`` when a value has not improved for several epochs; for `fit` and `run`.

    The rate is a leaf of the optimizer's state, so nothing is recompiled. With `by_path` the rates of all groups fall
    together.

    Args:
      monitor, mode: as in `early_stopping`.
      factor: in [0, 1]; default 0.1.
      patience: epochs without improvement until the rate falls; default 5. 0 acts like 1, as in Keras.
      cooldown: epochs after a reduction before waiting begins again; default 0. The last of them counts as waiting, as
        in Keras, so that 1 acts like 0.
      min_delta: the smallest improvement that counts; default 1e-4.
      min_rate: the lowest rate; default 0.

    Raises:
      InputError: for arguments out of range, a value missing from the logs, or an optimizer whose learning rate is not
        a number (a schedule, or an optax optimizer).
    """
    check_monitor("reduce_on_plateau", monitor, patience=int, factor=float)
    watch = Watch.of("reduce_on_plateau", monitor, patience, min_delta, mode)
    check_range("reduce_on_plateau", "factor", factor, 0, 1)
    check_range("reduce_on_plateau", "min_rate", min_rate, 0)
    check_count("reduce_on_plateau", "cooldown", cooldown, least=0)
    return _Plateau(watch, factor, min_rate, cooldown)


class _Plateau(PureCallback):
    def __init__(self, watch: Watch, factor: float, min_rate: float, cooldown: int) -> None:
        # Checkpoints hold the settings; those of version 0.1 know no cooldown.
        super().__init__(watch, factor, min_rate, *([cooldown] if cooldown else []))
        self.watch, self.factor, self.min_rate, self.cooldown = watch, factor, min_rate, cooldown

    def start(self, ts: TrainState) -> PyTree:
        return self.watch.start()

    def after(self, memory: PyTree, epoch: int | Array, ts: TrainState, logs: Values) -> After:
        (best, _), better = self.watch.step(memory, logs)
        waited = memory[1]  # negative during a cooldown: minus the epochs left of it
        waited = jnp.where(waited < -1, waited + 1, jnp.where(better, 0, jnp.maximum(waited, 0) + 1))
        lower = ~better & (waited >= self.watch.patience)
        if is_traced(lower) or lower:
            ts = self._reduced(ts, lower)
        return (best, jnp.where(lower, -self.cooldown, waited)), ts, False

    def _reduced(self, ts: TrainState, lower: Array) -> TrainState:
        """The state with lower rates if ``lower``."""
        rates = [node.hyper["learning_rate"] for _, node in opt_states(ts) if "learning_rate" in node.hyper]
        for rate in rates or [None]:
            if rate is None or isinstance(rate, dict):
                hint = "Use an fnn optimizer with a plain learning rate."
                fail("reduce_on_plateau", expected="a learning rate that is a number", got=kind_of(rate), hint=hint)

        def reduced(groups: Groups, node: OptState) -> OptState:
            rate = node.hyper.get("learning_rate")
            if rate is None:
                return node
            # A rate that is already below min_rate stays as it is.
            least = jnp.minimum(rate, jnp.maximum(rate * self.factor, self.min_rate)).astype(rate.dtype)
            return node._replace(hyper={**node.hyper, "learning_rate": _choose(lower, least, rate)})

        return map_opt_states(reduced, ts)
