"""Checks of values, before training and evaluation: finite numbers, labels in range, rows that count."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import check_fits, read
from .._core.dtypes import at_least_float32, is_float
from .._core.errors import describe, fail, located
from .._core.warn import warn
from ..losses.facts import check_targets, several_labels
from ..losses.weighting import class_weights
from ..metrics.names import NAN_ROWS, check_labels
from ..nn.masks import Masked
from ..training.batch import Batch, as_batch, size_of
from ..training.checks import Expected, Signature, check_fit, check_ids_in_range
from ..training.state import TrainState
from ..training.task import Task

# jax.Arrays are immutable, so each needs to be looked through only once.
_seen_finite: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def check_finite(data: Any, where: str, offset: int = 0, counts: np.ndarray | None = None) -> None:
    """Refuse NaN, infinity and what JAX's dtypes cannot hold, and say where, in rows counted from ``offset``.

    Rows that do not count, by ``counts`` (batch,), may hold NaN and infinity.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        if isinstance(leaf, np.ndarray):
            check_fits(f"{where}{jax.tree_util.keystr(path)}", leaf, offset)
            leaf = read(leaf)
        if not is_float(leaf) or leaf.size == 0 or _seen_finite.get(id(leaf)) is leaf:
            continue
        # One pass over the sum; only if that is not finite (it may also have overflowed) every element is looked at.
        with np.errstate(over="ignore", invalid="ignore"):
            quick = leaf.sum(dtype=at_least_float32(leaf.dtype))
        if not np.isfinite(np.asarray(quick, np.float64)):
            finite = np.isfinite(np.asarray(leaf).astype(np.float64))
            if counts is not None:
                finite[~counts] = True
            if not finite.all():
                row, *inner = (int(i) for i in np.unravel_index(int(np.argmin(finite)), finite.shape))
                first = (row + offset, *inner)
                name = f"{where}{jax.tree_util.keystr(path)}"
                got = f"{int((~finite).sum())} NaN or infinite values, the first at index {first}"
                fail(name, expected="finite numbers", got=got, hint="Remove or fill those rows.")
        if isinstance(leaf, jax.Array) and counts is None:
            _seen_finite[id(leaf)] = leaf


def check_slices(task: Task, expected: Expected, data: Batch, rows: int, where: str = "data") -> None:
    """`check_data` of arrays that may lie in files, so many rows at a time."""
    check_counting(data, where)
    if rows >= size_of(data):
        return check_data(task, expected, data, where)
    for start in range(0, size_of(data), rows):
        part = jax.tree.map(lambda a, start=start: a[start : start + rows], data)
        check_data(task, expected, part, where, start)
    return None


def check_counting(data: Batch, where: str) -> None:
    """Refuse weights that leave no row; those of one batch may."""
    if data.weight is not None and not data.weight.any():
        _fail_counting(where)


def _fail_counting(where: str) -> NoReturn:
    fail(f"{where} sample_weight", expected="at least one weight above 0", got="none")


def check_data(task: Task, expected: Expected, data: Batch, where: str = "data", offset: int = 0) -> None:
    """Refuse data with invalid values: not finite, labels or ids out of range, negative weights.

    Examples of weight 0 may hold anything.
    """
    x, y, weight = data
    counts = rows_that_count(weight)
    for name, part, kept in (("x", x, counts), ("y", y, counts), ("sample_weight", weight, None)):
        if part is not None:
            check_finite(part, f"{where} {name}", offset, kept)
    if weight is not None and float(weight.min()) < 0:
        fail(f"{where} sample_weight", expected="weights of at least 0", got=f"{float(weight.min()):g}")
    if counts is not None and not counts.any():
        return
    if counts is not None:
        x, y = jax.tree.map(lambda a: a[counts], (x, y))
    check_ids_in_range(expected.ids, x, f"{where} x")
    predictions = expected.predictions.x if isinstance(expected.predictions, Masked) else expected.predictions
    if isinstance(y, (jax.Array, np.ndarray)) and hasattr(predictions, "shape"):
        with located(where):
            check_targets(task.loss, predictions, y)
            check_labels(task.metrics, task.loss, predictions, y)


def rows_that_count(weight: Any) -> np.ndarray | None:
    """(batch,) booleans, False for an example of which nothing counts; None where all rows count."""
    if weight is None:
        return None
    counts = (np.asarray(weight) != 0).reshape(len(weight), -1).any(1)  # weights may be those of steps
    return None if counts.all() else counts


@functools.lru_cache(maxsize=64)
def counting_rows(task: Task) -> Task:
    """The task with a metric that counts rows whose predictions hold NaN, for `warn_of_nan`."""
    return task.replace(metrics=(*task.metrics, NAN_ROWS))


def warn_of_nan(where: str, rows: float) -> bool:
    """Warn of rows whose predictions hold NaN, and refuse data of which no row counts; whether there was a warning."""
    if rows < 0:
        _fail_counting(where)
    if rows > 0:
        text = (
            f"{where}: the predictions of {int(rows):,} examples hold NaN. Metrics of classes count them as wrong. "
            "Look for the cause with fnn.layer_report, or with fnn.fit(..., check='finite')."
        )
        warn(text)
    return rows > 0


# Of data that does not lie on the device as a whole, so many bytes are there at a time, and twice as many on the host.
CHUNK_BYTES = 64 * 2**20


def is_stream(data: Any) -> bool:
    """Whether data is an iterable of batches rather than the arrays (x, y) themselves, which come as a tuple."""
    return not isinstance(data, (tuple, dict)) and not hasattr(data, "shape") and isinstance(data, Iterable)


def is_mapped(data: Any) -> bool:
    """Whether some array lies in a file rather than in memory."""
    return any(isinstance(leaf, np.memmap) for leaf in jax.tree.leaves(data))


def batches(stream: Iterable[Any], where: str) -> Iterator[Batch]:
    """The batches of an iterable as arrays; refuses an iterable that is empty or used up."""
    count = 0
    for batch in stream:
        count += 1
        yield as_batch(batch, f"{where}, batch {count - 1}")
    if count == 0:
        hint = "An iterator is used up after one pass: pass a list, or an object whose __iter__ starts anew."
        fail(where, expected="at least one batch", got="none", hint=hint)


def weigh(task: Task, data: Batch, class_weight: Any) -> Batch:
    """Data with class weights multiplied into the sample weights; of examples of weight 0 no label is looked at."""
    x, y, weight = data
    if several_labels(task.loss) and getattr(y, "ndim", 1) > 1 and y.shape[-1] > 1:
        # Rows that happen to be one-hot are labels too, not classes.
        hint = "Pass a weight for each example, (x, y, sample_weight), or weigh the labels in a loss of your own."
        got = f"rows of {y.shape[-1]} yes/no labels, {describe(y)}"
        fail("class_weight", expected="one class for each example", got=got, hint=hint)
    counts = rows_that_count(weight)
    if counts is None:
        own = class_weights(y, class_weight)
    else:
        found = np.zeros(len(counts), np.float32)
        if counts.any():
            found[counts] = class_weights(np.asarray(y)[counts], class_weight)
        own = jnp.asarray(found)
    own = own if weight is None else own * jnp.asarray(weight, own.dtype)
    return Batch(x, y, np.asarray(own) if isinstance(y, np.ndarray) else own)


class BatchCheck:
    """The checks of a stream: shapes once for each new one, values for each batch."""

    def __init__(self, task: Task, train: bool) -> None:
        self.task, self.train = task, train
        self.known: dict[Any, Any] = {}  # shapes that have been checked, with those of their predictions

    def __call__(self, ts: TrainState, batch: Any) -> Any:
        """The batch's tree structure, shapes and dtypes."""
        shapes = Signature.of(batch)
        if shapes not in self.known:
            self.known[shapes] = check_fit(self.task, ts, batch, train=self.train and not self.known)
        check_data(self.task, self.known[shapes], batch)
        return shapes


def row_bytes(data: Any) -> int:
    """Bytes of one example."""
    return max(1, sum(leaf.nbytes // max(leaf.shape[0], 1) for leaf in jax.tree.leaves(data)))


def take_from_host(data: Any, rows: np.ndarray, length: int) -> Any:
    """Rows of NumPy arrays, which may lie in files, the first one again and again up to ``length`` rows."""
    # A file is read in its own order, which is several times faster than in a random one.
    order = np.argsort(rows, kind="stable")

    def read(array: Any) -> np.ndarray:
        out = np.empty((length, *array.shape[1:]), array.dtype.newbyteorder("="))
        out[order] = array[rows[order]]
        out[len(rows) :] = out[:1]
        return out

    return jax.tree.map(read, data)


def split_validation(data: Batch, fraction: float) -> tuple[Batch, Batch]:
    """All but the last fraction of the rows, and the last fraction."""
    size = size_of(data)
    at = math.floor(size * (1 - fraction) + 1e-9)
    if at == 0 or at == size:
        fail(
            "fit", expected="a validation_split that leaves rows on both sides", got=f"{fraction:g} of {size} examples"
        )
    y = data.y
    if getattr(y, "ndim", 0) == 1 and jnp.issubdtype(y.dtype, jnp.integer):
        new = ~np.isin(np.asarray(y[at:]), np.asarray(y[:at]))
        if new.mean() > 0.5:
            warn(
                f"fit: {new.mean():.0%} of the validation rows are of classes that no training row has. "
                "validation_split takes the last rows; are they sorted by class? Shuffle them first, or use "
                "fnn.data.train_test_split."
            )
    return jax.tree.map(lambda a: a[:at], data), jax.tree.map(lambda a: a[at:], data)


def rows_per_chunk(data: Any, size: int) -> int:
    """How many rows fit into so many bytes, at least one."""
    return max(1, size // row_bytes(data))


def _part(a: Any, rows: slice) -> Any:
    return a[rows] if isinstance(a, jax.Array) else np.asarray(read(a[rows]))


class Slices:
    """Arrays, already checked, as an iterable of consecutive slices."""

    def __init__(self, data: Any, rows: int) -> None:
        self.data, self.rows = data, rows

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, size_of(self.data), self.rows):
            yield jax.tree.map(lambda a, start=start: _part(a, slice(start, start + self.rows)), self.data)
