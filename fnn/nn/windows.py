"""The windows of convolution and pooling: sizes, strides and padding along each spatial axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core.checks import check_count
from .._core.errors import describe, fail
from .._core.types import ArraySpec, Shape

Size = int | Sequence[int]
"""One integer for every spatial axis, or one for each."""
Pairs = tuple[tuple[int, int], ...]
"""One (low, high) pair for each spatial axis."""
Sides = int | Sequence[int] | Sequence[tuple[int, int]]
"""One integer for both sides of every spatial axis, or one integer or (low, high) pair for each axis."""
Padding = str | Sides
"""A name, or explicit."""


def spatial_rank(where: str, x: ArraySpec, hint: str = "") -> int:
    """The number of spatial axes of ``x`` (batch, *spatial, channels); refuses other than 1 to 3."""
    if not 3 <= len(x.shape) <= 5:
        expected = "x of shape (batch, *spatial, channels) with 1 to 3 spatial axes"
        fail(where, expected=expected, got=describe(x), hint=hint)
    return len(x.shape) - 2


def per_axis(where: str, name: str, value: Size, rank: int, least: int = 1) -> Shape:
    """Expand one integer, or one for each spatial axis, to a tuple of ``rank`` integers."""
    check_sizes(where, least, **{name: value})
    if isinstance(value, (int, np.integer)):
        return (int(value),) * rank
    if len(value) != rank:
        fail(where, expected=f"{name} to be an integer or {rank} of them, one for each spatial axis", got=repr(value))
    return tuple(map(int, value))


def check_sizes(where: str, least: int = 1, **sizes: Size) -> None:
    """Refuse anything but an integer of at least ``least``, or one to three of them."""
    for name, value in sizes.items():
        if not isinstance(value, Sequence) or isinstance(value, str):
            check_count(where, name, value, least)
        elif not 1 <= len(value) <= 3:
            fail(where, expected=f"{name} to be an integer or a sequence of 1, 2 or 3 of them", got=repr(value))
        else:
            for item in value:
                check_count(where, f"each of {name}", item, least)


def window_of(where: str, kernel_size: Sequence[int]) -> Shape:
    """A kernel size as integers, with an entry for each spatial axis."""
    check_sizes(where, kernel_size=kernel_size)
    if not isinstance(kernel_size, Sequence):
        fail(where, expected="kernel_size with one entry for each spatial axis", got=repr(kernel_size))
    return tuple(map(int, kernel_size))


def check_padding(where: str, padding: Padding, known: Sequence[str] = ("valid", "same")) -> Padding:
    """Refuse padding that is invalid for every input; a name is returned in lower case."""
    if isinstance(padding, str):
        if padding.lower() not in known:
            names = ", ".join(map(repr, known))
            explicit = "an integer, or one integer or pair (low, high) for each axis"
            fail(where, expected=f"padding to be {names}, {explicit}", got=repr(padding))
        return padding.lower()
    check_sides(where, "padding", padding)
    return padding


def check_sides(where: str, name: str, value: Sides) -> None:
    """Refuse anything but an integer of at least 0, or one to three of them or of (low, high) pairs."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        check_count(where, name, value, 0)
    elif not 1 <= len(value) <= 3:
        fail(where, expected=f"{name} for 1, 2 or 3 spatial axes", got=repr(value), hint="Pairs are [(low, high)].")
    else:
        for item in value:
            pair = item if isinstance(item, Sequence) and not isinstance(item, str) else (item, item)
            if len(pair) != 2:
                fail(where, expected=f"{name} of one axis to be an integer or (low, high)", got=repr(item))
            for n in pair:
                check_count(where, name, n, 0)


def sides_of(where: str, name: str, value: Sides, rank: int) -> Pairs:
    """Expand what `check_sides` accepts to a (low, high) pair for each of ``rank`` spatial axes."""
    items: list[Any] = list(value) if isinstance(value, Sequence) else [value] * rank
    if len(items) != rank:
        hint = "Pairs are [(low, high)], one for each axis."
        fail(where, expected=f"{name} for {rank} spatial axes", got=repr(value), hint=hint)
    return tuple((int(low), int(high)) for low, high in (p if isinstance(p, Sequence) else (p, p) for p in items))


def pads(where: str, padding: Padding, size: Shape, window: Shape, strides: Shape, dilation: Shape) -> Pairs:
    """Resolve padding to (low, high) pairs; "same" puts the larger half at the end, as Keras does."""
    reach = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "valid":
        pairs = [(0, 0)] * len(size)
    elif padding == "causal":
        pairs = [(r - 1, 0) for r in reach]
    elif padding == "same":
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(size, strides, reach, strict=True)]
        pairs = [(t // 2, t - t // 2) for t in total]
    else:
        assert not isinstance(padding, str)  # check_padding knows the names
        pairs = list(sides_of(where, "padding", padding, len(size)))
    for axis, (n, r, (low, high)) in enumerate(zip(size, reach, pairs, strict=True)):
        if low + n + high < r:
            expected = f"at least {r} elements on spatial axis {axis}, the extent of the window"
            got = f"{n} with padding {low} and {high}" if low + high else f"{n}"
            fail(where, expected=expected, got=got, hint='Use a smaller window, or padding="same".')
    return tuple(pairs)
