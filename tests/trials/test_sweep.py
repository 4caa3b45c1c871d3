"""Sweeps: each trial equals its own run, groups compile once, failures are marked, bad spaces refused."""

import csv
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

X = np.linspace(-1, 1, 48, dtype="float32")[:, None]
DATA = (X, np.sin(3 * X))
TASK = fnn.Task(fnn.Sequential(fnn.Dense(1)), "mse", fnn.sgd())


def trial(seed, rate):
    ts = fnn.set_hyper(fnn.init(TASK, jax.random.key(seed), X), learning_rate=rate)
    return fnn.run(TASK, ts, DATA, epochs=3, batch_size=16, validation_data=DATA, shuffle=False)


SPACE = {"seed": [0, 1], "rate": [0.01, 0.3, 1e12]}


@pytest.fixture(scope="module")
def found():
    return fnn.sweep(trial, SPACE, keep="all", verbose=0)


def test_each_trial_equals_its_own_run(found):
    assert isinstance(found, fnn.Sweep)
    assert found.configs == [{"seed": s, "rate": r} for s in (0, 1) for r in (0.01, 0.3, 1e12)]
    own_run = jax.jit(trial)
    for i in (0, 1, 3, 4):
        ts, history = own_run(**found.configs[i])
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


@pytest.fixture(scope="module")
def parts():
    """The same in two calls of three trials, the trials of a seed each."""
    return fnn.sweep(trial, SPACE, members=4, keep="all", verbose=0)


@pytest.fixture(scope="module")
def second():
    return fnn.sweep(trial, {"seed": [1], "rate": SPACE["rate"]}, verbose=0)


def test_the_best_state_is_ready_to_use(second):
    assert second.states == []
    assert fnn.evaluate(TASK, second.ts, DATA)["loss"] == pytest.approx(second.scores[second.order[0]], 1e-5)


def test_the_number_of_members_per_call_changes_only_memory(found, parts):
    assert parts.failed.tolist() == found.failed.tolist()
    np.testing.assert_allclose(parts.scores, found.scores, 1e-5)
    assert len(parts.states) == 6


def test_one_program_gives_one_result_bit_for_bit(parts, second):
    np.testing.assert_array_equal(parts.scores[3:], second.scores)
    jax.tree.map(np.testing.assert_array_equal, parts.states[3 + second.order[0]].params, second.ts.params)


@pytest.mark.slow
def test_any_number_can_vary_and_a_member_equals_its_own_run():
    """A seed, hyper-parameters of the optimizer, dropout, a penalty, weights of the data, and the fold."""
    parts = fnn.data.folds(0, 48, 5)

    def trial(seed, rate, momentum, drop, strength, fold):
        net = fnn.Sequential(fnn.Dropout(drop), fnn.Dense(1))
        optimizer = fnn.sgd(rate, momentum=jnp.zeros(()))
        task = fnn.Task(net, "mse", optimizer, ("mae",), penalty=fnn.penalties.l2(strength))
        ts = fnn.set_hyper(fnn.init(task, jax.random.key(seed), X), momentum=momentum)
        train, held_out = fnn.data.take_fold(fold, *DATA)
        return fnn.run(task, ts, train, epochs=2, batch_size=8, validation_data=held_out, shuffle=False)

    base = {"seed": 3, "rate": 0.1, "momentum": 0.5, "drop": 0.2, "strength": 1e-2, "fold": parts[0]}
    others = {"seed": 4, "rate": 0.05, "momentum": 0.0, "drop": 0.5, "strength": 0.1, "fold": parts[4]}
    found = fnn.sweep(trial, [base, *({**base, name: value} for name, value in others.items())], keep="all", verbose=0)
    own_run = jax.jit(trial)
    for config, state, history in zip(found.configs, found.states, found.histories, strict=True):
        ts, own = own_run(**config)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), state.params, ts.params)
        for name in own:
            np.testing.assert_allclose(history[name], own[name], 1e-4)
    assert len(set(found.scores.round(7))) == len(found.configs)
    assert found.column("fold") == ["Fold #0"] * 6 + ["Fold #1"]


def test_a_second_sweep_compiles_nothing(monkeypatch):
    """Neither other values nor other data, which is no part of the program, need another one."""
    from fnn.trials import programs as compiled

    def of(data):
        def one(rate, seed):
            return {}, {"loss": rate * (data * seed).sum()[None]}

        return one

    monkeypatch.setattr(compiled, "_PROGRAMS", type(compiled._PROGRAMS)())
    first = fnn.sweep(of(np.arange(5.0)), {"rate": [0.5, 2.0], "seed": [1, 2]}, verbose=0)
    assert first.scores.tolist() == [5.0, 10.0, 20.0, 40.0]
    monkeypatch.setattr(jax.stages.Lowered, "compile", None)
    second = fnn.sweep(of(np.arange(5.0) + 1), {"rate": [1.0, 3.0], "seed": [3, 4]}, verbose=0)
    assert second.scores.tolist() == [45.0, 60.0, 135.0, 180.0]
    monkeypatch.undo()
    monkeypatch.setattr(compiled, "_PROGRAMS", type(compiled._PROGRAMS)())
    monkeypatch.setattr(compiled, "_MOST_PROGRAMS", 3)
    programs = {i: fnn.sweep(of(np.arange(float(i + 1))), {"rate": [1.0], "seed": [1]}, verbose=0) for i in range(5)}
    assert [found.scores[0] for found in programs.values()] == [i * (i + 1) / 2 for i in range(5)]
    assert len(compiled._PROGRAMS) == 3


def test_hidden_constants_are_not_shared_between_sweeps():
    """With this setting of JAX, data is a hidden argument of the program, and two sweeps have the same text."""
    code = """
import jax, numpy as np, fnn

def scores(data, big):
    data, big = jax.numpy.asarray(data), jax.numpy.asarray(big)
    inner = jax.jit(lambda rate: big.sum() * rate)  # a literal of a program within
    return fnn.sweep(lambda rate: ({}, {"loss": (inner(rate) + (data * rate).sum())[None]}), {"rate": [1.0, 2.0]},
                     verbose=0).scores.tolist()

ones = np.ones(3000, "float32")
print([scores(ones, ones), scores(3 * ones, ones), scores(ones, 5 * ones)])
"""
    env = os.environ | {"JAX_USE_SIMPLIFIED_JAXPR_CONSTANTS": "1"}  # read at import
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == [[6000.0, 12000.0], [12000.0, 24000.0], [18000.0, 36000.0]]


def test_callbacks_are_not_shared_between_sweeps():
    def of(factor):
        def one(rate):
            shape = jax.ShapeDtypeStruct((), "float32")
            out = jax.pure_callback(lambda a: np.asarray(a) * factor, shape, rate, vmap_method="sequential")
            return {}, {"loss": out[None]}

        return fnn.sweep(one, {"rate": [1.0, 2.0]}, verbose=0).scores.tolist()

    assert [of(np.float32(3)), of(np.float32(5))] == [[3.0, 6.0], [5.0, 10.0]]


def test_programs_are_cached_by_device_and_settings(monkeypatch):
    from fnn.trials import programs as compiled

    def once():
        return fnn.sweep(lambda rate: ({}, {"loss": rate[None] - 0.125}), {"rate": [1.0, 2.0]}, verbose=0).scores

    monkeypatch.setattr(compiled, "_PROGRAMS", type(compiled._PROGRAMS)())
    for _ in range(2):
        assert once().tolist() == [0.875, 1.875]
    assert len(compiled._PROGRAMS) == 1
    with jax.numpy_rank_promotion("warn" if jax.config.jax_numpy_rank_promotion != "warn" else "allow"):
        once()
    with jax.default_device(jax.devices("cpu")[0]):
        once()
    assert len(compiled._PROGRAMS) == 3


class Steps:
    """Stands in for the bar: how many trials each call trained."""

    def __init__(self):
        self.sizes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, size):
        self.sizes.append(size)


def sizes_of_calls(monkeypatch, room, trial, count, **options):
    from fnn.trials import sweep

    seen = Steps()
    monkeypatch.setattr(sweep, "_bar", lambda *_: seen)
    monkeypatch.setattr(sweep, "bytes_available", lambda: room)
    found = fnn.sweep(trial, {"a": np.arange(count, dtype="f")}, **options)
    assert found.scores.tolist() == [float(trial(jnp.float32(i))[1]["loss"][0]) for i in range(count)]
    return seen.sizes


def test_trials_that_exceed_memory_are_split_into_several_calls(monkeypatch):
    def large_state(a):
        return jnp.full(250_000, a), {"loss": a[None]}

    assert sizes_of_calls(monkeypatch, 1e9, large_state, 8) == [8]
    assert sizes_of_calls(monkeypatch, 3.5e6, large_state, 8) == [3, 3, 2]
    assert sizes_of_calls(monkeypatch, 1, large_state, 2) == [1, 1]
    assert sizes_of_calls(monkeypatch, 1, large_state, 2, members=2) == [2]

    def large_on_the_way(a):
        row = jnp.ones((1, 50)) * a
        square = (row + jnp.zeros((1000, 1))) @ jnp.zeros((50, 1000))
        return {}, {"loss": square[0, :1] + a}

    (whole,) = sizes_of_calls(monkeypatch, 1e9, large_on_the_way, 8, at_once=8)
    parts = sizes_of_calls(monkeypatch, 17e6, large_on_the_way, 8, at_once=8)
    assert whole == 8
    assert sum(parts) == 8
    assert max(parts) in (2, 3)


def test_data_is_an_argument_of_the_program():
    """Arrays that a trial closes over would be copied into the program, and XLA would compute with them."""
    big = jnp.arange(300_000.0)

    def one(a):
        return {}, {"loss": (big[:3] * a).sum()[None]}

    from fnn.trials import sweep

    sizes = []
    needed = sweep.bytes_needed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "bytes_needed", lambda program: sizes.append(len(program.as_text())) or needed(program))
        found = fnn.sweep(one, {"a": [1.0, 2.0]}, verbose=0)
    assert found.scores.tolist() == [3.0, 6.0]
    assert max(sizes) < 100_000


def test_structural_arguments_form_groups_that_compile_once():
    traces = []

    def of_width(units, activation, rate):
        traces.append((units, activation))
        hidden = fnn.Dense(units, activation, kernel_initializer="ones")
        task = fnn.Task(fnn.Sequential(hidden, fnn.Dense(1, kernel_initializer="ones")), "mse", fnn.sgd(rate))
        ts = fnn.init(task, jax.random.key(0), X)
        return ts, {"loss": rate * task.model.apply(ts.params, ts.state, X)[0][0]}

    space = {"units": [2, 3], "activation": ["tanh", "relu"], "rate": [0.1, 0.01, 0.001]}
    found = fnn.sweep(of_width, space, structural="units", keep="all", verbose=0)
    assert len(found.configs) == 12
    widths = [state.params["dense"]["kernel"].shape[1] for state in found.states]
    assert widths == [config["units"] for config in found.configs]
    # A group is traced a fixed number of times, whatever its size.
    assert set(traces) == {(u, a) for u in (2, 3) for a in ("tanh", "relu")}
    assert len(traces) == 4


def test_functions_and_schedules_are_structural():
    schedules = [fnn.schedules.constant(0.1), fnn.schedules.exponential_decay(0.1, 3, 0.1)]
    ts = fnn.init(TASK, jax.random.key(0), X)

    def one(schedule, a):
        return ts, {"loss": a * schedule(3)[None]}

    found = fnn.sweep(one, {"schedule": schedules, "a": [1.0, 2.0]}, verbose=0)
    np.testing.assert_allclose(found.scores, [0.1, 0.2, 0.01, 0.02], 1e-6)


def test_a_space_without_anything_to_batch():
    found = fnn.sweep(lambda name: ({}, {"loss": jnp.full(2, float(len(name)))}), {"name": ["abc", "de"]}, verbose=0)
    assert found.best == {"name": "de"}
    assert found.scores.tolist() == [3.0, 2.0]


def test_keys_and_other_arrays_are_swept_and_told_apart():
    keys, rows = jax.random.split(jax.random.key(0), 2), [np.arange(3), np.array([2, 0, 0])]

    def one(key, rows):
        return {}, {"loss": jax.random.normal(key)[None] + jnp.sum(jnp.asarray([1.0, 10.0, 100.0])[rows])}

    found = fnn.sweep(one, {"key": keys, "rows": rows}, verbose=0)
    for config, score in zip(found.configs, found.scores, strict=True):
        assert score == pytest.approx(float(one(**config)[1]["loss"][0]))
    assert found.column("rows") == ["int64[3] #0", "int64[3] #1"] * 2
    assert found.column("key")[0] == found.column("key")[1] != found.column("key")[2]
    assert found.column("key")[0].startswith("key ")
    assert found.column("loss") == found.scores.tolist()


def test_columns_show_values_as_given():
    def one(rate, loss, size):
        return {}, {"loss": rate[None] * size, "accuracy": rate[None]}

    rates, sizes = jnp.array([0.1, 0.3]), np.array([1, 2], "int16")
    found = fnn.sweep(one, {"rate": rates, "loss": ["mse", max], "size": sizes}, verbose=0)
    assert found.column("rate") == [0.1] * 4 + [0.3] * 4
    assert found.column("loss")[::2] == ["mse", "max"] * 2
    assert found.column("size") == [1, 2] * 4
    row = found.rows()[0]
    assert (row["trial"], row["loss (argument)"], row["size"]) == (0, "mse", 1)
    assert row["loss"] == pytest.approx(0.1, 0.01)
    with pytest.raises(fnn.InputError, match="Did you mean 'accuracy'"):
        found.column("acuracy")


def test_averages_over_seeds(found):
    rows = found.averages("seed")
    assert [row["rate"] for row in rows] == sorted((0.01, 0.3), key=lambda rate: mean_of(found, rate)) + [1e12]
    for row in rows[:2]:
        own = [s for s, config in zip(found.scores, found.configs, strict=True) if config["rate"] == row["rate"]]
        assert (row["val_loss"], row["std"]) == pytest.approx((np.mean(own), np.std(own)))
        assert (row["trials"], row["failed"]) == (2, 0)
    assert np.isnan(rows[2]["val_loss"])
    assert (rows[2]["trials"], rows[2]["failed"]) == (2, 2)
    (whole,) = found.averages("seed", "rate")
    assert whole["val_loss"] == pytest.approx(np.mean(found.scores[~found.failed]))
    assert (whole["trials"], whole["failed"]) == (6, 2)
    with pytest.raises(fnn.InputError, match="Did you mean 'seed'"):
        found.averages("seeds")


def mean_of(found, rate):
    return np.mean([s for s, config in zip(found.scores, found.configs, strict=True) if config["rate"] == rate])


def test_combinations_with_a_failure_come_last():
    def one(a, b):
        return {}, {"val_accuracy": jnp.where((a == 2) & (b == 1), jnp.nan, a)[None], "loss": a[None]}

    found = fnn.sweep(one, {"a": [1.0, 2.0, 3.0], "b": [0, 1]}, monitor="val_accuracy", verbose=0)
    assert [row["a"] for row in found.averages("b")] == [3.0, 1.0, 2.0]
    assert found.averages("b")[2] == {"a": 2.0, "val_accuracy": 2.0, "std": 0.0, "trials": 2, "failed": 1}


def test_non_finite_parameters_fail_a_trial_whatever_its_accuracy():
    ts = fnn.init(TASK, jax.random.key(0), X)

    def one(a):
        params = jax.tree.map(lambda p: jnp.where(a == 2, jnp.nan, p), ts.params)
        return ts._replace(params=params), {"loss": jnp.where(a == 3, jnp.inf, a)[None], "accuracy": a[None]}

    found = fnn.sweep(one, {"a": [1.0, 2.0, 3.0, 0.5]}, monitor="accuracy", verbose=0)
    assert found.failed.tolist() == [False, True, True, False]
    assert np.isfinite(found.scores).all()
    assert found.best == {"a": 1.0}
    assert jnp.isfinite(found.ts.params["dense"]["kernel"]).all()


def test_monitor_and_mode():
    def one(a):
        return {}, {"loss": jnp.array([a, a]), "val_accuracy": jnp.array([0.0, a])}

    assert fnn.sweep(one, {"a": [1.0, 3.0, 2.0]}, verbose=0).best == {"a": 1.0}
    assert fnn.sweep(one, {"a": [1.0, 3.0, 2.0]}, monitor="val_accuracy", verbose=0).best == {"a": 3.0}
    assert fnn.sweep(one, {"a": [1.0, 3.0]}, monitor="val_accuracy", mode="min", verbose=0).best == {"a": 1.0}


def test_configuration_and_state_of_the_best_trial_agree_on_ties():
    """Trials of one structure run together, so the first one to be trained need not be the first one given."""

    def one(value, text):
        return {"value": value}, {"accuracy": jnp.where(value == 0, 0.0, 1.0)[None]}

    configs = [{"value": float(i), "text": "ab"[i % 2]} for i in range(3)]
    found = fnn.sweep(one, configs, monitor="accuracy", verbose=0)
    assert found.best == configs[1]
    assert found.ts == {"value": 1.0}


def test_table_as_csv(found, tmp_path):
    found.to_csv(tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == found.order
    assert float(rows[0]["val_loss"]) == pytest.approx(found.scores[found.order[0]])
    assert list(tmp_path.iterdir()) == [tmp_path / "sweep.csv"]
    found.to_csv(tmp_path / "new" / "folder" / "sweep.csv")
    assert (tmp_path / "new" / "folder" / "sweep.csv").read_bytes() == (tmp_path / "sweep.csv").read_bytes()


def test_the_bar_moves_and_verbose_0_prints_nothing(capsys):
    def one(a):
        return {}, {"loss": a[None]}

    fnn.sweep(one, {"a": [1.0, 2.0, 3.0]}, members=1)
    assert "3/3" in capsys.readouterr().out
    fnn.sweep(one, {"a": [1.0, 2.0]}, verbose=0)
    assert capsys.readouterr().out == ""


def test_no_best_trial_if_all_failed():
    with pytest.warns(RuntimeWarning, match="sweep: 2 trials became non-finite and none remains, so ts is None"):
        found = fnn.sweep(lambda a: ({}, {"loss": a[None] * jnp.nan}), {"a": [1.0, 2.0]}, verbose=0)
    assert found.ts is None
    with pytest.raises(fnn.InputError, match="a trial with a finite result, got none of 2"):
        _ = found.best


def test_singular_for_one_trial():
    found = fnn.sweep(lambda a: ({}, {"loss": a[None]}), {"a": [1.0]}, verbose=0)
    assert repr(found).splitlines()[-1] == "1 trial by loss"


def of_units(units, rate=0.1):
    task = fnn.Task(fnn.Dense(units), "mse", fnn.sgd(rate))
    return fnn.run(task, fnn.init(task, jax.random.key(0), X), (X, jnp.tile(X, (1, units))), epochs=1)


def misspelled(rate):
    ts = fnn.set_hyper(fnn.init(TASK, jax.random.key(0), X), learning_rat=rate)
    return fnn.run(TASK, ts, DATA)


def two_sizes(a, b, c, d):
    return {}, {"loss": jnp.zeros((b, d)).sum()[None] + a + c}


def decides(rate):
    return {}, {"loss": jnp.asarray(rate if rate > 0.5 else -rate)[None]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.sweep(trial, {}), "at least one value for each argument, got an empty space"),
        (lambda: fnn.sweep(trial, {"seed": [], "rate": [0.1]}), "an empty space"),
        (lambda: fnn.sweep(trial, []), "an empty space"),
        (lambda: fnn.sweep(trial, [{}, {}]), "an empty space"),
        (lambda: fnn.sweep(trial, 3), "a dict of lists of values, or a list of dicts, one per trial, got 3"),
        (lambda: fnn.sweep(trial, ["seed"]), "a list of dicts, one per trial"),
        (
            lambda: fnn.sweep(trial, {"seed": [0], "rat": [0.1]}),
            "^sweep: expected arguments that the trial has, got 'rat'. Did you mean 'rate'",
        ),
        (
            lambda: fnn.sweep(of_units, {"units": [1]}, structural="units", monitor="val_loss", verbose=0),
            "^sweep: expected an entry .* to monitor, got 'val_loss'. Pass validation_data to fnn.run",
        ),
        (lambda: fnn.sweep(trial, {"rate": [0.1]}), r"got none for \['seed'\]"),
        (lambda: fnn.sweep(trial, {"seed": 0, "rate": [0.1]}), r"a list of values for 'seed', got 0. Pass \[0\]"),
        (lambda: fnn.sweep(trial, {"seed": [0], "rate": jnp.float32(1)}), "a list of values for 'rate'"),
        (lambda: fnn.sweep(trial, {"seed": [0], "rate": fnn.Dense(1)}), "a list of values for 'rate'"),
        (lambda: fnn.sweep(trial, [{"seed": 0, "rate": 1.0}, {"seed": 0}]), "trials with the same arguments"),
        (lambda: fnn.sweep(misspelled, {"rate": [0.1]}, verbose=0), "'learning_rat'. Did you mean 'learning_rate'"),
        (lambda: fnn.sweep(of_units, {"units": [1, 2]}, verbose=0), r"'units', which sets.*structural=\('units',\)"),
        (lambda: fnn.sweep(of_units, {"units": [1], "rate": [1.0]}, verbose=0), r"structural=\('units',\)"),
        (lambda: fnn.sweep(two_sizes, {n: [1] for n in "abcd"}, verbose=0), r"structural=\('b', 'd',\)"),
        (lambda: fnn.sweep(decides, {"rate": [0.1]}, verbose=0), "'rate', which sets shapes or control flow"),
        (lambda: fnn.sweep(of_units, {"units": [1]}, structural=("unit",)), "Did you mean 'units'"),
        (lambda: fnn.sweep(of_units, {"units": [[1]]}, structural=("units",)), "hashable .* 'units', .* Pass tuples"),
        (lambda: fnn.sweep(trial, {"seed": [0, np.arange(2)], "rate": [0.1]}, verbose=0), "'seed' of one shape"),
        (lambda: fnn.sweep(trial, {"seed": [0], "rate": [object()]}, verbose=0), "numbers or arrays for 'rate'"),
        (lambda: fnn.sweep(trial, {"seed": [0], "rate": [1.0, {"a": 1.0}]}, verbose=0), "'rate' of one structure"),
        (lambda: fnn.sweep(trial, {"seed": [0, 2**32 - 1], "rate": [1.0]}, verbose=0), "that int32 holds, got 0 to 42"),
        (lambda: fnn.sweep(trial, SPACE, monitor="val_los", verbose=0), "Did you mean 'val_loss'"),
        (lambda: fnn.sweep(trial, SPACE, mode="up"), "mode 'min', 'max' or None"),
        (lambda: fnn.sweep(trial, SPACE, keep="some"), "keep 'best' or 'all'"),
        (lambda: fnn.sweep(trial, SPACE, members=0), "members to be an integer of at least 1"),
        (lambda: fnn.sweep(3, SPACE), "a function of one trial's arguments"),
        (lambda: fnn.sweep(lambda a: a, {"a": [1.0]}, verbose=0), "a trial that returns"),
    ],
)  # fmt: skip
def test_invalid_sweeps_are_rejected(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


def test_a_trial_that_stops_early_is_scored_at_its_returned_epoch():
    x_val = X + 0.3

    def stopping(rate):
        ts = fnn.set_hyper(fnn.init(TASK, jax.random.key(0), X), learning_rate=rate)
        validation = (x_val, -np.sin(3 * x_val))
        options = {"epochs": 6, "batch_size": 16, "shuffle": False, "callbacks": (fnn.early_stopping(patience=2),)}
        return fnn.run(TASK, ts, DATA, validation_data=validation, **options)

    found = fnn.sweep(stopping, {"rate": [0.1, 0.2]}, keep="all", verbose=0)
    assert np.isnan([history["val_loss"][-1] for history in found.histories]).any()
    assert not found.failed.any()
    for i, state in enumerate(found.states):
        loss = fnn.evaluate(TASK, state, (x_val, -np.sin(3 * x_val)))["loss"]
        assert found.scores[i] == pytest.approx(loss, 1e-5)


def test_equal_programs_keep_their_own_names():
    """Arguments and figures of another name make the same text, but not the same results."""

    def first(rate):
        return {"a": rate * 2.0}, {"loss": jnp.stack([rate, rate + 1.0])}

    def second(speed):
        return {"b": speed * 2.0}, {"error": jnp.stack([speed, speed + 1.0])}

    values = [1.0, 2.0, 3.0]
    one = fnn.sweep(first, {"rate": values}, verbose=0)
    other = fnn.sweep(second, {"speed": values}, monitor="error", mode="min", verbose=0)
    assert list(one.ts) == ["a"]
    assert list(other.ts) == ["b"]
    assert list(other.histories[0]) == ["error"]
    np.testing.assert_array_equal(one.scores, other.scores)


def test_a_hyper_parameter_out_of_range_is_a_failure():
    """In the first epoch the loss does not depend on the rate, so a negative one would tie with the best."""
    x = jnp.linspace(-1, 1, 8)[:, None]
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd())

    def trial(rate):
        ts = fnn.set_hyper(fnn.init(task, jax.random.key(0), x), learning_rate=rate)
        return fnn.run(task, ts, (x, 3 * x), batch_size=8, shuffle=False)

    found = fnn.sweep(trial, {"rate": [-1.0, 0.2]}, verbose=0)
    assert found.failed.tolist() == [True, False]
    assert found.best == {"rate": 0.2}
