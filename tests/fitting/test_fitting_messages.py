"""The full text of messages of fit, evaluate, predict and their callbacks; see helpers.check_messages."""

import functools
import itertools
from pathlib import Path

import jax
import numpy as np
from helpers import check_messages

import fnn

X = np.linspace(-1, 1, 32, dtype="f").reshape(8, 4)
CLASSES = np.array([0, 1, 2, 0, 1, 2, 0, 1])
TASK = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy")


@functools.cache
def state():
    return fnn.init(TASK, jax.random.key(0), X)


def fit(x=X, y=CLASSES, **options):
    return fnn.fit(TASK, state(), (x, y), **{"verbose": 0, **options})


def replaced(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def generator():
    yield X, CLASSES


def accuracy_of_values():
    task = fnn.Task(fnn.Dense(1), "mse", metrics=["accuracy"])
    return fnn.fit(task, fnn.init(task, jax.random.key(0), X), (X, X[:, 0]), verbose=0)


def continued():
    fit(checkpoint="runs")
    fit(checkpoint="runs", batch_size=4)


def test_messages(tmp_path, monkeypatch):
    path = Path(__file__).resolve().with_name("messages.txt")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("name,age\n")
    check_messages(path, CASES)


CASES = {
    "no epochs": lambda: fit(epochs=0),
    "validation data and validation split": lambda: fit(validation_data=(X, CLASSES), validation_split=0.2),
    "a callback that is not called": lambda: fit(callbacks=[fnn.early_stopping]),
    "NaN in the input": lambda: fit(x=replaced(X, (5, 2), np.nan)),
    "labels from 1": lambda: fit(y=CLASSES + 1),
    "inputs of another width": lambda: fit(x=X[:, :3]),
    "a class without a weight": lambda: fit(class_weight=[1.0, 2.0]),
    "an iterator for two epochs": lambda: fnn.fit(TASK, state(), iter([(X, CLASSES)]), epochs=2),
    "an endless iterator": lambda: fnn.fit(TASK, state(), itertools.cycle([(X, CLASSES)])),
    "another batch size than that of the batches": lambda: fnn.fit(TASK, state(), iter([(X, CLASSES)]), batch_size=4),
    "a flag as text": lambda: fit(shuffle="False"),
    "steps per epoch with arrays": lambda: fit(steps_per_epoch=10),
    "validation steps with arrays": lambda: fit(validation_data=(X, CLASSES), validation_steps=10),
    "an endless iterator to evaluate": lambda: fnn.evaluate(TASK, state(), itertools.cycle([(X, CLASSES)])),
    "a generator that is not called": lambda: fnn.evaluate(TASK, state(), continued),
    "a function of one argument for batches": lambda: fnn.on_batch(lambda logs: None),
    "every without a folder": lambda: fit(every=100),
    "the name of a file as checkpoint folder": lambda: fit(checkpoint="model.keras"),
    "another batch size in a run that continues": continued,
    "input and targets as two arguments": lambda: fnn.evaluate(TASK, state(), X, CLASSES),
    "input and targets in predict": lambda: fnn.predict(TASK, state(), (X, CLASSES)),
    "a Keras file for model_checkpoint": lambda: fnn.model_checkpoint("best.h5"),
    "a table of something else to append to": lambda: fit(callbacks=[fnn.csv_log("log.csv", append=True)]),
    "fewer targets than inputs for validation": lambda: fit(validation_data=(X, CLASSES[:7])),
    "a generator function of batches": lambda: fnn.fit(TASK, state(), generator),
    "one row in predict": lambda: fnn.predict(TASK, state(), X[0]),
    "one-hot rows for a sparse loss": lambda: fit(y=np.eye(3, dtype="f")[CLASSES]),
    "fit in a compiled function": lambda: jax.jit(lambda x: fit(x=x))(X),
    "evaluate in a compiled function": lambda: jax.jit(lambda x: fnn.evaluate(TASK, state(), (x, CLASSES)))(X),
    "predict in a compiled function": lambda: jax.jit(lambda x: fnn.predict(TASK, state(), x))(X),
    "a metric of classes with a loss of values": accuracy_of_values,
    "a number in place of a file name": lambda: fnn.csv_log(3),
    "a number in place of the name to watch": lambda: fnn.model_checkpoint("best.safetensors", monitor=3),
}
