"""The data of training and evaluation: parsed, checked for invalid values, weighted, split and sliced."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import operator
import weakref
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Generic, NoReturn, TypeGuard, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import check_fits, read
from .._core.checks import check_count
from .._core.dtypes import at_least_float32, is_float
from .._core.errors import counted, describe, fail, kind_of
from .._core.typed import tree_map
from .._core.types import AnyArray, Array, PyTree
from .._core.warn import warn
from ..losses.facts import of_classes, several_labels
from ..losses.weighting import class_weights
from ..metrics.names import NAN_ROWS
from ..nn.masks import unmasked
from ..training.batch import Batch, InBatches, Signature, as_batch, rows_of, rows_that_count
from ..training.checks import Expected, check_fit, check_ids_in_range
from ..training.outputs import by_output
from ..training.state import TrainState
from ..training.task import Task
from ..training.values import check_target_values
from .logits import check_logits

T = TypeVar("T")
ClassWeight = Mapping[int, float] | Sequence[float] | np.ndarray | str
Data = Batch | InBatches | Iterable[PyTree]
"""Parsed arrays, also in batches on several devices, or an iterable of batches."""

_FLOAT32 = np.dtype("float32")
_NUMPY_SUMS = (np.dtype("float32"), np.dtype("float64"))  # which NumPy sums as fast as XLA
_SMALL = 2**16  # elements; in a larger array, a sum takes less time than to look at each
# jax.Arrays are immutable, so each needs to be checked only once.
_seen_finite: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()


def check_finite(data: PyTree, where: str, offset: int = 0, counts: Array | None = None) -> None:
    """Refuse NaN, infinity and values beyond JAX's dtypes, and say where, in rows counted from ``offset``.

    Rows that do not count, by ``counts`` (batch,), may hold NaN and infinity.
    """
    if all(map(_is_plainly_finite, jax.tree.leaves(data))):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        name = f"{where}{jax.tree_util.keystr(path)}"
        if isinstance(leaf, np.ndarray):
            check_fits(name, leaf, offset)
            leaf = read(leaf)
        if not is_float(leaf) or leaf.size == 0 or _seen_finite.get(id(leaf)) is leaf:
            continue
        # A sum is one fast pass; only if it is not finite (it may also have overflowed) every element is checked.
        with np.errstate(over="ignore", invalid="ignore"):
            quick = _cheapest_to_sum(leaf).sum(dtype=at_least_float32(leaf.dtype))
        if not math.isfinite(quick):
            finite = np.isfinite(np.asarray(leaf).astype(np.float64))
            if counts is not None:
                finite[~counts] = True
            if not finite.all():
                row, *inner = (int(i) for i in np.unravel_index(int(np.argmin(finite)), finite.shape))
                first = (row + offset, *inner)
                got = f"{int((~finite).sum())} NaN or infinite values, the first at index {first}"
                fail(name, expected="finite numbers", got=got, hint="Remove or fill those rows.")
        if isinstance(leaf, jax.Array) and (counts is None or counts.all()):
            _seen_finite[id(leaf)] = leaf


def _cheapest_to_sum(a: AnyArray) -> AnyArray:
    """An array; if it lies in the host's memory, that memory as a NumPy array, whose sum compiles no program."""
    if not isinstance(a, jax.Array) or a.dtype not in _NUMPY_SUMS or len(a.devices()) > 1:
        return a
    return np.asarray(a) if next(iter(a.devices())).platform == "cpu" else a


def _is_plainly_finite(a: object) -> bool:
    """Whether this is a small NumPy array of float32, checked in a fraction of the time that others take."""
    if type(a) is not np.ndarray or a.dtype != _FLOAT32 or a.size > _SMALL:
        return False
    return bool(np.isfinite(a).all())


def check_slices(task: Task, expected: Expected, data: Batch, rows: int, where: str = "data") -> None:
    """`check_data` of arrays that may lie in files, in slices of ``rows`` rows."""
    check_some_weight(data, where)
    size = rows_of(data)
    for start in range(0, size, rows):
        part = data if rows >= size else jax.tree.map(lambda a, start=start: a[start : start + rows], data)
        check_data(task, expected, part, where, start)


def check_some_weight(data: Batch, where: str) -> None:
    """Refuse a data set with weights that are all 0; a single batch may have them."""
    if data.weight is not None and not any(leaf.any() for leaf in jax.tree.leaves(data.weight)):
        fail(f"{where}, sample_weight", expected="at least one weight above 0", got="none")


def check_data(task: Task, expected: Expected, data: Batch, where: str = "data", offset: int = 0) -> None:
    """Refuse values that are not finite or out of range, and negative weights; examples of weight 0 may hold any."""
    weight = jax.tree.map(np.asarray, data.weight)
    counts = rows_that_count(weight)
    check_finite(data.x, f"{where}, x", offset, counts)
    own = [(part, part.of("targets", data.y), rows_that_count(part.weight_of(weight))) for part in task.parts]
    for part, targets, rows in own:
        check_finite(targets, f"{where}, y{part.subscript}", offset, rows)
    check_finite(weight, f"{where}, sample_weight", offset)
    for leaf in jax.tree.leaves(weight):
        if (least := float(leaf.min())) < 0:
            fail(f"{where}, sample_weight", expected="weights of at least 0", got=f"{least:g}")
    if counts is not None and not counts.any():
        return
    check_ids_in_range(expected.ids, _rows(data.x, counts), f"{where}, x")
    for part, targets, rows in own:
        if rows is None or rows.any():
            predictions = part.of("predictions", expected.predictions)
            check_target_values(part, predictions, _rows(targets, rows), where)


def _rows(tree: T, counts: Array | None) -> T:
    return tree if counts is None or counts.all() else jax.tree.map(lambda a: a[counts], tree)


@functools.lru_cache(maxsize=64)
def with_nan_row_metric(task: Task) -> Task:
    """The task with a metric that counts rows whose predictions hold NaN, for `warn_of_nan`."""
    return task.replace(metrics=by_output({part.path: (*part.metrics, NAN_ROWS) for part in task.parts}))


def pop_nan_rows(task: Task, logs: MutableMapping[str, T]) -> float:
    """Take the result of `NAN_ROWS` out of logs; with several outputs the largest."""
    return max(float(np.asarray(logs.pop(part.key(NAN_ROWS.name)))) for part in task.parts)


def warn_of_nan(where: str, rows: float) -> bool:
    """Warn of rows whose predictions hold NaN; refuse data where no row counts. Returns whether it warned."""
    if rows < 0:
        fail(f"{where}, sample_weight", expected="at least one weight above 0", got="none")
    if rows > 0:
        warn(
            f"{where}: the predictions of {counted(int(rows), 'example')} hold NaN. Metrics of classes count them as "
            "wrong. Look for the cause with fnn.layer_report, or with fnn.fit(..., check='finite')."
        )
    return rows > 0


# Data that is not on the device as a whole takes this many bytes there at a time, and twice as many on the host.
CHUNK_BYTES = 64 * 2**20
MANY = 10_000  # batches of an iterator that is read to its end


def is_stream(data: object) -> TypeGuard[Iterable[PyTree]]:
    """Whether data is an iterable of batches rather than the arrays (x, y), which come as a tuple."""
    return not isinstance(data, (tuple, dict)) and not hasattr(data, "shape") and isinstance(data, Iterable)


def as_data(data: PyTree | Iterable[PyTree], where: str = "data") -> Data:
    """Arrays parsed, or an iterable as it is."""
    if inspect.isgeneratorfunction(data):
        name = data.__name__
        hint = f"Pass fnn.data.Stream({name}), with the epoch as its argument: def {name}(epoch): ..."
        fail(where, expected="(x, y) or an iterable of batches", got="a generator function", hint=hint)
    return data if is_stream(data) else as_batch(data, where, defer_checks=True)


def data_to_measure(data: PyTree | Iterable[PyTree], call: str, where: str, steps: int | None, option: str) -> Data:
    """Arrays parsed, or an iterable that ends: as it is, or its first ``steps`` batches.

    ``option`` is the name of that argument in messages.
    """
    parsed = as_data(data, where)
    if steps is None:
        check_ends(call, parsed, option)
        return parsed
    check_count(call, option, steps)
    if isinstance(parsed, Batch):
        hint = "Leave it out: arrays are measured whole."
        fail(call, expected=f"an iterable of batches with {option}", got="arrays", hint=hint)
    return _first_batches(parsed, steps, where)


def check_ends(call: str, stream: object, option: str) -> None:
    """Refuse an iterable that is known to be endless, for which ``option`` is the number of batches to read."""
    endless = isinstance(stream, (itertools.cycle, itertools.count, itertools.repeat))
    if endless and operator.length_hint(stream, -1) < 0:
        hint = f"Pass {option}, the number of batches to read." if option else "Write itertools.islice(x, count)."
        fail(call, expected="an iterable that ends", got=f"{kind_of(stream)}, which is endless", hint=hint)


def warn_of_many(where: str, stream: object, count: int, advice: str) -> None:
    """Warn once if an iterator may be endless; a generator does not say."""
    if count == MANY and isinstance(stream, Iterator) and not isinstance(stream, itertools.islice):
        warn(f"{where}: {count:,} batches of {kind_of(stream)} were read. If it never ends, {advice}.")


def _first_batches(stream: Iterable[PyTree], steps: int, where: str) -> Iterator[Batch]:
    """The first batches of an iterable, and a warning if it has fewer."""
    count = 0
    for count, batch in enumerate(itertools.islice(stream, steps), 1):
        yield as_batch(batch, f"{where}, batch {count - 1}")
    if 0 < count < steps:
        warn(f"{where}: the iterable gave {count} of {steps} batches.")


def is_mapped(data: PyTree) -> bool:
    """Whether some array lies in a file rather than in memory."""
    return any(isinstance(leaf, np.memmap) for leaf in jax.tree.leaves(data))


def batches(stream: Iterable[PyTree], where: str, first: int = 0) -> Iterator[Batch]:
    """The batches of an iterable as arrays, counted from ``first``; an empty or used up iterable is refused."""
    count = first
    for count, batch in enumerate(stream, first + 1):
        yield as_batch(batch, f"{where}, batch {count - 1}")
    if count == 0:
        refuse_empty(where)


def refuse_empty(where: str) -> NoReturn:
    """Refuse an iterable without batches."""
    hint = "An iterator is used up after one pass: pass a list or an fnn.data.Stream, which start anew."
    fail(where, expected="at least one batch", got="none", hint=hint)


def check_class_weight(task: Task, predictions: PyTree, class_weight: ClassWeight) -> None:
    """Refuse weights of classes that the model does not have, which would be ignored."""
    part, *others = task.parts
    labels = several_labels(part.loss)
    if others or isinstance(class_weight, str) or not (labels or of_classes(part.loss)):
        return
    out = part.of("predictions", predictions)
    shape = unmasked(out).shape
    classes = 2 if labels else shape[-1]
    keys = getattr(class_weight, "keys", lambda: range(len(class_weight)))()
    if beyond := [key for key in keys if isinstance(key, (int, np.integer)) and key >= classes]:
        got = f"a weight of the class {beyond[0]}"
        fail("class_weight", expected=f"weights of the classes 0 to {classes - 1}", got=got)


def weigh(task: Task, data: Batch, class_weight: ClassWeight) -> Batch:
    """Data with class weights multiplied into the sample weights; labels of examples of weight 0 are ignored."""
    part, *others = task.parts
    if others:
        hint = "Pass sample weights by output, (x, y, sample_weight); fnn.class_weights makes them."
        fail("class_weight", expected="a task with one loss", got="losses by output", hint=hint)
    y, weight = part.of("targets", data.y), part.weight_of(data.weight)
    if several_labels(part.loss) and getattr(y, "ndim", 1) > 1 and y.shape[-1] > 1:
        # Rows that happen to be one-hot are labels too, not classes.
        hint = "Pass a weight for each example, (x, y, sample_weight), or weight the labels in a custom loss."
        got = f"rows of {y.shape[-1]} yes/no labels, {describe(y)}"
        fail("class_weight", expected="one class for each example", got=got, hint=hint)
    counts = rows_that_count(jax.tree.map(np.asarray, weight))
    if counts is None or counts.all():
        own = class_weights(y, class_weight)
    else:
        found = np.zeros(len(counts), np.float32)
        if counts.any():
            found[counts] = class_weights(np.asarray(y)[counts], class_weight)
        own = jnp.asarray(found)
    own = own if weight is None else own * jnp.asarray(weight, own.dtype)
    return data._replace(weight=np.asarray(own) if isinstance(y, np.ndarray) else own)


class BatchCheck:
    """The checks of a stream: shapes once for each new one, values for each batch."""

    def __init__(self, task: Task, train: bool) -> None:
        self.task, self.train = task, train
        self.known: dict[Signature, Expected] = {}

    def __call__(self, ts: TrainState, batch: Batch) -> Signature:
        """Check a batch; returns its structure, shapes and dtypes."""
        shapes = Signature.of(batch)
        if shapes not in self.known:
            first = self.train and not self.known
            self.known[shapes] = check_fit(self.task, ts, batch, train=first)
            if first:
                check_logits(self.task, ts, self.known[shapes], batch.x, "fit")
        check_data(self.task, self.known[shapes], batch)
        return shapes


def take_from_host(data: T, rows: np.ndarray, length: int, wanted: np.ndarray | None = None) -> T:
    """Rows of NumPy arrays, which may lie in files; the first one is repeated up to ``length`` rows.

    Those that are not ``wanted`` are not read, and hold anything.
    """
    # Reading a file in its own order is several times faster than in a random one.
    order = np.argsort(rows, kind="stable")
    if wanted is not None:
        order = order[wanted[order]]

    def gather(array: np.ndarray) -> np.ndarray:
        out = np.empty((length, *array.shape[1:]), array.dtype.newbyteorder("="))
        out[order] = array[rows[order]]
        if len(rows) < length:
            out[len(rows) :] = array[rows[:1]]  # out[0] may be a row that was not wanted
        return out

    return tree_map(gather, data)


def split_validation(data: Batch, fraction: float) -> tuple[Batch, Batch]:
    """All but the last fraction of the rows, and the last fraction."""
    size = rows_of(data)
    at = math.floor(size * (1 - fraction) + 1e-9)
    if at in (0, size):
        got = f"{fraction:g} of {counted(size, 'example')}"
        fail("fit", expected="a validation_split that leaves rows on both sides", got=got)
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


def rows_per_chunk(data: PyTree, size: int) -> int:
    """The number of rows that fit into ``size`` bytes, at least one."""
    row_bytes: int = sum(leaf.nbytes // max(leaf.shape[0], 1) for leaf in jax.tree.leaves(data))
    return max(1, size // max(1, row_bytes))


class Slices(Generic[T]):
    """Arrays, already checked, as an iterable of consecutive slices."""

    def __init__(self, data: T, rows: int) -> None:
        self.data, self.rows = data, rows

    def __iter__(self) -> Iterator[T]:
        for start in range(0, rows_of(self.data), self.rows):
            part = slice(start, start + self.rows)
            yield jax.tree.map(
                lambda a, part=part: a[part] if isinstance(a, Array) else np.asarray(read(a[part])), self.data
            )
