"""Where batches come from: arrays on the device, arrays too large for it, and iterables of batches.

A source repeats the one training step over an epoch, in chunks of steps inside a compiled loop. The number of steps is
a traced argument, so that chunks of every length share one compiled program.
"""

from __future__ import annotations

import abc
import functools
import itertools
import operator
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import describe, fail, keeps_state, located
from .._inputs import as_data, on_device
from .._tree import from_paths
from ..losses import class_weights, several_labels
from ..nn.layer import shape_of
from .checks import Signature, check_data, check_fit, rows_that_count, zero_totals
from .state import Task, TrainState
from .step import (
    Logs,
    Totals,
    epoch_order,
    filled_up,
    fills_up,
    merge,
    results,
    size_of,
    step_and_totals,
    steps,
    take,
    unpack,
)

if TYPE_CHECKING:
    from .finite import Guard

Array = jax.Array

# Of data that does not lie on the device as a whole, so many bytes are there at a time, and twice as many on the host.
CHUNK_BYTES = 64 * 2**20
# Batches of an iterable are gathered, up to this size, once so many have taken less than so many seconds each: the
# program for several batches has to be compiled, which pays only where the call of a program is much of a step.
_GATHER_BYTES = 8 * 2**20
_MOST_GATHERED = 64
_LOOK_AFTER = 32
_SHORT = 2e-3


@functools.partial(jax.jit, static_argnums=0, static_argnames="batch_size", donate_argnames=("ts", "totals"))
def _advance(
    task: Task,
    ts: TrainState,
    totals: Totals,
    data: Any,
    order: Array,
    first: Any,
    count: Any,
    size: Any,
    *,
    batch_size: int,
) -> tuple[TrainState, Totals, Logs]:
    """``count`` steps of an epoch, a traced number, as is the number of rows."""
    ts, totals = steps(task, ts, totals, data, order, first, count, batch_size, size)
    return ts, totals, results(task, totals)


@functools.partial(jax.jit, static_argnums=0, donate_argnames=("ts", "totals"))
def _advance_rows(
    task: Task, ts: TrainState, totals: Totals, data: Any, rows: Array
) -> tuple[TrainState, Totals, Logs]:
    """One step on the given rows: the last, smaller batch."""
    ts, batch_totals = step_and_totals(task, ts, take(data, rows))
    totals = merge(task, totals, batch_totals)
    return ts, totals, results(task, totals)


_fill_up = jax.jit(filled_up, static_argnums=1)


def is_stream(data: Any) -> bool:
    """Whether data is an iterable of batches rather than the arrays (x, y) themselves, which come as a tuple."""
    return not isinstance(data, (tuple, dict)) and not hasattr(data, "shape") and isinstance(data, Iterable)


def is_mapped(data: Any) -> bool:
    """Whether some array lies in a file rather than in memory."""
    return any(isinstance(leaf, np.memmap) for leaf in jax.tree.leaves(data))


def batches(stream: Iterable[Any], where: str) -> Iterator[Any]:
    """The batches of an iterable as arrays; refuses an iterable that is empty or used up."""
    count = 0
    for batch in stream:
        count += 1
        yield as_data(batch, f"{where}, batch {count - 1}")
    if count == 0:
        hint = "An iterator is used up after one pass: pass a list, or an object whose __iter__ starts anew."
        fail(where, expected="at least one batch", got="none", hint=hint)


def weigh(task: Task, data: Any, class_weight: Any) -> Any:
    """Data with class weights multiplied into the sample weights; of examples of weight 0 no label is looked at."""
    x, y, weight = unpack(data)
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
    return x, y, np.asarray(own) if isinstance(y, np.ndarray) else own


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


def is_repeatable(stream: Any) -> bool:
    """Whether an iterable can be taken up anywhere: it tells where it stands, or has its batches by number."""
    return keeps_state(stream) or isinstance(stream, Sequence)


def restore_stream(stream: Any, standing: Any) -> None:
    """Let an iterable go on where it stood, or say that it cannot."""
    if keeps_state(stream):
        stream.restore(standing)
    elif not is_repeatable(stream):
        warnings.warn(
            f"fit: the {type(stream).__name__} cannot tell where it stood, so the epoch begins with whatever it gives "
            "first now. The result equals that of a training without a break only if it gives the same batches in "
            "every pass. With state() and restore(state) it is exact, see docs/how-to/resume.md.",
            RuntimeWarning,
            stacklevel=6,
        )


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


class Reached(NamedTuple):
    """Where an epoch has come to.

    Attributes:
      ts: the state.
      totals: of loss and metrics over the batches so far.
      logs: their values so far.
      made: steps made since the last time.
      stream: what an iterable's ``state()`` said behind the last of these batches; None without one.
    """

    ts: TrainState
    totals: Totals
    logs: Logs
    made: int
    stream: Any


class Start(NamedTuple):
    """Where in an epoch to begin.

    Attributes:
      step: the step count at the epoch's beginning, from which its order follows.
      done: steps of the epoch that are made.
      totals: of loss and metrics over these, by path.
    """

    step: int
    done: int
    totals: dict[str, Any]


class Piece(NamedTuple):
    """Some batches of an epoch.

    Attributes:
      data: arrays on the device.
      order: their rows in the order of training.
      whole: batches in it.
      batch_size: of these.
      rest: rows in a last, smaller batch behind them, which is trained on by itself.
      size: rows that count, where the last of the whole batches is only filled up.
      waits: whether to wait for the device now and then, so that a bar can move.
      done: batches of it that were trained on before.
      stream: see `Reached`.
    """

    data: Any
    order: Array
    whole: int
    batch_size: int
    rest: int = 0
    size: int | None = None
    waits: bool = True
    done: int = 0
    stream: Any = None


def advance(
    task: Task, ts: TrainState, totals: Totals, piece: Piece, done: int, count: int
) -> tuple[TrainState, Totals, Logs]:
    """``count`` of a piece's whole batches behind ``done`` of them; 0 is the smaller one behind them all.

    State and totals are given up.
    """
    first = done * piece.batch_size
    if not count:
        return _advance_rows(task, ts, totals, piece.data, piece.order[first : first + piece.rest])
    return _advance(task, ts, totals, piece.data, piece.order, first, count, piece.size, batch_size=piece.batch_size)


class _Pace:
    """How long a step takes, remembered from one `fit` to the next.

    Steps are cut into calls so that a bar can move; a call costs more than itself, since the compiled program's
    temporary memory is touched anew, so there should be no more of them than that takes.
    """

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    @staticmethod
    def of(task: Task, data: Any, batch_size: int) -> _Pace:
        """That of all training on data of these shapes."""
        return _pace(task, Signature.of(data), batch_size)

    def steps(self, period: float) -> int:
        """How many to make in about ``period`` seconds."""
        if self.calls < 2:
            return (1, 4)[self.calls]  # the first call also compiles, the second one is the first to be timed
        return max(1, round(period / self.seconds))

    def note(self, count: int, seconds: float) -> None:
        """Take in that so many steps took so long."""
        self.calls += 1
        self.seconds = max(seconds, 1e-9) / count


@functools.lru_cache(maxsize=64)
def _pace(task: Task, shapes: Signature, batch_size: int) -> _Pace:
    return _Pace()


class Source(abc.ABC):
    """Epochs of training steps.

    Attributes:
      total: steps in an epoch, None where that is not known.
      every: whenever the steps made are a multiple of it, the state is to be yielded; None where it does not matter.
      before: steps made before this epoch.
      guard: looks at every state on its way, see `Guard`; None without one.
      example: shapes of the input, as soon as they are known.
      resumable: whether an epoch can be taken up within.
      asks: whether to ask an iterable for its state behind each batch.
    """

    total: int | None
    every: int | None = None
    before: int = 0
    guard: Guard | None = None
    example: Any = None
    resumable: bool = True
    asks: bool = False

    def __init__(self, task: Task) -> None:
        self.task = task
        self.running: Any = None  # what the device was told to compute last

    @abc.abstractmethod
    def pieces(self, ts: TrainState, done: int) -> Iterator[Piece]:
        """The batches of an epoch that starts at ``ts``, from step ``done`` on."""

    def standing(self) -> Any:
        """What an iterable says of where it stands between epochs, to be kept in a checkpoint."""
        return None

    def restore(self, standing: Any) -> None:
        """Go on where an iterable stood, between epochs or within one."""
        assert standing is None

    def steps(self, ts: TrainState, period: float, start: Start | None = None) -> Generator[Reached, None, None]:
        """One epoch, or what is left of it; yields every ``period`` seconds or so."""
        first = made = 0 if start is None else start.done
        totals: Totals | None = None
        begin = ts if start is None else ts._replace(step=jnp.asarray(start.step, ts.step.dtype))
        for piece in self.pieces(begin, made):
            if totals is None:
                totals, self.example = zero_totals(self.task, ts, piece.data), shape_of(unpack(piece.data)[0])
                if start is not None:
                    totals = from_paths("the totals of the epoch", totals, start.totals)
            done, pace = piece.done, _Pace.of(self.task, piece.data, piece.batch_size) if piece.waits else None
            while done < piece.whole:
                wanted = piece.whole if pace is None else pace.steps(period)
                count = min(wanted, piece.whole - done)
                if self.every is not None:
                    count = min(count, self.every - (self.before + made) % self.every)
                started = time.perf_counter()
                ts, totals, logs = self._call(ts, totals, piece, done, count, made == first)
                if pace is not None:
                    jax.block_until_ready(logs)
                    if count == wanted:  # what is left of an epoch may be too short to tell
                        pace.note(count, time.perf_counter() - started)
                done, made = done + count, made + count
                yield Reached(ts, totals, logs, count, piece.stream if done == piece.whole else None)
            if piece.rest:
                ts, totals, logs = self._call(ts, totals, piece, piece.whole, 0, made == first)
                made += 1
                yield Reached(ts, totals, logs, 1, piece.stream)

    def _call(
        self, ts: TrainState, totals: Totals, piece: Piece, done: int, count: int, first: bool
    ) -> tuple[TrainState, Totals, Logs]:
        """`advance`, under the eyes of the guard."""
        if self.guard is not None:
            self.guard.before(ts, totals, piece, done, count, first)
        out = advance(self.task, ts, totals, piece, done, count)
        self.running = out[2]
        if self.guard is not None:
            self.guard.after(out[0], out[1])
        return out

    def _idle(self) -> bool:
        return all(leaf.is_ready() for leaf in jax.tree.leaves(self.running))


class ArraySource(Source):
    """Arrays that lie on the device as a whole."""

    def __init__(self, task: Task, data: Any, batch_size: int, shuffle: bool, drop: bool) -> None:
        super().__init__(task)
        self.data, self.shuffle, self.size = self._place(data), shuffle, size_of(data)
        self.batch_size = min(batch_size, self.size)
        self.whole, rest = divmod(self.size, self.batch_size)
        self.rest = 0 if drop else rest
        self.total = self.whole + (self.rest > 0)
        # Where the examples of a batch are independent, the last one is a whole batch, with rows that do not count.
        self.fills = self.rest > 0 and fills_up(task)
        if self.fills:
            self.whole, self.rest = self.total, 0

    def _place(self, data: Any) -> Any:
        return on_device(data)

    def pieces(self, ts: TrainState, done: int) -> Iterator[Piece]:
        """The whole data."""
        order = epoch_order(ts, size=self.size, shuffle=self.shuffle)
        if self.fills:
            order = _fill_up(order, self.batch_size)
            yield Piece(self.data, order, self.whole, self.batch_size, size=self.size, done=done)
        else:
            yield Piece(self.data, order, self.whole, self.batch_size, self.rest, done=done)


class ChunkSource(ArraySource):
    """Arrays that stay on the host, or in a file, and come to the device in chunks.

    The steps are those of `ArraySource`, on the same rows in the same order. A thread reads the next chunk while the
    device trains on one.
    """

    def __init__(self, task: Task, data: Any, batch_size: int, shuffle: bool, drop: bool, chunk_bytes: int) -> None:
        super().__init__(task, data, batch_size, shuffle, drop)
        most = max(1, chunk_bytes // (row_bytes(self.data) * self.batch_size))
        self.batches = -(-self.whole // -(-self.whole // most))  # in a chunk; all but the last have as many

    def _place(self, data: Any) -> Any:
        return jax.tree.map(np.asarray, data)

    def pieces(self, ts: TrainState, done: int) -> Iterator[Piece]:
        """Chunks of one shape, so that they share a compiled program."""
        order = np.asarray(epoch_order(ts, size=self.size, shuffle=self.shuffle))
        rows = self.batches * self.batch_size
        length = rows + self.rest
        starts = range(0, self.whole * self.batch_size, rows)
        last = starts[-1]
        starts = starts[min(done // self.batches, len(starts) - 1) :]

        def read(start: int) -> Any:
            return take_from_host(self.data, order[start : start + (length if start == last else rows)], length)

        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(read, starts[0])
            for start in starts:
                chunk = coming.result()
                if start != last:
                    coming = reader.submit(read, start + rows)
                whole = min(self.batches, self.whole - start // self.batch_size)
                rest = self.rest if start == last else 0
                filled = min(whole * self.batch_size + rest, self.size - start)
                data = jax.tree.map(jnp.asarray, chunk)
                in_turn = jnp.arange(length, dtype=jnp.int32)
                size = filled if self.fills else None
                trained = max(0, done - start // self.batch_size)
                yield Piece(data, in_turn, whole, self.batch_size, rest, size, done=trained)


class StreamSource(Source):
    """An iterable of batches.

    Quick batches that come faster than the device trains are gathered, so that one call trains on several.
    """

    def __init__(self, task: Task, stream: Iterable[Any], class_weight: Any) -> None:
        super().__init__(task)
        self.stream, self.class_weight = stream, class_weight
        self.check = BatchCheck(task, train=True)
        length = operator.length_hint(stream, -1)
        self.total = None if length < 0 else length
        self.first: Any = None  # the shapes of the first batch, with which others are gathered
        self.most = 1  # batches to gather, from when that pays
        self.stateful = keeps_state(stream)
        self.resumable = is_repeatable(stream)

    def standing(self) -> Any:
        """See `Source`."""
        return self.stream.state() if keeps_state(self.stream) else None

    def restore(self, standing: Any) -> None:
        """See `Source`."""
        restore_stream(self.stream, standing)

    def pieces(self, ts: TrainState, done: int) -> Iterator[Piece]:
        """One batch or several."""
        gathered: list[Any] = []
        fills = fills_up(self.task)
        started, count, state = time.perf_counter(), 0, None
        for number, batch in enumerate(self._batches(done), done):
            with located(f"batch {number}"):
                shapes = self.check(ts, batch)
            if self.class_weight is not None:
                batch = weigh(self.task, batch, self.class_weight)
                shapes = Signature.of(batch)
            self.first = self.first or shapes
            part = fills and self._is_part(shapes)
            alone = not (part or shapes == self.first) or any(isinstance(a, jax.Array) for a in jax.tree.leaves(batch))
            if alone and gathered:
                yield self._piece(gathered, state)
                gathered = []
            if self.asks:
                state = self.standing()
            if alone:
                # Of another shape, or on a device already: by itself.
                yield self._alone(batch, state)
                continue
            # A loader may fill the same buffer again while the device still reads.
            gathered.append(jax.tree.map(np.copy, batch))
            if len(gathered) == self.most > 1:
                jax.block_until_ready(self.running)
            # A piece ends where a checkpoint is due, since only there the iterable's state is known.
            due = self.every is not None and (self.before + number + 1) % self.every == 0
            if len(gathered) == self.most or part or due or self._idle():
                yield self._piece(gathered, state)
                gathered = []
            count += 1
            if count == 2:
                started = time.perf_counter()  # the first step also compiled
            if self.most == 1 and count == 2 + _LOOK_AFTER and time.perf_counter() - started < _LOOK_AFTER * _SHORT:
                size = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
                self.most = max(1, min(_MOST_GATHERED, _GATHER_BYTES // max(1, size)))
        if gathered:
            yield self._piece(gathered, state)

    def _batches(self, done: int) -> Iterator[Any]:
        """Those of an epoch, from number ``done`` on: an iterable with a state is there already."""
        count = done
        if done:
            rest = self.stream if self.stateful else itertools.islice(self.stream, done, None)
            given: Iterable[Any] = (as_data(batch, f"fit, batch {done + i}") for i, batch in enumerate(rest))
        else:
            given = batches(self.stream, "fit")
        for batch in given:
            yield batch
            count += 1
        if self.total is not None and count != self.total:
            warnings.warn(
                f"fit: the iterable tells a length of {self.total} and gave {count} batches in this epoch. Does its "
                "__iter__ start anew, and is its length that in batches?",
                RuntimeWarning,
                stacklevel=8,
            )

    def _is_part(self, shapes: Signature) -> bool:
        """Whether a batch is like the first one, but with fewer rows."""
        (treedef, ours, _), (theirs_def, theirs, _) = shapes, self.first
        alike = treedef == theirs_def and [(s[1:], d) for s, d in ours] == [(s[1:], d) for s, d in theirs]
        return alike and ours[0][0][0] < theirs[0][0][0]

    def _alone(self, batch: Any, state: Any) -> Piece:
        size = size_of(batch)
        data = jax.tree.map(lambda a: jnp.asarray(np.copy(a) if isinstance(a, np.ndarray) else a), batch)
        return Piece(data, jnp.arange(size, dtype=jnp.int32), 1, size, waits=False, stream=state)

    def _piece(self, gathered: list[Any], state: Any) -> Piece:
        """Batches one behind the other, in arrays for as many as there may be, so that any number has one shape."""
        batch_size = self.first.leaves[0][0][0]
        length = self.most * batch_size

        def join(*parts: Any) -> Array:
            if len(parts[0]) == length:
                return jnp.asarray(parts[0])  # one batch, already a copy
            out = np.empty((length, *parts[0].shape[1:]), parts[0].dtype)
            filled = sum(map(len, parts))
            np.concatenate(parts, out=out[:filled])
            out[filled:] = out[:1]
            return jnp.asarray(out)

        data, order = jax.tree.map(join, *gathered), jnp.arange(length, dtype=jnp.int32)
        # The last one may have fewer rows than the others.
        rows = sum(map(size_of, gathered)) if fills_up(self.task) else None
        return Piece(data, order, len(gathered), batch_size, size=rows, waits=False, stream=state)
