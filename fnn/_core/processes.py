"""Several processes that train together on one mesh: what they exchange, and on what they must agree.

They run the same program, and a collective operation waits until all of them reach it. What depends on a clock, a
signal or a file is therefore decided once for all. Within `together`, the functions here exchange small messages, and
every process must call them in the same order; each message names its call, so a different order is an error. For a
process alone, they return their argument.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar, cast

import jax
import numpy as np

from .dtypes import is_key
from .errors import InputError, fail
from .types import AnyArray, Array, PyTree

T = TypeVar("T")

_call: ContextVar[str] = ContextVar("_call", default="")  # that several processes make together


def spans(tree: PyTree) -> bool:
    """Whether arrays of a tree lie on devices of several processes, or a mesh has devices of all of them."""
    return jax.process_count() > 1 and any(map(_spans, jax.tree.leaves(tree)))


def _spans(leaf: object) -> bool:
    if isinstance(leaf, jax.sharding.Mesh):
        return _has_all_processes(leaf)
    return isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and not leaf.is_fully_addressable


@functools.lru_cache(maxsize=16)
def _has_all_processes(mesh: jax.sharding.Mesh) -> bool:
    processes = {device.process_index for device in mesh.devices.flat}
    return len(processes) == int(jax.process_count())


@contextlib.contextmanager
def together(yes: bool, call: str) -> Iterator[None]:
    """Agree with the other processes inside, if ``yes``; ``call`` is the public function that they all called.

    An error before the first message, such as that of a wrong argument, is told to the others.
    """
    token, before = _call.set(call if yes else ""), Messages.sent
    try:
        yield
    except Exception as error:
        if Messages.sent == before:
            tell(error)
        raise
    finally:
        _call.reset(token)


def is_together() -> bool:
    """Whether several processes work together."""
    return _call.get() != ""


def is_first() -> bool:
    """Whether this process prints and writes for all of them."""
    return not is_together() or jax.process_index() == 0


# ---------------------------------------------------------------------------------------------------------- messages
# Messages go through the key-value store of `jax.distributed`, not through the devices: these compute everything in
# turn, so a message would wait for the running step, and the next step for the message. Batches are therefore read and
# agreed on while the devices compute, without a second thread that would start collective operations in another order.
_FOLDER = "fnn/messages"
_ROUND = 1000  # milliseconds of a wait for a message, between which Ctrl-C is noticed
_FAILURE, _RESULT = "failure", "result of process 0"
_ONE_ORDER = "Make the same calls on every process, never behind `if jax.process_index() == 0`."


class Messages:
    """Those of this process.

    Attributes:
      sent: their number, the same on every process.
      limit: the seconds that it waits for those of the others without a watch; `fnn.fitting` reads them from a setting.
    """

    sent = 0
    limit: Callable[[], float] = staticmethod(lambda: math.inf)


def _unwatched() -> AbstractContextManager[float]:
    return contextlib.nullcontext(Messages.limit())


waiting: ContextVar[Callable[[], AbstractContextManager[float]]] = ContextVar("waiting", default=_unwatched)
"""What surrounds a wait for the messages of the others, for a watch over them; it yields the most seconds to wait."""


def store() -> Any:
    """The key-value store of `jax.distributed`, for which JAX has no public name; None where this JAX has none."""
    try:
        from jax._src import distributed

        return distributed.global_state.client
    except (ImportError, AttributeError):
        return None


def texts(own: str, kind: str = "text") -> list[str]:
    """A text of every process; raises an error that one of them tells instead."""
    call = _call.get()
    if not call:
        return [own]
    client = store()
    number = _send(client, message := json.dumps([call, kind, own]))
    with waiting.get()() as limit:
        limit = math.inf if kind == _RESULT else limit  # process 0 is at work, such as writing a large file
        found = _by_devices(message) if client is None else _by_store(client, number, limit)
    said = [json.loads(text) for text in found]
    for process, (theirs, what, text) in enumerate(said):
        if theirs != said[0][0]:
            got = f"{said[0][0]} on process 0 and {theirs} on process {process}"
            fail("processes", expected="the same call on every process", got=got, hint=_ONE_ORDER)
        if what == _FAILURE:
            raise InputError(f"{call}: process {process} failed, so this one stops too. {text}")
    for process, (_, what, _) in enumerate(said):
        if what != said[0][1]:
            got = f"{said[0][1]} on process 0 and {what} on process {process}"
            fail(call, expected="the same messages on every process", got=got, hint=_ONE_ORDER)
    return [text for _, _, text in said]


def _send(client: Any, message: str) -> int:
    """Send a message where there is a store, and return its number."""
    number = Messages.sent
    Messages.sent = number + 1
    if client is not None:
        client.key_value_set(f"{_FOLDER}/{number}/{jax.process_index()}", message)
    return number


def tell(error: Exception) -> None:
    """Raise an error on the other processes too, without a wait for them."""
    if is_together():
        message = json.dumps([_call.get(), _FAILURE, f"{type(error).__name__}: {error}"])
        if (client := store()) is None:
            _by_devices(message)
        _send(client, message)


def _by_store(client: Any, number: int, limit: float) -> list[str]:
    names = [f"{_FOLDER}/{number}/{process}" for process in range(jax.process_count())]
    waited = 0.0  # seconds, without a clock
    while True:
        found = dict(client.key_value_dir_get(f"{_FOLDER}/{number}/"))
        missing = [name for name in names if name not in found]
        if not missing:
            break
        if waited >= limit:
            got = f"none from process {names.index(missing[0])}"
            hint = f"{_ONE_ORDER} Set FNN_PROCESS_TIMEOUT to more seconds if one may take longer."
            fail(_call.get(), expected=f"a message of every process within {limit:.0f} s", got=got, hint=hint)
        waited += _ROUND / 1000
        try:
            client.blocking_key_value_get(missing[0], _ROUND)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
    if is_first() and number:  # all have read the messages before, since all have written these
        client.key_value_delete(f"{_FOLDER}/{number - 1}/")
    return [found[name] for name in names]


def _by_devices(own: str) -> list[str]:
    """The same with collective operations."""
    from jax.experimental import multihost_utils

    data = own.encode()
    length = int(np.max(multihost_utils.process_allgather(np.int32(len(data)))))
    width = max(64, 1 << (length - 1).bit_length())  # few widths, since each compiles a program
    rows = np.asarray(multihost_utils.process_allgather(np.frombuffer(data.ljust(width, b"\0"), np.uint8)))
    return [row.tobytes().rstrip(b"\0").decode() for row in rows]


def exchanged(*values: int) -> np.ndarray:
    """Some integers of every process, a row for each."""
    return np.array([json.loads(text) for text in texts(json.dumps(list(map(int, values))), "numbers")])


def decided(value: int) -> int:
    """The number that process 0 has."""
    return int(exchanged(value)[0, 0]) if is_together() else value


# --------------------------------------------------------------------------------------------------------- agreement
@contextlib.contextmanager
def agreeing(where: str, hints: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """Raise on every process what one of them raises inside, where nothing may be exchanged.

    Then refuse what differs between processes, of short texts by name, which belong into the dict. ``hints`` say what
    to do, by the first word of such a name.
    """
    facts: dict[str, str] = {}
    try:
        yield facts
    except Exception as error:
        tell(error)
        raise
    if not is_together():
        return
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
    if set(texts(digest, "agreement")) != {digest}:
        _refuse(where, [json.loads(text) for text in texts(json.dumps(facts))], hints or {})


def _refuse(where: str, everyone: list[dict[str, str]], hints: Mapping[str, str]) -> NoReturn:
    """Name the first fact that differs between processes."""
    for name in everyone[0]:
        for number, theirs in enumerate(everyone):
            if name in theirs and theirs[name] != everyone[0][name]:
                got = f"{everyone[0][name]} on process 0 and {theirs[name]} on process {number}"
                hint = hints.get(name.partition(",")[0], "")
                fail(f"{where}, {name}", expected="the same on every process", got=got, hint=hint)
    number = next((i for i, theirs in enumerate(everyone) if theirs.keys() != everyone[0].keys()), 0)
    here, there = (", ".join(everyone[i]) or "nothing" for i in (0, number))
    got = f"one that compares {here} on process 0 and one that compares {there} on process {number}"
    fail(where, expected="the same call, with states that lie alike, on every process", got=got, hint=_ONE_ORDER)


def by_first(act: Callable[[], T]) -> T:
    """The result of a function that process 0 alone calls, a value in JSON's types. Its errors are raised on all."""
    if not is_together():
        return act()
    if is_first():
        try:
            result = act()
        except Exception as error:
            texts(json.dumps({"error": _error_parts(error)}), _RESULT)
            raise
        texts(json.dumps({"value": result}), _RESULT)
        return result
    answer = json.loads(texts("", _RESULT)[0])
    if "error" not in answer:
        return cast(T, answer["value"])
    kind, number, text, path = answer["error"]
    if kind == "OSError":
        raise OSError(number, text, path)
    raise (InputError if kind == "InputError" else RuntimeError)(text)


def _error_parts(error: Exception) -> tuple[str, int | None, str, str]:
    """What another process needs to raise an error: its kind, number, text and file."""
    if isinstance(error, OSError):
        return "OSError", error.errno, error.strerror or str(error), str(error.filename or "")
    return "InputError" if isinstance(error, InputError) else "", None, str(error), ""


# ------------------------------------------------------------------------------------------------------------ arrays
def on_host(leaf: AnyArray | np.generic | complex) -> np.ndarray:
    """The values of a whole array, gathered if other processes hold parts of it; then all must call this."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def gathered_rows(own: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The rows of all processes, of which each has a number."""
    from jax.experimental import multihost_utils

    padded = np.zeros((max(counts), *own.shape[1:]), own.dtype)
    padded[: len(own)] = own
    everyone = np.asarray(multihost_utils.process_allgather(padded))
    return np.concatenate([rows[:count] for rows, count in zip(everyone, counts, strict=True)])


def spread(leaf: AnyArray, place: jax.sharding.Sharding) -> Array:
    """An array that every process has, on devices of several of them; each takes its part. Typed keys too."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if leaf.sharding.is_equivalent_to(place, leaf.ndim):
            return leaf
        moved: Array = jax.jit(_same, out_shardings=place)(leaf)
        return moved
    if is_key(leaf):
        return jax.make_array_from_callback(leaf.shape, place, lambda index: leaf[index])
    host = np.asarray(leaf)
    dtype = jax.dtypes.canonicalize_dtype(host.dtype.newbyteorder("="))
    return jax.make_array_from_callback(host.shape, place, lambda index: np.asarray(host[index], dtype))


def _same(a: Array) -> Array:
    return a
