"""Errors of the library: one message that says what happened and where, what was expected and what was received."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

import jax

from .._names import close_matches

_TRACED = "JAX traces this function, so its arrays have no values yet."
_ADVICE = {
    jax.errors.TracerArrayConversionError: "NumPy cannot read them: write jnp in place of np.",
    jax.errors.TracerBoolConversionError: "In place of if, write jnp.where(condition, a, b) or jax.lax.cond; in place "
    "of while, jax.lax.while_loop; in place of and, or and not: &, | and ~.",
    jax.errors.TracerIntegerConversionError: "In place of for i in range(n), write jax.lax.fori_loop; in place of "
    "items[i], jnp.stack(items)[i]. Sizes that do not change are in x.shape.",
    jax.errors.NonConcreteBooleanIndexError: "In place of x[mask], write jnp.where(mask, x, 0).",
    jax.errors.ConcretizationTypeError: "In place of float(x), int(x) or x.item(), write x, or x.astype(...). Sizes "
    "that do not change are in x.shape.",
}
"""What to write in a traced function, by the error of JAX; the first kind that fits."""


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

    The place may be a function of the error, such as the line that it came through. An empty one adds nothing.
    """
    try:
        yield
    except Exception as error:
        place = where(error) if callable(where) else where
        if not place:
            raise
        if isinstance(error, InputError):
            is_named = str(error).startswith(f"{place}:")  # by a check that is used in other places too
            raise type(error)(str(error) if is_named else f"{place} > {error}") from None
        # User code may raise anything; its type and text stay, the place is added as a note.
        _note(error, place)
        raise


@contextlib.contextmanager
def noted(where: str, *, innermost: bool = False) -> Iterator[None]:
    """Note a place on errors of a user's function inside; an `InputError` names its own.

    With ``innermost``, an error that has a place already keeps that alone.
    """
    try:
        yield
    except Exception as error:
        has_place = any(note.startswith("in ") for note in getattr(error, "__notes__", ()))
        if not isinstance(error, InputError) and not (innermost and has_place):
            _note(error, where)
        raise


def _note(error: Exception, place: str) -> None:
    """Add a place to an error as a note, after advice on what a traced function can do instead, once."""
    advice = next((f"{_TRACED} {text}" for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    if advice and advice not in getattr(error, "__notes__", ()):
        error.add_note(advice)
    error.add_note(f"in {place}")


@contextlib.contextmanager
def hinted(hint: str | Callable[[Exception], str]) -> Iterator[None]:
    """Add advice to errors raised inside, which may follow from the error; empty text adds nothing."""
    try:
        yield
    except Exception as error:
        text = hint if isinstance(hint, str) else hint(error)
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


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 cell``, ``3 cells``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def did_you_mean(name: object, known: Iterable[str], *, surely: bool = False) -> str:
    """A question that suggests known names close to one; empty if there are none. See `close_matches`."""
    close = close_matches(str(name), known, surely=surely)
    return f"Did you mean {listed(close)}?" if close else ""


def listed(items: Iterable[object], word: str = "or") -> str:
    """Items in a sentence: ``'relu', 'elu' or 'gelu'``."""
    *first, last = map(repr, items)
    return f"{', '.join(first)} {word} {last}" if first else last


def shape_text(shape: Iterable[int | str | None]) -> str:
    """A shape as Python writes it, with names allowed: ``(batch, 784)``."""
    items = list(map(str, shape))
    return f"({', '.join(items)}{',' * (len(items) == 1)})"
