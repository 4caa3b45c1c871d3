"""Applying a layer inside another one, seen by observers."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .._core.errors import describe, fail, located
from .._core.types import Params, State
from .layer import Layer


class Trace(NamedTuple):
    """What an observer sees of one layer call."""

    path: tuple[str, ...]
    layer: Layer
    params: Params
    state: State
    x: Any
    y: Any


_observer: contextvars.ContextVar[Callable[[Trace], Any] | None] = contextvars.ContextVar("observer", default=None)
_path: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("path", default=())


@contextlib.contextmanager
def observe(observer: Callable[[Trace], Any]) -> Iterator[None]:
    """Call ``observer`` with every layer that sits in another one and is applied inside the ``with`` block.

    Layers come when they are done, so those inside another come before it. What the observer returns stands in the
    place of the layer's output, unless it is None. This is how `fnn.summary` sees inside a model without a second set
    of shape rules, and how the gradient at each layer's output is found. The values seen belong to the trace in which
    the layer is applied, which may be an inner one where a layer of your own holds others in a loop.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Let observers see the layers within as inside the layer of this name."""
    token = _path.set((*_path.get(), name))
    try:
        yield
    finally:
        _path.reset(token)


def call(name: str, where: str, layer: Layer, params: Params, state: State, x: Any, **kwargs: Any) -> tuple[Any, State]:
    """Apply a layer that sits inside another one, with its place known to errors and observers."""
    with inside(name):
        with located(where):
            out = layer.apply(params, state, x, **kwargs)
            if not (isinstance(out, tuple) and len(out) == 2):
                fail("apply", expected="the pair (y, state)", got=describe(out), hint="Return (y, state).")
        if (observer := _observer.get()) is not None:
            instead = observer(Trace(_path.get(), layer, params, state, x, out[0]))
            if instead is not None:
                return instead, out[1]
        return out
