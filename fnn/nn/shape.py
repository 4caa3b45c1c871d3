"""Layers that only change the shape of their input."""

from __future__ import annotations

import math

from .._core.described import described
from .._core.errors import describe, fail, shape_text
from .._core.types import Array, Shape
from .layer import Layer, stateless


def flatten(x: Array) -> Array:
    """Merge all axes after the batch into one: (batch, features).

    Args:
      x: (batch, ...).
    """
    if x.ndim == 0:
        fail("flatten", expected="x with a batch axis", got=describe(x))
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


@described
def Flatten(*, name: str = "flatten") -> Layer:
    """Merge all axes after the batch: (batch, ...) to (batch, features)."""
    return stateless(flatten, name, "Flatten")


def reshape(x: Array, target_shape: Shape) -> Array:
    """Reshape each example: (batch, *target_shape).

    Args:
      x: (batch, ...).
      target_shape: one entry may be -1; the sizes must fit.
    """
    if x.ndim == 0:
        fail("reshape", expected="x with a batch axis", got=describe(x))
    size, known = math.prod(x.shape[1:]), math.prod(n for n in target_shape if n != -1)
    unknown = target_shape.count(-1)
    if unknown > 1 or (size != known if unknown == 0 else known == 0 or size % known):
        fail("reshape", expected=f"x with {shape_text(('batch', *target_shape))} elements", got=describe(x))
    return x.reshape(x.shape[0], *target_shape)


@described
def Reshape(target_shape: int | Shape, *, name: str = "reshape") -> Layer:
    """Reshape each example, (batch, ...) to (batch, *target_shape); one entry may be -1, and the sizes must fit."""
    target = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
    return stateless(lambda x: reshape(x, target), name, "Reshape")
