"""Checks of arguments that are True or False, since any text, such as "False", counts as true."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np

from .errors import describe, fail

P = ParamSpec("P")
T = TypeVar("T")


def check_flags(where: str, **flags: object) -> None:
    """Require True or False, of Python or NumPy, or 0 or 1."""
    for name, value in flags.items():
        known = isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1))
        if not known:
            got = describe(value) if hasattr(value, "shape") else repr(value)
            fail(where, expected=f"{name} to be True or False", got=got)


def flags_of(fn: Callable[..., object]) -> list[str]:
    """The arguments of a function that are annotated as bool."""
    return [name for name, one in inspect.signature(fn).parameters.items() if one.annotation in (bool, "bool")]


def flagged(fn: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments of a public function that are annotated as bool; `renamed` does so too."""
    names, flags = list(inspect.signature(fn).parameters), flags_of(fn)

    @functools.wraps(fn)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        check_flags(fn.__name__, **{name: given[name] for name in flags if name in given})
        return fn(*args, **kwargs)

    return checked
