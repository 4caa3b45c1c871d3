"""Clear errors: one exception type, one message format, and the small checks every room shares."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import jax
import numpy as np

from .dtypes import is_float
from .errors import describe, fail


def is_concrete(x: Any) -> bool:
    """Whether ``x`` holds a value now, rather than standing for one inside a JAX transformation."""
    return not isinstance(x, (jax.core.Tracer, jax.ShapeDtypeStruct))


class Stateful(Protocol):
    """What can tell where it stands and go on from there."""

    def state(self) -> Any:
        """Where it stands."""

    def restore(self, state: Any) -> None:
        """Go on from there."""


def keeps_state(x: Any) -> TypeGuard[Stateful]:
    """Whether an object can tell where it stands, ``state()``, and go on from there, ``restore(state)``."""
    return all(callable(getattr(x, name, None)) for name in ("state", "restore"))


def real_numbers(where: str, name: str, value: Any) -> np.ndarray | None:
    """A concrete number, or an array of them, in float64; None for what JAX traces or other processes hold."""
    if not all(is_concrete(v) and getattr(v, "is_fully_addressable", True) for v in jax.tree.leaves(value)):
        return None
    value = value.detach() if hasattr(value, "detach") else value  # a tensor of PyTorch
    array = None if callable(value) else np.asarray(value)
    if array is None or not (array.dtype.kind in "iuf" or is_float(array)):
        fail(where, expected=f"{name} to be a number", got=repr(value))
    return array.astype(np.float64)


def check_range(
    where: str, name: str, value: Any, low: float = -np.inf, high: float = np.inf, *, open_low: bool = False
) -> None:
    """Refuse what is no finite number in ``[low, high]`` (``(low, high]`` if ``open_low``); traced numbers pass."""
    numbers = real_numbers(where, name, value)
    if numbers is None:
        return
    if numbers.ndim:
        fail(where, expected=f"{name} to be a number", got=repr(value))
    check_inside(where, name, numbers, low, high, open_low=open_low)


def check_inside(where: str, name: str, numbers: np.ndarray, low: float, high: float, *, open_low: bool) -> None:
    """Refuse an array with a number that is not finite or not in the range; the first one is named."""
    inside = np.asarray(np.isfinite(numbers) & (numbers > low if open_low else numbers >= low) & (numbers <= high))
    if not inside.all():
        if (low, high) == (-np.inf, np.inf):
            expected = f"{name} to be finite"
        else:
            right = "inf)" if high == np.inf else f"{high:g}]"
            expected = f"{name} in {'(' if open_low or low == -np.inf else '['}{low:g}, {right}"
        fail(where, expected=expected, got=f"{numbers[~inside].flat[0]:g}")


def check_count(where: str, name: str, value: Any, least: int = 1) -> None:
    """Refuse anything but an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        fail(where, expected=f"{name} to be an integer of at least {least}", got=repr(value))


def check_float(where: str, x: Any, hint: str = "") -> None:
    """Refuse arrays that are not of a floating-point dtype."""
    if not is_float(x):
        hint = hint or (
            "Convert it first: fnn.data.scale_images(x) for images of bytes, else np.asarray(x, 'float32'). "
            "Ids go into fnn.Embedding."
        )
        fail(where, expected="a floating-point x", got=describe(x), hint=hint)


def check_same_dtype(where: str, x: Any, kernel: Any, name: str = "kernel") -> None:
    """Refuse to mix dtypes, since nothing promotes silently here."""
    check_float(where, x)
    if x.dtype != kernel.dtype:
        fail(
            where,
            expected=f"x of dtype {kernel.dtype}, the dtype of its {name}",
            got=describe(x),
            hint=f"Cast x with x.astype('{kernel.dtype}'), or make the parameters from an x of dtype {x.dtype}.",
        )


def leaf(where: str, params: Any, name: str) -> Any:
    """Fetch a parameter by name, or say which ones there are."""
    if not isinstance(params, Mapping) or name not in params:
        came = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        fail(where, expected=f"parameters with a leaf {name!r}", got=str(came), hint="Are these another layer's?")
    return params[name]


def lookup(kind: str, name: Any, table: Mapping[str, Any], *, or_else: str = " or a function") -> Any:
    """Look a name up in a table; an unknown one is refused together with the close matches."""
    if isinstance(name, str) and (name in table or name.lower() in table):
        return table[name if name in table else name.lower()]
    options = sorted(table)
    close = difflib.get_close_matches(str(name).lower(), options, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known: {', '.join(options)}."
    fail(kind, expected=f"the name of a known {kind}{or_else}", got=repr(name), hint=hint)


def resolve(kind: str, name: Any, table: Mapping[str, Any]) -> Any:
    """A function is taken as it is, a name is looked up."""
    return name if callable(name) else lookup(kind, name, table)


def check_key(where: str, key: Any) -> None:
    """Refuse anything that is not a PRNG key."""
    shape, dtype = getattr(key, "shape", None), getattr(key, "dtype", None)
    typed = dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    raw = dtype is not None and dtype == np.uint32 and shape is not None and len(shape) == 1
    if not (typed or raw):
        hint = f"Pass jax.random.key({key})." if isinstance(key, int) else "Pass jax.random.key(seed)."
        fail(where, expected="one PRNG key", got=repr(key) if isinstance(key, int) else describe(key), hint=hint)
