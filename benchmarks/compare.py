"""Time fnn and its peers on the same training, each in a process of its own, in turns.

    python benchmarks/compare.py                                  everything; takes a long while
    python benchmarks/compare.py mlp wide --libraries fnn pytorch --repeats 3
    python benchmarks/compare.py --quick                          a look in a few minutes, of no value as a measurement
    python benchmarks/compare.py --from results.json --markdown   the tables of an earlier run again

What is measured, and how, is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from typing import Any

import machine
import report
import runner
from peers import VARIANTS
from tqdm import tqdm
from workloads import WORKLOADS, Workload


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)}; default all")
    parser.add_argument("--libraries", nargs="+", metavar="NAME", help=f"of {', '.join(VARIANTS)}; default all")
    runner.add_options(parser, repeats=5)
    parser.add_argument("--steps", type=int, metavar="N", help="cut an epoch to so many steps")
    parser.add_argument("--quick", action="store_true", help="20 steps, 1 repeat of 1 epoch")
    args = parser.parse_args()
    runner.check_names(parser, "workload", args.workloads, WORKLOADS)
    runner.check_names(parser, "library", args.libraries or (), VARIANTS)
    if args.quick:
        args.steps, args.repeats, args.epochs = args.steps or 20, 1, 1
    if args.steps is not None and args.steps < 1:
        parser.error("--steps must be at least 1")
    return args


def chosen(args: argparse.Namespace) -> list[Workload]:
    """The workloads asked for, cut to the steps asked for."""
    found = [WORKLOADS[name] for name in args.workloads or WORKLOADS]
    return [w._replace(steps=min(args.steps, w.steps)) if args.steps else w for w in found]


def start(args: argparse.Namespace, workloads: list[Workload]) -> tuple[dict[str, Any], list[tuple[Workload, str]]]:
    """The record of a run before its first measurement, and the pairs that can be measured."""
    names, pairs, skipped = args.libraries or list(VARIANTS), [], []
    for workload in workloads:
        for name in names:
            reason = VARIANTS[name].why_not(workload)
            if reason:
                skipped.append({"workload": workload.name, "library": name, "reason": reason})
            else:
                pairs.append((workload, name))
    settings = {name: getattr(args, name) for name in ("repeats", "epochs", "steps", "threads", "seed", "quick")}
    record = {
        "schema": 1,
        "machine": machine.describe(args.threads),
        "settings": settings,
        "workloads": {w.name: report.facts(w) for w in workloads},
        "groups": {name: VARIANTS[name].group for name in names},
        "skipped": skipped,
        "measurements": [],
        "medians": {},
    }
    return record, pairs


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """Every library on every workload, in turns; what was measured before Ctrl-C is kept."""
    record, pairs = start(args, chosen(args))

    def keep() -> None:
        record["medians"] = report.medians(record)
        if args.json:
            runner.store(args.json, record)

    with runner.Data.scratch() as data, tqdm(total=args.repeats * len(pairs), unit="run", file=sys.stderr) as bar:
        try:
            record["machine"]["limits at the beginning"] = runner.limits(data, args.threads)
            for repeat in range(args.repeats):
                turns = list(pairs)
                # Another order in every repeat, the workloads one after the other so that drift hits all libraries.
                random.Random(f"{args.seed} {repeat}").shuffle(turns)
                turns.sort(key=lambda pair: list(record["workloads"]).index(pair[0].name))
                for workload, name in turns:
                    bar.set_description(f"repeat {repeat + 1}/{args.repeats}: {workload.name}, {name}")
                    options = {"threads": args.threads, "epochs": args.epochs, "seed": repeat, "limit": args.limit}
                    seen = runner.measure(name, workload, data=data, **options)
                    head = {"workload": workload.name, "library": name, "repeat": repeat, "at": round(time.time())}
                    record["measurements"].append({**head, **seen})
                    if "failed" in seen:
                        bar.write(f"{name} on {workload.name} failed: {seen['failed']}", file=sys.stderr)
                    bar.update()
                keep()
            record["machine"]["limits at the end"] = runner.limits(data, args.threads)
        except KeyboardInterrupt:
            bar.write("interrupted; this is what there is", file=sys.stderr)
            record["interrupted"] = True
        keep()
    return record


def main() -> None:
    """Measure or read, then show."""
    args = arguments()
    record = json.loads(args.source.read_text()) if args.source else measure_all(args)
    print(report.text(record, markdown=args.markdown))
    if args.picture:
        report.picture(record, args.picture)


if __name__ == "__main__":
    main()
