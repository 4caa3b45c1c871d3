"""Descriptions: objects that know the call that made them; they print, compare, hash and pickle by it.

Two layers built alike are equal and hash alike, so that running a notebook cell again compiles nothing. Arguments are
compared by value where that is safe: plain values, other described objects, and user-defined functions, which are
compared by their code and the names it reads. Arrays, traced values and everything else equal only themselves.
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
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NoReturn,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
    is_typeddict,
)

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh

from .._names import INSTEAD, missing_attribute, unexpected_argument
from .dtypes import is_key
from .errors import fail, kind_of
from .flags import check_flags, flags_of

P = ParamSpec("P")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Config:
    """The call that made an object.

    Attributes:
      make: the function that was called, such as `fnn.Dense`.
      args: its positional arguments, as written.
      kwargs: its keyword arguments.
    """

    make: Callable[..., object]
    args: tuple[object, ...]
    kwargs: Mapping[str, Any]

    def __repr__(self) -> str:
        given, name = _arguments(self.args, self.kwargs), self.make.__name__
        line = f"{name}({', '.join(given)})"
        values = (*self.args, *self.kwargs.values())
        nested = sum(isinstance(value, Described) and "(" in repr(value) for value in values)
        if len(line) <= 88 and nested < 2 and "\n" not in line:
            return line
        lines = "\n".join(f"{text}," for text in given).replace("\n", "\n    ")
        return f"{name}(\n    {lines}\n)"


class Described:
    """An immutable dataclass that may know the call that made it.

    Attributes:
      config: that call; None for an object made from functions, whose fields describe it.
    """

    config: Config | None = None
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # defined by each subclass

    @functools.cached_property
    def equality_key(self) -> EqualityKey:
        """The key that this object is compared and hashed by; equal objects share one key."""
        compared = (field.name for field in dataclasses.fields(self) if field.compare)
        return EqualityKey.of(type(self), *(getattr(self, name) for name in compared))

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    def replace(self, **changes: object) -> Self:
        """The same object with other fields. A new name enters the description; any other change drops it."""
        if changes.keys() == {"name"} and self.config is not None:
            bound = inspect.signature(self.config.make).bind(*self.config.args, **self.config.kwargs)
            if "name" in bound.signature.parameters:
                bound.arguments |= changes
                return cast(Self, self.config.make(*bound.args, **bound.kwargs))
        return dataclasses.replace(self, **changes)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Described) and self.equality_key is other.equality_key)

    def __hash__(self) -> int:
        return self.equality_key.hash

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        if self.config is not None:
            return functools.partial(self.config.make, *self.config.args, **self.config.kwargs), ()
        return type(self), self._values()

    @property
    def call(self) -> Config:
        """The call that made this object, or one that makes the same from its fields."""
        if self.config is not None:
            return self.config
        needed, options = [], {}
        for field, value in zip(dataclasses.fields(self), self._values(), strict=True):
            if field.default is dataclasses.MISSING:
                needed.append(value)
            elif value is not field.default:
                options[field.name] = value
        return Config(type(self), tuple(needed), options)

    def __repr__(self) -> str:
        return repr(self.call)

    if not TYPE_CHECKING:  # or a type checker would accept any attribute

        def __getattr__(self, name):
            raise AttributeError(missing_attribute(type(self).__name__, name), name=name, obj=self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DescribedFunction(Described, Generic[P, T]):
    """A function that knows the call that made it, such as ``fnn.penalties.l2(1e-4)``."""

    fn: Callable[P, T]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it."""
        return self.fn(*args, **kwargs)


def described(make: Callable[P, T]) -> Callable[P, T]:
    """Let what a constructor of your own makes know the call that made it, as all parts of the library do.

    Its ``config`` is then that call: it is what ``print`` shows, what makes two layers equal that were built alike (so
    that their tasks share compiled programs), what ``pickle`` keeps, and what `fnn.save` writes, with the constructor
    in ``custom``. Arguments compare by value if they are plain values, parts of the library, or functions with the same
    code; arrays equal only themselves.

    Args:
      make: a function that returns a `Layer`, an `Optimizer`, a `Metric` or another part of a task. Arguments that are
        annotated as bool are checked to be one.

    Returns:
      The constructor, with the same signature.

    Raises:
      InputError: for anything but a function, or when the function returns something else.

    >>> import fnn
    >>> @fnn.described
    ... def Scaled(factor=2.0):
    ...     return fnn.Activation(lambda x: factor * x)
    >>> print(fnn.Sequential(Scaled(3.0), fnn.Dense(2)))
    Sequential(
        Scaled(3.0),
        Dense(2),
    )
    >>> Scaled() == Scaled(factor=2.0)
    True
    """
    if not inspect.isfunction(cast(object, make)):
        hint = "Write it above a def: @fnn.described."
        fail("described", expected="a function that makes a layer", got=in_words(make), hint=hint)
    signature = inspect.signature(make)
    names, flags = keywords_of(make, signature), flags_of(make)

    @functools.wraps(make)
    def remember(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = bound_to(make.__name__, signature, names, {}, args, kwargs)
        check_flags(make.__name__, **{flag: bound.arguments[flag] for flag in flags if flag in bound.arguments})
        made = make(*args, **kwargs)
        _check_made(make.__name__, made)
        bound.apply_defaults()
        fresh = object.__new__(type(made))  # make may return one of its arguments, which keeps its own description
        given = types.MappingProxyType({name: unshared(value) for name, value in kwargs.items()})
        config = Config(remember, tuple(map(unshared, args)), given)
        arguments = flat_arguments(bound)
        key = EqualityKey.of(remember, *((name, one_spelling(name, value)) for name, value in arguments.items()))
        # In __dict__, equality_key replaces the cached_property of that name.
        fresh.__dict__.update(made.__dict__, config=config, equality_key=key)
        return fresh

    vars(remember)["__mro_entries__"] = functools.partial(_refuse_subclass, make)
    _CONSTRUCTORS.add(remember)
    return remember


def _check_made(name: str, made: object) -> None:
    if not isinstance(made, Described):
        fail(name, expected="a Layer or another part of a task as its result", got=in_words(made))


def _refuse_subclass(make: Callable[..., object], bases: tuple[object, ...]) -> NoReturn:
    """Refuse a class statement with a constructor among its bases, which calls this."""
    text = f"{make.__name__} is a function, not a class to inherit from."
    if make.__annotations__.get("return") == "Layer":
        text += " To define a layer, write fnn.Layer(init, apply); to combine layers, write fnn.Model(forward, ...)."
    raise TypeError(text)


_CONSTRUCTORS: set[Callable[..., object]] = set()
_Parameter = inspect.Parameter
_VARIABLE = _Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD


def keywords_of(make: Callable[..., object], signature: inspect.Signature) -> Collection[str] | None:
    """The names of keyword arguments, with those of the `TypedDict` that ``**options`` stand for; None for any name."""
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    names = {
        name for name, kind in kinds.items() if kind in (_Parameter.POSITIONAL_OR_KEYWORD, _Parameter.KEYWORD_ONLY)
    }
    for name, kind in kinds.items():
        if kind is _Parameter.VAR_KEYWORD:
            options = get_args(get_type_hints(make).get(name))[:1]
            return {*names, *options[0].__optional_keys__} if any(map(is_typeddict, options)) else None
    return names


def bound_to(
    function: str,
    signature: inspect.Signature,
    names: Collection[str] | None,
    advice: Mapping[str, str],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> inspect.BoundArguments:
    """The arguments of a call; the `TypeError` of one that does not fit says what to write.

    ``names`` are those of keyword arguments, None for any, and ``advice`` is for names of other libraries.
    """
    unknown = [name for name in kwargs if names is not None and name not in names]
    if unknown:
        name, known = unknown[0], sorted(set(names or ()) - kwargs.keys())
        raise TypeError(unexpected_argument(function, name, written(kwargs[name]), known, advice))
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        own = [p for p in signature.parameters.values() if p.name != "self"]
        required = [p.name for p in own if p.default is p.empty and p.kind not in _VARIABLE]
        usage = required or [p.name for p in own if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        more = INSTEAD.get(function, "") if str(error).startswith("too many") else ""
        raise TypeError(f"{function}(): {error}. Write {function}({', '.join(usage)}). {more}".rstrip()) from None


def is_constructor(make: object) -> bool:
    """Whether calling this makes a described object: a function decorated with `described`, or a class of them."""
    if isinstance(make, type):
        return issubclass(make, Described)
    return isinstance(make, types.FunctionType) and make in _CONSTRUCTORS


def flat_arguments(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Arguments by name; of those in ``**options``, the ones that are not neutral, in order of their names."""
    found = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given = found.pop(name, {})
            found |= {option: given[option] for option in sorted(given) if not is_neutral(given[option])}
    return found


def is_neutral(option: object) -> bool:
    """Whether an option does the same as leaving it out: None, and in an optimizer a rate of 0 and all paths."""
    return option is None or (type(option) in (int, float, str) and option in (0, "*"))


def unshared(value: T) -> T:
    """A copy of lists and dicts, nested ones too, which their owner may change later; anything else as it is."""
    copy: Any = value
    if type(copy) is dict:
        copy = {name: unshared(part) for name, part in copy.items()}
    elif type(copy) in (list, tuple):
        copy = type(copy)(map(unshared, copy))
    return cast(T, copy)


_NAMES_IN_ANY_CASE = "padding", "activation", "initializer", "regularizer", "constraint", "mode"


def one_spelling(name: str, value: Any) -> object:
    """One spelling of a dtype, such as "float32" for jnp.float32, and of a known name; other arguments as they are."""
    if name == "dtype" and value is not None:
        with contextlib.suppress(TypeError):
            return jnp.dtype(value).name
    if isinstance(value, str) and name.endswith(_NAMES_IN_ANY_CASE):
        return value.replace("_", "").lower()  # ReLU is relu, HeNormal is he_normal
    return value


def _arguments(args: Iterable[object], kwargs: Mapping[str, object]) -> list[str]:
    return [*map(written, args), *(f"{name}={written(value)}" for name, value in kwargs.items())]


def written(value: object) -> str:
    """A value as code: short, and without addresses."""
    if isinstance(value, functools.partial):
        return f"partial({', '.join(_arguments((value.func, *value.args), value.keywords))})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(written, value))})"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(written, value)) + ("," if isinstance(value, tuple) and len(value) == 1 else "")
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, jax.core.Tracer):
        return f"<traced {value.dtype}{list(value.shape)}>"
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        plain = value.ndim == 0 and not is_key(value)  # a key has no item
        return repr(value.item()) if plain else f"<{value.dtype}{list(value.shape)}>"
    if callable(value) and not isinstance(value, Described):
        return str(getattr(value, "__name__", type(value).__name__))
    return repr(value)


def unwrapped(fn: Callable[..., T]) -> tuple[Callable[..., T], dict[str, object]]:
    """The function inside any `functools.partial`, and its options, the outer ones first.

    Python joins a partial of a partial into one, unless the inner one has attributes, which caches may give it.
    """
    options: dict[str, object] = {}
    while isinstance(fn, functools.partial):
        options = {**fn.keywords, **options}
        fn = fn.func
    return fn, options


def in_words(value: object) -> str:
    """A value for a message: as `written`, but a function, a class or an object without a text by its kind."""
    name = getattr(value, "__name__", "")
    if callable(value) and name:
        return f"the {'class' if isinstance(value, type) else 'function'} {name}"
    return kind_of(value) if type(value).__repr__ is object.__repr__ else written(value)


class EqualityKey:
    """The value that an object is compared by; equal keys are one object.

    Attributes:
      hash: of its parts, computed once.
      traced: whether a part is a traced value, which no later program may use.
    """

    __slots__ = ("__weakref__", "hash", "parts", "traced")

    def __init__(self, parts: Hashable, traced: bool) -> None:
        self.parts, self.traced, self.hash = parts, traced, hash(parts)

    @staticmethod
    def of(*things: object) -> EqualityKey:
        """The one key of these things in this order."""
        reader = _Reader()
        parts = reader.part(things)
        known = _KEYS.get(parts)
        if known is None:
            known = _KEYS[parts] = EqualityKey(parts, reader.traced)
        return known


_KEYS: weakref.WeakValueDictionary[Hashable, EqualityKey] = weakref.WeakValueDictionary()


class _Itself:
    """Wraps a thing that equals only itself."""

    __slots__ = ("thing",)

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


# Functions that call one of these may read anything.
_UNKNOWN = {"globals", "locals", "vars", "eval", "exec", "__import__"}


class _Reader:
    """Turns things into hashable parts; equal parts mean things that do the same."""

    def __init__(self) -> None:
        self.traced = False
        self.inside: dict[int, int] = {}  # the functions being read: their order by id

    def part(self, thing: Any) -> Hashable:
        """The part that a thing is compared by."""
        kind = type(thing)
        if kind in (int, bool, str, bytes, type(None)) or isinstance(thing, (Mesh, AbstractMesh)):
            return kind, thing
        if isinstance(thing, (float, complex)):  # NumPy's double precision too
            plain = float if isinstance(thing, float) else complex
            return plain, repr(complex(thing))  # 0.0 and -0.0 differ, and NaN equals NaN
        if isinstance(thing, np.generic):
            return np.generic, thing.dtype.str, thing.tobytes()
        if isinstance(thing, Described):
            self.traced |= thing.equality_key.traced
            return thing.equality_key
        if kind is list or isinstance(thing, tuple):  # named tuples too, such as optax's optimizers
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
            # The fields of a user's own dataclass are only searched for traced values.
            for field in dataclasses.fields(thing):
                self.part(getattr(thing, field.name, None))
        return _Itself(thing)

    def _function(self, fn: types.FunctionType) -> Hashable:
        if _is_importable(fn):
            return _Itself(fn)
        if id(fn) in self.inside:  # it calls itself
            return "function", self.inside[id(fn)]
        self.inside[id(fn)] = len(self.inside)
        held = tuple(map(self._cell, fn.__closure__ or ()))
        given = self.part((fn.__defaults__, fn.__kwdefaults__, fn.__dict__))
        names = sorted(set(_globals_read(fn.__code__)))
        values = [fn.__globals__.get(name, getattr(builtins, name, None)) for name in names]
        read = tuple(map(self.part, values))
        # Another cell may change a global number or list.
        fixed = all(callable(value) or isinstance(value, (types.ModuleType, Described)) for value in values)
        if not fixed or _UNKNOWN.intersection(names):
            return _Itself(fn)
        return "function", _code(fn.__code__), held, given, read

    def _cell(self, cell: types.CellType) -> Hashable:
        try:
            held = cell.cell_contents
        except ValueError:  # not filled yet
            return "empty"
        part = self.part(held)
        # A list or dict may change between the comparison and the trace.
        return _Itself(held) if isinstance(held, (list, dict)) else part


def _is_importable(fn: types.FunctionType) -> bool:
    """Whether a function is found under its name in its module, so that there is only one of it."""
    if fn.__module__ == "__main__":
        return False
    found: object = sys.modules.get(fn.__module__)
    for name in fn.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is fn


def _code(code: types.CodeType) -> Hashable:
    """The parts of compiled code that depend on its text alone, not on its place."""
    constants = tuple(_code(c) if isinstance(c, types.CodeType) else (type(c), repr(c)) for c in code.co_consts)
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, code.co_exceptiontable, code.co_flags, constants, names


def _globals_read(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_read(constant)
