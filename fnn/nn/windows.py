"""The windows of convolution and pooling: sizes, strides and padding along each spatial axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core.checks import check_count
from .._core.errors import fail

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]


def per_axis(where: str, name: str, value: Any, rank: int, least: int = 1) -> Ints:
    """One integer for all spatial axes, or one for each, as a tuple of ``rank`` integers."""
    check_counts(where, name, value, least)
    if isinstance(value, (int, np.integer)):
        return (int(value),) * rank
    if len(value) != rank:
        fail(where, expected=f"{name} to be an integer or {rank} of them, one for each spatial axis", got=repr(value))
    return tuple(map(int, value))


def check_counts(where: str, name: str, value: Any, least: int = 1) -> None:
    """Refuse anything but an integer of at least ``least``, or one to three of them."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return check_count(where, name, value, least)
    if not 1 <= len(value) <= 3:
        fail(where, expected=f"{name} to be an integer or a sequence of 1, 2 or 3 of them", got=repr(value))
    for item in value:
        check_count(where, f"each of {name}", item, least)
    return None


def check_padding(where: str, padding: Any, known: Sequence[str] = ("valid", "same")) -> None:
    """Refuse what cannot be a padding for any input."""
    if isinstance(padding, str):
        if padding not in known:
            fail(where, expected=f"padding to be one of {', '.join(known)}, or explicit", got=repr(padding))
    elif not isinstance(padding, Sequence):
        check_count(where, "padding", padding, 0)
    elif not 1 <= len(padding) <= 3:
        fail(where, expected="padding for 1, 2 or 3 spatial axes", got=repr(padding), hint="Pairs are [(low, high)].")
    else:
        for item in padding:
            pair = item if isinstance(item, Sequence) and not isinstance(item, str) else (item, item)
            if len(pair) != 2:
                fail(where, expected="padding of one axis to be an integer or (low, high)", got=repr(item))
            for value in pair:
                check_count(where, "padding", value, 0)


def pads(where: str, padding: Padding, size: Ints, window: Ints, strides: Ints, dilation: Ints) -> Pairs:
    """Padding as one (low, high) pair for each spatial axis; "same" puts the odd element behind, as Keras does."""
    reach = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "valid":
        pairs = [(0, 0)] * len(size)
    elif padding == "causal":
        pairs = [(r - 1, 0) for r in reach]
    elif padding == "same":
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(size, strides, reach, strict=True)]
        pairs = [(t // 2, t - t // 2) for t in total]
    else:
        items: list[Any] = list(padding) if isinstance(padding, Sequence) else [padding] * len(size)
        if len(items) != len(size):
            hint = "Pairs are [(low, high)], one for each axis."
            fail(where, expected=f"padding for {len(size)} spatial axes", got=repr(padding), hint=hint)
        pairs = [(int(low), int(high)) for low, high in (p if isinstance(p, Sequence) else (p, p) for p in items)]
    for axis, (n, r, (low, high)) in enumerate(zip(size, reach, pairs, strict=True)):
        if low + n + high < r:
            fail(
                where,
                expected=f"at least {r} elements on spatial axis {axis}, the reach of its window",
                got=f"{n}" + (f" with padding {low} and {high}" if low + high else ""),
                hint='Use a smaller window, or padding="same".',
            )
    return tuple(pairs)
