"""Sweeps: each trial equals its own run, groups compile once, failures are marked, bad spaces refused."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

X = np.linspace(-1, 1, 48, dtype="float32")[:, None]
DATA = (X, np.sin(3 * X))
TASK = fnn.Task(fnn.Sequential(fnn.Dense(5, activation="tanh"), fnn.Dense(1)), "mse", fnn.sgd())


def trial(seed, rate):
    ts = fnn.set_hyper(fnn.init(TASK, jax.random.key(seed), X), learning_rate=rate)
    return fnn.run(TASK, ts, DATA, epochs=3, batch_size=16, validation_data=DATA)


SPACE = {"seed": [0, 1], "rate": [0.01, 0.3, 1e12]}


@pytest.fixture(scope="module")
def found():
    return fnn.sweep(trial, SPACE, keep="all", verbose=0)


def test_each_trial_equals_its_own_run(found):
    assert isinstance(found, fnn.Sweep)
    assert found.configs == [{"seed": s, "rate": r} for s in (0, 1) for r in (0.01, 0.3, 1e12)]
    for i in (0, 1, 3, 4):
        ts, history = trial(**found.configs[i])
        np.testing.assert_allclose(found.histories[i]["val_loss"], history["val_loss"], 1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), found.states[i].params, ts.params)
        assert found.scores[i] == pytest.approx(float(history["val_loss"][-1]), 1e-5)


def test_failed_trials_are_marked_and_come_last(found):
    assert found.failed.tolist() == [False, False, True, False, False, True]
    finite = found.scores[~found.failed]
    assert found.best == found.configs[int(np.nanargmin(np.where(found.failed, np.nan, found.scores)))]
    assert [row["failed"] for row in found.rows()] == [False] * 4 + [True] * 2
    assert [row["val_loss"] for row in found.rows()][:4] == sorted(finite)
    text = repr(found)
    assert text.splitlines()[0].split()[:3] == ["trial", "seed", "rate"]
    assert text.count("failed") == 3
    assert "6 trials by val_loss, 2 of them failed" in text


def test_the_best_state_is_ready_to_use(found):
    best = fnn.sweep(trial, SPACE, verbose=0)
    assert best.states == []
    jax.tree.map(np.testing.assert_array_equal, best.ts.params, found.states[found.order[0]].params)
    assert fnn.evaluate(TASK, best.ts, DATA)["loss"] == pytest.approx(best.scores[best.order[0]], 1e-5)


def test_calls_of_few_members_change_nothing_but_memory(found):
    parts = fnn.sweep(trial, SPACE, members=4, keep="all", verbose=0)
    assert parts.failed.tolist() == found.failed.tolist()
    np.testing.assert_allclose(parts.scores, found.scores, 1e-5)
    assert len(parts.states) == 6


def test_structural_arguments_form_groups_that_compile_once():
    traces = []

    def of_width(units, activation, rate):
        traces.append((units, activation))
        task = fnn.Task(fnn.Sequential(fnn.Dense(units, activation=activation), fnn.Dense(1)), "mse", fnn.adam(rate))
        return fnn.run(task, fnn.init(task, jax.random.key(0), X), DATA, epochs=1, batch_size=16)

    space = {"units": [2, 3], "activation": ["tanh", "relu"], "rate": [0.1, 0.01, 0.001]}
    found = fnn.sweep(of_width, space, structural=("units",), keep="all", verbose=0)
    assert len(found.configs) == 12
    widths = [state.params["dense"]["kernel"].shape[1] for state in found.states]
    assert widths == [config["units"] for config in found.configs]
    # A group is traced a fixed number of times, whatever its size.
    assert set(traces) == {(u, a) for u in (2, 3) for a in ("tanh", "relu")}
    assert len(traces) <= 3 * 4


def test_a_space_without_anything_to_batch():
    found = fnn.sweep(lambda name: ({}, {"loss": jnp.full(2, float(len(name)))}), {"name": ["abc", "de"]}, verbose=0)
    assert found.best == {"name": "de"}
    assert found.scores.tolist() == [3.0, 2.0]


def test_folds_and_keys_are_arrays():
    """Cross-validation is a sweep over index sets."""
    order = np.random.default_rng(0).permutation(48).astype("int32")
    folds = [{"train": np.setdiff1d(order, fold), "test": fold} for fold in np.split(order, 4)]

    def fold_trial(train, test):
        x, y = jnp.asarray(DATA[0]), jnp.asarray(DATA[1])
        ts = fnn.init(TASK, jax.random.key(0), X)
        return fnn.run(TASK, ts, (x[train], y[train]), epochs=2, batch_size=12, validation_data=(x[test], y[test]))

    found = fnn.sweep(fold_trial, folds, verbose=0)
    ts = fnn.init(TASK, jax.random.key(0), X)
    for fold, score in zip(folds, found.scores, strict=True):
        rest = tuple(a[fold["train"]] for a in DATA)
        held = tuple(a[fold["test"]] for a in DATA)
        own = fnn.run(TASK, ts, rest, epochs=2, batch_size=12, validation_data=held)[1]
        assert score == pytest.approx(float(own["val_loss"][-1]), 1e-4)
    assert "int32[12]" in repr(found)


def test_monitor_and_mode():
    def one(a):
        return {}, {"loss": jnp.array([a, a]), "val_accuracy": jnp.array([0.0, a])}

    assert fnn.sweep(one, {"a": [1.0, 3.0, 2.0]}, verbose=0).best == {"a": 1.0}
    assert fnn.sweep(one, {"a": [1.0, 3.0, 2.0]}, monitor="val_accuracy", verbose=0).best == {"a": 3.0}
    assert fnn.sweep(one, {"a": [1.0, 3.0]}, monitor="val_accuracy", mode="min", verbose=0).best == {"a": 1.0}


def test_table_as_csv(found, tmp_path):
    found.to_csv(tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == found.order
    assert float(rows[0]["val_loss"]) == pytest.approx(found.scores[found.order[0]])
    assert list(tmp_path.iterdir()) == [tmp_path / "sweep.csv"]


def test_a_bar_moves_and_silence_is_silent(capsys):
    def one(a):
        return {}, {"loss": a[None]}

    fnn.sweep(one, {"a": [1.0, 2.0, 3.0]}, members=1)
    assert "3/3" in capsys.readouterr().out
    fnn.sweep(one, {"a": [1.0, 2.0]}, verbose=0)
    assert capsys.readouterr().out == ""


def test_when_all_failed_there_is_no_best():
    found = fnn.sweep(lambda a: ({}, {"loss": a[None] * jnp.nan}), {"a": [1.0, 2.0]}, verbose=0)
    assert found.ts is None
    with pytest.raises(fnn.InputError, match="a trial with a finite result, got none of 2"):
        _ = found.best


def of_units(units, rate=0.1):
    task = fnn.Task(fnn.Dense(units), "mse", fnn.sgd(rate))
    return fnn.run(task, fnn.init(task, jax.random.key(0), X), (X, jnp.tile(X, (1, units))), epochs=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.sweep(trial, {}), "at least one value for each argument, got an empty space"),
        (lambda: fnn.sweep(trial, {"seed": [], "rate": [0.1]}), "an empty space"),
        (lambda: fnn.sweep(trial, []), "an empty space"),
        (lambda: fnn.sweep(trial, {"seed": [0], "rat": [0.1]}), "Did you mean 'rate'"),
        (lambda: fnn.sweep(trial, {"rate": [0.1]}), r"got none for \['seed'\]"),
        (lambda: fnn.sweep(trial, {"seed": 0, "rate": [0.1]}), r"a list of values for 'seed', got 0. Pass \[0\]"),
        (lambda: fnn.sweep(trial, [{"seed": 0, "rate": 1.0}, {"seed": 0}]), "trials with the same arguments"),
        (lambda: fnn.sweep(of_units, {"units": [1, 2]}, verbose=0), r"which sets shapes.*structural=\('units',\)"),
        (lambda: fnn.sweep(of_units, {"units": [1]}, structural=("unit",)), "Did you mean 'units'"),
        (lambda: fnn.sweep(of_units, {"units": [[1]]}, structural=("units",)), "hashable structural arguments"),
        (lambda: fnn.sweep(trial, {"seed": [0, np.arange(2)], "rate": [0.1]}, verbose=0), "'seed' of one shape"),
        (lambda: fnn.sweep(trial, {"seed": [0], "rate": [object()]}, verbose=0), "numbers or arrays for 'rate'"),
        (lambda: fnn.sweep(trial, SPACE, monitor="val_los", verbose=0), "Did you mean 'val_loss'"),
        (lambda: fnn.sweep(trial, SPACE, mode="up"), "mode 'min', 'max' or None"),
        (lambda: fnn.sweep(trial, SPACE, keep="some"), "keep 'best' or 'all'"),
        (lambda: fnn.sweep(trial, SPACE, members=0), "members to be an integer of at least 1"),
        (lambda: fnn.sweep(3, SPACE), "a function of one trial's arguments"),
        (lambda: fnn.sweep(lambda a: a, {"a": [1.0]}, verbose=0), "a trial that returns"),
    ],
)  # fmt: skip
def test_bad_sweeps_are_refused(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


def test_a_trial_that_stops_early_counts_with_the_epoch_of_its_state():
    x_val = X + 0.3

    def stopping(rate):
        ts = fnn.set_hyper(fnn.init(TASK, jax.random.key(0), X), learning_rate=rate)
        validation = (x_val, -np.sin(3 * x_val))
        stop = fnn.early_stopping(patience=2)
        return fnn.run(TASK, ts, DATA, epochs=6, batch_size=16, validation_data=validation, callbacks=(stop,))

    found = fnn.sweep(stopping, {"rate": [0.1, 0.2]}, keep="all", verbose=0)
    assert np.isnan([history["val_loss"][-1] for history in found.histories]).any()
    assert not found.failed.any()
    for i, state in enumerate(found.states):
        loss = fnn.evaluate(TASK, state, (x_val, -np.sin(3 * x_val)))["loss"]
        assert found.scores[i] == pytest.approx(loss, 1e-5)
