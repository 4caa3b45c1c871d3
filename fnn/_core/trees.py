"""Paths of leaves in a pytree, and choosing leaves by path."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from .errors import describe, fail
from .types import F

Where = str | tuple[str, ...] | Callable[[str], bool]
"""Which parameters: a glob pattern such as ``"*/kernel"``, several of them, or a function of the path.

A pattern that matches a layer chooses everything below it: ``"dense_1"`` means ``"dense_1/*"`` too.
"""


def path_text(path: tuple[Any, ...]) -> str:
    """A JAX key path as text: ``dense_1/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


@jax.jit
def copied(tree: Any) -> Any:
    """The same values in new buffers, made by one small program rather than one for each array."""
    return jax.tree.map(jnp.copy, tree)


def compiled(jitted: F) -> F:
    """A function compiled for a `Task`, its first argument, which runs as it is if the task is traced.

    Such a program could never be used again, and JAX's cache would keep the traced values, which `jax.checking_leaks`
    reports. A trial that makes a `Task` of an optimizer with a traced learning rate is an example.
    """

    @functools.wraps(jitted)
    def call(task: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(task, "traced", False):
            args, kwargs = jax.tree.map(lambda a: jnp.asarray(a) if isinstance(a, np.ndarray) else a, (args, kwargs))
            return jitted.__wrapped__(task, *args, **kwargs)  # type: ignore[attr-defined]
        return jitted(task, *args, **kwargs)

    for name in COMPILED:
        if hasattr(jitted, name):
            setattr(call, name, getattr(jitted, name))
    return cast(F, call)


COMPILED = ("lower", "trace", "eval_shape", "clear_cache", "_cache_size")
"""What a compiled function offers beside its call."""


def paths(tree: Any) -> dict[str, Any]:
    """All leaves of a pytree by path.

    >>> paths({"dense": {"kernel": 1, "bias": 2}})
    {'dense/bias': 2, 'dense/kernel': 1}
    """
    return {path_text(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def from_paths(where: str, like: Any, leaves: Mapping[str, Any]) -> Any:
    """A tree of the structure, shapes and dtypes of ``like`` from its leaves by path; others are refused."""
    wanted = paths(like)
    for name in sorted(wanted.keys() ^ leaves.keys()):
        fail(where, expected="the same leaves", got=f"{name!r} on one side alone")
    for name, leaf in wanted.items():
        if describe(leaf) != describe(leaves[name]):
            fail(f"{where}, {name}", expected=describe(leaf), got=describe(leaves[name]))
    treedef: Any = jax.tree.structure(like)
    return treedef.unflatten([leaves[name] for name in wanted])


def matches(where: Where, path: str) -> bool:
    """Whether a path is chosen. ``*`` in a pattern also crosses ``/``."""
    if callable(where):
        return bool(where(path))
    patterns = (where,) if isinstance(where, str) else tuple(where)
    return any(fnmatch.fnmatchcase(path, end) for pattern in patterns for end in (pattern, f"{pattern}/*"))


def check_matches(place: str, where: Where, available: Iterable[str]) -> None:
    """Refuse a choice that no path matches, most often a typo."""
    available = list(available)
    if not any(matches(where, path) for path in available):
        fail(place, expected="a pattern that matches some parameter", got=repr(where), hint=f"Paths: {available}.")


def map_with_path(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """``jax.tree.map`` whose function gets the path as text first."""
    return jax.tree_util.tree_map_with_path(lambda path, *leaves: fn(path_text(path), *leaves), tree, *rest)
