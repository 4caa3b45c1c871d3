"""Errors of the library: one message that says what happened and where, what was expected and what was received."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NoReturn


class InputError(ValueError):
    """Bad input, caught before compilation.

    The message says where it happened, what was expected, what was received, and what to do about it.
    """


def fail(where: str, *, expected: str, got: str, hint: str = "") -> NoReturn:
    """Raise `InputError` with the library's one message format."""
    raise InputError(f"{where}: expected {expected}, got {got}." + (f" {hint}" if hint else ""))


@contextlib.contextmanager
def located(where: str) -> Iterator[None]:
    """Prefix errors raised inside with a place, outermost first: a layer, a metric, a batch."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where} > {error}") from None
    except Exception as error:
        # User code may raise anything; its type and text stay, the place is added as a note.
        error.add_note(f"in {where}")
        raise


def describe(x: object) -> str:
    """Dtype and shape of an array in a short form: ``float32[32, 784]``; for anything else its type."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
    return type(x).__name__


def shape_text(shape: Iterable[int | str | None]) -> str:
    """A shape as Python writes it, with names allowed: ``(batch, 784)``."""
    items = list(map(str, shape))
    return f"({', '.join(items)}{',' * (len(items) == 1)})"
