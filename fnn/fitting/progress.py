"""Progress of a training: the bar, and the history of its epochs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.monitoring

from .._core.types import Array
from ..training.task import Task
from ..training.totals import log_names

T = TypeVar("T")


class _Named(dict[str, T]):
    """A dict whose `KeyError` lists the known names."""

    def __missing__(self, name: object) -> T:
        raise KeyError(f"{name!r}. Known: {', '.join(self.keys())}.")


class History(_Named[list[float]]):
    """The values of each epoch of `fit`: lists with one entry per epoch. As in Keras, ``history.history`` is the dict.

    Keys: "loss", the metrics of the task, with validation data "val_loss" and so on, and "seconds", the time of each
    epoch with its validation.

    Attributes:
      interrupted: whether Ctrl-C ended the training early.
    """

    interrupted: bool = False

    @property
    def history(self) -> History:
        """The history itself."""
        return self

    if not TYPE_CHECKING:  # or a type checker would accept any attribute

        def __getattr__(self, name):
            hint = f" Write history[{name!r}]." if name in self else ""
            raise AttributeError(f"'History' object has no attribute {name!r}.{hint}", name=name, obj=self)

    def record(self, logs: dict[str, float]) -> None:
        """Append the values of one epoch."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)


class Scores(_Named[float]):
    """Loss and metrics by name, which unpack to their values: ``loss, accuracy = fnn.evaluate(...)``.

    Iteration gives the values, in the order of the names in ``keys()``; otherwise it is a dict: ``dict(scores)``,
    ``scores.items()``, ``"loss" in scores`` and ``scores == {...}`` are by name. An integer counts the values:
    ``scores[1]``. A single score is also a number to ``float`` and to formats such as ``.3f``.

    >>> scores = Scores(loss=0.5, accuracy=0.75)
    >>> loss, accuracy = scores
    >>> scores["accuracy"] == accuracy, list(scores.keys())
    (True, ['loss', 'accuracy'])
    """

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self.values())

    def __missing__(self, name: object) -> float:
        if isinstance(name, int) and -len(self) <= name < len(self):
            return list(self.values())[name]
        if not isinstance(name, (str, int)):
            raise KeyError(f"{name!r}. Iterating over scores gives values; use scores.items() for names and values.")
        return super().__missing__(name)

    def __float__(self) -> float:
        if len(self) != 1:
            names = " or ".join(f"scores[{name!r}]" for name in self.keys())
            raise TypeError(f"{len(self)} scores are not one number. Write {names}.")
        return float(next(iter(self.values())))

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)


jax.tree_util.register_pytree_with_keys(
    Scores,
    lambda scores: (
        tuple((jax.tree_util.DictKey(name), value) for name, value in scores.items()),
        tuple(scores.keys()),
    ),
    lambda names, values: Scores(zip(names, values, strict=True)),
)
_COMPILING = "/jax/core/compile/"  # how JAX's events of compilation begin


def announce_compilation() -> None:
    """Tell a bar that compilation begins, from inside a compiled function: its Python code runs only then."""
    jax.monitoring.record_event_duration_secs(f"{_COMPILING}begin", 0.0)


class Progress:
    """The visible progress: a bar per epoch (verbose 1), a line per epoch (2), or nothing (0)."""

    def __init__(self, verbose: int, epochs: int) -> None:
        self.verbose, self.epochs, self.bar = verbose, epochs, None
        self.values = ""  # of loss and metrics, as the bar shows them
        self.compiling = False
        # The bar moves a few times a second; without a bar, the chunk length only bounds the delay of Ctrl-C.
        self.period = 0.2 if verbose == 1 else 1.0

    def start(self, epoch: int, total: int | None, done: int) -> None:
        """Open the bar of an epoch with ``done`` completed steps."""
        if self.verbose == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm warns where notebook widgets are missing, and falls back to text
                from tqdm.auto import tqdm

                name = f"epoch {epoch + 1}/{self.epochs}"
                self.bar = tqdm(total=total, initial=done, desc=name, unit="step", file=sys.stdout)
            self.values, self.compiling, self.thread = "", False, threading.get_ident()
            self.refreshed = time.perf_counter()
            jax.monitoring.register_event_duration_secs_listener(self._on_jax_event)

    def _on_jax_event(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Show "compiling" until the last stage of a compilation, XLA's, has ended.

        JAX announces the end of each stage, and nothing for a program that is already compiled.
        """
        if event.startswith(_COMPILING) and threading.get_ident() == self.thread and self.bar is not None:
            compiling = not event.endswith("backend_compile_duration")
            if compiling != self.compiling:
                self.compiling = compiling
                self.bar.set_postfix_str("compiling" if compiling else self.values)

    def refresh(self, done: int, task: Task, logs: Mapping[str, Array]) -> None:
        """Move the bar a few times a second, not after every step, since reading values waits for the device."""
        if self.bar is not None and time.perf_counter() - self.refreshed >= self.period:
            self.advance(done, as_floats(task, logs))
            self.refreshed = time.perf_counter()

    def advance(self, done: int, logs: dict[str, float]) -> None:
        """Move the bar to ``done`` completed steps of the epoch."""
        if self.bar is not None:
            self.values, self.compiling = _format(logs), False
            self.bar.set_postfix_str(self.values, refresh=False)
            self.bar.update(done - self.bar.n)

    def end(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Close the bar, or print the epoch's line."""
        if self.bar is not None:
            with contextlib.suppress(AssertionError, ValueError):  # a callback may have cleared JAX's listeners
                jax.monitoring.unregister_event_duration_listener(self._on_jax_event)
            self.bar.set_postfix_str(_format(logs) or self.values, refresh=True)
            self.bar.close()
            self.bar = None
        elif self.verbose == 2 and logs:
            print(f"epoch {epoch + 1}/{self.epochs}: {_format(logs)} ({seconds:.2f} s)", flush=True)


def _format(logs: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())


def as_floats(task: Task, logs: Mapping[str, Array | float]) -> dict[str, float]:
    """Values on the host, in the order in which the task names them (compiled functions sort the keys of dicts)."""
    host = jax.device_get(logs)
    return {name: float(host[name]) for name in log_names(task) if name in host}
