"""Three kinds of iris, one hidden layer (reference experiment 11).

python examples/iris.py
"""

import argparse

import experiment
import matplotlib.pyplot as plt
import numpy as np

import fnn


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    flowers = fnn.data.iris()
    model = fnn.Sequential(fnn.Dense(10, activation="tanh"), fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(0.02), metrics=("accuracy",))
    accuracies = []
    for seed in experiment.seeds(args):
        parts = fnn.data.train_test_split(flowers.x, flowers.y, test_size=0.3, seed=seed, stratify=flowers.y)
        x_train, x_test, y_train, y_test = parts
        moments = fnn.data.standardize_fit(x_train)
        x_train, x_test = fnn.data.standardize(moments, x_train), fnn.data.standardize(moments, x_test)
        ts = fnn.init(task, experiment.key(seed), x_train[:1])
        ts, history = fnn.fit(task, ts, (x_train, y_train), epochs=100, batch_size=16, verbose=0)
        accuracies.append(fnn.evaluate(task, ts, (x_test, y_test))["accuracy"])
        print(f"seed {seed}: test accuracy {accuracies[-1]:.4f}")

    logits = fnn.predict(task, ts, x_test)
    print(fnn.classification_report(logits, y_test, names=list(flowers.classes)))
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    fnn.plot.learning_curves(history, "accuracy", ax=left)
    fnn.plot.confusion_matrix(np.asarray(logits), y_test, names=flowers.classes, ax=right)
    experiment.save(right, args, "iris.png")
    return [experiment.Figure(11, "iris, one hidden layer of 10: test accuracy", accuracies, 0.95)]


if __name__ == "__main__":
    experiment.main(run, __doc__)
