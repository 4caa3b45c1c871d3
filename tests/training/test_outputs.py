"""Losses, metrics and sample weights by output: against Keras, and in every call that trains or measures."""

import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import some

import fnn
from fnn.fitting import checkpoints, guard
from fnn.fitting.inputs import weigh
from fnn.training.batch import Batch, Signature
from fnn.training.checks import check_fit, check_ids_in_range, input_limits
from fnn.training.forward import forward as outputs_of
from fnn.training.probe import layer_values
from fnn.training.totals import loss_totals, measure, results

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
ROWS = 22


def forward(layers, x):
    h = layers.body(x)
    return {"digit": layers.digit(h), "angle": layers.angle(h)}


MODEL = fnn.Model(
    forward, body=fnn.Dense(4, "tanh"), digit=fnn.Dense(3), angle=fnn.Dense(1), per_example=True
)  # fmt: skip
LOSS = {"digit": "sparse_categorical_crossentropy", "angle": "mse"}
METRICS = {"digit": ["accuracy"], "angle": "mae"}
X = RNG.normal(size=(ROWS, 3)).astype("float32")
Y = {"digit": RNG.integers(0, 3, ROWS).astype("int32"), "angle": RNG.normal(size=(ROWS, 1)).astype("float32")}
WEIGHTS = {name: RNG.uniform(0.5, 2, ROWS).astype("float32") for name in Y}


def task_of(**options):
    return fnn.Task(MODEL, **{"loss": LOSS, "optimizer": fnn.sgd(0.1), "metrics": METRICS, **options})


@pytest.fixture(scope="module")
def task():
    return task_of(loss_weights={"angle": 0.3})


@pytest.fixture(scope="module")
def ts(task):
    return fnn.init(task, KEY, X)


def reference(ts, weights=None):
    """The two losses in float64."""
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), ts.params)
    h = np.tanh(X @ params["body"]["kernel"] + params["body"]["bias"])
    logits, angle = (h @ params[name]["kernel"] + params[name]["bias"] for name in ("digit", "angle"))
    digit = np.log(np.exp(logits).sum(1)) - logits[np.arange(ROWS), Y["digit"]]
    values = {"digit": digit, "angle": ((angle - Y["angle"]) ** 2)[:, 0]}
    values = {name: value * (1 if weights is None else weights[name]) for name, value in values.items()}
    return values | {"accuracy": logits.argmax(1) == Y["digit"], "mae": np.abs(angle - Y["angle"])[:, 0]}


@pytest.mark.parametrize("weights", [pytest.param(None, marks=pytest.mark.slow), WEIGHTS])
def test_training_matches_keras(task, ts, weights):
    keras = pytest.importorskip("keras", reason="Keras is the reference here")
    inputs = keras.Input((3,))
    h = keras.layers.Dense(4, activation="tanh", name="body")(inputs)
    outputs = {"digit": keras.layers.Dense(3, name="digit")(h), "angle": keras.layers.Dense(1, name="angle")(h)}
    theirs = keras.Model(inputs, outputs)
    for name in ("body", "digit", "angle"):
        # As copies, since Keras donates what it holds.
        theirs.get_layer(name).set_weights([np.array(ts.params[name][part]) for part in ("kernel", "bias")])
    loss = {"digit": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "angle": "mse"}
    theirs.compile(keras.optimizers.SGD(0.1), loss, loss_weights={"digit": 1.0, "angle": 0.3})
    data = (X, Y) if weights is None else (X, Y, weights)
    for start in range(0, ROWS, 8):
        rows = [jax.tree.map(lambda a, start=start: a[start : start + 8], part) for part in data]
        theirs.train_on_batch(*rows)
    after, _ = fnn.fit(task, ts, data, epochs=1, batch_size=8, shuffle=False, verbose=0)
    for name in ("body", "digit", "angle"):
        for got, want in zip(theirs.get_layer(name).get_weights(), ("kernel", "bias"), strict=True):
            np.testing.assert_allclose(after.params[name][want], got, 2e-5, 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("weights", [pytest.param(None, marks=pytest.mark.slow), WEIGHTS])
def test_the_loss_is_the_weighted_sum(task, ts, weights):
    data = (X, Y) if weights is None else (X, Y, weights)
    want = {name: value.mean() for name, value in reference(ts, weights).items()}
    seen = [fnn.evaluate(task, ts, data, batch_size=size) for size in (5, 64)]
    seen += [fnn.evaluate(task, ts, [jax.tree.map(lambda a, s=s: a[s], data) for s in (slice(0, 9), slice(9, None))])]
    logs = fnn.train_step(task, ts, data)[1]
    for got in (*seen, logs, fnn.run(task, ts, data, epochs=1, batch_size=64, validation_data=data)[1]):
        got = {name: float(np.asarray(value).ravel()[0]) for name, value in got.items() if "val" not in name}
        assert set(got) == {"loss", "digit_loss", "angle_loss", "digit_accuracy", "angle_mae"}
        assert got["digit_loss"] == pytest.approx(want["digit"], rel=1e-5)
        assert got["angle_loss"] == pytest.approx(want["angle"], rel=1e-5)
        assert got["loss"] == pytest.approx(want["digit"] + 0.3 * want["angle"], rel=1e-5)
        if weights is None:
            assert got["digit_accuracy"] == pytest.approx(want["accuracy"], rel=1e-5)
            assert got["angle_mae"] == pytest.approx(want["mae"], rel=1e-5)


@pytest.mark.slow
def test_penalties_count_once(ts):
    def forward(layers, x):
        h = layers.active(layers.body(x))
        return {"digit": layers.digit(h), "angle": layers.angle(h)}

    active = fnn.ActivityRegularization(l1=0.1)
    model = fnn.Model(forward, body=fnn.Dense(4, "tanh"), active=active, digit=fnn.Dense(3), angle=fnn.Dense(1))
    task = fnn.Task(model, LOSS, fnn.sgd(0.1), penalty=fnn.penalties.l2(0.01))
    state = fnn.init(task, KEY, X)._replace(params=ts.params)
    penalty = 0.01 * sum(np.square(np.asarray(p["kernel"], np.float64)).sum() for p in ts.params.values())
    h = np.tanh(X @ np.asarray(ts.params["body"]["kernel"], np.float64))
    want = reference(ts)
    total = want["digit"].mean() + want["angle"].mean() + penalty + 0.1 * np.abs(h).sum() / ROWS
    for size in (5, ROWS):
        assert fnn.evaluate(task, state, (X, Y), batch_size=size)["loss"] == pytest.approx(total, rel=1e-5)
    assert float(fnn.train_step(task, state, (X, Y))[1]["loss"]) == pytest.approx(total, rel=1e-5)


def test_a_target_of_weight_zero_may_hold_anything(task, ts):
    """A row may have one target and lack the other."""
    lacking = np.arange(ROWS) % 3 == 0
    angle = np.where(lacking[:, None], np.nan, Y["angle"]).astype("float32")
    digit = np.where(np.arange(ROWS) % 4 == 1, 99, Y["digit"]).astype("int32")
    weights = {"digit": (digit < 99).astype("float32"), "angle": (~lacking).astype("float32")}
    after, history = fnn.fit(
        task, ts, (X, {"digit": digit, "angle": angle}, weights), epochs=2, batch_size=8, verbose=0
    )  # fmt: skip
    filled = {"digit": np.where(digit < 99, digit, 0), "angle": np.nan_to_num(angle)}
    want, filled_history = fnn.fit(task, ts, (X, filled, weights), epochs=2, batch_size=8, verbose=0)
    assert fnn.fingerprint(after) == fnn.fingerprint(want)
    assert history["loss"] == filled_history["loss"]
    assert np.isfinite(jax.tree.leaves(after.params)[0]).all()


@pytest.mark.slow
def test_each_step_of_a_masked_output_is_an_example():
    def forward(layers, x):
        h = layers.lstm(layers.words(x))
        return {"next": layers.next(h), "kind": layers.kind(layers.last(h))}

    model = fnn.Model(
        forward, words=fnn.Embedding(5, 3, mask_zero=True), lstm=fnn.LSTM(3, return_sequences=True),
        next=fnn.Dense(5), last=fnn.GRU(2), kind=fnn.Dense(1),
    )  # fmt: skip
    task = fnn.Task(model, {"next": "sparse_categorical_crossentropy", "kind": "binary_crossentropy"},
                    fnn.sgd(0.1), metrics={"next": "accuracy"})  # fmt: skip
    ids = np.array([[1, 2, 0, 0], [3, 4, 1, 2], [2, 0, 0, 0]], np.int32)
    y = {"next": np.roll(ids, -1, 1), "kind": np.array([0, 1, 1], np.int32)}
    ts = fnn.init(task, KEY, ids)
    out, _ = model.apply(ts.params, ts.state, ids)
    scores = np.asarray(out["next"].x, np.float64)
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_p, y["next"][..., None], -1)[..., 0]
    per_step = -chosen[ids != 0].mean()
    z = np.asarray(out["kind"], np.float64)[:, 0]
    kind = np.mean(np.log1p(np.exp(z)) - y["kind"] * z)
    for size in (2, 3):
        logs = fnn.evaluate(task, ts, (ids, y), batch_size=size)
        assert logs["next_loss"] == pytest.approx(per_step, rel=1e-5)
        assert logs["kind_loss"] == pytest.approx(kind, rel=1e-5)
        assert logs["loss"] == pytest.approx(per_step + kind, rel=1e-5)


@pytest.mark.parametrize("first", some(["digit", "angle"], "angle"))
@pytest.mark.parametrize(
    "source", ["arrays", *(pytest.param(s, marks=pytest.mark.slow) for s in ("batches", "members"))]
)
def test_scores_and_history_keep_the_order_of_the_task(first, source):
    """The loss first, then each output as the losses are written, with its loss and metrics."""
    losses = {name: LOSS[name] for name in sorted(LOSS, key=lambda name: name != first)}
    metrics = {"digit": ["top_k_accuracy", "accuracy"], "angle": ["rmse", "mae"]}
    task = fnn.Task(MODEL, losses, metrics=metrics)
    ts = fnn.init(task, KEY, X)
    names = ["loss", *(f"{one}_{key}" for one in losses for key in ("loss", *metrics[one]))]
    data = (X, Y) if source == "arrays" else [(X, Y)] * 2
    if source == "members":
        members = fnn.ensemble(task, KEY, (X, Y), members=2, epochs=1)
        assert list(members.evaluate((X, Y))) == [*names, *(f"member_{name}" for name in names)]
        return
    scores = fnn.evaluate(task, ts, data)
    assert list(scores.keys()) == names
    assert list(scores) == [scores[name] for name in names]
    _, history = fnn.fit(task, ts, data, validation_data=data, verbose=0)
    assert list(history) == [*names, *(f"val_{name}" for name in names), "seconds"]


@pytest.mark.slow
def test_a_resumed_history_keeps_the_order(tmp_path):
    task = fnn.Task(MODEL, LOSS, metrics={"digit": ["top_k_accuracy", "accuracy"]})
    ts = fnn.init(task, KEY, X)
    first = fnn.fit(task, ts, (X, Y), verbose=0, checkpoint=tmp_path)[1]
    again = fnn.fit(task, ts, (X, Y), verbose=0, checkpoint=tmp_path, epochs=2)[1]
    names = ["loss", "digit_loss", "digit_top_k_accuracy", "digit_accuracy", "angle_loss", "seconds"]
    assert list(again) == list(first) == names


def test_outputs_in_tuples_and_nested():
    model = fnn.Model(
        lambda layers, x: (layers.a(x), {"left": layers.b(x), "right": layers.c(x)}),
        a=fnn.Dense(1), b=fnn.Dense(2), c=fnn.Dense(3),
    )  # fmt: skip
    loss = ("mse", {"left": "mae", "right": None})
    task = fnn.Task(model, loss, fnn.sgd(0.1), metrics={1: {"left": ["rmse"]}}, loss_weights={1: {"left": 2.0}})
    y = (X[:, :1], {"left": X[:, :2]})
    ts, history = fnn.fit(task, fnn.init(task, KEY, X), (X, y), epochs=1, batch_size=ROWS, verbose=0)
    assert set(history) == {"loss", "0_loss", "1_left_loss", "1_left_rmse", "seconds"}
    assert history["loss"][0] == pytest.approx(history["0_loss"][0] + 2 * history["1_left_loss"][0])
    start = fnn.init(task, KEY, X).params
    assert (ts.params["c"]["kernel"] == start["c"]["kernel"]).all()
    assert (ts.params["b"]["kernel"] != start["b"]["kernel"]).all()


class Pair(NamedTuple):
    left: Any
    right: Any


PAIRS = fnn.Model(lambda layers, x: Pair(layers.a(x), layers.b(x)), a=fnn.Dense(1), b=fnn.Dense(2))
TUPLES = fnn.Model(lambda layers, x: (layers.a(x), layers.b(x)), a=fnn.Dense(1), b=fnn.Dense(2))
TARGETS = X[:, :1], X[:, :2]


@pytest.mark.parametrize(
    ("model", "loss", "metrics", "weights", "y", "names"),
    [
        (PAIRS, Pair("mse", "mae"), Pair(["mae"], None), Pair(1.0, 0.5), Pair(*TARGETS), ("left", "right")),
        (PAIRS, {"right": "mae", "left": "mse"}, {"left": "mae"}, {"right": 0.5}, Pair(*TARGETS), ("left", "right")),
        (TUPLES, ["mse", "mae"], [["mae"], []], [1.0, 0.5], TARGETS, ("0", "1")),
        (TUPLES, ("mse", "mae"), ["mae", None], (None, 0.5), list(TARGETS), ("0", "1")),
    ],
)
def test_named_tuples_and_lists(model, loss, metrics, weights, y, names):
    task = fnn.Task(model, loss, fnn.sgd(0.1), metrics=metrics, loss_weights=weights)
    params = {"a": {"kernel": np.ones((3, 1), "f"), "bias": np.zeros(1, "f")},
              "b": {"kernel": np.full((3, 2), 0.5, "f"), "bias": np.zeros(2, "f")}}  # fmt: skip
    ts = fnn.TrainState(params, {}, task.optimizer.init(params), KEY, jnp.int32(0))
    logs = jax.jit(lambda ts, y: measure(task, outputs_of(task, ts.params, {}, X)[0], Batch(X, y))[1])(ts, y)
    logs = results(task, logs)
    left, right = X.sum(1, keepdims=True) - TARGETS[0], X.sum(1, keepdims=True) / 2 - TARGETS[1]
    want = {f"{names[0]}_loss": np.mean(left**2), f"{names[0]}_mae": np.abs(left).mean(),
            f"{names[1]}_loss": np.abs(right).mean()}  # fmt: skip
    want["loss"] = want[f"{names[0]}_loss"] + 0.5 * want[f"{names[1]}_loss"]
    assert {name: float(value) for name, value in logs.items()} == pytest.approx(want, rel=1e-5)
    assert type(task.loss) is (type(loss) if type(loss) is not list else tuple)
    check_fit(task, ts, Batch(X, y))


def test_losses_and_metrics_changed_later_do_not_change_the_task():
    loss, metrics = dict(LOSS), {"digit": ["accuracy"]}
    task = fnn.Task(MODEL, loss, "sgd", metrics=metrics)
    text = repr(task)
    loss["more"] = "mse"
    metrics["digit"].append("precision")
    assert repr(task) == text
    assert task == task.replace()
    assert [part.name for part in task.replace(optimizer="adam").parts] == ["digit", "angle"]


def test_an_output_whose_mask_keeps_nothing_adds_nothing():
    steps = fnn.Masked(np.ones((2, 3, 1), "f"), np.zeros((2, 3), bool))
    model = fnn.Model(lambda layers, x: {"steps": layers.a(x["s"]), "rows": layers.b(x["r"])},
                      a=fnn.Dense(1), b=fnn.Dense(1))  # fmt: skip
    x, y = {"s": steps, "r": X[:2]}, {"steps": np.ones((2, 3, 1), "f"), "rows": np.ones((2, 1), "f")}
    task = fnn.Task(model, {"steps": "mse", "rows": "mse"}, fnn.sgd(0.1), penalty=fnn.penalties.l2(0.1))
    ts = fnn.init(task, KEY, x)
    after, logs = fnn.train_step(task, ts, (x, y))
    penalty = 0.1 * sum(float(np.square(p["kernel"]).sum()) for p in ts.params.values())
    assert float(logs["steps_loss"]) == 0
    assert float(logs["loss"]) == pytest.approx(float(logs["rows_loss"]) + penalty, rel=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
    whole, counted = fnn.Task(model, {"steps": "mse", "rows": None}, "sgd"), Batch(x, y)
    outputs = outputs_of(whole, ts.params, {}, x)[0]
    assert float(results(whole, measure(whole, outputs, counted)[1])["loss"]) == 0


@pytest.mark.parametrize("known", [True, False])
def test_a_loss_of_weight_zero_may_be_anything(known):
    """As a sample weight of 0, it passes no gradient either, whether it is known before compilation or not."""

    def forward(layers, x):
        b = layers.b(x)
        return {"a": layers.a(x), "b": jnp.sqrt(b * 0 - 1) / 0 if known else b}

    model = fnn.Model(forward, a=fnn.Dense(1), b=fnn.Dense(1))
    params = {name: {"kernel": jnp.ones((3, 1)), "bias": jnp.zeros(1)} for name in "ab"}
    batch = Batch(X, {"a": X[:, :1], "b": X[:, :1] * np.nan})

    def loss(weight, params):
        task = fnn.Task(model, {"a": "mse", "b": "mse"}, loss_weights={"b": weight})
        return measure(task, outputs_of(task, params, {}, X)[0], batch)[0]

    if known:
        value, grads = jax.jit(jax.value_and_grad(lambda params: loss(0.0, params)))(params)
    else:
        value, (slope, grads) = jax.jit(jax.value_and_grad(loss, (0, 1)))(0.0, params)
        assert float(slope) == 0
    want = X.sum(1, keepdims=True) - X[:, :1]
    assert float(value) == pytest.approx(np.mean(want**2), rel=1e-5)
    np.testing.assert_allclose(grads["a"]["kernel"], 2 * X.T @ want / ROWS, 1e-4, 1e-5)
    assert not np.any(grads["b"]["kernel"])
    task = fnn.Task(model, {"a": "mse", "b": "mse"}, loss_weights={"b": 0})
    totals = measure(task, outputs_of(task, params, {}, X)[0], batch)[1]
    assert len(loss_totals(task, totals)) == 2  # check="finite" does not watch it
    assert float(results(task, totals)["loss"]) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize(("first", "second"), [("big", "small"), ("small", "big")])
def test_ids_read_by_two_embeddings_fit_both(first, second):
    model = fnn.Model(lambda layers, x: layers[first](x["ids"]) + layers[second](x["ids"]) + layers.other(x["more"]),
                      big=fnn.Embedding(9, 1), small=fnn.Embedding(5, 1), other=fnn.Embedding(7, 1))  # fmt: skip
    task = fnn.Task(model, "mse")
    x = {"ids": np.array([[0], [4]], "int32"), "more": np.array([[6], [1]], "int32")}
    ts = fnn.init(task, KEY, x)
    limits = input_limits(task, Signature.of(ts), Signature.of(x))
    check_ids_in_range(limits, x, "x")
    for name, most in (("ids", 5), ("more", 7)):
        wrong = {**x, name: np.array([[0], [most]], "int32")}
        with pytest.raises(
            fnn.InputError, match=rf"x\[{name}\]: expected ids in \[0, {most}\) .* got ids from 0 to {most}"
        ):
            check_ids_in_range(limits, wrong, "x")


def test_gradients_of_examples_refuse_masked_outputs():
    model = fnn.Model(lambda layers, x: {"steps": layers.a(x["s"]), "rows": layers.b(x["r"])},
                      a=fnn.Dense(1), b=fnn.Dense(1))  # fmt: skip
    x = {"s": fnn.Masked(np.ones((2, 3, 1), "f"), np.ones((2, 3), bool)), "r": X[:2]}
    y = {"steps": np.ones((2, 3, 1), "f"), "rows": np.ones((2, 1), "f")}
    for losses in ({"steps": "mse", "rows": "mse"}, {"steps": "mse", "rows": None}):
        task = fnn.Task(model, losses)
        with pytest.raises(
            fnn.InputError, match=r"example_gradients: expected a model with one output for each.*Masked"
        ):
            fnn.example_gradients(task, fnn.init(task, KEY, x), (x, y))
    task = fnn.Task(model, {"steps": None, "rows": "mse"})  # its loss is of whole rows
    ts = fnn.init(task, KEY, x)
    assert fnn.example_gradients(task, ts, (x, {"rows": y["rows"]}))["b"]["kernel"].shape == (2, 3, 1)


# ------------------------------------------------------------------------------------------------------- in every call
@pytest.mark.slow
def test_callbacks_and_weights_of_losses_in_a_sweep(ts):
    def trial(weight):
        task = task_of(loss_weights={"angle": weight})
        return fnn.run(task, fnn.init(task, KEY, X), (X, Y), epochs=2, batch_size=11)

    found = fnn.sweep(trial, {"weight": [0.0, 0.5, 3.0]}, verbose=0)
    for weight, loss in zip((0.0, 0.5, 3.0), found.column("angle_loss"), strict=True):
        alone = trial(weight)[1]
        assert float(np.ravel(loss)[-1]) == pytest.approx(float(alone["angle_loss"][-1]), rel=1e-4)
    assert len({float(np.ravel(loss)[-1]) for loss in found.column("digit_loss")}) == 3

    stop = fnn.early_stopping("val_digit_loss", patience=1, min_delta=9.0)
    _, history = fnn.fit(
        task_of(), ts, (X, Y), epochs=9, batch_size=11, validation_data=(X, Y), callbacks=[stop], verbose=0
    )  # fmt: skip
    assert len(history["val_digit_loss"]) == 2


@pytest.mark.slow
def test_ensembles(task):
    members = fnn.ensemble(task, KEY, (X, Y), members=2, epochs=1, batch_size=11, verbose=0)
    logs = members.evaluate((X, Y), batch_size=7)
    assert next(iter(logs)) == "loss"
    assert logs["loss"] == pytest.approx(logs["digit_loss"] + 0.3 * logs["angle_loss"], rel=1e-5)
    seen = members.predict(X)
    assert seen["digit"].vote.shape == (ROWS,)
    np.testing.assert_allclose(seen["digit"].mean.sum(1), 1, 1e-5)
    outputs = [MODEL.apply(jax.tree.map(lambda a, i=i: a[i], members.ts.params), {}, X)[0] for i in range(2)]
    np.testing.assert_allclose(seen["angle"].mean, (outputs[0]["angle"] + outputs[1]["angle"]) / 2, 1e-5, 1e-6)
    want = np.mean((np.asarray(seen["angle"].mean) - Y["angle"]) ** 2)
    assert logs["angle_loss"] == pytest.approx(want, rel=1e-5)


@pytest.mark.slow
def test_reports_and_checks(task, ts):
    values = layer_values(task, ts, (X, Y))
    want = reference(ts)
    np.testing.assert_allclose(values.losses, want["digit"] + 0.3 * want["angle"], 1e-5)
    assert float(values.loss) == pytest.approx(float(values.losses.mean()), rel=1e-5)
    assert {"body", "digit", "angle"} <= {row.path for row in fnn.layer_report(task, ts, (X, Y)).rows}
    assert "digit" in str(fnn.check(task, X))
    options = {"epochs": 2, "batch_size": 11, "verbose": 0}
    whole, _ = fnn.fit(task, ts, (X, Y), **options)
    with pytest.raises(fnn.NonFiniteError, match="not finite since step 1"):
        fnn.fit(
            task_of(optimizer=fnn.sgd(1e20), loss_weights={"angle": 1e20}), ts, (X, Y), check="finite", **options
        )  # fmt: skip
    finite, _ = fnn.fit(task, ts, (X, Y), check="finite", **options)
    assert fnn.fingerprint(finite) == fnn.fingerprint(whole)


def test_a_run_killed_within_an_epoch_ends_with_the_same_bits(task, ts, tmp_path, monkeypatch):
    """The checkpoint holds the totals of each output and of the penalties."""
    task = task.replace(penalty=fnn.penalties.l2(0.01))
    original, calls = checkpoints.save_with, []

    def save(*args, **kwargs):
        original(*args, **kwargs)
        calls.append(1)
        if len(calls) == 3:  # of two steps in each epoch
            raise RuntimeError("killed")

    def train(**options):
        return fnn.fit(task, ts, (X, Y), epochs=2, batch_size=11, verbose=0, **options)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_with", save)
        with pytest.raises(Exception, match="killed"):
            train(checkpoint=tmp_path, every=1)
    assert len(calls) == 3
    (resumed, seen), (whole, history) = train(checkpoint=tmp_path, every=1), train()
    assert fnn.fingerprint(resumed) == fnn.fingerprint(whole)
    assert {**seen, "seconds": 0} == {**history, "seconds": 0}


@pytest.mark.parametrize("broken", ["forward", "targets"])
def test_the_place_of_a_failure_is_named_by_the_graph(broken):
    """The layer called next in `forward` reads another value; targets of weight 0 may be NaN."""

    @jax.custom_vjp
    def breaks(x):
        return x

    breaks.defvjp(lambda x: (x, None), lambda _, g: (g * jnp.nan,))
    layer = fnn.Activation((lambda x: x / 0) if broken == "forward" else breaks)

    def forward(layers, x):
        h, other = layers.first(x), layers.second[0](x)
        return {"digit": layers.digit(layers.broken(h)), "angle": layers.angle(other)}

    model = fnn.Model(forward, first=fnn.Dense(2), second=[fnn.Dense(2)], broken=layer, digit=fnn.Dense(3),
                      angle=fnn.Dense(1))  # fmt: skip
    task = fnn.Task(model, LOSS, fnn.sgd(0.1))
    y = {**Y, "angle": np.where(np.arange(ROWS)[:, None] % 2 == 0, np.nan, Y["angle"]).astype("float32")}
    weights = {"digit": np.ones(ROWS, "float32"), "angle": (np.arange(ROWS) % 2).astype("float32")}
    ts, data = fnn.init(task, KEY, X), Batch(X, y, weights) if broken == "targets" else Batch(X, Y)
    data = jax.tree.map(jnp.asarray, data)
    place = guard._place(task, ts, data, ts)
    if broken == "forward":
        assert re.match(
            r"forward: the output of layer 'broken' has .*; the largest .* of the output of layer 'first' is", place
        )
    else:
        assert place.startswith(
            "backward through layer 'broken': the gradient at the output of layer 'first' has 44 NaN"
        )


@pytest.mark.parametrize("prefix", ["", "val_", "digit_", "val_my_digit_"])
def test_callbacks_know_which_way_is_better_for_an_output(prefix):
    output = prefix.removeprefix("val_")
    for name, rising in {"accuracy": True, "top_k_accuracy": True, "r2": True, "loss": False, "mae": False}.items():
        logs = {"loss": 1.0, f"{output}loss": 1.0, output + name: 2.0, prefix + name: 2.0}
        for callback in (fnn.early_stopping(prefix + name), fnn.reduce_on_plateau(prefix + name)):
            assert float(callback.watch.step(callback.watch.start(), logs)[0][0]) == (-2 if rising else 2)


@pytest.mark.parametrize("name", ["my_accuracy", "neg_mse", "val_neg_mse"])
def test_a_function_named_like_the_metric_of_an_output_needs_a_mode(name):
    watch = fnn.early_stopping(name).watch
    with pytest.raises(fnn.InputError, match=f"mode='max' or mode='min' for an unknown metric, got monitor='{name}'"):
        watch.step(watch.start(), {"loss": 1.0, "val_loss": 1.0, name: 2.0})


def test_class_weights_of_the_one_loss_of_a_dict():
    task = fnn.Task(MODEL, {"digit": LOSS["digit"], "angle": None}, fnn.sgd(0.1))
    only = fnn.Task(MODEL, lambda p, y: fnn.losses.sparse_categorical_crossentropy(p["digit"], y), fnn.sgd(0.1))
    weighed = [weigh(one, Batch(X, y), "balanced").weight for one, y in ((task, Y), (only, Y["digit"]))]
    np.testing.assert_array_equal(*weighed)
    assert len(set(weighed[0].tolist())) == 3


def test_nan_in_one_output_is_told(task, ts):
    broken = ts._replace(params={**ts.params, "angle": jax.tree.map(lambda a: a * jnp.nan, ts.params["angle"])})
    with pytest.warns(RuntimeWarning, match="22 examples hold NaN"):
        logs = fnn.evaluate(task, broken, (X, Y))
    assert math.isnan(logs["loss"])
    assert math.isfinite(logs["digit_loss"])


# -------------------------------------------------------------------------------------------------------------- errors
ANGLE = {"angle": Y["angle"]}
UNKNOWN = {"digit": LOSS["digit"], "angle": None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["mae"]}, r"metrics by output, as the losses, got \['mae'\]\. Write metrics=\{'digit': \['"),
        ({"metrics": {"digits": ["mae"]}}, "metrics for the outputs 'digit' or 'angle', got an entry 'digits'"),
        ({"metrics": {"digit": ["mae", "mae"]}}, "metrics of 'digit': expected metrics of different names"),
        ({"loss_weights": {"digits": 1}}, "loss_weights for the outputs 'digit' or 'angle', got an entry 'digits'"),
        ({"loss_weights": {"digit": -1}}, r"loss_weights of 'digit' in \[0, inf\), got -1"),
        ({"loss_weights": {"digit": "a"}}, "loss_weights of 'digit' to be a number, got 'a'"),
        ({"loss_weights": 2.0}, "loss_weights by output, for 'digit' or 'angle', got 2.0"),
        ({"loss": "mse", "metrics": {"digit": "mae"}}, "a list of metrics for one loss, got metrics by output"),
        ({"loss": "mse", "metrics": (), "loss_weights": {"digit": 1}}, "loss_weights with losses by output alone"),
        ({"loss": {}, "metrics": ()}, "a loss for at least one output, got none"),
        ({"loss": {"a": {"b": "mse"}, "a_b": "mse"}, "metrics": ()}, "different names in the history"),
        ({"loss": {"digit": "mean_sq"}, "metrics": ()}, "the name of a known loss"),
        ({"loss": {"digit": None, "angle": None}, "metrics": ()}, "a loss for at least one output, got none"),
        ({"loss": UNKNOWN}, "metrics or a weight for 'angle', which has the loss None. Give it a loss; with"),
        ({"loss": UNKNOWN, "metrics": (), "loss_weights": {"angle": 2}}, "or a weight for 'angle', which has the"),
        ({"loss": {"val": "mse", "digit": "mse"}, "metrics": ()}, "in the history, got 'val_loss'. Rename"),
        ({"loss": {"val_digit": "mse", "digit": "mse"}, "metrics": ()}, "in the history, got 'val_digit_loss'"),
        ({"loss": "mse", "metrics": [fnn.Metric("val_loss", None, None)]}, "in the history, got 'val_loss'"),
        ({"loss": "mse", "metrics": [fnn.Metric("seconds", None, None)]}, "in the history, got 'seconds'"),
        ({"loss": {"a/b": "mse"}, "metrics": ()}, "Task, loss: expected a name without '/'.* got 'a/b'"),
        ({"loss": {"digit": {"_b": "mse"}}, "metrics": ()}, "does not begin with '_', got '_b'"),
        ({"loss": ["mse", "mae"], "metrics": [["mae"]]}, r"for each of the outputs 0 and 1, got \(\['mae'\],\)"),
        ({"loss": ["mse", "mae"], "metrics": ["mae", "mae", "mae"]}, "metrics for the outputs 0 or 1, got an entry 2"),
        ({"loss": ["mse", "mae"], "metrics": "mae"}, r"metrics for each of the outputs 0 and 1, got \('mae',\)"),
        ({"loss": ["mse", "mae"], "metrics": (), "loss_weights": [1]}, r"loss_weights for each of the .* got \[1\]"),
        ({"loss_weights": [1, 2]}, "loss_weights for the outputs 'digit' or 'angle', got an entry 0"),
    ],
)  # fmt: skip
def test_tasks_that_do_not_fit_are_refused(options, message):
    with pytest.raises(fnn.InputError, match=message):
        task_of(**options)


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"loss": "mse", "metrics": ()}, (X, Y), "each output, got 'mean_squared_error' for 'angle', 'digit'"),
        ({"loss": {"digit": LOSS["digit"]}, "metrics": ()}, (X, Y), "got none for 'angle'. Write 'angle': None"),
        ({"loss": {**LOSS, "angel": "mse"}, "metrics": ()}, (X, Y), "outputs 'angle', 'digit', got a loss for 'angel'"),
        ({}, (X, Y["digit"]), r"targets: expected an entry 'digit', got int32\[22\]"),
        ({}, (X, ANGLE), "targets: expected an entry 'digit', got entries 'angle'"),
        ({}, (X, {**Y, "digit": Y["digit"] + 7}), r"output 'digit' > sparse_.*: expected labels in \[0, 3\)"),
        ({}, (X, {**Y, "angle": Y["angle"] * np.nan}), r"y\['angle'\]: expected finite numbers"),
        ({}, (X, {**Y, "angle": Y["angle"][:, [0, 0]]}), "loss of 'angle' > "),
        ({}, (X, Y, {"digit": WEIGHTS["digit"]}), "sample_weight: expected an entry 'angle', got entries 'digit'"),
        ({}, (X, Y, {**WEIGHTS, "angle": -WEIGHTS["angle"]}), "sample_weight: expected weights of at least 0"),
        ({}, (X, Y, {**WEIGHTS, "angle": WEIGHTS["angle"][:, None, None]}), "sample_weight: expected shape"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_is_refused(ts, options, data, message):
    with pytest.raises(fnn.InputError, match=message):
        fnn.fit(task_of(**options), ts, data, verbose=0)


def test_losses_for_a_model_with_one_output_are_refused(ts):
    task = fnn.Task(fnn.Dense(1), {"angle": "mse"}, fnn.sgd(0.1))
    with pytest.raises(fnn.InputError, match="expected one loss for the one output, got a loss for 'angle'"):
        fnn.fit(task, fnn.init(task, KEY, X), (X, Y), verbose=0)
    with pytest.raises(fnn.InputError, match="class_weight: expected a task with one loss"):
        fnn.fit(task_of(), ts, (X, Y), class_weight="balanced", verbose=0)
