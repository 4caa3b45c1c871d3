"""The names that a description may hold: the library's parts by their public names, and some functions of JAX."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from .._core.described import is_constructor
from ..training.task import Task

ROOT = __name__.partition(".")[0]
# Pure rooms: nothing in them opens a file. A file may name what they define, and nothing else of the library.
_ROOMS = ("nn", "losses", "optimizers", "metrics", "penalties")
NAMESPACES: dict[str, Mapping[str, object]] = {}
"""The names in each public module, by its name; the package, whose name here is "", fills it when it is loaded."""
# A function among the constructors: the one that metrics print as.
_GET_METRIC = "metrics.get_metric"
_OUTSIDE = {
    "jax.nn": (
        "celu elu gelu glu hard_sigmoid hard_silu hard_swish hard_tanh identity leaky_relu log_sigmoid log_softmax "
        "mish relu relu6 selu sigmoid silu soft_sign softmax softplus sparse_plus sparse_sigmoid squareplus "
        "standardize swish tanh"
    ),
    "jax.numpy": (
        "abs arcsinh arctan cos cosh exp expm1 full_like log log1p max maximum mean min minimum negative ones_like "
        "reciprocal sign sin sinc sinh sqrt square sum tan tanh zeros_like bfloat16 float16 float32 float64 "
        "float8_e4m3fn float8_e5m2 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool_ complex64 complex128"
    ),
    "numpy": "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool_ complex64 complex128",
    "builtins": "bool complex float int",
}
_MODULES = {"jax.nn": jax.nn, "jax.numpy": jnp, "numpy": np, "builtins": builtins}


@functools.cache
def parts() -> Mapping[str, Callable[..., object]]:
    """Everything that a description may name, by name."""
    found: dict[str, Callable[..., object]] = {"Task": Task}
    for namespace, members in NAMESPACES.items():
        for name, value in members.items():
            home = str(getattr(value, "__module__", "")).split(".")
            if callable(value) and not name.startswith("_") and home[0] == ROOT and home[1:2] and home[1] in _ROOMS:
                found[f"{namespace}.{name}".lstrip(".")] = value
    for namespace, names in _OUTSIDE.items():
        module = _MODULES[namespace]
        found |= {f"{namespace}.{name}": getattr(module, name) for name in names.split() if hasattr(module, name)}
    return found


@functools.cache
def _names() -> Mapping[int, str]:
    return {id(value): name for name, value in reversed(list(parts().items()))}  # the shortest name of each


def name_of(value: object) -> str | None:
    """The name of a part; None for anything else."""
    found = _names().get(id(value))
    if found is None and is_constructor(value) and getattr(value, "__name__", "") == "get_metric":
        return _GET_METRIC
    return found


def is_callable_part(name: object) -> bool:
    """Whether a description may call the part of this name: a constructor, or a class of the library."""
    value = parts().get(name) if isinstance(name, str) else None
    is_class = isinstance(value, type) and value.__module__.startswith(f"{ROOT}.")
    return name == _GET_METRIC or is_class or is_constructor(value)
