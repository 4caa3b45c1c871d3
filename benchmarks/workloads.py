"""The workloads: data and sizes, in NumPy alone, so that each library starts from the same numbers."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """What is trained.

    Attributes:
      name: of the workload.
      batch: examples per step.
      steps: in an epoch that is timed.
    """

    name: str
    batch: int
    steps: int


WORKLOADS = {
    w.name: w
    for w in (
        Workload("mlp", 64, 937),
        Workload("wide", 128, 421),
        Workload("tabular", 32, 240),
        Workload("lstm", 128, 60),
        Workload("cnn", 128, 40),
    )
}


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets: real where ``FNN_DATA`` names the folder, else synthetic of the same shape."""
    rng = np.random.default_rng(0)
    workload = WORKLOADS[name]
    rows = workload.batch * workload.steps
    real = "FNN_DATA" in os.environ
    if name in ("mlp", "wide", "cnn"):
        if real:
            from fnn.data.datasets import mnist

            images = mnist()
            x, y = images.x_train[:rows].astype(np.float32) / 255, images.y_train[:rows]
        else:
            x, y = rng.random((rows, 28, 28), np.float32), rng.integers(0, 10, rows).astype(np.int32)
        return (x[..., None] if name == "cnn" else x.reshape(rows, 784)), y
    if name == "tabular":
        x = rng.normal(size=(rows, 18)).astype(np.float32)
        return x, (x @ rng.normal(size=(18, 1)) + rng.normal(size=(rows, 1)) > 0).astype(np.float32)
    if real:
        from fnn.data.datasets import nietzsche
        from fnn.data.text import Vocabulary, windows

        text = nietzsche().lower()
        x, y = windows(Vocabulary.of(text).encode(text), 40, 3)
    else:
        x, y = rng.integers(0, 57, (rows, 40)), rng.integers(0, 57, rows)
    return x[:rows].astype(np.int32), y[:rows].astype(np.int32)
