"""What the example scripts share: command-line options, and figures beside the ones they are to meet.

A script is a function ``run(args) -> list[Figure]`` and ``experiment.main(run, __doc__)``. `all.py` calls them all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draw into files, also without a screen


class Figure(NamedTuple):
    """A measured figure, and the one to meet.

    Attributes:
      number: of the reference experiment.
      what: was measured.
      values: one per seed.
      target: the figure to meet.
      sense: "at least", "at most", or "equal to" the target.
      tolerance: how far "equal to" may be off.
      digits: behind the decimal point, when shown.
      note: what a reader should know of it, shown below the table.
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
        """The mean over the seeds, which is compared with the target."""
        return float(np.mean(self.values))

    @property
    def met(self) -> bool:
        """Whether the mean meets the target."""
        if self.sense == "equal to":
            return abs(self.mean - self.target) <= self.tolerance
        return self.mean >= self.target if self.sense == "at least" else self.mean <= self.target

    def cells(self, quick: bool = False) -> list[str]:
        """A row of the table: number, what, mean (least to most of the seeds), target, verdict (none in quick mode)."""
        shown = self._show(self.mean)
        if len(self.values) > 1:
            shown += f" ({self._show(min(self.values))} to {self._show(max(self.values))})"
        sense = "" if self.sense == "equal to" else f"{self.sense} "
        verdict = "quick" if quick else "met" if self.met else "NOT met"
        return [str(self.number), self.what, shown, sense + self._show(self.target), verdict]

    def _show(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


HEAD = ["no.", "what", "fnn (mean over seeds)", "target", "verdict"]


def table(
    figures: Sequence[Figure], extra: Sequence[list[str]] = (), *, markdown: bool = False, quick: bool = False
) -> str:
    """Figures as an aligned table, or as one in Markdown; ``extra`` are rows of cells."""
    rows = sorted([*(figure.cells(quick) for figure in figures), *extra], key=lambda row: int(row[0]))
    widths = [max(len(row[i]) for row in [HEAD, *rows]) for i in range(len(HEAD))]
    if markdown:
        lines = [HEAD, ["---:", *["---"] * (len(HEAD) - 1)], *rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [HEAD, *rows]
    )


def notes(figures: Sequence[Figure]) -> str:
    """What readers should know, a line per figure that has a note."""
    return "\n".join(f"- {figure.number}, {figure.what}: {figure.note}" for figure in figures if figure.note)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a little data and one seed, to see that it runs")
    made.add_argument("--data", metavar="FOLDER", help="with the data files; default FNN_DATA, else a download")
    made.add_argument("--seed", type=int, default=0, help="the first of the seeds; default 0")
    made.add_argument("--seeds", type=int, default=3, metavar="N", help="how many seeds to average over; default 3")
    made.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER", help="for pictures; default out")
    return made


def seeds(args: argparse.Namespace) -> list[int]:
    """The seeds asked for."""
    return [args.seed] if args.quick else list(range(args.seed, args.seed + args.seeds))


def key(seed: int) -> jax.Array:
    """The PRNG key of a seed."""
    return jax.random.key(seed)


def save(figure: Any, args: argparse.Namespace, name: str) -> None:
    """Write a matplotlib figure (or the one of some axes) into the folder for pictures."""
    import matplotlib.pyplot as plt

    figure = getattr(figure, "figure", figure)
    args.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out / name, dpi=110)
    plt.close(figure)
    print(f"picture: {args.out / name}")


def main(run: Callable[[argparse.Namespace], list[Figure]], options: argparse.ArgumentParser | str | None) -> None:
    """Run one script, with the options of all or with more, and print its figures."""
    args = (options if isinstance(options, argparse.ArgumentParser) else parser(options)).parse_args()
    figures = run(args)
    print(f"\n{table(figures, quick=args.quick)}\n{notes(figures)}".rstrip())
