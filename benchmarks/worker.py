"""One library on one workload, in a process of its own: what `runner.measure` starts.

    python worker.py REQUEST.json RESULT.json

Nothing but the standard library is imported before the cores are chosen and the clock of the import runs.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any


def pin(threads: int) -> None:
    """Keep this process, and all that it starts, on so many of the cores that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def peak_megabytes() -> float:
    """The most memory that was resident so far."""
    # Not ru_maxrss where it can be helped: a new process takes over that of the one that started it.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace s",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower s",
    "/jax/core/compile/backend_compile_duration": "compile s",
}


class CompilationClock:
    """Seconds that JAX spends on tracing, lowering and compiling, as `jax.monitoring` tells.

    The trace of a jitted function that is called in another one lies within that one's, and both are told; so each
    event is kept as the interval that ends with it, and the clock shows how much time the intervals cover.
    """

    def __init__(self) -> None:
        import jax.monitoring

        self.intervals: dict[str, list[tuple[float, float]]] = {name: [] for name in EVENTS.values()}
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event: str, seconds: float, **_: Any) -> None:
        if event in EVENTS:
            now = time.perf_counter()
            self.intervals[EVENTS[event]].append((now - seconds, now))

    def read(self) -> dict[str, float]:
        """Seconds by kind, and how many programs were compiled."""
        seen: dict[str, float] = {}
        for name, intervals in self.intervals.items():
            covered, reached = 0.0, float("-inf")
            for start, end in sorted(intervals):
                covered += max(0.0, end - max(start, reached))
                reached = max(reached, end)
            seen[name] = covered
        return {**seen, "compilations": len(self.intervals["compile s"])}


def timed(fn: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    value = fn()
    return value, time.perf_counter() - started


def train(request: dict[str, Any]) -> dict[str, Any]:
    """Import, build, first epoch and later ones, each timed apart."""
    from peers import VARIANTS

    variant = VARIANTS[request["library"]]
    _, importing = timed(variant.load)
    imported_mb = peak_megabytes()
    clock = CompilationClock() if variant.on_jax else None

    import numpy as np
    import workloads

    workload = workloads.from_dict(request["workload"])
    x, y = (np.load(Path(request["data"]) / f"{part}.npy") for part in "xy")
    build = variant.build
    if request["ensemble"]:
        from ensembles import build as build_ensemble

        build = partial(build_ensemble, **request["ensemble"])
    epoch, building = timed(lambda: build(workload, x, y, request["seed"]))
    loss, first = timed(epoch)
    losses, times = [loss], []
    for _ in range(request["epochs"]):
        loss, seconds = timed(epoch)
        losses.append(loss)
        times.append(seconds)
    later = median(times)
    return {
        "import s": importing,
        "build s": building,
        "first epoch s": first,
        "epochs s": times,
        "ms per step": later / workload.steps * 1e3,
        "first step s": importing + building + first - later + later / workload.steps,
        **(clock.read() if clock else {}),
        "memory after import MB": imported_mb,
        "peak MB": peak_megabytes(),
        "losses": losses,
    }


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    pin(request["threads"])
    try:
        if request["library"] in ("gflops", "limits"):
            import machine

            result = machine.limits() if request["library"] == "limits" else {"gflops": machine.gflops()}
        else:
            result = train(request)
    except Exception as error:
        result = {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
