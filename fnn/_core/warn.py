"""Warnings that name a line of the user's code."""

from __future__ import annotations

import contextlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

import jax

_LIBRARY = sysconfig.get_path("stdlib")
_PACKAGES = (__file__.rpartition("_core")[0], jax.__file__.rpartition("__init__")[0])


_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """The texts of the warnings given meanwhile in this thread, which are not shown.

    `warnings.catch_warnings` would change what all threads show.
    """
    texts: list[str] = []
    token = _collected.set(texts)
    try:
        yield texts
    finally:
        _collected.reset(token)


def warn(text: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn at the innermost line outside this library, JAX and the standard library."""
    if (texts := _collected.get()) is not None:
        texts.append(text)
        return
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_internal(frame.f_code.co_filename):
        frame = frame.f_back
    known = frame.f_globals.setdefault("__warningregistry__", {})
    place = frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "unknown")
    warnings.warn_explicit(text, category, *place, known)


def _is_internal(file: str) -> bool:
    return file.startswith(_PACKAGES) or (file.startswith(_LIBRARY) and "site-packages" not in file)
