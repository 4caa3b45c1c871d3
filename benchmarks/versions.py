"""Time two versions of fnn on the same training, in turns in one run: this checkout and an earlier commit.

    python benchmarks/versions.py HEAD~5
    python benchmarks/versions.py aa1eb34 --workloads mlp lstm --repeats 9

Both versions are measured by the scripts of this checkout, each in processes of its own. A ratio above 1 means that
this checkout is slower. It is the median over pairs of neighbouring processes, since a machine's speed drifts.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from statistics import median
from typing import Any

import runner
from report import table
from tqdm import tqdm
from workloads import WORKLOADS

ROOT = Path(__file__).parent.parent
QUANTITIES = {"ms per step": "ms/step", "first step s": "first step in s"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the version to compare with")
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS), metavar="NAME", help="default all")
    parser.add_argument("--repeats", type=int, default=5, help="processes for each (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="timed after the first (default %(default)s)")
    parser.add_argument("--steps", type=int, metavar="N", help="cut an epoch to N steps")
    parser.add_argument("--threads", type=int, default=2, help="cores and threads for each (default %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown")
    args = parser.parse_args()
    runner.check_names(parser, "workload", args.workloads, WORKLOADS)
    return args


def extract(commit: str, folder: Path) -> Path:
    """The package at a commit, in a folder; exits if git knows no such commit."""
    archive = subprocess.run(["git", "archive", commit, "fnn"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        sys.exit(archive.stderr.decode().strip())
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def row(name: str, quantity: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[str, ...]:
    """A line of the table from pairs of measurements of the commit and of this checkout."""
    before, now = ([one[quantity] for one in side] for side in zip(*pairs, strict=True))
    ratios = [b / a for a, b in zip(before, now, strict=True)]
    spread = f"{min(ratios):.2f} .. {max(ratios):.2f}"
    return name, QUANTITIES[quantity], f"{median(before):.3f}", f"{median(now):.3f}", f"{median(ratios):.3f}", spread


def main() -> None:
    args = arguments()
    rows = []
    with runner.Data.scratch() as data, tqdm(total=args.repeats * len(args.workloads), file=sys.stderr) as bar:
        old = data.folder / "old"
        versions = [extract(args.commit, old), ROOT]
        for name in args.workloads:
            workload = WORKLOADS[name]
            if args.steps:
                workload = workload._replace(steps=min(args.steps, workload.steps))
            pairs = []
            for repeat in range(args.repeats):
                bar.set_description(name)
                seen = {}
                # The one that begins changes, so that neither always finds the machine as the other leaves it.
                for folder in versions if repeat % 2 else versions[::-1]:
                    variables = {"PYTHONPATH": str(folder)}
                    options = {"threads": args.threads, "epochs": args.epochs, "seed": repeat, "variables": variables}
                    seen[folder] = runner.measure("fnn", workload, data=data, **options)
                    if "failed" in seen[folder]:
                        sys.exit(f"{name}: {seen[folder]['failed']}")
                pairs.append((seen[versions[0]], seen[versions[1]]))
                bar.update()
            rows += [row(name, quantity, pairs) for quantity in QUANTITIES]
    header = ("workload", "quantity", args.commit, "this checkout", "ratio", "least .. most")
    print(table(header, rows, markdown=args.markdown))


if __name__ == "__main__":
    main()
