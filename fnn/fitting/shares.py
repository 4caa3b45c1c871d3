"""Batches of which each process reads a share."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator

import jax

from .._core.errors import fail, located
from .._core.processes import exchanged, is_together, tell, texts
from .._core.trees import own_copy, paths
from ..checkpoint.saving import as_json
from ..training.batch import Batch, size_of
from .watchdog import inside

_PROCESSES = "fnn processes"
_END, _BATCH = range(2)


def in_step(
    given: Iterable[Batch], where: str, prepare: Callable[[Batch], Batch], first: int = 0
) -> Iterator[tuple[Batch, tuple[int, ...]]]:
    """The prepared shares of this process, each with the numbers of rows of all of them.

    All processes go from batch to batch together; they end together, or with an error on each.
    """
    batches = iter(given)
    number = first
    while True:
        batch, text = None, ""
        try:
            with inside("its iterable of data"):
                batch = next(batches, None)
            if batch is not None:
                size_of(batch, f"{where}, batch {number}")
                with located(f"batch {number}"):
                    batch = prepare(own_copy(batch))
                text = _rows_alike(batch)
        except Exception as error:
            tell(error)
            raise
        kind, rows = (_END, 0) if batch is None else (_BATCH, jax.tree.leaves(batch)[0].shape[0])
        found = exchanged(kind, rows, zlib.crc32(text.encode()) >> 1)
        if not (found[:, ::2] == found[0, ::2]).all():
            _refuse(f"{where}, batch {number}", found[:, 0].tolist(), texts(text))
        if batch is None:
            return
        yield batch, tuple(found[:, 1].tolist())
        number += 1


def _rows_alike(batch: Batch) -> str:
    """What the shares of a batch have in common: all but the number of their rows."""
    shapes = {path: ["rows", *map(str, leaf.shape[1:])] for path, leaf in paths(batch).items()}
    return ", ".join(f"{path} {leaf.dtype}[{', '.join(shapes[path])}]" for path, leaf in paths(batch).items())


def _refuse(where: str, kinds: list[int], said: list[str]) -> None:
    """Raise the same error on every process."""
    hint = "Each process reads its share of every batch."
    for number, kind in enumerate(kinds):
        if kind != kinds[0]:
            ended, goes_on = (0, number) if kinds[0] == _END else (number, 0)
            got = f"one on process {goes_on}, and the end of the data on process {ended}"
            fail(where, expected="as many batches on every process", got=got, hint=hint)
        if said[number] != said[0]:
            got = f"{said[0]} on process 0 and {said[number]} on process {number}"
            fail(where, expected="shares that differ in their rows alone", got=got, hint=hint)


def of_all_processes(state: object) -> object:
    """The positions of an iterable in all processes, to be written by one; None if it has none.

    Even equal ones are of different shares.
    """
    if not is_together():
        return state
    known = [json.loads(text) for text in texts(json.dumps(as_json(state, "state of the iterable")))]
    return None if all(position is None for position in known) else {_PROCESSES: known}


def of_this_process(where: str, saved: object) -> object:
    """The position of an iterable in this process, from `of_all_processes`."""
    if saved is None:
        return None
    known: list[object] = [saved]
    if isinstance(saved, dict) and list(saved) == [_PROCESSES]:
        known = saved[_PROCESSES]
    count = jax.process_count() if is_together() else 1
    if len(known) != count:
        hint = "Each process continues its own share; continue with as many as before, or start another folder."
        before = "process whose iterable was" if len(known) == 1 else f"{len(known)} processes whose iterables were"
        fail(where, expected=f"the {before} saved", got=f"{count} of them", hint=hint)
    return known[jax.process_index() if is_together() else 0]
