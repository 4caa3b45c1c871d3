"""A sweep of 64 trainings as one program, against 64 calls of `fnn.fit` and 64 Keras models on JAX.

    python benchmarks/many_trials.py
    python benchmarks/many_trials.py --full --json out/many_trials.json      all 64 Keras models; takes a while
    python benchmarks/many_trials.py --quick                                 of no value as a measurement

The small MNIST network (784-16-32-10, 13,434 parameters, dropout, RMSprop, batches of 64), 16 learning rates times 4
seeds, 5 epochs each. All three train the same configurations on the same rows, in turns, in one process, each after a
warm-up: `fnn.sweep` (one order of the rows for all) and `fnn.fit` after a call that compiled, with the data on the
device; Keras after a model that was thrown away, since each new one compiles anew, from NumPy arrays as its guide has
it, 32 steps per execution, which is its fastest. Fewer Keras models may be trained and their time scaled up, and the
output says so. What Keras would take without compiling is told from its epochs after the first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from machine import describe
from report import table
from tqdm import tqdm
from worker import pin
from workloads import WORKLOADS, Workload, data

SWEEP, FITS, KERAS, AT_BEST = "fnn.sweep", "fnn.fit, in turn", "keras on jax", "keras, compilation subtracted"
TARGETS = {FITS: 4.0, KERAS: 8.0}
# Mean final losses may differ by so much: other draws of parameters, order and dropout.
TOLERANCE = 0.1

Config = dict[str, float]


def configurations(rates: int, seeds: int) -> list[Config]:
    """Learning rates of 0.0001 to 0.01 in equal ratios, and seeds."""
    return [{"rate": float(rate), "seed": seed} for rate in np.logspace(-4, -2, rates) for seed in range(seeds)]


def chosen(count: int, some: int) -> list[int]:
    """So many of ``count`` numbers, spread evenly over them."""
    return [i * count // some for i in range(some)]


# ----------------------------------------------------------------------------------------------------------------- fnn
def fnn_sides(workload: Workload, x: Any, y: Any, epochs: int) -> dict[str, Callable[[list[Config]], Any]]:
    """Functions of configurations, which return their final losses."""
    import jax
    from peers import with_fnn

    import fnn

    task, rows = with_fnn.task_of(workload), jax.block_until_ready(jax.device_put((x, y)))
    options = {"epochs": epochs, "batch_size": workload.batch}

    def start(seed: Any, rate: Any) -> Any:
        return fnn.set_hyper(fnn.init(task, jax.random.key(seed), x[:1]), learning_rate=rate)

    def trial(seed: Any, rate: Any) -> Any:
        return fnn.run(task, start(seed, rate), rows, order_key=jax.random.key(7), **options)

    def sweep(configs: list[Config]) -> dict[str, Any]:
        return {"losses": fnn.sweep(trial, configs, verbose=0).scores.tolist()}

    def fits(configs: list[Config]) -> dict[str, Any]:
        histories = [fnn.fit(task, start(**config), rows, verbose=0, **options)[1] for config in configs]
        return {"losses": [history["loss"][-1] for history in histories]}

    return {SWEEP: sweep, FITS: fits}


# --------------------------------------------------------------------------------------------------------------- Keras
def keras_side(workload: Workload, x: Any, y: Any, epochs: int) -> Callable[[list[Config]], Any]:
    """The same with Keras; the times of epochs too."""
    import keras
    import workloads as w
    from keras import layers as k
    from peers import with_keras

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.times: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.times.append(time.perf_counter() - self.started)

    def model_of(rate: float) -> Any:
        layers: list[Any] = [keras.Input(x.shape[1:])]
        for layer in workload.layers:
            match layer:
                case w.Dense(units, activation):
                    layers.append(k.Dense(units, activation=activation))
                case w.Dropout(share):
                    layers.append(k.Dropout(share))
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(loss=loss, optimizer=keras.optimizers.RMSprop(rate), steps_per_execution=32)
        return model

    def models(configs: list[Config]) -> dict[str, Any]:
        losses, later = [], []
        for config in configs:
            keras.utils.clear_session()
            with_keras._set_seeds(config["seed"])
            clock = Clock()
            model = model_of(config["rate"])
            history = model.fit(x, y, batch_size=workload.batch, epochs=epochs, verbose=0, callbacks=[clock])
            losses.append(history.history["loss"][-1])
            later.append(median(clock.times[1:] or clock.times))
        return {"losses": losses, "epoch s": later}

    return models


# ------------------------------------------------------------------------------------------------------------- measure
def timed(fn: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    value = fn()
    return value, time.perf_counter() - started


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All sides in turns, each after a warm-up."""
    pin(args.threads)  # before JAX starts its threads
    workload = WORKLOADS["mlp"]._replace(steps=args.steps or WORKLOADS["mlp"].steps)
    configs = configurations(args.rates, args.seeds)
    x, y = data(workload)
    keras_count = len(configs) if args.full else min(args.keras, len(configs))
    few = [configs[i] for i in chosen(len(configs), keras_count)]
    sides: dict[str, tuple[Callable[[list[Config]], Any], list[Config]]] = {}
    record: dict[str, Any] = {
        "machine": describe(args.threads),
        "settings": {
            "trainings": len(configs),
            "epochs": args.epochs,
            "steps": workload.steps,
            "repeats": args.repeats,
        },
        "parameters": workload.parameters,
        "trained": {},
        "first s": {},
        "runs": {},
    }
    for name, side in fnn_sides(workload, x, y, args.epochs).items():
        sides[name] = side, configs
    if few:
        os.environ["KERAS_BACKEND"] = "jax"
        sides[KERAS] = keras_side(workload, x, y, args.epochs), few
    record["trained"] = {name: len(own) for name, (_, own) in sides.items()}
    with tqdm(total=(args.repeats + 1) * len(sides), unit="run", file=sys.stderr) as bar:
        for name, (side, own) in sides.items():
            bar.set_description(f"warm-up: {name}")
            # A sweep is one program whatever it holds; of the others one training warms up.
            warm = own if name == SWEEP else own[:1]
            record["first s"][name] = timed(lambda side=side, warm=warm: side(warm))[1]
            record["runs"][name] = []
            bar.update()
        for repeat in range(args.repeats):
            turns = list(sides)
            random.Random(repeat).shuffle(turns)
            for name in turns:
                bar.set_description(f"repeat {repeat + 1}/{args.repeats}: {name}")
                side, own = sides[name]
                seen, seconds = timed(lambda side=side, own=own: side(own))
                record["runs"][name].append({"s": seconds, **seen})
                bar.update()
            if args.json:
                store(args.json, record)
    return record


def store(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


# -------------------------------------------------------------------------------------------------------------- report
def seconds_for_all(record: dict[str, Any]) -> dict[str, float]:
    """By side the median seconds for all trainings, scaled up where fewer were made."""
    count, epochs = record["settings"]["trainings"], record["settings"]["epochs"]
    found = {
        name: median(run["s"] for run in runs) * count / record["trained"][name]
        for name, runs in record["runs"].items()
    }
    if KERAS in record["runs"]:
        found[AT_BEST] = count * epochs * median(s for run in record["runs"][KERAS] for s in run["epoch s"])
    return found


def verdicts(record: dict[str, Any]) -> list[str]:
    """A line for each target, and whether the same was learned."""
    found, lines = seconds_for_all(record), []
    for name, target in TARGETS.items():
        if name in found:
            ratio = found[name] / found[SWEEP]
            said = "reached" if ratio >= target else "FALLS SHORT"
            lines.append(f"{name}: {ratio:.2f} times as long as the sweep; target {target:g}: {said}")
    first = record["first s"][SWEEP]
    lines.append(f"with its compilation the sweep took {first:.1f} s: {found[FITS] / first:.2f} times against {FITS}")
    if KERAS in found:
        best = found[AT_BEST] / found[SWEEP]
        lines.append(f"{AT_BEST}: {best:.2f} times as long as the sweep (no target)")
        made, count = record["trained"][KERAS], record["settings"]["trainings"]
        if made < count:
            lines.append(f"EXTRAPOLATED: {made} Keras models were trained, and their time scaled to {count}")
    # Of the configurations that all have trained.
    some = min(record["trained"].values())
    losses = {}
    for name, runs in record["runs"].items():
        places = chosen(record["trained"][name], some)
        losses[name] = mean(run["losses"][i] for run in runs for i in places)
    middle = median(losses.values())
    agree = all(abs(loss - middle) <= TOLERANCE * middle for loss in losses.values())
    shown = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    lines.append(f"mean final losses {'agree' if agree else 'DIFFER'}: {shown}")
    return lines


def text(record: dict[str, Any], markdown: bool) -> str:
    """The table and the verdicts."""
    s = record["settings"]
    found, rows = seconds_for_all(record), []
    for name, seconds in sorted(found.items(), key=lambda item: item[1]):
        runs = [run["s"] * s["trainings"] / record["trained"][name] for run in record["runs"].get(name, [])]
        spread = f"{min(runs):.1f} .. {max(runs):.1f}" if runs else ""
        each = f"{1e3 * seconds / s['trainings']:.0f}"
        rows.append([name, f"{seconds:.1f}", spread, each, f"{seconds / found[SWEEP]:.2f}"])
    head = ["way", "s", "least .. most", "ms per training", "times the sweep"]
    title = (
        f"{s['trainings']} trainings of {record['parameters']:,} parameters, {s['epochs']} epochs of {s['steps']} steps"
    )
    return "\n".join([title, "", table(head, rows, markdown), "", *verdicts(record)])


def main() -> None:
    """Measure or read, then show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, default=16, metavar="N", help="learning rates (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=4, metavar="N", help="of each (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, metavar="N", help="of each training (default %(default)s)")
    parser.add_argument("--steps", type=int, metavar="N", help="of an epoch (default 937)")
    parser.add_argument(
        "--keras", type=int, default=8, metavar="N", help="models, scaled up to all (default %(default)s)"
    )
    parser.add_argument("--full", action="store_true", help="train all Keras models")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="cores (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few and short trainings, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="PATH", help="store all measurements here, after every repeat")
    parser.add_argument("--from", type=Path, metavar="JSON", dest="source", help="measure nothing; show this run")
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown")
    args = parser.parse_args()
    if args.quick:
        args.rates, args.seeds, args.epochs, args.steps, args.keras, args.repeats = 2, 2, 2, 20, 1, 1
    record = json.loads(args.source.read_text()) if args.source else measure(args)
    print(text(record, args.markdown))


if __name__ == "__main__":
    main()
