"""Are these two pictures the same digit? One encoder, called twice, learns to compare.

    python examples/siamese.py

The two pictures of a pair go through the same layers with the same weights (Bromley et al. 1993, "Signature
verification using a siamese time delay neural network"); their distance decides. The digits 8 and 9 never appear in
training: on them the distance is better than chance, though far from its accuracy on known digits. Runs offline on the
digits of scikit-learn.
"""

import argparse
from typing import Any

import experiment
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn

Pairs = tuple[dict[str, np.ndarray], np.ndarray]


def pairs(x: np.ndarray, y: np.ndarray, count: int, seed: int) -> Pairs:
    """Pairs of pictures, half of them of one digit, and whether they are."""
    rng = np.random.default_rng(seed)
    first = rng.integers(len(x), size=count)
    same = rng.integers(2, size=count).astype(bool)
    partners = [np.flatnonzero((y == y[i]) == alike) for i, alike in zip(first, same, strict=True)]
    second = np.array([rng.choice(candidates) for candidates in partners])
    return {"a": x[first], "b": x[second]}, same.astype("float32")[:, None]


def forward(layers: Any, x: dict[str, np.ndarray]) -> jnp.ndarray:
    a, b = layers.encoder(x["a"]), layers.encoder(x["b"])
    return layers.answer(jnp.sum(jnp.square(a - b), -1, keepdims=True))


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    encoder = fnn.Sequential(
        fnn.Conv(16, 3, activation="relu"),
        fnn.Conv(32, 3, activation="relu"),
        fnn.Flatten(),
        fnn.Dropout(0.2),
        fnn.Dense(16),
    )
    model = fnn.Model(forward, encoder=encoder, answer=fnn.Dense(1, activation="sigmoid"))
    task = fnn.Task(model, "binary_crossentropy", fnn.adam(1e-3), metrics=("accuracy", "auc"))
    images, classes = fnn.data.digits()[:2]
    known = classes < 8
    accuracies, areas = [], []
    for seed in experiment.seeds(args):
        parts = fnn.data.train_test_split(images[known], classes[known], test_size=0.25, seed=seed)
        x_train, x_test, y_train, y_test = parts
        train = pairs(x_train, y_train, 1_000 if args.quick else 20_000, seed)
        test, new = pairs(x_test, y_test, 2_000, seed + 1), pairs(images[~known], classes[~known], 2_000, seed + 2)
        ts = fnn.init(task, experiment.key(seed), train[0])
        ts, _ = fnn.fit(task, ts, train, epochs=1 if args.quick else 10, batch_size=128, verbose=0)
        accuracies.append(fnn.evaluate(task, ts, test)["accuracy"])
        areas.append(fnn.evaluate(task, ts, new)["auc"])
        print(f"seed {seed}: accuracy {accuracies[-1]:.4f} on known digits, AUC {areas[-1]:.4f} on 8 and 9")

    print(fnn.summary(task, train[0]))
    shown = {name: a[:8] for name, a in new[0].items()}
    answers = np.asarray(fnn.predict(task, ts, shown))[:, 0]
    _, axes = plt.subplots(2, 8, figsize=(10, 3.2), layout="constrained")
    fnn.plot.images(np.concatenate([shown["a"], shown["b"]]), cmap="gray_r", axes=axes)
    for ax, answer, same in zip(axes[0], answers, new[1][:8, 0], strict=True):
        right = (answer > 0.5) == bool(same)
        ax.set_title(f"{answer:.2f} {'right' if right else 'WRONG'}", color="black" if right else fnn.plot.COLORS[1])
    axes[0, 0].figure.suptitle("Same digit? Pairs of digits that training never saw")
    experiment.save(axes[0, 0], args, "siamese.png")
    return [
        experiment.Figure(16, "siamese: accuracy on pairs of known digits", accuracies, 0.95),
        experiment.Figure(16, "siamese: AUC on pairs of digits never seen", areas, 0.6),
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
