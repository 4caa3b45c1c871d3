"""Where batches come from: arrays on the device, and arrays too large for it."""

from __future__ import annotations

import abc
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._core.inputs import on_device
from .._core.trees import from_paths
from ..training.batch import size_of
from ..training.checks import zero_totals
from ..training.epoch import epoch_order, fills_up
from ..training.state import TrainState
from ..training.task import Task
from ..training.totals import Logs, Totals
from .guard import Guard
from .inputs import row_bytes, take_from_host
from .pace import Pace
from .pieces import Piece, Reached, Start, advance, fill_up


class Source(abc.ABC):
    """Epochs of training steps.

    Attributes:
      total: steps in an epoch, None where that is not known.
      every: whenever the steps made are a multiple of it, the state is to be yielded; None where it does not matter.
      before: steps made before this epoch.
      guard: looks at every state on its way, see `Guard`; None without one.
      resumable: whether an epoch can be taken up within.
      asks: whether to ask an iterable for its state behind each batch.
    """

    total: int | None
    every: int | None = None
    before: int = 0
    guard: Guard | None = None
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
                totals = zero_totals(self.task, ts, piece.data)
                if start is not None:
                    totals = from_paths("the totals of the epoch", totals, start.totals)
            done, pace = piece.done, Pace.of(self.task, piece.data, piece.batch_size) if piece.waits else None
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
            order = fill_up(order, self.batch_size)
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
