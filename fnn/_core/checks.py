"""Checks of arguments that several rooms share."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Container, Mapping
from typing import Any, ParamSpec, Protocol, TypeGuard, TypeVar

import jax
import numpy as np

from .._names import synonym
from .described import bound_to, in_words, is_constructor, keywords_of, written
from .dtypes import is_float, is_key
from .errors import describe, did_you_mean, fail, kind_of
from .flags import check_flags, flags_of
from .types import Array, ArrayLike, PyTree, Shaped

P = ParamSpec("P")
T = TypeVar("T")


def is_concrete(x: object) -> bool:
    """Whether ``x`` holds a value, rather than standing for one inside a JAX transformation."""
    return not isinstance(x, (jax.core.Tracer, jax.ShapeDtypeStruct))


class Stateful(Protocol):
    """An object whose state can be saved and restored."""

    def state(self) -> Any:
        """The current state, in plain values."""

    def restore(self, state: Any) -> None:
        """Continue from such a state."""


def keeps_state(x: object) -> TypeGuard[Stateful]:
    """Whether an object is `Stateful`."""
    return all(callable(getattr(x, name, None)) for name in ("state", "restore"))


def real_numbers(where: str, name: str, value: ArrayLike) -> np.ndarray | None:
    """A concrete number, or an array of them, in float64; None if it is traced or held by another process."""
    if not all(is_concrete(v) and getattr(v, "is_fully_addressable", True) for v in jax.tree.leaves(value)):
        return None
    value = value.detach() if hasattr(value, "detach") else value  # a tensor of PyTorch
    array = None if callable(value) else np.asarray(value)
    if array is None or not (array.dtype.kind in "iuf" or is_float(array)):
        fail(where, expected=f"{name} to be a number", got=in_words(value))
    return array.astype(np.float64)


def check_range(
    where: str, name: str, value: ArrayLike, low: float = -np.inf, high: float = np.inf, *, open_low: bool = False
) -> None:
    """Require a finite number in ``[low, high]`` (``(low, high]`` if ``open_low``); traced numbers pass."""
    numbers = real_numbers(where, name, value)
    if numbers is not None:
        if numbers.ndim:
            fail(where, expected=f"{name} to be a number", got=in_words(value))
        check_inside(where, name, numbers, low, high, open_low=open_low)


def check_inside(where: str, name: str, numbers: np.ndarray, low: float, high: float, *, open_low: bool) -> None:
    """Require all numbers to be finite and in the range; the message names the first that is not."""
    inside = np.asarray(np.isfinite(numbers) & (numbers > low if open_low else numbers >= low) & (numbers <= high))
    if not inside.all():
        if (low, high) == (-np.inf, np.inf):
            expected = f"{name} to be finite"
        else:
            right = "inf)" if high == np.inf else f"{high:g}]"
            expected = f"{name} in {'(' if open_low or low == -np.inf else '['}{low:g}, {right}"
        fail(where, expected=expected, got=f"{numbers[~inside].flat[0]:g}")


def check_count(where: str, name: str, value: object, least: int = 1) -> None:
    """Require an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        fail(where, expected=f"{name} to be an integer of at least {least}", got=in_words(value))


def check_name(where: str, name: object) -> None:
    """Refuse a name that cannot stand in a path: text without "/" that does not begin with "_"."""
    if not isinstance(name, str) or not name or "/" in name or name.startswith("_"):
        fail(where, expected="a name without '/' that does not begin with '_'", got=repr(name))


def check_float(where: str, x: Shaped, hint: str = "") -> None:
    """Require a floating-point dtype."""
    if not is_float(x):
        hint = hint or (
            "Convert it first: fnn.data.scale_images(x) for images of bytes, else np.asarray(x, 'float32'). "
            "Ids go into fnn.Embedding."
        )
        fail(where, expected="a floating-point x", got=describe(x), hint=hint)


def check_same_dtype(where: str, x: Array, kernel: Array, name: str = "kernel") -> None:
    """Require ``x`` to have the dtype of the parameters, since nothing promotes silently."""
    check_float(where, x)
    if x.dtype != kernel.dtype:
        expected = f"x of dtype {kernel.dtype}, the dtype of its {name}"
        hint = f"Cast x with x.astype('{kernel.dtype}'), or make the parameters from an x of dtype {x.dtype}."
        fail(where, expected=expected, got=describe(x), hint=hint)


def leaf(where: str, params: PyTree, name: str) -> PyTree:
    """A parameter by name; the error lists the known names."""
    if not isinstance(params, Mapping) or name not in params:
        got = sorted(params) if isinstance(params, Mapping) else kind_of(params)
        fail(where, expected=f"parameters with a leaf {name!r}", got=str(got), hint="Are these another layer's?")
    return params[name]


def canonical(name: str, names: Container[str]) -> str:
    """The spelling of a name in a table: as it is, in lower case, or as mean_squared_error for MeanSquaredError."""
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    spellings = name, name.lower(), re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
    return next((spelling for spelling in spellings if spelling in names), name)


def lookup(kind: str, name: object, table: Mapping[str, T], *, or_else: str = " or a function") -> T:
    """Look up a name in a table, see `canonical`; the error suggests close matches."""
    if isinstance(name, str) and canonical(name, table) in table:
        return table[canonical(name, table)]
    options = sorted(table)
    hint = did_you_mean(name, options) or f"Known: {', '.join(options)}."
    if isinstance(name, str):
        same = {option.replace("_", ""): option for option in options}.get(name.lower().replace("_", ""))
        hint = f"Use {code}." if (code := repr(same) if same else synonym(kind, name)) else hint
    fail(kind, expected=f"the name of a known {kind}{or_else}", got=repr(name), hint=hint)


def resolve(kind: str, given: str | T, table: Mapping[str, T]) -> T:
    """A function as given, or the function of that name; a constructor that was not called is refused."""
    expected = f"the name of a known {kind} or a function"
    if makes_layers(given) or type(given).__name__ == "Layer":
        got = f"{in_words(given)}, {'which makes layers' if makes_layers(given) else 'a layer'}"
        fail(kind, expected=expected, got=got, hint=f"Pass a function, or a name such as {next(iter(table))!r}.")
    refuse_uncalled(kind, expected, given)
    return lookup(kind, given, table) if isinstance(given, str) or not callable(given) else given


def makes_layers(given: object) -> bool:
    """Whether this is a constructor of layers, such as `fnn.Dense`."""
    return getattr(given, "__annotations__", {}).get("return") == "Layer"


def refuse_uncalled(where: str, expected: str, given: object) -> None:
    """Refuse a function or class that makes what is wanted, such as ``fnn.penalties.l2`` for ``l2(1e-4)``."""
    if is_constructor(given):
        fail(where, expected=expected, got=in_words(given), hint=f"Call it: {written(given)}(...).")


def accepts(fn: Callable[..., object], count: int, *names: str) -> bool:
    """Whether a function accepts this number of arguments, and these by name."""
    try:
        inspect.signature(fn).bind(*range(count), **dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:  # compiled functions may hide their arguments
        pass
    return True


def check_accepts(where: str, form: str, fn: Callable[..., object], count: int, *names: str) -> None:
    """Refuse a function that cannot be called in this form, such as ``(predictions, targets)``."""
    if not accepts(fn, count, *names):
        got = f"{written(fn)}({', '.join(map(str, inspect.signature(fn).parameters.values()))})"
        fail(where, expected=f"a function {form}", got=got)


def check_key(where: str, key: object) -> None:
    """Require one PRNG key."""
    rank = 0 if is_key(key) else 1  # a raw key is two numbers or more
    if not (is_key(key) or getattr(key, "dtype", None) == np.uint32) or len(getattr(key, "shape", ())) != rank:
        hint = f"Pass jax.random.key({key})." if isinstance(key, int) else "Pass jax.random.key(seed)."
        fail(where, expected="one PRNG key", got=repr(key) if isinstance(key, int) else describe(key), hint=hint)


def renamed(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Say in the `TypeError` of a call what to write, ``renamed(lr="learning_rate={}")`` for names of other libraries.

    For advice that depends on the function; `fnn._names` has the rest. Arguments annotated as bool are checked.
    """
    advice = {name: f"Write {text}." for name, text in names.items()}

    def decorate(fn: Callable[P, T]) -> Callable[P, T]:
        signature, function = inspect.signature(fn), fn.__qualname__.removesuffix(".__init__")
        keywords, flags = keywords_of(fn, signature), flags_of(fn)
        bind = functools.partial(bound_to, function, signature, keywords, advice)

        @functools.wraps(fn)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = bind(args, kwargs)
            check_flags(function, **{flag: bound.arguments[flag] for flag in flags if flag in bound.arguments})
            return fn(*args, **kwargs)

        @functools.wraps(fn)
        def explained(*args: P.args, **kwargs: P.kwargs) -> T:
            # To bind the arguments takes longer than to predict a row: it waits until Python has refused them.
            try:
                return fn(*args, **kwargs)
            except TypeError:
                try:
                    bind(args, kwargs)
                except TypeError as error:
                    raise error from None
                raise

        open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        return checked if flags or open_ended else explained

    return decorate
