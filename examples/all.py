"""Run all reference experiments and print their figures next to the targets.

FNN_DATA=/path/to/data python examples/all.py                       about a quarter of an hour on two cores
FNN_DATA=/path/to/data python examples/all.py --markdown docs/experiments.md
python examples/all.py --quick                                      check that everything runs
python examples/all.py iris playground                              selected experiments
"""

import importlib
import time
from pathlib import Path

import experiment

import fnn

SCRIPTS = (
    "one_unit", "linear_models", "perceptron", "mnist_mlp", "mnist_cnn", "fashion_mlp", "char_lstm", "shipping",
    "housing", "iris", "multilabel", "playground", "dense_or_conv", "optimizer_race",
)  # fmt: skip
# Scripts without a reference experiment; run them separately.
OTHERS = (
    "quickstart",
    "char_gpt",
    "two_inputs",
    "siamese",
    "sweep",
    "ensemble_housing",
    "learn_the_learning_rate",
    "resume",
    "many_devices",
)
NUMBERS = {"fashion_mlp": 7, "mnist_mlp": 4, "mnist_cnn": 6, "char_lstm": 8, "shipping": 9, "housing": 10}

PAGE = """# Reference experiments

Each row compares fnn with a target: the result of Keras, scikit-learn or NumPy on the same task. The fnn column
shows the mean over {seeds} seeds, with minimum and maximum in brackets.
`python examples/all.py --markdown docs/experiments.md` wrote this page with fnn {version};
{quick}each script also runs separately (`--help` lists its options).

{table}

{notes}

## Scripts

| script | description |
| --- | --- |
{scripts}

## Pictures

The playground's tasks, with the networks of the first seed:

![ten tasks in the plane, their test rows, and the learned functions](experiments/playground.png)

A network learns a decision boundary; eight sigmoid layers do not learn, because their gradient vanishes:

![a spiral's boundary, epoch by epoch](experiments/spiral.gif)
![gradient norms by layer, with sigmoid and with relu](experiments/vanishing_gradient.png)

Nine optimizers on two surfaces:

![paths of nine optimizers over Beale's and Rosenbrock's functions](experiments/optimizer_race.png)
"""


def main() -> None:
    parser = experiment.parser(__doc__)
    parser.add_argument("scripts", nargs="*", metavar="script", help=f"one of {', '.join(SCRIPTS)}; default all")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as a page")
    args = parser.parse_args()
    unknown = set(args.scripts) - set(SCRIPTS)
    if unknown:
        parser.error(f"unknown script: {', '.join(sorted(unknown))}; known: {', '.join(SCRIPTS)}")

    figures, absent, rows = [], [], []
    for name in args.scripts or SCRIPTS:
        print(f"\n=== {name}", flush=True)
        module, started = importlib.import_module(name), time.perf_counter()
        try:
            figures += module.run(args)
        except fnn.data.DownloadError as error:
            if name not in NUMBERS:  # needs no data file, so this is an error
                raise
            print(f"not run: {error}")
            absent.append([str(NUMBERS[name]), name, "", "", "not run: no data file here"])
        print(f"{time.perf_counter() - started:.0f} s")
        rows.append(f"| [{name}.py](../examples/{name}.py) | {module.__doc__.splitlines()[0]} |")

    print(f"\n{experiment.table(figures, absent, quick=args.quick)}\n{experiment.notes(figures)}")
    if args.markdown:
        page = PAGE.format(
            seeds=len(experiment.seeds(args)),
            version=fnn.__version__,
            quick="quick mode was on, so these figures mean nothing; " if args.quick else "",
            table=experiment.table(figures, absent, markdown=True, quick=args.quick),
            notes=experiment.notes(figures),
            scripts="\n".join(rows),
        )
        args.markdown.write_text(page, encoding="utf-8")
    missed = [figure for figure in figures if not figure.met]
    if missed and not args.quick:
        raise SystemExit(f"{len(missed)} of {len(figures)} figures are not met")


if __name__ == "__main__":
    main()
