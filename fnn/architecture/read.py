"""From JSON to a task. Nothing in a file is executed or imported: it names parts that exist already."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import jax
import numpy as np

from .._core.errors import InputError, fail, listed, located
from .._core.types import PyTree
from .._version import __version__
from ..training.task import Task
from .names import is_callable_part, parts
from .write import FORMAT, Json, Node, defaults_of

ReadArray = Callable[[int, str], PyTree]
"""Reads an array among the arguments by its number and kind, "jax" or "numpy"."""


def read_task(json: Node, array: ReadArray, custom: Mapping[str, object], where: str) -> tuple[Task, PyTree, PyTree]:
    """The task of a description, and trees like its parameters and its layer state.

    Args:
      json: the description.
      array: reads the arrays among the arguments.
      custom: user-defined functions by name.
      where: the place for messages.

    Raises:
      InputError: for user-defined functions that are missing in ``custom``, for parts that this version does not
        have, and for a description that holds anything else.
    """
    check_format(json, where)
    if missing := [name for name in dict.fromkeys(_custom_names(json)) if name not in custom]:
        given = ", ".join(f"{name!r}: {name if name.isidentifier() else '...'}" for name in missing)
        expected = f"the functions that the file calls {listed(missing, 'and')}"
        fail(where, expected=expected, got="none", hint=f"Write fnn.load(path, custom={{{given}}}).")
    reader = _Reader(json, array, custom)
    try:
        task, params, state = (reader.value(json[name], where) for name in ("task", "params", "state"))
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        fail(where, expected="a description of a task", got=f"one that cannot be read ({error})")
    if not isinstance(task, Task):
        fail(where, expected="a description of a task", got=f"one of {type(task).__name__}")
    return task, params, state


def check_format(json: Node, where: str) -> None:
    """Refuse a description in a form that this version does not know."""
    if json.get("format", 0) > FORMAT:
        got = f"one in form {json['format']}, written by fnn {json.get('version')}"
        fail(where, expected=f"a description in form {FORMAT} or older", got=got, hint="Update fnn.")


def _custom_names(node: Json) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("custom"), str):
            yield node["custom"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _custom_names(item)


class _Reader:
    """Turns JSON into values; the inverse of `Writer`."""

    def __init__(self, json: Node, array: ReadArray, custom: Mapping[str, object]) -> None:
        self.version, self.defaults = json.get("version"), json["defaults"]
        self.array, self.custom = array, custom

    def value(self, node: Json, place: str) -> Any:
        """The value that a node stands for."""
        if isinstance(node, list):
            return [self.value(item, place) for item in node]
        if not isinstance(node, dict):
            return node
        if "call" in node:
            return self._call(node, place)
        if "partial" in node:
            args, kwargs = self._arguments(node, place)
            return functools.partial(self.value(node["partial"], place), *args, **kwargs)
        if "array" in node:
            return self.array(node["array"], node["kind"])
        if "scalar" in node:
            return np.dtype(node["dtype"]).type(self.value(node["scalar"], place))
        first: tuple[str, Any] = next(iter(node.items()), ("nothing", None))
        tag, content = first
        if tag == "tuple":
            return tuple(self.value(item, place) for item in content)
        if tag == "dict":
            return {self.value(key, place): self.value(item, place) for key, item in content}
        if tag == "float":
            return float(content)
        if tag == "complex":
            return complex(*(self.value(number, place) for number in content))
        if tag == "dtype":
            return jax.numpy.dtype(content)
        if tag == "custom":
            return self.custom[content]
        if tag == "name":
            return self._part(content, place)
        fail(place, expected=f"values known to fnn {__version__}", got=f"{tag!r}, written by fnn {self.version}")

    def _part(self, name: str, place: str) -> Callable[..., object]:
        if name not in parts():
            got = f"{name!r}, written by fnn {self.version}"
            fail(place, expected=f"parts known to fnn {__version__}", got=got, hint="Update fnn.")
        return parts()[name]

    def _arguments(self, node: Node, place: str) -> tuple[list[object], dict[str, object]]:
        args = [self.value(arg, place) for arg in node.get("args", ())]
        return args, {name: self.value(arg, place) for name, arg in node.get("kwargs", {}).items()}

    def _call(self, node: Node, place: str) -> object:
        name = node["call"]
        if isinstance(name, dict):
            make, label = cast(Callable[..., object], self.custom[name["custom"]]), name["custom"]
        else:
            make, label = self._part(name, place), name.rpartition(".")[2]
            if not is_callable_part(name):
                fail(place, expected="a call of a constructor", got=f"one of {name!r}")
        place = place if make is Task else f"{place} > {label}"
        args, kwargs = self._arguments(node, place)
        try:
            bound = inspect.signature(make).bind(*args, **kwargs).arguments
            written = self.defaults.get(name, {}) if isinstance(name, str) else {}
            now = defaults_of(make) if written else {}
            # Arguments that were left out and had another default then.
            for argument, default in written.items():
                if argument not in bound and now.get(argument, default) != default and "unnamed" not in str(default):
                    kwargs[argument] = self.value(default, place)
        except TypeError as error:
            got = f"a call written by fnn {self.version} ({error})"
            fail(place, expected=f"arguments known to fnn {__version__}", got=got)
        with located(place):
            return make(*args, **kwargs)
