"""A model that predicts, for `predict` and `predictor`, and what is remembered from one call to the next."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import jax_setting
from .._core.errors import InputError, hinted, located
from .._core.inputs import as_arrays
from .._core.processes import agreeing
from .._core.types import Array, PyTree
from ..training.batch import Signature
from ..training.checks import Limits, check_ids_in_range, input_limits
from ..training.evaluation import predict_in_batches, rows_at_once
from ..training.placed import DATA_HINTS, facts_of_call, read_in_order
from ..training.state import TrainState
from ..training.task import Task
from . import inputs
from .ahead import pausing_readers
from .batches import input_batches, is_batches, with_hint
from .calls import refuse_traced
from .inputs import CHUNK_BYTES
from .watchdog import busy


def read_once(task: Task, data: PyTree, batch_size: int) -> PyTree:
    """`read_in_order` for a single call: on one device the call itself copies NumPy arrays, in less time."""
    by_call = task.placement is None and not jax_setting("jax_disable_jit")
    return data if by_call else read_in_order(task, data, batch_size)


Known = dict[Hashable, tuple[Limits, int]]
"""By the shapes of an input that `Inference` has checked: the `Limits` of its values, and the rows at a time."""


@dataclasses.dataclass(frozen=True)
class Inference:
    """A model that predicts, for one call of `predict` or for all of a `predictor`.

    Attributes:
      task, ts: task and state on their devices, checked.
      batch_size: examples computed at a time, None for the default.
      known: what need not be checked again.
    """

    task: Task
    ts: TrainState
    batch_size: int | None
    known: Known

    def outputs(self, x: PyTree) -> PyTree:
        """See `predict`; the device may still be computing them."""
        shapes = _shapes(x) if self.task.placement is None else None
        if shapes not in self.known:
            return self._checked(x, shapes)
        limits, rows = self.known[shapes]
        check_ids_in_range(limits, x, "x")
        inputs.check_finite(x, "x")
        return self._computed(x, rows)

    def _checked(self, given: PyTree, shapes: Hashable | None) -> PyTree:
        """`outputs` of an input of any kind, after all checks."""
        refuse_traced("predict", None, given)
        if is_batches(given):
            with pausing_readers():
                return _joined(self._of_batches(given))
        x = as_arrays(given, defer_checks=True)
        if inputs.is_mapped(x):
            rows = inputs.rows_per_chunk(x, CHUNK_BYTES)
            for i, part in enumerate(inputs.Slices(x, rows)):
                inputs.check_finite(part, "x", i * rows)
            return _joined(self.outputs(part) for part in inputs.Slices(x, rows))
        with agreeing("predict", DATA_HINTS) as facts, busy("checking its data"):
            try:
                limits = input_limits(self.task, Signature.of(self.ts._replace(opt_state=())), Signature.of(x))
                check_ids_in_range(limits, x, "x")
            except InputError as error:
                raise with_hint(error, x) from None
            inputs.check_finite(x, "x")
            facts |= facts_of_call(self.task, {"x": x}, batch_size=self.batch_size)
        rows = rows_at_once(self.task, self.ts, x, self.batch_size)
        if x is given and shapes is not None:  # nothing had to be converted
            self.known[shapes] = limits, rows
        return self._computed(x, rows)

    def _computed(self, x: PyTree, rows: int) -> PyTree:
        return predict_in_batches(self.task, self.ts.params, self.ts.state, read_once(self.task, x, rows), rows)

    def _of_batches(self, x: Iterable[PyTree]) -> Iterator[PyTree]:
        for i, (part, advice) in enumerate(input_batches(x)):
            inputs.warn_of_many("predict", x, i + 1, "pass itertools.islice(x, count)")
            with located(f"x, batch {i}"), hinted(advice):
                yield self.outputs(part)


def _joined(parts: Iterable[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _shapes(x: PyTree) -> Hashable | None:
    """Structure, shapes and dtypes of NumPy arrays, in less time than `Signature.of`; None for any other input."""
    if type(x) is not np.ndarray and not isinstance(x, (dict, tuple)):
        return None
    arrays, structure = jax.tree.flatten(x)
    if any(type(a) is not np.ndarray for a in arrays):
        return None
    return structure, jax_setting("jax_enable_x64"), *[(a.shape, a.dtype) for a in arrays]


# ------------------------------------------------------------------------------------------- repeated calls of predict
class _Last(NamedTuple):
    """The task and the state of the last call, by weak references, which keep no array in memory."""

    task: Task
    structure: jax.tree_util.PyTreeDef
    arrays: tuple[weakref.ref[Array], ...]
    batch_size: int | None
    known: Known


_last: list[_Last] = []  # one, or none


def remember(model: Inference) -> None:
    """Keep what a call of `predict` has checked."""
    arrays, structure = jax.tree.flatten((model.ts.params, model.ts.state))
    if model.task.placement is None and all(isinstance(a, jax.Array) for a in arrays):
        _last[:] = [_Last(model.task, structure, tuple(map(weakref.ref, arrays)), model.batch_size, model.known)]


def remembered(task: Task, ts: TrainState, batch_size: int | None) -> Inference | None:
    """The model of the last call, if this one has the same task and arrays."""
    for last in _last:
        if task is last.task and type(ts) is TrainState and batch_size == last.batch_size:
            arrays, structure = jax.tree.flatten((ts.params, ts.state))
            # Equal structures have as many arrays.
            if structure == last.structure and all(map(_refers, last.arrays, arrays)):
                return Inference(task, ts, batch_size, last.known)
    return None


def _refers(reference: weakref.ref[Array], a: Array) -> bool:
    return reference() is a
