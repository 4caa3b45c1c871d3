"""Batches that are loaded or generated on demand, in passes that can be resumed at any batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from .._core.checks import check_accepts, check_count, keeps_state
from .._core.described import in_words
from .._core.errors import describe, fail, kind_of
from .._core.flags import flagged
from .._core.inputs import as_arrays, is_numbers
from .._core.types import PyTree
from ..fitting.ahead import ReadAhead
from ..training.batch import as_batch


class _Passes:
    """Passes over batches, with a position: the number of the pass, and of the batches given in it."""

    def __init__(self) -> None:
        self._epoch, self._given, self._skip = 0, 0, 0

    def _begin(self) -> None:
        """Begin a pass: after `restore` at the restored position, else with the first batch."""
        self._given, self._skip = self._skip, 0

    def _give(self, batches: Iterable[PyTree]) -> Iterator[PyTree]:
        """Give the batches from the position on, and complete the pass."""
        for batch in itertools.islice(batches, self._given, None):
            self._given += 1
            yield batch
        self._epoch, self._given = self._epoch + 1, 0

    def state(self) -> dict[str, Any]:
        """The position, for `restore`: the number of the pass, and the number of batches given in it so far."""
        return {"epoch": self._epoch, "given": self._given}

    def restore(self, state: dict[str, Any]) -> None:
        """Start the next pass at the position ``state``."""
        if not isinstance(state, dict) or not {"epoch", "given"} <= state.keys():
            fail(type(self).__name__, expected="a dict from state()", got=in_words(state))
        self._epoch, self._given = state["epoch"], state["given"]
        self._skip = self._given


class Stream(_Passes):
    """Batches for `fit` from a function of the epoch; training on them can be resumed exactly.

    Args:
      make: ``make(epoch)`` returns an iterable of the batches of one pass, ``(x, y)`` or ``(x, y, sample_weight)``; it
        is usually a generator function. ``epoch`` counts from 0 and may seed an order; it must determine the batches.
      length: number of batches in a pass, if known, for the progress bar.
      ahead: number of batches that a thread reads in advance, while the device trains on earlier ones; 0 (default)
        reads each when it is asked for. An epoch then takes as long as the slower of reading and training.

    Raises:
      InputError: if ``make`` is not a function of the epoch, or for a negative ``ahead``.

    A pass is resumed by generating its batches again and skipping those already given; those that were only read ahead
    count as not given. With ``ahead``, the iterable that ``make`` returns runs in another thread: it must not depend on
    anything that the training changes, such as a variable that a callback sets, or that belongs to one thread, such as
    a connection to SQLite. Each batch is copied before the next one is read. An error is raised in place of its batch.

    >>> import numpy as np, fnn
    >>> def batches(epoch):
    ...     for part in np.random.default_rng(epoch).permutation(3):  # three files, say
    ...         yield np.full((2, 1), part, "float32"), np.full((2, 1), part, "float32")
    >>> stream = fnn.data.Stream(batches)
    >>> [int(x[0, 0]) for x, y in stream], [int(x[0, 0]) for x, y in stream]
    ([2, 0, 1], [0, 1, 2])
    """

    def __init__(self, make: Callable[[int], Iterable[PyTree]], *, length: int | None = None, ahead: int = 0) -> None:
        if not callable(make):
            hint = "A list of batches needs no Stream." if isinstance(make, Iterable) else ""
            if isinstance(make, Iterator):  # a generator, or another iterator that is used up after one pass
                hint = "Pass the function that makes it, uncalled: Stream(batches), with def batches(epoch): ..."
            fail("Stream", expected="a function of the epoch", got=kind_of(make), hint=hint)
        check_accepts("Stream", "batches(epoch)", make, 1)
        if length is not None:
            check_count("Stream", "length", length)
        check_count("Stream", "ahead", ahead, least=0)
        super().__init__()
        self.make, self.length, self.ahead = make, length, ahead

    def __iter__(self) -> Iterator[PyTree]:
        self._begin()
        batches = self.make(self._epoch)
        if not isinstance(batches, Iterable):
            got = kind_of(batches)
            fail("Stream", expected="a function that returns an iterable of batches", got=got)
        if not self.ahead:
            yield from self._give(batches)
            return
        reader = ReadAhead(batches, self.ahead)
        try:
            yield from self._give(reader)
        finally:
            reader.pause()

    def __length_hint__(self) -> int:
        return NotImplemented if self.length is None else self.length


class Shuffled(_Passes):
    """Batches with their rows shuffled through a buffer, anew in each pass; for data that does not fit in memory.

    Every row is given once per pass. A row stays in the buffer until a later row replaces it, so the buffer should be
    several times as long as any ordered run of rows, such as those of one class.

    Args:
      batches: an iterable of ``(x, y)`` or ``(x, y, sample_weight)`` for every pass: a list, a `Stream`, a data loader.
      rows: buffer size in rows; a larger buffer shuffles better and takes more memory.
      batch_size: rows per batch; default the size of the first batch of the source. The last batch may be smaller.
      seed: with the number of the pass, determines the order.

    Raises:
      InputError: for numbers below 1, an iterator that is exhausted after one pass, or batches of different structure.

    It can be resumed exactly if ``batches`` is the same in every pass, or has ``state()`` and ``restore(state)``.

    >>> import numpy as np, fnn
    >>> x = np.arange(12, dtype="float32")
    >>> parts = [(x[i : i + 3], 2 * x[i : i + 3]) for i in range(0, 12, 3)]
    >>> mixed = fnn.data.Shuffled(parts, rows=6, seed=1)
    >>> [batch[0].astype(int).tolist() for batch in mixed]
    [[2, 1, 4], [8, 5, 0], [7, 10, 6], [3, 9, 11]]
    """

    def __init__(self, batches: Iterable[PyTree], *, rows: int, batch_size: int | None = None, seed: int = 0) -> None:
        check_count("Shuffled", "rows", rows)
        check_count("Shuffled", "seed", seed, least=0)
        if batch_size is not None:
            check_count("Shuffled", "batch_size", batch_size)
        if not isinstance(batches, Iterable) or isinstance(batches, (tuple, dict)) or hasattr(batches, "shape"):
            hint = "Call it." if callable(batches) else "fit shuffles arrays as a whole; leave Shuffled out."
            fail("Shuffled", expected="an iterable of batches", got=describe(batches), hint=hint)
        if iter(batches) is batches:
            hint = "Pass a list, a Stream, or an object whose __iter__ starts again."
            fail("Shuffled", expected="batches for every pass", got=kind_of(batches), hint=hint)
        super().__init__()
        self.batches, self.rows, self.batch_size, self.seed = batches, rows, batch_size, seed
        self._source: object = None  # the state of the source before this pass

    def __iter__(self) -> Iterator[PyTree]:
        self._begin()
        if keeps_state(self.batches):
            self._source = self.batches.state()
        yield from self._give(self._shuffle(np.random.default_rng((self.seed, self._epoch))))
        if keeps_state(self.batches):
            self._source = self.batches.state()

    def _shuffle(self, rng: np.random.Generator) -> Iterator[PyTree]:
        """One pass: each new row replaces a random row of the buffer, which is given instead."""
        buffer: PyTree = None
        filled, out = 0, _Rebatcher(self.batch_size or 0)
        for number, batch in enumerate(self.batches):
            batch = jax.tree.map(np.asarray, _converted(batch, f"Shuffled, batch {number}"))
            length = _checked_length(number, batch, buffer)
            if buffer is None:
                buffer = jax.tree.map(lambda a: np.empty((self.rows, *a.shape[1:]), a.dtype), batch)
                out = _Rebatcher(self.batch_size or length)
            first = min(length, self.rows - filled)
            _write_rows(buffer, np.arange(filled, filled + first), _taken(batch, slice(0, first)))
            filled += first
            for start in range(first, length, self.rows):
                new = _taken(batch, slice(start, start + self.rows))
                places = rng.choice(self.rows, min(self.rows, length - start), replace=False)
                out.add(_taken(buffer, places))
                _write_rows(buffer, places, new)
                yield from out.batches()
        if filled:
            out.add(_taken(buffer, rng.permutation(filled)))
            yield from out.batches(last=True)

    def state(self) -> dict[str, Any]:
        """The position of a `Stream`, and the state of the source."""
        return {**super().state(), "source": self._source}

    def restore(self, state: dict[str, Any]) -> None:
        """Start the next pass at the position ``state``."""
        super().restore(state)
        self._source = state.get("source")
        if keeps_state(self.batches) and self._source is not None:
            self.batches.restore(self._source)


def _converted(batch: PyTree, where: str) -> PyTree:
    """The arrays of a batch; two or three of them in a list or tuple are x, y and sample_weight."""
    if isinstance(batch, (list, tuple)) and len(batch) in (2, 3) and not is_numbers(batch):
        return as_batch(batch, where, defer_checks=True).parts
    return as_arrays(batch, where, defer_checks=True)


class _Rebatcher:
    """Collects rows in parts of any length and returns them in batches of one size."""

    def __init__(self, size: int) -> None:
        self.size, self.parts, self.count = size, list[PyTree](), 0

    def add(self, part: PyTree) -> None:
        self.parts.append(part)
        self.count += len(jax.tree.leaves(part)[0])

    @flagged
    def batches(self, *, last: bool = False) -> Iterator[PyTree]:
        """Every full batch so far; if it is the ``last`` call, also the remaining rows."""
        if self.count < (1 if last else self.size):
            return
        rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *self.parts)
        whole = self.count - self.count % self.size
        for start in range(0, self.count if last else whole, self.size):
            yield _taken(rows, slice(start, start + self.size))
        self.parts, self.count = [_taken(rows, slice(whole, None))], self.count - whole


def _taken(tree: PyTree, rows: slice | np.ndarray) -> PyTree:
    return jax.tree.map(lambda a: a[rows], tree)


def _write_rows(buffer: PyTree, places: np.ndarray, rows: PyTree) -> None:
    for a, b in zip(jax.tree.leaves(buffer), jax.tree.leaves(rows), strict=True):
        a[places] = b


def _checked_length(number: int, batch: PyTree, buffer: PyTree | None) -> int:
    """Number of rows of a batch, the same in all its arrays; structure, shapes and dtypes must match the buffer's."""
    where, leaves = f"Shuffled, batch {number}", jax.tree.leaves(batch)
    sizes = {leaf.shape[0] if leaf.ndim else -1 for leaf in leaves}
    if len(sizes) != 1 or -1 in sizes or 0 in sizes:
        got = ", ".join(map(describe, leaves)) or "none"
        fail(where, expected="arrays of the same length, with at least one row", got=got)
    kinds = [
        (jax.tree.structure(tree), [(leaf.dtype, leaf.shape[1:]) for leaf in jax.tree.leaves(tree)])
        for tree in (batch if buffer is None else buffer, batch)
    ]
    if kinds[0] != kinds[1]:
        expected, got = (", ".join(f"{dtype}{list(shape)}" for dtype, shape in leaves) for _, leaves in kinds)
        fail(where, expected=f"rows as before, of {expected}", got=got, hint="Only the number of rows may change.")
    return int(sizes.pop())
