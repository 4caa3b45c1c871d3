"""The gain from forms of gradients on a CPU: matrices copied in a step, and the time of a step.

    python benchmarks/in_place.py cnn wide mlp --repeats 9

`fnn._core.xla.after_all` orders every update after the last read of a parameter, so that it happens in place, and
computes gradients of matrices with few columns as their transposes. Each workload's epoch is compiled with both,
without the second and without either, and the programs run in turns.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import worker
import workloads
from hotspots import compiled_epoch, parse
from report import table


def timer(program: Any, state: Any, data: Any) -> Callable[[], float]:
    """A function that runs an epoch and returns its seconds."""
    import jax

    def run() -> float:
        nonlocal state
        started = time.perf_counter()
        state, _ = jax.block_until_ready(program(state, data))
        return time.perf_counter() - started

    run()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=["cnn", "wide", "mlp"], help="(default: cnn wide mlp)")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each program (default %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="in an epoch (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="cores to run on (default %(default)s)")
    args = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    worker.pin(args.threads)

    import jax

    from fnn._core import xla
    from fnn.training import step

    shipped = step.after_all, xla.FEW_COLUMNS
    variants = {"as shipped": shipped, "not transposed": (shipped[0], 0), "unordered": (lambda grads: grads, 0)}
    rows = []
    for name in args.workloads:
        workload = workloads.WORKLOADS[name]._replace(steps=args.steps)
        copies, timers = {}, {}
        for variant, forms in variants.items():
            step.after_all, xla.FEW_COLUMNS = forms
            jax.clear_caches()  # which would return the other variant's trace
            program, state, data = compiled_epoch(workload)
            matrices = {f"f32[{','.join(map(str, p.shape))}]" for p in jax.tree.leaves(state.params) if p.ndim > 1}
            fusions = re.compile(r"^%?fused_computation.*?^}", re.S | re.M)  # their copies are not written to memory
            found = parse(fusions.sub("", program.as_text())).values()
            copies[variant] = sum(one.opcode == "copy" and one.shape in matrices for one in found)
            timers[variant] = timer(program, state, data)
        seconds = [{variant: run() for variant, run in timers.items()} for _ in range(args.repeats)]
        for variant in variants:
            times = [1e3 * one[variant] / workload.steps for one in seconds]
            spread = f"{min(times):.3f} .. {max(times):.3f}"
            rows.append((name, variant, str(copies[variant]), f"{median(times):.3f}", spread))
    print(table(("workload", "gradients", "matrices copied", "ms/step", "least .. most"), rows, markdown=False))


if __name__ == "__main__":
    main()
