"""An example of weight 0 is as if it were not there, in loss, metrics and gradients, whatever its values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, some

import fnn
from fnn.losses import weighted_sum
from fnn.training.batch import Batch, neutralize_zero_weights
from fnn.training.step import gradients

OUT = 2  # the row of weight 0
NAN, INF, HUGE = np.nan, np.inf, 3e38
DENSE = fnn.Dense(2)


def own_log(p, t):
    """A loss of the user's own, infinite at p = 0, with an infinite slope."""
    return -jnp.log(jnp.sum(p, -1))


def own_square(p, t):
    """The squared error, which overflows."""
    return jnp.sum(jnp.square(p - t), -1)


def floats(rng, size=6, shape=(3,), outputs=2):
    return rng.normal(size=(size, *shape)).astype("f"), rng.normal(size=(size, outputs)).astype("f")


def weights(rng, size=6):
    w = rng.uniform(0.5, 2, size).astype("f")
    w[OUT] = 0
    return w


def removed(tree):
    return jax.tree.map(lambda a: np.delete(np.asarray(a), OUT, 0), tree)


def put(tree, value):
    """The tree with a value in the row of weight 0, in arrays of floats."""

    def one(a):
        a = np.array(a)
        if np.issubdtype(a.dtype, np.floating) or a.dtype == jnp.bfloat16:
            a[OUT] = value
        return a

    return jax.tree.map(one, tree)


def start(task, x):
    """A TrainState of random parameters, of which nothing needs to be compiled."""
    rng = np.random.default_rng(7)
    params, state = jax.eval_shape(task.model.init, jax.random.key(0), jax.tree.map(lambda a: a[:1], x))
    params = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(a.dtype) / 2, params)
    state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), state)
    return fnn.TrainState(params, state, task.optimizer.init(params), jax.random.key(0), np.int32(0))


_step = jax.jit(lambda task, ts, data: gradients(task, ts, Batch(*data)), static_argnums=0)


def check(task, good, bad, w, *, ts=None, gone=True, rtol=1e-5, atol=1e-6):
    """Gradients, totals and layer state with a bad row of weight 0 are those with a good one, and without the row."""
    ts = ts or start(task, good[0])
    found, state, totals = _step(task, ts, (*bad, w))
    assert_close((found, state, totals), _step(task, ts, (*good, w)))
    if gone:
        alone, _, _ = _step(task, ts, (*removed(good), np.delete(w, OUT)))
        assert_close(found, jax.tree.map(lambda g: np.asarray(g) * (len(w) - 1) / len(w), alone), rtol, atol)
    assert any(np.abs(np.asarray(leaf)).max() > 1e-4 for leaf in jax.tree.leaves(found))
    return ts


METRICS = ("mae", "mse", "rmse", "r2")
CLASS_METRICS = ("accuracy", "f1", "top_k_accuracy")


@pytest.mark.parametrize("value", [NAN, INF, -INF, HUGE], ids=str)
@pytest.mark.parametrize("loss", ["mse", "gaussian_nll", own_square], ids=["mse", "gaussian_nll", "own"])
def test_inputs_and_targets_of_a_row_of_weight_zero_are_ignored(loss, value, rng):
    x, y = floats(rng, outputs=1 if loss == "gaussian_nll" else 2)
    task = fnn.Task(DENSE, loss, "sgd", METRICS if loss == "mse" else ())
    w = weights(rng)
    for bad in ((put(x, value), y), (x, put(y, value)), (put(x, value), put(y, value))):
        check(task, (x, y), bad, w)


@pytest.mark.parametrize(
    "loss",
    some(
        ["mae", "mape", "msle", "huber", "binary_crossentropy", "categorical_crossentropy", "logistic"],
        "mape",
        "binary_crossentropy",
        "categorical_crossentropy",
    ),
)
def test_losses_that_overflow(loss, rng):
    x, y = floats(rng)
    y = np.where(y > 0, 1, -1 if loss == "logistic" else 0).astype("f")
    w = weights(rng)
    check(fnn.Task(DENSE, loss, "sgd"), (x, y), (put(x, HUGE), put(y, NAN)), w)


def test_a_custom_loss_with_an_infinite_slope_at_a_finite_row(rng):
    """Kernel and row are positive, but for the row of weight 0, which makes p = 0 exactly."""
    task = fnn.Task(fnn.Dense(2, "relu"), own_log, "sgd")
    x = rng.uniform(0.5, 2, (6, 3)).astype("f")
    y = np.zeros((6, 2), "f")
    w = weights(rng)
    ts = start(task, x)._replace(params={"kernel": np.ones((3, 2), "f"), "bias": np.zeros(2, "f")})
    check(task, (x, y), (put(x, -1.0), y), w, ts=ts)
    # Other rows matter to BatchNorm, so a finite row is not replaced: what the loss hands back is dropped.
    task = fnn.Task(fnn.Sequential(fnn.BatchNorm(), fnn.Dense(1, "relu")), own_log, "sgd")
    ts = start(task, x)
    params = {**ts.params, "dense": {"kernel": np.ones((3, 1), "f"), "bias": np.full(1, 9, "f")}}
    found, _, _ = _step(task, ts._replace(params=params), (put(x, -1e4), y, w))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    "kind",
    ["dropout", "trees", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("recurrent", "conv", "half"))],
)
def test_models(kind, rng):
    w = weights(rng)
    shape, model, dtype = (3,), DENSE, "f"
    if kind == "recurrent":
        shape, model = (4, 3), fnn.Sequential(fnn.LSTM(3), fnn.Dense(2))
    elif kind == "conv":
        shape = (4, 4, 1)
        model = fnn.Sequential(fnn.Conv(2, 3), fnn.MaxPool(2), fnn.Flatten(), fnn.Dense(2))
    elif kind == "dropout":
        model = fnn.Sequential(fnn.Dropout(0.5), fnn.Dense(4, "tanh"), fnn.Dense(2))
    elif kind == "half":
        dtype = "float16"
    x, y = floats(rng, shape=shape)
    x = x.astype(dtype)
    if kind == "trees":

        def apply(params, state, x, *, key=None, train=False):
            out, _ = DENSE.apply(params, {}, x["a"] + x["b"][0])
            return {"out": out, "sum": jnp.sum(out, -1)}, state

        model = fnn.Layer(lambda key, x: DENSE.init(key, x["a"]), apply)
        task = fnn.Task(model, lambda p, t: own_square(p["out"], t["y"]) + jnp.square(p["sum"]), "sgd")
        good = {"a": x, "b": (x * 0.5, np.arange(6))}, {"y": y}
        bad = put(good[0], NAN), put(good[1], INF)
        check(task, good, bad, w)
        return
    # Metrics are for dense rows above; here they matter where predictions have another dtype.
    task = fnn.Task(model, "mse", "sgd", METRICS if kind == "half" else ())
    tolerance = {"rtol": 5e-3, "atol": 5e-4} if kind == "half" else {}  # rounded to float16
    # Dropout draws another mask for fewer rows.
    for value in (NAN, HUGE if kind != "half" else 6e4):
        check(task, (x, y), (put(x, value), y), w, gone=kind != "dropout", **tolerance)


def test_ids_and_labels_out_of_range(rng):
    ids, y = rng.integers(0, 5, (6, 4)), rng.integers(0, 3, 6)
    model = fnn.Sequential(fnn.Embedding(5, 3), fnn.Flatten(), fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy", "sgd", CLASS_METRICS)
    bad_ids, bad_y = ids.copy(), y.copy()
    bad_ids[OUT], bad_y[OUT] = 77, -5
    w = weights(rng)
    ts = check(task, (ids, y), (bad_ids, bad_y), w)
    # fit and evaluate refuse them only in rows that count.
    assert_close(fnn.evaluate(task, ts, (bad_ids, bad_y, w)), fnn.evaluate(task, ts, (ids, y, w)))
    counts = np.where(w == 0, 1, w).astype("f")
    with pytest.raises(fnn.InputError, match=r"data, x: expected ids in \[0, 5\)"):
        fnn.evaluate(task, ts, (bad_ids, y, counts))
    with pytest.raises(fnn.InputError, match=r"expected labels in \[0, 3\)"):
        fnn.evaluate(task, ts, (ids, bad_y, counts))


@pytest.mark.slow
def test_masked_sequences(rng):
    x, y = floats(rng, shape=(4, 3))
    mask = rng.uniform(size=(6, 4)) > 0.3
    task = fnn.Task(fnn.Sequential(fnn.SimpleRNN(3), fnn.Dense(2)), "mse", "sgd")
    bad_mask = mask.copy()
    bad_mask[OUT] = False
    check(task, (fnn.Masked(x, mask), y), (fnn.Masked(put(x, NAN), bad_mask), y), weights(rng))


def test_batch_statistics_see_a_finite_row_and_not_one_with_nan(rng):
    """The first row that counts stands in for a row with NaN; a finite one is a part of the statistics."""
    x, y = floats(rng)
    w = weights(rng)
    task = fnn.Task(fnn.Sequential(fnn.BatchNorm(), fnn.Dense(2)), "mse", "sgd")
    stand_in = x.copy()
    stand_in[OUT] = x[0]
    ts = check(task, (stand_in, y), (put(x, NAN), y), w, gone=False)
    _, state, _ = _step(task, ts, (x, y, w))
    np.testing.assert_allclose(state["batch_norm"]["moving_mean"], 0.01 * x.mean(0), 1e-4, 1e-6)


def test_a_batch_with_only_zero_weights(rng):
    x, y = floats(rng)
    task = fnn.Task(DENSE, "mse", "sgd", penalty=fnn.penalties.l2(0.1))
    ts = start(task, x)
    grads, _, totals = _step(task, ts, (np.full_like(x, NAN), np.full_like(y, HUGE), np.zeros(6, "f")))
    np.testing.assert_allclose(grads["kernel"], 0.2 * ts.params["kernel"], 1e-5)
    np.testing.assert_array_equal(grads["bias"], 0)
    assert np.isfinite(totals["loss"][0])
    ids = fnn.Task(fnn.Sequential(fnn.Embedding(5, 2), fnn.Flatten(), fnn.Dense(2)), "mse", "sgd")
    ts = start(ids, np.zeros((1, 3), int))
    grads, _, _ = _step(ids, ts, (np.full((6, 3), 9), y, np.zeros(6, "f")))
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(grads))


def test_without_weights_the_program_is_unchanged(rng):
    x, y = floats(rng)
    task = fnn.Task(DENSE, "mse", "sgd")
    ts = start(task, x)
    batch = Batch(x, y)
    assert all(a is b for a, b in zip(neutralize_zero_weights(DENSE, batch), batch, strict=False))
    text = str(jax.make_jaxpr(lambda ts, b: gradients(task, ts, b))(ts, batch))
    assert "select_n" not in text
    assert "argmax" not in text
    assert "select_n" in str(
        jax.make_jaxpr(lambda ts, b: gradients(task, ts, b))(ts, batch._replace(weight=weights(rng)))
    )


@pytest.fixture(scope="module")
def job():
    """A task, and data with several bad rows of weight 0 beside the same data with good ones."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(22, 3)).astype("f"), rng.integers(0, 3, 22)
    w = rng.uniform(0.5, 2, 22).astype("f")
    bad_x, bad_y = x.copy(), y.copy()
    for row, value in ((0, NAN), (3, HUGE), (4, INF), (9, NAN), (21, -INF)):
        w[row], bad_x[row], bad_y[row] = 0, value, -1
    model = fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.05, momentum=0.9), ("accuracy", "f1"))
    return task, fnn.init(task, jax.random.key(0), x[:1]), (x, y, w), (bad_x, bad_y, w)


@pytest.mark.slow
def test_fit_with_arrays_chunks_streams_and_class_weights(job):
    task, ts, good, bad = job

    def slices(data):
        return [tuple(a[i : i + 5] for a in data) for i in range(0, 22, 5)]

    options = {"epochs": 2, "batch_size": 5, "verbose": 0}
    for more, given in (
        ({"validation_data": True}, lambda data: data),
        ({"check": "finite"}, lambda data: data),
        ({"chunk_bytes": 200}, lambda data: data),
        ({"class_weight": [1.0, 2.0, 3.0]}, lambda data: data),
        ({}, slices),
        ({"class_weight": [1.0, 2.0, 3.0]}, slices),
    ):
        params, history = [], []
        for data in (bad, good):
            held_out = {"validation_data": data} if "validation_data" in more else {}
            end, logs = fnn.fit(task, ts, given(data), **options | more | held_out)
            params.append(end.params)
            history.append({name: values for name, values in logs.items() if name != "seconds"})
        assert_close(*params)
        assert_close(*history)


@pytest.mark.slow
def test_epoch_run_evaluate_and_derivatives(job):
    task, ts, good, bad = job
    assert_close(fnn.train_epoch(task, ts, bad, batch_size=4)[1], fnn.train_epoch(task, ts, good, batch_size=4)[1])
    ran = [fnn.run(task, ts, data, epochs=2, batch_size=8, validation_data=data)[1] for data in (bad, good)]
    assert_close(*ran)
    for size in (4, 256):
        assert_close(*(fnn.evaluate(task, ts, data, batch_size=size) for data in (bad, good)))
    assert_close(*(fnn.example_gradients(task, ts, data) for data in (bad, good)))
    assert_close(*(fnn.hessian_vector_product(task, ts, data, ts.params) for data in (bad, good)))
    assert_close(*(fnn.influence(task, ts, data, data, damping=1.0, iterations=5) for data in (bad, good)))
    report = [fnn.layer_report(task, ts, data) for data in (bad, good)]
    assert report[0].loss == pytest.approx(report[1].loss, rel=1e-5)


def test_rows_of_nonzero_weight_are_still_checked(job):
    task, ts, _, (x, y, w) = job
    wrong = x.copy()
    wrong[7, 1] = NAN
    with pytest.raises(fnn.InputError, match=r"data, x: expected finite numbers, got 1 NaN .* index \(7, 1\)"):
        fnn.fit(task, ts, (wrong, y, w), verbose=0)
    # A row of weight 0 that was let through counts as soon as its weight does.
    held = jnp.asarray(x)
    fnn.evaluate(task, ts, (held, y, w))
    with pytest.raises(fnn.InputError, match=r"data, x: expected finite numbers"):
        fnn.evaluate(task, ts, (held, y, np.ones_like(w)))


@pytest.mark.slow
def test_an_ensemble(job):
    task, _, good, bad = job
    found = [fnn.ensemble(task, jax.random.key(1), data, members=2, epochs=1, verbose=0) for data in (bad, good)]
    assert_close(*(one.evaluate(bad) for one in found))
    assert_close(found[1].evaluate(bad), found[1].evaluate(good))


def test_derivatives_with_respect_to_the_weights(job, x64):
    """``l_i / batch``, and by definition 0 where a weight is exactly 0."""
    task, ts, (x, y, w), (bad_x, bad_y, _) = job
    task = task.replace(metrics=())
    values = jax.jit(lambda x: task.loss(task.model.apply(ts.params, ts.state, x)[0], y))(x)

    def loss(w):
        total, count = gradients(task, ts, Batch(bad_x, bad_y, w))[2]["loss"]
        return total / count

    by_weight, totals = jax.jit(lambda w: (jax.grad(loss)(w[0]), jax.vmap(loss)(w)))(np.stack([w, 2 * w]))
    np.testing.assert_allclose(by_weight, np.where(w == 0, 0, values / len(w)), 1e-4)
    np.testing.assert_allclose(totals[1], 2 * totals[0], 1e-5)
    assert weighted_sum(jnp.array([NAN, 1.0]), jnp.array([0.0, 2.0]))[0] == 2


@pytest.mark.slow
def test_ordinary_training_raises_no_nan_error(job):
    """With `jax.debug_nans`, also after `early_stopping` ends a `run`, whose history is then NaN on purpose."""
    task, ts, (x, y, w), _ = job
    data, stop = (x, y, w), fnn.early_stopping("loss", patience=1, min_delta=10.0)
    with jax.debug_nans(True):
        fnn.train_step(task, ts, data)
        fnn.train_epoch(task, ts, data, batch_size=8)
        fnn.fit(task, ts, data, validation_data=data, epochs=2, batch_size=8, callbacks=[stop], verbose=0)
        fnn.evaluate(task, ts, data)
        fnn.predict(task, ts, x)
        _, history = fnn.run(task, ts, data, epochs=4, batch_size=8, validation_data=data, callbacks=[stop])
    assert np.isfinite(history["loss"][:2]).all()
    assert np.isnan(history["val_loss"][2:]).all()


def test_an_example_whose_steps_all_weigh_zero_is_ignored(rng):
    """Of an example whose steps all have weight 0, not even NaN among its inputs reaches the parameters."""
    x, _ = floats(rng, shape=(4, 3))
    y = rng.normal(size=(6, 4, 1)).astype("f")
    w = rng.uniform(0.5, 2, size=(6, 4)).astype("f")
    w[OUT] = 0
    task = fnn.Task(fnn.Sequential(fnn.SimpleRNN(3, return_sequences=True), fnn.Dense(1)), "mse", "sgd")
    masked = fnn.Masked(x, np.ones((6, 4), bool))
    ts = start(task, masked)
    want, _, _ = _step(task, ts, (masked, y, w))
    got, _, _ = _step(task, ts, (fnn.Masked(put(x, NAN), masked.mask), y, w))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), got, want)
