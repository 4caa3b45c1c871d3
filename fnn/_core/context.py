"""Context variables: values set for a `with` block, per thread."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def setting(variable: contextvars.ContextVar[T], value: T) -> Iterator[None]:
    """Inside the block, the variable has this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
