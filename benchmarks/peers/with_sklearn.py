"""scikit-learn: `MLPClassifier.partial_fit`, each call of which is one shuffled pass over the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    import sklearn.neural_network  # noqa: F401


def build(workload: Workload, x: Any, y: Any, seed: int) -> Epoch:
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    *hidden, _ = workload.layers
    model = MLPClassifier(
        [layer.units for layer in hidden],
        activation={"sigmoid": "logistic"}.get(hidden[0].activation, hidden[0].activation),
        solver=workload.optimizer,
        alpha=0.0,
        batch_size=workload.batch,
        learning_rate_init=workload.rate,
        momentum=0.0,
        epsilon=1e-7,
        random_state=seed,
    )
    y = y.ravel().astype(np.int64)
    # The first call makes the parameters, from another distribution; after one batch they get that of all others.
    model.partial_fit(x[: workload.batch], y[: workload.batch], classes=np.unique(y))
    rng = np.random.default_rng(seed)
    for kernel, bias in zip(model.coefs_, model.intercepts_, strict=True):
        limit = (6 / sum(kernel.shape)) ** 0.5
        kernel[...], bias[...] = rng.uniform(-limit, limit, kernel.shape), 0

    def epoch() -> float:
        model.partial_fit(x, y)
        return float(model.loss_)

    return epoch
