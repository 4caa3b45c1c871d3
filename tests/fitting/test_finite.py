"""``fit(..., check="finite")``: the first step and place at which a value is not finite."""

import math
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.fitting import guard, streams

SIZE, BATCH = 70, 16


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch):
    """States are looked at where that is due anyway, not when a second is over."""
    monkeypatch.setattr(guard, "_PERIOD", math.inf)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(SIZE, 5)).astype("float32")
    return x, (x @ rng.normal(size=(5, 3))).argmax(1).astype("int32")


def breaks(*, forward=True):
    """A layer that counts its training steps down and is not finite from 0 on."""

    def init(key, x):
        return {}, {"steps": jnp.int32(0)}

    @jax.custom_vjp
    def spoil(x, bad):
        return x

    def back(bad, g):
        return jnp.where(bad, jnp.nan, g), None

    spoil.defvjp(lambda x, bad: (x, bad), back)

    def apply(params, state, x, *, key=None, train=False):
        bad = train & (state["steps"] <= 0)
        y = jnp.where(bad, jnp.inf, x) if forward else spoil(x, bad)
        return y, {"steps": state["steps"] - 1} if train else state

    return fnn.Layer(init, apply, name="breaks")


def a_task(*layers, loss="sparse_categorical_crossentropy", optimizer=None, **options):
    model = fnn.Sequential(fnn.Dense(8, activation="relu"), *layers, fnn.Dense(3))
    return fnn.Task(model, loss, optimizer or fnn.sgd(1e-2), **options)


def failing(task, data, at=0, **options):
    """The error of a training, and the state that it began with; a layer of `breaks` does so in step ``at``."""
    ts = fnn.init(task, jax.random.key(0), (5,))
    ts = ts._replace(state={name: {"steps": jnp.int32(at)} for name in ts.state})
    with pytest.raises(fnn.NonFiniteError) as info:
        fnn.fit(task, ts, data, **{"epochs": 5, "batch_size": BATCH, "verbose": 0, "check": "finite", **options})
    return info.value, ts


@pytest.fixture(scope="module")
def breaking():
    return a_task(breaks())


@pytest.mark.parametrize("period", [-1.0, math.inf])
@pytest.mark.parametrize("step", [pytest.param(0, marks=pytest.mark.slow), 4, 7])
def test_the_failing_step_is_found_and_can_be_replayed(step, period, breaking, data, monkeypatch):
    """In the first step, the smaller last batch (4), and within the second epoch; looked at each time or at the end."""
    monkeypatch.setattr(guard, "_PERIOD", period)
    task = breaking
    error, ts = failing(task, data, at=step)
    assert (error.step, error.epoch) == (step, step // 5)
    assert len(error.history.get("loss", [])) == step // 5
    assert "forward: the output of layer 'breaks' has" in error.place
    # The state and the batch are those of a loop by hand.
    for number in range(step + 1):
        if number % 5 == 0:
            order = np.asarray(fnn.epoch_order(ts, SIZE))
        rows = order[number % 5 * BATCH : (number % 5 + 1) * BATCH]
        batch = tuple(a[rows] for a in data)
        if number < step:
            ts, _ = fnn.train_step(task, ts, batch)
    for a, b in zip(jax.tree.leaves(error.ts._replace(key=0)), jax.tree.leaves(ts._replace(key=0)), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-6)
    for a, b in zip(error.batch, batch, strict=True):
        np.testing.assert_array_equal(a, b)
    after, logs = error.replay()
    assert int(after.step) == step + 1
    assert not math.isfinite(logs["loss"])
    message = str(error)
    assert f"not finite since step {step} (epoch {step // 5 + 1}): forward" in message
    assert ".replay() repeats the step" in message


@pytest.mark.parametrize(
    "options",
    [
        {"stream": True},
        *(
            pytest.param(o, marks=pytest.mark.slow)
            for o in ({"chunk_bytes": 2 * BATCH * 24}, {"stream": True, "most": 4})
        ),
    ],
)
def test_chunks_and_streams(options, breaking, data, monkeypatch):
    task = breaking
    if options.pop("stream", False):
        monkeypatch.setattr(streams, "_LOOK_AFTER", 1)
        monkeypatch.setattr(streams, "_SHORT", 1e9)
        monkeypatch.setattr(streams, "_MOST_GATHERED", options.pop("most", 1))
        error, _ = failing(task, [tuple(a[i : i + BATCH] for a in data) for i in range(0, SIZE, BATCH)], at=8)
        np.testing.assert_array_equal(error.batch[0], data[0][3 * BATCH : 4 * BATCH])
    else:
        error, _ = failing(task, data, at=8, **options)
    assert error.step == 8


RARE = ("nested", "back", "slope of the loss", "penalty", "sum", "gradient")  # with the slow tests


def places():
    log = fnn.Activation(lambda x: jnp.log(jnp.abs(x) * 0))
    root = fnn.Activation(lambda x: jnp.sqrt(x - x))  # its slope at 0 is infinite
    huge = fnn.Activation(lambda x: x * 1e30)
    yield "layer", a_task(log), r"forward: the output of layer 'activation' has 128 infinite of 128 values; the largest"
    yield (
        "slope",
        a_task(root),
        r"backward through layer 'activation': the gradient at the output of layer 'dense' has 128 NaN",
    )
    yield (
        "nested",
        a_task(fnn.Residual(fnn.Dense(8), log)),
        "forward: the output of layer 'residual/body/activation' has",
    )
    yield "back", a_task(breaks(forward=False)), "backward through layer 'breaks': .* 'dense' has 128 NaN"
    yield (
        "loss",
        a_task(huge, loss="mse"),
        r"forward: the loss of 14 of 16 examples, the first of which is row 0 of the batch, is not finite \(14 infin",
    )
    large = a_task(loss=lambda p, y: jnp.abs(p[:, 0]) + 3e38)
    yield "sum", large, "forward: the losses of the batch, which overflow in their sum; .* 'dense_1' is"
    slope = fnn.Task(fnn.Dense(3), lambda p, y: jnp.sqrt(jnp.abs(p[:, 0] * 0)), fnn.sgd(0.1))
    yield "slope of the loss", slope, "backward through the loss: the gradient at the output of the model has 16 NaN"
    yield (
        "penalty",
        a_task(penalty=lambda p: p["dense"]["kernel"].sum() / 0.0),
        "forward: the penalty, with the terms that layers add",
    )
    hidden = a_task(penalty=lambda p: jnp.sqrt(jnp.sum(p["dense_1"]["bias"] ** 2) * 0))
    yield "gradient", hidden, "backward: the gradient of parameter 'dense_1/bias' has 3 NaN of 3 values"
    larger = fnn.Optimizer(lambda params: (), lambda grads, s, p=None: (jax.tree.map(lambda g: 1e30 * g, grads), s))
    update = a_task(optimizer=fnn.chain(fnn.sgd(1e30), larger))
    yield "update", update, "the update: parameter 'dense.*' has .* the largest gradient is"


@pytest.mark.parametrize(
    ("task", "message"),
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name in RARE)) for name, *case in places()],
)
def test_the_place_is_named(task, message, data):
    x, y = data[0][:BATCH], data[1][:BATCH]
    if task.loss is fnn.losses.get_loss("mse"):
        y = np.eye(3, dtype="float32")[y]
    error, _ = failing(task, (x, y))

    assert re.search(message, error.place), error.place


def test_a_non_finite_stream_input_is_rejected_before_the_step(data):
    task = a_task()
    spoiled = np.array(data[0][:BATCH])
    spoiled[3, 2] = np.nan
    stream = [(data[0][:BATCH], data[1][:BATCH]), (spoiled, data[1][:BATCH])]
    with pytest.raises(fnn.InputError, match=r"batch 1 > data, x: expected finite numbers, got 1 NaN"):
        fnn.fit(task, fnn.init(task, jax.random.key(0), (5,)), stream, verbose=0, check="finite")


def test_a_finite_run_is_unchanged(data):
    model = fnn.Sequential(fnn.BatchNorm(), fnn.Dropout(0.2), fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(1e-2), metrics=("accuracy",))
    ts = fnn.init(task, jax.random.key(0), (5,))
    options = {"epochs": 2, "batch_size": BATCH, "verbose": 0}
    plain, guarded = (fnn.fit(task, ts, data, check=check, **options) for check in (None, "finite"))
    assert fnn.fingerprint(plain[0]) == fnn.fingerprint(guarded[0])
    assert plain[1]["loss"] == guarded[1]["loss"]


def test_values_infinite_from_the_start_are_ignored(data):
    """Such as the least value so far in the state of an optimizer of one's own."""
    sgd = fnn.sgd(0.1)

    def update(grads, state, params):
        updates, inner = sgd.update(grads, state[0], params)
        return updates, (inner, state[1])

    optimizer = fnn.Optimizer(lambda params: (sgd.init(params), jnp.float32(jnp.inf)), update)
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", optimizer)
    ts = fnn.init(task, jax.random.key(0), (5,))
    _, history = fnn.fit(task, ts, data, epochs=2, verbose=0, check="finite")
    assert len(history["loss"]) == 2


def test_checkpoints_hold_finite_states_only(breaking, data, tmp_path):
    failing(breaking, data, at=7, checkpoint=tmp_path, every=1, keep=None)
    assert [fnn.load_info(path).step for path in sorted(tmp_path.glob("*.safetensors"))] == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_failure_that_does_not_recur(data, monkeypatch):
    """Such as by a defect of the machine."""
    task = a_task()
    monkeypatch.setattr(guard.Guard, "_good", lambda self, ts, totals: False)
    original = guard.Guard._search

    def search(self, *start):
        monkeypatch.setattr(guard.Guard, "_good", lambda self, ts, totals: True)
        original(self, *start)

    monkeypatch.setattr(guard.Guard, "_search", search)
    error, _ = failing(task, data)
    assert re.search(r"somewhere in the steps 0 to 24: none of them shows it when", str(error))
    assert error.step == 0


def test_unknown_checks_are_rejected(data):
    task = a_task()
    with pytest.raises(fnn.InputError, match="expected check='finite' or None, got 'nan'"):
        fnn.fit(task, fnn.init(task, jax.random.key(0), (5,)), data, check="nan")


def test_the_default_warning_suggests_the_check(breaking, data):
    task = breaking
    with pytest.warns(RuntimeWarning, match=r"the loss is nan in epoch 1.*With fit\(\.\.\., check='finite'\)"):
        fnn.fit(task, fnn.init(task, jax.random.key(0), (5,)), data, batch_size=BATCH, verbose=0)


def test_epochs_within_one_check_interval_keep_their_numbers(breaking, data):
    """Short epochs are looked at together; the history ends with the last one before."""
    error, _ = failing(breaking, data, at=12, epochs=9)
    assert (error.step, error.epoch, len(error.history["loss"])) == (12, 2, 2)
    assert "not finite since step 12 (epoch 3)" in str(error)


def test_the_error_can_be_pickled(breaking, data):
    error, _ = failing(breaking, data)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, FloatingPointError)
    assert str(again) == str(error)
