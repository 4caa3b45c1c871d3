"""Callbacks for fit, over given values and in training."""

import jax
import numpy as np
import pytest

import fnn


def state(rate=0.1):
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(rate))
    return task, fnn.init(task, jax.random.key(0), (2,))


def play(callback, values, key="val_loss"):
    """Epochs with given values; the epoch in which it stopped, the step of the state it stopped with, and the rates."""
    _, ts = state()
    rates = []
    for epoch, value in enumerate(values):
        try:
            ts = callback(epoch, ts._replace(step=np.int32(epoch)), {"loss": 1.0, key: value}) or ts
        except fnn.StopTraining as request:
            return epoch, None if request.ts is None else int(request.ts.step), rates
        rates.append(round(float(fnn.get_hyper(ts)["learning_rate"]), 6))
    return None, None, rates


def test_early_stopping_waits_and_returns_the_best():
    falling = [3.0, 2.0, 2.5, 1.0, 1.5, 1.2, 1.1, 0.5]
    assert play(fnn.early_stopping(patience=3), falling)[:2] == (6, 3)
    assert play(fnn.early_stopping(patience=3, restore_best=False), falling)[:2] == (6, None)
    assert play(fnn.early_stopping(patience=4), falling)[:2] == (None, None)
    assert play(fnn.early_stopping(patience=2, min_delta=1.5), falling)[:2] == (2, 0)
    assert play(fnn.early_stopping(patience=2), [1.0, np.nan, np.nan])[:2] == (2, 0)


def test_early_stopping_knows_what_should_rise():
    rising = [0.1, 0.5, 0.4, 0.3, 0.9]
    assert play(fnn.early_stopping("val_accuracy", patience=2), rising, "val_accuracy")[:2] == (3, 1)
    assert play(fnn.early_stopping("own", mode="max", patience=2), rising, "own")[:2] == (3, 1)
    assert play(fnn.early_stopping("own", patience=2), rising, "own")[:2] == (2, 0)


def test_a_callback_starts_anew_in_another_fit():
    callback = fnn.early_stopping(patience=2)
    assert play(callback, [1.0, 2.0, 2.0])[0] == 2
    assert play(callback, [5.0, 4.0, 4.5])[0] is None


def test_reduce_on_plateau():
    callback = fnn.reduce_on_plateau(patience=2, factor=0.5, min_rate=0.03)
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    assert play(callback, values)[2] == [0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]


def test_in_training():
    x = np.random.default_rng(0).normal(size=(40, 2)).astype("f")
    y, noise = x.sum(1, keepdims=True), np.random.default_rng(1).normal(size=(8, 1)).astype("f")
    task, ts = state(0.3)
    kept = []
    callbacks = [lambda epoch, ts, logs: kept.append(ts), fnn.early_stopping(patience=3)]
    val = (x[:8], noise)
    end, history = fnn.fit(task, ts, (x, y), epochs=50, validation_data=val, callbacks=callbacks, verbose=0)
    best = int(np.argmin(history["val_loss"]))
    assert len(history["loss"]) == best + 4 < 50
    np.testing.assert_array_equal(end.params["kernel"], kept[best].params["kernel"])
    assert int(end.step) == int(kept[best].step)


def test_bad_input():
    _, ts = state()
    with pytest.raises(fnn.InputError, match=r"'val_loss' in the logs, got \['loss'\]. Pass validation data to fit"):
        fnn.early_stopping()(0, ts, {"loss": 1.0})
    with pytest.raises(fnn.InputError, match="patience to be an integer of at least 1"):
        fnn.early_stopping(patience=0)
    with pytest.raises(fnn.InputError, match="mode 'min', 'max' or None, got 'up'"):
        fnn.reduce_on_plateau(mode="up")
    with pytest.raises(fnn.InputError, match=r"factor in \[0, 1\]"):
        fnn.reduce_on_plateau(factor=2.0)
    scheduled = fnn.sgd(fnn.schedules.constant(0.1)).init(ts.params)
    callback = fnn.reduce_on_plateau(patience=1)
    callback(0, ts, {"val_loss": 1.0})
    with pytest.raises(fnn.InputError, match="a learning rate that is a number, got dict"):
        callback(1, ts._replace(opt_state=scheduled), {"val_loss": 1.0})
