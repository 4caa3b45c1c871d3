"""Checkpoints: a TrainState, or any other tree of arrays, in one safetensors file, written as a whole or not at all.

Each leaf is stored under its path (``params/dense/kernel``), so that other tools can read the file. Everything specific
to fnn is JSON in the metadata: the format number, the dtype, shape and checksum of each leaf, the implementation of
PRNG keys, and the history. Nothing is pickled. Dtypes that safetensors or its NumPy reader does not know (float8, int4,
complex) are stored as raw bytes.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import glob
import itertools
import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._core.dtypes import at_least_float32
from ._core.errors import InputError, describe, fail, listed
from ._core.files import ENDINGS, FilePath, check_ending, write_whole
from ._core.random import is_key
from ._core.trees import Where, check_matches, matches, path_text, paths
from ._core.types import ArraySpec, PyTree
from ._version import __version__
from .training.state import TrainState

FORMAT = 1
"""The number of the file format; files with a higher one are refused."""
# Dtypes that every version of the safetensors package reads as NumPy arrays, with their names in the file.
_NATIVE = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_NUMBERS = (bool, int, float, complex)
_ENDING = ".safetensors"
_SHOWN = 4  # paths of each kind in a message
_BESIDE = "beside/"  # prefix of arrays that are not part of the tree
_RUNNING = ("state/", "opt_state/")  # prefixes of the running values in a TrainState


class DamagedError(InputError):
    """The file is truncated, damaged or not a checkpoint."""


class CheckpointInfo(NamedTuple):
    """Contents of a checkpoint, read by `load_info` without reading its arrays.

    Attributes:
      format: the number of the file format.
      version: the version of fnn that wrote the file.
      step: training steps made (a list if the state holds several trainings); None if the tree is not a TrainState.
      leaves: a `jax.ShapeDtypeStruct` for each path.
      history, extra: as passed to `save`; None if they were not.
      size: bytes of all arrays.
      model: a description of the model, as passed to `save`; None if it was not.
    """

    format: int
    version: str
    step: int | list[Any] | None
    leaves: dict[str, jax.ShapeDtypeStruct]
    history: dict[str, list[Any]] | None
    extra: Any
    size: int
    model: str | None = None


class _Leaf(NamedTuple):
    """The description of a leaf in a file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    checksum: str
    key: str | None  # the implementation, for PRNG keys
    beside: bool  # whether `save_with` wrote it beside the tree


class _File(NamedTuple):
    """An open checkpoint with valid metadata."""

    place: str  # for messages
    about: dict[str, Any]
    leaves: dict[str, _Leaf]
    get: Callable[[str], np.ndarray]


# --------------------------------------------------------------------------------------------------------------- saving
def save(path: FilePath, ts: PyTree, *, history: PyTree = None, extra: object = None, model: object = None) -> None:
    """Write a TrainState, or any other tree of arrays, to a file from which `load` restores it bit for bit.

    The write is atomic: a temporary file in the same folder is written, synced to disk and renamed. Whatever happens,
    the path holds either the old file or the complete new one.

    Args:
      path: the file, e.g. "run.safetensors". The ending is added if it is missing; an ending of another kind of file
        (".h5", ".keras", ".pt", ".npz" and so on) is refused. Missing folders are created.
      ts: a `TrainState`, or any other tree of arrays and numbers, such as ``ts.params``.
      history: the history from `fit` or `run`; numbers by name.
      extra: anything else that JSON can hold: numbers, strings, lists, and dicts with string keys.
      model: a description of the model for later readers: the `Task`, a `summary`, or text; stored as text.

    Raises:
      InputError: for leaves that are not arrays or numbers, two leaves with the same path, an ``extra`` that JSON
        cannot hold, a path that is a folder, or a file name with the ending of another kind of file.
      OSError: (or a subclass such as `PermissionError`) when the file cannot be written, for example on a full disk.

    >>> import jax, tempfile, fnn
    >>> task = fnn.Task(fnn.Dense(3), "mse", fnn.adam())
    >>> ts = fnn.init(task, jax.random.key(0), (4,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fnn.save(f"{folder}/run.safetensors", ts, extra={"data": "mnist"})
    ...     again = fnn.load(f"{folder}/run.safetensors", ts)
    ...     info = fnn.load_info(f"{folder}/run.safetensors")
    >>> bool((again.params["kernel"] == ts.params["kernel"]).all()), info.step, info.extra
    (True, 0, {'data': 'mnist'})
    """
    save_with(path, ts, {}, history=history, extra=extra, model=model)


def save_with(path: FilePath, ts: PyTree, beside: PyTree, *, history: PyTree, extra: object, model: object) -> None:
    """`save` with further arrays beside the state, which `load` leaves out and `load_beside` returns."""
    given = os.fspath(path)
    for name in (given, _with_ending(given)):
        target = os.path.realpath(name)
        if os.path.lexists(target) and not os.path.isfile(target):
            fail("save", expected="the path of a file", got=f"{name!r}, which is a folder or a device")
    check_ending("save", given, _ENDING)
    if os.path.basename(given) in ("", *ENDINGS):
        fail("save", expected="the name of a file", got=repr(given), hint="Write for example 'model.safetensors'.")
    stored = _prepared(ts) | _prepared(beside, _BESIDE, beside=True)
    is_state = isinstance(ts, TrainState)
    about = {
        "format": FORMAT,
        "version": __version__,
        "kind": "TrainState" if is_state else "tree",
        "step": np.asarray(ts.step).tolist() if is_state else None,
        "leaves": {name: leaf for name, (_, leaf) in stored.items()},
        "history": _as_json(history, "history"),
        "extra": _as_json(extra, "extra"),
        "model": None if model is None else str(model),
    }
    text = json.dumps(about)
    header: dict[str, object] = {"__metadata__": {"fnn": text, "fnn_checksum": _checksum(text.encode())}}
    # The order of the safetensors package, which aligns every array: wide dtypes first, then by name.
    arrays = sorted(
        ((name, array) for name, (array, _) in stored.items()), key=lambda item: (-item[1].itemsize, item[0])
    )
    start = 0
    for name, array in arrays:
        dtype, shape = _layout(array.dtype, array.shape)
        header[name] = {"dtype": _NATIVE[dtype.name], "shape": shape, "data_offsets": [start, start + array.nbytes]}
        start += array.nbytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    head = struct.pack("<Q", len(encoded)) + encoded
    write_whole(_with_ending(given), target, itertools.chain([head], (_bytes_of(array) for _, array in arrays)))


def _with_ending(name: str) -> str:
    return name if name.lower().endswith(_ENDING) else name + _ENDING


def _prepared(tree: PyTree, prefix: str = "", **marks: bool) -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    """Each leaf by path: its array on the host, and its description in the metadata."""
    leaves = [(prefix + path_text(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
    name, count = Counter(["__metadata__", *(name for name, _ in leaves)]).most_common(1)[0]
    if count > 1:
        hint = "A name with '/' can collide with a nested path, and '__metadata__' is reserved by the file format."
        fail("save", expected="a unique path for each leaf", got=f"{name!r} twice", hint=hint)
    for name, leaf in leaves:
        if isinstance(leaf, jax.core.Tracer):
            hint = "Save outside jit."
            fail(f"save, leaf {name!r}", expected="concrete values", got="traced ones", hint=hint)
        if isinstance(leaf, jax.Array) and not is_key(leaf):
            leaf.copy_to_host_async()  # all copies start before the first one is waited for
    return {name: _prepare(name, leaf, marks) for name, leaf in leaves}


def _prepare(name: str, leaf: object, marks: dict[str, bool]) -> tuple[np.ndarray, dict[str, object]]:
    about: dict[str, object] = {}
    if isinstance(leaf, jax.Array) and is_key(leaf):
        about["key"], leaf = str(jax.random.key_impl(leaf)), jax.random.key_data(leaf)
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, *_NUMBERS)):
        hint = "Save arrays and numbers; text and lists belong in extra."
        fail(f"save, leaf {name!r}", expected="an array or a number", got=describe(leaf), hint=hint)
    array = np.asarray(leaf)  # no copy if it is in host memory
    if array.dtype.kind not in "biufc" and not jnp.issubdtype(array.dtype, jnp.number):
        fail(f"save, leaf {name!r}", expected="numbers or booleans", got=describe(array))
    array = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    about |= {"dtype": array.dtype.name, "shape": list(array.shape), "checksum": _checksum(_bytes_of(array))}
    return array, about | marks


def _bytes_of(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array, not a copy."""
    return array.reshape(-1).view(np.uint8).data


def _checksum(data: bytes | memoryview) -> str:
    """CRC-32, which detects every flipped bit and runs at several gigabytes per second."""
    return f"{zlib.crc32(data):08x}"


def _layout(dtype: np.dtype, shape: tuple[int, ...]) -> tuple[np.dtype, tuple[int, ...]]:
    """Dtype and shape in the file; dtypes unknown to safetensors become bytes along a new last axis."""
    return (dtype, shape) if dtype.name in _NATIVE else (np.dtype(np.uint8), (*shape, dtype.itemsize))


def _as_json(value: object, where: str) -> object:
    """A value in JSON's types: arrays as lists, NumPy and JAX numbers as Python numbers."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                fail(f"save, {where}", expected="strings as keys", got=repr(name))
        return {name: _as_json(item, f"{where}[{name!r}]") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, (jax.Array, np.ndarray, np.generic)) and not is_key(value):
        return _as_json(np.asarray(value).tolist(), where)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    hint = "To keep an array exactly, make it part of the tree, e.g. fnn.save(path, {'ts': ts, 'mine': array})."
    fail(f"save, {where}", expected="numbers, strings, lists or dicts", got=describe(value), hint=hint)


# -------------------------------------------------------------------------------------------------------------- loading
@contextlib.contextmanager
def _opened(path: FilePath) -> Iterator[_File]:
    from safetensors import SafetensorError, safe_open

    place, name = f"load {os.fspath(path)!r}", _found(os.fspath(path))
    try:
        with safe_open(name, framework="np") as file:
            metadata = file.metadata() or {}
            text = metadata.get("fnn")
            if text is None:
                got = "a safetensors file from another program, or one with damaged metadata"
                raise _damaged(place, got, "Read it with safetensors.numpy.load_file.")
            if _checksum(text.encode()) != metadata.get("fnn_checksum"):
                raise _damaged(place, "a damaged one: its metadata does not match its checksum")
            about = json.loads(text)
            if about["format"] > FORMAT:
                got = f"format {about['format']}, written by fnn {about['version']}"
                fail(place, expected=f"a checkpoint of format {FORMAT} or older", got=got, hint="Update fnn.")
            if sorted(file.keys()) != sorted(about["leaves"]):
                raise _damaged(place, "a damaged one: its leaves differ from those in its metadata")
            leaves = {
                path: _Leaf(np.dtype(a["dtype"]), tuple(a["shape"]), a["checksum"], a.get("key"), "beside" in a)
                for path, a in about["leaves"].items()
            }
            yield _File(place, about, leaves, file.get_tensor)
    except SafetensorError as error:
        got = _kind_of(name) or f"a file that is truncated, damaged or of another kind ({error})"
        raise _damaged(place, got, "") from None


def _found(name: str) -> str:
    """The existing file of this name, with or without the ending."""
    if os.path.isdir(name):
        inside = sorted(glob.glob(os.path.join(glob.escape(name), f"*{_ENDING}")))
        hint = f"The last file in it is {inside[-1]!r}." if inside else ""
        fail(f"load {name!r}", expected="the path of a file", got="a folder", hint=hint)
    for candidate in (name, _with_ending(name)):
        if os.path.isfile(candidate):
            return candidate
    if os.path.exists(name):
        fail(f"load {name!r}", expected="the path of a file", got="a device")
    folder, file = os.path.split(name)
    stems = [entry.removesuffix(_ENDING) for entry in glob.glob(f"*{_ENDING}", root_dir=folder or ".")]
    near = difflib.get_close_matches(os.path.splitext(file)[0], stems, n=3, cutoff=0.6)
    hint = f" (did you mean {listed(os.path.join(folder, stem + _ENDING) for stem in near)}?)" if near else ""
    if folder and not os.path.isdir(folder):
        hint = f" (there is no folder {folder!r})"
    raise FileNotFoundError(errno.ENOENT, f"load: no such file{hint}", name)


_ELSEWHERE = "Load it with the library that wrote it and copy its arrays into a tree like ts.params"
# Other kinds of files, by a pattern of their first bytes, and for zip files by the end of a member's name.
_KINDS = {
    rb"\Z": "an empty file",
    rb"\x89HDF\r\n\x1a\n": f"an HDF5 file, as written by Keras. {_ELSEWHERE}",
    rb"\x93NUMPY": "a NumPy array. Read it with numpy.load",
    rb"\x80[\x02-\x05]": f"a pickle, as written by torch.save and joblib. {_ELSEWHERE}",
    rb"\x1f\x8b": "a gzip file. Unpack it first",
}
_ZIPPED = {
    "data.pkl": f"a file written by torch.save. {_ELSEWHERE}",
    ".weights.h5": f"a Keras model. {_ELSEWHERE}",
    ".npy": "NumPy arrays. Read them with numpy.load",
}


def _kind_of(path: str) -> str:
    """The kind of a file that is no checkpoint, empty if unknown; nothing in it is executed."""
    with open(path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            return "a damaged zip file"
        return next((kind for end, kind in _ZIPPED.items() if any(name.endswith(end) for name in names)), "a zip file")
    for start, kind in _KINDS.items():
        if re.match(start, head):
            return kind
    if path.lower().endswith(".onnx"):
        return f"an ONNX model. {_ELSEWHERE}"
    with contextlib.suppress(UnicodeDecodeError):
        # A safetensors file is never text: it begins with the length of its header.
        return "a text file" if head.decode() and b"\0" not in head else ""
    return ""


def _damaged(place: str, got: str, hint: str = "Use an earlier one.") -> DamagedError:
    return DamagedError(
        f"{place}: expected a checkpoint written by fnn.save, got {got}." + (f" {hint}" if hint else "")
    )


def load_info(path: FilePath) -> CheckpointInfo:
    """The contents of a checkpoint, without its arrays.

    Args:
      path: a file written by `save`; the ending ".safetensors" may be left out.

    Returns:
      A `CheckpointInfo`: shape and dtype of each leaf, step, history, ``extra``, versions and size.

    Raises:
      FileNotFoundError: when there is no such file.
      InputError: for a file that `save` did not write, that is truncated or damaged, or that comes from a newer fnn.
    """
    with _opened(path) as file:
        leaves = {name: _struct(file.place, leaf) for name, leaf in file.leaves.items() if not leaf.beside}
        size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in file.leaves.values())
        named = {name: file.about[name] for name in ("format", "version", "step", "history", "extra")}
        return CheckpointInfo(leaves=leaves, size=size, model=file.about.get("model"), **named)


def load_beside(path: FilePath) -> dict[str, PyTree]:
    """The arrays that `save_with` wrote beside the state, by path."""
    with _opened(path) as file:
        return {
            name.removeprefix(_BESIDE): _restored(file, name, name, _struct(file.place, leaf))
            for name, leaf in file.leaves.items()
            if leaf.beside
        }


def _struct(place: str, leaf: _Leaf) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a leaf in the tree."""
    data = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    if leaf.key is None:
        return data
    try:
        return jax.eval_shape(lambda data: jax.random.wrap_key_data(data, impl=leaf.key), data)
    except ValueError:
        fail(place, expected="PRNG keys of an implementation known to this JAX", got=repr(leaf.key))


def load(path: FilePath, like: PyTree, *, where: Where | None = None) -> PyTree:
    """Read a checkpoint into a tree of the same structure; every bit is checked.

    Args:
      path: a file written by `save`; the ending ".safetensors" may be left out.
      like: a tree with the expected structure, shapes and dtypes: a `TrainState`, such as a new one from `init`, or
        whatever was saved; its leaves are arrays or `jax.ShapeDtypeStruct`. If the file holds a TrainState, any other
        tree receives its parameters: ``fnn.load(path, ts.params)``.
      where: a pattern of paths such as ``"conv*"``, several patterns, or a function of the path; all other leaves stay
        as in ``like``, and the file may hold more. In a TrainState the paths are those of parameters and, with them, of
        layer state such as running means; optimizer, key and step stay.

    Returns:
      A tree like ``like`` of JAX arrays, or of NumPy arrays and plain numbers where ``like`` has those. Arrays that are
      committed to a device in ``like`` are placed on it. Optimizer slots and running values that earlier versions saved
      in half precision become float32 where ``like`` has float32; the values are the same.

    Raises:
      FileNotFoundError: when there is no such file.
      InputError: for another architecture, with the paths of leaves that are missing, unexpected or of another shape
        or dtype; for a pattern that matches nothing; and as `load_info`.

    >>> import jax, tempfile, fnn
    >>> small, large = (fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(n)), "mse") for n in (2, 5))
    >>> ts, other = fnn.init(small, jax.random.key(0), (3,)), fnn.init(large, jax.random.key(1), (3,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fnn.save(f"{folder}/small.safetensors", ts)
    ...     other = fnn.load(f"{folder}/small.safetensors", other, where="dense")
    >>> bool((other.params["dense"]["kernel"] == ts.params["dense"]["kernel"]).all())
    True
    """
    ours = paths(like)
    with _opened(path) as file:
        if not (where is None or isinstance(where, (str, tuple, list)) or callable(where)):
            fail(file.place, expected="where to be a pattern, a tuple of patterns, or a function", got=describe(where))
        to_state = isinstance(like, TrainState)
        sources = _sources(file, ours, to_state, where)
        stored = {name: leaf for name, leaf in file.leaves.items() if not leaf.beside}
        found = {name: stored[theirs] for name, theirs in sources.items() if theirs in stored}
        differences = (_difference(file.place, name, ours[name], leaf) for name, leaf in found.items())
        unused = set(stored) - set(sources.values()) if where is None else set()
        if file.about["kind"] == "TrainState" and not to_state:
            unused = {name for name in unused if name.partition("/")[0] == "params"}
        problems = {
            "different": list(filter(None, differences)),
            "missing in the file": [name for name in sources if name not in found],
            "only in the file": sorted(unused),
        }
        shown = [
            f"{kind}: {', '.join(names[:_SHOWN])}" + f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
            for kind, names in problems.items()
            if names
        ]
        if shown:
            text = "; ".join(shown)
            hint = " Was it saved with another model or optimizer? To load some leaves only, pass e.g. where='dense*'."
            message = f"{file.place}: the leaves differ from those of like. {text[0].upper()}{text[1:]}."
            raise InputError(message + hint if where is None else message)
        new = {name: _restored(file, sources[name], name, ours[name]) for name in found}
    return jax.tree.unflatten(jax.tree.structure(like), [new.get(name, leaf) for name, leaf in ours.items()])


def _sources(file: _File, names: Iterable[str], to_state: bool, where: Where | None) -> dict[str, str]:
    """The path in the file of each leaf to load."""
    from_state = file.about["kind"] == "TrainState"
    if where is None and to_state and not from_state:
        hint = "Load it into the parameters: ts._replace(params=fnn.load(path, ts.params))."
        fail(file.place, expected="a checkpoint of a TrainState", got="one of parameters or another tree", hint=hint)
    sources, choice = {}, []
    for name in names:
        part, _, inner = name.partition("/") if to_state else ("params", "", name)
        # The parameters may themselves be a leaf. A file of bare parameters has no layer state.
        if part == "params" or (part == "state" and from_state) or where is None:
            choice.append(inner)
            if where is None or matches(where, inner):
                sources[name] = "/".join(filter(None, (part, inner))) if from_state else inner
    if where is not None:
        check_matches(file.place, where, choice)
    return sources


def _difference(place: str, name: str, ours: object, leaf: _Leaf) -> str:
    """How a leaf of the file differs from ours in shape or dtype; empty if it does not."""
    theirs = _struct(place, leaf)
    if hasattr(ours, "shape") and hasattr(ours, "dtype"):
        dtype = ours.dtype.newbyteorder("=") if isinstance(ours.dtype, np.dtype) else ours.dtype
        same = tuple(ours.shape) == theirs.shape and (dtype == theirs.dtype or _widens(name, dtype, theirs.dtype))
        here = describe(ours)
    elif isinstance(ours, _NUMBERS):
        kind = next(kind for kind in _NUMBERS if isinstance(ours, kind))
        wanted = {bool: np.bool_, int: np.integer, float: np.floating, complex: np.complexfloating}[kind]
        same, here = theirs.shape == () and jnp.issubdtype(theirs.dtype, wanted), f"the {kind.__name__} {ours}"
    else:
        fail(f"load, leaf {name!r} of like", expected="an array or a number", got=describe(ours))
    return "" if same else f"{name} ({describe(theirs)} in the file, {here} here)"


def _widens(name: str, ours: np.dtype, theirs: np.dtype) -> bool:
    """Whether this is a running value, float32 here and in half precision in the file."""
    floats = all(jnp.issubdtype(dtype, jnp.floating) for dtype in (ours, theirs))
    return name.startswith(_RUNNING) and floats and at_least_float32(theirs) == ours


def _restored(file: _File, theirs: str, name: str, ours: ArraySpec | np.ndarray | np.generic | complex) -> PyTree:
    """A leaf of the file, with its checksum verified, as the same type of value as ``ours``."""
    leaf, raw = file.leaves[theirs], file.get(theirs)
    if (raw.dtype, raw.shape) != _layout(leaf.dtype, leaf.shape) or _checksum(_bytes_of(raw)) != leaf.checksum:
        raise _damaged(file.place, f"a damaged one: {theirs!r} does not match its checksum")
    array = raw.reshape(-1).view(leaf.dtype).reshape(leaf.shape)
    if leaf.key is None and not isinstance(ours, _NUMBERS) and _widens(name, ours.dtype, array.dtype):
        array = array.astype(ours.dtype)
    if isinstance(ours, np.generic):
        return array[()]
    if isinstance(ours, _NUMBERS):
        return type(ours)(array.item())
    if isinstance(ours, np.ndarray):
        return array.astype(ours.dtype, copy=False)
    data = jax.device_put(array)  # nothing else refers to the memory of `array`
    made = data if leaf.key is None else jax.random.wrap_key_data(data, impl=leaf.key)
    if made.dtype != ours.dtype:
        hint = "Enable JAX's x64 mode, or load into NumPy arrays."
        fail(f"{file.place}, leaf {name!r}", expected=f"dtype {ours.dtype} in JAX", got=str(made.dtype), hint=hint)
    committed = isinstance(ours, jax.Array) and getattr(ours, "committed", False)
    # An uncommitted array must stay so, or every function that takes it would be compiled again.
    return jax.device_put(made, ours.sharding) if committed else made
