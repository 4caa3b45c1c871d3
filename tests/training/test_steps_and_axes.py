"""Outputs with steps or spatial axes that the targets lack, and layers over steps that receive none."""

import jax
import numpy as np
import pytest
from helpers import few

import fnn

STEPS = np.random.default_rng(0).normal(size=(8, 5, 3)).astype("f")
IMAGES = np.random.default_rng(1).normal(size=(8, 6, 6, 1)).astype("f")
NUMBERS = np.arange(8) % 3
ONE_HOT = np.eye(3, dtype="f")[NUMBERS]
YES = (NUMBERS > 0).astype("f")
LOSSES = {
    "sparse_categorical_crossentropy": NUMBERS,
    "categorical_crossentropy": ONE_HOT,
    "mse": ONE_HOT,
    "binary_crossentropy": YES,
    "hinge": YES,
}
RECURRENT = [fnn.LSTM, fnn.GRU, fnn.SimpleRNN]


def fit(x, y, loss, *layers):
    task = fnn.Task(layers[0] if len(layers) == 1 else fnn.Sequential(*layers), loss)
    fnn.fit(task, fnn.init(task, jax.random.key(0), x), (x, y), verbose=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_images_without_flatten(loss):
    match = r"loss > .*\. For one output per example, add fnn\.Flatten\(\) before layer 'dense'\.$"
    with pytest.raises(fnn.InputError, match=match):
        fit(IMAGES, LOSSES[loss], loss, fnn.Conv(4, 3), fnn.MaxPool(2), fnn.Dense(3))


def test_images_without_flatten_and_without_dense():
    with pytest.raises(fnn.InputError, match=r"add fnn\.Flatten\(\)\.$"):
        fit(IMAGES, NUMBERS, "sparse_categorical_crossentropy", fnn.Conv(3, 3), fnn.MaxPool(2))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("make", few(RECURRENT))
def test_sequences_for_one_target(make, loss):
    match = r"For one output per example, leave return_sequences=True out of layer '[a-z_]+_1'\.$"
    with pytest.raises(fnn.InputError, match=match) as caught:
        fit(STEPS, LOSSES[loss], loss, *(make(4, return_sequences=True) for _ in range(2)), fnn.Dense(3))
    assert "sparse loss" not in str(caught.value)


def test_the_layer_inside_a_model_is_named():
    model = fnn.Model(
        lambda layers, x: layers.out(layers.reader(x)), reader=fnn.LSTM(4, return_sequences=True), out=fnn.Dense(3)
    )
    with pytest.raises(fnn.InputError, match="return_sequences=True out of layer 'reader'"):
        fit(STEPS, NUMBERS, "sparse_categorical_crossentropy", model)


@pytest.mark.parametrize(
    ("y", "loss"),
    [(np.zeros((8, 5), int), "sparse_categorical_crossentropy"), (np.zeros((8, 5, 3), "f"), "mse")],
)
def test_targets_for_each_step(y, loss):
    match = r"For an output at each step, give layer 'bidirectional' return_sequences=True\.$"
    with pytest.raises(fnn.InputError, match=match):
        fit(STEPS, y, loss, fnn.Bidirectional(fnn.LSTM(4)), fnn.Dense(3))


@pytest.mark.parametrize(
    ("x", "y", "loss", "layers"),
    [
        (STEPS, ONE_HOT[:, :2], "mse", (fnn.LSTM(4), fnn.Dense(3))),
        (
            STEPS,
            np.zeros((8, 5)),
            "sparse_categorical_crossentropy",
            (fnn.LSTM(4, return_sequences=True), fnn.Dense(3)),
        ),
        (STEPS[:, 0], NUMBERS, "mse", (fnn.Dense(3), fnn.Dense(3))),
    ],
)
def test_other_mistakes_get_no_such_hint(x, y, loss, layers):
    with pytest.raises(fnn.InputError, match="expected") as caught:
        fit(x, y, loss, *layers)
    assert "return_sequences" not in str(caught.value)
    assert "Flatten" not in str(caught.value)


@pytest.mark.parametrize("make", RECURRENT)
@pytest.mark.parametrize(
    "after",
    [
        fnn.LSTM(4),
        fnn.GRU(4),
        fnn.SimpleRNN(4),
        fnn.Bidirectional(fnn.LSTM(4)),
        fnn.MultiHeadAttention(1, 4),
        fnn.TimeDistributed(fnn.Dense(4)),
        fnn.Conv(4, [3]),
        fnn.GlobalAvgPool(),
        fnn.PositionEmbedding(5),
        fnn.SinusoidalPositions(),
    ],
    ids=lambda layer: layer.kind,
)
def test_a_layer_over_steps_after_a_recurrent_one(make, after):
    with pytest.raises(fnn.InputError, match=r"position 1.*A recurrent layer before it needs return_sequences=True\."):
        fnn.summary(fnn.Sequential(make(4), after), STEPS)
    fnn.summary(fnn.Sequential(make(4, return_sequences=True), after), STEPS)
