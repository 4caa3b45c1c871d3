"""The full text of messages about the estimators; see helpers.check_messages."""

from pathlib import Path

import numpy as np
import pytest
from helpers import check_messages

import fnn

pytest.importorskip("sklearn")

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X = np.arange(12.0).reshape(6, 2)
CLASSES, NUMBERS = ["a", "b", "c"] * 2, np.arange(6.0)


def fit(y=CLASSES, make=fnn.Classifier, weight=None, **params):
    return make(**params).fit(X, y, weight)


def search(estimator, **grid):
    return fnn.GridSearch(estimator, grid, cv=2).fit(X, CLASSES)


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a misspelled parameter": lambda: fnn.Classifier(epoch=3),
    "a parameter of scikit-learn's network": lambda: fnn.Classifier(hidden_layer_sizes=(3,)),
    "a parameter that the model's function lacks": lambda: fnn.Classifier().set_params(width=3),
    "settings of a model that is built": lambda: fit(model=fnn.Dense(3), hidden=3),
    "a class as the model": lambda: fit(model=dict),
    "a function without arguments, as in Keras": lambda: fit(model=lambda: fnn.Dense(3)),
    "a model for other classes": lambda: fit(model=fnn.Dense(10)),
    "losses by output": lambda: fit(model=fnn.Task(fnn.Dense(3), {"a": "mse"})),
    "a loss of numbers for classes": lambda: fit(loss="mse"),
    "a loss of two classes for three": lambda: fit(loss="binary_crossentropy"),
    "a loss of classes for several labels": lambda: fit(np.eye(6, dtype=int), loss="sparse_categorical_crossentropy"),
    "a loss of classes for numbers": lambda: fit(NUMBERS, fnn.Regressor, loss="binary_crossentropy"),
    "one class": lambda: fit(["a"] * 6),
    "numbers for a classifier": lambda: fit(NUMBERS + 0.5),
    "weights of zero": lambda: fit(weight=np.zeros(6)),
    "too few weights": lambda: fit(weight=np.ones(3)),
    "a learning rate below 0": lambda: fit(learning_rate=-1.0),
    "a search over another estimator": lambda: search(LogisticRegression(), C=[1, 2]),
    "a search over other steps": lambda: search(
        make_pipeline(StandardScaler(), fnn.Classifier()), standardscaler__with_mean=[True]
    ),
}
