"""How a task differs from the one that a file describes."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._core.checks import canonical
from .._core.described import Described, flat_arguments, is_neutral, one_spelling
from ..losses import LOSSES
from ..nn.activations import ACTIVATIONS, linear
from ..nn.containers import unique_names
from ..nn.initializers import INITIALIZERS
from ..nn.layer import Layer
from ..penalties import CONSTRAINTS, PENALTIES
from ..training.task import Task
from .names import name_of
from .write import Json, Node, Writer, defaults_of, text

Path = tuple[str, ...]
Part = tuple[Json, Any, str, Path]
"""A part of a description, the value here, what messages call it, and the path to the layer around it."""

_SHOWN = 80  # characters of a value in a message
_TRAINING = ("loss", "optimizer", "penalty", "constraint", "loss_weights")
_BY_NAME: dict[str, object] = {**INITIALIZERS, **LOSSES, **ACTIVATIONS}


def differences(json: Node, task: Task, custom: Mapping[str, object], *, training: bool) -> list[str]:
    """The parts of a task that differ from a description, each in words; only those of the model unless ``training``.

    Metrics do not count, since they leave no trace in a state. User-defined functions are compared by their names in
    ``custom``, and not at all without it.
    """
    comparison = _Comparison(json, custom)
    theirs = comparison.theirs(json["task"], Task)
    ours = {**_ours(task), "optimizer": task.optimizer}
    names = ("model", *_TRAINING) if training else ("model",)
    return [line for name in names for line in comparison.of(theirs.get(name), ours[name], "", name, ())]


class _Comparison:
    def __init__(self, json: Node, custom: Mapping[str, object]) -> None:
        self.defaults, self.custom = json["defaults"], custom

    def of(self, node: Json, value: Any, place: str, label: str, path: Path) -> Iterator[str]:
        """The differences between a node of a description and a value; ``path`` leads to the layer around it."""
        mine: Any = Writer(self.custom, strict=False).value(value, "load")
        known = {"call": node.lower()} if label == "optimizer" and isinstance(node, str) else node
        if _is_spelled_alike(label, known, mine) or _same(known, mine):
            return
        layer = f"layer {'/'.join(path)!r}" if path and isinstance(value, Layer) else ""
        parts: Iterable[Part]
        match value:
            case Described() if isinstance(known, dict) and "call" in known and known["call"] == mine.get("call"):
                place = layer or (f"{place}, {label}" if place else label)
                parts = self._arguments(known, value, path)
            case tuple() | list() if len(_items(known)) == len(value):
                parts = _numbered(_items(known), value, label, path)
            case Mapping() if (entries := _entries(known)).keys() == value.keys():
                parts = ((old, value[n], f"{label}[{n!r}]", (*path, str(n))) for n, old in entries.items())
            case _:
                start = layer or (f"{place}: {label}" if place else label)
                yield f"{start} {_short(node)} in the file, {_short(mine)} in the task"
                return
        for theirs, ours, shown, inner in parts:
            yield from self.of(theirs, ours, place, shown, inner)

    def _arguments(self, node: Node, value: Described, path: Path) -> Iterator[Part]:
        """The arguments of two calls of one constructor."""
        theirs, ours = self.theirs(node, value.call.make), _ours(value)
        for name in dict.fromkeys([*theirs, *ours]):
            inner = (*path, "body") if node["call"] == "Residual" and name == "layers" else path
            if name not in inspect.signature(value.call.make).parameters:  # a layer of a Model, by its name
                inner = (*inner, name)
            yield theirs.get(name), ours.get(name), name, inner

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
                bound |= {option: item for option, item in gathered.items() if not is_neutral(item)}
        defaults: dict[str, Json] = self.defaults.get(str(node["call"]), defaults_of(make))
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
            # What **options gather now may have been arguments with defaults then.
            defaults = {name: default for name, default in defaults.items() if name in signature.parameters}
        return defaults | bound


def _numbered(items: list[Json], values: Sequence[Any], label: str, path: Path) -> Iterator[Part]:
    """The items of two lists of one length; layers have their names."""
    layers = all(isinstance(one, Layer) for one in values)
    names = unique_names(tuple(values)) if layers and label == "layers" else map(str, range(len(values)))
    for name, theirs, ours in zip(names, items, values, strict=True):
        yield theirs, ours, f"{label}[{name}]", (*path, name) if layers else path


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


def _is_spelled_alike(label: str, theirs: Json, ours: Json) -> bool:
    """Whether two nodes are spellings of one name or dtype."""
    if isinstance(theirs, str) and isinstance(ours, str) and one_spelling(label, theirs) == one_spelling(label, ours):
        return True
    return label == "dtype" and _short(theirs).strip("'") == _short(ours).strip("'")


def _same(theirs: Json, ours: Json) -> bool:
    """Whether two nodes mean the same; a user-defined function without a name may be any."""
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
