"""Batches that are read or made as they are needed, in passes that can be taken up where they broke off."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from .._core.checks import check_count, keeps_state
from .._core.errors import describe, fail
from .._core.inputs import as_arrays


class Stream:
    """Batches from a function, pass after pass, as `fit` takes them; a training on them can be resumed exactly.

    Args:
      make: ``make(epoch)`` gives the batches of a pass, ``(x, y)`` or ``(x, y, sample_weight)``, as an iterable; mostly
        a generator function. ``epoch`` counts the passes from 0, for an order of its own in each. Equal numbers must
        give equal batches.
      length: batches in a pass, if known: for the progress bar.

    Raises:
      InputError: for anything but a function of the pass's number.

    To take a pass up, its batches up to there are made once more and left out.

    >>> import numpy as np, fnn
    >>> def batches(epoch):
    ...     for part in np.random.default_rng(epoch).permutation(3):  # three files, say
    ...         yield np.full((2, 1), part, "float32"), np.full((2, 1), part, "float32")
    >>> stream = fnn.data.Stream(batches)
    >>> [int(x[0, 0]) for x, y in stream], [int(x[0, 0]) for x, y in stream]
    ([2, 0, 1], [0, 1, 2])
    """

    def __init__(self, make: Callable[[int], Iterable[Any]], *, length: int | None = None) -> None:
        if not callable(make):
            hint = "A list of batches needs no Stream." if isinstance(make, Iterable) else ""
            fail("Stream", expected="a function of the number of the pass", got=type(make).__name__, hint=hint)
        if length is not None:
            check_count("Stream", "length", length)
        self.make, self.length = make, length
        self._pass = _Pass()

    def __iter__(self) -> Iterator[Any]:
        skip = self._pass.begin()
        made = self.make(self._pass.epoch)
        if not isinstance(made, Iterable):
            got = "None" if made is None else type(made).__name__
            fail("Stream", expected="a function that gives an iterable of batches", got=got)
        for batch in itertools.islice(made, skip, None):
            self._pass.given += 1
            yield batch
        self._pass.end()

    def __length_hint__(self) -> int:
        return NotImplemented if self.length is None else self.length

    def state(self) -> dict[str, Any]:
        """Where it stands: the number of the pass, and how many of its batches were given."""
        return self._pass.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Begin the next pass where ``state`` was taken."""
        self._pass.restore("Stream", state)


class Shuffled:
    """Batches with their rows mixed, in a buffer of so many rows, anew in each pass; for data that cannot be in memory.

    Every row is given once in a pass. A row waits in the buffer until a later one takes its place, so a buffer should
    be several times as long as whatever comes in order, such as the rows of one class.

    Args:
      batches: an iterable of batches, ``(x, y)`` or ``(x, y, sample_weight)``, that can be gone through in every
        pass: a list, a `Stream`, a data loader.
      rows: how many rows the buffer holds; more mix better and take more memory.
      batch_size: rows of the batches given; default that of the first batch that comes. The last may have fewer.
      seed: of the order; with the number of the pass it determines it.

    Raises:
      InputError: for numbers below 1, an iterator that is used up after a pass, or batches of different kinds.

    It can be resumed exactly if ``batches`` gives the same in every pass or has ``state()`` and ``restore(state)``
    itself: the pass is then made again up to the place, without giving what was given.

    >>> import numpy as np, fnn
    >>> x = np.arange(12, dtype="float32")
    >>> parts = [(x[i : i + 3], 2 * x[i : i + 3]) for i in range(0, 12, 3)]
    >>> mixed = fnn.data.Shuffled(parts, rows=6, seed=1)
    >>> [batch[0].astype(int).tolist() for batch in mixed]
    [[2, 1, 4], [8, 5, 0], [7, 10, 6], [3, 9, 11]]
    """

    def __init__(self, batches: Iterable[Any], *, rows: int, batch_size: int | None = None, seed: int = 0) -> None:
        check_count("Shuffled", "rows", rows)
        check_count("Shuffled", "seed", seed, least=0)
        if batch_size is not None:
            check_count("Shuffled", "batch_size", batch_size)
        if not isinstance(batches, Iterable) or isinstance(batches, (tuple, dict)) or hasattr(batches, "shape"):
            hint = "Arrays are shuffled as a whole by fit; leave Shuffled out." if not callable(batches) else "Call it."
            fail("Shuffled", expected="an iterable of batches", got=describe(batches), hint=hint)
        if iter(batches) is batches:
            hint = "Pass a list, a Stream, or an object whose __iter__ starts anew."
            fail("Shuffled", expected="batches for every pass", got=f"a {type(batches).__name__}", hint=hint)
        self.batches, self.rows, self.batch_size, self.seed = batches, rows, batch_size, seed
        self._pass = _Pass()
        self._source: Any = None  # what the iterable said before this pass

    def __iter__(self) -> Iterator[Any]:
        skip = self._pass.begin()
        if keeps_state(self.batches):
            self._source = self.batches.state()
        for batch in itertools.islice(self._mixed(np.random.default_rng((self.seed, self._pass.epoch))), skip, None):
            self._pass.given += 1
            yield batch
        self._pass.end()
        if keeps_state(self.batches):
            self._source = self.batches.state()

    def _mixed(self, rng: np.random.Generator) -> Iterator[Any]:
        """One pass: each row that comes takes the place of a random one in the buffer, which is given in its stead."""
        store: Any = None
        filled, out = 0, _Rows(self.batch_size)
        for number, batch in enumerate(self.batches):
            batch = jax.tree.map(np.asarray, as_arrays(batch, f"Shuffled, batch {number}", late=True))
            length = _length(number, batch)
            if store is None:
                store = jax.tree.map(lambda a: np.empty((self.rows, *a.shape[1:]), a.dtype), batch)
                out.size = out.size or length
            _same_kind(number, store, batch)
            first = min(length, self.rows - filled)
            _put(store, np.arange(filled, filled + first), _part(batch, slice(0, first)))
            filled += first
            for start in range(first, length, self.rows):
                part = _part(batch, slice(start, start + self.rows))
                places = rng.choice(self.rows, min(self.rows, length - start), replace=False)
                out.add(_part(store, places))
                _put(store, places, part)
                yield from out.full()
        if filled:
            out.add(_part(store, rng.permutation(filled)))
            yield from out.full()
            yield from out.rest()

    def state(self) -> dict[str, Any]:
        """Where it stands: the number of the pass, how many batches were given, and the iterable's own state."""
        return {**self._pass.state(), "source": self._source}

    def restore(self, state: dict[str, Any]) -> None:
        """Begin the next pass where ``state`` was taken."""
        self._pass.restore("Shuffled", state)
        self._source = state.get("source")
        if keeps_state(self.batches) and self._source is not None:
            self.batches.restore(self._source)


class _Pass:
    """Counts passes and the batches given in the one under way."""

    def __init__(self) -> None:
        self.epoch, self.given, self.skip = 0, 0, 0

    def begin(self) -> int:
        """Begin a pass: how many batches to leave out. One that was broken off begins anew, if not restored."""
        self.given, self.skip = self.skip, 0
        return self.given

    def end(self) -> None:
        """A pass has come to its end."""
        self.epoch, self.given = self.epoch + 1, 0

    def state(self) -> dict[str, Any]:
        """Its numbers."""
        return {"epoch": self.epoch, "given": self.given}

    def restore(self, where: str, state: Any) -> None:
        """Take them over."""
        if not isinstance(state, dict) or not {"epoch", "given"} <= state.keys():
            fail(where, expected="what state() gave", got=repr(state))
        self.epoch, self.given = state["epoch"], state["given"]
        self.skip = self.given


class _Rows:
    """Rows that come in parts of any length, given in batches of one."""

    def __init__(self, size: int | None) -> None:
        self.size, self.parts, self.count = size or 0, list[Any](), 0

    def add(self, part: Any) -> None:
        self.parts.append(part)
        self.count += len(jax.tree.leaves(part)[0])

    def full(self) -> Iterator[Any]:
        """All whole batches."""
        if self.count < self.size:
            return
        rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *self.parts)
        whole = self.count - self.count % self.size
        for start in range(0, whole, self.size):
            yield _part(rows, slice(start, start + self.size))
        self.parts, self.count = [_part(rows, slice(whole, None))], self.count - whole

    def rest(self) -> Iterator[Any]:
        """The last, smaller batch, if there is one."""
        if self.count:
            yield jax.tree.map(lambda *leaves: np.concatenate(leaves), *self.parts)


def _part(tree: Any, rows: Any) -> Any:
    return jax.tree.map(lambda a: a[rows], tree)


def _put(store: Any, places: np.ndarray, part: Any) -> None:
    for a, b in zip(jax.tree.leaves(store), jax.tree.leaves(part), strict=True):
        a[places] = b


def _length(number: int, batch: Any) -> int:
    sizes = {leaf.shape[0] if leaf.ndim else -1 for leaf in jax.tree.leaves(batch)}
    if len(sizes) != 1 or -1 in sizes or 0 in sizes:
        got = ", ".join(describe(leaf) for leaf in jax.tree.leaves(batch))
        fail(f"Shuffled, batch {number}", expected="arrays of the same length, with at least a row", got=got or "none")
    return int(sizes.pop())


def _same_kind(number: int, store: Any, batch: Any) -> None:
    """Refuse rows that are not as those before."""
    ours, theirs = (
        (jax.tree.structure(tree), [(leaf.dtype, leaf.shape[1:]) for leaf in jax.tree.leaves(tree)])
        for tree in (store, batch)
    )
    if ours != theirs:
        expected, got = (
            ", ".join(f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in jax.tree.leaves(tree))
            for tree in (store, batch)
        )
        hint = "Only the number of rows may change."
        fail(f"Shuffled, batch {number}", expected=f"rows as before, of {expected}", got=got, hint=hint)
