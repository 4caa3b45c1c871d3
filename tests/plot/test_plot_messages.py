"""The full text of messages about pictures; see helpers.check_messages."""

from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from helpers import check_messages

import fnn
from fnn import plot

POINTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "f")
LABELS = np.array([0, 1, 1, 0])
IMAGES = np.zeros((3, 8, 8), "f")
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], "f")
HISTORY = {"loss": [2.0, 1.0], "val_loss": [2.5, 1.5], "accuracy": [0.5, 0.7]}
TASK = fnn.Task(fnn.Dense(1), "mse")
SWEEP = fnn.Sweep(
    [{"rate": 0.1}, {"rate": 0.01}],
    np.array([1.0, 2.0]),
    [{"loss": np.array([1.0])}, {"loss": np.array([2.0])}],
    np.zeros(2, bool),
    "loss",
    False,
    None,
    [],
)


def test_messages():
    try:
        check_messages(Path(__file__).with_name("messages.txt"), CASES)
    finally:
        plt.close("all")


CASES = {
    "the pair that fit returns": lambda: plot.learning_curves((None, HISTORY)),
    "a metric that is not in the history": lambda: plot.learning_curves(HISTORY, "mae"),
    "images with the channels first": lambda: plot.images(np.zeros((5, 3, 8, 8), "f")),
    "images as rows": lambda: plot.images(np.zeros((3, 784), "f"), LABELS[:3]),
    "labels of more images": lambda: plot.images(IMAGES, np.zeros(100, int)),
    "an unknown colour map": lambda: plot.images(IMAGES, cmap="greys"),
    "scores in place of labels": lambda: plot.images(IMAGES, PROBABILITIES),
    "too few names": lambda: plot.predictions(IMAGES, PROBABILITIES, names=["cat", "dog"]),
    "logits in place of probabilities": lambda: plot.probabilities(np.array([2.0, -1.0, 0.5], "f")),
    "a label beyond the classes": lambda: plot.probabilities(PROBABILITIES[0], label=np.int32(3)),
    "points with three features": lambda: plot.decision_boundary(jnp.sum, np.ones((4, 3), "f"), LABELS),
    "a prediction of another shape": lambda: plot.decision_boundary(jnp.sum, POINTS, LABELS),
    "a model that diverged": lambda: plot.decision_boundary(lambda x: x[:, 0] * jnp.nan, POINTS, LABELS),
    "a negative number on a logarithmic axis": lambda: plot.layer_statistics({"dense": -1.0, "dense_1": 0.1}),
    "a summary in place of a report": lambda: plot.layer_report(fnn.summary(fnn.Dense(3), (4,))),
    "probabilities in place of a curve": lambda: plot.reliability(PROBABILITIES),
    "bounds in the wrong order": lambda: plot.intervals(np.ones(3), np.zeros(3)),
    "an argument that was not swept": lambda: plot.sweep_line(SWEEP, "units"),
    "a metric that was not recorded": lambda: plot.sweep_line(SWEEP, "rate", metric="acuracy"),
    "a task in place of a function of points": lambda: plot.decision_boundary(TASK, None, POINTS, LABELS),
    "points in place of a function of them": lambda: plot.decision_boundary(POINTS, LABELS),
    "a history as in Keras's examples": (AttributeError, lambda: plot.history),
}
