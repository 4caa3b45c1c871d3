"""Train a small convolutional network on 1,797 handwritten digits, offline, in well under a minute.

    python examples/quickstart.py

Prints the devices, the layers, live progress, the test accuracy and a report by class. Saves a picture of the learning
curves and of test digits with predicted (true) labels.
"""

import argparse
from pathlib import Path

import jax
import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fnn

matplotlib.use("Agg")  # draw to a file; needs no display
import matplotlib.pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    text = "picture file, or folder for quickstart.png; default out/quickstart.png"
    parser.add_argument("--out", type=Path, default=Path("out/quickstart.png"), help=text)
    parser.add_argument("--quick", action="store_true", help="three epochs, to check that it runs")
    args = parser.parse_args()
    folder = args.out.is_dir() or not args.out.suffix
    picture = args.out / "quickstart.png" if folder else args.out
    print(fnn.devices())

    # 1. Data: 8x8 images with values from 0 to 16, and their digits, 0 to 9.
    digits = load_digits()
    x = (digits.images[..., None] / 16).astype(np.float32)
    y = digits.target.astype(np.int32)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=360, stratify=y, random_state=args.seed)

    # 2. Model and task. The last layer returns logits, as the loss expects.
    model = fnn.Sequential(
        fnn.Conv(32, 3, padding="same", activation="relu"),
        fnn.Conv(64, 3, activation="relu"),
        fnn.MaxPool(2),
        fnn.Flatten(),
        fnn.Dropout(0.4),
        fnn.Dense(10),
    )
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(2e-3), metrics=("accuracy",))
    print(fnn.summary(task, x[:1]))

    # 3. Train. The state holds parameters, optimizer state and key; fit returns a new state.
    ts = fnn.init(task, jax.random.key(args.seed), x[:1])
    epochs = 3 if args.quick else args.epochs
    ts, history = fnn.fit(task, ts, (x_train, y_train), epochs=epochs, batch_size=32, validation_split=0.1)

    # 4. Evaluate on the test rows.
    logits = fnn.predict(task, ts, x_test)
    predicted = np.asarray(logits.argmax(-1))
    print(f"\ntest accuracy {fnn.metrics.accuracy(logits, y_test):.4f} on {len(y_test)} digits never trained on\n")
    print(fnn.classification_report(logits, y_test))
    draw(history, x_test, y_test, predicted, picture)


def draw(history, x, y, predicted, path: Path) -> None:
    """Draw the learning curves above and test digits below, mistakes first."""
    figure = plt.figure(figsize=(10, 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    for ax, metric in zip(above.subplots(1, 2), ("loss", "accuracy"), strict=True):
        fnn.plot.learning_curves(history, metric, ax=ax)
    order = np.argsort(predicted == y, kind="stable")[:30]
    below.suptitle("test digits: predicted (true), mistakes first")
    fnn.plot.images(x[order], y[order], predicted[order], cmap="gray_r", axes=below.subplots(3, 10))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\npicture: {path}")


if __name__ == "__main__":
    main()
