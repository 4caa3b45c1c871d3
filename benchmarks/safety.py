"""What safety costs: checkpoints, resuming, and ``check="finite"``.

    python benchmarks/safety.py
    python benchmarks/safety.py --quick
    python benchmarks/safety.py --json out/safety.json

Three questions, each a ratio inside one run, its sides taking turns:

1. How fast is a checkpoint written, against the same bytes written in sequence and synced to the same disk?
2. What does ``fit(check="finite")`` add to an epoch?
3. What does a checkpoint after each epoch add to an epoch, and does a resumed training compile anything anew?
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from machine import describe
from peers import with_fnn
from report import table
from workloads import WORKLOADS, data

import fnn


def seconds(fn: Callable[[], Any]) -> float:
    """How long a call takes, its results awaited."""
    started = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - started


def in_turn(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Medians, after one call of each that does not count."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for fn in sides.values():
        fn()
    for i in range(repeats):
        for name in sorted(sides, reverse=i % 2 == 1):
            times[name].append(seconds(sides[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def checkpoint(millions: int, repeats: int, folder: str) -> dict[str, Any]:
    """Writing and reading so many million float32 parameters, in bytes per second."""
    width = 2500
    layers = max(1, round(millions * 1e6 / width**2))
    rng = np.random.default_rng(0)
    params = {f"dense_{i}": {"kernel": jax.numpy.asarray(rng.random((width, width), "float32"))} for i in range(layers)}
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    block = rng.bytes(8 * 2**20)

    def in_sequence() -> None:
        path = os.path.join(folder, "plain")
        with open(path, "wb", buffering=0) as file:
            for _ in range(size // len(block)):
                file.write(block)
            os.fsync(file.fileno())
        os.unlink(path)

    def with_safetensors() -> None:
        from safetensors.numpy import save_file

        path = os.path.join(folder, "safetensors")
        save_file({name: np.asarray(leaf) for name, leaf in fnn.paths(params).items()}, path)
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        os.unlink(path)

    path = os.path.join(folder, "fnn")

    def with_fnn_save() -> None:
        fnn.save(path, params)
        os.unlink(path)

    found = in_turn(
        {"in sequence": in_sequence, "fnn.save": with_fnn_save, "safetensors, synced": with_safetensors}, repeats
    )
    fnn.save(path, params)
    found["fnn.load"] = statistics.median(seconds(lambda: fnn.load(path, params)) for _ in range(repeats))
    return {"bytes": size, "seconds": found, "ratio": found["in sequence"] / found["fnn.save"]}


def epochs(name: str, rows: int | None, per_fit: int, repeats: int, folder: str) -> dict[str, float]:
    """Milliseconds per epoch of `fit`, plain, guarded, and with a checkpoint after each epoch."""
    workload = WORKLOADS[name]
    x, y = data(workload)
    x, y = (jax.device_put(a[:rows]) for a in (x, y))
    task = with_fnn.task_of(workload)
    ts = fnn.init(task, jax.random.key(0), x[:1])

    def fit(**options: Any) -> Callable[[], Any]:
        return lambda: fnn.fit(task, ts, (x, y), epochs=per_fit, batch_size=workload.batch, verbose=0, **options)[0]

    def kept() -> Any:
        return fit(checkpoint=tempfile.mkdtemp(dir=folder))()

    sides = {"plain": fit(), 'check="finite"': fit(check="finite"), "checkpoint": kept}
    return {side: 1e3 * value / per_fit for side, value in in_turn(sides, repeats).items()}


def resumed(folder: str) -> dict[str, Any]:
    """Programs that a resumed training compiles after one that ran in the same process."""
    workload = WORKLOADS["mlp"]
    x, y = (jax.device_put(a[:2048]) for a in data(workload))
    task = with_fnn.task_of(workload)
    ts = fnn.init(task, jax.random.key(1), x[:1])
    options = {"batch_size": workload.batch, "verbose": 0, "checkpoint": os.path.join(folder, "resumed")}
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    fnn.fit(task, ts, (x, y), epochs=2, **options)
    first, before = len(compiled), time.perf_counter()
    fnn.fit(task, ts, (x, y), epochs=3, **options)
    return {"programs of the first": first, "of the resumed": len(compiled) - first, "s": time.perf_counter() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="to see that it runs; of no value as a measurement")
    parser.add_argument("--folder", help="on the disk to write to; default a temporary one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    repeats = 1 if args.quick else args.repeats
    record: dict[str, Any] = {"machine": describe(os.cpu_count() or 1), "repeats": repeats}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        record["checkpoint"] = checkpoint(1 if args.quick else 100, repeats, folder)
        record["resumed"] = resumed(folder)
        shapes = {"mlp": (None, 3), "cnn": (12800, 1), "wide": (12800, 1)}
        record["epochs"] = {
            name: epochs(name, 640 if args.quick else rows, per_fit, repeats, folder)
            for name, (rows, per_fit) in list(shapes.items())[: 1 if args.quick else None]
        }

    size, times = record["checkpoint"]["bytes"], record["checkpoint"]["seconds"]
    rows = [[name, f"{value:.2f}", f"{size / value / 1e9:.2f}"] for name, value in times.items()]
    print(f"{size / 4e6:.0f} million parameters, {size / 1e6:.0f} MB; medians of {repeats}\n")
    print(table(["", "s", "GB/s"], rows, markdown=False))
    ratio = record["checkpoint"]["ratio"]
    verdict = "met" if ratio >= 0.5 else "MISSED"
    print(f"\nfnn.save writes at {ratio:.2f} of the sequential speed (target 0.5: {verdict})\n")
    rows = []
    for name, found in record["epochs"].items():
        plain, guarded, kept = found.values()
        verdict = "met" if guarded <= 1.03 * plain else "MISSED"
        more = [f"{100 * (guarded / plain - 1):+.1f} %", verdict, f"{kept:.1f}", f"{kept - plain:+.1f} ms"]
        rows.append([name, f"{plain:.1f}", f"{guarded:.1f}", *more])
    head = ["workload", "ms/epoch", 'check="finite"', "more", "target 3 %", "checkpoint each", "more"]
    print(table(head, rows, markdown=False))
    first, again = record["resumed"]["programs of the first"], record["resumed"]["of the resumed"]
    print(f"\nprograms compiled by a first training: {first}, by a resumed one in the same process: {again}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
