"""Two dense networks on MNIST (reference experiments 4 and 5).

    FNN_DATA=/path/to/data python examples/mnist_mlp.py

Experiment 4: 784-512 sigmoid-10, SGD 0.01, batch 128, 54,000 rows, 10 epochs; Keras reached 0.859 on the validation
rows and 0.87 on the test rows. Experiment 5: 784-16-32-10 relu with dropout 0.2, RMSprop, batch 64, 5 epochs; Keras
reached an accuracy of 0.9216 and a loss of 0.2505 on the test rows.
"""

import argparse

import experiment
import matplotlib.pyplot as plt
import numpy as np

import fnn

LOSS = "sparse_categorical_crossentropy"


def wide() -> fnn.Task:
    model = fnn.Sequential(fnn.Flatten(), fnn.Dense(512, activation="sigmoid"), fnn.Dense(10))
    return fnn.Task(model, LOSS, fnn.sgd(0.01), metrics=("accuracy",))


def narrow() -> fnn.Task:
    model = fnn.Sequential(
        fnn.Flatten(),
        fnn.Dense(16, activation="relu"),
        fnn.Dropout(0.2),
        fnn.Dense(32, activation="relu"),
        fnn.Dropout(0.2),
        fnn.Dense(10),
    )
    return fnn.Task(model, LOSS, fnn.rmsprop(), metrics=("accuracy",))


def train(
    task: fnn.Task, data: fnn.data.Images, args: argparse.Namespace, name: str, **options
) -> dict[str, list[float]]:
    """Train each seed; return its figures by name and save the last seed's learning curves and test images."""
    x_train, x_test = fnn.data.scale_images(data.x_train), fnn.data.scale_images(data.x_test)
    train_set = (x_train[:2000], data.y_train[:2000]) if args.quick else (x_train, data.y_train)
    options["epochs"] = 1 if args.quick else options["epochs"]
    summary = fnn.summary(task, x_train[:1])
    print(summary)
    seen: dict[str, list[float]] = {"params": [summary.total]}
    for seed in experiment.seeds(args):
        ts = fnn.init(task, experiment.key(seed), x_train[:1])
        ts, history = fnn.fit(task, ts, train_set, **options)
        scores = fnn.evaluate(task, ts, (x_test, data.y_test))
        print(f"seed {seed}: test loss {scores['loss']:.4f}, accuracy {scores['accuracy']:.4f}")
        last = {metric: values[-1] for metric, values in history.items() if metric.startswith("val_")}
        for metric, value in (scores | last).items():
            seen.setdefault(metric, []).append(value)

    figure = plt.figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    for ax, metric in zip(above.subplots(1, 2), ("loss", "accuracy"), strict=True):
        fnn.plot.learning_curves(history, metric, ax=ax)
    predicted = np.asarray(fnn.predict(task, ts, x_test[:30])).argmax(-1)
    truth = [data.classes[i] for i in data.y_test[:30]]
    guesses = [data.classes[i] for i in predicted]
    fnn.plot.images(data.x_test[:30], truth, guesses, cmap="gray_r", axes=below.subplots(3, 10))
    below.suptitle("the first test images: predicted (true)")
    experiment.save(figure, args, f"{name}.png")
    return seen


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    data = fnn.data.mnist(args.data)
    four = train(wide(), data, args, "mnist_wide", epochs=10, batch_size=128, validation_split=0.1)
    five = train(narrow(), data, args, "mnist_narrow", epochs=5, batch_size=64)
    return [
        experiment.Figure(4, "784-512-10 on MNIST: parameters", four["params"], 407_050, "equal to", digits=0),
        experiment.Figure(4, "784-512-10 on MNIST: validation accuracy", four["val_accuracy"], 0.859),
        experiment.Figure(4, "784-512-10 on MNIST: test accuracy", four["accuracy"], 0.87),
        experiment.Figure(5, "784-16-32-10 on MNIST: parameters", five["params"], 13_434, "equal to", digits=0),
        experiment.Figure(5, "784-16-32-10 on MNIST: test accuracy", five["accuracy"], 0.9216),
        experiment.Figure(5, "784-16-32-10 on MNIST: test loss", five["loss"], 0.2505, "at most"),
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
