"""Generated characters a second: with a carry and with windows, one text and many, against PyTorch.

    python benchmarks/text.py
    python benchmarks/text.py --json out/text.json
    python benchmarks/text.py --quick            of no value as a measurement

LSTM(128) on 57 symbols with the same weights everywhere, a prompt of 40 characters, 400 new ones at temperature 1. All
ways take turns in one process, each after a warm-up. fnn is timed as the whole call of `generate_text`, from a string
to a string. PyTorch runs a loop in Python, as its tutorials have it: `torch.nn.LSTM` reads the prompt, or the window,
and with a carry `torch.nn.LSTMCell` reads each new character. It is timed with one thread and with all, since
either may be faster, and without the step from numbers to a string. The probabilities that both give for each next
character of one text are compared too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import describe
from report import table
from runner import store
from tqdm import tqdm
from worker import pin

UNITS, SYMBOLS, WIDTH = 128, 57, 40
TOLERANCE = 1e-5
OURS, PEER = "fnn", "PyTorch"
# How many times as long as fnn with a carry the faster of PyTorch's thread counts takes, with a carry too.
TARGETS = {"one text": 8.0}

Way = tuple[str, str, str]
"""Library with its threads, memory, how many texts."""


def fnn_model() -> tuple[Any, Any]:
    import jax

    import fnn

    layers = fnn.LSTM(UNITS, input_dim=SYMBOLS, return_sequences=True), fnn.Dense(SYMBOLS)
    task = fnn.Task(fnn.Sequential(*layers), "sparse_categorical_crossentropy")
    ts = fnn.init(task, jax.random.key(0), np.zeros((1, WIDTH), np.int32))
    # A larger last layer, so that probabilities differ. A larger LSTM would amplify rounding from step to step.
    params = ts.params | {"dense": jax.tree.map(lambda a: 20 * a, ts.params["dense"])}
    return task, ts._replace(params=params)


def fnn_ways(task: Any, ts: Any, prompt: np.ndarray, length: int, texts: int) -> dict[Way, Callable[[int], Any]]:
    """Functions of a seed that generate."""
    import jax

    import fnn

    vocabulary = fnn.text.Vocabulary("".join(map(chr, range(64, 64 + SYMBOLS))))
    written = vocabulary.decode(prompt)

    def way(memory: str, prompt: Any) -> Callable[[int], Any]:
        options = {"length": length, "memory": memory}
        return lambda seed: fnn.text.generate_text(task, ts, vocabulary, prompt, jax.random.key(seed), **options)

    many = f"{texts} texts"
    return {
        (OURS, "carry", "one text"): way("carry", written),
        (OURS, "window", "one text"): way("window", written),
        (OURS, "carry", many): way("carry", [written] * texts),
    }


class Torch:
    """The same model in PyTorch."""

    def __init__(self, params: Any) -> None:
        import torch

        self.torch, self.rows = torch, torch.eye(SYMBOLS)
        self.lstm, self.cell = torch.nn.LSTM(SYMBOLS, UNITS, batch_first=True), torch.nn.LSTMCell(SYMBOLS, UNITS)
        self.dense = torch.nn.Linear(UNITS, SYMBOLS)
        params = {name: {k: np.array(a) for k, a in layer.items()} for name, layer in params.items()}
        kernel, recurrent, bias = (params["lstm"][name] for name in ("kernel", "recurrent_kernel", "bias"))
        for module, end in ((self.lstm, "_l0"), (self.cell, "")):
            values = {"weight_ih": kernel.T, "weight_hh": recurrent.T, "bias_ih": bias, "bias_hh": 0 * bias}
            module.load_state_dict({name + end: torch.tensor(value) for name, value in values.items()})
        dense = params["dense"]
        self.dense.load_state_dict({"weight": torch.tensor(dense["kernel"].T), "bias": torch.tensor(dense["bias"])})

    def probabilities(self, ids: np.ndarray) -> np.ndarray:
        """Of the next symbol, after each one."""
        with self.torch.inference_mode():
            return self.dense(self.lstm(self.rows[self.torch.tensor(ids)[None]])[0])[0].softmax(-1).numpy()

    def ways(self, prompt: np.ndarray, length: int, texts: int, threads: int) -> dict[Way, Callable[[int], Any]]:
        """Functions of a seed that generate."""
        torch = self.torch

        def draw(h: Any, generator: Any) -> Any:
            return torch.multinomial(self.dense(h).softmax(-1), 1, generator=generator)[:, 0]

        def carry(seed: int, count: int) -> Any:
            generator, new = torch.Generator().manual_seed(seed), []
            _, (h, c) = self.lstm(self.rows[torch.tensor(prompt)].repeat(count, 1, 1))
            h, c = h[0], c[0]
            for i in range(length):
                new.append(draw(h, generator))
                if i < length - 1:
                    h, c = self.cell(self.rows[new[-1]], (h, c))
            return torch.stack(new, 1).numpy()

        def window(seed: int, count: int) -> Any:
            generator, new = torch.Generator().manual_seed(seed), []
            ids = torch.tensor(prompt).repeat(count, 1)
            for _ in range(length):
                new.append(draw(self.lstm(self.rows[ids])[0][:, -1], generator))
                ids = torch.cat([ids[:, 1:], new[-1][:, None]], 1)
            return torch.stack(new, 1).numpy()

        def way(fn: Callable[[int, int], Any], count: int, used: int) -> Callable[[int], Any]:
            def run(seed: int) -> Any:
                torch.set_num_threads(used)
                with torch.inference_mode():
                    return fn(seed, count)

            return run

        return {
            (f"{PEER}, {used} thread{'s' * (used > 1)}", memory, name): way(fn, count, used)
            for used in sorted({1, threads})
            for memory, fn, name, count in (
                ("carry", carry, "one text", 1),
                ("window", window, "one text", 1),
                ("carry", carry, f"{texts} texts", texts),
            )
        }


# ------------------------------------------------------------------------------------------------------------- measure
def largest_difference(task: Any, ts: Any, torch: Torch, prompt: np.ndarray) -> float:
    """Of the probabilities of the next symbol, read by fnn one symbol at a time with a carry."""
    import jax

    import fnn

    @jax.jit
    def read(state: Any, ids: Any) -> Any:
        def step(state: Any, symbol: Any) -> Any:
            y, state = task.model.apply(ts.params, state, symbol[None, None])
            return state, jax.nn.softmax(y[0, 0])

        return jax.lax.scan(step, state, ids)[1]

    ids = np.concatenate([prompt, np.random.default_rng(1).integers(SYMBOLS, size=400)]).astype(np.int32)
    cached = fnn.with_cache(task.model, ts.state, ids[None, :1], len(ids))
    return float(np.abs(np.asarray(read(cached, ids)) - torch.probabilities(ids)).max())


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All ways in turns, each after a warm-up."""
    pin(args.threads)  # before JAX starts its threads
    task, ts = fnn_model()
    prompt = np.random.default_rng(0).integers(SYMBOLS, size=WIDTH)
    ways = fnn_ways(task, ts, prompt, args.length, args.texts)
    record: dict[str, Any] = {
        "machine": describe(args.threads),
        "settings": {"length": args.length, "texts": args.texts, "repeats": args.repeats},
        "runs": [],
    }
    if importlib.util.find_spec("torch"):
        torch = Torch(ts.params)
        record["difference"] = largest_difference(task, ts, torch, prompt)
        ways |= torch.ways(prompt, args.length, args.texts, args.threads)
    seconds: dict[Way, list[float]] = {name: [] for name in ways}
    with tqdm(total=(args.repeats + 1) * len(ways), unit="run", file=sys.stderr) as bar:
        for repeat in range(-1, args.repeats):
            turns = list(ways)
            random.Random(repeat).shuffle(turns)
            for name in turns:
                bar.set_description("warm-up" if repeat < 0 else f"repeat {repeat + 1}/{args.repeats}")
                started = time.perf_counter()
                ways[name](repeat + 1)
                if repeat >= 0:
                    seconds[name].append(time.perf_counter() - started)
                bar.update()
            record["runs"] = [{"way": list(name), "s": runs} for name, runs in seconds.items() if runs]
            if args.json:
                store(args.json, record)
    return record


# -------------------------------------------------------------------------------------------------------------- report
def medians(record: dict[str, Any]) -> dict[Way, float]:
    """Median seconds of each way."""
    return {tuple(run["way"]): median(run["s"]) for run in record["runs"]}


def ratios(record: dict[str, Any]) -> dict[tuple[str, str], float]:
    """How many times as long as fnn with a carry PyTorch takes at its best, by memory and number of texts."""
    found: dict[tuple[str, str], float] = {}
    seen = medians(record)
    for (library, memory, texts), seconds in seen.items():
        if library != OURS:
            ratio = seconds / seen[OURS, "carry", texts]
            found[memory, texts] = min(ratio, found.get((memory, texts), ratio))
    return found


def verdicts(record: dict[str, Any]) -> list[str]:
    """A line for each ratio, and whether both compute the same."""
    if not (found := ratios(record)):
        return [f"{PEER} is not installed"]
    lines = []
    for (memory, texts), ratio in found.items():
        target = TARGETS.get(texts) if memory == "carry" else None
        said = "no target" if target is None else f"target {target:g}"
        said += "" if target is None else ": reached" if ratio >= target else ": FALLS SHORT"
        lines.append(f"{texts}: {PEER} with a {memory} takes {ratio:.1f} times as long as fnn with a carry; {said}")
    agree = "agree" if record["difference"] <= TOLERANCE else "DIFFER"
    lines.append(f"probabilities of the next character {agree}: largest difference {record['difference']:.1e}")
    return lines


def report(record: dict[str, Any], markdown: bool) -> str:
    """The table and the verdicts."""
    s, seen, rows = record["settings"], medians(record), []
    spread = {tuple(run["way"]): run["s"] for run in record["runs"]}
    for way, seconds in sorted(seen.items(), key=lambda item: (item[0][2] != "one text", item[1])):
        library, memory, texts = way
        characters = s["length"] * (1 if texts == "one text" else s["texts"])
        runs = " .. ".join(f"{1e3 * f(spread[way]):.1f}" for f in (min, max))
        ratio = f"{seconds / seen[OURS, 'carry', texts]:.2f}"
        rows.append([texts, library, memory, f"{1e3 * seconds:.1f}", runs, f"{characters / seconds:,.0f}", ratio])
    head = ["texts", "library", "memory", "ms", "least .. most", "characters a second", "times fnn's carry"]
    title = f"LSTM({UNITS}) on {SYMBOLS} symbols, {s['length']} characters after a prompt of {WIDTH}"
    return "\n".join([title, "", table(head, rows, markdown), "", *verdicts(record)])


def main() -> None:
    """Measure or read, then show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=400, metavar="N", help="characters of a text")
    parser.add_argument("--texts", type=int, default=64, metavar="N", help="in a batch (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="cores (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few and short texts, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="PATH", help="store all measurements here, after every repeat")
    parser.add_argument("--from", type=Path, metavar="JSON", dest="source", help="measure nothing; show this run")
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown")
    args = parser.parse_args()
    if args.quick:
        args.length, args.texts, args.repeats = 10, 3, 1
    record = json.loads(args.source.read_text()) if args.source else measure(args)
    print(report(record, args.markdown))


if __name__ == "__main__":
    main()
