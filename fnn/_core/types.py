"""Types that all rooms share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import jax
import jax.typing
import numpy as np

Array = jax.Array
AnyArray = Array | np.ndarray
"""An array on a device or on the host."""
Key = Array
"""A PRNG key."""
Shape = tuple[int, ...]
DType = jax.typing.DTypeLike
"""A dtype, its name or its scalar type."""
Scalar = float | Array
"""A number, possibly traced."""
ArraySpec = Array | jax.ShapeDtypeStruct
"""An array, or only its shape and dtype."""
KeyPath = tuple[Hashable, ...]
"""The keys of JAX from the root of a pytree to a part of it."""
PyTree = Any
"""Arrays or specifications of arrays, nested in dicts, tuples, lists or other nodes registered with JAX."""
Params = PyTree
"""A pytree of parameters; in the library's layers a dict by name, nested as the layers are."""
State = PyTree
"""A pytree of what a layer carries from call to call, such as running means."""
ArrayLike = object
"""Numbers of any kind: an array of NumPy, JAX or torch, a pandas or polars object, or nested lists."""
F = TypeVar("F", bound=Callable[..., object])


class Shaped(Protocol):
    """Anything with a shape and a dtype: an array, its specification, or the type of a traced value."""

    @property
    def shape(self) -> Shape:
        """Its size along each axis."""

    @property
    def dtype(self) -> np.dtype:
        """Its dtype."""
