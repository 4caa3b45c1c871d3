"""The compiled programs of a sweep."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from .._core.errors import fail
from .._core.jaxprs import Traced, traced
from .results import Config


def trace_trial(one: Callable[..., Any], stacked: dict[str, Any], config: Config) -> Traced:
    """One trial as a program, and the shapes of its results; if it has none, the arguments to blame are looked for."""
    first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), stacked)
    try:
        return traced(one, first)
    except Exception:
        blamed = _to_blame(one, first, config)
        if not blamed:
            raise
        names = " and ".join(map(repr, blamed))
        hint = f"Pass structural=({', '.join(map(repr, blamed))},): each of its values is then compiled by itself."
        got = f"{names}, which sets shapes or control flow"
        fail("sweep", expected="arguments that can vary within one program", got=got, hint=hint)


def _to_blame(one: Callable[..., Any], first: dict[str, Any], config: Config) -> list[str]:
    """The fewest arguments, if any, without which the others can be traced."""

    def works(fixed: set[str]) -> bool:
        rest = {name: value for name, value in first.items() if name not in fixed}
        try:
            jax.eval_shape(lambda rest: one({**rest, **{name: config[name] for name in fixed}}), rest)
        except Exception:
            return False
        return True

    blamed = set(first)
    if not works(blamed):
        return []
    for name in first:
        if works(blamed - {name}):
            blamed.remove(name)
    return [name for name in first if name in blamed]


def bytes_available() -> float:
    """The bytes that one call may take: half of the memory, on an accelerator of what is free now."""
    device = jax.devices()[0]
    stats = (device.memory_stats() if device.platform != "cpu" else None) or {}
    if "bytes_limit" in stats:
        return 0.5 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")
    with contextlib.suppress(OSError, ValueError):  # a container may have less than its machine
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return 0.5 * total


# The last programs, by what they do: another sweep of as many trials compiles nothing, whatever its values. JAX's own
# caches go by the function, which a notebook's cell makes anew; see docs/performance.md.
_PROGRAMS: OrderedDict[Any, Any] = OrderedDict()
_MOST_PROGRAMS = 16


def compile_program(batch: Any, *args: Any) -> Any:
    """The program, which may have been compiled before."""
    if jax.config.values.get("jax_disable_jit"):  # there is no program then
        return batch
    lowered = batch.lower(*args)
    key = _key(lowered, args)
    if key is None:
        return lowered.compile()
    program = _PROGRAMS.pop(key, None) or lowered.compile()
    _PROGRAMS[key] = program
    while len(_PROGRAMS) > _MOST_PROGRAMS:
        _PROGRAMS.popitem(last=False)
    return program


def _key(lowered: Any, args: Any) -> Any:
    """What is equal for equal programs; None for one that its text does not tell whole."""
    settings: dict[str, Any] | None = getattr(jax.config, "values", None)
    # With this setting arrays may be hidden arguments of a program, whose values are not in its text.
    if settings is None or getattr(jax.config, "jax_use_simplified_jaxpr_constants", True):
        return None
    text = lowered.as_text()
    if "callback" in text:  # it stands there by its number alone, whatever it does
        return None
    # The same text becomes another program on another device, or by other settings; names of arguments and of results
    # are not in it.
    places = tuple((leaf.sharding, leaf.committed) for leaf in jax.tree.leaves(args))
    now = repr([(name, getattr(jax.config, name, value)) for name, value in sorted(settings.items())])
    names = lowered.in_tree, lowered.out_tree
    return hashlib.sha256(text.encode()).digest(), names, jax.devices()[0], places, now


def bytes_needed(program: Any) -> int:
    """The bytes that a compiled program takes for its results and on the way to them, 0 where it does not say."""
    stats = program.memory_analysis() if hasattr(program, "memory_analysis") else None
    return 0 if stats is None else int(stats.temp_size_in_bytes + stats.output_size_in_bytes)
