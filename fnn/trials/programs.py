"""The compiled programs of a sweep."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

import jax

from .._core.errors import fail
from .._core.jaxprs import Traced, traced
from .._core.types import PyTree
from .cost import shape_of_one
from .results import Config

Program = Callable[..., PyTree]
"""A compiled function of arrays."""


def trace_trial(one: Callable[[Config], PyTree], stacked: Config, config: Config) -> Traced:
    """Trace one trial; if that fails, look for arguments to blame. ``config`` holds the arguments of one trial."""
    first = shape_of_one(stacked)
    try:
        return traced(one, first)
    except Exception:
        blamed = _to_blame(one, first, config)
        if not blamed:
            raise
        names = " and ".join(map(repr, blamed))
        hint = f"Pass structural=({', '.join(map(repr, blamed))},): each value is then compiled separately."
        got = f"{names}, which sets shapes or control flow"
        fail("sweep", expected="arguments that can vary within one program", got=got, hint=hint)


def _to_blame(one: Callable[[Config], PyTree], first: Config, config: Config) -> list[str]:
    """The fewest arguments that must be fixed so that the others can be traced; empty if that does not help."""

    def works(fixed: list[str]) -> bool:
        rest = {name: value for name, value in first.items() if name not in fixed}
        try:
            jax.eval_shape(lambda rest: one({**rest, **{name: config[name] for name in fixed}}), rest)
        except Exception:
            return False
        return True

    blamed = list(first)
    if not works(blamed):
        return []
    for name in first:
        fewer = [other for other in blamed if other != name]
        if works(fewer):
            blamed = fewer
    return blamed


def bytes_available() -> float:
    """Memory for one call in bytes: half of the machine's, on an accelerator half of what is free now."""
    device = jax.devices()[0]
    stats = (device.memory_stats() if device.platform != "cpu" else None) or {}
    if "bytes_limit" in stats:
        return 0.5 * float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")
    with contextlib.suppress(OSError, ValueError):  # a container may have less than its machine
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return 0.5 * total


# The latest programs by content: another sweep of as many trials compiles nothing, whatever its values. JAX's caches go
# by the function, and running a notebook cell again makes a new one; see docs/performance.md.
_PROGRAMS: OrderedDict[Hashable, jax.stages.Compiled] = OrderedDict()
_MOST_PROGRAMS = 16


def compile_program(batch: jax.stages.Wrapped, *args: PyTree) -> Program:
    """Compile a function for these arguments, unless the same program was compiled before."""
    if jax.config.values.get("jax_disable_jit"):
        return batch
    lowered = batch.lower(*args)
    key = _key(lowered, args)
    if key is None:
        return lowered.compile()
    program = _PROGRAMS[key] = _PROGRAMS.pop(key) if key in _PROGRAMS else lowered.compile()
    while len(_PROGRAMS) > _MOST_PROGRAMS:
        _PROGRAMS.popitem(last=False)
    return program


def _key(lowered: jax.stages.Lowered, args: PyTree) -> Hashable:
    """Equal for equal programs; None if the text of a program does not determine it."""
    settings = getattr(jax.config, "values", None)
    # With this setting arrays may be hidden arguments of a program, whose values are not in its text.
    if settings is None or getattr(jax.config, "jax_use_simplified_jaxpr_constants", True):
        return None
    text = lowered.as_text()
    if "callback" in text:  # the text has only the number of a callback
        return None
    # The same text compiles to another program on another device or with other settings. It does not have the names of
    # arguments and results.
    places = tuple((leaf.sharding, leaf.committed) for leaf in jax.tree.leaves(args))
    now = repr([(name, getattr(jax.config, name, value)) for name, value in sorted(settings.items())])
    names = lowered.in_tree, lowered.out_tree
    return hashlib.sha256(text.encode()).digest(), names, jax.devices()[0], places, now


def bytes_needed(program: Program) -> int:
    """Bytes of the results and temporary arrays of a compiled program; 0 if it does not report them."""
    stats = program.memory_analysis() if isinstance(program, jax.stages.Compiled) else None
    return 0 if stats is None else int(stats.temp_size_in_bytes + stats.output_size_in_bytes)
