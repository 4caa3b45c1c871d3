"""Fingerprints of short trainings: whether a change of the code left every bit where it was.

    python benchmarks/fingerprints.py --out before.json      # before a change
    python benchmarks/fingerprints.py --against before.json  # after it

Each line names a training of about a second and the fingerprint of its final state; equal fingerprints mean equal bits.
The bits depend on the machine, on JAX and on NumPy, so record and compare in one environment.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnn

CLASSES = 3


def rows(count: int, *shape: int, seed: int = 0) -> tuple[Any, Any]:
    """Random inputs and class labels; 70 rows in batches of 16 leave a smaller last batch."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=(count, *shape)).astype("float32"), draw.integers(0, CLASSES, count)


def ids(count: int, length: int, symbols: int) -> tuple[Any, Any]:
    """Random sequences of symbols, of which the first steps are padding (0), and class labels."""
    draw = np.random.default_rng(1)
    x = draw.integers(1, symbols, (count, length))
    x[np.arange(length) < draw.integers(0, length, (count, 1))] = 0
    return x, draw.integers(0, CLASSES, count)


def classifier(*layers: fnn.Layer, optimizer: Any = "adam") -> fnn.Task:
    """A task of classes."""
    model = fnn.Sequential(*layers, fnn.Dense(CLASSES))
    return fnn.Task(model, "sparse_categorical_crossentropy", optimizer, metrics=("accuracy",))


def fitted(task: fnn.Task, data: Any, **options: Any) -> Any:
    """The state and the history after three epochs."""
    first = data[0] if isinstance(data, tuple) else data[0][0]
    ts, history = fnn.fit(task, fnn.init(task, jax.random.key(7), first[:1]), data, epochs=3, verbose=0, **options)
    history.pop("seconds")
    return ts, dict(history)


def dense(**options: Any) -> fnn.Task:
    """A small dense network."""
    return classifier(fnn.Dense(8, "relu"), **options)


def resumed() -> Any:
    """A training of one epoch, taken up for two more in the same folder."""
    task, data = dense(), rows(70, 5)
    ts = fnn.init(task, jax.random.key(7), data[0][:1])
    options: dict[str, Any] = {"batch_size": 16, "verbose": 0}
    with tempfile.TemporaryDirectory() as folder:
        fnn.fit(task, ts, data, epochs=1, checkpoint=folder, **options)
        return fnn.fit(task, ts, data, epochs=3, checkpoint=folder, **options)[0]


def trial(seed: Any, rate: Any) -> Any:
    """One member of a sweep."""
    task, data = dense(), rows(70, 5)
    ts = fnn.set_hyper(fnn.init(task, jax.random.key(seed), data[0][:1]), learning_rate=rate)
    return fnn.run(task, ts, data, epochs=2, batch_size=16, callbacks=(fnn.early_stopping(monitor="loss"),))


def swept() -> Any:
    """Six trials."""
    found = fnn.sweep(trial, {"seed": [0, 1], "rate": [1e-3, 1e-2, 1e-1]}, keep="all", verbose=0)
    return found.states, found.scores


def ensemble() -> Any:
    """Three members and their predictions."""
    data = rows(70, 5)
    members = fnn.ensemble(dense(), jax.random.key(3), data, members=3, verbose=0, epochs=2, batch_size=16)
    return members.ts, members.predict(data[0]).mean


def text() -> Any:
    """Generated ids of an untrained recurrent network."""
    model = fnn.Sequential(fnn.GRU(6, input_dim=7), fnn.Dense(7))
    params, state = model.init(jax.random.key(1), jnp.zeros((1, 4), jnp.int32))
    return params, state


def trainings() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every training by name."""
    flat, image = rows(70, 5), rows(40, 8, 8, 1)
    sentences = ids(70, 6, 9)
    shapes = {"batch_size": 16}
    mlp = classifier(fnn.Dense(8, "relu"), fnn.Dropout(0.3), fnn.Dense(8, "tanh"), fnn.BatchNorm())
    yield "dense, dropout, batch norm", lambda: fitted(mlp, flat, **shapes)
    yield (
        "weights of rows and classes",
        lambda: fitted(
            mlp, (*flat, np.arange(70.0, dtype="float32") % 3), class_weight={0: 1.0, 1: 2.0, 2: 0.5}, **shapes
        ),
    )
    conv = classifier(fnn.Conv(4, 3, activation="relu"), fnn.MaxPool(2), fnn.Conv(4, 3, padding="same"), fnn.Flatten())
    yield "convolution, pooling", lambda: fitted(conv, image, **shapes)
    other = classifier(fnn.DepthwiseConv(3), fnn.ConvTranspose(2, 3, strides=2), fnn.LayerNorm(), fnn.GlobalAvgPool())
    yield "depthwise and transposed convolution, layer norm", lambda: fitted(other, image, **shapes)
    lstm = classifier(fnn.Embedding(9, 4, mask_zero=True), fnn.LSTM(5, return_sequences=True), fnn.LSTM(4))
    yield "embedding, LSTM with masks", lambda: fitted(lstm, sentences, **shapes)
    gru = classifier(fnn.Embedding(9, 4, mask_zero=True), fnn.Bidirectional(fnn.GRU(5)))
    yield "embedding, GRU in both directions with masks", lambda: fitted(gru, sentences, **shapes)
    rnn = classifier(fnn.SimpleRNN(5, input_dim=9))
    yield "simple RNN of ids", lambda: fitted(rnn, sentences, **shapes)
    residual = classifier(fnn.Dense(5), fnn.Residual(fnn.Dense(5, "gelu"), fnn.ActivityRegularization(l2=1e-3)))
    yield "residual, activity penalty", lambda: fitted(residual, flat, **shapes)
    optimizers = {
        "sgd": fnn.sgd(fnn.schedules.cosine_decay(0.1, 20), momentum=0.9, nesterov=True),
        "rmsprop": fnn.rmsprop(1e-2, centered=True, momentum=0.5),
        "adagrad": fnn.adagrad(0.1),
        "adadelta": fnn.adadelta(1.0),
        "adam": fnn.adam(1e-2, weight_decay=1e-2),
        "adamax": fnn.adamax(1e-2),
        "nadam": fnn.nadam(1e-2),
        "chain": fnn.chain(fnn.clip_by_global_norm(0.5), fnn.ema(fnn.accumulate(fnn.adam(1e-2), 2), 0.9)),
        "freeze": fnn.freeze(fnn.adam(1e-2), "dense/*"),
    }
    for name, optimizer in optimizers.items():
        yield f"optimizer {name}", lambda optimizer=optimizer: fitted(dense(optimizer=optimizer), flat, **shapes)
    penalized = fnn.Task(
        fnn.Sequential(fnn.Dense(8, "relu"), fnn.Dense(1)),
        "huber",
        metrics=("rmse", "r2"),
        penalty=fnn.penalties.l1l2(1e-3, 1e-3),
        constraint=fnn.penalties.max_norm(1.0),
    )
    numbers = (flat[0], flat[0][:, :1] * 2)
    yield "penalty and constraint", lambda: fitted(penalized, numbers, validation_split=0.2, **shapes)
    batches = [(flat[0][i : i + 16], flat[1][i : i + 16]) for i in range(0, 70, 16)]
    yield "a stream of batches", lambda: fitted(mlp, batches)
    yield "chunks", lambda: fitted(dense(), flat, chunk_bytes=1000, **shapes)
    yield "resumed", resumed
    yield "sweep", swept
    yield "ensemble", ensemble
    yield "initial parameters", text


def main() -> int:
    """Print the fingerprints; with another file, those that differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="where to store them")
    parser.add_argument("--against", type=Path, help="stored ones to compare with")
    args = parser.parse_args()
    before = json.loads(args.against.read_text()) if args.against else {}
    now, different = {}, 0
    for name, train in trainings():
        now[name] = fnn.fingerprint(train())
        verdict = ""
        if args.against:
            verdict = "  equal" if before.get(name) == now[name] else f"  DIFFERS from {before.get(name)}"
            different += before.get(name) != now[name]
        print(f"{name:50s} {now[name]}{verdict}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(now, indent=1) + "\n")
    print(f"{len(now)} trainings" + (f", {different} differ" if args.against else ""))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
