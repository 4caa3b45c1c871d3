"""Draw every picture of the gallery and write its page: ``python docs/gallery.py`` (half a minute, no internet).

The page shows the same code that this script runs. The blocks of the page run in order, in one namespace.
"""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")  # draw to files; needs no display
import matplotlib.pyplot as plt
from PIL import Image

HERE = Path(__file__).parent
HEAD = """# Gallery

Every plot of `fnn.plot`. Each function takes an optional `ax` (or `axes`), draws into it and returns it, so you can
change titles, labels and limits afterwards with matplotlib. The colours suit colour-blind readers, and no information
depends on colour alone.

The code on this page runs from top to bottom. `python docs/gallery.py` runs it, draws the pictures and writes the page.
"""


class Entry(NamedTuple):
    """A picture: its title and description, the code that draws it, and the code to run first."""

    title: str
    sentence: str
    code: str
    setup: str = ""

    @property
    def file(self) -> str:
        """The picture's file name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") + ".png"


ENTRIES = [
    Entry(
        "Activation",
        "One activation function with its derivative. Pass a name or any function of an array.",
        'fnn.plot.activation("gelu")',
        "import fnn\nimport jax\nimport jax.numpy as jnp\nimport numpy as np",
    ),
    Entry(
        "All activations",
        "Every named activation (solid) with its derivative (dashed). Pass a list to select some.",
        "fnn.plot.activations()",
    ),
    Entry(
        "Learning curves",
        "A metric by epoch, for training and validation.",
        'fnn.plot.learning_curves(history, "accuracy")',
        """\
x, y, _, classes = fnn.data.digits()
x_train, x_test, y_train, y_test = fnn.data.train_test_split(
    x, y, test_size=360, stratify=y
)
# Curves guide choices, so they use validation rows, not the test rows.
x_train, x_val, y_train, y_val = fnn.data.train_test_split(
    x_train, y_train, test_size=200, stratify=y_train
)

model = fnn.Sequential(
    fnn.Conv(12, 3, activation="relu"), fnn.MaxPool(2), fnn.Flatten(), fnn.Dense(10)
)
task = fnn.Task(
    model, "sparse_categorical_crossentropy", fnn.adam(3e-3), metrics=("accuracy",)
)
ts = fnn.init(task, jax.random.key(0), x_train[:1])
ts, history = fnn.run(
    task,
    ts,
    (x_train, y_train),
    epochs=15,
    batch_size=32,
    validation_data=(x_val, y_val),
)

logits = fnn.predict(task, ts, x_test)
predicted = np.asarray(logits.argmax(-1))
p = fnn.activations.softmax(logits)""",
    ),
    Entry(
        "Learning curves of many runs",
        "The histories of several training runs: a thin line for each, and a thick line for their median.",
        'fnn.plot.learning_curves(histories, "loss")',
        """\
few = x_train[:200], y_train[:200]
linear = fnn.Sequential(fnn.Flatten(), fnn.Dense(10))
small = fnn.Task(linear, "sparse_categorical_crossentropy", fnn.adam(3e-3))


def trial(key):
    start = fnn.init(small, key, x_train[:1])
    return fnn.run(small, start, few, epochs=20, validation_data=(x_val, y_val))[1]


histories = jax.jit(fnn.many(trial))(jax.random.split(jax.random.key(1), 6))""",
    ),
    Entry(
        "Curves of a sweep",
        "All trials of `fnn.sweep`, coloured by one argument. The best are bold and labelled, failed ones dotted.",
        "fnn.plot.sweep_curves(swept)",
        """\
def swept_trial(rate, momentum, seed):
    task = fnn.Task(small.model, small.loss, fnn.sgd(rate, momentum=momentum))
    start = fnn.init(task, jax.random.key(seed), x_train[:1])
    return fnn.run(task, start, few, epochs=20, validation_data=(x_val, y_val))


space = {
    "rate": [0.03, 0.1, 0.3, 1.0, 3.0],
    "momentum": [0.5, 0.8, 0.9, 0.95],
    "seed": [0, 1, 2],
}
swept = fnn.sweep(swept_trial, space, verbose=0)""",
    ),
    Entry(
        "Map of a sweep",
        "The score by two arguments, brighter where it is better, averaged over the others (here the seeds).",
        "fnn.plot.sweep_map(swept)",
    ),
    Entry(
        "Line of a sweep",
        "The score by one argument, with its range over the others.",
        'fnn.plot.sweep_line(swept, "rate")',
    ),
    Entry(
        "Images",
        "Images with their labels. Small numbers are black by default; `gray_r` shows digits as ink on paper.",
        'fnn.plot.images(x_train[:16], y_train[:16], cmap="gray_r")',
    ),
    Entry(
        "Augmented images",
        "Enlarged digits in the first row; below, three draws of the layers that rotate, shift and zoom in training.",
        'fnn.plot.images(np.concatenate([large, *drawn]), cmap="gray_r")',
        """\
augmentation = fnn.Sequential(
    fnn.RandomRotation(0.05, "constant"),
    fnn.RandomTranslation(0.1, 0.1, "constant"),
    fnn.RandomZoom(0.2, fill_mode="constant"),
)
large, _ = fnn.UpSampling(3, "bilinear").apply({}, {}, x_train[:8])
drawn = [
    augmentation.apply({}, {}, large, key=jax.random.key(seed), train=True)[0]
    for seed in range(3)
]""",
    ),
    Entry(
        "Images with predictions",
        "Titles show predicted (true): green if correct, red and bold if wrong. Here the errors come first.",
        """\
first = order[:24]
fnn.plot.images(x_test[first], y_test[first], predicted[first], cmap="gray_r")""",
        'order = np.argsort(predicted == y_test, kind="stable")',
    ),
    Entry(
        "Class probabilities",
        "The class probabilities of one example, with the true class marked.",
        "fnn.plot.probabilities(p[order[0]], label=y_test[order[0]])",
    ),
    Entry(
        "Images with class probabilities",
        "Images next to bars of their class probabilities, green if correct and red if wrong.",
        'fnn.plot.predictions(x_test[some], p[some], y_test[some], cmap="gray_r")',
        "some = order[[0, 1, 2, -3, -2, -1]]",
    ),
    Entry(
        "Confusion matrix",
        "Number of examples by true and predicted class.",
        "fnn.plot.confusion_matrix(logits, y_test)",
    ),
    Entry(
        "Confusion matrix in percent",
        "The same for three iris species, with names, as percentages of each true class.",
        "fnn.plot.confusion_matrix(scores(petals), y, names=flowers.classes, normalize=True)",
        """\
flowers = fnn.data.iris()
petals, y = flowers.x[:, 2:], flowers.y
task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.adam(0.05))
ts = fnn.init(task, jax.random.key(0), petals[:1])
ts, _ = fnn.run(task, ts, (petals, y), epochs=60)


def scores(points):
    return fnn.predict(task, ts, points)""",
    ),
    Entry(
        "Decision regions",
        "Several outputs: each point has the colour of the class with the highest score.",
        """\
ax = fnn.plot.decision_boundary(scores, petals, y, names=flowers.classes)
ax.set(xlabel="petal length, cm", ylabel="petal width, cm")""",
    ),
    Entry(
        "Decision boundary",
        "One output: a colour on each side of the boundary, stronger where the network is more certain.",
        "fnn.plot.decision_boundary(logit, data.x, data.y, names=data.classes)",
        """\
data = fnn.data.spiral(jax.random.key(0), 300, noise=0.05)
hidden = [fnn.Dense(24, activation="tanh") for _ in range(3)]
model = fnn.Sequential(*hidden, fnn.Dense(1))
bent = fnn.Task(model, "binary_crossentropy", fnn.adam(0.01))
bent_ts = fnn.init(bent, jax.random.key(1), data.x[:1])
bent_ts, _ = fnn.run(bent, bent_ts, (data.x, data.y), epochs=150)


def logit(points):
    return fnn.predict(bent, bent_ts, points)""",
    ),
    Entry(
        "Line of a perceptron",
        "A threshold unit outputs 0 or 1. Rosenblatt's rule found this line.",
        """\
names = ["another", "setosa"]
ax = fnn.plot.decision_boundary(found.predict, petals, setosa, names=names)
ax.set(xlabel="petal length, cm", ylabel="petal width, cm")""",
        "setosa = (flowers.y == 0).astype(int)\nfound = fnn.classic.perceptron(petals, setosa)",
    ),
    Entry(
        "Regression surface",
        "Numbers instead of classes: the output as shades, and the points' targets on the same scale.",
        "fnn.plot.decision_boundary(height, hills.x, hills.y)",
        """\
hills = fnn.data.multi_gaussian(jax.random.key(0), 1000)
hidden = [fnn.Dense(32, activation="tanh") for _ in range(2)]
model = fnn.Sequential(*hidden, fnn.Dense(1))
land = fnn.Task(model, "mse", fnn.adam(0.01))
land_ts = fnn.init(land, jax.random.key(0), hills.x[:1])
land_ts, _ = fnn.run(land, land_ts, (hills.x, hills.y), epochs=150)


def height(points):
    return fnn.predict(land, land_ts, points)""",
    ),
    Entry(
        "Optimizer paths",
        "Paths of several optimizers over a surface of two parameters; contour levels grow by a constant factor.",
        """\
low, high = (-1.7, -0.7), (1.7, 1.9)
fnn.plot.optimizer_paths(surface, paths, low=low, high=high, minimum=(1, 1))""",
        """\
def surface(w):
    return (1 - w[0]) ** 2 + 20 * (w[1] - w[0] ** 2) ** 2


def path(optimizer, start=jnp.array([-1.2, 1.2]), steps=200):
    def body(carry, _):
        w, state = carry
        updates, state = optimizer.update(jax.grad(surface)(w), state, w)
        return (fnn.apply_updates(w, updates), state), w

    return jax.lax.scan(body, (start, optimizer.init(start)), length=steps + 1)[1]


paths = {
    "SGD": path(fnn.sgd(0.003)),
    "Momentum": path(fnn.sgd(0.003, momentum=0.9)),
    "RMSprop": path(fnn.rmsprop(0.02)),
    "Adam": path(fnn.adam(0.05)),
}""",
    ),
    Entry(
        "Layer statistics",
        "One value per layer and run. Here, gradient norms in a deep network: with sigmoid units, they vanish.",
        'fnn.plot.layer_statistics({kind: norms(kind) for kind in ("sigmoid", "relu")})',
        """\
def norms(activation):
    names = [f"dense_{i + 1}" for i in range(8)]
    layers = [fnn.Dense(16, activation=activation, name=name) for name in names]
    deep = fnn.Sequential(*layers, fnn.Dense(1, name="output"))
    params, state = deep.init(jax.random.key(0), data.x)

    def loss(params):
        out, _ = deep.apply(params, state, data.x)
        return jnp.mean((out[:, 0] - data.y) ** 2)

    grads = jax.jit(jax.grad(loss))(params)
    return {name: jnp.linalg.norm(grads[name]["kernel"]) for name in [*names, "output"]}""",
    ),
    Entry(
        "Plan",
        "What a training step costs in each layer, and what it needs in memory; with `device=`, on an accelerator that "
        "you do not need to have.",
        "fnn.plot.plan(fnn.plan(photos, (x, y), batch_size=128))",
        """\
same = fnn.Conv(16, 3, padding="same", activation="relu")
body = fnn.Sequential(same, fnn.BatchNorm())
head = fnn.MaxPool(2), fnn.Flatten(), fnn.Dense(10)
model = fnn.Sequential(fnn.Conv(16, 3, activation="relu"), fnn.Residual(body), *head)
photos = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam())
x = jax.ShapeDtypeStruct((60_000, 28, 28, 1), jnp.float32)
y = jax.ShapeDtypeStruct((60_000,), jnp.int32)""",
    ),
    Entry(
        "Reliability",
        "Accuracy by confidence, for one network and for an ensemble of ten. With few training rows, each network is "
        "overconfident; the ensemble is less so.",
        """\
one, all_ten = reliability(predictions.members[0]), reliability(predictions.mean)
fnn.plot.reliability({"one network": one, "ensemble of 10": all_ten})""",
        """\
clean = np.concatenate([x_train, x_test]).reshape(-1, 64)
noise = np.random.default_rng(0).normal(0, 0.25, clean.shape)
noisy, labels = clean + noise.astype("float32"), np.concatenate([y_train, y_test])
hidden = [fnn.Dense(64, activation="relu") for _ in range(2)]
model = fnn.Sequential(*hidden, fnn.Dense(10))
dense = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(3e-3))
rows = noisy[:500], labels[:500]
ten = fnn.ensemble(dense, jax.random.key(0), rows, members=10, epochs=40, verbose=0)
predictions = ten.predict(noisy[500:])


def reliability(probabilities):
    return fnn.metrics.reliability(probabilities, labels[500:])""",
    ),
    Entry(
        "Intervals along x",
        "A deep ensemble of five: bands meant to contain 90 % of the points, wide where there are none.",
        """\
curve = wave.predict(grid)
ax = fnn.plot.intervals(*curve.interval(0.9), mean=curve.mean, x=grid)
ax.plot(place, level, ".", color="0.2", markersize=3)""",
        """\
rng = np.random.default_rng(0)
place = np.concatenate([rng.uniform(-3, -0.5, 150), rng.uniform(1.5, 3, 150)])
place = place[:, None].astype("float32")


def noisy_wave(x):
    return (np.sin(2 * x) + rng.normal(0, np.where(x < 0, 0.1, 0.3))).astype("float32")


level = noisy_wave(place)
hidden = [fnn.Dense(32, activation="relu") for _ in range(2)]
model = fnn.Sequential(*hidden, fnn.Dense(2))
wave = fnn.Task(model, "gaussian_nll", fnn.adam(0.01))
wave = fnn.ensemble(wave, jax.random.key(0), (place, level), epochs=400, verbose=0)
grid = np.linspace(-4, 4, 200, dtype="float32")[:, None]""",
    ),
    Entry(
        "Intervals by prediction",
        "The same for any number of inputs: new rows sorted by prediction, with their true values.",
        "fnn.plot.intervals(*forecast.interval(0.9), noisy_wave(place), mean=forecast.mean)",
        "forecast = wave.predict(place)",
    ),
    Entry(
        "Layer report of a vanishing gradient",
        "One training step, layer by layer: outputs, gradients, and updates relative to the parameters. Each layer of "
        "sigmoid units passes back a quarter of the gradient, so the first layers hardly change.",
        """\
batch = x_train[:512], y_train[:512]
fnn.plot.layer_report(fnn.layer_report(deep, deep_ts, batch))""",
        """\
layers = [fnn.Dense(32, activation="sigmoid") for _ in range(8)]
model = fnn.Sequential(fnn.Flatten(), *layers, fnn.Dense(10))
deep = fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.1))
deep_ts = fnn.init(deep, jax.random.key(0), x_train[:1])""",
    ),
    Entry(
        "Layer report of dead units",
        "Too high a learning rate pushed ReLU units below 0 for every example. They no longer receive gradients, so "
        "they stay dead.",
        "fnn.plot.layer_report(fnn.layer_report(wide, wide_ts, batch))",
        """\
layers = [fnn.Dense(64, activation="relu") for _ in range(2)]
model = fnn.Sequential(fnn.Flatten(), *layers, fnn.Dense(10))
wide = fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(6.0))
wide_ts = fnn.init(wide, jax.random.key(0), x_train[:1])
wide_ts, _ = fnn.run(wide, wide_ts, (x_train, y_train), epochs=3, batch_size=64)""",
    ),
    Entry(
        "Model",
        "The layers of a model from inputs to outputs, with output shapes and parameters.",
        "fnn.plot.model(two_inputs, example)",
        """\
def forward(layers, x):
    image, table = layers.image(x["image"]), layers.table(x["table"])
    h = jnp.concatenate([image, table], -1)
    h = h + layers.block(h)
    return {"digit": layers.digit(h), "angle": layers.angle(h)}


two_inputs = fnn.Model(
    forward,
    image=fnn.Sequential(
        fnn.Conv(8, 3, activation="relu"), fnn.Flatten(), fnn.Dense(24)
    ),
    table=fnn.Dense(8),
    block=fnn.Dense(32, "relu"),
    digit=fnn.Dense(10),
    angle=fnn.Dense(1),
)
example = {"image": jnp.ones((1, 8, 8, 1)), "table": jnp.ones((1, 5))}""",
    ),
    Entry(
        "Threshold unit",
        "The region where a McCulloch-Pitts unit of one or two inputs fires, with its outputs at the corners.",
        "fnn.plot.unit(fnn.classic.AND)",
    ),
    Entry(
        "Network of threshold units",
        "The units of a logic formula. The number in a unit is its threshold; dashed lines have negative weights.",
        'fnn.plot.network(fnn.classic.formula("(a or b) and not (a and b)"))',
    ),
]


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for entry in ENTRIES:
        parts += [f"## {entry.title}\n", f"{entry.sentence}\n"]
        parts += [
            f"```python\n{code}\n```\n" for code in (entry.setup, entry.code) if code
        ]
        parts.append(f"![{entry.title.lower()}](gallery/{entry.file})\n")
    return "\n".join(parts)


def main() -> None:
    """Draw all pictures and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder of gallery.md and gallery/"
    )
    out = parser.parse_args().out
    (out / "gallery").mkdir(parents=True, exist_ok=True)
    names: dict[str, object] = {}
    for entry in ENTRIES:
        exec(entry.setup, names)
        exec(entry.code, names)
        path = out / "gallery" / entry.file
        plt.gcf().savefig(path, dpi=100)
        # A palette reduces the files to a third of their size without visible loss.
        Image.open(path).convert("RGB").quantize(
            256, kmeans=5, dither=Image.Dither.NONE
        ).save(path, optimize=True)
        plt.close("all")
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    (out / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
