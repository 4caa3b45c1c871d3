"""Time prediction with a trained network: one row, 32 and 10,000 rows, against PyTorch and Keras on JAX.

    python benchmarks/predict.py
    python benchmarks/predict.py --synchronous         with JAX's dispatch in the calling thread, as for a service
    python benchmarks/predict.py --quick               to see that it runs, of no value as a measurement

The network is 784-128-10 with relu; the input is a NumPy array of float32, and so is the result. The libraries take
turns, each in a process of its own, whose times are medians over many calls after the first two; the table shows the
medians over the processes. The parts of a call of fnn are measured in the same processes: the compiled model alone on
an array on the device, with its result copied to NumPy; what the same call takes longer from NumPy; and the checks of
shape and values with all else that `predictor` and `predict` do.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import machine
import numpy as np
import runner
from report import table
from tqdm import tqdm
from worker import pin

FNN, TORCH, KERAS = LIBRARIES = ("fnn", "pytorch", "keras on jax")
ROWS = (1, 32, 10_000)
CALLS = {1: 600, 32: 300, 10_000: 12}
HIDDEN, CLASSES = 128, 10
PREDICTOR, PREDICT, EVALUATE = "predictor", "predict", "evaluate"
ON_DEVICE, FROM_NUMPY = "compiled model, array on the device", "compiled model, NumPy array"
# How many times as long PyTorch takes, at least; and milliseconds for one row, at most.
TARGETS = {(PREDICT, 1): 0.3, (PREDICT, 32): 0.5, (PREDICT, 10_000): 1.2, (EVALUATE, 10_000): 1.0}
ONE_ROW_MS = 0.12

Calls = dict[tuple[str, int], Callable[[], Any]]


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of noise and classes."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 784)).astype("float32"), rng.integers(0, CLASSES, rows)


# ----------------------------------------------------------------------------------------- functions of each library
def with_fnn(x: np.ndarray, y: np.ndarray) -> Calls:
    import jax

    import fnn

    model = fnn.Sequential(fnn.Dense(HIDDEN, activation="relu"), fnn.Dense(CLASSES))
    task = fnn.Task(model, "sparse_categorical_crossentropy", metrics=["accuracy"])
    ts = fnn.init(task, jax.random.key(0), x[:1])
    predict, apply = fnn.predictor(task, ts), jax.jit(lambda params, x: model.apply(params, ts.state, x)[0])
    calls: Calls = {}
    for n in ROWS:
        rows, on_device = x[:n], jax.device_put(x[:n])
        calls[PREDICTOR, n] = lambda rows=rows: predict(rows)
        calls[PREDICT, n] = lambda rows=rows: np.asarray(fnn.predict(task, ts, rows))
        calls[FROM_NUMPY, n] = lambda rows=rows: np.asarray(apply(ts.params, rows))
        calls[ON_DEVICE, n] = lambda rows=on_device: np.asarray(apply(ts.params, rows))
    calls[EVALUATE, len(x)] = lambda: fnn.evaluate(task, ts, (x, y))
    return calls


def with_torch(x: np.ndarray, y: np.ndarray) -> Calls:
    import torch

    torch.set_num_threads(int(os.environ["BENCHMARK_THREADS"]))
    model = torch.nn.Sequential(torch.nn.Linear(784, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES)).eval()

    def predict(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(rows)).numpy()

    def evaluate() -> tuple[float, float]:
        with torch.inference_mode():
            logits, classes = model(torch.from_numpy(x)), torch.from_numpy(y)
            loss = torch.nn.functional.cross_entropy(logits, classes)
            return loss.item(), (logits.argmax(-1) == classes).float().mean().item()

    calls: Calls = {(PREDICT, n): lambda rows=x[:n]: predict(rows) for n in ROWS}
    return calls | {(EVALUATE, len(x)): evaluate}


def with_keras(x: np.ndarray, y: np.ndarray) -> Calls:
    import keras

    layers = [keras.Input((784,)), keras.layers.Dense(HIDDEN, activation="relu"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    calls: Calls = {(PREDICT, n): lambda rows=x[:n]: np.asarray(model.predict_on_batch(rows)) for n in ROWS}
    return calls | {(EVALUATE, len(x)): lambda: model.evaluate(x, y, batch_size=len(x), verbose=0)}


MAKERS = {FNN: with_fnn, TORCH: with_torch, KERAS: with_keras}


# ------------------------------------------------------------------------------------------------------------- measure
def time_calls(library: str, *, quick: bool, synchronous: bool) -> dict[str, float]:
    """Median milliseconds of each call, by its name and its rows."""
    if synchronous and library != TORCH:
        import jax

        jax.config.update("jax_cpu_enable_async_dispatch", False)
    found = {}
    for (name, rows), call in MAKERS[library](*data(max(ROWS))).items():
        times = []
        for _ in range(5 if quick else CALLS[rows] + 2):
            started = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - started))
        found[f"{name}, {rows}"] = median(times[2:])
    return found


def in_process(library: str, args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """`time_calls` in a new process; ``failed`` if it says nothing, as when the library is not installed."""
    variables = {**runner.environment(args.threads, scratch), "KERAS_BACKEND": "jax"}
    command = [sys.executable, __file__, f"--worker={library}", f"--threads={args.threads}"]
    command += [f"--{flag}" for flag in ("quick", "synchronous") if getattr(args, flag)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        return {"failed": runner.without_paths((done.stderr.strip().splitlines() or ["no output"])[-1])}
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All libraries in turns; what was measured before Ctrl-C is kept."""
    settings = {name: getattr(args, name) for name in ("repeats", "threads", "quick", "synchronous")}
    record = {"machine": machine.describe(args.threads), "settings": settings, "runs": {name: [] for name in LIBRARIES}}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch, tqdm(total=args.repeats * len(LIBRARIES), file=sys.stderr) as bar:
        try:
            for repeat in range(args.repeats):
                turns = [name for name in LIBRARIES if name not in failed]
                random.Random(repeat).shuffle(turns)
                for name in turns:
                    bar.set_description(f"repeat {repeat + 1}/{args.repeats}: {name}")
                    seen = in_process(name, args, Path(scratch))
                    if "failed" in seen:
                        failed[name] = seen["failed"]
                    else:
                        record["runs"][name].append(seen)
                    bar.update()
                record["failed"] = failed
                if args.json:
                    runner.store(args.json, record)
        except KeyboardInterrupt:
            bar.write("interrupted; this is what there is", file=sys.stderr)
    return record


# -------------------------------------------------------------------------------------------------------------- report
def medians(record: dict[str, Any]) -> dict[tuple[str, str, int], float]:
    """Milliseconds by library, call and rows."""
    found = {}
    for library, runs in record["runs"].items():
        for key in runs[0] if runs else ():
            name, rows = key.rsplit(", ", 1)
            found[library, name, int(rows)] = median(run[key] for run in runs)
    return found


def verdicts(record: dict[str, Any]) -> list[str]:
    """Whether `predict` and `predictor` reach the targets, each by itself."""
    seen, lines = medians(record), []
    for (call, rows), target in TARGETS.items():
        for name in (PREDICT, PREDICTOR) if call == PREDICT else (call,):
            if (TORCH, call, rows) in seen and (FNN, name, rows) in seen:
                ratio = seen[TORCH, call, rows] / seen[FNN, name, rows]
                verdict = "reached" if ratio >= target else "FALLS SHORT"
                said = f"PyTorch takes {ratio:.2f} times as long; target {target}"
                lines.append(f"fnn.{name} of {rows:,}: {said}: {verdict}")
    for name in (PREDICT, PREDICTOR):
        if (FNN, name, 1) in seen:
            ms = seen[FNN, name, 1]
            verdict = "reached" if ms <= ONE_ROW_MS else "FALLS SHORT"
            lines.append(f"fnn.{name} of 1: {ms:.3f} ms; target {ONE_ROW_MS} ms: {verdict}")
    return lines


def parts(record: dict[str, Any]) -> list[list[str]]:
    """A row for each number of rows: what the compiled model, the input and the checks take, in milliseconds."""
    seen, rows = medians(record), []
    for n in ROWS:
        if (FNN, PREDICTOR, n) in seen:
            model, numpy, predictor, predict = (
                seen[FNN, name, n] for name in (ON_DEVICE, FROM_NUMPY, PREDICTOR, PREDICT)
            )
            steps = (model, numpy - model, predictor - numpy, predict - numpy)
            rows.append([f"{n:,}", *(f"{step:.3f}" for step in steps)])
    return rows


def text(record: dict[str, Any], *, markdown: bool = False) -> str:
    """The tables and the verdicts."""
    seen, settings = medians(record), record["settings"]
    rows = []
    for (library, name, n), ms in sorted(seen.items(), key=lambda item: (item[0][2], item[0][1] == EVALUATE, item[1])):
        spread = [run[f"{name}, {n}"] for run in record["runs"][library]]
        torch = seen.get((TORCH, EVALUATE if name == EVALUATE else PREDICT, n))
        ratio = f"{torch / ms:.2f}" if torch else ""
        rows.append([f"{n:,}", library, name, f"{ms:.3f}", f"{min(spread):.3f} .. {max(spread):.3f}", ratio])
    about = record["machine"]
    lines = [
        f"{about['cpu']}, {about['cores used']} of {about['cores']} cores, Python {about['python']}, {about['date']}",
        ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        f"medians of {settings['repeats']} processes each"
        + ("; synchronous dispatch" if settings["synchronous"] else "")
        + ("; QUICK: of no value as a measurement" if settings["quick"] else ""),
        *(f"{name}: {reason}" for name, reason in record.get("failed", {}).items()),
    ]
    head = ("rows", "library", "call", "ms", "least .. most", "PyTorch / this")
    first = table(head, rows, markdown)
    head = ("rows", "compiled model", "copy of x", "rest of predictor", "rest of predict")
    second = table(head, parts(record), markdown)
    blocks = ["\n".join(lines), first, "Parts of a call of fnn in ms:", second, "\n".join(verdicts(record))]
    return "\n\n".join(blocks)


def main() -> None:
    """Measure or read, then show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="processes for each (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="cores (default %(default)s)")
    parser.add_argument("--synchronous", action="store_true", help="set jax_cpu_enable_async_dispatch to False")
    parser.add_argument("--quick", action="store_true", help="one process each, of few calls")
    parser.add_argument("--json", type=Path, metavar="PATH", help="store all measurements here, after every repeat")
    parser.add_argument("--from", type=Path, metavar="JSON", dest="source", help="measure nothing; show this run")
    parser.add_argument("--markdown", action="store_true", help="print the tables as markdown")
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        pin(args.threads)  # before JAX starts its threads
        print(json.dumps(time_calls(args.worker, quick=args.quick, synchronous=args.synchronous)))
        return
    args.repeats = 1 if args.quick else args.repeats
    record = json.loads(args.source.read_text()) if args.source else measure(args)
    print(text(record, markdown=args.markdown))


if __name__ == "__main__":
    main()
