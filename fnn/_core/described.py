"""Descriptions: objects that know the call they were made by, which is what they print, compare and are pickled by.

Two layers built alike are equal and hash alike, so that running a notebook cell again compiles nothing. Arguments are
compared by value where that is safe: plain values, other described objects, and functions defined by the user, whose
code and the names it reads are compared. Arrays, traced values and everything else equal themselves only.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import dis
import functools
import inspect
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from .types import F

D = TypeVar("D", bound="Described")


@dataclasses.dataclass(frozen=True, eq=False)
class Config:
    """The call that made an object.

    Attributes:
      make: the function that was called, such as `fnn.Dense`.
      args: its positional arguments, as they were written.
      kwargs: its keyword arguments.
    """

    make: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __repr__(self) -> str:
        given = [written(value) for value in self.args]
        given += [f"{name}={written(value)}" for name, value in self.kwargs.items()]
        line = f"{self.make.__name__}({', '.join(given)})"
        nested = sum(isinstance(value, Described) and "(" in repr(value) for value in self._values())
        if len(line) <= 88 and nested < 2:
            return line
        lines = "\n".join(f"{text}," for text in given).replace("\n", "\n    ")
        return f"{self.make.__name__}(\n    {lines}\n)"

    def _values(self) -> Iterator[Any]:
        yield from self.args
        yield from self.kwargs.values()


class Described:
    """An immutable object that may know the call it was made by.

    Attributes:
      config: that call; None for an object made from functions, whose fields describe it.
    """

    config: Config | None = None

    @property
    def key(self) -> Key:
        """Equal objects have the same key: one object in the whole process."""
        found: Key | None = self.__dict__.get("_key")
        if found is None:
            fields = [getattr(self, field.name) for field in dataclasses.fields(cast(Any, self))]
            found = Key.of(type(self), *fields)
            object.__setattr__(self, "_key", found)
        return found

    def replace(self: D, **changes: Any) -> D:
        """The same object with other fields. Its description is dropped, since it is no longer true."""
        return cast(D, dataclasses.replace(cast(Any, self), **changes))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Described) and self.key is other.key)

    def __hash__(self) -> int:
        return self.key.hash

    def __copy__(self: D) -> D:
        return self

    def __deepcopy__(self: D, memo: Any) -> D:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.config is not None:
            return _remake, (self.config.make, self.config.args, dict(self.config.kwargs))
        return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(cast(Any, self)))

    def __repr__(self) -> str:
        if self.config is not None:
            return repr(self.config)
        needed, options = [], {}
        for field in dataclasses.fields(cast(Any, self)):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING:
                needed.append(value)
            elif value is not field.default:
                options[field.name] = value
        return repr(Config(type(self), tuple(needed), options))

    def __getattr__(self, name: str) -> Any:
        hint = "; write .replace(...)" if name == "_replace" else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)


def _remake(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return make(*args, **kwargs)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DescribedFunction(Described):
    """A function that knows the call it was made by, such as ``fnn.penalties.l2(1e-4)``."""

    fn: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.fn(*args, **kwargs)


def described(make: F) -> F:
    """A constructor whose results remember the call. Its arguments may be anything; they are compared as above."""
    signature = inspect.signature(make)

    @functools.wraps(make)
    def remember(*args: Any, **kwargs: Any) -> Any:
        made = make(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        fresh = object.__new__(type(made))  # an argument may have been handed back; it keeps its own description
        fresh.__dict__.update(made.__dict__)
        fresh.__dict__["config"] = Config(remember, *_as_given(args, kwargs))
        fresh.__dict__["_key"] = Key.of(remember, *(_argument(item) for item in bound.arguments.items()))
        return fresh

    return cast(F, remember)


def _as_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Arguments that a later change of a list does not reach."""

    def kept(value: Any) -> Any:
        return list(value) if type(value) is list else value

    return tuple(map(kept, args)), types.MappingProxyType({name: kept(value) for name, value in kwargs.items()})


def _argument(item: tuple[str, Any]) -> tuple[str, Any]:
    name, value = item
    if name == "dtype" and value is not None:  # "float32" and jnp.float32 are one
        with contextlib.suppress(TypeError):
            return name, jnp.dtype(value).name
    return name, value


def written(value: Any) -> str:
    """A value as its call is written: short, and without addresses."""
    if isinstance(value, functools.partial):
        given = [written(value.func), *map(written, value.args)]
        given += [f"{name}={written(part)}" for name, part in value.keywords.items()]
        return f"partial({', '.join(given)})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(written, value))})"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(written, value)) + ("," if isinstance(value, tuple) and len(value) == 1 else "")
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, jax.core.Tracer):
        return f"<traced {value.dtype}{list(value.shape)}>"
    if isinstance(value, jax.Array) or type(value).__module__ == "numpy":
        return repr(value.item()) if getattr(value, "ndim", 1) == 0 else f"<{value.dtype}{list(value.shape)}>"
    if callable(value) and not isinstance(value, Described):
        return str(getattr(value, "__name__", type(value).__name__))
    return repr(value)


class Key:
    """What an object is compared by; equal keys are one object.

    Attributes:
      hash: of its parts, computed once.
      traced: whether a part is a traced value, which no later program may use.
    """

    __slots__ = ("__weakref__", "hash", "parts", "traced")

    def __init__(self, parts: Any, traced: bool) -> None:
        self.parts, self.traced, self.hash = parts, traced, hash(parts)

    @staticmethod
    def of(*things: Any) -> Key:
        """The one key of these things in this order."""
        reader = _Reader()
        parts = reader.part(things)
        known = _KEYS.get(parts)
        if known is None:
            known = _KEYS[parts] = Key(parts, reader.traced)
        return known


_KEYS: weakref.WeakValueDictionary[Any, Key] = weakref.WeakValueDictionary()


class _Itself:
    """Something that is equal to itself alone."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


# Functions that call one of these may read anything.
_UNKNOWN = {"globals", "locals", "vars", "eval", "exec", "__import__"}
_READS = ("LOAD_GLOBAL", "LOAD_NAME")


class _Reader:
    """Turns things into hashable parts that are equal where the things do the same."""

    def __init__(self) -> None:
        self.traced = False
        self.inside: dict[int, int] = {}  # functions that are being read, by number

    def part(self, thing: Any) -> Any:
        """The part that a thing is compared by."""
        kind = type(thing)
        if kind in (int, bool, str, bytes, type(None)):
            return kind, thing
        if isinstance(thing, (float, complex)):  # NumPy's double precision too
            return kind.__mro__[-2], repr(complex(thing))  # 0.0 and -0.0 differ, and NaN is itself
        if isinstance(thing, np.generic):
            return np.generic, thing.dtype.str, thing.tobytes()
        if isinstance(thing, Described):
            self.traced |= thing.key.traced
            return thing.key
        if kind is list or isinstance(thing, tuple):  # named ones too, such as optax's optimizers
            return (kind, *map(self.part, thing))
        if kind in (dict, types.MappingProxyType):
            return (dict, *((self.part(name), self.part(value)) for name, value in thing.items()))
        if isinstance(thing, functools.partial):
            return functools.partial, self.part(thing.func), self.part(thing.args), self.part(thing.keywords)
        if isinstance(thing, types.MethodType):
            return types.MethodType, self.part(thing.__func__), self.part(thing.__self__)
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        self.traced |= isinstance(thing, jax.core.Tracer)
        if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
            # Of a record of the user's own only what it holds is looked at, for traced values.
            for field in dataclasses.fields(thing):
                self.part(getattr(thing, field.name, None))
        return _Itself(thing)

    def _function(self, fn: types.FunctionType) -> Any:
        if _is_importable(fn):
            return _Itself(fn)
        if id(fn) in self.inside:  # it calls itself
            return "function", self.inside[id(fn)]
        self.inside[id(fn)] = len(self.inside)
        held = [self._cell(cell) for cell in fn.__closure__ or ()]
        given = self.part((fn.__defaults__, fn.__kwdefaults__, fn.__dict__))
        names = sorted(set(_globals_read(fn.__code__)))
        read: list[Any] = []
        safe = not _UNKNOWN.intersection(names)
        for name in names:
            value = fn.__globals__.get(name, getattr(builtins, name, None))
            safe &= callable(value) or isinstance(value, (types.ModuleType, Described))
            read.append(self.part(value))
        if not safe:  # such as a number, which another cell may change
            return _Itself(fn)
        return "function", _code(fn.__code__), tuple(held), given, tuple(read)

    def _cell(self, cell: types.CellType) -> Any:
        try:
            held = cell.cell_contents
        except ValueError:  # not filled yet
            return "empty"
        part = self.part(held)
        # A list or dict may change between the comparison and the trace.
        return _Itself(held) if isinstance(held, (list, dict)) else part


def _is_importable(fn: types.FunctionType) -> bool:
    """Whether a function stands in a module under its name, so that there is one of it."""
    if fn.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(fn.__module__)
    for name in fn.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is fn


def _code(code: types.CodeType) -> Any:
    """What two functions of the same text have in common, wherever it stands."""
    constants = tuple(_code(c) if isinstance(c, types.CodeType) else (type(c), repr(c)) for c in code.co_consts)
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, code.co_exceptiontable, code.co_flags, constants, names


def _globals_read(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _READS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_read(constant)
