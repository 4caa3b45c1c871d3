"""Train 84 networks in one compiled program: learning rates, dropout rates and seeds on MNIST.

    FNN_DATA=/path/to/data python examples/sweep.py

Without the MNIST files, the script uses scikit-learn's small digits. It prints a table, saves it as CSV, and draws the
curves of all trials and the score over both rates. Finally it evaluates the best state on the test rows, which played
no part in the choice.
"""

import argparse
import time
from typing import Any

import experiment
import jax
import matplotlib.pyplot as plt
import numpy as np

import fnn


def images(args: argparse.Namespace) -> tuple[str, Any, Any, Any]:
    """The data set's name and its training, validation and test rows, on the device."""
    try:
        data = fnn.data.mnist(args.data)
        name, x, y, x_test, y_test = "MNIST", data.x_train, data.y_train, data.x_test, data.y_test
        x, x_test = fnn.data.scale_images(x), fnn.data.scale_images(x_test)
    except fnn.data.DownloadError:
        x, y = fnn.data.digits()[:2]
        name, (x, x_test, y, y_test) = "digits", fnn.data.train_test_split(x, y, seed=args.seed, stratify=y)
    held_out = len(x) // 6
    x, x_val, y, y_val = fnn.data.train_test_split(x, y, test_size=held_out, seed=args.seed, stratify=y)
    if args.quick:
        x, y, x_val, y_val = x[:1280], y[:1280], x_val[:500], y_val[:500]
    return name, *jax.device_put(((x, y), (x_val, y_val), (x_test, y_test)))


def run(args: argparse.Namespace) -> None:
    name, train, validation, test = images(args)
    epochs = 2 if args.quick else 5

    def task(rate: Any, drop: Any) -> fnn.Task:
        layers = [
            fnn.Dense(16, activation="relu"),
            fnn.Dropout(drop),
            fnn.Dense(32, activation="relu"),
            fnn.Dropout(drop),
        ]
        model = fnn.Sequential(fnn.Flatten(), *layers, fnn.Dense(10))
        return fnn.Task(model, "sparse_categorical_crossentropy", fnn.rmsprop(rate), metrics=("accuracy",))

    def trial(rate: Any, drop: Any, seed: Any) -> tuple[Any, Any]:
        own = task(rate, drop)
        ts = fnn.init(own, jax.random.key(seed), train[0][:1])
        # All trials share one order of the rows: each batch is read once, which makes small networks twice as fast.
        order = {"order_key": experiment.key(args.seed)}
        return fnn.run(own, ts, train, epochs=epochs, batch_size=64, validation_data=validation, **order)

    rates = np.logspace(-4, -1, 3 if args.quick else 7).round(5)
    space = {
        "rate": [float(rate) for rate in rates],
        "drop": [0.0, 0.4] if args.quick else [0.0, 0.1, 0.2, 0.4],
        "seed": experiment.seeds(args),
    }
    started = time.perf_counter()
    found = fnn.sweep(trial, space, monitor="val_accuracy")
    seconds = time.perf_counter() - started
    print(f"{len(found.configs)} runs of {epochs} epochs on {len(train[0]):,} rows of {name}: {seconds:.0f} s\n")
    print(found)

    print("\nmean over the seeds:")
    for row in found.averages("seed")[:5]:
        print("  rate {rate:<7g} drop {drop:<4g} val_accuracy {val_accuracy:.4f} +- {std:.4f}".format(**row))

    # The sweep returns the best state.
    best = task(found.best["rate"], found.best["drop"])
    scores = fnn.evaluate(best, found.ts, test)
    print(f"\nbest: {found.best}\ntest accuracy {scores['accuracy']:.4f}, loss {scores['loss']:.4f}")

    args.out.mkdir(parents=True, exist_ok=True)
    found.to_csv(args.out / "sweep.csv")
    print(f"table: {args.out / 'sweep.csv'}")
    figure, axes = plt.subplots(1, 2, figsize=(13, 4.6), layout="constrained")
    fnn.plot.sweep_curves(found, "val_loss", color="rate", ax=axes[0])
    fnn.plot.sweep_map(found, "rate", "drop", ax=axes[1])
    experiment.save(figure, args, "sweep.png")


if __name__ == "__main__":
    run(experiment.parser(__doc__).parse_args())
