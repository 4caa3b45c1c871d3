"""Checks of the arguments of `fit`, `evaluate` and `predict`."""

from __future__ import annotations

import jax
import numpy as np

from .._core.checks import check_count
from .._core.errors import fail
from .._core.inputs import leaves
from .._core.types import PyTree
from ..training.state import check_state, check_task
from . import inputs

_PURE = {
    "fit": "fnn.run, fnn.train_epoch or fnn.train_step",
    "evaluate": "fnn.run(..., validation_data=(x, y)), whose history has the values",
    **dict.fromkeys(("predict", "predictor"), "y, _ = task.model.apply(ts.params, ts.state, x)"),
}
"""The pure function that does the work of a driver."""


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
