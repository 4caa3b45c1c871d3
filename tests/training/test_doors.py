"""Inputs that shapes alone let pass: old optimizers, states of other widths, and labels outside the classes."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compilations, some

import fnn

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(12, 4)).astype("f")
Y = np.arange(12) % 3


def make(width=8, optimizer=None):
    model = fnn.Sequential(fnn.Dense(width, activation="relu"), fnn.Dense(3))
    return fnn.Task(model, "sparse_categorical_crossentropy", optimizer or fnn.sgd(0.1))


TASK, SLOW = make(), make().replace(optimizer=fnn.sgd(1e-3))


@functools.cache
def state(task=TASK):
    return fnn.init(task, KEY, X)


def fit(task, ts, data, **options):
    return fnn.fit(task, ts, data, batch_size=4, verbose=0, **options)


TRAIN = {
    "fit": fit,
    "run": functools.partial(fnn.run, batch_size=4),
    "train_epoch": functools.partial(fnn.train_epoch, batch_size=4),
    "train_step": fnn.train_step,
}
DERIVATIVES = {
    "example_gradients": fnn.example_gradients,
    "influence": lambda task, ts, data: fnn.influence(task, ts, data, data),
    "hessian_vector_product": lambda task, ts, data: fnn.hessian_vector_product(task, ts, data, ts.params),
}
MEASURE = {
    "evaluate": fnn.evaluate,
    "evaluate batches": lambda task, ts, data: fnn.evaluate(task, ts, [data]),
    "predict": lambda task, ts, data: fnn.predict(task, ts, data[0]),
    "outputs": lambda task, ts, data: fnn.outputs(task, ts, data[0], "dense"),
    "layer_report": fnn.layer_report,
    "fit batches": lambda task, ts, data: fnn.fit(task, ts, [data], verbose=0),
}


def by_door(doors):
    return pytest.mark.parametrize("call", doors.values(), ids=doors)


# -------------------------------------------------------------------------------------------------- another optimizer
@pytest.mark.parametrize("door", some(TRAIN, "fit"))
def test_a_state_with_the_rate_of_a_replaced_optimizer_warns(door):
    message = rf"{door}: the state holds learning_rate 0.1, .* the task's own has 0.001.*set_hyper\(ts, learning_rate="
    with pytest.warns(RuntimeWarning, match=message):
        warned, _ = TRAIN[door](SLOW, state(), (X, Y))
    same, _ = TRAIN[door](TASK, state(), (X, Y))
    assert fnn.fingerprint(warned.params) == fnn.fingerprint(same.params)  # the values of the state count


@pytest.mark.parametrize("door", some(TRAIN, "fit"))
def test_values_that_were_set_do_not_warn(door):
    call = TRAIN[door]
    for task, ts in (
        (TASK, fnn.set_hyper(state(), learning_rate=1e-3)),
        (SLOW, fnn.set_hyper(state(), learning_rate=1e-3)),
        (SLOW, fnn.set_hyper(state(), learning_rate=0.03)),
        (SLOW, state(SLOW)),
        (SLOW.replace(metrics=("accuracy",)), state(SLOW)),
        (TASK.replace(optimizer=fnn.sgd(0.1)), state()),
    ):
        call(task, ts, (X, Y))  # warnings are errors


@pytest.mark.slow
def test_a_plateau_does_not_warn_in_the_next_training():
    plateau = fnn.reduce_on_plateau("loss", factor=0.5, patience=1, min_delta=10.0)
    ts, _ = fnn.run(SLOW, state(SLOW), (X, Y), epochs=4, callbacks=plateau)
    assert float(fnn.get_hyper(ts)["learning_rate"]) < 1e-3
    fit(SLOW, ts, (X, Y))
    fnn.run(SLOW, ts, (X, Y))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (fnn.sgd(0.1, 0.9), fnn.sgd(0.1, 0.5), r"holds momentum 0.9, .*own has 0.5.*set_hyper\(ts, momentum=0.5\)"),
        pytest.param(
            fnn.sgd(fnn.schedules.cosine_decay(0.1, 50)),
            fnn.sgd(fnn.schedules.cosine_decay(0.1, 500)),
            r"holds learning_rate/decay_steps 50, .*own has 500. .*Change them with fnn.set_hyper",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            fnn.by_path({"dense": fnn.sgd(0.1), "*": "adam"}),
            fnn.by_path({"dense": fnn.sgd(0.2), "*": "adam"}),
            r"holds dense/learning_rate 0.1, .*own has 0.2.",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["momentum", "schedule", "by_path"],
)
def test_every_hyper_parameter_counts(old, new, message):
    task = make(optimizer=old)
    with pytest.warns(RuntimeWarning, match=message):
        fnn.run(task.replace(optimizer=new), state(task), (X, Y))
    twice = task.replace(optimizer="sgd").replace(optimizer=new).replace(metrics=("accuracy",))
    with pytest.warns(RuntimeWarning, match=message):
        fnn.run(twice, state(task), (X, Y))


def test_traced_states_and_tasks_pass():
    rates = jnp.array([0.1, 0.01])
    many = fnn.many(lambda rate: fnn.run(SLOW, fnn.set_hyper(state(), learning_rate=rate), (X, Y))[1]["loss"])
    assert many(rates).shape == (2, 1)
    trial = fnn.many(lambda rate: fnn.run(TASK.replace(optimizer=fnn.sgd(rate)), state(), (X, Y))[1]["loss"])
    assert trial(rates).shape == (2, 1)


def test_a_loop_over_steps_with_a_replaced_task_compiles_nothing_more():
    ts = state(SLOW)
    task = TASK.replace(optimizer=fnn.sgd(1e-3))
    fnn.train_step(task, ts, (X, Y))
    with compilations() as count:
        for _ in range(3):
            ts, _ = fnn.train_step(task, ts, (X, Y))
    assert count() == 0


OTHERS = {
    "momentum": fnn.sgd(0.1, 0.9),
    "adam": fnn.adam(),
    "schedule": fnn.sgd(fnn.schedules.cosine_decay(0.1, 100)),
    "chain": fnn.chain(fnn.clip_by_global_norm(1.0), fnn.sgd(0.1)),
    "by_path": fnn.by_path({"*": fnn.sgd(0.1)}),
}


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(o, id=name, marks=[] if name == "adam" else pytest.mark.slow) for name, o in OTHERS.items()],
)
@by_door(TRAIN)
def test_the_state_of_another_optimizer_is_refused(call, optimizer):
    task = make(optimizer=optimizer)
    with pytest.raises(fnn.InputError, match=r"optimizer state: .*fnn\.with_optimizer\(task, ts, optimizer\)"):
        call(task, state(), (X, Y))
    call(task, state()._replace(opt_state=task.optimizer.init(state().params)), (X, Y))


# -------------------------------------------------------------------------------------------------------- other widths
@by_door(TRAIN | DERIVATIVES | MEASURE)
def test_a_state_of_other_widths_is_refused(call):
    with pytest.raises(
        fnn.InputError, match=r"state, dense/bias: expected shape \(8,\), .*got float32\[16\].*fnn.init"
    ):
        call(TASK, state(make(16)), (X, Y))


@by_door({**TRAIN, **MEASURE})
def test_a_state_with_other_layers_is_refused(call):
    plain = fnn.Task(fnn.Sequential(fnn.Dense(8, use_bias=False), fnn.Dense(3)), TASK.loss, fnn.sgd(0.1))
    with pytest.raises(fnn.InputError, match=r"(state: .*model.*|lacks|unexpected).*dense/bias"):
        call(plain, state(), (X, Y))


def test_a_member_of_other_widths_is_refused():
    members = fnn.Ensemble.of(TASK, [state(make(16))] * 2)
    with pytest.raises(fnn.InputError, match="state, dense/bias"):
        members.predict(X)


def test_inputs_of_another_width_are_still_told_by_the_layer():
    for call in TRAIN.values():
        with pytest.raises(fnn.InputError, match=r"dense: expected x of shape \(batch, 4\)"):
            call(TASK, state(), (X[:, :3], Y))


@pytest.mark.slow
def test_other_valid_states_pass():
    half = jax.tree.map(lambda a: a.astype("bfloat16"), state().params)
    ts = state()._replace(params=half, opt_state=TASK.optimizer.init(half))
    fnn.train_step(TASK, ts, (X.astype("bfloat16"), Y))

    def init(key, x):  # of a user's own layer, which reads values
        return {"scale": jnp.asarray(float(jax.random.uniform(key)))}, {}

    def apply(params, state, x, *, key=None, train=False):
        return params["scale"] * x, state

    task = fnn.Task(fnn.Layer(init, apply), "mse", fnn.sgd(0.1))
    ts = fnn.init(task, KEY, X)
    for call in (*TRAIN.values(), fnn.evaluate):
        call(task, ts, (X, X))


# ------------------------------------------------------------------------------------------------------------- targets
PURE = {name: call for name, call in (TRAIN | DERIVATIVES).items() if name != "fit"}
OUTSIDE = (
    r"(data|batch|test) > sparse_categorical_crossentropy: expected labels in \[0, 3\) for 3 outputs, got labels from"
)


@pytest.mark.parametrize("make_array", [np.asarray, jnp.asarray, np.ndarray.tolist], ids=["numpy", "jax", "list"])
@by_door(PURE)
def test_labels_from_1_are_refused(call, make_array):
    labels = jax.block_until_ready(make_array(Y + 1))
    with pytest.raises(fnn.InputError, match=rf"{OUTSIDE} 1 to 3"):
        call(TASK, state(), (X, labels))
    with pytest.raises(fnn.InputError, match=OUTSIDE):  # and again, with the program compiled
        call(TASK, state(), (X, jax.block_until_ready(make_array(Y - 1))))
    call(TASK, state(), (X, make_array(Y)))


def test_labels_are_checked_where_they_are_known():
    with pytest.raises(fnn.InputError, match=rf"validation_{OUTSIDE}"):
        fnn.run(TASK, state(), (X, Y), validation_data=(X, Y + 1))
    trial = fnn.many(lambda rate: fnn.run(TASK, fnn.set_hyper(state(), learning_rate=rate), (X, Y + 1)))
    with pytest.raises(fnn.InputError, match=OUTSIDE):
        jax.jit(trial)(jnp.array([0.1, 0.2]))
    traced = jax.jit(lambda y: fnn.run(TASK, state(), (X, y))[1]["loss"])
    assert np.isnan(traced(jnp.asarray(Y + 1))).all()


@pytest.mark.slow
def test_rows_of_weight_0_may_have_any_label():
    labels, weight = np.where(Y == 2, 7, Y), (Y != 2).astype("f")
    for call in TRAIN.values():
        logs = call(TASK, state(), (X, labels, weight))[1]
        assert np.isfinite(logs["loss"]).all()
        with pytest.raises(fnn.InputError, match="got labels from 0 to 7"):
            call(TASK, state(), (X, labels, weight + 1))
    fnn.train_step(TASK, state(), (X, labels, 0 * weight))


def test_targets_of_each_output_are_checked():
    model = fnn.Model(lambda layers, x: {"a": layers.a(x), "b": layers.b(x)}, a=fnn.Dense(3), b=fnn.Dense(1))
    task = fnn.Task(model, {"a": TASK.loss, "b": "binary_crossentropy"}, fnn.sgd(0.1))
    ts = fnn.init(task, KEY, X)
    good, bad = np.ones((12, 1), "f"), np.full((12, 1), 2, "f")
    for name, call in PURE.items():
        with pytest.raises(fnn.InputError, match=r"output 'b' > binary_crossentropy: expected targets in \[0, 1\]"):
            call(task, ts, (X, {"a": Y, "b": bad}))
        assert name
    fnn.train_step(task, ts, (X, {"a": Y, "b": good}))


def test_metrics_check_their_targets():
    task = fnn.Task(fnn.Dense(3), lambda p, t: jnp.sum(p, -1), fnn.sgd(0.1), metrics=("accuracy",))
    with pytest.raises(fnn.InputError, match=r"accuracy.*class numbers"):
        fnn.train_step(task, fnn.init(task, KEY, X), (X, Y + 1))


def test_targets_of_a_wrong_shape_are_told_as_such():
    task = fnn.Task(fnn.Dense(3), "categorical_crossentropy", fnn.sgd(0.1))
    for call in TRAIN.values():
        with pytest.raises(fnn.InputError, match=r"one-hot|shape"):
            call(task, fnn.init(task, KEY, X), (X, Y))


def test_pending_labels_do_not_delay_a_step(monkeypatch):
    from fnn.training import values

    monkeypatch.setattr(values, "_is_known", lambda a, wait: wait)
    _, logs = fnn.train_step(TASK, state(), (X, jnp.asarray(Y + 1)))
    assert np.isnan(logs["loss"])
    with pytest.raises(fnn.InputError, match=OUTSIDE):
        fnn.train_epoch(TASK, state(), (X, jnp.asarray(Y + 1)))


# ------------------------------------------------------------------------------------------------- a constant output
@pytest.mark.parametrize("loss", ["mse", "hinge", "binary_crossentropy", TASK.loss, lambda p, t: jnp.sum(p, -1)])
@pytest.mark.parametrize("last", [fnn.Dense(1, "softmax"), fnn.Dense(1, jax.nn.softmax)], ids=["fnn", "jax"])
def test_a_softmax_over_one_output_is_refused(last, loss):
    task = fnn.Task(fnn.Sequential(fnn.Dense(4), last), loss)
    for call in (lambda: fnn.init(task, KEY, X), lambda: fnn.check(task, X)):
        with pytest.raises(fnn.InputError, match=r"softmax over several outputs.*always 1"):
            call()


def test_a_softmax_over_another_axis_passes():
    over_time = fnn.Sequential(fnn.Dense(1), fnn.Activation(functools.partial(jax.nn.softmax, axis=1)))
    fnn.init(fnn.Task(over_time, "mse"), KEY, (5, 3))
    fnn.init(fnn.Task(fnn.Dense(2, "softmax"), "mse"), KEY, (3,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fnn.init(fnn.Task(fnn.Dense(1, "sigmoid"), "mse"), KEY, (3,))
