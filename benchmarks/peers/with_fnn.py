"""fnn: by `fnn.fit`, or by `fnn.train_epoch` called directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    import fnn  # noqa: F401


def task_of(workload: Workload) -> Any:
    """The `fnn.Task` of a workload."""
    import workloads as w

    import fnn

    layers = []
    for layer in workload.layers:
        match layer:
            case w.Dense(units, activation):
                layers.append(fnn.Dense(units, activation=activation))
            case w.Dropout(rate):
                layers.append(fnn.Dropout(rate))
            case w.Conv(filters):
                layers.append(fnn.Conv(filters, 3, activation="relu"))
            case w.Pool():
                layers.append(fnn.MaxPool(2))
            case w.Flatten():
                layers.append(fnn.Flatten())
            case w.LSTM(units, symbols):
                layers.append(fnn.LSTM(units, input_dim=symbols))
    loss = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy"}[workload.loss]
    optimizer = {"sgd": fnn.sgd, "rmsprop": fnn.rmsprop, "adam": fnn.adam}[workload.optimizer]
    return fnn.Task(fnn.Sequential(*layers), loss, optimizer(workload.rate))


def build(workload: Workload, x: Any, y: Any, seed: int, *, fit: bool = True) -> Epoch:
    import jax

    import fnn

    task = task_of(workload)
    state = fnn.init(task, jax.random.key(seed), x[:1])
    data = jax.block_until_ready(jax.device_put((x, y)))

    def by_fit() -> float:
        nonlocal state
        state, history = fnn.fit(task, state, data, batch_size=workload.batch, verbose=0)
        return history["loss"][0]

    def train_epoch(state: Any, data: Any) -> Any:
        return fnn.train_epoch(task, state, data, batch_size=workload.batch)

    compiled = jax.jit(train_epoch, donate_argnums=0)

    def directly() -> float:
        nonlocal state
        state, logs = compiled(state, data)
        return float(logs["loss"])

    return by_fit if fit else directly
