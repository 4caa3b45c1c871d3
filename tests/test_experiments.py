"""Reference experiments that train in under a minute, against the figures they are to meet."""

import os
import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import fnn

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.slow
needs_data = pytest.mark.skipif("FNN_DATA" not in os.environ, reason="FNN_DATA does not name the folder with real data")


@pytest.fixture(scope="module")
def mnist():
    data = fnn.datasets.mnist()
    x_train, x_test = (x.reshape(len(x), 784).astype("float32") / 255 for x in (data.x_train, data.x_test))
    return (x_train, data.y_train), (x_test, data.y_test)


def task_of(name):
    return runpy.run_path(str(EXAMPLES / "mnist_mlp.py"))[name]()


@needs_data
def test_experiment_4_wide_sigmoid_network(mnist):
    train, test = mnist
    task = task_of("wide")
    ts = fnn.init(task, jax.random.key(0), train[0][:1])
    assert sum(p.size for p in jax.tree.leaves(ts.params)) == 407_050
    ts, history = fnn.fit(task, ts, train, epochs=10, batch_size=128, validation_split=0.1, verbose=0)
    assert history["val_accuracy"][-1] >= 0.859
    assert fnn.evaluate(task, ts, test)["accuracy"] >= 0.87


@needs_data
def test_experiment_5_narrow_network_with_dropout(mnist):
    train, test = mnist
    task = task_of("narrow")
    scores = []
    for seed in range(3):
        ts = fnn.init(task, jax.random.key(seed), train[0][:1])
        ts, _ = fnn.fit(task, ts, train, epochs=5, batch_size=64, verbose=0)
        scores.append(fnn.evaluate(task, ts, test))
    assert sum(p.size for p in jax.tree.leaves(ts.params)) == 13_434
    assert np.mean([score["accuracy"] for score in scores]) >= 0.9216
    assert np.mean([score["loss"] for score in scores]) <= 0.2505


def test_quickstart_reaches_97_percent(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "--out", str(picture)])
    runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    shown = capsys.readouterr().out
    accuracy = float(shown.split("test accuracy ")[1].split()[0])
    assert accuracy >= 0.97
    for text in ("cpu" if jax.default_backend() == "cpu" else "device", "conv (Conv)", "epoch 25/25", "weighted avg"):
        assert text in shown
    assert picture.stat().st_size > 20_000
