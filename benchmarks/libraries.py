"""Each library as its documentation trains: ``build(workload, x, y) -> epoch``, which trains and returns the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Epoch = Callable[[], float]


def fnn_fit(name: str, batch: int, x: np.ndarray, y: np.ndarray) -> Epoch:
    """fnn, by `fnn.fit`."""
    import jax

    import fnn

    sparse = "sparse_categorical_crossentropy"
    relu = {"activation": "relu"}
    if name == "mlp":
        layers = [fnn.Dense(16, **relu), fnn.Dropout(0.2), fnn.Dense(32, **relu), fnn.Dropout(0.2), fnn.Dense(10)]
        parts = (sparse, fnn.rmsprop())
    elif name == "wide":
        layers, parts = [fnn.Dense(512, activation="sigmoid"), fnn.Dense(10)], (sparse, fnn.sgd(0.01))
    elif name == "tabular":
        layers = [*(fnn.Dense(n, activation="tanh") for n in (128, 320, 512, 320, 128)), fnn.Dense(1)]
        parts = ("binary_crossentropy", fnn.adam())
    elif name == "lstm":
        layers, parts = [fnn.LSTM(128, input_dim=57), fnn.Dense(57)], (sparse, fnn.rmsprop(0.01))
    else:
        convs = [fnn.Conv(n, 3, **relu) for n in (32, 32, 64, 64, 64)]
        pool = fnn.MaxPool(2)
        layers = [*convs[:2], pool, *convs[2:4], pool, convs[4], pool, fnn.Flatten(), fnn.Dropout(0.5), fnn.Dense(10)]
        parts = (sparse, fnn.adam())
    task = fnn.Task(fnn.Sequential(*layers), *parts)
    state = fnn.init(task, jax.random.key(0), x[:1])
    data = jax.device_put((x, y))

    def epoch() -> float:
        nonlocal state
        state, history = fnn.fit(task, state, data, batch_size=batch, verbose=0)
        return history["loss"][0]

    return epoch


def keras_fit(name: str, batch: int, x: np.ndarray, y: np.ndarray) -> Epoch:
    """Keras on the backend that ``KERAS_BACKEND`` names, by `Model.fit`."""
    import keras
    from keras import layers as k

    relu = {"activation": "relu"}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    first = keras.Input(x.shape[1:], dtype=x.dtype.name)
    if name == "mlp":
        layers = [k.Dense(16, **relu), k.Dropout(0.2), k.Dense(32, **relu), k.Dropout(0.2), k.Dense(10)]
        optimizer = keras.optimizers.RMSprop()
    elif name == "wide":
        layers, optimizer = [k.Dense(512, activation="sigmoid"), k.Dense(10)], keras.optimizers.SGD(0.01)
    elif name == "tabular":
        layers = [*(k.Dense(n, activation="tanh") for n in (128, 320, 512, 320, 128)), k.Dense(1)]
        loss, optimizer = keras.losses.BinaryCrossentropy(from_logits=True), keras.optimizers.Adam()
    elif name == "lstm":
        one_hot = k.CategoryEncoding(num_tokens=57, output_mode="one_hot")
        layers, optimizer = [one_hot, k.LSTM(128), k.Dense(57)], keras.optimizers.RMSprop(0.01)
    else:
        convs = [k.Conv2D(n, 3, **relu) for n in (32, 32, 64, 64, 64)]
        pools = [k.MaxPooling2D(2) for _ in range(3)]
        layers = [
            *convs[:2],
            pools[0],
            *convs[2:4],
            pools[1],
            convs[4],
            pools[2],
            k.Flatten(),
            k.Dropout(0.5),
            k.Dense(10),
        ]
        optimizer = keras.optimizers.Adam()
    model = keras.Sequential([first, *layers])
    model.compile(loss=loss, optimizer=optimizer)

    def epoch() -> float:
        return model.fit(x, y, batch_size=batch, verbose=0).history["loss"][0]

    return epoch


LIBRARIES = {"fnn": (fnn_fit, {}), "keras on jax": (keras_fit, {"KERAS_BACKEND": "jax"})}
