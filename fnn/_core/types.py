"""Types that all rooms share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.typing

Array = jax.Array
Key = Array
"""A PRNG key."""
Shape = tuple[int, ...]
DType = jax.typing.DTypeLike
"""A dtype, its name or its scalar type."""
Scalar = float | Array
"""A number, possibly traced."""
ArraySpec = Array | jax.ShapeDtypeStruct
"""An array, or only its shape and dtype."""
Params = Any
"""A pytree of parameters; in the library's layers a dict by name, nested as the layers are."""
State = Any
"""A pytree of what a layer carries from call to call, such as running means."""
PyTree = Any
"""Arrays, or what stands for them (shapes, dtypes), nested in dicts, tuples, lists or other nodes that JAX knows."""
ArrayLike = Any
"""Numbers of any kind: an array of NumPy, JAX or torch, a pandas or polars object, or nested lists."""
F = TypeVar("F", bound=Callable[..., Any])
