"""Time from building a network to the end of its first epoch in a new process, for fnn and its peers on JAX.

    python benchmarks/first_second.py
    python benchmarks/first_second.py --repeats 3 --libraries fnn equinox

Each library trains one epoch of a workload without any cache and then with JAX's disk cache, filled by an earlier
process. Imports are not counted. A second table shows one call of `fnn.fit` on 1,000 rows, in a process that has
trained nothing before and in one that has trained another network.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import machine
import runner
from peers import VARIANTS
from report import table
from tqdm import tqdm
from workloads import WORKLOADS

LIBRARIES = ("fnn", "keras on jax", "flax nnx", "equinox", "haiku")
CACHES = ("no cache", "disk cache")
TARGET = 1.5  # the fastest peer's time relative to fnn's
SMALL_TARGETS = {"new process": 0.8, "process in use": 0.5}  # seconds

# Other shapes in a process "in use": nothing compiled before can be used again but small programs.
SMALL = """
import json, time
import jax, numpy as np
import fnn

jax.device_put(np.zeros(3)).block_until_ready()
rng = np.random.default_rng(0)


def seconds(features):
    x = rng.normal(size=(1000, features)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    started = time.perf_counter()
    model = fnn.Sequential(fnn.Dense(32, activation="relu"), fnn.Dense(2))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(1e-3), metrics=("accuracy",))
    ts = fnn.init(task, jax.random.key(0), x[:1])
    begun = time.perf_counter()
    fnn.fit(task, ts, (x, y), epochs=1, verbose=0)
    return begun - started, time.perf_counter() - begun


print(json.dumps({"new process": seconds(20), "process in use": seconds(21)}))
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="mlp", metavar="NAME", help="default %(default)s")
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), metavar="NAME", help="default on JAX")
    parser.add_argument("--repeats", type=int, default=5, help="processes for each (default %(default)s)")
    parser.add_argument("--steps", type=int, metavar="N", help="cut the epoch to N steps")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads for each (default %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as markdown")
    args = parser.parse_args()
    runner.check_names(parser, "workload", [args.workload], WORKLOADS)
    runner.check_names(parser, "library", args.libraries, VARIANTS)
    return args


def disk_cache(folder: Path) -> dict[str, str]:
    """The variables with which JAX keeps each program in a folder, however small."""
    return {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def measure(args: argparse.Namespace) -> tuple[dict[tuple[str, str], list[dict[str, Any]]], list[dict[str, Any]]]:
    """The runs of each library with each cache, in turns, and those of the small network."""
    workload = WORKLOADS[args.workload]
    if args.steps:
        workload = workload._replace(steps=min(args.steps, workload.steps))
    jobs = [(library, cache) for library in args.libraries for cache in CACHES]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {job: [] for job in jobs}
    small = []
    with (
        runner.Data.scratch() as data,
        tqdm(total=len(args.libraries) + args.repeats * (len(jobs) + 1), file=sys.stderr) as bar,
    ):
        caches = {library: disk_cache(data.folder / f"cache {library}") for library in args.libraries}

        def run(library: str, cache: str) -> dict[str, Any]:
            bar.set_description(library)
            variables = caches[library] if cache == "disk cache" else {}
            options = {"threads": args.threads, "epochs": 1, "variables": variables}
            result = runner.measure(library, workload, data=data, **options)
            bar.update()
            return result

        for library in args.libraries:
            run(library, "disk cache")  # fills it
        for repeat in range(args.repeats):
            random.Random(repeat).shuffle(jobs)
            for job in jobs:
                runs[job].append(run(*job))
            command = [sys.executable, "-c", SMALL]
            variables = runner.environment(args.threads, data.folder)
            small.append(json.loads(subprocess.run(command, env=variables, capture_output=True, check=True).stdout))
            bar.update()
    return runs, small


def seconds(run: dict[str, Any]) -> float:
    """From building the network to the end of the first epoch."""
    total: float = run["build s"] + run["first epoch s"]
    return total


def text(args: argparse.Namespace, runs: dict[tuple[str, str], list[dict[str, Any]]], small: list[Any]) -> str:
    """The tables and the verdicts."""
    rows, totals, failures = [], {}, []
    for library in args.libraries:
        for cache in CACHES:
            good = [run for run in runs[library, cache] if "failed" not in run]
            failures += [f"{library}, {cache}: {run['failed']}" for run in runs[library, cache] if "failed" in run]
            if good:
                totals[library, cache] = median(map(seconds, good))
                parts = [median(run[part] for run in good) for part in ("build s", "first epoch s")]
                compiled = median(run.get("compile s", 0) for run in good)
                programs = int(median(run.get("compilations", 0) for run in good))
                numbers = (*parts, totals[library, cache], compiled)
                rows.append((library, cache, *(f"{number:.2f}" for number in numbers), str(programs)))
    header = ("library", "cache", "build s", "first epoch s", "sum s", "of it compiling s", "programs")
    lines = [table(header, rows, markdown=args.markdown), *failures, ""]
    for cache in CACHES:
        peers = {library: s for (library, kind), s in totals.items() if kind == cache and library != "fnn"}
        if peers and ("fnn", cache) in totals:
            best = min(peers, key=peers.__getitem__)
            ratio = peers[best] / totals["fnn", cache]
            verdict = "reached" if ratio >= TARGET else "missed"
            lines.append(f"{cache}: {best} / fnn {ratio:.2f} (target {TARGET}: {verdict})")
    rows = []
    for kind, target in SMALL_TARGETS.items():
        built, fitted = (median(run[kind][i] for run in small) for i in range(2))
        verdict = "reached" if fitted <= target else "missed"
        rows.append((kind, f"{built:.2f}", f"{fitted:.2f}", f"{target}: {verdict}"))
    header = ("1,000 rows, two layers", "Task and init s", "fit s", "target for fit")
    return "\n".join([*lines, "", table(header, rows, markdown=args.markdown)])


def main() -> None:
    args = arguments()
    runs, small = measure(args)
    about = machine.describe(args.threads)
    print(f"{args.workload} on {about['cpu']}, medians of {args.repeats} processes", "", sep="\n")
    print(text(args, runs, small))


if __name__ == "__main__":
    main()
