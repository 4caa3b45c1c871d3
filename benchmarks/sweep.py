"""How the time of a step grows with batch, width, depth, sequence length and the number of networks.

    python benchmarks/sweep.py --json sweep.json --picture sweep.png
    python benchmarks/sweep.py width ensemble --libraries fnn haiku --repeats 1
    python benchmarks/sweep.py --from sweep.json --picture sweep.png

Each point is measured in processes of its own, as in `compare`. The floor is the time that the operations of a step
take at the speed of a large matrix product.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import machine
import runner
from peers import VARIANTS
from report import gflops, table
from tqdm import tqdm
from workloads import WORKLOADS, Workload, parametric

TOGETHER, IN_TURN = "fnn.many", "fnn one after the other"


class Sweep(NamedTuple):
    """Sizes along one axis.

    Attributes:
      title: of the panel.
      kind: of network, see `workloads.parametric`; "mlp" for ensembles of that workload.
      sizes: of the axis.
      fixed: the other sizes.
    """

    title: str
    kind: str
    sizes: tuple[int, ...]
    fixed: dict[str, int]


SWEEPS = {
    "batch": Sweep("batch, 2 layers of 256", "dense", (8, 32, 128, 512, 2048), {"width": 256}),
    "width": Sweep("width of 2 layers, batch 64", "dense", (16, 64, 256, 1024, 2048), {}),
    "depth": Sweep("layers of 128, batch 64", "dense", (1, 2, 4, 8, 16, 32), {}),
    "length": Sweep("symbols before LSTM(128), batch 64", "lstm", (5, 10, 20, 40, 80, 160), {}),
    "ensemble": Sweep("networks of the kind mlp, batch 64", "mlp", (1, 4, 16, 64), {}),
}


def workload_of(name: str, size: int) -> Workload:
    """The network of a point, with so many steps that an epoch takes about a third of a second."""
    sweep = SWEEPS[name]
    if sweep.kind == "mlp":
        return WORKLOADS["mlp"]._replace(name="mlp-ensemble", steps=100)
    workload = parametric(sweep.kind, **sweep.fixed, **{name: size})
    seconds = 1e-4 + workload.operations / 1e11
    return workload._replace(steps=max(5, min(1000, round(0.3 / seconds))))


def points(names: list[str], libraries: list[str], quick: bool) -> list[tuple[str, int, str]]:
    """(sweep, size, library), each once; of ``quick`` only the two smallest sizes."""
    found = []
    for name in names:
        lines = [TOGETHER, IN_TURN] if name == "ensemble" else libraries
        sizes = SWEEPS[name].sizes[:2] if quick else SWEEPS[name].sizes
        found += [(name, size, library) for size in sizes for library in lines]
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All points in all repeats, in turns; what was measured before Ctrl-C is kept."""
    todo = points(args.sweeps or list(SWEEPS), args.libraries, args.quick)
    settings = {name: getattr(args, name) for name in ("repeats", "epochs", "threads", "seed", "quick")}
    record: dict[str, Any] = {"schema": 1, "machine": machine.describe(args.threads), "settings": settings}
    reasons = {point: VARIANTS[point[2]].why_not(workload_of(*point[:2])) for point in todo if point[2] in VARIANTS}
    record["skipped"] = [{"sweep": p[0], "size": p[1], "library": p[2], "reason": r} for p, r in reasons.items() if r]
    todo = [point for point in todo if not reasons.get(point)]
    record["points"] = [_point(*point) for point in todo]
    with runner.Data.scratch() as data, tqdm(total=args.repeats * len(todo), unit="run", file=sys.stderr) as bar:
        try:
            record["machine"]["gflops at the beginning"] = runner.gflops(data, args.threads)
            for repeat in range(args.repeats):
                turns = list(record["points"])
                random.Random(f"{args.seed} {repeat}").shuffle(turns)
                turns.sort(key=lambda point: (list(SWEEPS).index(point["sweep"]), point["size"]))
                for point in turns:
                    bar.set_description(f"repeat {repeat + 1}/{args.repeats}: {_label(point)}")
                    seen = _run(point, data, args, repeat)
                    if "failed" in seen:
                        bar.write(f"{_label(point)} failed: {seen['failed']}", file=sys.stderr)
                        point["failed"] = seen["failed"]
                    else:
                        point["ms per step"].append(seen["ms per step"])
                    bar.update()
                if args.json:
                    runner.store(args.json, record)
            record["machine"]["gflops at the end"] = runner.gflops(data, args.threads)
        except KeyboardInterrupt:
            bar.write("interrupted; this is what there is", file=sys.stderr)
            record["interrupted"] = True
    if args.json:
        runner.store(args.json, record)
    return record


def _point(name: str, size: int, library: str) -> dict[str, Any]:
    operations = workload_of(name, size).operations * (size if name == "ensemble" else 1)
    return {"sweep": name, "size": size, "library": library, "operations": operations, "ms per step": []}


def _label(point: dict[str, Any]) -> str:
    return f"{point['sweep']} {point['size']}, {point['library']}"


def _run(point: dict[str, Any], data: runner.Data, args: argparse.Namespace, repeat: int) -> dict[str, Any]:
    workload, library, ensemble = workload_of(point["sweep"], point["size"]), point["library"], None
    if point["sweep"] == "ensemble":
        ensemble, library = {"members": point["size"], "together": library == TOGETHER}, "fnn"
    options = {"threads": args.threads, "epochs": args.epochs, "seed": repeat, "limit": args.limit}
    return runner.measure(library, workload, data=data, ensemble=ensemble, **options)


def _lines(record: dict[str, Any], name: str) -> dict[str, list[tuple[int, float]]]:
    """Sizes and medians by library."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for point in record["points"]:
        if point["sweep"] == name and point["ms per step"]:
            lines.setdefault(point["library"], []).append((point["size"], median(point["ms per step"])))
    return lines


def _floor(record: dict[str, Any], name: str) -> list[tuple[int, float]]:
    speed = gflops(record)
    found = {p["size"]: p["operations"] / speed / 1e6 for p in record["points"] if p["sweep"] == name and speed}
    return sorted(found.items())


def text(record: dict[str, Any], *, markdown: bool = False) -> str:
    """A table per sweep; the ratio of the last line to the first for ensembles."""
    parts = []
    for name, sweep in SWEEPS.items():
        lines = _lines(record, name)
        if not lines:  # not asked for
            continue
        floor, rows = dict(_floor(record, name)), []
        for size in sorted({size for line in lines.values() for size, _ in line}):
            seen = {library: dict(line).get(size) for library, line in lines.items()}
            row = [str(size), *("" if value is None else f"{value:.3f}" for value in seen.values())]
            row.append(f"{floor[size]:.4f}" if size in floor else "")
            if name == "ensemble":
                times = seen.get(IN_TURN), seen.get(TOGETHER)
                row.append(f"{times[0] / times[1]:.2f}" if all(times) else "")
            rows.append(row)
        head = [name, *lines, "floor", *(["times as fast"] if name == "ensemble" else [])]
        title = f"{'## ' if markdown else ''}{sweep.title}: milliseconds per step"
        absent = {f"{s['library']}: skipped, {s['reason']}" for s in record.get("skipped", ()) if s["sweep"] == name}
        absent |= {
            f"{_label(p)}: failed, {p['failed']}" for p in record["points"] if p["sweep"] == name and "failed" in p
        }
        rest = "".join(f"\n{'- ' if markdown else '  '}{line}" for line in sorted(absent))
        parts.append(f"{title}\n\n{table(head, rows, markdown)}\n{rest}")
    return "\n\n".join(parts) + "\n"


def picture(record: dict[str, Any], path: Path) -> None:
    """A panel per sweep on logarithmic axes."""
    from matplotlib.figure import Figure

    names = [name for name in SWEEPS if _lines(record, name)]
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns, 0.4 + 3.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, name in zip(axes, names, strict=False):
        _panel(ax, record, name)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    figure.suptitle("Milliseconds per training step; dotted: floor by operation count", size=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _panel(ax: Any, record: dict[str, Any], name: str) -> None:
    from matplotlib.ticker import LogLocator

    # Okabe and Ito's palette, told apart by colour-blind readers; markers tell the lines apart without it.
    colors, markers = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#000000"), "osD^vP"
    lines = _lines(record, name)
    for i, (library, line) in enumerate(sorted(lines.items(), key=lambda item: not item[0].startswith(TOGETHER[:3]))):
        style = {"color": colors[i % 6], "marker": markers[i % 6], "markersize": 4.5}
        ax.plot(*zip(*line, strict=True), label=library, linewidth=2 if i == 0 else 1.3, **style)
    floor = _floor(record, name)
    if floor:
        ax.plot(*zip(*floor, strict=True), color="black", linestyle=":", linewidth=1)
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(sizes := sorted({size for line in lines.values() for size, _ in line}), map(str, sizes))
    ax.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    ax.grid(color="0.9", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(SWEEPS[name].title, size=10, loc="left")
    ax.tick_params(labelsize=8)
    ax.legend(frameon=False, fontsize=8, loc="upper left")


def main() -> None:
    """Measure or read, then show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", metavar="sweep", help=f"of {', '.join(SWEEPS)}; default all")
    libraries = ["fnn", "pytorch", "haiku"]
    parser.add_argument("--libraries", nargs="+", default=libraries, metavar="NAME", help=f"default {libraries}")
    runner.add_options(parser, repeats=3)
    parser.add_argument("--quick", action="store_true", help="1 repeat of 1 epoch, the 2 smallest sizes")
    args = parser.parse_args()
    runner.check_names(parser, "sweep", args.sweeps, SWEEPS)
    runner.check_names(parser, "library", args.libraries, VARIANTS)
    if args.quick:
        args.repeats, args.epochs = 1, 1
    record = json.loads(args.source.read_text()) if args.source else measure(args)
    print(text(record, markdown=args.markdown))
    if args.picture:
        picture(record, args.picture)


if __name__ == "__main__":
    main()
