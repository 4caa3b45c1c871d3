"""The main calls in each of JAX's modes: the same values as without it, and no complaint."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import some

import fnn

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
IMAGES = np.random.default_rng(1).normal(size=(5, 4, 4, 1)).astype("float32")
IDS = np.random.default_rng(2).integers(0, 6, (5, 3)).astype("int32")
Y = np.array([0, 1, 2, 1, 0], np.int32)


@contextlib.contextmanager
def checks():
    """What JAX can look for in a program, at once."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"), jax.debug_nans(True):
        yield


@contextlib.contextmanager
def checks_and_x64():
    """Two modes at once: in float64 alone, nothing is computed that is not here too."""
    with checks(), jax.enable_x64(True):
        yield


MODES = {
    "checks_and_x64": checks_and_x64,
    "checks": checks,
    "leaks": jax.checking_leaks,
    "disable_jit": jax.disable_jit,
}

MODELS = {
    "dense": (X, [fnn.Dropout(0.3), fnn.Dense(3)]),
    "image": (
        IMAGES,
        [
            fnn.Conv(2, 3, activation="relu"),
            fnn.BatchNorm(),
            fnn.MaxPool(2),
            fnn.Flatten(),
            fnn.Dropout(0.3),
            fnn.Dense(3),
        ],
    ),
    "ids": (
        IDS,
        [
            fnn.Embedding(6, 3, mask_zero=True),
            fnn.LSTM(2, return_sequences=True),
            fnn.GRU(2),
            fnn.LayerNorm(),
            fnn.Dense(3),
        ],
    ),
    "steps": (X[..., None], [fnn.Bidirectional(fnn.LSTM(2)), fnn.Dense(3)]),
}
TASKS = {
    name: fnn.Task(fnn.Sequential(*layers), "sparse_categorical_crossentropy", fnn.adam(0.1), metrics=["accuracy"])
    for name, (_, layers) in MODELS.items()
}
# The default tests compile this one, and Adam would take most of the time of so small a model.
TASKS["dense"] = TASKS["dense"].replace(optimizer=fnn.sgd(0.1, momentum=0.9))


def main_calls(name):
    """The results of the calls that a training consists of, by name."""
    task, x, key = TASKS[name], MODELS[name][0], jax.random.key(0)
    data = x, Y
    yield "init", (ts := fnn.init(task, key, x))
    yield "train_step", fnn.train_step(task, ts, data)
    yield "train_epoch", fnn.train_epoch(task, ts, data, batch_size=2)
    after, history = fnn.fit(
        task,
        ts,
        data,
        epochs=2,
        batch_size=2,
        validation_data=data,
        callbacks=[fnn.early_stopping(patience=1)],
        verbose=0,
    )
    history.pop("seconds")
    yield "fit", (after, dict(history))
    yield "evaluate", fnn.evaluate(task, ts, data, batch_size=2)
    yield "predict", (scores := fnn.predict(task, ts, x, batch_size=2))
    yield "classification_report", fnn.classification_report(scores, Y)
    yield "summary", str(fnn.summary(task, x))
    yield "check", str(fnn.check(task, x))
    stop = fnn.early_stopping("loss", patience=1, min_delta=9.0)  # stops after the second epoch
    yield "run", fnn.run(task, ts, data, epochs=3, batch_size=2, validation_data=data, callbacks=[stop])
    # Text, since a float's last digit may differ.
    yield "layer_report", [row.path for row in fnn.layer_report(task, ts, data).rows]


def program_calls():
    """Calls that train several networks in one program."""
    x, data = X, (X, Y)

    def trial(seed, rate):
        task = fnn.Task(TASKS["dense"].model, "sparse_categorical_crossentropy", fnn.sgd(rate))
        return fnn.run(task, fnn.init(task, jax.random.key(seed), x), data, epochs=1, batch_size=2)

    rates = jnp.array([0.1, 0.2])
    yield "vmap", jax.vmap(trial, (None, 0))(1, rates)[1]
    yield "many", fnn.many(trial)(jnp.array([0, 1]), rates)[1]
    yield "sweep", fnn.sweep(trial, {"seed": [0, 1], "rate": [0.1, 0.2]}, verbose=0).column("loss")
    members = fnn.ensemble(TASKS["dense"], jax.random.key(0), data, members=2, epochs=1, batch_size=2, verbose=0)
    yield "ensemble", members.ts.params
    yield "ensemble.predict", members.predict(x).members
    yield "ensemble.evaluate", members.evaluate(data)


def text_calls():
    """Text from a model of characters."""
    vocabulary = fnn.text.Vocabulary("abc")
    model = fnn.Sequential(fnn.OneHot(3), fnn.LSTM(2), fnn.Dense(3))
    params, state = model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
    yield "generate_text", fnn.text.generate_text(model, params, state, vocabulary, "abca", jax.random.key(1), length=5)


def results(calls):
    """Each call's name with its numbers in float64 or its text."""

    def plain(leaf):
        if isinstance(leaf, str):
            return leaf
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf, np.float64)

    return {name: [plain(leaf) for leaf in jax.tree.leaves(result)] for name, result in calls}


@pytest.fixture(scope="module")
def usual():
    """The results without a mode, made when first asked for."""
    known = {}

    def of(name, make):
        if name not in known:
            known[name] = results(make())
        return known[name]

    return of


def compare(usual, name, make, mode):
    want = usual(name, make)
    with MODES[mode]():
        got = results(make())
    assert got.keys() == want.keys()
    for call, values in got.items():
        assert len(values) == len(want[call]), call
        for a, b in zip(values, want[call], strict=True):
            if isinstance(a, str):
                assert a == b, call
            else:
                np.testing.assert_allclose(a, b, 2e-4, 2e-5, err_msg=call)


def cases(names, quick):
    for mode in MODES:
        for name in names:
            yield pytest.param(name, mode, id=f"{name}-{mode}", marks=() if (name, mode) in quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "mode"), list(cases(MODELS, set())))
def test_training_in_every_mode(usual, name, mode):
    compare(usual, name, lambda: main_calls(name), mode)


@pytest.mark.parametrize(("name", "mode"), list(cases(["programs"], set())))
def test_many_networks_in_every_mode(usual, name, mode):
    compare(usual, name, program_calls, mode)


@pytest.mark.parametrize(("name", "mode"), list(cases(["text"], set())))
def test_text_in_every_mode(usual, name, mode):
    compare(usual, name, text_calls, mode)


@pytest.mark.parametrize("name", some(MODELS, "dense", "ids"))
def test_programs_are_traced_under_all_checks(name):
    """Every layer, without compiling; the slow tests above look for leaks, which takes ten times as long."""
    task, x = TASKS[name], MODELS[name][0]

    def training(key):
        ts = fnn.init(task, key, x)
        stop = fnn.early_stopping(patience=1)
        return fnn.run(task, ts, (x, Y), epochs=2, batch_size=2, validation_data=(x, Y), callbacks=[stop])

    with checks():
        shapes = jax.eval_shape(training, jax.random.key(0))
    assert shapes[1]["loss"].shape == (2,)


def test_intended_nan_raises_no_error():
    logits, labels = np.array([[0.0, 1.0, 2.0]], "f"), np.array([1], "int32")
    x = np.linspace(-1, 1, 8, dtype="f")[:, None]
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.0))
    ts = fnn.init(task, jax.random.key(0), x)
    stop = fnn.early_stopping("loss", patience=1, min_delta=1.0)
    with jax.debug_nans(True):
        value = fnn.losses.sparse_categorical_crossentropy(logits, labels)  # eager, so that each step is looked at
        _, history = fnn.run(task, ts, (x, x), epochs=4, callbacks=[stop])
    np.testing.assert_allclose(value, np.log(np.exp([0, 1, 2]).sum()) - 1, 1e-6)
    assert np.isnan(history["loss"]).tolist() == [False, False, True, True]
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        fnn.train_step(task, ts, (x, x * np.inf))


def test_a_task_of_traced_values_leaves_no_tracer_behind():
    x = np.ones((4, 2), "float32")

    def task_of(rate):
        return fnn.Task(fnn.Dense(1), "mse", fnn.sgd(rate), penalty=lambda p: rate * jnp.sum(p["kernel"] ** 2))

    def loss_of(rate):
        task = task_of(rate)
        assert task.traced == isinstance(rate, jax.core.Tracer)
        ts = fnn.init(task, jax.random.key(0), x)
        fnn.train_step(task, ts, (x, x[:, :1]))
        return fnn.train_epoch(task, ts, (x, x[:, :1]), batch_size=2)[1]["loss"]

    rates = jnp.array([0.1, 0.2])
    with jax.checking_leaks():
        jax.eval_shape(jax.vmap(loss_of), rates)
    np.testing.assert_allclose(jax.jit(jax.vmap(loss_of))(rates)[1], loss_of(0.2), 1e-5)
