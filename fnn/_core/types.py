"""Types that all rooms share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
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
"""Arrays or specifications of arrays, nested in dicts, tuples, lists or other nodes registered with JAX.

Python has no type for that, as any class may be registered; JAX too leaves it open.
"""
Params = Mapping[str, PyTree]
"""The parameters of a layer of the library by name, nested as the layers are. Those of any layer are a `PyTree`."""
State = Mapping[str, PyTree]
"""What a layer of the library carries from call to call, such as running means, by name."""
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
