"""Inputs that come in batches, for `predict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

import jax

from .._core.errors import InputError
from .._core.inputs import as_arrays, is_numbers
from .._core.trees import own_copy
from .._core.types import PyTree
from . import inputs


def is_batches(x: object) -> TypeGuard[Iterable[PyTree]]:
    """Whether an input is an iterable of batches; a list of arrays is several inputs, one of pairs is batches."""
    if isinstance(x, list):
        return bool(x) and all(isinstance(batch, (tuple, list)) and not is_numbers(batch) for batch in x)
    plain = isinstance(x, (str, bytes, set, frozenset, range, Mapping)) or hasattr(x, "__array__")
    return not plain and inputs.is_stream(x) and jax.tree_util.all_leaves([x])


_PAIR = "A batch (a, b) is read as inputs and targets; for two inputs write ((a, b),)."


def input_batches(stream: Iterable[PyTree]) -> Iterator[tuple[PyTree, str]]:
    """The inputs in batches ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, with advice for a model that refuses them.

    They are copied, since a loader may refill its buffers.
    """
    inputs.check_ends("predict", stream, "")
    number = -1
    for number, batch in enumerate(stream):
        several = isinstance(batch, (tuple, list)) and not is_numbers(batch)
        x = batch[0] if several else batch
        x = as_arrays(x, f"x, batch {number}", defer_checks=True)
        yield own_copy(x), _PAIR if several and len(batch) > 1 else ""
    if number < 0:
        inputs.refuse_empty("x")


def with_hint(error: InputError, x: PyTree) -> InputError:
    """The error of an input that does not fit the model, with what a list or tuple of arrays may stand for."""
    if isinstance(x, tuple) and len(x) in (2, 3):
        return type(error)(f"{error} If y is among them, leave it out: predict takes x alone.")
    if isinstance(x, list):
        return type(error)(f"{error} If these are batches, write iter(x): a list of arrays is several inputs.")
    return error
