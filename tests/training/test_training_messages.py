"""The full text of messages about tasks, states and pure training; see helpers.check_messages."""

from pathlib import Path

import jax
import numpy as np
from helpers import check_messages

import fnn

KEY = jax.random.key(0)
X = np.ones((8, 4), "f")
Y = np.zeros((8, 1), "f")
MODEL = fnn.Dense(1)
TASK = fnn.Task(MODEL, "mse")
SGD = fnn.Task(MODEL, "mse", fnn.sgd(0.1, momentum=0.9))
WIDE = fnn.Task(fnn.Dense(8), "mse")
CLASSES = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy")
SOFTMAX = fnn.Sequential(fnn.Dense(3), fnn.Activation(jax.nn.softmax))


def state(task=TASK):
    return fnn.init(task, KEY, X)


def step(*data, ts=None):
    return fnn.train_step(TASK, ts or state(), data)


def run(*data, **options):
    return fnn.run(TASK, state(), data, epochs=1, **options)


def run_loss(loss):
    task = fnn.Task(MODEL, loss)
    return fnn.train_step(task, state(task), (X, Y))


def follow(callback, ts, **logs):
    return callback(0, ts, logs)


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a list of layers in place of a model": lambda: fnn.Task([fnn.Dense(1)], "mse"),
    "a function in place of a model": lambda: fnn.Task(jax.numpy.tanh, "mse"),
    "a layer that is not called": lambda: fnn.Task(fnn.Dense, "mse"),
    "a model in place of the task": lambda: fnn.init(MODEL, KEY, X),
    "input and key in the wrong order": lambda: fnn.init(TASK, X, KEY),
    "probabilities with a loss of logits": lambda: fnn.init(
        fnn.Task(SOFTMAX, "sparse_categorical_crossentropy"), KEY, X
    ),
    "a penalty that matches no parameter": lambda: state(fnn.Task(MODEL, "mse", penalty=fnn.penalties.l2(1e-4, "w*"))),
    "the pair that fit returns": lambda: step(X, Y, ts=(state(), {"loss": [1.0]})),
    "data before the state": lambda: fnn.train_step(TASK, (X, Y), state()),
    "four items in a batch": lambda: step(X, Y, Y, Y),
    "fewer targets than inputs": lambda: step(X, Y[:7]),
    "sample weights as a column": lambda: step(X, Y[:, 0], Y),
    "a softmax over one output": lambda: state(fnn.Task(fnn.Dense(1, "softmax"), "mse")),
    "the state of a model of another width": lambda: step(X, Y, ts=state(WIDE)),
    "labels from 1": lambda: fnn.train_step(CLASSES, state(CLASSES), (X, np.arange(8) % 3 + 1)),
    "the learning rate of an optimizer that was replaced": lambda: fnn.run(
        TASK.replace(optimizer=fnn.adam(1e-9)), state(), (X, Y)
    ),
    "the optimizer state of another model": lambda: step(X, Y, ts=state()._replace(opt_state=state(WIDE).opt_state)),
    "the optimizer state of another optimizer": lambda: step(X, Y, ts=state(SGD)),
    "fewer rows than one full batch": lambda: run(X, Y, batch_size=32, drop_remainder=True),
    "a batch size of 0": lambda: run(X, Y, batch_size=0),
    "a callback of fit in run": lambda: run(X, Y, callbacks=[lambda epoch, ts, logs: ts]),
    "a metric of unknown direction": lambda: fnn.early_stopping("profit"),
    "weights to restore, as in Keras": (TypeError, lambda: fnn.early_stopping(restore_best_weights=True)),
    "a baseline as text": lambda: fnn.early_stopping(baseline="0.5"),
    "no validation data to watch": lambda: follow(fnn.early_stopping("val_loss"), None, loss=1.0),
    "a misspelled name in the logs": lambda: follow(
        fnn.early_stopping("val_los", mode="min"), None, loss=1.0, val_loss=2.0
    ),
    "a patience in place of the name to watch": lambda: fnn.early_stopping(3),
    "a factor in place of the name to watch": lambda: fnn.reduce_on_plateau(0.5),
    "a loss of one argument": lambda: fnn.Task(MODEL, lambda predictions: predictions),
    "a loss without a return": lambda: run_loss(lambda predictions, targets: None),
    "a loss with a value for each output": lambda: run_loss(lambda predictions, targets: predictions - targets),
    "a loss that is the mean over the batch": lambda: run_loss(lambda predictions, targets: predictions.mean()),
    "one example without the axis of the batch": lambda: step(X[0], Y[0, 0]),
    "a generator of batches": lambda: fnn.run(TASK, state(), iter([(X, Y)]), epochs=1),
}
