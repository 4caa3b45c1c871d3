"""What a measurement was made on, without anything that names the machine or its user, and the machine's limits."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTIONS = (
    "fnn",
    "jax",
    "jaxlib",
    "numpy",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "torch",
    "flax",
    "equinox",
    "dm-haiku",
    "optax",
    "scikit-learn",
)


def describe(threads: int) -> dict[str, Any]:
    """Processor, memory, system and versions."""
    versions = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores used": threads,
        "cores": os.cpu_count(),
        "memory GiB": _memory(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    """The model, and the widest vectors, which say more than the names that virtual machines go by."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return " ".join(filter(None, (facts.get("model name", platform.machine()), vectors)))


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


# ------------------------------------------------------------------------------------------------------------- limits
SIZES = tuple(2**power for power in range(18, 29, 2))  # bytes of the arrays that are read and written, 256 KiB on
BOOKKEEPING = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast")


def limits() -> dict[str, Any]:
    """How fast this machine computes, moves and calls: ``gflops``, ``memory`` (GB/s by bytes) and ``call us``.

    XLA's programs measure all three, since they are the fastest at hand on a CPU. Each is the best of several runs.
    """
    return {"gflops": gflops(), "memory": {str(size): memory(size) for size in SIZES}, "call us": call()}


def gflops() -> float:
    """The speed of a large float32 product, in GFLOP/s."""
    import jax

    n = 2048
    a = jax.random.normal(jax.random.key(0), (n, n))
    product = jax.jit(lambda a: a @ a)
    return 2 * n**3 / best_time(lambda: jax.block_until_ready(product(a)), 30) / 1e9


def memory(size: int) -> float:
    """GB/s, reads and writes together, of a pass that scales an array of ``size`` bytes in place."""
    import jax
    import jax.numpy as jnp

    passes = max(1, SIZES[-1] // size)
    array = jnp.ones(size // 4, jnp.float32)
    scale = jax.jit(lambda a: jax.lax.fori_loop(0, passes, lambda _, a: a * jnp.float32(0.999), a), donate_argnums=0)

    def run() -> None:
        nonlocal array
        array = jax.block_until_ready(scale(array))

    return 2 * size * passes / best_time(run, 5) / 1e9


def call() -> float:
    """Microseconds for an operation of a compiled loop that has next to nothing to compute.

    The loop alternates products of 8x8 matrices with elementwise operations; the difference between a long body and a
    short one is divided by the operations that the compiled programs have more.
    """
    import jax
    import jax.numpy as jnp

    rounds, found, kernel = 2000, [], jnp.eye(8)
    for links in (20, 60):

        def body(i: Any, carry: Any, links: int = links) -> Any:
            x, large = carry
            for _ in range(links):
                x = jnp.maximum(x @ kernel, 0)
            return x, large.at[i].set(0)  # without a large array, XLA compiles the loop into one operation

        carry = (jnp.ones((8, 8)), jnp.zeros(2**20))
        loop = jax.jit(lambda carry, body=body: jax.lax.fori_loop(0, rounds, body, carry)).lower(carry).compile()
        seconds = best_time(lambda loop=loop, carry=carry: jax.block_until_ready(loop(carry)), 15)
        found.append((seconds, operations_of_loop(loop.as_text())))
    (short, few), (long, many) = found
    return 1e6 * (long - short) / rounds / (many - few)


def operations_of_loop(text: str) -> int:
    """Operations in the largest computation of a compiled program's text, which is the body of its only loop."""
    found = [re.findall(r"= (?:\(.*?\)|\S+) ([\w\-]+)\(", part) for part in text.split("\n\n")]
    return max(sum(opcode not in BOOKKEEPING for opcode in opcodes) for opcodes in found)


def best_time(run: Callable[[], Any], repeats: int) -> float:
    """The least seconds of several runs, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)
