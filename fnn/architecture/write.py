"""From a task to JSON."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from .._core.described import Config, Described, EqualityKey, in_words, is_constructor
from .._core.errors import InputError, describe, fail
from .._core.fingerprint import fingerprint
from .._core.types import AnyArray
from .._version import __version__
from ..training.state import TrainState
from ..training.task import Task
from .names import ROOT, name_of

FORMAT = 1
"""The number of the form of descriptions; files with a higher one are refused."""
Json = object
"""A value of JSON."""
Node = Mapping[str, Any]
"""An object of JSON."""


class Description(NamedTuple):
    """A task in JSON, and the arrays among its arguments by name."""

    json: dict[str, Json]
    arrays: dict[str, AnyArray]


def describe_task(
    task: Task, ts: TrainState, custom: Mapping[str, object], *, by_own_name: bool = False
) -> Description:
    """The description of a task and of the trees of its state.

    Raises:
      InputError: for an argument that cannot be written, with its place in the task, and for the state of another
        optimizer.
    """
    wanted: object = jax.tree.structure(jax.eval_shape(task.optimizer.init, ts.params))
    if wanted != jax.tree.structure(ts.opt_state):
        hint = "Pass the task that the state was made for."
        fail("save", expected="a state of the task", got="one with the state of another optimizer", hint=hint)
    own: dict[str, object] = {}
    if not by_own_name:
        scout = Writer(custom, strict=False)  # finds every function that needs a name, for one message
        scout.value(task, "save")
        own = scout.own
    writer = Writer(custom, by_own_name=by_own_name, own=own)
    written = writer.value(task, "save")
    trees = {
        name: writer.value(jax.tree.map(lambda _: 0, getattr(ts, name)), f"save, {kind}")
        for name, kind in (("params", "parameters"), ("state", "layer state"))
    }
    json = {"format": FORMAT, "version": __version__, "task": written, "defaults": writer.defaults, **trees}
    return Description(json, {str(i): array for i, array in enumerate(writer.arrays)})


def describe_by_own_names(task: Task, ts: TrainState) -> Description | None:
    """A description in which user-defined functions have the names that they were defined under.

    None if that is impossible: for a lambda, two functions of one name, or an optimizer of optax.
    """
    try:
        return describe_task(task, ts, {}, by_own_name=True)
    except InputError:
        return None


class Writer:
    """Turns values into JSON.

    ``strict`` refuses what has no name; otherwise it becomes ``{"unnamed": text}``, which can be compared only.
    ``by_own_name`` gives user-defined functions the names that they were defined under.

    Attributes:
      own: user-defined functions met so far, or known beforehand, by name.
      arrays: those met so far.
      defaults: by constructor met so far, the default of each argument.
    """

    def __init__(
        self,
        custom: Mapping[str, object],
        *,
        strict: bool = True,
        by_own_name: bool = False,
        own: Mapping[str, object] | None = None,
    ) -> None:
        self.custom = {EqualityKey.of(value): name for name, value in custom.items()}
        self.strict, self.by_own_name = strict, by_own_name
        self.own: dict[str, object] = dict(own or {})
        self.arrays: list[AnyArray] = []
        self.defaults: dict[str, dict[str, Json]] = {}

    def value(self, value: object, place: str) -> Json:
        """A value as JSON; a tagged object for what JSON lacks."""
        plain = self._plain(value)
        if plain is not None:
            return plain[0]
        if isinstance(value, jax.core.Tracer):
            fail(place, expected="concrete values", got="traced ones", hint="Save outside jit.")
        if isinstance(value, (jax.Array, np.ndarray)) and value.dtype.kind != "O":
            self.arrays.append(value)
            kind = "jax" if isinstance(value, jax.Array) else "numpy"
            return {"array": len(self.arrays) - 1, "kind": kind, "bits": fingerprint(value)}
        if self.custom and (name := self.custom.get(EqualityKey.of(value))) is not None:
            return {"custom": name}
        if (name := name_of(value)) is not None:
            return {"name": name}
        if isinstance(value, (list, tuple, Mapping)) and not hasattr(value, "_fields"):
            return self._collection(value, place)
        if isinstance(value, functools.partial):
            return {"partial": self.value(value.func, place), **self._arguments(value.args, value.keywords, {}, place)}
        if isinstance(value, Described):
            return self._call(value.call, value, place)
        if isinstance(value, tuple):
            return self._call(Config(type(value), tuple(value), {}), value, place)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = tuple(getattr(value, field.name) for field in dataclasses.fields(value))
            return self._call(Config(type(value), fields, {}), value, place)
        return self._unnamed(value, place)

    def _plain(self, value: object) -> tuple[Json] | None:
        """A plain value as JSON, in a tuple; None for anything else."""
        if isinstance(value, np.dtype):
            return ({"dtype": value.name},)
        if isinstance(value, np.generic) and not isinstance(value, (str, bytes, np.void, np.object_)):
            return ({"scalar": self.value(value.item(), ""), "dtype": value.dtype.name},)
        if value is None or type(value) in (bool, int):
            return (value,)
        if isinstance(value, str):
            return (str(value),)
        if type(value) is float:
            return (value if math.isfinite(value) else {"float": str(value)},)
        if type(value) is complex:
            return ({"complex": [self.value(value.real, ""), self.value(value.imag, "")]},)
        return None

    def _collection(self, value: list[object] | tuple[object, ...] | Mapping[object, object], place: str) -> Json:
        if isinstance(value, Mapping):
            pairs = [[self.value(key, place), self.value(item, f"{place}[{key!r}]")] for key, item in value.items()]
            return {"dict": pairs}
        items = [self.value(item, f"{place}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}

    def _call(self, call: Config, value: object, place: str) -> Json:
        """The call of a constructor that a description may name."""
        name = name_of(call.make)
        made: Json = name
        if name is None:
            own = self.custom.get(EqualityKey.of(call.make))
            if own is None and not is_constructor(call.make):
                return self._unnamed(value, place)
            made = {"custom": own} if own else self._unnamed(call.make, place)
        elif name not in self.defaults:
            self.defaults[name] = defaults_of(call.make)
        # The message begins with the place of the task itself: save, model > Sequential, position 1.
        inside = place if call.make is Task else f"{place} > {call.make.__name__}"
        return {"call": made, **self._arguments(call.args, call.kwargs, labels(call.make, len(call.args)), inside)}

    def _arguments(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], names: Mapping[int, str], place: str
    ) -> dict[str, Json]:
        """The arguments of a call, without those of a kind that it has none of."""
        written: dict[str, Json] = {}
        if args:
            places = [f"{place}, {names.get(i, f'position {i}')}" for i in range(len(args))]
            written["args"] = [self.value(arg, where) for arg, where in zip(args, places, strict=True)]
        if kwargs:
            written["kwargs"] = {name: self.value(arg, f"{place}, {name}") for name, arg in kwargs.items()}
        return written

    def _unnamed(self, value: object, place: str) -> Json:
        """A value without a name: refused, or as text that can be compared only."""
        name = str(getattr(value, "__name__", place.rpartition(", ")[2]))
        inside = str(getattr(value, "__module__", "")).startswith(f"{ROOT}.")
        nameable = isinstance(value, types.FunctionType) and value.__name__.isidentifier() and not inside
        is_own = nameable and self.own.setdefault(name, value) is value
        if not self.strict:
            return {"unnamed": in_words(value)}
        if self.by_own_name and is_own:
            return {"custom": name}
        shown = name if name.isidentifier() else "mine"
        names = ", ".join(f"{one!r}: {one}" for one in {**self.own, shown: value})
        hint = f"Write custom={{{names}}} here and in load."
        if callable(value):
            expected, got = "a function of the library, or one named in custom", in_words(value)
        else:
            expected, got = (
                "a number, text, array or part of the library, or an object named in custom",
                describe(value),
            )
        if inside:
            got += " from inside the library"
            hint = "replace drops a description: call the constructor again, or name the whole layer in custom."
        elif name in self.custom.values():
            got += f", which is not custom[{name!r}]"
        fail(place, expected=expected, got=got, hint=hint)


def labels(make: Callable[..., object], count: int) -> dict[int, str]:
    """The names of the first positional arguments of a call; those of ``*args`` have none."""
    names: dict[int, str] = {}
    for i, parameter in enumerate(_parameters(make)):
        if i == count or parameter.kind is parameter.VAR_POSITIONAL:
            break
        names[i] = parameter.name
    return names


def defaults_of(make: Callable[..., object]) -> dict[str, Json]:
    """The default of each argument, as JSON: a later version with another default then still makes the same object."""
    writer = Writer({}, strict=False)
    return {p.name: writer.value(p.default, "") for p in _parameters(make) if p.default is not p.empty}


def _parameters(make: Callable[..., object]) -> Iterator[inspect.Parameter]:
    try:
        yield from inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # written in C
        return


def text(node: Json) -> str:
    """A value of a description, as code."""
    if isinstance(node, list):
        return f"[{', '.join(map(text, node))}]"
    if not isinstance(node, dict):
        return repr(node)
    if "call" in node or "partial" in node:
        head = text(node["partial"]) if "partial" in node else node["call"]
        name = head["custom"] if isinstance(head, dict) else head.rpartition(".")[2]
        given = [*map(text, node.get("args", ())), *(f"{k}={text(v)}" for k, v in node.get("kwargs", {}).items())]
        return f"partial({', '.join([name, *given])})" if "partial" in node else f"{name}({', '.join(given)})"
    if "tuple" in node:
        return f"({', '.join(map(text, node['tuple']))}{',' * (len(node['tuple']) == 1)})"
    if "dict" in node:
        return "{" + ", ".join(f"{text(key)}: {text(value)}" for key, value in node["dict"]) + "}"
    if "array" in node:
        return f"an array ({node['bits']})"
    (value, *_) = node.values()
    return str(value).rpartition(".")[2] if "name" in node else str(value)
