"""Errors of a user's function that reads its input in another form than was given: a missing key, too few parts."""

from __future__ import annotations

import contextlib
import difflib
import linecache
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from types import FrameType, TracebackType
from typing import Any

import jax

from .errors import InputError, describe, fail, listed
from .types import PyTree

_JAX = jax.__path__[0]
_UNPACKED = re.compile(r"(?:too many|not enough) values to unpack \(expected (?:at least )?(\d+)")


@contextlib.contextmanager
def reading(x: PyTree) -> Iterator[None]:
    """Say what an input has where a function inside looks for something else in it; other errors pass.

    An error is taken for such a one if the expression that failed begins with a variable that holds ``x`` or a part of
    it, such as ``x["row"]`` or ``a, b = x``.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if not isinstance(error, InputError) and (traceback := _last_outside_jax(error.__traceback__)) is not None:
            try:
                _refuse(error, traceback, x)
            except InputError as refusal:  # with the lines of the function, which its place in the message comes from
                raise refusal.with_traceback(error.__traceback__) from None
        raise


def _last_outside_jax(traceback: TracebackType | None) -> TracebackType | None:
    """The place in the function that raised an error, or called the operation of JAX that did."""
    found = None
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_JAX):
            found = traceback
        traceback = traceback.tb_next
    return found


def _refuse(error: Exception, traceback: TracebackType, x: PyTree) -> None:
    """Refuse an input that has no such entry or another number of parts; returns if the error is another one."""
    unpacked = _UNPACKED.match(str(error))
    failed = "" if unpacked else _expression(traceback)
    given = _held(traceback.tb_frame, failed, x)
    if given is None:
        return
    if isinstance(error, KeyError) and isinstance(given, Mapping):
        close = difflib.get_close_matches(str(error.args[0]), list(map(str, given)), n=1)
        hint = f"Is {close[0]!r} meant?" if close else ""
        fail("x", expected=f"an entry {error.args[0]!r}", got=_form(given), hint=hint)
    if unpacked:
        fail("x", expected=f"a tuple of {unpacked[1]}", got=_form(given))
    if isinstance(error, IndexError) and isinstance(given, (tuple, list)):
        fail("x", expected=f"a tuple with a part for {failed}" if failed else "a longer tuple", got=_form(given))
    if (
        isinstance(error, TypeError)
        and not isinstance(given, Mapping)
        and re.search("indices|string index", str(error))
    ):
        fail("x", expected=f"a dict, for {failed}" if failed else "a dict", got=_form(given))


def _form(given: PyTree) -> str:
    if isinstance(given, Mapping):
        return f"a dict with {listed(given, 'and')}" if given else "an empty dict"
    return f"a tuple of {len(given)}" if isinstance(given, (tuple, list)) else describe(given)


def _expression(traceback: TracebackType) -> str:
    """The text of the expression that failed; empty where Python does not know it."""
    code, offset = traceback.tb_frame.f_code, traceback.tb_lasti // 2
    line, last, start, end = next(islice(code.co_positions(), offset, None), (None,) * 4)
    if line is None or line != last or start is None:
        return ""
    return linecache.getline(code.co_filename, line).encode()[start:end].decode()


def _held(frame: FrameType, expression: str, x: PyTree) -> PyTree:
    """The part of an input that an expression begins with, or the first one in a variable of the function."""
    name = re.match(r"\w*", expression)
    names = [name[0]] if name and name[0] else list(frame.f_locals)
    inside = list(_containers(x))
    values: Iterator[Any] = (frame.f_locals.get(name) for name in names)
    return next((value for value in values if any(value is part for part in inside)), None)


def _containers(x: PyTree) -> Iterator[PyTree]:
    """An input and the dicts and tuples inside it."""
    yield x
    for part in x.values() if isinstance(x, Mapping) else x if isinstance(x, (tuple, list)) else ():
        if isinstance(part, (Mapping, tuple, list)):
            yield from _containers(part)
