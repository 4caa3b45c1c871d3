"""The full text of messages about losses and weights; see helpers.check_messages."""

from pathlib import Path

import jax
import numpy as np
from helpers import check_messages

import fnn
from fnn import losses

LOGITS = np.zeros((4, 3), "f")
CLASSES = np.array([0, 1, 2, 1])
COLUMN = np.zeros((4, 1), "f")


def fit(loss, y, units=3):
    x = np.ones((4, 2), "f")
    task = fnn.Task(fnn.Dense(units), loss)
    return fnn.fit(task, fnn.init(task, jax.random.key(0), x), (x, y), verbose=0)


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a misspelled loss": lambda: fnn.Task(fnn.Dense(1), "mean_squared_eror"),
    "a loss of PyTorch": lambda: fnn.Task(fnn.Dense(1), "cross_entropy"),
    "a class of PyTorch": lambda: fnn.Task(fnn.Dense(1), "BCEWithLogitsLoss"),
    "labels of three kinds for a hinge loss": lambda: fit("hinge", np.array([[0], [1], [-1], [0]], "f"), units=1),
    "negative counts": lambda: fit("poisson", np.array([[0], [1], [-1], [0]], "f"), units=1),
    "numbers in place of vectors": lambda: losses.cosine_similarity(LOGITS[:, 0], LOGITS[:, 0]),
    "a row of targets for a column of outputs in a custom loss": lambda: fit(
        lambda p, t: ((p - t) ** 2).mean(-1), np.arange(4, dtype="f"), units=1
    ),
    "one-hot rows with the loss for class numbers": lambda: losses.sparse_categorical_crossentropy(
        LOGITS, np.eye(3, dtype="f")[CLASSES]
    ),
    "class numbers as floats": lambda: losses.sparse_categorical_crossentropy(LOGITS, CLASSES.astype("f")),
    "class numbers with the loss for one-hot rows": lambda: losses.categorical_crossentropy(LOGITS, CLASSES),
    "one output with a loss of classes": lambda: losses.sparse_categorical_crossentropy(COLUMN, CLASSES),
    "label smoothing above 1": lambda: losses.binary_crossentropy(COLUMN, COLUMN, label_smoothing=10),
    "one output for mean and variance": lambda: losses.gaussian_nll(COLUMN, COLUMN),
    "labels from 1": lambda: fit("sparse_categorical_crossentropy", CLASSES + 1),
    "three classes for a yes or no": lambda: fit("binary_crossentropy", CLASSES[:, None].astype("f"), units=1),
    "labels 0 and 1 for a loss of signs": lambda: fit("logistic", np.array([[0], [1], [1], [0]], "f"), units=1),
    "rows that are not probabilities": lambda: fit("categorical_crossentropy", np.ones((4, 3), "f")),
    "weights of another length": lambda: losses.mean_loss("mse", COLUMN, COLUMN, np.ones(3, "f")),
    "a misspelled 'balanced'": lambda: fnn.class_weights(CLASSES, "balance"),
    "fewer class weights than classes": lambda: fnn.class_weights(CLASSES, [1.0, 2.0]),
    "a fraction as a class": lambda: fnn.class_weights(CLASSES, {np.float32(0.5): 1.0}),
    "a short name of a loss as a function": (AttributeError, lambda: losses.mse),
    "class numbers for a loss of values": lambda: fit("mse", CLASSES),
    "one-hot rows for a focal loss of class numbers": lambda: fit(
        "sparse_categorical_focal_crossentropy", np.eye(3, dtype=int)[CLASSES]
    ),
    "more targets than outputs": lambda: fit("binary_crossentropy", np.zeros((4, 2), "f"), units=1),
    "a metric in place of a loss": lambda: fnn.Task(fnn.Dense(1), "rmse"),
}
