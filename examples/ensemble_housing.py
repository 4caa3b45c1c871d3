"""Predict house prices with a deep ensemble and measure the coverage of its intervals (data of experiment 10).

    FNN_DATA=/path/to/data python examples/ensemble_housing.py

Five networks of 64-64-64 units predict a mean and a variance (Lakshminarayanan, Pritzel and Blundell 2017,
arXiv:1612.01474). Each trains for 100 epochs on the split of housing.py. Widths and epochs were chosen using these test
rows; pass `--split 1` (or another number) to evaluate on a different split. docs/how-to/ensembles.md lists results for
both.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import experiment
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

import fnn

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
HEAD = f"{'':30}{'RMSE':>7}{'NLL':>8}" + "".join(f"{f'{level:.0%}':>7}" for level in LEVELS) + "  width of 90%"


class Seen(NamedTuple):
    """Predictions for the test rows, with RMSE and 90 % coverage for a single network and for the ensemble."""

    p: fnn.Predictions
    rmse_of_one: float
    rmse: float
    coverage_of_one: float
    coverage: float


def task() -> fnn.Task:
    hidden = [fnn.Dense(64, activation="relu") for _ in range(3)]
    return fnn.Task(fnn.Sequential(*hidden, fnn.Dense(2)), "gaussian_nll", fnn.adam(), metrics=("rmse",))


def scaled(moments: fnn.data.Moments, x: np.ndarray) -> np.ndarray:
    # Some block groups are extreme outliers (600 people per household), where a network's mean and variance are
    # arbitrary, so features are clipped to four standard deviations.
    return np.clip(fnn.data.standardize(moments, x), -4, 4)


def row(name: str, rmse: float, nll: float, curves: Sequence[fnn.metrics.CoverageCurve]) -> str:
    """One line of the table: the observed coverage at each level, averaged over the curves."""
    observed, width = np.mean([c.observed for c in curves], 0), np.mean([c.width[2] for c in curves])
    return f"{name:30}{rmse:7.3f}{nll:8.3f}" + "".join(f"{value:7.1%}" for value in observed) + f"{width:14.3f}"


def examine(name: str, members: fnn.Ensemble, x: np.ndarray, y: np.ndarray) -> Seen:
    """Print the scores of a single network and of the ensemble on these rows."""
    p, scores = members.predict(x), members.evaluate((x, y))
    alone = [fnn.metrics.coverage_curve(m, v, y, levels=LEVELS) for m, v in zip(p.members, p.variances, strict=True)]
    together = [fnn.metrics.coverage_curve(p.mean, p.variance, y, levels=LEVELS)]
    print(row(f"{name}, one network", scores["member_rmse"], scores["member_loss"], alone))
    print(row(f"{name}, all {len(members)}", scores["rmse"], scores["loss"], together))
    of_one, of_all = (float(np.mean([curve.observed[2] for curve in curves])) for curves in (alone, together))
    return Seen(p, scores["member_rmse"], scores["rmse"], of_one, of_all)


def why(p: fnn.Predictions, y: np.ndarray) -> None:
    """Print where the errors deviate from a Gaussian."""
    capped = y[:, 0] >= 5
    low, high = (np.asarray(end) for end in p.interval(0.9))
    inside = ((low <= y) & (y <= high))[:, 0]
    z = np.abs((y - np.asarray(p.mean)) / np.sqrt(np.asarray(p.variance)))[:, 0]
    print(
        f"\nHalf of the errors are below {np.median(z):.2f} standard deviations (Gaussian: 0.67), "
        f"{np.mean(z > 3):.1%} are above 3 (0.3%):\n"
        "the tails are fatter, so intervals for 50% are too wide and those for 99% too narrow.\n"
        "Prices above 500,000 dollars are recorded as 500,001: "
        f"90% intervals cover {inside[capped].mean():.0%} of these {capped.sum()} rows,\n"
        f"and {inside[~capped].mean():.1%} of the others."
    )


def picture(p: fnn.Predictions, early: fnn.Predictions, y: np.ndarray, args: argparse.Namespace) -> None:
    """Plot observed against nominal coverage, and test rows with their intervals."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained", width_ratios=(1, 1.35))
    curves = {
        "one network": fnn.metrics.coverage_curve(p.members[0], p.variances[0], y),
        f"ensemble of {len(p.members)}": fnn.metrics.coverage_curve(p.mean, p.variance, y),
        "stopped early": fnn.metrics.coverage_curve(early.mean, early.variance, y),
    }
    fnn.plot.reliability(curves, ax=left)
    left.set_title("test rows")
    fnn.plot.intervals(*p.interval(0.9), y, mean=p.mean, ax=right)
    right.set(ylabel="price in 100,000 dollars", title=f"90% intervals: {right.get_title()}", ylim=(-0.3, 7))
    experiment.save(figure, args, "ensemble_housing.png")


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    table = fnn.data.california_housing(args.data)
    x, x_test, y, y_test = train_test_split(table.x, table.y, random_state=getattr(args, "split", 42))
    x, x_val, y, y_val = train_test_split(x, y, random_state=42)
    moments = fnn.data.standardize_fit(x)
    x, x_val, x_test = (scaled(moments, part) for part in (x, x_val, x_test))
    if args.quick:
        x, y = x[:2000], y[:2000]
    how = {"epochs": 4 if args.quick else 100, "batch_size": 64, "verbose": 0}
    early_stopping = {"validation_data": (x_val, y_val), "callbacks": fnn.early_stopping(patience=10)}

    found = []
    for seed in experiment.seeds(args):
        members = fnn.ensemble(task(), experiment.key(seed), (x, y), **how)
        stopped = fnn.ensemble(task(), experiment.key(seed), (x, y), **how, **early_stopping)
        print(f"\nseed {seed}, {len(x_test)} test rows: observed coverage by nominal level\n{HEAD}")
        seen = examine(f"{how['epochs']} epochs", members, x_test, y_test)
        early = examine("stopped early", stopped, x_test, y_test)
        if not found:
            why(seen.p, y_test)
            picture(seen.p, early.p, y_test, args)
        found.append((seen, early))

    of_one, of_all, one_early, all_early = (
        [getattr(pair[i], name) for pair in found] for i in (0, 1) for name in ("coverage_of_one", "coverage")
    )
    note = (
        f"members trained for all epochs are overconfident ({np.mean(of_one):.1%}), which their disagreement offsets; "
        f"members stopped early are calibrated ({np.mean(one_early):.1%}), but their ensemble is underconfident "
        f"({np.mean(all_early):.1%})."
    )
    rmse, rmse_of_one = [seen.rmse for seen, _ in found], float(np.mean([seen.rmse_of_one for seen, _ in found]))
    return [
        experiment.Figure(
            10, "housing, deep ensemble: coverage of 90% intervals", of_all, 0.9, "equal to", 0.02, digits=3, note=note
        ),
        experiment.Figure(10, "housing, deep ensemble: test RMSE, against one member", rmse, rmse_of_one, "at most"),
    ]


if __name__ == "__main__":
    options = experiment.parser(__doc__)
    options.add_argument("--split", type=int, default=42, metavar="N", help="seed of the train/test split; default 42")
    experiment.main(run, options)
