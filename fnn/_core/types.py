"""Types that all rooms share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax

Array = jax.Array
Params = Any
"""A pytree of parameters; in the library's layers a dict by name, nested as the layers are."""
State = Any
"""A pytree of what a layer carries from call to call, such as running means."""
DType = Any
"""A NumPy or JAX dtype, or its name."""
Shape = tuple[int, ...]
PyTree = Any
"""Arrays, or shapes that stand for them, nested in dicts, tuples, lists and other nodes that JAX knows."""
F = TypeVar("F", bound=Callable[..., Any])
