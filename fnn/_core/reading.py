"""Errors of a user's function that reads its input in another form than was given: a missing key, too few parts."""

from __future__ import annotations

import ast
import contextlib
import linecache
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import CodeType, FrameType, TracebackType
from typing import Any

import jax

from .errors import InputError, describe, did_you_mean, fail, listed
from .types import PyTree

_JAX = jax.__file__.rpartition("__init__")[0]  # ends in a separator, so jaxlib is another
_UNPACKED = re.compile(r"(?:too many|not enough) values to unpack \(expected ((?:at least )?\d+)")


class MissingEntryError(InputError, KeyError):
    """A dict without the entry that is read; a function may catch the `KeyError`."""

    __str__ = ValueError.__str__  # that of a KeyError is a repr


class MissingPartError(InputError, IndexError):
    """A tuple without the part that is read."""


class NoDictError(InputError, TypeError):
    """An input that is not a dict, read like one."""


_KINDS = {KeyError: MissingEntryError, IndexError: MissingPartError, TypeError: NoDictError}


@contextlib.contextmanager
def reading(x: PyTree) -> Iterator[None]:
    """Say what an input has where a function inside looks for something else in it; other errors pass.

    Those are the errors of a subscript of a variable that holds ``x`` or a part of it, such as ``x["row"]``, and of an
    assignment such as ``a, b = x``. A refusal is of the type of the error too, so what catches that still does.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, InputError) or (traceback := last_place(error, _is_outside_jax)) is None:
            raise
        try:
            _explain(error, traceback, x)
        except InputError as refusal:  # with the lines of the function, which its place in the message comes from
            kind = next((kind for known, kind in _KINDS.items() if isinstance(error, known)), InputError)
            raise kind(str(refusal)).with_traceback(error.__traceback__) from None
        raise


def last_place(error: Exception, wanted: Callable[[CodeType], bool]) -> TracebackType | None:
    """The last place in ``wanted`` code that an error came through; None without one."""
    traceback, found = error.__traceback__, None
    while traceback is not None:
        if wanted(traceback.tb_frame.f_code):
            found = traceback
        traceback = traceback.tb_next
    return found


def lines_around(place: TracebackType) -> list[str]:
    """The lines of the file of a place; none if it cannot be read."""
    return linecache.getlines(place.tb_frame.f_code.co_filename, place.tb_frame.f_globals)


def _is_outside_jax(code: CodeType) -> bool:
    """Whether code is that of a function rather than of an operation of JAX that it called."""
    return not code.co_filename.startswith(_JAX)


def _explain(error: Exception, traceback: TracebackType, x: PyTree) -> None:
    """Refuse an input that has no such entry or another number of parts; returns if the error is another one."""
    source = "".join(lines_around(traceback))
    failed, read = _failed(traceback, source)
    given = _value(read, traceback.tb_frame)
    if not any(given is part for part in _containers(x)):
        return
    if not isinstance(failed, ast.Subscript):
        if unpacked := _UNPACKED.match(str(error)):
            fail("x", expected=f"a tuple of {unpacked[1]}", got=_form(given))
    elif isinstance(given, Mapping):
        if isinstance(error, KeyError):
            hint = did_you_mean(error.args[0], map(str, given))
            fail("x", expected=f"an entry {error.args[0]!r}", got=_form(given), hint=hint)
    elif isinstance(failed.slice, ast.Constant) and isinstance(failed.slice.value, str):
        fail("x", expected=f"a dict, for {ast.get_source_segment(source, failed)}", got=_form(given))
    elif isinstance(error, IndexError) and isinstance(given, (tuple, list)):
        text = ast.get_source_segment(source, failed)
        fail("x", expected=f"a tuple with a part for {text}", got=_form(given))


def _form(given: PyTree) -> str:
    if isinstance(given, Mapping):
        return f"a dict with {listed(given, 'and')}" if given else "an empty dict"
    return f"a tuple of {len(given)}" if isinstance(given, (tuple, list)) else describe(given)


def _failed(traceback: TracebackType, source: str) -> tuple[ast.expr | None, ast.expr | None]:
    """The subscript that failed and what it is of, or the targets of an assignment and its other side; else None."""
    code = traceback.tb_frame.f_code
    place = next(islice(code.co_positions(), traceback.tb_lasti // 2, None), None)
    with contextlib.suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, (ast.Subscript, ast.Assign)):
                continue
            for part in [node] if isinstance(node, ast.Subscript) else node.targets:
                is_read = part is node or isinstance(part, (ast.Tuple, ast.List))
                if is_read and (part.lineno, part.end_lineno, part.col_offset, part.end_col_offset) == place:
                    return part, node.value
    return None, None


def _value(node: ast.expr | None, frame: FrameType) -> PyTree:
    """The value of a variable, or of an entry of it as in ``x["pair"]``; None for any other expression."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        key: Any = node.slice.value
        whole = _value(node.value, frame)
        with contextlib.suppress(LookupError, TypeError):
            return whole[key] if isinstance(whole, (Mapping, tuple, list)) else None
    return None


def _containers(x: PyTree) -> Iterator[PyTree]:
    """An input and the dicts and tuples inside it."""
    yield x
    for part in x.values() if isinstance(x, Mapping) else x if isinstance(x, (tuple, list)) else ():
        if isinstance(part, (Mapping, tuple, list)):
            yield from _containers(part)
