"""Linear and logistic regression as networks of one unit (reference experiment 2).

    python examples/linear_models.py

Gradient descent reaches the closed-form solution and scikit-learn's weights.
"""

import argparse

import experiment
import jax
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression

import fnn


def train(loss: str, x: np.ndarray, y: np.ndarray, seed: int, rate: float, epochs: int) -> np.ndarray:
    """Weights and bias of Dense(1) after full-batch gradient descent."""
    task = fnn.Task(fnn.Dense(1), loss, fnn.sgd(rate))
    ts = fnn.init(task, experiment.key(seed), x[:1])
    # `run` compiles the whole run: with 3,000 epochs of one step each, the progress bar of `fit` would only flicker.
    ts, history = fnn.run(task, ts, (x, y), epochs=epochs, batch_size=len(x))
    print(f"{loss}: {history['loss'][0]:.4f} at the start, {history['loss'][-1]:.4f} after {epochs} steps")
    return np.append(ts.params["kernel"], ts.params["bias"])


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    epochs = 3000  # one second, so quick mode keeps all of them
    linear, logistic = [], []
    for seed in experiment.seeds(args):
        noise = jax.random.normal(experiment.key(seed), (200, 3))
        x = np.asarray(noise[:, :2] * np.array([1.0, 2.0], "float32"))
        y = np.asarray(x @ np.array([[1.5], [-0.7]], "float32") + 0.3 + 0.5 * noise[:, 2:])
        found = train("mse", x, y, seed, 0.05, epochs)
        exact = LinearRegression().fit(x, y)
        linear.append(np.abs(found - np.append(exact.coef_, exact.intercept_)).max())

        label = (y[:, 0] > 0).astype("int32")
        label[:20] = 1 - label[:20]  # some wrong labels, so that the best weights are finite
        found = train("binary_crossentropy", x, label[:, None].astype("float32"), seed, 0.5, epochs)
        exact = LogisticRegression(C=np.inf, tol=1e-8).fit(x, label)
        logistic.append(np.abs(found - np.append(exact.coef_, exact.intercept_)).max())

    _, ax = plt.subplots(figsize=(5, 4), layout="constrained")
    weights, bias = found[:2], found[2]
    fnn.plot.decision_boundary(lambda p: p @ weights[:, None] + bias, x, label, ax=ax)
    ax.set_title("logistic regression: one sigmoid unit")
    experiment.save(ax, args, "linear_models.png")
    worst = "largest distance of a weight from"
    return [
        experiment.Figure(2, f"linear regression: {worst} the closed form", linear, 1e-4, "at most", digits=6),
        experiment.Figure(2, f"logistic regression: {worst} scikit-learn's", logistic, 1e-3, "at most", digits=6),
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
