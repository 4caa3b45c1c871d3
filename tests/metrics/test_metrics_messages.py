"""The full text of messages about metrics; see helpers.check_messages."""

from pathlib import Path

import numpy as np
from helpers import check_messages

import fnn
from fnn import metrics

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], "f")
LOGITS = np.array([[2.0, 0.5, -1.0], [0.5, 3.0, -2.0]], "f")
CLASSES = np.array([0, 1])
VALUES = np.array([1.0, 2.0], "f")


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a misspelled metric": lambda: fnn.Task(fnn.Dense(3), "mse", metrics="acuracy"),
    "a metric of classes with a loss of yes/no labels": lambda: fnn.Task(
        fnn.Dense(3), "binary_crossentropy", metrics="top_k_accuracy"
    ),
    "more targets than predictions": lambda: metrics.accuracy(SCORES, np.array([0, 1, 2])),
    "NaN among the predictions": lambda: metrics.accuracy(np.array([0.2, np.nan], "f"), CLASSES),
    "logits where probabilities are cut": lambda: metrics.binary_accuracy(np.array([3.0, -1.0], "f"), CLASSES),
    "a target outside the classes": lambda: metrics.accuracy(SCORES, np.array([0, 3])),
    "predictions and targets in the wrong order": lambda: metrics.accuracy(CLASSES, SCORES),
    "classes in place of scores": lambda: metrics.auc(CLASSES, np.array([0.2, 0.7], "f")),
    "an area without examples of a class": lambda: metrics.auc(np.array([0.2, 0.7], "f"), np.array([1, 1])),
    "an area of logits of three classes": lambda: metrics.auc(SCORES - 1, CLASSES),
    "a misspelled curve": lambda: metrics.binned_auc("precision"),
    "minus the similarity as a metric": lambda: fnn.Task(fnn.Dense(3), "mse", metrics=[fnn.losses.cosine_similarity]),
    "a number of classes that is too small": lambda: metrics.confusion_matrix(CLASSES + 1, CLASSES, num_classes=2),
    "too few names": lambda: metrics.classification_report(SCORES, CLASSES, names=["cat", "dog"]),
    "a negative weight": lambda: metrics.rmse(VALUES, VALUES, sample_weight=[1.0, -1.0]),
    "logits in place of probabilities": lambda: metrics.calibration_error(LOGITS, CLASSES),
    "no bins": lambda: metrics.calibration_error(SCORES, CLASSES, bins=0),
    "rows that do not sum to 1": lambda: metrics.reliability(SCORES / 2, CLASSES),
    "a percentage as coverage": lambda: metrics.gaussian_interval(VALUES, VALUES, 90),
    "bounds in the wrong order": lambda: metrics.coverage(VALUES + 1, VALUES, VALUES),
    "no scores among the highest": lambda: metrics.top_k_accuracy(SCORES, CLASSES, k=0),
    "a negative variance": lambda: metrics.coverage_curve(VALUES, -VALUES, VALUES),
}
