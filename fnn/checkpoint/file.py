"""The file: arrays in a safetensors file with JSON in its metadata; nothing is pickled.

Each leaf is stored under its path (``params/dense/kernel``), so that other tools can read the file. Everything specific
to fnn is JSON in the metadata: the format number, the dtype, shape and checksum of each leaf, the implementation of
PRNG keys, the history, and the description of the task (see `fnn.architecture`). Dtypes that safetensors or its NumPy
reader does not know (float8, int4, complex) are stored as raw bytes.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.described import in_words
from .._core.dtypes import at_least_float32
from .._core.errors import InputError, fail, listed
from .._core.files import FilePath, foreign_kind
from .._core.sharding import put
from .._core.typed import array_spec
from .._core.types import ArraySpec, PyTree
from .._names import close_matches

FORMAT = 1
"""The number of the file format; files with a higher one are refused."""
# Dtypes that every version of the safetensors package reads as NumPy arrays, with their names in the file.
NATIVE = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
NUMBERS = (bool, int, float, complex)
ENDING = ".safetensors"
BESIDE = "beside/"  # prefix of arrays that are not part of the tree
OF_TASK = "task"  # prefix, after that one, of arrays among the arguments of the task
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
      model: a text about the model: the printed task, or as passed to `save`; None without both.
    """

    format: int
    version: str
    step: int | list[Any] | None
    leaves: dict[str, jax.ShapeDtypeStruct]
    history: dict[str, list[Any]] | None
    extra: Any
    size: int
    model: str | None = None


class Leaf(NamedTuple):
    """The description of a leaf in a file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    checksum: str
    key: str | None  # the implementation, for PRNG keys
    beside: bool  # whether `save_with` wrote it beside the tree


class File(NamedTuple):
    """An open checkpoint with valid metadata."""

    place: str  # for messages
    about: dict[str, Any]
    leaves: dict[str, Leaf]
    get: Callable[[str], np.ndarray]


def with_ending(name: str) -> str:
    """The name of a file with the ending, if it lacks one."""
    return name if name.lower().endswith(ENDING) else name + ENDING


def memory_of(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array, not a copy."""
    return array.reshape(-1).view(np.uint8).data


def checksum(data: bytes | memoryview) -> str:
    """CRC-32, which detects every flipped bit and runs at several gigabytes per second."""
    return f"{zlib.crc32(data):08x}"


def layout(dtype: np.dtype, shape: tuple[int, ...]) -> tuple[np.dtype, tuple[int, ...]]:
    """Dtype and shape in the file; dtypes unknown to safetensors become bytes along a new last axis."""
    return (dtype, shape) if dtype.name in NATIVE else (np.dtype(np.uint8), (*shape, dtype.itemsize))


def check_custom(where: str, custom: Mapping[str, object] | None) -> Mapping[str, object]:
    """User-defined functions by name, as `save` and `load` take them."""
    custom = {} if custom is None else custom
    if not isinstance(custom, Mapping) or not all(isinstance(name, str) for name in custom):
        hint = "Write custom={'gate': gate}."
        fail(where, expected="custom to be a dict from names to functions", got=in_words(custom), hint=hint)
    for name, value in custom.items():
        if value is None or isinstance(value, (str, int, float)):
            fail(where, expected=f"a function as custom[{name!r}]", got=in_words(value))
    return custom


@contextlib.contextmanager
def opened(path: FilePath) -> Iterator[File]:
    """Open a checkpoint and check its metadata."""
    from safetensors import SafetensorError, safe_open

    place, name = f"load {os.fspath(path)!r}", _found(os.fspath(path))
    try:
        with safe_open(name, framework="np") as file:
            metadata = file.metadata() or {}
            text = metadata.get("fnn")
            if text is None:
                got = "a safetensors file from another program, or one with damaged metadata"
                raise _damaged(place, got, "Read it with safetensors.numpy.load_file.")
            if checksum(text.encode()) != metadata.get("fnn_checksum"):
                raise _damaged(place, "a damaged one: its metadata does not match its checksum")
            about = json.loads(text)
            if about["format"] > FORMAT:
                got = f"format {about['format']}, written by fnn {about['version']}"
                fail(place, expected=f"a checkpoint of format {FORMAT} or older", got=got, hint="Update fnn.")
            if sorted(file.keys()) != sorted(about["leaves"]):
                raise _damaged(place, "a damaged one: its leaves differ from those in its metadata")
            leaves = {
                path: Leaf(np.dtype(a["dtype"]), tuple(a["shape"]), a["checksum"], a.get("key"), "beside" in a)
                for path, a in about["leaves"].items()
            }
            yield File(place, about, leaves, file.get_tensor)
    except SafetensorError as error:
        got = foreign_kind(name) or f"a file that is truncated, damaged or of another kind ({error})"
        raise _damaged(place, got, "") from None


def _found(name: str) -> str:
    """The existing file of this name, with or without the ending."""
    if os.path.isdir(name):
        inside = sorted(glob.glob(os.path.join(glob.escape(name), f"*{ENDING}")))
        hint = f"The last file in it is {inside[-1]!r}." if inside else ""
        fail(f"load {name!r}", expected="the path of a file", got="a folder", hint=hint)
    for candidate in (name, with_ending(name)):
        if os.path.isfile(candidate):
            return candidate
    if os.path.exists(name):
        fail(f"load {name!r}", expected="the path of a file", got="a device")
    folder, file = os.path.split(name)
    stems = [entry.removesuffix(ENDING) for entry in glob.glob(f"*{ENDING}", root_dir=folder or ".")]
    near = close_matches(os.path.splitext(file)[0], stems)
    hint = f" (did you mean {listed(os.path.join(folder, stem + ENDING) for stem in near)}?)" if near else ""
    if folder and not os.path.isdir(folder):
        hint = f" (there is no folder {folder!r})"
    raise FileNotFoundError(errno.ENOENT, f"load: no such file{hint}", name)


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
    with opened(path) as file:
        leaves = {name: struct_of(file.place, leaf) for name, leaf in file.leaves.items() if not leaf.beside}
        size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in file.leaves.values())
        named = {name: file.about[name] for name in ("format", "version", "step", "history", "extra")}
        return CheckpointInfo(leaves=leaves, size=size, model=file.about.get("model"), **named)


def load_beside(path: FilePath) -> dict[str, PyTree]:
    """The arrays that `save_with` wrote beside the state, by path."""
    with opened(path) as file:
        return {
            name.removeprefix(BESIDE): restored(file, name, name, struct_of(file.place, leaf))
            for name, leaf in file.leaves.items()
            if leaf.beside and not name.startswith(f"{BESIDE}{OF_TASK}/")
        }


def struct_of(place: str, leaf: Leaf) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a leaf in the tree."""
    data = array_spec(leaf.shape, leaf.dtype)
    if leaf.key is None:
        return data
    try:
        key: jax.ShapeDtypeStruct = jax.eval_shape(lambda data: jax.random.wrap_key_data(data, impl=leaf.key), data)
    except ValueError:
        fail(place, expected="PRNG keys of an implementation known to this JAX", got=repr(leaf.key))
    return key


def widens(name: str, ours: np.dtype, theirs: np.dtype) -> bool:
    """Whether this is a running value, float32 here and in half precision in the file."""
    floats = all(jnp.issubdtype(dtype, jnp.floating) for dtype in (ours, theirs))
    return name.startswith(_RUNNING) and floats and at_least_float32(theirs) == ours


def restored(file: File, theirs: str, name: str, ours: ArraySpec | np.ndarray | np.generic | complex) -> PyTree:
    """A leaf of the file, with its checksum verified, as the same type of value as ``ours``."""
    leaf, raw = file.leaves[theirs], file.get(theirs)
    if (raw.dtype, raw.shape) != layout(leaf.dtype, leaf.shape) or checksum(memory_of(raw)) != leaf.checksum:
        raise _damaged(file.place, f"a damaged one: {theirs!r} does not match its checksum")
    array = raw.reshape(-1).view(leaf.dtype).reshape(leaf.shape)
    if leaf.key is None and not isinstance(ours, NUMBERS) and widens(name, ours.dtype, array.dtype):
        array = array.astype(ours.dtype)
    if isinstance(ours, np.generic):
        return array[()]
    if isinstance(ours, NUMBERS):
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
    return put(made, ours.sharding) if committed else made
