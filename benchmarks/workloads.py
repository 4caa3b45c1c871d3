"""What is trained: architectures, optimizers and data, in NumPy alone, so that every library starts from the same.

A workload describes its network as a tuple of layers (`Dense`, `Dropout`, ...) that each module in `peers` builds with
its own library. Sizes, parameters and operations are computed from the same description.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any, NamedTuple

import numpy as np


class Dense(NamedTuple):
    """A product with a kernel, a bias, an activation ("relu", "sigmoid", "tanh" or None)."""

    units: int
    activation: str | None = None


class Dropout(NamedTuple):
    """A fraction of the values set to 0 in training, the others scaled up."""

    rate: float


class Conv(NamedTuple):
    """A 3x3 convolution without padding, and relu."""

    filters: int


class Pool(NamedTuple):
    """The maximum of windows of 2x2."""


class Flatten(NamedTuple):
    """All axes but the batch as one."""


class LSTM(NamedTuple):
    """The last output of an LSTM over symbols that enter as one-hot vectors."""

    units: int
    symbols: int


Layer = Dense | Dropout | Conv | Pool | Flatten | LSTM

# Bytes that the update of a parameter reads and writes, with its gradient and slots; and those that hold all of these.
UPDATE_BYTES = {"sgd": (12, 8), "rmsprop": (20, 12), "adam": (28, 16)}


class Cost(NamedTuple):
    """What a layer with a product costs.

    Attributes:
      parameters: trained numbers.
      operations: floating-point operations of the forward product, per example.
      saved: numbers per example that the backward pass reads again; the batch itself is counted apart.
      steps: products one after the other, in each direction.
      kernels: arrays whose gradient is a product.
    """

    parameters: int
    operations: int
    saved: int
    steps: int = 1
    kernels: int = 1


class Workload(NamedTuple):
    """What is trained, and how.

    Attributes:
      name: by which the command line knows it.
      description: in a line.
      shape: of one example; of symbol numbers if the first layer is an `LSTM`, else of float32.
      layers: the network; its last layer gives logits.
      loss: "softmax" (labels are class numbers) or "sigmoid" (labels are 0.0 or 1.0), the mean over the batch.
      optimizer: "sgd", "rmsprop" or "adam", with Keras's constants.
      rate: the learning rate.
      batch: examples a step.
      steps: in an epoch.
    """

    name: str
    description: str
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    loss: str
    optimizer: str
    rate: float
    batch: int
    steps: int

    @property
    def rows(self) -> int:
        """Examples in an epoch."""
        return self.batch * self.steps

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return sum(cost.parameters for cost in self._costs())

    @property
    def operations(self) -> int:
        """Floating-point operations a step: the products of the forward pass and of both gradients.

        The gradient for the network's own input is not needed, so the first layer counts twice, all others three
        times. One-hot inputs count as the product that they stand for.
        """
        forward = [cost.operations for cost in self._costs()]
        total = 3 * sum(forward) - forward[0]
        if isinstance(self.layers[0], LSTM):  # its recurrent product does need that gradient
            total += 2 * self.shape[0] * self.layers[0].units * 4 * self.layers[0].units
        return self.batch * total

    @property
    def calls(self) -> int:
        """The fewest operations of a compiled step.

        A product forward, with one fused group of elementwise operations after each, the last of which computes the
        loss and its gradient; backward a product and a group for each but the first, and a product for each kernel;
        one read of the batch; one update of all parameters.
        """
        costs = self._costs()
        steps = sum(cost.steps for cost in costs)
        return 2 * steps + 2 * (steps - 1) + sum(cost.kernels for cost in costs) + 2

    @property
    def batch_bytes(self) -> int:
        """Bytes of a batch, of 4 for each number, which a step reads from the data set."""
        return 4 * self.batch * (prod(self.shape) + 1)

    @property
    def data_bytes(self) -> int:
        """Bytes of the data of an epoch."""
        return self.steps * self.batch_bytes

    @property
    def moved_bytes(self) -> int:
        """Bytes that a step reads and writes at least, besides the batch.

        The update reads and writes each parameter, gradient and slot: 12, 20 and 28 bytes a parameter for SGD, RMSprop
        and Adam. What the backward pass needs of the forward pass is written once and read once. A product's own reads
        count as part of its operations.
        """
        return UPDATE_BYTES[self.optimizer][0] * self.parameters + 8 * self._saved()

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays that `moved_bytes` counts: what has to fit in the cache for its speed."""
        return UPDATE_BYTES[self.optimizer][1] * self.parameters + 4 * self._saved()

    def _saved(self) -> int:
        return self.batch * sum(cost.saved for cost in self._costs())

    def _costs(self) -> list[Cost]:
        """Of the layers with products, from the first on."""
        shape, costs = self.shape, list[Cost]()
        for layer in self.layers:
            entering = prod(shape) if costs else 0
            match layer:
                case Dense(units):
                    costs.append(Cost((shape[-1] + 1) * units, 2 * shape[-1] * units, entering))
                    shape = (units,)
                case Conv(filters):
                    high, wide, channels = shape
                    shape = (high - 2, wide - 2, filters)
                    costs.append(Cost((9 * channels + 1) * filters, 2 * 9 * channels * prod(shape), entering))
                case LSTM(units, symbols):
                    # four gates, the cell and the output of each time step
                    operations, saved = 2 * shape[0] * (symbols + units) * 4 * units, 6 * units * shape[0]
                    costs.append(Cost(4 * units * (symbols + units + 1), operations, saved, shape[0], kernels=2))
                    shape = (units,)
                case Pool():
                    shape = (shape[0] // 2, shape[1] // 2, shape[2])
                case Flatten():
                    shape = (prod(shape),)
        return costs


def _convolutions() -> tuple[Layer, ...]:
    body = (Conv(32), Conv(32), Pool(), Conv(64), Conv(64), Pool(), Conv(64), Pool())
    return (*body, Flatten(), Dropout(0.5), Dense(10))


WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            "mlp",
            "MNIST digits, dense 784-16-32-10, relu, dropout 0.2, RMSprop",
            (784,),
            (Dense(16, "relu"), Dropout(0.2), Dense(32, "relu"), Dropout(0.2), Dense(10)),
            "softmax",
            "rmsprop",
            1e-3,
            batch=64,
            steps=937,
        ),
        Workload(
            "wide",
            "MNIST digits, dense 784-512-10, sigmoid, SGD",
            (784,),
            (Dense(512, "sigmoid"), Dense(10)),
            "softmax",
            "sgd",
            1e-2,
            batch=128,
            steps=421,
        ),
        Workload(
            "tabular",
            "18 numbers to a yes or no, dense 128-320-512-320-128-1, tanh, Adam",
            (18,),
            (*(Dense(units, "tanh") for units in (128, 320, 512, 320, 128)), Dense(1)),
            "sigmoid",
            "adam",
            1e-3,
            batch=32,
            steps=1000,
        ),
        Workload(
            "lstm",
            "the next of 57 characters after 40, LSTM(128), RMSprop",
            (40,),
            (LSTM(128, 57), Dense(57)),
            "softmax",
            "rmsprop",
            1e-2,
            batch=128,
            steps=40,
        ),
        Workload(
            "cnn",
            "MNIST digits, 3x3 convolutions 32, 32, 64, 64, 64 with pooling, dropout 0.5, Adam",
            (28, 28, 1),
            _convolutions(),
            "softmax",
            "adam",
            1e-3,
            batch=128,
            steps=20,
        ),
    )
}


def parametric(
    kind: str, *, batch: int = 64, width: int = 128, depth: int = 2, length: int = 40, steps: int = 20
) -> Workload:
    """A small network of any size, for sweeps.

    Args:
      kind: "dense" (``depth`` layers of ``width`` with relu between 128 inputs and 10 classes) or "lstm" (``width``
        units over ``length`` symbols of 57).
      batch, width, depth, length: the sizes.
      steps: in an epoch.
    """
    if kind == "lstm":
        name = f"lstm-b{batch}-w{width}-l{length}"
        return Workload(name, name, (length,), (LSTM(width, 57), Dense(57)), "softmax", "adam", 1e-3, batch, steps)
    name = f"dense-b{batch}-w{width}-d{depth}"
    layers = (*(Dense(width, "relu") for _ in range(depth)), Dense(10))
    return Workload(name, name, (128,), layers, "softmax", "adam", 1e-3, batch, steps)


def data(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels: real where ``FNN_DATA`` names the folder with them, else synthetic of the same shape.

    The tabular workload and those of sweeps are always synthetic.
    """
    rng, rows = np.random.default_rng(0), workload.rows
    if workload.loss == "sigmoid":
        x = rng.normal(size=(rows, *workload.shape)).astype(np.float32)
        slopes, noise = rng.normal(size=(*workload.shape, 1)), rng.normal(size=(rows, 1))
        return x, (x @ slopes + noise > 0).astype(np.float32)
    if "FNN_DATA" in os.environ and workload.name in WORKLOADS:
        x, y = _real(workload)
    else:
        x, y = _synthetic(workload, rng)
    if len(x) < rows:
        raise ValueError(f"{workload.name} has {len(x) // workload.batch} steps of real data; take at most those")
    return x[:rows], y[:rows].astype(np.int32)


def _synthetic(workload: Workload, rng: np.random.Generator) -> tuple[Any, Any]:
    """Inputs with something to learn in them, so that losses that agree mean the same work."""
    rows, classes = workload.rows, workload.layers[-1].units
    if isinstance(workload.layers[0], LSTM):
        x = rng.integers(0, workload.layers[0].symbols, (rows, *workload.shape)).astype(np.int32)
        return x, (x[:, -1] + 1) % classes
    y = rng.integers(0, classes, rows)
    patterns = rng.random((classes, *workload.shape), np.float32)
    return 0.5 * patterns[y] + 0.5 * rng.random((rows, *workload.shape), np.float32), y


def _real(workload: Workload) -> tuple[Any, Any]:
    if workload.name == "lstm":
        from fnn.data.datasets import nietzsche
        from fnn.text import Vocabulary, windows

        text = nietzsche().lower()
        x, y = windows(Vocabulary.of(text).encode(text), 40, 3)
        return x.astype(np.int32), y
    from fnn.data.datasets import mnist

    images = mnist()
    return images.x_train.reshape(-1, *workload.shape).astype(np.float32) / 255, images.y_train


def to_dict(workload: Workload) -> dict[str, Any]:
    """As JSON can hold it."""
    layers = [[type(layer).__name__, *layer] for layer in workload.layers]
    return {**workload._asdict(), "layers": layers}


def from_dict(fields: dict[str, Any]) -> Workload:
    """The workload that `to_dict` took apart."""
    kinds = {kind.__name__: kind for kind in (Dense, Dropout, Conv, Pool, Flatten, LSTM)}
    layers = tuple(kinds[kind](*arguments) for kind, *arguments in fields["layers"])
    return Workload(**{**fields, "layers": layers, "shape": tuple(fields["shape"])})
