"""A picture and a row of a table in, a class and a number out: one model with two inputs and two outputs.

    python examples/two_inputs.py

The picture is a digit that was turned by up to 60 degrees; the row holds readings of three poor compasses, one of
which is broken. The model predicts the digit and the angle. Models that see one input alone show what each contributes.
Runs offline on the digits of scikit-learn.
"""

import argparse
from typing import Any

import experiment
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn

Inputs = dict[str, np.ndarray]


def data(seed: int) -> tuple[Inputs, Inputs]:
    """Turned digits with compass readings, and their classes and angles in radians."""
    rng = np.random.default_rng(seed)
    images, classes = fnn.data.digits()[:2]
    angles = rng.uniform(-np.pi / 3, np.pi / 3, len(images)).astype("float32")
    cos, sin = np.cos(angles), np.sin(angles)
    # Turned about the middle of the image, (3.5, 3.5).
    shift_rows, shift_columns = 3.5 * (1 - cos + sin), 3.5 * (1 - cos - sin)
    rows = np.stack([cos, -sin, shift_rows, sin, cos, shift_columns], -1).reshape(-1, 2, 3)
    readings = angles[:, None] + rng.normal(0, [0.3, 0.3, 3.0], (len(images), 3))
    turned = fnn.affine_transform(jnp.asarray(images), jnp.asarray(rows, jnp.float32))
    inputs = {"image": np.asarray(turned), "row": readings.astype("float32")}
    return inputs, {"digit": classes, "angle": angles[:, None]}


def model(sees: tuple[str, ...]) -> fnn.Layer:
    picture = fnn.Sequential(
        fnn.Conv(16, 3, activation="relu"), fnn.Conv(32, 3, activation="relu"), fnn.Flatten(), fnn.Dropout(0.3)
    )
    parts = {"image": picture, "row": fnn.Dense(16, activation="relu")}

    def forward(layers: Any, x: Inputs) -> Inputs:
        joined = jnp.concatenate([getattr(layers, name)(x[name]) for name in sees], axis=-1)
        hidden = layers.hidden(joined)
        return {"digit": layers.digit(hidden), "angle": layers.angle(hidden)}

    heads = {"digit": fnn.Dense(10, activation="softmax"), "angle": fnn.Dense(1)}
    chosen = {name: parts[name] for name in sees}
    return fnn.Model(forward, **chosen, hidden=fnn.Dense(64, activation="relu"), **heads)


def task(sees: tuple[str, ...]) -> fnn.Task:
    return fnn.Task(
        model(sees),
        loss={"digit": "sparse_categorical_crossentropy", "angle": "mse"},
        optimizer=fnn.adam(2e-3),
        metrics={"digit": ["accuracy"], "angle": ["mae"]},
        loss_weights={"digit": 1.0, "angle": 2.0},
    )


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    found: dict[tuple[str, ...], list[dict[str, float]]] = {("image", "row"): [], ("image",): [], ("row",): []}
    for seed in experiment.seeds(args):
        inputs, targets = data(seed)
        rows = np.arange(len(inputs["image"]))
        train, test = fnn.data.train_test_split(rows, test_size=0.25, seed=seed)
        for sees, scores in found.items():
            x, y = ({name: a[train] for name, a in part.items()} for part in (inputs, targets))
            x_test, y_test = ({name: a[test] for name, a in part.items()} for part in (inputs, targets))
            ts = fnn.init(task(sees), experiment.key(seed), x)
            ts, _ = fnn.fit(task(sees), ts, (x, y), epochs=1 if args.quick else 30, batch_size=64, verbose=0)
            scores.append(dict(fnn.evaluate(task(sees), ts, (x_test, y_test)).items()))
            if sees == ("image", "row"):
                both, best, unseen = task(sees), ts, (x_test, y_test)

    for sees, scores in found.items():
        accuracy, error = (np.mean([one[name] for one in scores]) for name in ("digit_accuracy", "angle_mae"))
        print(f"{' and '.join(sees):14}  digit {accuracy:.3f}, angle within {np.degrees(error):.1f} degrees")

    experiment.save(fnn.plot.model(both, unseen[0]), args, "two_inputs_model.png")
    predicted = fnn.predict(both, best, unseen[0])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    angles = [np.degrees(np.asarray(one["angle"])[:, 0]) for one in (unseen[1], predicted)]
    left.plot(*angles, ".", color=fnn.plot.COLORS[0], alpha=0.5)
    left.plot([-60, 60], [-60, 60], color="0.5", linewidth=1)
    left.set(xlabel="angle in degrees", ylabel="predicted", title="angle")
    digits = np.asarray(predicted["digit"]).argmax(-1)
    fnn.plot.confusion_matrix(digits, unseen[1]["digit"], ax=right)
    experiment.save(figure, args, "two_inputs.png")
    alone, together = found["row",], found["image", "row"]
    gains = [b["digit_accuracy"] - a["digit_accuracy"] for a, b in zip(alone, together, strict=True)]
    errors = [b["angle_mae"] / a["angle_mae"] for a, b in zip(alone, together, strict=True)]
    return [
        experiment.Figure(15, "two inputs: digit accuracy above that without the picture", gains, 0.5),
        experiment.Figure(15, "two inputs: error of the angle, in those of the row alone", errors, 1.0, "at most"),
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
