"""Time a training epoch of fnn and its peers, each in a process of its own, in turns.

    python benchmarks/compare.py mlp wide --repeats 3

Prints, for each workload and library, the median over the repeats of: import of the library, first epoch (which
traces and compiles), milliseconds per step of the best later epoch; and the ratio of each peer's step to fnn's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))
from libraries import LIBRARIES
from workloads import WORKLOADS, data


def measure(library: str, name: str, epochs: int) -> dict[str, float]:
    """One library on one workload, in this process."""
    workload, (build, _) = WORKLOADS[name], LIBRARIES[library]
    x, y = data(name)
    started = time.perf_counter()
    epoch = build(name, workload.batch, x, y)
    loss = epoch()
    first, times = time.perf_counter() - started, []
    for _ in range(epochs):
        started = time.perf_counter()
        loss = epoch()
        times.append(time.perf_counter() - started)
    return {"first epoch s": first, "ms per step": min(times) / workload.steps * 1e3, "loss": loss}


def main() -> None:
    """Run all, in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="after the first")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    parser.add_argument("--worker", nargs=2, metavar=("LIBRARY", "WORKLOAD"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(*args.worker, args.epochs)))
        return
    seen: dict[str, dict[str, list[dict[str, float]]]] = {w: {lib: [] for lib in LIBRARIES} for w in args.workloads}
    for _ in range(args.repeats):
        for name in args.workloads:
            for library, (_, environment) in LIBRARIES.items():
                command = [sys.executable, __file__, "--epochs", str(args.epochs), "--worker", library, name]
                out = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
                if out.returncode:
                    sys.exit(f"{library} on {name} failed:\n{out.stderr}")
                seen[name][library].append(json.loads(out.stdout.splitlines()[-1]))
    if args.json:
        args.json.write_text(json.dumps(seen, indent=2))
    print(f"{'workload':<10}{'library':<16}{'ms/step':>9}{'ratio':>7}{'first epoch s':>15}{'loss':>9}")
    for name, libraries in seen.items():
        ours = median(run["ms per step"] for run in libraries["fnn"])
        for library, runs in libraries.items():
            step, first, loss = (median(run[key] for run in runs) for key in ("ms per step", "first epoch s", "loss"))
            print(f"{name:<10}{library:<16}{step:>9.3f}{step / ours:>7.2f}{first:>15.2f}{loss:>9.4f}")


if __name__ == "__main__":
    main()
