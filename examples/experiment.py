"""Code shared by the example scripts: command-line options, and tables of figures and targets.

Each script defines ``run(args) -> list[Figure]`` and calls ``experiment.main(run, __doc__)``. `all.py` runs them all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draw to files; needs no display


class Figure(NamedTuple):
    """A measured figure and its target.

    Attributes:
      number: number of the reference experiment.
      what: name of the measured quantity.
      values: one per seed.
      target: the value to reach.
      sense: "at least", "at most", or "equal to" the target.
      tolerance: allowed deviation for "equal to".
      digits: decimal places shown.
      note: remark shown below the table.
    """

    number: int
    what: str
    values: Sequence[float]
    target: float
    sense: str = "at least"
    tolerance: float = 0.0
    digits: int = 4
    note: str = ""

    @property
    def mean(self) -> float:
        """Mean over the seeds, compared with the target."""
        return float(np.mean(self.values))

    @property
    def met(self) -> bool:
        """Whether the mean meets the target."""
        if self.sense == "equal to":
            return abs(self.mean - self.target) <= self.tolerance
        return self.mean >= self.target if self.sense == "at least" else self.mean <= self.target

    def cells(self, quick: bool = False) -> list[str]:
        """One table row: number, quantity, mean (minimum to maximum over seeds), target, verdict ("quick" if quick)."""
        shown = self._show(self.mean)
        if len(self.values) > 1:
            shown += f" ({self._show(min(self.values))} to {self._show(max(self.values))})"
        sense = "" if self.sense == "equal to" else f"{self.sense} "
        verdict = "quick" if quick else "met" if self.met else "NOT met"
        return [str(self.number), self.what, shown, sense + self._show(self.target), verdict]

    def _show(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


HEAD = ["no.", "quantity", "fnn (mean over seeds)", "target", "verdict"]


def table(
    figures: Sequence[Figure], extra: Sequence[list[str]] = (), *, markdown: bool = False, quick: bool = False
) -> str:
    """Format figures as an aligned or Markdown table; ``extra`` adds rows of cells."""
    rows = sorted([*(figure.cells(quick) for figure in figures), *extra], key=lambda row: int(row[0]))
    widths = [max(len(row[i]) for row in [HEAD, *rows]) for i in range(len(HEAD))]
    if markdown:
        lines = [HEAD, ["---:", *["---"] * (len(HEAD) - 1)], *rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [HEAD, *rows]
    )


def notes(figures: Sequence[Figure]) -> str:
    """List the notes, one line per figure that has one."""
    return "\n".join(f"- {figure.number}, {figure.what}: {figure.note}" for figure in figures if figure.note)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Argument parser with the options shared by all scripts."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="little data and one seed, to check that it runs")
    made.add_argument("--data", metavar="FOLDER", help="folder with the data; default FNN_DATA, otherwise download")
    made.add_argument("--seed", type=int, default=0, help="first seed; default 0")
    made.add_argument("--seeds", type=int, default=3, metavar="N", help="number of seeds to average over; default 3")
    made.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER", help="picture folder; default out")
    return made


def seeds(args: argparse.Namespace) -> list[int]:
    """The seeds that the options select."""
    return [args.seed] if args.quick else list(range(args.seed, args.seed + args.seeds))


def key(seed: int) -> jax.Array:
    """The PRNG key of a seed."""
    return jax.random.key(seed)


def save(figure: Any, args: argparse.Namespace, name: str) -> None:
    """Save a matplotlib figure (or the figure of the given axes) in the picture folder."""
    import matplotlib.pyplot as plt

    figure = getattr(figure, "figure", figure)
    args.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out / name, dpi=110)
    plt.close(figure)
    print(f"picture: {args.out / name}")


def main(run: Callable[[argparse.Namespace], list[Figure]], options: argparse.ArgumentParser | str | None) -> None:
    """Run one script, with the shared options or its own parser, and print its figures."""
    args = (options if isinstance(options, argparse.ArgumentParser) else parser(options)).parse_args()
    figures = run(args)
    print(f"\n{table(figures, quick=args.quick)}\n{notes(figures)}".rstrip())
