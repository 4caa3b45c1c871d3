"""The full text of messages of summary, check and layer_report; see helpers.check_messages."""

from pathlib import Path

import jax
import numpy as np
from helpers import check_messages

import fnn

IMAGES = np.ones((2, 28, 28), np.uint8)
ROWS = np.ones((2, 4), "f")
Y = np.zeros((2, 1), "f")
MODEL = fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.Dense(1))
TASK = fnn.Task(MODEL, "mse")
CONV = fnn.Sequential(fnn.Conv(8, 3), fnn.MaxPool(), fnn.Dense(10), fnn.LSTM(4))


def report(*data):
    return fnn.layer_report(TASK, fnn.init(TASK, jax.random.key(0), ROWS), data)


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a summary of a state": lambda: fnn.summary(fnn.init(TASK, jax.random.key(0), ROWS), ROWS),
    "a number in place of an input": lambda: fnn.summary(MODEL, 784),
    "the name of a file in place of an input": lambda: fnn.summary(MODEL, "images.npy"),
    "a length of 0 in the shape": lambda: fnn.summary(MODEL, (28, 0)),
    "frozen parameters that are not there": lambda: fnn.summary(MODEL, ROWS, frozen="conv*"),
    "images as bytes": lambda: fnn.summary(fnn.Sequential(fnn.Flatten(), fnn.Dense(10)), IMAGES),
    "images that look like sequences": lambda: fnn.summary(fnn.Conv(8, 3), np.ones((2, 28, 28), "f")),
    "a state in check": lambda: fnn.check(TASK, fnn.init(TASK, jax.random.key(0), ROWS)),
    "a layer in the middle that does not fit": lambda: fnn.check(CONV, (28, 28, 1)),
    "a shape for ids": lambda: fnn.check(fnn.Sequential(fnn.Embedding(10, 4), fnn.LSTM(8)), (12,)),
    "probabilities with a loss of logits": lambda: fnn.check(
        fnn.Task(fnn.Dense(1, activation=jax.nn.sigmoid), "binary_crossentropy"), ROWS
    ),
    "a report without a state": lambda: fnn.layer_report(TASK, (ROWS, Y), None),
    "a report without targets": lambda: fnn.layer_report(TASK, fnn.init(TASK, jax.random.key(0), ROWS), ROWS),
    "a report of NaN": lambda: report(ROWS * np.nan, Y),
    "a report of inputs of another width": lambda: report(ROWS[:, :3], Y),
    "the output of a layer that is not there": lambda: fnn.outputs(
        TASK, fnn.init(TASK, jax.random.key(0), ROWS), ROWS, "conv_2"
    ),
    "the output of a layer by number": lambda: fnn.outputs(TASK, fnn.init(TASK, jax.random.key(0), ROWS), ROWS, 2),
}
