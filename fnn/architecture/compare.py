"""How a task differs from the one that a file describes."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from .._core.checks import canonical
from .._core.described import Described, flat_arguments, one_spelling
from ..losses import LOSSES
from ..nn.activations import ACTIVATIONS, linear
from ..nn.containers import unique_names
from ..nn.initializers import INITIALIZERS
from ..nn.layer import Layer
from ..penalties import CONSTRAINTS, PENALTIES
from ..training.task import Task
from .names import name_of
from .write import Json, Node, Writer, defaults_of, text

_SHOWN = 80  # characters of a value in a message
_TRAINING = ("loss", "optimizer", "penalty", "constraint", "loss_weights")
_BY_NAME: dict[str, object] = {**INITIALIZERS, **LOSSES, **ACTIVATIONS}


def differences(json: Node, task: Task, custom: Mapping[str, object], *, training: bool) -> list[str]:
    """The parts of a task that differ from a description, each in words; only those of the model unless ``training``.

    Metrics do not count, since they leave no trace in a state. Functions of the user's own are compared by their names
    in ``custom``, and not at all without it.
    """
    comparison = _Comparison(json, custom)
    theirs = comparison.theirs(json["task"], Task)
    ours = {**_ours(task), "optimizer": task.optimizer}
    names = ("model", *_TRAINING) if training else ("model",)
    return [line for name in names for line in comparison.of(theirs.get(name), ours[name], "", name, ())]


class _Comparison:
    def __init__(self, json: Node, custom: Mapping[str, object]) -> None:
        self.defaults, self.custom = json["defaults"], custom

    def of(self, node: Json, value: object, place: str, label: str, path: tuple[str, ...]) -> Iterator[str]:
        """The differences between a node of a description and a value; ``path`` leads to the layer around it."""
        mine: Any = Writer(self.custom, strict=False).value(value, "load")
        known = {"call": node.lower()} if label == "optimizer" and isinstance(node, str) else node
        in_words = isinstance(known, str) and isinstance(mine, str)
        if (
            (in_words and one_spelling(label, known) == one_spelling(label, mine))
            or _same(known, mine)
            or (label == "dtype" and _short(node).strip("'") == _short(mine).strip("'"))
        ):
            return
        in_path = f"layer {'/'.join(path)!r}" if path and isinstance(value, Layer) else ""
        if isinstance(value, Described) and isinstance(known, dict) and known.get("call") == mine.get("call"):
            here = in_path or (f"{place}, {label}" if place else label)
            theirs, ours = self.theirs(known, value.call.make), _ours(value)
            own = inspect.signature(value.call.make).parameters
            for name in dict.fromkeys([*theirs, *ours]):
                inner = (*path, "body") if known["call"] == "Residual" and name == "layers" else path
                inner = inner if name in own else (*inner, name)  # a layer of a Model, by its name
                yield from self.of(theirs.get(name), ours.get(name), here, name, inner)
        elif isinstance(value, (tuple, list)) and len(items := _items(known)) == len(value):
            layers = all(isinstance(one, Layer) for one in value)
            names = unique_names(tuple(value)) if layers and label == "layers" else list(map(str, range(len(value))))
            for name, their, our in zip(names, items, value, strict=True):
                yield from self.of(their, our, place, f"{label}[{name}]", (*path, name) if layers else path)
        elif isinstance(value, Mapping) and (entries := _entries(known)).keys() == value.keys():
            for key, their in entries.items():
                yield from self.of(their, value[key], place, f"{label}[{key!r}]", (*path, str(key)))
        else:
            start = in_path or (f"{place}: {label}" if place else label)
            yield f"{start} {_short(node)} in the file, {_short(mine)} in the task"

    def theirs(self, node: Node, make: Callable[..., object]) -> dict[str, Json]:
        """The arguments of a call in the file by name, with the defaults of that time."""
        args, kwargs = node.get("args", []), node.get("kwargs", {})
        signature = inspect.signature(make)
        try:
            bound = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:  # another version had other arguments
            bound = dict(kwargs)
        for name in list(bound):
            kind = signature.parameters[name].kind if name in signature.parameters else None
            if kind is inspect.Parameter.VAR_POSITIONAL:
                items = list(bound[name])
                bound[name] = {"tuple": _items(items[0]) or items if len(items) == 1 else items}
            elif kind is inspect.Parameter.VAR_KEYWORD:
                gathered = bound.pop(name)
                bound |= {option: item for option, item in gathered.items() if item is not None}
        defaults: dict[str, Json] = self.defaults.get(str(node["call"]), defaults_of(make))
        return defaults | bound


def _ours(value: Described) -> dict[str, object]:
    """The arguments of the call that made an object by name, with defaults."""
    call = value.call
    bound = inspect.signature(call.make).bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    found = flat_arguments(bound)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL and len(found[name]) == 1 and isinstance(found[name][0], list):
            found[name] = tuple(found[name][0])  # Sequential([...]) is Sequential(...)
    return found


def _items(node: Json) -> list[Json]:
    found = node.get("tuple", []) if isinstance(node, dict) else node
    return found if isinstance(found, list) else []


def _entries(node: Json) -> dict[Hashable, Json]:
    pairs = node.get("dict", []) if isinstance(node, dict) else []
    return {text(key) if isinstance(key, (dict, list)) else key: item for key, item in pairs}


def _canonical(node: Json) -> Json:
    """A function of the library in one form, whether it was written by its name or as a function."""
    if not isinstance(node, str):
        return None if node == {"name": name_of(linear)} else node
    of_arrays = {**PENALTIES, **CONSTRAINTS}
    if (described := of_arrays.get(canonical(node, of_arrays))) is not None:
        return Writer({}, strict=False).value(described, "load")
    found = _BY_NAME.get(canonical(node, _BY_NAME))
    name = name_of(found)
    if found is linear:
        return None
    return node if name is None else {"name": name}


def _same(theirs: Json, ours: Json) -> bool:
    """Whether two nodes mean the same; a function of the user's own without a name may be any."""
    theirs, ours = _canonical(theirs), _canonical(ours)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if "custom" in theirs and "unnamed" in ours:
            return True
        if "array" in theirs and "array" in ours:
            return bool(theirs["bits"] == ours["bits"])
        return theirs.keys() == ours.keys() and all(_same(theirs[key], ours[key]) for key in theirs)
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) == len(ours) and all(map(_same, theirs, ours))
    return bool(theirs == ours)


def _short(node: Json) -> str:
    return textwrap.shorten(text(node), _SHOWN, placeholder=" ...")
