"""Checks of values at the doors of training, where they are known: targets, and hyper-parameters of a replaced task."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Iterator

import jax
import numpy as np

from .._core.checks import is_concrete
from .._core.errors import located
from .._core.trees import paths
from .._core.types import Array, PyTree
from .._core.warn import warn
from ..losses.facts import check_targets, facts_of
from ..metrics.names import check_labels
from ..nn.masks import unmasked
from ..optimizers.base import get_hyper
from .batch import Batch, Signature, rows_that_count
from .checks import check_part
from .outputs import OutputLoss
from .state import TrainState
from .task import Task

# jax.Arrays are immutable, so each needs to be checked only once for a loss, its metrics and the shape of the output.
_seen_valid: weakref.WeakValueDictionary[object, Array] = weakref.WeakValueDictionary()


def check_target_values(part: OutputLoss, predictions: PyTree, targets: PyTree, where: str) -> None:
    """Refuse targets that are invalid for the loss of an output, or for its metrics; from its own predictions."""
    predictions = unmasked(predictions)
    if isinstance(targets, (jax.Array, np.ndarray)) and hasattr(predictions, "shape"):
        with located(f"{where}, output {part.name!r}" if part.path else where):
            check_targets(part.loss, predictions, targets)
            check_labels(part.metrics, part.loss, predictions, targets)


def check_known_targets(task: Task, data: Batch, where: str, *, wait: bool = True) -> None:
    """`check_target_values` of a batch outside of `fit`, where its targets and weights are known.

    Without ``wait`` arrays that the device has yet to compute pass, as waiting for them would slow a loop of steps.
    Data whose shapes do not fit are left to the trace, which says where.
    """
    values = jax.tree.leaves((data.y, data.weight))
    if not all(_is_known(a, wait) for a in values) or not any(map(_limits_targets, task.parts)):
        return
    trace = _predictions.__wrapped__ if task.traced else _predictions
    for part, predictions in trace(task, Signature.of(data)):
        targets, weight = part.of("targets", data.y), part.weight_of(data.weight)
        key = id(targets), part.loss, part.metrics, getattr(predictions, "shape", None)
        if weight is not None:
            rows = np.asarray(rows_that_count(jax.tree.map(np.asarray, weight)))
            targets = jax.tree.map(lambda a, rows=rows: a[rows], targets) if rows.any() else None
        elif _seen_valid.get(key) is targets:
            continue
        check_target_values(part, predictions, targets, where)
        if weight is None and isinstance(targets, jax.Array):
            _seen_valid[key] = targets


def _is_known(a: object, wait: bool) -> bool:
    """Whether the values of an array are known here, now or after a wait."""
    if not isinstance(a, jax.Array):
        return isinstance(a, (np.ndarray, np.generic))
    ready = getattr(a, "is_ready", None)
    return is_concrete(a) and a.is_fully_addressable and (wait or ready is None or ready())


def _limits_targets(part: OutputLoss) -> bool:
    """Whether an output has a loss or metrics that restrict its targets."""
    return bool(part.metrics) or facts_of(part.loss).check is not None


@functools.lru_cache(maxsize=64)
def _predictions(task: Task, shapes: Signature) -> list[tuple[OutputLoss, PyTree]]:
    """The outputs whose targets are limited, with the shapes of their predictions; none if the batch does not fit."""
    batch: Batch = shapes.tree()

    def predict(x: PyTree) -> PyTree:
        return task.network.apply(*task.network.init(jax.random.key(0), x), x)[0]

    with contextlib.suppress(Exception):
        predictions = jax.eval_shape(predict, batch.x)
        for part in task.parts:
            check_part(part, predictions, batch, "data")
        return [(part, part.of("predictions", predictions)) for part in task.parts if _limits_targets(part)]
    return []


def warn_of_former_hyper(where: str, task: Task, ts: TrainState, *, wait: bool = True) -> None:
    """Warn of a state with hyper-parameters of an optimizer that `Task.replace` replaced; those of the state count.

    A value that neither optimizer has was set on purpose.
    """
    if not task.former or task.traced:
        return
    have = paths(get_hyper(ts.opt_state))
    if not all(_is_known(leaf, wait) for leaf in have.values()):
        return
    stale = list(_stale(task, ts, have))
    if stale:
        names = ", ".join(f"{name} {old:g}" for name, old, _ in stale)
        wanted = ", ".join(f"{new:g}" for *_, new in stale)
        plain = all("/" not in name for name, *_ in stale)
        values = ", ".join(f"{name}={new:g}" for name, _, new in stale)
        write = f"Write ts = fnn.set_hyper(ts, {values})" if plain else "Change them with fnn.set_hyper"
        warn(
            f"{where}: the state holds {names}, of an optimizer that task.replace replaced; the task's own has "
            f"{wanted}. The values of the state count. {write}, or make a new state with fnn.init."
        )


def _stale(task: Task, ts: TrainState, have: dict[str, Array]) -> Iterator[tuple[str, float, float]]:
    """Hyper-parameters that the state has from a former optimizer: the name, that value, and the one of the task."""
    now, *before = task.initial_hyper(ts.params)
    if now.keys() != have.keys():  # the state of another optimizer, which is refused
        return
    for name, leaf in have.items():
        value, own = np.asarray(leaf), now[name]
        if value.shape == () and own != value and any(former.get(name) == value for former in before):
            yield name, float(value), float(own)
