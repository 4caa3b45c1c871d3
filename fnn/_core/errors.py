"""Errors of the library: one message that says what happened and where, what was expected and what was received."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn


class InputError(ValueError):
    """Bad input, caught before compilation.

    The message says where it happened, what was expected, what was received, and what to do about it. Where a function
    reads an entry that its input lacks, the error is a `KeyError`, an `IndexError` or a `TypeError` as well.
    """


def fail(where: str, *, expected: str, got: str, hint: str = "") -> NoReturn:
    """Raise `InputError` with the library's one message format."""
    space = "" if not hint or hint.startswith("\n") else " "
    raise InputError(f"{where}: expected {expected}, got {got}.{space}{hint}")


@contextlib.contextmanager
def located(where: str | Callable[[Exception], str]) -> Iterator[None]:
    """Prefix errors raised inside with a place, outermost first: a layer, a metric, a batch.

    The place may be a function of the error, such as the line that it came through.
    """
    try:
        yield
    except Exception as error:
        place = where(error) if callable(where) else where
        if isinstance(error, InputError):
            raise type(error)(f"{place} > {error}") from None
        # User code may raise anything; its type and text stay, the place is added as a note.
        error.add_note(f"in {place}")
        raise


@contextlib.contextmanager
def hinted(hint: Callable[[Exception], str]) -> Iterator[None]:
    """Add advice to errors raised inside, which follows from the error; empty text adds nothing."""
    try:
        yield
    except Exception as error:
        text = hint(error)
        if text and isinstance(error, InputError):
            raise type(error)(f"{error} {text}") from None
        if text:
            error.add_note(text)
        raise


def describe(x: object) -> str:
    """Dtype and shape of an array in a short form: ``float32[32, 784]``; for anything else its type: ``a list``."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}[{', '.join(map(str, x.shape))}]"
    return kind_of(x)


def kind_of(x: object) -> str:
    """The type of an object with its article: ``a list``, ``an Ensemble``; any function is ``a function``."""
    if x is None:
        return "None"
    is_function = callable(x) and hasattr(x, "__name__") and not isinstance(x, type)
    return with_article("function" if is_function else type(x).__name__)


def with_article(name: str) -> str:
    """The name of a type with its article."""
    vowel = name[0] in "AEIOaeio" or name.startswith(("LSTM", "ndarray"))
    return f"{'an' if vowel else 'a'} {name}"


def listed(items: Iterable[object], word: str = "or") -> str:
    """Items in a sentence: ``'relu', 'elu' or 'gelu'``."""
    *first, last = map(repr, items)
    return f"{', '.join(first)} {word} {last}" if first else last


def shape_text(shape: Iterable[int | str | None]) -> str:
    """A shape as Python writes it, with names allowed: ``(batch, 784)``."""
    items = list(map(str, shape))
    return f"({', '.join(items)}{',' * (len(items) == 1)})"
