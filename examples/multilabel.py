"""Several yes-or-no labels at once (reference experiment 12).

    python examples/multilabel.py

Each row has four labels in any combination; the network has one sigmoid output for each. Runs offline on data generated
by scikit-learn.
"""

import argparse

import experiment
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_multilabel_classification

import fnn

LABELS = 4


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    model = fnn.Sequential(fnn.Dense(32, activation="relu"), fnn.Dropout(0.3), fnn.Dense(LABELS))
    task = fnn.Task(model, "binary_crossentropy", fnn.adam(0.005), metrics=("binary_accuracy",))
    gains, base, reached = [], np.zeros(LABELS), np.zeros(LABELS)
    for seed in experiment.seeds(args):
        x, y = make_multilabel_classification(4000, 20, n_classes=LABELS, random_state=seed)
        x, y = x.astype("float32"), y.astype("float32")
        x_train, x_test, y_train, y_test = fnn.data.train_test_split(x, y, test_size=0.3, seed=seed)
        moments = fnn.data.standardize_fit(x_train)
        x_train, x_test = fnn.data.standardize(moments, x_train), fnn.data.standardize(moments, x_test)
        ts = fnn.init(task, experiment.key(seed), x_train[:1])
        ts, _ = fnn.fit(task, ts, (x_train, y_train), epochs=3 if args.quick else 20, verbose=0)
        right = (np.asarray(fnn.predict(task, ts, x_test)) > 0) == (y_test > 0)
        reached = right.mean(0)
        base = np.maximum(y_test.mean(0), 1 - y_test.mean(0))  # accuracy of always predicting the more frequent answer
        print(f"seed {seed}: accuracy by label {reached.round(3)}, base rates {base.round(3)}")
        gains.append((reached - base).min())

    _, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
    places = np.arange(LABELS)
    ax.bar(places - 0.2, base, 0.4, color="0.7", label="base rate")
    ax.bar(places + 0.2, reached, 0.4, color=fnn.plot.COLORS[0], label="network")
    ax.set(xticks=places, xlabel="label", ylabel="test accuracy", title="four labels at once", ylim=(0, 1.15))
    ax.legend(frameon=False, ncols=2, loc="upper center")
    experiment.save(ax, args, "multilabel.png")
    return [experiment.Figure(12, "multi-label: accuracy above the base rate, worst label", gains, 0.0)]


if __name__ == "__main__":
    experiment.main(run, __doc__)
