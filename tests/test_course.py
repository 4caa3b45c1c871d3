"""A first Keras course, cell by cell: in fnn each cell runs, and takes no more lines than in Keras."""

import contextlib
import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest

# Titles, then the cell in Keras and the cell in fnn. Cells share their names, as in a notebook.
CELLS = {
    "imports": (
        """
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
keras.utils.set_random_seed(0)
""",
        """
import fnn
import jax
import jax.numpy as jnp
import numpy as np
key = jax.random.key(0)
""",
    ),
    "one neuron by hand": (
        """
x = np.array([0.4, 1.2, 3.5])
w = np.array([1.0, 2.0, 1.0])
output = 1 / (1 + np.exp(-(w @ x + 1.3)))
""",
        """
x, w = jnp.array([0.4, 1.2, 3.5]), jnp.array([[1.0], [2.0], [1.0]])
neuron = {"kernel": w, "bias": jnp.array([1.3])}
output = fnn.activations.sigmoid(fnn.dense(neuron, x))
""",
    ),
    "linear regression": (
        """
x = np.linspace(-1, 1, 50, dtype="float32")[:, None]
line = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
line.compile(keras.optimizers.SGD(0.1), "mse")
line.fit(x, 3 * x + 1, epochs=20, verbose=0)
slope, shift = line.get_weights()
""",
        """
x = np.linspace(-1, 1, 50, dtype="float32")[:, None]
line = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
ts = fnn.init(line, key, x)
ts, _ = fnn.fit(line, ts, (x, 3 * x + 1), epochs=20, verbose=0)
slope, shift = ts.params["kernel"], ts.params["bias"]
""",
    ),
    "data": (
        """
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
""",
        """
x, y = fnn.data.digits()[:2]
x_train, x_test, y_train, y_test = fnn.data.train_test_split(x, y, seed=0)
""",
    ),
    "a network with softmax": (
        """
model = keras.Sequential()
model.add(keras.Input((8, 8, 1)))
model.add(layers.Flatten())
model.add(layers.Dense(32, activation="relu", kernel_regularizer="l2"))
model.add(layers.Dropout(0.2))
model.add(layers.Dense(10, activation="softmax"))
model.summary()
""",
        """
model = fnn.Sequential(
    fnn.Flatten(),
    fnn.Dense(32, activation="relu", kernel_regularizer="l2"),
    fnn.Dropout(0.2),
    fnn.Dense(10, activation="softmax"),
)
print(fnn.summary(model, x))
""",
    ),
    "compile": (
        """
model.compile(
    optimizer="rmsprop",
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
""",
        """
task = fnn.Task(
    model, "sparse_categorical_crossentropy", "rmsprop", metrics=["accuracy"]
)
ts = fnn.init(task, key, x)
""",
    ),
    "train with early stopping": (
        """
stop = keras.callbacks.EarlyStopping(
    monitor="val_loss", patience=2, restore_best_weights=True
)
history = model.fit(
    x_train, y_train, epochs=3, validation_split=0.1, callbacks=[stop], verbose=0
)
""",
        """
stop = fnn.early_stopping("val_loss", patience=2)
ts, history = fnn.fit(
    task, ts, (x_train, y_train), epochs=3, validation_split=0.1, callbacks=[stop],
    verbose=0,
)
""",
    ),
    "learning curves": (
        """
import matplotlib.pyplot as plt
plt.plot(history.history["loss"], label="training")
plt.plot(history.history["val_loss"], label="validation")
plt.legend()
""",
        """
fnn.plot.learning_curves(history)
""",
    ),
    "test": (
        """
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(loss, accuracy)
""",
        """
loss, accuracy = fnn.evaluate(task, ts, (x_test, y_test))
print(loss, accuracy)
""",
    ),
    "predictions": (
        """
probabilities = model.predict(x_test, verbose=0)
classes = probabilities.argmax(-1)
""",
        """
probabilities = fnn.predict(task, ts, x_test)
classes = probabilities.argmax(-1)
""",
    ),
    "pictures of predictions": (
        """
figure, axes = plt.subplots(2, 4)
for ax, image, guess, true in zip(axes.flat, x_test, classes, y_test):
    ax.imshow(image[..., 0], cmap="gray_r")
    ax.set_title(f"{guess} ({true})", color="green" if guess == true else "red")
    ax.axis("off")
""",
        """
fnn.plot.predictions(x_test[:8], probabilities[:8], y_test[:8])
""",
    ),
    "report": (
        """
from sklearn.metrics import classification_report, confusion_matrix
print(confusion_matrix(y_test, classes))
print(classification_report(y_test, classes, zero_division=0))
""",
        """
print(fnn.metrics.confusion_matrix(classes, y_test))
print(fnn.classification_report(classes, y_test))
""",
    ),
    "save and load": (
        """
model.save("digits.keras")
again = keras.models.load_model("digits.keras")
again.evaluate(x_test, y_test, verbose=0)
""",
        """
fnn.save("digits.safetensors", ts, task)
again, saved = fnn.load("digits.safetensors")
fnn.evaluate(again, saved, (x_test, y_test))
""",
    ),
    "convolutions": (
        """
cnn = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
)
cnn.compile("adam", "sparse_categorical_crossentropy", metrics=["acc"])
cnn.fit(x_train, y_train, batch_size=128, verbose=0)
""",
        """
cnn = fnn.Sequential(
    fnn.Conv(8, 3, activation="relu"),
    fnn.MaxPool(),
    fnn.Flatten(),
    fnn.Dense(10, activation="softmax"),
)
cnn = fnn.Task(cnn, "sparse_categorical_crossentropy", metrics=["acc"])
ts = fnn.init(cnn, key, x)
fnn.fit(cnn, ts, (x_train, y_train), batch_size=128, verbose=0)
""",
    ),
    "yes or no": (
        """
odd = keras.Sequential([keras.Input((64,)), layers.Dense(1, activation="sigmoid")])
odd.compile("adam", "binary_crossentropy", metrics=["accuracy"])
odd.fit(x_train.reshape(-1, 64), y_train % 2, verbose=0)
answers = odd.predict(x_test.reshape(-1, 64), verbose=0) > 0.5
""",
        """
odd = fnn.Task(fnn.Dense(1, "sigmoid"), "binary_crossentropy", metrics=["accuracy"])
ts = fnn.init(odd, key, (64,))
ts, _ = fnn.fit(odd, ts, (x_train.reshape(-1, 64), y_train % 2), verbose=0)
answers = fnn.predict(odd, ts, x_test.reshape(-1, 64)) > 0.5
""",
    ),
    "a branch and two outputs": (
        """
image = keras.Input((8, 8, 1))
flat = layers.Flatten()(image)
hidden = layers.Concatenate()([layers.Dense(16, "relu")(flat), flat])
digit = layers.Dense(10, "softmax", name="digit")(hidden)
parity = layers.Dense(1, "sigmoid", name="odd")(hidden)
both = keras.Model(image, {"digit": digit, "odd": parity})
both.compile(
    loss={"digit": "sparse_categorical_crossentropy", "odd": "binary_crossentropy"},
    loss_weights={"digit": 1.0, "odd": 0.5},
    metrics={"digit": ["accuracy"]},
)
both.fit(x_train, {"digit": y_train, "odd": y_train[:, None] % 2}, verbose=0)
""",
        """
def forward(layers, image):
    flat = image.reshape(-1, 64)
    hidden = jnp.concatenate([layers.hidden(flat), flat], axis=-1)
    return {"digit": layers.digit(hidden), "odd": layers.odd(hidden)}
heads = {"digit": fnn.Dense(10, "softmax"), "odd": fnn.Dense(1, "sigmoid")}
both = fnn.Task(
    fnn.Model(forward, hidden=fnn.Dense(16, "relu"), **heads),
    loss={"digit": "sparse_categorical_crossentropy", "odd": "binary_crossentropy"},
    loss_weights={"digit": 1.0, "odd": 0.5}, metrics={"digit": ["accuracy"]},
)
ts, targets = fnn.init(both, key, x), {"digit": y_train, "odd": y_train[:, None] % 2}
ts, history = fnn.fit(both, ts, (x_train, targets), verbose=0)
""",
    ),
    "text windows": (
        """
text = "the quick brown fox jumps over the lazy dog. " * 8
symbols = sorted(set(text))
number = {symbol: i for i, symbol in enumerate(symbols)}
ids = np.array([number[symbol] for symbol in text])
windows = np.array([ids[i : i + 10] for i in range(0, len(ids) - 10, 3)])
following = np.array([ids[i + 10] for i in range(0, len(ids) - 10, 3)])
""",
        """
text = "the quick brown fox jumps over the lazy dog. " * 8
vocabulary = fnn.text.Vocabulary.of(text)
ids = vocabulary.encode(text)
windows, following = fnn.text.windows(ids, length=10, step=3)
""",
    ),
    "an LSTM that writes": (
        """
rnn = keras.Sequential(
    [
        keras.Input((10, len(symbols))),
        layers.LSTM(16),
        layers.Dense(len(symbols), activation="softmax"),
    ]
)
rnn.compile("rmsprop", "sparse_categorical_crossentropy")
rnn.fit(np.eye(len(symbols))[windows], following, verbose=0)
written = list(ids[:10])
for _ in range(3):
    p = rnn.predict(np.eye(len(symbols))[None, written[-10:]], verbose=0)[0]
    p = np.exp(np.log(p + 1e-9) / 0.5)
    written.append(np.random.choice(len(p), p=p / p.sum()))
print("".join(symbols[i] for i in written))
""",
        """
symbols = len(vocabulary)
rnn = fnn.Sequential(fnn.LSTM(16, input_dim=symbols), fnn.Dense(symbols, "softmax"))
rnn = fnn.Task(rnn, "sparse_categorical_crossentropy", "rmsprop")
ts = fnn.init(rnn, key, windows)
ts, _ = fnn.fit(rnn, ts, (windows, following), verbose=0)
start, options = text[:10], {"length": 3, "temperature": 0.5}
print(fnn.text.generate_text(rnn, ts, vocabulary, start, key, **options))
""",
    ),
}


def lines(cell):
    return [line for line in cell.splitlines() if line.strip()]


@pytest.mark.parametrize("title", CELLS)
def test_no_cell_is_longer_than_in_keras(title):
    keras, here = map(lines, CELLS[title])
    assert len(here) <= len(keras)
    assert max(map(len, here)) <= 88


def run(library, monkeypatch, folder):
    monkeypatch.chdir(folder)
    names = {}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for title, cells in CELLS.items():
            try:
                exec(compile(cells[library], f"<{title}>", "exec"), names)
            except Exception as error:
                raise AssertionError(f"cell {title!r}: {error}") from error
    plt.close("all")
    return names


@pytest.mark.slow
def test_every_cell_runs(monkeypatch, tmp_path):
    names = run(1, monkeypatch, tmp_path)
    np.testing.assert_allclose(names["output"], 0.9994997988929205, rtol=1e-6)
    np.testing.assert_allclose(names["slope"], 3.0, atol=0.7)
    np.testing.assert_allclose(names["probabilities"].sum(-1), 1.0, rtol=1e-5)
    assert names["accuracy"] > 0.5
    assert names["answers"].dtype == bool
    assert names["answers"].shape == (450, 1)
    assert set(names["history"]) == {"loss", "digit_loss", "odd_loss", "digit_accuracy", "seconds"}


@pytest.mark.slow
def test_the_cells_in_keras_run_too(monkeypatch, tmp_path):
    pytest.importorskip("keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = run(0, monkeypatch, tmp_path)
    assert names["accuracy"] > 0.5
