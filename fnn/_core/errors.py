"""Errors of the library: one message that says what happened, where, what was expected, what came and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn


class InputError(ValueError):
    """Bad input, met before compilation.

    The message says where it happened, what was expected, what came, and what to do about it.
    """


def fail(where: str, *, expected: str, got: str, hint: str = "") -> NoReturn:
    """Raise `InputError` with the one message format of the library."""
    raise InputError(f"{where}: expected {expected}, got {got}." + (f" {hint}" if hint else ""))


@contextlib.contextmanager
def located(where: str) -> Iterator[None]:
    """Say which layer an error comes from, outermost first."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where} > {error}") from None
    except Exception as error:
        # A user-defined layer may raise anything; its type and text stay, the place is added as a note.
        error.add_note(f"in {where}")
        raise


def describe(x: Any) -> str:
    """Dtype and shape of an array in a short form: ``float32[32, 784]``."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
    return f"{type(x).__name__}"


def shape_text(shape: Iterable[int | str | None]) -> str:
    """A shape as Python writes it, with names allowed: ``(batch, 784)``."""
    items = list(shape)
    return "(" + ", ".join(map(str, items)) + (",)" if len(items) == 1 else ")")
