"""What opens a call of `fit`, `evaluate`, `predict` and `predictor`: its context and checks of its arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from .._core.checks import check_count
from .._core.errors import fail
from .._core.inputs import leaves
from .._core.types import PyTree
from ..training.placed import together_on
from ..training.state import check_state, check_task
from . import inputs
from .ahead import pausing_readers
from .watchdog import watching

_PURE = {
    "fit": "fnn.run, fnn.train_epoch or fnn.train_step",
    "evaluate": "fnn.run(..., validation_data=(x, y)), whose history has the values",
    **dict.fromkeys(("predict", "predictor"), "y, _ = task.model.apply(ts.params, ts.state, x)"),
}
"""The pure function that does the work of a driver."""


@contextlib.contextmanager
def driving(where: str, mesh: Mesh | None, advice: str = "") -> Iterator[None]:
    """A driver's call: processes that share the mesh make it together and watch each other, and no reader outlives it.

    ``advice`` ends the message of a process that stops because another one did.
    """
    with together_on(mesh, where), watching(where, advice), pausing_readers():
        yield


def check_call(where: str, task: object, ts: object, data: object, extra: tuple[object, ...] = ()) -> None:
    """Refuse calls that a driver cannot serve: other arguments, or a call inside a JAX transformation."""
    check_task(task)
    check_state(ts)
    if data is None:
        hint = f"Write fnn.{where}(task, ts, {'x' if where == 'predict' else '(x, y)'})."
        fail(where, expected="data as third argument", got="none", hint=hint)
    if extra:
        hint = f"Pass the data as one tuple: {where}(task, ts, (x, y))."
        fail(where, expected="three positional arguments", got=str(3 + len(extra)), hint=hint)
    refuse_traced(where, ts, data)


def refuse_traced(where: str, ts: object, data: PyTree = ()) -> None:
    """Refuse a call inside a JAX transformation; iterables of batches are checked as they are read."""
    given = [] if type(data) is np.ndarray or inputs.is_stream(data) else leaves(data)
    if any(issubclass(kind, jax.core.Tracer) for kind in {type(leaf) for leaf in (*jax.tree.leaves(ts), *given)}):
        hint = f"{where} runs on the host; inside fnn.many, fnn.sweep, jit, vmap or grad write {_PURE[where]}."
        fail(where, expected="concrete values", got="traced ones", hint=hint)


def check_rows(where: str, batch_size: int | None) -> None:
    """Refuse a ``batch_size`` that is no number of rows; None stands for the default."""
    if batch_size is not None:
        check_count(where, "batch_size", batch_size)
