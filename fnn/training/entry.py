"""Decorators of compiled functions, for data in any supported form and traced tasks, and of their public callers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import jax
import numpy as np

from .._core.trees import own_copy, to_jax
from .._core.typed import Jitted
from .._core.types import F, PyTree
from .batch import Batch, as_batch
from .state import TrainState
from .task import Task
from .values import check_known_targets, warn_of_former_hyper

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_KEPT = ("lower", "trace", "eval_shape", "clear_cache", "_cache_size")  # attributes that a wrapper keeps


def compiled(jitted: F) -> F:
    """A function jitted with a `Task` as its static first argument, which runs uncompiled if that task is traced.

    An example is a trial whose `Task` has an optimizer with a traced learning rate. Its compiled program could never be
    reused, and JAX's cache would keep the traced values, which `jax.checking_leaks` reports.
    """

    @functools.wraps(jitted, assigned=(*functools.WRAPPER_ASSIGNMENTS, *_KEPT))
    def call(task: object, *args: PyTree, **kwargs: PyTree) -> PyTree:
        if getattr(task, "traced", False):
            args, kwargs = jax.tree.map(lambda a: to_jax(a) if isinstance(a, np.ndarray) else a, (args, kwargs))
            return inspect.unwrap(jitted)(task, *args, **kwargs)
        return jitted(task, *args, **kwargs)

    return cast(F, call)


def calls(compiled_function: Jitted[..., object]) -> Callable[[Callable[P, R]], Jitted[P, R]]:
    """Give a public function ``lower``, ``trace`` and so on of the compiled one that it calls."""

    def wrap(fn: Callable[P, R]) -> Jitted[P, R]:
        for method in _KEPT:
            setattr(fn, method, getattr(compiled_function, method))
        return cast(Jitted[P, R], fn)

    return wrap


def parsing(name: str, *, wait: bool = True) -> Callable[[Callable[..., R]], Jitted[..., R]]:
    """Let a compiled function of (task, ts, ``name``, ...) take data in any supported form, see `as_batch`.

    The caller may change NumPy arrays as soon as the call returns, see `own_copy`.

    Values that are known are checked, see `check_known_targets`; without ``wait`` those that the device has computed.
    """

    def parse(data: object) -> Batch:
        return own_copy(as_batch(data, name))

    def wrap(jitted: Callable[..., R]) -> Jitted[..., R]:
        @functools.wraps(jitted)
        def call(*args: PyTree, **kwargs: PyTree) -> R:
            args, kwargs = _parsed(name, parse, args, kwargs)
            given = dict(zip(("task", "ts", name), args, strict=False)) | kwargs
            task, ts, batch = given.get("task"), given.get("ts"), given.get(name)
            if isinstance(task, Task) and isinstance(ts, TrainState) and isinstance(batch, Batch):
                warn_of_former_hyper(jitted.__name__.removeprefix("_"), task, ts, wait=wait)
                check_known_targets(task, batch, name, wait=wait)
            return jitted(*args, **kwargs)

        def of_shapes(method: Callable[..., T]) -> Callable[..., T]:  # `lower` and others, which take shapes too
            def call(*args: PyTree, **kwargs: PyTree) -> T:
                args, kwargs = _parsed(name, Batch.of, args, kwargs)
                return method(*args, **kwargs)

            return call

        for method in _KEPT:
            if hasattr(jitted, method):
                setattr(call, method, of_shapes(getattr(jitted, method)))
        return cast("Jitted[..., R]", call)

    return wrap


def _parsed(
    name: str, parse: Callable[[object], Batch], args: tuple[PyTree, ...], kwargs: dict[str, PyTree]
) -> tuple[tuple[PyTree, ...], dict[str, PyTree]]:
    """The arguments of a call of (task, ts, ``name``, ...), with the data parsed."""
    # A NumPy integer as a static argument would compile the program again.
    kwargs = {key: int(value) if isinstance(value, np.integer) else value for key, value in kwargs.items()}
    if name in kwargs:
        kwargs[name] = parse(kwargs[name])
    return (*args[:2], *map(parse, args[2:3]), *args[3:]), kwargs
