"""Keras 3 by `Model.fit` over NumPy arrays, on the backend that ``KERAS_BACKEND`` names."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    threads = int(os.environ.get("BENCHMARK_THREADS", "0"))
    backend = os.environ.get("KERAS_BACKEND")
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    elif backend == "torch" and threads:
        import torch

        torch.set_num_threads(threads)
    import keras  # noqa: F401


def _set_seeds(seed: int) -> None:
    """What `keras.utils.set_random_seed` does, but it imports TensorFlow on every backend where that is installed."""
    import keras
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - Keras shuffles with it
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.random.set_seed(seed)
    elif keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


def model_of(workload: Workload, x: Any, seed: int) -> Any:
    """The compiled `keras.Sequential`."""
    import keras
    import workloads as w
    from keras import layers as k

    _set_seeds(seed)
    layers = [keras.Input(x.shape[1:], dtype=x.dtype.name)]
    for layer in workload.layers:
        match layer:
            case w.Dense(units, activation):
                layers.append(k.Dense(units, activation=activation))
            case w.Dropout(rate):
                layers.append(k.Dropout(rate))
            case w.Conv(filters):
                layers.append(k.Conv2D(filters, 3, activation="relu"))
            case w.Pool():
                layers.append(k.MaxPooling2D(2))
            case w.Flatten():
                layers.append(k.Flatten())
            case w.LSTM(units, symbols):
                layers += [k.CategoryEncoding(num_tokens=symbols, output_mode="one_hot"), k.LSTM(units)]
    if workload.loss == "sigmoid":
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = {"sgd": keras.optimizers.SGD, "rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}
    model = keras.Sequential(layers)
    # Small steps are bound by the callbacks between them: 0.17 against 0.42 ms on JAX and 0.5 against 1.0 on TensorFlow
    # with 32 a call, and no faster with 128. Recurrent and convolutional steps gain nothing, and PyTorch allows only 1.
    dense = isinstance(workload.layers[0], w.Dense)
    together = 32 if dense and keras.backend.backend() != "torch" else 1
    model.compile(loss=loss, optimizer=optimizer[workload.optimizer](workload.rate), steps_per_execution=together)
    return model


def build(workload: Workload, x: Any, y: Any, seed: int) -> Epoch:
    model = model_of(workload, x, seed)

    def epoch() -> float:
        return model.fit(x, y, batch_size=workload.batch, verbose=0).history["loss"][0]

    return epoch
