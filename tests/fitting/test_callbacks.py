"""Callbacks for fit, over given values and in training."""

import csv
import functools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from helpers import few, some

import fnn

keras = pytest.importorskip("keras", reason="Keras is the reference here")


TASK = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))


@functools.cache
def state(inputs=2, rate=0.1):
    """The task of all tests, whose programs they share, and a state with a learning rate of its own."""
    return TASK, fnn.set_hyper(fnn.init(TASK, jax.random.key(0), (inputs,)), learning_rate=rate)


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
    assert play(fnn.early_stopping(patience=3, restore_best=False), falling)[:2] == (6, 6)
    assert play(fnn.early_stopping(patience=4), falling)[:2] == (None, None)
    assert play(fnn.early_stopping(patience=2, min_delta=1.5), falling)[:2] == (2, 0)
    assert play(fnn.early_stopping(patience=2), [1.0, np.nan, np.nan])[:2] == (2, 0)


def test_early_stopping_returns_the_best_state_of_a_complete_run(rng):
    """The validation targets are the training targets at first and far off later, so that it gets worse."""
    x = rng.normal(size=(32, 3)).astype("float32")
    task, ts = state(3, 0.03)
    near = np.asarray(fnn.predict(task, ts, x))
    data, validation = (x, near + 5), (x, near + 1)
    stop, seen = fnn.early_stopping(patience=30), []

    def keep(epoch, ts, logs):
        seen.append(ts)

    best, history = fnn.fit(task, ts, data, epochs=8, validation_data=validation, callbacks=[keep, stop], verbose=0)
    number = int(np.argmin(history["val_loss"]))
    assert 0 < number < 7
    assert len(seen) == 8
    jax.tree.map(np.testing.assert_array_equal, best.params, seen[number].params)
    last, _ = fnn.fit(
        task, ts, data, epochs=8, validation_data=validation, verbose=0,
        callbacks=fnn.early_stopping(patience=30, restore_best=False),
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, last.params, seen[-1].params)
    # All values are NaN in another fit: there is no best state, and none of the fit before.
    stop(0, ts, {"val_loss": float("nan")})
    assert stop.finish(ts) is ts


def test_early_stopping_knows_which_metrics_to_maximize():
    rising = [0.1, 0.5, 0.4, 0.3, 0.9]
    assert play(fnn.early_stopping("val_accuracy", patience=2), rising, "val_accuracy")[:2] == (3, 1)
    assert play(fnn.early_stopping("own", mode="max", patience=2), rising, "own")[:2] == (3, 1)
    assert play(fnn.early_stopping("own", mode="min", patience=2), rising, "own")[:2] == (2, 0)


@pytest.mark.parametrize("name", ["val_bias", "own", "seconds"])
def test_an_unknown_metric_needs_a_mode(name):
    def sweep(monitor, mode=None):
        return fnn.sweep(lambda a: ({}, {monitor: a[None]}), {"a": [1.0, 2.0]}, monitor=monitor, mode=mode, verbose=0)

    def checkpoint(monitor, mode=None):
        return fnn.model_checkpoint("out/x", monitor=monitor, mode=mode)

    for where, make in (
        ("early_stopping", fnn.early_stopping),
        ("reduce_on_plateau", fnn.reduce_on_plateau),
        ("model_checkpoint", checkpoint),
        ("sweep", sweep),
    ):
        with pytest.raises(
            fnn.InputError,
            match=rf"^{where}: expected mode='max' or mode='min' .* got monitor='{name}' without a mode.*'max'",
        ):
            make(name)
    assert fnn.early_stopping(name, mode="max") != fnn.early_stopping(name, mode="min")
    assert sweep(name, "max").best == {"a": 2.0}
    assert sweep(name, "min").best == {"a": 1.0}


def test_known_values_have_a_direction():
    for monitor, mode in (("val_loss", "min"), ("rmse", "min"), ("val_huber", "min"), ("val_f1", "max"), ("r2", "max")):
        assert fnn.early_stopping(monitor) == fnn.early_stopping(monitor, mode=mode)
        assert fnn.reduce_on_plateau(monitor) != fnn.reduce_on_plateau(monitor, mode={"min": "max", "max": "min"}[mode])


def test_a_callback_starts_afresh_in_another_fit():
    callback = fnn.early_stopping(patience=2)
    assert play(callback, [1.0, 2.0, 2.0])[0] == 2
    assert play(callback, [5.0, 4.0, 4.5])[0] is None


def test_reduce_on_plateau():
    callback = fnn.reduce_on_plateau(patience=2, factor=0.5, min_rate=0.03)
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    assert play(callback, values)[2] == [0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]


def test_a_rate_below_the_minimum_is_unchanged():
    callback, (_, ts) = fnn.reduce_on_plateau(patience=1, min_rate=0.5), state()
    callback(0, ts, {"val_loss": 1.0})
    assert float(fnn.get_hyper(callback(1, ts, {"val_loss": 1.0}))["learning_rate"]) == pytest.approx(0.1)


class Twin:
    """As much of a Keras model as its callbacks look at."""

    def __init__(self, rate):
        self.optimizer, self.stop_training, self.metrics = keras.optimizers.SGD(rate), False, []

    def get_weights(self):
        return [0]


def keras_s(callback, values, rate=0.1):
    """The epoch in which a Keras callback stops training, and the rates."""
    twin, rates = Twin(rate), []
    callback.set_model(twin)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        if twin.stop_training:
            return epoch, rates
        rates.append(round(float(twin.optimizer.learning_rate), 6))
    return None, rates


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("min_delta", some([0.0, 0.125], 0.125))
@pytest.mark.parametrize("patience", few([0, 1, 2, 5]))
def test_callbacks_act_in_the_same_epochs_as_in_keras(patience, min_delta, mode):
    for seed in range(3):
        # Sixteenths, so that equal steps are exactly equal, and a trend with relapses.
        noise = np.random.default_rng(seed).integers(-6, 5, 40)
        values = (np.cumsum(noise) / 16 * (1 if mode == "min" else -1)).tolist()
        stopping = keras.callbacks.EarlyStopping("val_loss", min_delta, patience, mode=mode)
        expected = keras_s(stopping, values)[0]
        ours = fnn.early_stopping("val_loss", patience=patience, min_delta=min_delta, mode=mode)
        assert play(ours, values)[0] == expected
        plateau = keras.callbacks.ReduceLROnPlateau(
            "val_loss", 0.5, patience, mode=mode, min_delta=min_delta, min_lr=0.005
        )
        ours = fnn.reduce_on_plateau(
            "val_loss", factor=0.5, patience=patience, mode=mode, min_delta=min_delta, min_rate=0.005
        )
        expected = keras_s(plateau, values)[1]
        assert play(ours, values)[2] == expected
        assert patience == 5 or expected[-1] < 0.1, "it must have acted"


SIXTEENTHS = st.integers(-6, 5).map(lambda step: step / 16)
SETTINGS = st.fixed_dictionaries(
    {
        "patience": st.integers(0, 4),
        "min_delta": st.sampled_from([0.0, 1 / 16, 1 / 4]),
        "mode": st.sampled_from(["min", "max"]),
    }
)


@hypothesis.given(
    st.lists(SIXTEENTHS, min_size=1, max_size=16),
    SETTINGS,
    st.one_of(st.none(), st.sampled_from([-1.0, -0.25, 0.0, 0.5])),
    st.integers(0, 4),
)
def test_early_stopping_decides_as_keras_does(noise, settings, baseline, first):
    """On random series: the epoch in which it stops, and the state that it returns."""
    values, options = np.cumsum(noise).tolist(), {**settings, "baseline": baseline, "start_from_epoch": first}
    theirs = keras.callbacks.EarlyStopping("val_loss", **options, restore_best_weights=True)
    stopped, _ = keras_s(theirs, values)
    ours = fnn.early_stopping("val_loss", **options)
    epoch, step, _ = play(ours, values)
    assert epoch == stopped
    _, ts = state()
    returned = int(ours.finish(ts._replace(step=np.int32(-1))).step) if step is None else step
    assert returned == (theirs.best_epoch if first < len(values) else -1)
    assert play(fnn.early_stopping("val_loss", restore_best=False, **options), values)[0] == stopped


@hypothesis.given(
    st.lists(SIXTEENTHS, min_size=1, max_size=16),
    SETTINGS,
    st.integers(0, 4),
    st.sampled_from([0.0, 0.03]),
    st.sampled_from([0.5, 0.125]),
)
def test_reduce_on_plateau_decides_as_keras_does(noise, settings, cooldown, least, factor):
    """The rate after each epoch of a random series."""
    values, options = np.cumsum(noise).tolist(), {**settings, "cooldown": cooldown, "factor": factor}
    theirs = keras.callbacks.ReduceLROnPlateau("val_loss", min_lr=least, **options)
    ours = fnn.reduce_on_plateau("val_loss", min_rate=least, **options)
    assert play(ours, values)[2] == keras_s(theirs, values)[1]


def test_a_cooldown_pauses_reductions():
    flat = [1.0] * 8
    assert play(fnn.reduce_on_plateau(patience=1, factor=0.5, min_rate=1e-6), flat)[2] == pytest.approx(
        [0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125, 0.001563, 0.000781], abs=1e-6
    )
    paused = play(fnn.reduce_on_plateau(patience=1, factor=0.5, cooldown=3), flat)[2]
    assert paused == [0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125]


def test_a_baseline_must_be_beaten():
    falling = [1.0, 0.9, 0.8, 0.7, 0.6]
    assert play(fnn.early_stopping(patience=3, baseline=0.5), falling)[:2] == (None, None)  # it still improves
    assert play(fnn.early_stopping(patience=3, baseline=0.5), [1.0, 0.9, 0.95])[:2] == (2, 1)
    assert play(fnn.early_stopping(patience=3), [1.0, 0.9, 0.95])[:2] == (None, None)


def test_decisions_are_the_same_inside_a_program(rng):
    """As `run` makes them, and in strict promotion."""
    values = (np.cumsum(rng.integers(-3, 4, 24)) / 16).astype("f")
    stop = fnn.early_stopping(patience=4, baseline=-0.5, start_from_epoch=3, min_delta=1 / 16)
    plateau = fnn.reduce_on_plateau(patience=1, cooldown=3, factor=0.5)
    _, ts = state()

    def body(carry, now):
        (memory, waiting, ts), (epoch, value) = carry, now
        logs = {"val_loss": value}
        memory, ts, stopped = stop.after(memory, epoch, ts, logs)
        waiting, ts, _ = plateau.after(waiting, epoch, ts, logs)
        return (memory, waiting, ts), (stopped, fnn.get_hyper(ts)["learning_rate"])

    start = stop.start(ts), plateau.start(ts), ts
    with jax.numpy_dtype_promotion("strict"):
        _, (stopped, rates) = jax.jit(lambda *xs: jax.lax.scan(body, start, xs))(np.arange(24, dtype=np.uint32), values)
    assert int(np.argmax(stopped)) == play(stop, values.tolist())[0] > 4
    want = play(plateau, values.tolist())[2]
    np.testing.assert_allclose(rates, want, 1e-2)
    assert want[-1] < 0.05


# -------------------------------------------------------------------------------------------------------------- CSV log
def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_a_row_for_each_epoch(tmp_path):
    path = tmp_path / "logs" / "run.csv"
    x = np.random.default_rng(0).normal(size=(20, 2)).astype("f")
    task, ts = state()
    task = task.replace(metrics=("mae",))
    seen = []
    _, history = fnn.fit(
        task,
        ts,
        (x, x[:, :1]),
        epochs=3,
        validation_split=0.2,
        verbose=0,
        callbacks=[fnn.csv_log(path), lambda epoch, ts, logs: seen.append(len(rows(path)))],
    )
    header, *table = rows(path)
    assert header == ["epoch", *history]
    assert header[:2] == ["epoch", "loss"]
    assert seen == [2, 3, 4], "each row is there as soon as its epoch is over"
    for i, name in enumerate(history, 1):
        assert [float(row[i]) for row in table] == history[name], "with all digits"
    assert [row[0] for row in table] == ["1", "2", "3"]
    assert path.read_bytes().endswith(b"\r\n")


def test_a_later_fit_overwrites_or_appends(tmp_path):
    path, (_, ts) = tmp_path / "run.csv", state()
    anew, goes_on = fnn.csv_log(path), fnn.csv_log(path, append=True)
    for epoch in (0, 1, 0):
        anew(epoch, ts, {"loss": 1.5, "val_loss": 2.0})
    assert rows(path) == [["epoch", "loss", "val_loss"], ["1", "1.5", "2.0"]]
    goes_on(0, ts, {"val_loss": 3.0, "loss": 0.5})
    goes_on(1, ts, {"loss": 0.25})
    goes_on(0, ts, {"loss": 0.1})
    assert rows(path)[2:] == [["1", "0.5", "3.0"], ["2", "0.25", ""], ["1", "0.1", ""]]
    with pytest.raises(
        fnn.InputError, match=r"the columns of .*, \['epoch', 'loss', 'val_loss'\], got other values: \['f1'"
    ):
        goes_on(0, ts, {"loss": 1.0, "f1": 0.5})
    short = fnn.csv_log(tmp_path / "short.csv")
    short(0, ts, {"loss": 1.0})
    with pytest.raises(fnn.InputError, match=r"got other values: \['val_loss'\]. Use another file, or append=False"):
        short(1, ts, {"loss": 1.0, "val_loss": 1.0})
    assert len(rows(path)) == 5


def test_a_resumed_run_appends(tmp_path):
    path, (_, ts) = tmp_path / "run.csv", state()
    fnn.csv_log(path)(0, ts, {"loss": 1.5})
    fnn.csv_log(path)(1, ts, {"loss": 0.5})
    assert rows(path) == [["epoch", "loss"], ["1", "1.5"], ["2", "0.5"]]


def test_existing_files(tmp_path):
    _, ts = state()
    empty, cut, other, binary = (tmp_path / f"{name}.csv" for name in ("empty", "cut", "other", "binary"))
    empty.touch()
    fnn.csv_log(empty, append=True)(0, ts, {"loss": 1.5})
    assert rows(empty) == [["epoch", "loss"], ["1", "1.5"]]
    cut.write_text("epoch,loss\r\n1,1.")  # by a kill
    fnn.csv_log(cut, append=True)(0, ts, {"loss": 2.5})
    assert rows(cut) == [["epoch", "loss"], ["1", "1."], ["1", "2.5"]]
    other.write_text("name,age\nAda,36\n")
    binary.write_bytes(b"\xff\xfe\x00" * 9)
    for path in (other, binary):
        before = path.read_bytes()
        with pytest.raises(
            fnn.InputError, match=r"csv_log: expected a table whose first column is 'epoch', got '.*csv'"
        ):
            fnn.csv_log(path, append=True)(0, ts, {"loss": 1.5})
        assert path.read_bytes() == before
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        fnn.csv_log(tmp_path)(0, ts, {"loss": 1.0})


# ---------------------------------------------------------------------------------------------------------- checkpoints
def test_a_checkpoint_for_each_epoch(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 2)).astype("f")
    task, ts = state()
    task = task.replace(metrics=("mae",))
    kept = []
    names = tmp_path / "new" / "run-{epoch:03d}-{val_loss:.3f}.safetensors"
    _, history = fnn.fit(
        task,
        ts,
        (x, x[:, :1]),
        epochs=3,
        validation_split=0.2,
        verbose=0,
        callbacks=[fnn.model_checkpoint(names), lambda epoch, ts, logs: kept.append(ts)],
    )
    expected = [f"run-{i + 1:03d}-{value:.3f}.safetensors" for i, value in enumerate(history["val_loss"])]
    assert sorted(path.name for path in names.parent.iterdir()) == expected
    for i, name in enumerate(expected):
        back, info = fnn.load(names.parent / name, ts), fnn.load_info(names.parent / name)
        np.testing.assert_array_equal(back.params["kernel"], kept[i].params["kernel"])
        assert info.step == int(kept[i].step)
        assert info.history == {name: values[: i + 1] for name, values in history.items()}
        assert info.extra == {"epoch": i + 1}


def test_a_checkpoint_holds_the_task(tmp_path):
    def gate(x):
        return x * jax.nn.sigmoid(1.7 * x)

    x = np.random.default_rng(0).normal(size=(20, 2)).astype("f")
    path = tmp_path / "best.safetensors"
    save = fnn.model_checkpoint(path, monitor="loss")
    for activation, custom in (("relu", None), (gate, {"gate": gate})):
        task = fnn.Task(fnn.Sequential(fnn.Dense(3, activation), fnn.Dense(1)), "mse", fnn.sgd(0.1), ("mae",))
        ts = fnn.init(task, jax.random.key(0), x[:1])
        trained, history = fnn.fit(task, ts, (x, x[:, :1]), epochs=2, verbose=0, callbacks=[save])
        save = fnn.model_checkpoint(path)
        back, again = fnn.load(path, custom=custom)
        assert back == task
        assert fnn.fingerprint(again) == fnn.fingerprint(trained)
        assert fnn.load_info(path).history == history
    # An unnamed function cannot be described; the state is saved as before.
    task = task.replace(model=fnn.Sequential(fnn.Dense(3, lambda x: x), fnn.Dense(1)))
    trained, _ = fnn.fit(task, ts, (x, x[:, :1]), verbose=0, callbacks=[save])
    with pytest.raises(fnn.InputError, match=r"a file saved with its task, .* got one without"):
        fnn.load(path)
    assert fnn.fingerprint(fnn.load(path, ts)) == fnn.fingerprint(trained)
    save(0, ts, {"loss": 1.0})  # by hand, for a state of the same task
    assert fnn.load(path, ts).step == 0


def saved(callback, path, values, key="val_loss"):
    """The epochs, counted from 1, after which the file held another state."""
    _, ts = state()
    found = []
    for epoch, value in enumerate(values):
        callback(epoch, ts._replace(step=np.int32(epoch + 1)), {key: value})
        found.append(fnn.load_info(path).step if path.exists() else 0)
    return found


def test_only_the_best_is_kept(tmp_path):
    path = tmp_path / "best.safetensors"
    values = [np.nan, 3.0, 4.0, 2.0, np.nan, 2.0, 1.0]
    assert saved(fnn.model_checkpoint(path, monitor="val_loss"), path, values) == [0, 2, 2, 4, 4, 4, 7]
    assert saved(fnn.model_checkpoint(path), path, values) == [1, 2, 3, 4, 5, 6, 7]
    rising = fnn.model_checkpoint(path, monitor="val_accuracy")
    assert saved(rising, path, [0.5, 0.4, 0.7, 0.6], "val_accuracy") == [1, 1, 3, 3]
    assert fnn.load_info(path).history == {"val_accuracy": [0.5, 0.4, 0.7]}
    # Another fit keeps the best of the first; its history is its own.
    assert saved(rising, path, [0.6, 0.8], "val_accuracy") == [3, 2]
    assert fnn.load_info(path).history == {"val_accuracy": [0.6, 0.8]}
    assert saved(fnn.model_checkpoint(path, monitor="own", mode="max"), path, [0.5, 0.4, 0.7], "own") == [1, 1, 3]


def test_model_checkpoint_saves_in_the_same_epochs_as_keras(tmp_path):
    class Saving:
        """Notes when the model is saved."""

        metrics = ()

        def save(self, path, overwrite):
            self.epoch = epoch

    values = (np.cumsum(np.random.default_rng(1).integers(-6, 6, 30)) / 16).tolist()
    theirs, model = keras.callbacks.ModelCheckpoint(str(tmp_path / "a.keras"), save_best_only=True), Saving()
    theirs.set_model(model)
    expected = []
    for epoch, value in enumerate(values):
        theirs.on_epoch_end(epoch, {"val_loss": value})
        expected.append(model.epoch + 1)
    path = tmp_path / "a.safetensors"
    assert saved(fnn.model_checkpoint(path, monitor="val_loss"), path, values) == expected
    assert 3 < len(set(expected)) < 30


def test_in_training():
    x = np.random.default_rng(0).normal(size=(40, 2)).astype("f")
    y, noise = x.sum(1, keepdims=True), np.random.default_rng(1).normal(size=(8, 1)).astype("f")
    task, ts = state(rate=0.3)
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
    with pytest.raises(fnn.InputError, match=r"'val_loss' in the logs, got \['loss'\]. Pass validation data"):
        fnn.early_stopping()(0, ts, {"loss": 1.0})
    with pytest.raises(fnn.InputError, match=r"got monitor='val_acuracy' without a mode\. .*mode='max'"):
        fnn.early_stopping("val_acuracy")
    with pytest.raises(fnn.InputError, match=r"'val_acc' in the logs, .*\. Did you mean 'val_accuracy'\?"):
        fnn.early_stopping("val_acc")(0, ts, {"loss": 1.0, "val_loss": 1.0, "val_accuracy": 1.0})
    with pytest.raises(fnn.InputError, match="patience to be an integer of at least 0"):
        fnn.early_stopping(patience=-1)
    with pytest.raises(fnn.InputError, match="mode 'min', 'max' or None, got 'up'"):
        fnn.reduce_on_plateau(mode="up")
    with pytest.raises(fnn.InputError, match=r"factor in \[0, 1\]"):
        fnn.reduce_on_plateau(factor=2.0)
    for make, options, message in (
        (fnn.early_stopping, {"baseline": float("nan")}, "early_stopping: expected baseline to be finite, got nan"),
        (fnn.early_stopping, {"baseline": "loss"}, "early_stopping: expected baseline to be a number, got 'loss'"),
        (fnn.early_stopping, {"start_from_epoch": -1}, "start_from_epoch to be an integer of at least 0, got -1"),
        (fnn.early_stopping, {"min_delta": -0.1}, r"min_delta in \[0, inf\), got -0.1"),
        (fnn.reduce_on_plateau, {"cooldown": 1.5}, "cooldown to be an integer of at least 0, got 1.5"),
    ):
        with pytest.raises(fnn.InputError, match=message):
            make(**options)
    with pytest.raises(
        TypeError, match=r"early_stopping\(\) got .* 'restore_best_weights'\. Write restore_best=True\."
    ):
        fnn.early_stopping(restore_best_weights=True)
    with pytest.raises(TypeError, match=r"reduce_on_plateau\(\) got .* 'min_lr'\. Write min_rate=1e-05\."):
        fnn.reduce_on_plateau(min_lr=1e-5)
    assert fnn.early_stopping(mode="auto") == fnn.early_stopping() != fnn.early_stopping(baseline=1.0)
    with pytest.raises(fnn.InputError, match=r"model_checkpoint: expected a monitor with a mode, got mode='min' alone"):
        fnn.model_checkpoint("a.safetensors", mode="min")
    with pytest.raises(fnn.InputError, match=r"mode 'min', 'max' or None, got 'up'"):
        fnn.model_checkpoint("a.safetensors", monitor="val_loss", mode="up")
    with pytest.raises(
        fnn.InputError, match=r"model_checkpoint: expected 'val_loss' in the logs, got \['loss'\]. Pass val"
    ):
        fnn.model_checkpoint("a.safetensors", monitor="val_loss")(0, ts, {"loss": 1.0})
    for wrong, said in (("{val_loss}", "'val_loss'"), ("{}", "Replacement index 0"), ("{", "Single '{'")):
        with pytest.raises(
            fnn.InputError, match=rf"only \{{epoch\}} and entries of the logs, \['loss'\], in braces, got .*{said}"
        ):
            fnn.model_checkpoint(wrong)(0, ts, {"loss": 1.0})
    scheduled = fnn.sgd(fnn.schedules.constant(0.1)).init(ts.params)
    callback = fnn.reduce_on_plateau(patience=1)
    callback(0, ts, {"val_loss": 1.0})
    with pytest.raises(fnn.InputError, match="a learning rate that is a number, got a dict"):
        callback(1, ts._replace(opt_state=scheduled), {"val_loss": 1.0})


def test_a_callback_factory_is_not_a_callback():
    task, ts = state()
    data = np.ones((4, 2), "f"), np.ones((4, 1), "f")

    def every(count=1):
        return lambda epoch, ts, logs: None

    def lazy(*anything):
        return every()

    for maker in (fnn.early_stopping, fnn.reduce_on_plateau, fnn.csv_log, fnn.model_checkpoint, every):
        for callbacks in (maker, [maker]):
            message = rf"does not accept these arguments. If it makes a callback, call it: {maker.__name__}\("
            with pytest.raises(fnn.InputError, match=message):
                fnn.fit(task, ts, data, callbacks=callbacks, verbose=0)
    with pytest.raises(fnn.InputError, match=r"expected None or a TrainState, got a function. .* Call it, and pass"):
        fnn.fit(task, ts, data, callbacks=[lazy], verbose=0)
    fnn.fit(task, ts, data, callbacks=[every(), functools.partial(lambda a, *rest: None, 1)], verbose=0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_every_callback_runs_in_the_epoch_that_stops(order, rng, tmp_path):
    x = rng.normal(size=(32, 3)).astype("float32")
    task, ts = state(3, 1e-7)
    callbacks = [
        fnn.early_stopping("loss", patience=2, min_delta=0.1),
        fnn.csv_log(tmp_path / "log.csv"),
        fnn.model_checkpoint(tmp_path / "{epoch}.safetensors"),
    ]
    _, history = fnn.fit(task, ts, (x, x[:, :1]), epochs=9, callbacks=[callbacks[i] for i in order], verbose=0)
    assert len(history["loss"]) == 3
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    assert (tmp_path / "3.safetensors").exists()


def test_the_best_state_is_returned_whichever_callback_stops(rng):
    x = rng.normal(size=(32, 3)).astype("float32")
    task, ts = state(3, 3.0)

    def impatient(epoch, ts, logs):
        if epoch == 3:
            raise fnn.StopTraining

    callbacks = [impatient, fnn.early_stopping("loss", patience=9)]
    best, history = fnn.fit(task, ts, (x, 2 + x[:, :1]), batch_size=32, epochs=9, callbacks=callbacks, verbose=0)
    assert history["loss"] == sorted(history["loss"])
    assert (len(history["loss"]), int(best.step)) == (4, 1)


def test_a_later_fit_does_not_overwrite_the_best(rng, tmp_path):
    x = rng.normal(size=(32, 3)).astype("float32")
    task, ts = state(3, 0.1)
    keep = fnn.model_checkpoint(tmp_path / "best.safetensors", monitor="loss")
    ts, history = fnn.fit(task, ts, (x, x[:, :1]), epochs=3, callbacks=[keep], verbose=0)
    wild = fnn.set_hyper(ts, learning_rate=2.0)
    fnn.fit(task, wild, (x, 100 + x[:, :1]), epochs=2, callbacks=[keep], verbose=0)
    assert fnn.load_info(tmp_path / "best.safetensors").history["loss"] == pytest.approx(history["loss"])
