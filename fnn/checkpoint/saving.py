"""Writing a checkpoint."""

from __future__ import annotations

import itertools
import json
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import is_key
from .._core.errors import describe, fail, kind_of
from .._core.files import ENDINGS, FilePath, check_ending, write_whole
from .._core.processes import agreeing, by_first, is_first, on_host, spans, together
from .._core.trees import path_text
from .._core.types import PyTree
from .._version import __version__
from ..architecture.write import Description, describe_task
from ..training.state import TrainState
from ..training.task import Task
from .file import (
    BESIDE,
    ENDING,
    FORMAT,
    NATIVE,
    NUMBERS,
    OF_TASK,
    check_custom,
    checksum,
    layout,
    memory_of,
    with_ending,
)


def save(
    path: FilePath,
    ts: PyTree,
    task: Task | None = None,
    *,
    custom: Mapping[str, object] | None = None,
    history: PyTree = None,
    extra: object = None,
    model: object = None,
) -> None:
    """Write a TrainState, with its task if given, or any other tree of arrays; `load` restores it bit for bit.

    The write is atomic: a temporary file in the same folder is written, synced to disk and renamed. Whatever happens,
    the path holds either the old file or the complete new one.

    Args:
      path: the file, e.g. "run.safetensors". The ending is added if it is missing; an ending of another kind of file
        (".h5", ".keras", ".pt", ".npz" and so on) is refused. Missing folders are created.
      ts: a `TrainState`, or any other tree of arrays and numbers, such as ``ts.params``. If they lie on devices of
        several processes, call it on all of them; the first writes the file.
      task: the `Task` of the TrainState. The calls that made it are stored as JSON, so that ``fnn.load(path)`` gives
        ``(task, ts)`` back without the code of the model.
      custom: names for what a file cannot hold, your own functions and optax optimizers: ``{"gate": gate}``. Pass the
        same names to `load`.
      history: the history from `fit` or `run`; numbers by name.
      extra: anything else that JSON can hold: numbers, strings, lists, and dicts with string keys.
      model: a text about the model for later readers, or a `summary`; default the printed task.

    Raises:
      InputError: for a function in the task that ``custom`` does not name, with its place; for leaves that are not
        arrays or numbers, two leaves with the same path, an ``extra`` that JSON cannot hold, a path that is a folder,
        or a file name with the ending of another kind of file.
      OSError: (or a subclass such as `PermissionError`) when the file cannot be written, for example on a full disk.

    >>> import jax, tempfile, fnn
    >>> task = fnn.Task(fnn.Dense(3, activation="relu"), "mse", fnn.adam())
    >>> ts = fnn.init(task, jax.random.key(0), (4,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fnn.save(f"{folder}/run.safetensors", ts, task, extra={"data": "mnist"})
    ...     same, again = fnn.load(f"{folder}/run.safetensors")
    ...     info = fnn.load_info(f"{folder}/run.safetensors")
    >>> same == task, bool((again.params["kernel"] == ts.params["kernel"]).all()), info.step, info.extra
    (True, True, 0, {'data': 'mnist'})
    """
    description = None
    if not isinstance(path, (str, os.PathLike)):
        fail("save", expected="save(path, ts, task), the path first", got=kind_of(path))
    if isinstance(ts, Task) or not (task is None or isinstance(task, Task)):
        fail("save", expected="save(path, ts, task)", got=f"{kind_of(ts)} and {kind_of(task)} in this order")
    if task is not None:
        if not isinstance(ts, TrainState):
            hint = "Weights alone are saved without a task: fnn.save(path, ts.params)."
            fail("save", expected="a TrainState with a task", got=kind_of(ts), hint=hint)
        description = describe_task(task, ts, check_custom("save", custom))
        model = task if model is None else model
    with together(
        spans(ts), "save"
    ):  # arrays of this process alone are its own business, even during a common training
        save_with(path, ts, {}, history=history, extra=extra, model=model, description=description)


def save_with(
    path: FilePath,
    ts: PyTree,
    beside: Mapping[str, PyTree],
    *,
    history: PyTree,
    extra: object,
    model: object,
    description: Description | None = None,
) -> None:
    """`save` with further arrays beside the state, which `load` leaves out and `load_beside` returns."""
    if description is not None and description.arrays:
        beside = {**beside, OF_TASK: description.arrays}
    with agreeing("save"):  # before arrays are gathered, for which one process alone would wait forever
        given, target = _checked_path(path)
    writes = is_first()
    stored = _prepared(ts, keep=writes) | _prepared(beside, BESIDE, keep=writes, beside=True)
    is_state = isinstance(ts, TrainState)
    about = {
        "format": FORMAT,
        "version": __version__,
        "kind": "TrainState" if is_state else "tree",
        "step": np.asarray(ts.step).tolist() if is_state else None,
        "leaves": {name: leaf for name, (_, leaf) in stored.items()},
        "history": as_json(history, "history"),
        "extra": as_json(extra, "extra"),
        "model": None if model is None else str(model),
        "task": None if description is None else description.json,
    }
    text = json.dumps(about)
    header: dict[str, object] = {"__metadata__": {"fnn": text, "fnn_checksum": checksum(text.encode())}}
    # The order of the safetensors package, which aligns every array: wide dtypes first, then by name.
    arrays = sorted(
        ((name, array) for name, (array, _) in stored.items()), key=lambda item: (-item[1].itemsize, item[0])
    )
    start = 0
    for name, array in arrays:
        dtype, shape = layout(array.dtype, array.shape)
        header[name] = {"dtype": NATIVE[dtype.name], "shape": shape, "data_offsets": [start, start + array.nbytes]}
        start += array.nbytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    head = struct.pack("<Q", len(encoded)) + encoded
    parts: Iterator[bytes | memoryview] = itertools.chain([head], (memory_of(array) for _, array in arrays))
    by_first(lambda: write_whole(with_ending(given), target, parts) if writes else None)


def _checked_path(path: FilePath) -> tuple[str, str]:
    """The path of a file to write, as given, and where it leads."""
    given = os.fspath(path)
    for name in (given, with_ending(given)):
        target = os.path.realpath(name)
        if os.path.lexists(target) and not os.path.isfile(target):
            fail("save", expected="the path of a file", got=f"{name!r}, which is a folder or a device")
    check_ending("save", given, ENDING)
    if os.path.basename(given) in ("", *ENDINGS):
        fail("save", expected="the name of a file", got=repr(given), hint="Write for example 'model.safetensors'.")
    return given, target


def _prepared(
    tree: PyTree, prefix: str = "", *, keep: bool, **marks: bool
) -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    """Each leaf by path: its array on the host, and its description in the metadata.

    A process that does not ``keep`` them takes part in gathering each leaf from several processes.
    """
    leaves = [(prefix + path_text(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
    name, count = Counter(["__metadata__", *(name for name, _ in leaves)]).most_common(1)[0]
    if count > 1:
        hint = "A name with '/' can collide with a nested path, and '__metadata__' is reserved by the file format."
        fail("save", expected="a unique path for each leaf", got=f"{name!r} twice", hint=hint)
    for name, leaf in leaves:
        if isinstance(leaf, jax.core.Tracer):
            hint = "Save outside jit."
            fail(f"save, leaf {name!r}", expected="concrete values", got="traced ones", hint=hint)
        if isinstance(leaf, jax.Array) and not is_key(leaf) and leaf.is_fully_addressable:
            leaf.copy_to_host_async()  # all copies start before the first one is waited for
    prepared = ((name, _prepare(name, leaf, marks)) for name, leaf in leaves)
    return {name: found for name, found in prepared if keep}


def _prepare(name: str, leaf: object, marks: dict[str, bool]) -> tuple[np.ndarray, dict[str, object]]:
    about: dict[str, object] = {}
    if isinstance(leaf, jax.Array) and is_key(leaf):
        about["key"], leaf = str(jax.random.key_impl(leaf)), jax.random.key_data(leaf)
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, *NUMBERS)):
        hint = "Save arrays and numbers; text and lists belong in extra."
        fail(f"save, leaf {name!r}", expected="an array or a number", got=describe(leaf), hint=hint)
    array = on_host(leaf)  # no copy if it is in host memory
    if array.dtype.kind not in "biufc" and not jnp.issubdtype(array.dtype, jnp.number):
        fail(f"save, leaf {name!r}", expected="numbers or booleans", got=describe(array))
    array = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    about |= {"dtype": array.dtype.name, "shape": list(array.shape), "checksum": checksum(memory_of(array))}
    return array, about | marks


def as_json(value: object, where: str) -> object:
    """A value in JSON's types: arrays as lists, NumPy and JAX numbers as Python numbers."""
    if isinstance(value, Mapping):
        for name in value.keys():  # noqa: SIM118 - iterating over `Scores` gives values
            if not isinstance(name, str):
                fail(f"save, {where}", expected="strings as keys", got=repr(name))
        return {name: as_json(item, f"{where}[{name!r}]") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, (jax.Array, np.ndarray, np.generic)) and not is_key(value):
        return as_json(np.asarray(value).tolist(), where)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    hint = "To keep an array exactly, make it part of the tree, e.g. fnn.save(path, {'ts': ts, 'mine': array})."
    fail(f"save, {where}", expected="numbers, strings, lists or dicts", got=describe(value), hint=hint)
