"""Checkpoints: a TrainState, or any tree of arrays, in one safetensors file, written as a whole or not at all.

The file is an ordinary safetensors file: each leaf by its path (``params/dense/kernel``), so that other tools read it.
What only fnn needs stands as JSON in its metadata: the format's number, dtype, shape and checksum of each leaf, the
implementation of PRNG keys, the history. Nothing is pickled. Dtypes that safetensors or its NumPy reader do not know
(float8, int4, complex) are stored as their bytes.
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
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from ._core.dtypes import at_least_float32
from ._core.errors import InputError, describe, fail
from ._core.files import ENDINGS, check_ending, write_whole
from ._core.random import is_key
from ._core.trees import Where, check_matches, matches, path_text, paths
from ._version import __version__
from .training.state import TrainState

FORMAT = 1
"""The number of the file format; a file with a higher one is refused."""
# Dtypes that every version of the safetensors package reads as NumPy arrays, by their names in the file.
_NATIVE = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_NUMBERS = (bool, int, float, complex)
_ENDING = ".safetensors"
_SHOWN = 4  # paths of each kind in a message
_BESIDE = "beside/"  # before the paths of arrays that are no part of the tree
_RUNNING = ("state/", "opt_state/")  # before those of running values in a TrainState


class DamagedError(InputError):
    """A file that is no checkpoint, or no longer one: truncated, damaged, or of another kind."""


class CheckpointInfo(NamedTuple):
    """What `load_info` tells about a checkpoint without reading its arrays.

    Attributes:
      format: the number of the file format.
      version: of the fnn that wrote it.
      step: training steps made (a list for many states in one), None where the tree is no TrainState.
      leaves: by path a `jax.ShapeDtypeStruct`.
      history: as given to `save`, else None.
      extra: as given to `save`, else None.
      size: bytes of all arrays.
      model: what the states are of, as text; None where `save` was not told.
    """

    format: int
    version: str
    step: Any
    leaves: dict[str, Any]
    history: dict[str, list[Any]] | None
    extra: Any
    size: int
    model: str | None = None


class _Stored(NamedTuple):
    """A leaf on its way to the file: its bytes in an array, and what describes it."""

    array: np.ndarray  # C-contiguous, in the machine's byte order
    about: dict[str, Any]


# --------------------------------------------------------------------------------------------------------------- saving
def save(path: Any, ts: Any, *, history: Any = None, extra: Any = None, model: Any = None) -> None:
    """Write a TrainState, or any tree of arrays, to a file that `load` gives back bit for bit.

    The file appears at once as a whole: it is written beside its place under another name, synced to the disk, and
    then renamed. Whatever happens, the place holds either the old file or the complete new one.

    Args:
      path: the file, e.g. "run.safetensors". A name without this ending gets it; one with that of another kind of
        file (".h5", ".keras", ".pt", ".npz" and so on) is refused. Missing folders are made.
      ts: a `TrainState`, or any other tree of arrays and numbers, such as ``ts.params``.
      history: the history of `fit` or `run`; numbers by name.
      extra: anything else that JSON can hold: numbers, texts, lists, and dicts with texts as keys.
      model: tells a later reader what the state is of: the `Task`, a `summary`, or text; kept as text.

    Raises:
      InputError: for leaves that are no arrays or numbers, two leaves of the same path, an ``extra`` that JSON cannot
        hold, a path that is a folder, or a file name with the ending of another kind of file.
      OSError: (or `PermissionError` and so on) when the file cannot be written, such as on a full disk.

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


def save_with(path: Any, ts: Any, beside: Any, *, history: Any, extra: Any, model: Any) -> None:
    """`save` a TrainState with other arrays beside it, which `load` leaves out and `load_beside` gives."""
    target = os.path.realpath(os.fspath(path))
    if os.path.lexists(target) and not os.path.isfile(target):
        fail("save", expected="the path of a file", got=f"{str(path)!r}, which is a folder or a device")
    check_ending("save", path, _ENDING)
    if os.path.basename(os.fspath(path)) in ("", *ENDINGS):
        fail(
            "save",
            expected="the name of a file",
            got=repr(os.fspath(path)),
            hint="Write for example 'model.safetensors'.",
        )
    path = _with_ending(path)
    target = os.path.realpath(path)
    if os.path.lexists(target) and not os.path.isfile(target):
        fail("save", expected="the path of a file", got=f"{str(path)!r}, which is a folder or a device")
    stored = _stored(ts)
    for name, leaf in _stored(beside).items():
        stored[_BESIDE + name] = leaf._replace(about={**leaf.about, "beside": True})
    is_state = isinstance(ts, TrainState)
    text = json.dumps(
        {
            "format": FORMAT,
            "version": __version__,
            "kind": "TrainState" if is_state else "tree",
            "step": np.asarray(ts.step).tolist() if is_state else None,
            "leaves": {name: leaf.about for name, leaf in stored.items()},
            "history": _as_json(history, "history"),
            "extra": _as_json(extra, "extra"),
            "model": None if model is None else str(model),
        }
    )
    # In the order of the safetensors package, by which every array is aligned: wide dtypes first, then by name.
    order = sorted(stored, key=lambda name: (-stored[name].array.dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"fnn": text, "fnn_checksum": _checksum(text.encode())}}
    position = 0
    for name in order:
        dtype, shape = _layout(stored[name].array)
        end = position + stored[name].array.nbytes
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    head = struct.pack("<Q", len(encoded)) + encoded
    write_whole(path, target, itertools.chain([head], (_bytes_of(stored[name].array) for name in order)))


def _with_ending(path: Any) -> str:
    name = str(os.fspath(path))
    return name if name.lower().endswith(_ENDING) else name + _ENDING


def _stored(tree: Any) -> dict[str, _Stored]:
    """All leaves by path, on the host."""
    leaves = [(path_text(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
    names = [name for name, _ in leaves]
    if len(set(names)) < len(names) or "__metadata__" in names:
        twice = next((name for name in names if names.count(name) > 1), "__metadata__")
        hint = "Names with '/' can run together, and '__metadata__' belongs to the file format."
        fail("save", expected="a path of its own for each leaf", got=f"{twice!r} again", hint=hint)
    for name, leaf in leaves:
        if isinstance(leaf, jax.core.Tracer):
            fail(
                f"save, leaf {name!r}", expected="an array with values", got="a traced array", hint="Save outside jit."
            )
    # Copies to the host are started for all leaves before the first is waited for.
    for _, leaf in leaves:
        if isinstance(leaf, jax.Array) and not is_key(leaf):
            leaf.copy_to_host_async()
    return {name: _store(name, leaf) for name, leaf in leaves}


def _store(name: str, leaf: Any) -> _Stored:
    about: dict[str, Any] = {}
    if is_key(leaf):
        about["key"], leaf = str(jax.random.key_impl(leaf)), jax.random.key_data(leaf)
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, *_NUMBERS)):
        hint = "Save arrays and numbers; text and lists belong into extra."
        fail(f"save, leaf {name!r}", expected="an array or a number", got=describe(leaf), hint=hint)
    array = np.asarray(leaf)  # no copy of what is in the host's memory
    if array.dtype.kind not in "biufc" and not jnp.issubdtype(array.dtype, jnp.number):
        fail(f"save, leaf {name!r}", expected="numbers or booleans", got=describe(array))
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.c_contiguous:
        array = array.copy(order="C")
    about |= {"dtype": array.dtype.name, "shape": list(array.shape), "checksum": _checksum(_bytes_of(array))}
    return _Stored(array, about)


def _bytes_of(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array, not a copy."""
    return array.reshape(-1).view(np.uint8).data


def _checksum(data: Any) -> str:
    """CRC-32, which sees every flipped bit and runs at several gigabytes per second."""
    return f"{zlib.crc32(data):08x}"


def _layout(array: np.ndarray) -> tuple[str, list[int]]:
    """Dtype and shape in the file: bytes along a last axis for what safetensors does not know."""
    name = array.dtype.name
    return (_NATIVE[name], [*array.shape]) if name in _NATIVE else ("U8", [*array.shape, array.dtype.itemsize])


def _as_json(value: Any, where: str) -> Any:
    """A value as JSON holds it: arrays as lists, numbers as Python's; the keys of dicts must be text."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                fail(f"save, {where}", expected="texts as keys", got=repr(name))
        return {name: _as_json(item, f"{where}[{name!r}]") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, (jax.Array, np.ndarray, np.generic)) and not is_key(value):
        return _as_json(np.asarray(value).tolist(), where)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    hint = "Arrays to be kept exactly belong into the tree itself, e.g. fnn.save(path, {'ts': ts, 'mine': array})."
    fail(f"save, {where}", expected="numbers, texts, lists or dicts", got=describe(value), hint=hint)


# -------------------------------------------------------------------------------------------------------------- loading
@contextlib.contextmanager
def _opened(path: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The file and what its metadata say, checked."""
    from safetensors import SafetensorError, safe_open

    where = f"load {str(path)!r}"
    try:
        if os.path.isdir(path):
            inside = sorted(glob.glob(os.path.join(glob.escape(os.fspath(path)), "*.safetensors")))
            hint = f"The last one in it is {inside[-1]!r}." if inside else ""
            fail(where, expected="the path of a file", got="a folder", hint=hint)
        path = _found(path)
        with safe_open(os.fspath(path), framework="np") as file:
            metadata = file.metadata() or {}
            text = metadata.get("fnn")
            if text is None:
                got = "a safetensors file of another origin, or one with damaged metadata"
                hint = "Read it with safetensors.numpy.load_file."
                raise DamagedError(f"{where}: expected a checkpoint of fnn.save, got {got}. {hint}")
            if _checksum(text.encode()) != metadata.get("fnn_checksum"):
                _damaged(where, "metadata that do not fit their checksum")
            about = json.loads(text)
            if about["format"] > FORMAT:
                got = f"format {about['format']}, written by fnn {about['version']}"
                fail(where, expected=f"a checkpoint of format {FORMAT} or older", got=got, hint="Update fnn.")
            if sorted(file.keys()) != sorted(about["leaves"]):
                _damaged(where, "other leaves than its metadata tell")
            yield file, about
    except SafetensorError as error:
        got = _kind_of(path) or f"one that is truncated, damaged or of another kind ({error})"
        raise DamagedError(f"{where}: expected a checkpoint of fnn.save, got {got}.") from None


def _found(path: Any) -> str:
    """The file of a name, which may lack its ending."""
    name = str(os.fspath(path))
    for candidate in (name, _with_ending(name)):
        if os.path.isfile(candidate):
            return candidate
    if os.path.exists(name):
        fail(f"load {name!r}", expected="the path of a file", got="a device")
    folder, file = os.path.split(name)
    stems = {}
    if os.path.isdir(folder or "."):
        stems = {entry.removesuffix(_ENDING): entry for entry in os.listdir(folder or ".") if entry.endswith(_ENDING)}
    close = [stems[stem] for stem in difflib.get_close_matches(os.path.splitext(file)[0], stems, n=3, cutoff=0.6)]
    hint = f"; did you mean {' or '.join(repr(os.path.join(folder, entry)) for entry in close)}" if close else ""
    if folder and not os.path.isdir(folder):
        hint = f"; there is no folder {folder!r} either"
    raise FileNotFoundError(errno.ENOENT, f"load: there is no such file{hint}", name)


_ELSEWHERE = "Load it with the library that wrote it and copy its arrays into a tree like ts.params"


def _kind_of(path: str) -> str:
    """What kind of file this is, if it is a known one; nothing in it is executed."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return f"an HDF5 file, as Keras writes. {_ELSEWHERE}"
    if head.startswith(b"\x93NUMPY"):
        return "an array of NumPy. Read it with numpy.load"
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if head[0] == 0x80 and 2 <= head[1] <= 5:
        return f"a pickle, as torch.save and joblib write. {_ELSEWHERE}"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip file. Unpack it first"
    if path.lower().endswith(".onnx"):
        return f"an ONNX model. {_ELSEWHERE}"
    with contextlib.suppress(UnicodeDecodeError):
        # The length of a header makes the first bytes of a safetensors file no text.
        if b"\0" not in head and head.decode("utf-8", "strict"):
            return "a text file"
    return ""


def _kind_of_zip(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a damaged zip file"
    if any(name.endswith("data.pkl") for name in names):
        return f"a file of torch.save. {_ELSEWHERE}"
    if any(name.endswith(".weights.h5") for name in names):
        return f"a model of Keras. {_ELSEWHERE}"
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of NumPy. Read them with numpy.load"
    return "a zip file"


def _damaged(where: str, got: str) -> NoReturn:
    raise DamagedError(f"{where}: expected an undamaged checkpoint, got {got}. Take an earlier one.")


def _read(where: str, file: Any, name: str, about: dict[str, Any]) -> np.ndarray:
    """A leaf as it was saved, after a check of every bit."""
    raw: np.ndarray = file.get_tensor(name)
    dtype, shape = np.dtype(about["dtype"]), tuple(about["shape"])
    expected = shape if dtype.name in _NATIVE else (*shape, dtype.itemsize)
    kept = raw.dtype == (dtype if dtype.name in _NATIVE else np.uint8)
    if not kept or raw.shape != expected or _checksum(_bytes_of(raw)) != about["checksum"]:
        _damaged(where, f"{name!r} with bytes that do not fit their checksum")
    return raw.reshape(-1).view(dtype).reshape(shape)


def load_info(path: Any) -> CheckpointInfo:
    """What a checkpoint holds, without reading its arrays.

    Args:
      path: a file of `save`; the ending ".safetensors" may be left out.

    Returns:
      A `CheckpointInfo`: leaves by path with shapes and dtypes, step, history, ``extra``, versions, size.

    Raises:
      FileNotFoundError: when there is no such file.
      InputError: for a file that is not one of `save`, is truncated or damaged, or comes from a newer fnn.
    """
    with _opened(path) as (_, about):
        inside = {name: leaf for name, leaf in about["leaves"].items() if "beside" not in leaf}
        leaves = {name: _struct(f"load_info {str(path)!r}", leaf) for name, leaf in inside.items()}
        size = sum(math.prod(a["shape"]) * np.dtype(a["dtype"]).itemsize for a in about["leaves"].values())
        return CheckpointInfo(
            about["format"],
            about["version"],
            about["step"],
            leaves,
            about["history"],
            about["extra"],
            size,
            about.get("model"),
        )


def load_beside(path: Any) -> dict[str, Any]:
    """The arrays that `save_with` wrote beside the state, by path."""
    place = f"load {str(path)!r}"
    with _opened(path) as (file, about):
        stored = {name: leaf for name, leaf in about["leaves"].items() if "beside" in leaf}
        found = {name: _read(place, file, name, leaf) for name, leaf in stored.items()}
        return {
            name.removeprefix(_BESIDE): _like(place, name, _struct(place, stored[name]), array, stored[name])
            for name, array in found.items()
        }


def _struct(place: str, about: dict[str, Any]) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a leaf as it was in the tree."""
    if "key" in about:
        data = jax.ShapeDtypeStruct(tuple(about["shape"]), np.dtype(about["dtype"]))
        try:
            key = jax.eval_shape(lambda data: jax.random.wrap_key_data(data, impl=about["key"]), data)
        except ValueError:
            fail(place, expected="keys of an implementation that JAX knows here", got=repr(about["key"]))
        return jax.ShapeDtypeStruct(key.shape, key.dtype)
    return jax.ShapeDtypeStruct(tuple(about["shape"]), np.dtype(about["dtype"]))


def load(path: Any, like: Any, *, where: Where | None = None) -> Any:
    """Read a checkpoint into a tree of the same structure; every bit is checked.

    Args:
      path: a file of `save`; the ending ".safetensors" may be left out.
      like: a tree with the structure, shapes and dtypes to come: a `TrainState`, such as a new one of `init`, or
        whatever was saved; arrays or `jax.ShapeDtypeStruct`. Of a TrainState's file, another tree gets the parameters:
        ``fnn.load(path, ts.params)``.
      where: only these leaves, the others stay those of ``like``: a pattern of paths such as ``"conv*"``, several, or
        a function of the path. In a TrainState they are those of the parameters and, as running means belong to
        them, of the layers' state; optimizer, key and step stay. The file may hold more than is asked for.

    Returns:
      A tree like ``like``: JAX arrays, where ``like`` has NumPy arrays or plain numbers those. Arrays of ``like`` that
      are bound to a device come back on it. Slots of the optimizer and running values of layers, which files of
      earlier versions hold in half precision, become those of ``like`` in float32 at least; the values are the same.

    Raises:
      FileNotFoundError: when there is no such file.
      InputError: for another architecture, with the paths that are missing, too many, or of another shape or dtype;
        for a pattern that matches nothing; and as `load_info`.

    >>> import jax, tempfile, fnn
    >>> small, large = (fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(n)), "mse") for n in (2, 5))
    >>> ts, other = fnn.init(small, jax.random.key(0), (3,)), fnn.init(large, jax.random.key(1), (3,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fnn.save(f"{folder}/small.safetensors", ts)
    ...     other = fnn.load(f"{folder}/small.safetensors", other, where="dense")
    >>> bool((other.params["dense"]["kernel"] == ts.params["dense"]["kernel"]).all())
    True
    """
    place = f"load {str(path)!r}"
    ours = paths(like)
    if not (where is None or isinstance(where, (str, tuple, list)) or callable(where)):
        fail(place, expected="a pattern, several, or a function of the path as where", got=repr(where))
    with _opened(path) as (file, about):
        stored = {name: leaf for name, leaf in about["leaves"].items() if "beside" not in leaf}
        source = _sources(place, isinstance(like, TrainState), about["kind"] == "TrainState", ours, stored, where)
        found = {name: stored[theirs] for name, theirs in source.items() if theirs in stored}
        missing = [name for name in source if name not in found]
        whole = isinstance(like, TrainState) or about["kind"] != "TrainState"
        too_many = [] if where is not None else _not_asked_for(source, stored, whole)
        differ = [text for name, leaf in found.items() if (text := _difference(name, ours[name], leaf, place))]
        if missing or too_many or differ:
            _refuse(place, where is not None, missing_in_the_file=missing, only_in_the_file=too_many, different=differ)
        new = {}
        for name, leaf in found.items():
            new[name] = _like(place, name, ours[name], _read(place, file, source[name], leaf), leaf)
    treedef: Any = jax.tree.structure(like)
    leaves = jax.tree.leaves(like)
    return treedef.unflatten([new.get(name, leaf) for name, leaf in zip(ours, leaves, strict=True)])


def _sources(
    place: str, to_state: bool, from_state: bool, ours: dict[str, Any], stored: dict[str, Any], where: Where | None
) -> dict[str, str]:
    """For each leaf to be loaded, its path in the file."""
    if where is None:
        if to_state and not from_state:
            hint = "Load it into the parameters: ts._replace(params=fnn.load(path, ts.params))."
            fail(place, expected="a checkpoint of a TrainState", got="one of another tree", hint=hint)
        return {name: _join("params", name) if from_state and not to_state else name for name in ours}
    chosen, choice = {}, []
    for name in ours:
        part, _, inner = name.partition("/") if to_state else ("params", "", name)
        # A file of bare parameters has no layer state.
        if part == "params" or (part == "state" and from_state):
            choice.append(inner)
            if matches(where, inner):
                chosen[name] = _join(part, inner) if from_state else inner
    check_matches(place, where, choice)
    return chosen


def _join(part: str, inner: str) -> str:
    """A path inside a part of a TrainState, which may itself be a leaf."""
    return f"{part}/{inner}" if inner else part


def _not_asked_for(source: dict[str, str], stored: dict[str, Any], whole: bool) -> list[str]:
    """Leaves of the file, or of its parameters, for which there is no place."""
    inside = [name for name in stored if whole or name.partition("/")[0] == "params"]
    return sorted(set(inside) - set(source.values()))


def _difference(name: str, ours: Any, about: dict[str, Any], place: str) -> str | None:
    """How a leaf of the file differs in shape or dtype from the one to be filled, if it does."""
    theirs = _struct(place, about)
    if isinstance(ours, _NUMBERS) and not isinstance(ours, np.generic):
        kind = next(kind for kind in _NUMBERS if isinstance(ours, kind))
        wanted = {bool: np.bool_, int: np.integer, float: np.floating, complex: np.complexfloating}[kind]
        same, here = theirs.shape == () and jnp.issubdtype(theirs.dtype, wanted), f"the {kind.__name__} {ours}"
    else:
        if not (hasattr(ours, "shape") and hasattr(ours, "dtype")):
            fail(f"load, leaf {name!r} of like", expected="an array or a number", got=describe(ours))
        dtype = ours.dtype.newbyteorder("=") if isinstance(ours.dtype, np.dtype) else ours.dtype
        same = tuple(ours.shape) == theirs.shape and (dtype == theirs.dtype or _widens(name, dtype, theirs.dtype))
        here = describe(ours)
    return None if same else f"{name} ({describe(theirs)} in the file, {here} here)"


def _widens(name: str, ours: Any, theirs: Any) -> bool:
    """Whether a leaf is a running value, which a file may hold in half precision and a state holds in float32."""
    floats = all(jnp.issubdtype(dtype, jnp.floating) for dtype in (ours, theirs))
    return name.startswith(_RUNNING) and floats and at_least_float32(theirs) == ours


def _refuse(place: str, partial: bool, **problems: list[str]) -> None:
    """Say what does not fit, the first few of each kind."""
    texts = []
    for kind, found in problems.items():
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            texts.append(f"{kind.replace('_', ' ')}: {', '.join(found[:_SHOWN])}{more}")
    hint = (
        ""
        if partial
        else "Is it another model's or optimizer's? With where='dense*' or the like some leaves are taken."
    )
    fail(place, expected="the leaves of like", got="; ".join(texts), hint=hint)


def _like(place: str, name: str, ours: Any, array: np.ndarray, about: dict[str, Any]) -> Any:
    """An array of the file as the kind of thing that stands in the tree."""
    if "key" not in about and not isinstance(ours, _NUMBERS) and _widens(name, ours.dtype, array.dtype):
        array = array.astype(ours.dtype)
    if isinstance(ours, np.generic):
        return array[()]
    if isinstance(ours, _NUMBERS):
        return type(ours)(array.item())
    if isinstance(ours, np.ndarray):
        return array.astype(ours.dtype, copy=False)
    data = jax.device_put(array)  # nothing else refers to the memory that was read into
    made = jax.random.wrap_key_data(data, impl=about["key"]) if "key" in about else data
    if made.dtype != ours.dtype:
        hint = "Enable JAX's x64 mode, or load into NumPy arrays."
        fail(f"{place}, leaf {name!r}", expected=f"dtype {ours.dtype} in JAX", got=str(made.dtype), hint=hint)
    bound = isinstance(ours, jax.Array) and getattr(ours, "committed", False)
    # An array that is bound to no device must stay so, or each function that takes it would be compiled anew.
    return jax.device_put(made, ours.sharding) if bound else made
