"""What it costs to train on data that does not fit in memory, or that arrives slowly.

    python benchmarks/data.py
    python benchmarks/data.py --quick          to see that it runs, of no value as a measurement

Two questions, each a ratio inside one run, its sides taking turns:

1. How long is an epoch from a memory-mapped file of ten chunks, compared with the same arrays in memory?
2. How long is an epoch from a loader that takes 10 ms for each batch, compared with the slower of loader and training,
   when each batch is read as it is asked for, and when a thread reads two ahead?
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from machine import describe
from report import table
from safety import in_turn

import fnn

CHUNKS, BATCH, FEATURES, CLASSES = 10, 128, 784, 10
DELAY = 0.01  # seconds for each batch of the slow loader
AHEAD = "slow loader, ahead=2"
# Times as long as the other side, at most.
TARGETS = {"memory-mapped file": 1.05, "slow loader": None, AHEAD: 1.1}


def training(units: int, rows: int) -> tuple[fnn.Task, fnn.TrainState, np.ndarray, np.ndarray]:
    """A network with one hidden layer, and rows of noise."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, FEATURES)).astype("float32"), rng.integers(0, CLASSES, rows).astype("int32")
    model = fnn.Sequential(fnn.Dense(units, activation="relu"), fnn.Dense(CLASSES))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(1e-3))
    return task, fnn.init(task, jax.random.key(0), x[:1]), x, y


def mapped(rows: int, repeats: int, folder: Path) -> dict[str, float]:
    """Seconds for an epoch from memory and from a file of ten chunks."""
    task, ts, x, y = training(256, rows)
    np.save(folder / "x.npy", x)
    file = np.load(folder / "x.npy", mmap_mode="r")

    def fit(x: np.ndarray, **options: Any) -> Callable[[], Any]:
        return lambda: fnn.fit(task, ts, (x, y), batch_size=BATCH, verbose=0, **options)[0]

    sides = {"in memory": fit(x), "memory-mapped file": fit(file, chunk_bytes=-(-x.nbytes // CHUNKS))}
    return in_turn(sides, repeats)


def slow(units: int, count: int, repeats: int) -> dict[str, float]:
    """Seconds for an epoch of so many batches: read alone, trained on alone, and both."""
    task, ts, x, y = training(units, BATCH * count)
    batches = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH)]

    def load(epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in batches:
            time.sleep(DELAY)
            yield batch

    def read() -> None:
        for _ in load(0):
            pass

    def fit(source: Any) -> Callable[[], Any]:
        return lambda: fnn.fit(task, ts, source, verbose=0)[0]

    plain, ahead = fnn.data.Stream(load), fnn.data.Stream(load, ahead=2)
    return in_turn({"loader": read, "training": fit(batches), "slow loader": fit(plain), AHEAD: fit(ahead)}, repeats)


def verdict(name: str, ratio: float) -> str:
    """Whether a side reaches its target."""
    target = TARGETS[name]
    if target is None:
        return "none: opt in with ahead"
    return f"{target}: reached" if ratio <= target else f"{target}: falls short"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 repeat on little data")
    parser.add_argument("--repeats", type=int, default=5, help="of each side (default %(default)s)")
    parser.add_argument("--folder", help="on the disk to read from; default a temporary one")
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown")
    args = parser.parse_args()
    repeats, rows, count = (1, 2_560, 10) if args.quick else (args.repeats, 128_000, 100)
    found = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        times = mapped(rows, repeats, Path(folder))
        found.append(("memory-mapped file", "in memory", times["memory-mapped file"], times["in memory"]))
    for units in (64, 2048):
        times = slow(units, count, repeats)
        slower = max(("loader", "training"), key=times.__getitem__)
        found += [
            (name, f"{slower} alone, {units} units", times[name], times[slower]) for name in ("slow loader", AHEAD)
        ]
    lines = []
    for name, other, seconds, reference in found:
        ratio = seconds / reference
        lines.append(
            (name, other, f"{1e3 * seconds:.0f}", f"{1e3 * reference:.0f}", f"{ratio:.3f}", verdict(name, ratio))
        )
    print(f"{describe(os.cpu_count() or 1)['cpu']}, medians of {repeats}", "", sep="\n")
    print(table(("data", "compared with", "ms", "ms", "ratio", "target"), lines, markdown=args.markdown))


if __name__ == "__main__":
    main()
