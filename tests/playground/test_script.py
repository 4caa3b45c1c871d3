"""The scripts shown are run in processes of their own."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fnn.playground.images import has_mnist
from fnn.playground.script import perceptron_script

TABLE = "width,colour,weight,y\n" + "\n".join(f"{i * 0.1},{'ab'[i % 2]},{i * i % 7},{i * 0.3}" for i in range(40))
CLASSES = "\n".join(f"{i * 0.1};{i * i % 7};{'pqr'[i % 3]}" for i in range(40))
POINTS = {"name": "points", "x": [[i * 0.1, i * i % 7 - 3] for i in range(30)], "y": [i % 3 for i in range(30)]}
NORMED = {"units": 5, "activation": "relu", "dropout": 0.1, "batch_norm": True}
EVENTS = [
    ("step", {"epochs": 3}),
    ("hyper", {"values": {"learning_rate": 0.003, "beta_1": 0.8}}),
    ("step", {"epochs": 2}),
    ("penalty", {"kind": "l1", "rate": 0.01}),
    ("step", {"epochs": 2}),
    ("weight", {"layer": "dense", "leaf": "kernel", "index": [0, 1], "value": 0.3}),
    ("weight", {"layer": "dense_1", "leaf": "bias", "index": [2], "value": -0.1}),
    ("step", {"epochs": 2}),
    ("penalty", {"kind": "none"}),
    ("step", {"epochs": 2}),
    ("go", {"epoch": 10}),
    ("step", {"epochs": 1}),
]
CASES = {
    "events": (
        {
            "data": {"name": "spiral", "size": 61, "noise": 0.1, "train": 0.7},
            "features": ["x1", "x2", "sin(x1)", "x1*x2"],
            "layers": [NORMED, {"units": 4, "activation": "gelu"}],
            "optimizer": {"name": "adam"},
            "initializer": "he_normal",
            "penalty": {"kind": "l2", "rate": 0.001},
            "seed": 5,
            "batch_size": 16,
        },
        EVENTS,
    ),
    "plain": ({"data": {"size": 80}}, [("step", {"epochs": 3})]),
    "points": ({"data": POINTS, "optimizer": {"name": "nesterov"}}, [("step", {"epochs": 3})]),
    "table": ({"data": {"name": "csv", "text": TABLE}, "optimizer": {"name": "rmsprop"}}, [("step", {"epochs": 3})]),
    "classes": (
        {"data": {"name": "csv", "text": CLASSES}, "optimizer": {"name": "adamw", "weight_decay": 0}},
        [("step", {"epochs": 3})],
    ),
    "digits": ({"data": {"name": "digits", "size": 100}, "layers": [{"units": 4}]}, [("step", {"epochs": 2})]),
    "mnist": ({"data": {"name": "mnist", "size": 100}, "layers": [{"units": 4}]}, [("step", {"epochs": 2})]),
    "plane": ({"data": {"name": "plane", "size": 80}, "layers": []}, [("step", {"epochs": 3})]),
}


def run(source, folder, files, **environment):
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "script.py").write_text(source)
    command = [sys.executable, "script.py"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | environment)
    assert found.returncode == 0, found.stderr
    return found.stdout


def train(page, settings, events):
    if settings["data"].get("name") == "mnist" and not has_mnist():
        pytest.skip("MNIST is not on this machine")
    page.do("set", settings=settings)
    for do, fields in events:
        page.do(do, **fields)
    return page.journey.measure(), page.do("code")


def environment_of_this_process():
    """What makes another process compile programs as this one does, see tests/conftest.py."""
    return {"JAX_DISABLE_MOST_OPTIMIZATIONS": os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")}


@pytest.mark.parametrize(
    "case", ["events", *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if case != "events")]
)
def test_the_fnn_script_ends_with_the_same_losses(page, tmp_path, case):
    losses, code = train(page, *CASES[case])
    found = run(code["fnn"], tmp_path, code["files"], **environment_of_this_process())
    assert found == f"train loss {losses.train!r}\ntest loss {losses.test!r}\n"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_keras_script_runs(page, tmp_path, case):
    pytest.importorskip("keras")
    _, code = train(page, *CASES[case])
    found = run(code["keras"], tmp_path, code["files"], KERAS_BACKEND="jax")
    names, values = zip(*(line.rsplit(" ", 1) for line in found.splitlines()), strict=True)
    assert names == ("train loss", "test loss")
    # Another start and another order, but the same network on the same rows.
    assert np.isfinite([float(value) for value in values]).all()


def test_the_scripts_are_those_of_the_events(page):
    _, code = train(page, *CASES["events"])
    for text in (
        "set_hyper(ts, learning_rate=0.003, beta_1=0.8)  # after epoch 3",
        ".at[0, 1].set(0.3)",
        "range(9, 11)",
    ):
        assert text in code["fnn"]
    for text in ("optimizer.learning_rate = 0.003", "L1(0.01)", "kernel[0, 1] = 0.3", "penalize(None)", "epochs=11"):
        assert text in code["keras"]
    for source in (code["fnn"], code["keras"]):
        compile(source, "script", "exec")
    page.do("go", epoch=2)
    assert "set_hyper" not in page.do("code")["fnn"]


@pytest.mark.slow
def test_the_perceptron_script_ends_with_the_same_weights(page, tmp_path):
    page.do("set", settings={"kind": "perceptron", "data": {"name": "gaussians", "size": 100, "noise": 0.2}})
    page.do("play")
    page.train()
    page.train()
    now = page.journey.now
    source = page.do("code")["fnn"]
    assert source == perceptron_script(page.journey.settings, page.journey.prepared, now.epoch)
    found = run(source, tmp_path, {}, **environment_of_this_process())
    assert f"kernel {now.kernel.tolist()}" in found
