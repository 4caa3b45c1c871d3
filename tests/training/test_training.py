"""Task, TrainState, train_step, train_epoch and run: against each other, Keras, and plain JAX."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import OPTIMIZED, assert_close, compilations, some

import fnn


@pytest.fixture(scope="module")
def data():
    """Rows that all differ, with classes that depend on them; 70 rows leave a remainder in batches of 16."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(70, 5)).astype("float32")
    y = (x @ rng.normal(size=(5, 3))).argmax(1).astype("int32")
    return x, y


def classifier(**kwargs):
    """A small model with parameters, layer state and random numbers."""
    model = fnn.Sequential(fnn.BatchNorm(), fnn.Dropout(0.3), fnn.Dense(3))
    return fnn.Task(model, "sparse_categorical_crossentropy", **{"metrics": ("accuracy",), **kwargs})


@pytest.fixture(scope="module")
def task():
    return classifier(optimizer=fnn.sgd(1e-2, momentum=0.5))


@pytest.fixture(scope="module")
def ts(task, data):
    return fnn.init(task, jax.random.key(3), data[0][:1])


def loop(task, ts, data, epochs, batch_size):
    """A hand-written loop over train_step that knows only the documented order of the rows."""
    losses, size = [], len(data[0])
    for _ in range(epochs):
        order = np.asarray(fnn.epoch_order(ts, size))
        total = 0.0
        for start in range(0, size, batch_size):
            rows = order[start : start + batch_size]
            ts, logs = fnn.train_step(task, ts, (data[0][rows], data[1][rows]))
            total += float(logs["loss"]) * len(rows)
        losses.append(total / size)
    return ts, losses


THREE_EPOCHS = {"epochs": 3, "batch_size": 16}


def test_fit_equals_run_equals_epochs_equals_a_loop_over_steps(task, ts, data):
    by_loop, losses = loop(task, ts, data, 3, 16)
    by_run, history = fnn.run(task, ts, data, **THREE_EPOCHS, validation_data=data)
    by_fit, fit_history = fnn.fit(task, ts, data, **THREE_EPOCHS, validation_data=data, verbose=0)
    by_epoch = ts
    for _ in range(3):
        by_epoch, _ = fnn.train_epoch(task, by_epoch, data, batch_size=16)
    for other in (by_run, by_fit, by_epoch):
        assert_close(by_loop, other, 2e-4, 1e-5)
    np.testing.assert_allclose(history["loss"], losses, 1e-5)
    np.testing.assert_allclose(fit_history["loss"], losses, 1e-5)
    assert losses[2] < losses[0]
    assert int(by_fit.step) == 15


def test_fit_in_one_go_equals_fit_in_parts_bit_for_bit(task, ts, data):
    whole, _ = fnn.fit(task, ts, data, epochs=4, batch_size=16, verbose=0)
    part = ts
    for _ in range(2):
        part, _ = fnn.fit(task, part, data, epochs=2, batch_size=16, verbose=1)
    assert_close(whole, part, 0, 0)


@pytest.mark.slow
def test_run_under_vmap_over_seeds_equals_separate_runs(task, data):
    def trial(key):
        return fnn.run(task, fnn.init(task, key, data[0]), data, epochs=2, batch_size=16, validation_data=data)

    keys = jax.random.split(jax.random.key(5), 8)
    together, history = jax.jit(jax.vmap(trial))(keys)
    for i, key in enumerate(keys):
        alone, alone_history = trial(key)
        pick = partial(jax.tree.map, lambda a, i=i: a[i])
        assert_close(pick(together), alone, 1e-3, 1e-4)
        assert_close(pick(history), alone_history, 1e-3, 1e-4)
    assert len(np.unique(np.asarray(history["val_loss"])[:, -1])) == 8


@pytest.mark.slow
def test_a_trial_may_build_its_own_model_and_optimizer_under_vmap(data):
    def trial(rate, dropout, beta):
        model = fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.Dropout(dropout), fnn.Dense(3))
        task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(rate, beta_1=beta))
        start = fnn.init(task, jax.random.key(0), data[0])
        history = fnn.run(task, start, data, epochs=2, batch_size=35)[1]
        return history["loss"]

    rates, drops, betas = jnp.array([1e-3, 1e-1]), jnp.array([0.0, 0.5]), jnp.array([0.9, 0.5])
    together = jax.vmap(trial)(rates, drops, betas)
    for i in range(2):
        np.testing.assert_allclose(together[i], trial(float(rates[i]), float(drops[i]), float(betas[i])), 1e-4)


@pytest.mark.slow
def test_gradient_through_run_equals_finite_differences(x64):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(12, 3))
    y = x @ rng.normal(size=(3, 1)) + 0.1 * rng.normal(size=(12, 1))
    task = fnn.Task(fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Dense(1)), "mse", fnn.adam(0.05))
    ts = fnn.init(task, jax.random.key(1), x)

    def final(rate, weights):
        start = fnn.set_hyper(ts, learning_rate=rate)
        data = (x[:8], y[:8], weights)
        _, history = fnn.run(task, start, data, epochs=2, batch_size=3, validation_data=(x[8:], y[8:]))
        return history["val_loss"][-1]

    weights = jnp.asarray(rng.uniform(0.5, 1.5, size=8))
    by_rate, by_weight = jax.grad(final, argnums=(0, 1))(0.05, weights)
    h = 1e-6
    np.testing.assert_allclose(by_rate, (final(0.05 + h, weights) - final(0.05 - h, weights)) / (2 * h), 1e-5)
    for i in (0, 5):
        e = jnp.zeros(8).at[i].set(h)
        np.testing.assert_allclose(by_weight[i], (final(0.05, weights + e) - final(0.05, weights - e)) / (2 * h), 1e-5)


def test_train_step_equals_plain_jax(data):
    x, y = data[0][:16], data[1][:16]
    weight = np.linspace(0.1, 2, 16, dtype="float32")
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.sgd(0.5))
    ts = fnn.init(task, jax.random.key(0), x)

    def loss(params):
        log_p = jax.nn.log_softmax(x @ params["kernel"] + params["bias"])
        return jnp.mean(-log_p[jnp.arange(16), y] * weight)

    value, grads = jax.jit(jax.value_and_grad(loss))(ts.params)
    new, logs = fnn.train_step(task, ts, (x, y, weight))
    np.testing.assert_allclose(logs["loss"], value, 1e-6)
    assert_close(new.params, jax.tree.map(lambda p, g: np.asarray(p) - 0.5 * np.asarray(g), ts.params, grads))


@pytest.mark.slow
def test_an_optax_optimizer_trains_like_its_fnn_counterpart(data):
    ours, theirs = (classifier(optimizer=o, metrics=()) for o in (fnn.sgd(0.1), optax.sgd(0.1)))
    start = [fnn.init(t, jax.random.key(0), data[0]) for t in (ours, theirs)]
    a, _ = fnn.fit(ours, start[0], data, batch_size=16, epochs=2, verbose=0)
    b, _ = fnn.fit(theirs, start[1], data, batch_size=16, epochs=2, verbose=0)
    assert_close(a.params, b.params)


def test_penalty_and_constraint(data):
    def penalty(params):
        return 0.5 * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))

    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.sgd(0.1), penalty=penalty)
    plain = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), data[0])
    with_penalty, logs = fnn.train_step(task, ts, data)
    without, plain_logs = fnn.train_step(plain, ts, data)
    added = 0.5 * sum((np.asarray(p) ** 2).sum() for p in jax.tree.leaves(ts.params))
    np.testing.assert_allclose(logs["loss"], plain_logs["loss"] + added, 1e-5)
    expected = jax.tree.map(lambda p, w: np.asarray(w) - 0.1 * np.asarray(p), ts.params, without.params)
    assert_close(with_penalty.params, expected)
    evaluated, plain_evaluated = (fnn.evaluate(t, ts, data)["loss"] for t in (task, plain))
    np.testing.assert_allclose(evaluated, plain_evaluated + added, 1e-5)
    positive = fnn.Task(fnn.Dense(3), "mse", constraint=lambda p: jax.tree.map(lambda a: jnp.maximum(a, 0), p))
    new, _ = fnn.train_step(
        positive, fnn.init(positive, jax.random.key(0), data[0]), (data[0], np.eye(3, dtype="f")[data[1]])
    )
    assert min(float(p.min()) for p in jax.tree.leaves(new.params)) == 0


def test_the_last_smaller_batch_trains_unless_dropped(task, ts, data):
    assert int(fnn.train_epoch(task, ts, data, batch_size=16)[0].step) == 5
    assert int(fnn.fit(task, ts, data, batch_size=16, drop_remainder=True, verbose=0)[0].step) == 4
    # Other sizes are other programs, so in less of a model.
    task = fnn.Task(fnn.Sequential(fnn.BatchNorm(), fnn.Dense(3)), task.loss, "sgd")
    ts = fnn.init(task, jax.random.key(0), data[0][:1])
    assert int(fnn.train_epoch(task, ts, data, batch_size=16, drop_remainder=True)[0].step) == 4
    assert int(fnn.train_epoch(task, ts, data, batch_size=100)[0].step) == 1
    assert int(fnn.fit(task, ts, data, batch_size=100, verbose=0)[0].step) == 1


def test_every_row_is_visited_once_per_epoch_in_new_orders(ts):
    first = np.asarray(fnn.epoch_order(ts, 70))
    second = np.asarray(fnn.epoch_order(ts._replace(step=ts.step + 5), 70))
    assert sorted(first) == sorted(second) == list(range(70))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(70))


@pytest.mark.slow
def test_epoch_logs_are_means_over_examples(data):
    """With a learning rate of 0 an epoch's logs are those of evaluate, the smaller batch weighted by its size."""
    model = fnn.Sequential(fnn.Dense(8, activation="tanh"), fnn.Dense(3))
    task = fnn.Task(
        model, "sparse_categorical_crossentropy", fnn.sgd(0.0), metrics=("accuracy", "top_k_accuracy", "f1")
    )
    task = task.replace(metrics=("accuracy", "f1"))
    ts = fnn.init(task, jax.random.key(0), data[0])
    weight = np.linspace(0, 2, 70, dtype="float32")
    for extra in ((), (weight,)):
        logs = fnn.train_epoch(task, ts, (*data, *extra), batch_size=16)[1]
        for batch_size in (7, 16, 70, 1000):
            seen = fnn.evaluate(task, ts, (*data, *extra), batch_size=batch_size)
            for name, value in seen.items():
                np.testing.assert_allclose(logs[name], value, 1e-5)
    predictions = fnn.predict(task, ts, data[0], batch_size=16)
    np.testing.assert_allclose(seen["accuracy"], fnn.metrics.accuracy(predictions, data[1], sample_weight=weight), 1e-6)


def test_predict_in_batches_equals_apply(task, ts, data):
    whole = task.model.apply(ts.params, ts.state, data[0])[0]
    for batch_size in (1, 16, 70, 256):
        np.testing.assert_allclose(fnn.predict(task, ts, data[0], batch_size=batch_size), whole, 1e-5, 1e-6)


def test_inputs_and_outputs_may_be_dicts_and_tuples(data):
    x, y = data

    def init(key, x):
        return fnn.dense_init(key, x["a"].shape[-1], 3), {}

    def apply(params, state, x, *, key=None, train=False):
        return (fnn.dense(params, x["a"]) * x["b"][0], x["a"].sum(1)), state

    def loss(predictions, targets):
        logits, total = predictions
        return fnn.losses.sparse_categorical_crossentropy(logits, targets[0]) + (total - targets[1]) ** 2

    task = fnn.Task(fnn.Layer(init, apply, "two"), loss, fnn.sgd(0.1))
    inputs, targets = {"a": x, "b": (x[:, :1],)}, (y, x.sum(1))
    ts = fnn.init(task, jax.random.key(0), inputs)
    ts, history = fnn.fit(task, ts, (inputs, targets), epochs=2, batch_size=14, validation_split=0.2, verbose=0)
    assert history["val_loss"][1] < history["val_loss"][0]
    logits, total = fnn.predict(task, ts, inputs, batch_size=16)
    assert logits.shape == (70, 3)
    np.testing.assert_allclose(total, x.sum(1), 1e-5)


def test_no_second_compilation(task, ts, data):
    """The second call of each public compiled function, with new values of the same shapes, compiles nothing."""
    other = (data[0][::-1].copy(), data[1][::-1].copy())

    def calls(ts, data):
        fnn.init(task, jax.random.key(7), data[0][:1])
        fnn.train_step(task, ts, data)
        fnn.train_epoch(task, ts, data, batch_size=16)
        fnn.run(task, ts, data, **THREE_EPOCHS, validation_data=data)
        new, _ = fnn.fit(task, ts, data, **THREE_EPOCHS, validation_data=data, verbose=0)
        fnn.evaluate(task, ts, data)
        fnn.predict(task, ts, data[0])
        return new

    new = calls(ts, data)
    with compilations() as count:
        new = calls(new, other)
        calls(fnn.set_hyper(new, learning_rate=0.5, momentum=0.3), data)
    assert count() == 0


@pytest.mark.parametrize("size", [1, 2, 100, 4096, 4097, pytest.param(5000, marks=pytest.mark.slow), 16385])
def test_an_order_holds_each_row_once(task, ts, size):
    order = np.asarray(fnn.epoch_order(ts, size))
    np.testing.assert_array_equal(np.sort(order), np.arange(size))
    assert order.dtype == np.int32
    if size > 2:
        assert order.tolist() != np.asarray(fnn.epoch_order(ts._replace(step=ts.step + 1), size)).tolist()


def test_rows_are_read_without_a_comparison_of_their_numbers(data):
    """Counting negative numbers from the end would be an operation more, which a TPU does not fuse with the gather."""
    from fnn.training.batch import take

    rows = np.array([3, 69, 0, 3])
    for got, a in zip(take(tuple(map(jnp.asarray, data)), jnp.asarray(rows)), data, strict=True):
        np.testing.assert_array_equal(got, a[rows])
    program = str(jax.make_jaxpr(take)(data[0] + jnp.zeros(()), rows))
    assert "gather" in program
    assert not re.search(r"= (lt|select_n) ", program)


@pytest.mark.parametrize("size", [50, pytest.param(5000, marks=pytest.mark.slow)])
def test_orders_are_uniform(size):
    """Where a row goes, where neighbours go, how far apart, and fixed points, over many keys: below and above the size
    from which a bijection takes the place of a sort."""
    from fnn._core.random import permutation

    keys = jax.random.split(jax.random.key(0), 3000)
    # Optimized, as running takes longer than compiling here.
    program = jax.jit(jax.vmap(lambda key: permutation(key, size))).lower(keys)
    orders = np.asarray(program.compile({"xla_backend_optimization_level": 3})(keys))

    def excess(counts):
        """How many standard deviations the chi-square statistic lies from its mean."""
        expected, cells = counts.mean(), len(counts)
        return (((counts - expected) ** 2 / expected).sum() - (cells - 1)) / np.sqrt(2 * (cells - 1))

    def bins(row):
        return orders[:, row] * 10 // size

    for row in (0, 1, size // 2, size - 1):
        assert excess(np.bincount(bins(row), minlength=10)) < 4
    for other in (1, 7, size // 2, size - 1):
        pairs = np.bincount(bins(0) * 10 + bins(other), minlength=100).reshape(10, 10)
        # Two rows cannot share a place, which matters where there are few.
        fair = np.full((10, 10), (size / 10) ** 2) - np.eye(10) * size / 10
        assert ((pairs / 3000 - fair / fair.sum()) ** 2 * 3000 / (fair / fair.sum())).sum() < 99 + 4 * np.sqrt(198)
    for distance in (1, 7, int(np.sqrt(size)), int(np.sqrt(size)) + 1):
        apart = orders[:, distance:] - orders[:, :-distance]
        counts = np.bincount(np.where(apart < 0, apart + size, apart).ravel(), minlength=size)[1:]
        assert excess(counts) < 4
    fixed = (orders == np.arange(size)).sum(1)
    assert abs(fixed.mean() - 1) < 0.08
    assert abs(fixed.var() - 1) < 0.15


def test_the_compilation_counter_counts():
    with compilations() as count:
        jax.jit(lambda x: x * 3 + 1)(jnp.ones(17))
    assert count() >= 1


def test_strict_promotion(task, ts, data, strict_promotion):
    """An error of promotion is raised while tracing."""
    jax.eval_shape(lambda ts: fnn.run(task, ts, data, epochs=1, batch_size=24, validation_data=data), ts)


@pytest.mark.parametrize(
    "dtype", ["bfloat16", *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float64", "float16"))]
)
def test_other_dtypes_are_kept(dtype, data):
    with jax.enable_x64(dtype == "float64"):
        task = classifier(optimizer=fnn.nadam(1e-2))
        x = jnp.asarray(data[0]).astype(dtype)
        ts = fnn.init(task, jax.random.key(0), x)
        ts, history = fnn.fit(task, ts, (x, data[1]), epochs=2, batch_size=35, verbose=0)
        assert {a.dtype for a in jax.tree.leaves(ts.params)} == {jnp.dtype(dtype)}
        wide = {jnp.dtype("float64" if dtype == "float64" else "float32")}
        assert {a.dtype for a in jax.tree.leaves((ts.state, ts.opt_state.slots))} == wide
        assert np.isfinite(history["loss"]).all()


def test_task_is_hashable_and_replaceable(task):
    assert hash(task) == hash(task.replace())
    assert task.replace() == task
    changed = task.replace(optimizer="sgd", loss="mse", metrics=("rmse",))
    assert changed != task
    assert changed.loss is fnn.losses.mean_squared_error
    assert [m.name for m in changed.metrics] == ["rmse"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"loss": "sparse_categorical_crossentropi"}, "Did you mean 'sparse_categorical_crossentropy'"),
        ({"optimizer": "addam"}, "Did you mean 'adam'"),
        ({"metrics": ("acuracy",)}, "Did you mean 'accuracy'"),
        ({"optimizer": fnn.adam}, r"Call it: adam\(1e-3\)"),
        ({"metrics": ("accuracy", "accuracy")}, "metrics of different names"),
        ({"model": fnn.Dense}, "a Layer as model"),
    ],
)
def test_unknown_parts_of_a_task(change, match):
    with pytest.raises(fnn.InputError, match=match):
        fnn.Task(**{"model": fnn.Dense(3), "loss": "mse", **change})


@pytest.mark.parametrize(
    "ending",
    [
        fnn.Dense(3, activation=jax.nn.softmax),
        fnn.Sequential(fnn.Dense(3, activation=jax.nn.softmax), fnn.Reshape((3, 1)), fnn.Flatten()),
        fnn.Sequential(fnn.Dense(3), fnn.Dropout(0.5), fnn.Activation("softmax"), fnn.Reshape((3, 1)), fnn.Flatten()),
    ],
)
def test_softmax_before_a_loss_on_logits_is_rejected(ending, data):
    model = fnn.Sequential(fnn.Dense(4, activation="softmax"), ending)
    with pytest.raises(fnn.InputError, match="ends in softmax"):
        fnn.init(fnn.Task(model, "sparse_categorical_crossentropy"), jax.random.key(0), data[0])
    for loss in (partial(fnn.losses.sparse_categorical_crossentropy, from_logits=False), "mse"):
        jax.eval_shape(partial(fnn.init, fnn.Task(model, loss)), jax.random.key(0), data[0])


def test_sigmoid_before_a_loss_on_logits_is_rejected(data):
    model = fnn.Sequential(fnn.Dense(4, "sigmoid"), fnn.Dense(1, jax.nn.sigmoid))
    for loss in ("binary_crossentropy", "logistic"):
        with pytest.raises(fnn.InputError, match="ends in sigmoid"):
            fnn.init(fnn.Task(model, loss), jax.random.key(0), data[0])
    fnn.init(fnn.Task(fnn.Sequential(model, fnn.Dense(1)), "binary_crossentropy"), jax.random.key(0), data[0])


def test_the_state_of_another_optimizer_is_refused_by_every_function(task, data):
    other = fnn.init(task.replace(optimizer=fnn.rmsprop(0.1)), jax.random.key(0), data[0][:1])
    calls = (
        lambda: fnn.train_step(task, other, data),
        lambda: fnn.train_epoch(task, other, data),
        lambda: fnn.run(task, other, data, epochs=1),
        lambda: fnn.fit(task, other, data, verbose=0),
    )
    for call in calls:
        with pytest.raises(fnn.InputError, match=r"optimizer.*: expected .* got one that lacks .*momentum.*unexpec"):
            call()


def test_init_rejects_invalid_keys(task, data):
    with pytest.raises(fnn.InputError, match=r"jax.random.key\(0\)"):
        fnn.init(task, 0, data[0])
    with pytest.raises(fnn.InputError, match="one PRNG key"):
        fnn.init(task, jax.random.split(jax.random.key(0)), data[0])
    raw = fnn.init(task, jax.random.PRNGKey(3), data[0])
    assert_close(raw.params, fnn.init(task, jax.random.key(3), data[0]).params, 0, 0)
    task = fnn.Task(fnn.Sequential(fnn.Dropout(0.3), fnn.Dense(3)), task.loss, "sgd")  # of the smallest, with a draw
    fnn.fit(task, fnn.init(task, jax.random.PRNGKey(3), data[0]), data, verbose=0)


@pytest.mark.parametrize(
    "name",
    some(
        ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam", "clipped"], "adam", "adadelta", "clipped"
    ),
)
def test_gradient_through_run_is_finite_with_a_dead_input(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3)).astype("f")
    x[:, 1] = 0
    optimizer = fnn.chain(fnn.clip_by_norm(1.0), fnn.sgd(0.1)) if name == "clipped" else getattr(fnn, name)(0.1)
    task = fnn.Task(fnn.Dense(1, use_bias=False), "mse", optimizer)
    ts = fnn.init(task, jax.random.key(0), x)

    def last(rate):
        return fnn.run(task, fnn.set_hyper(ts, learning_rate=rate), (x, x[:, :1]), epochs=2, shuffle=False)[1]["loss"][
            -1
        ]

    slope = jax.jit(jax.grad(last))(0.1)
    assert np.isfinite(slope)
    assert slope != 0


def test_a_task_with_another_loss_looks_its_metrics_up_again(data):
    y = (data[1] > 0).astype("int32")
    logits = fnn.Task(fnn.Dense(1), "binary_crossentropy", metrics=("accuracy",))
    ts = fnn.init(logits, jax.random.key(0), data[0])
    loss = partial(fnn.losses.binary_crossentropy, from_logits=False)
    probabilities = logits.replace(model=fnn.Dense(1, "sigmoid"), loss=loss)
    a, b = (fnn.evaluate(task, ts, (data[0], y)) for task in (logits, probabilities))
    assert a["accuracy"] == b["accuracy"]
    np.testing.assert_allclose(a["loss"], b["loss"], 1e-5)


def test_a_row_of_weight_zero_has_no_effect(data):
    x, y = data[0][:6], data[1][:6].copy()
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), x)
    weight = np.array([1, 1, 0, 1, 1, 1], "f")
    expected, _ = fnn.train_step(task, ts, (x, y, weight))
    y[2] = -1
    new, logs = fnn.train_step(task, ts, (x, y, weight))
    assert np.isfinite(logs["loss"])
    assert_close(new.params, expected.params)


def test_a_key_may_be_layer_state(data):
    def apply(params, state, x, *, key=None, train=False):
        return x * jax.random.uniform(state["key"]), {"key": jax.random.fold_in(state["key"], 1)}

    noisy = fnn.Layer(lambda key, x: ({}, {"key": key}), apply, "noisy")
    task = fnn.Task(fnn.Sequential(noisy, fnn.Dense(3)), "sparse_categorical_crossentropy", "sgd")
    ts, _ = fnn.fit(task, fnn.init(task, jax.random.key(0), data[0]), data, batch_size=35, verbose=0)
    assert "noisy" in ts.state


def test_a_fresh_state_may_be_donated_and_shares_no_memory_with_the_users_arrays(data):
    values = np.full((5, 1), 0.5, "float32")
    rate, weights = jnp.asarray(0.1), jnp.ones((5, 1))
    tied = fnn.Layer(lambda key, x: ({"a": weights, "b": weights}, {}), lambda p, s, x, **_: (x @ (p["a"] + p["b"]), s))
    constant = fnn.Dense(1, kernel_initializer=fnn.initializers.constant(values))
    x, y = data[0][:8], data[0][:8, :1]
    for model in (tied, constant):
        task = fnn.Task(model, "mse", fnn.sgd(rate))
        ts = fnn.init(task, jax.random.key(0), x)
        expected = jax.tree.map(np.array, ts.params)
        values[:] = 7.0
        jax.tree.map(np.testing.assert_array_equal, ts.params, expected)
        jax.jit(partial(fnn.train_step, task), donate_argnums=0)(ts, (x, y))
    assert not rate.is_deleted()
    assert not weights.is_deleted()


def test_init_accepts_a_shape_and_names_the_accepted_types(task, data):
    a, b = fnn.init(task, jax.random.key(0), (5,)), fnn.init(task, jax.random.key(0), data[0])
    assert_close(a, b, 0, 0)
    for x in ({"a": 3.0}, {}, (jax.random.key(0), data[0]), a):
        with pytest.raises(fnn.InputError, match=r"init: expected an array, or a dict or tuple of arrays"):
            fnn.init(task, jax.random.key(0), x)
    with pytest.raises(fnn.InputError, match="a function of the parameters as penalty, got 'l2'"):
        fnn.Task(fnn.Dense(1), "mse", penalty="l2")


@pytest.mark.slow
def test_masks_pass_through_stepwise_layers():
    parts = (
        fnn.Embedding(9, 4, mask_zero=True),
        fnn.Dropout(0.2),
        fnn.LayerNorm(),
        fnn.Dense(5),
        fnn.Activation("tanh"),
    )
    model = fnn.Sequential(*parts, fnn.Bidirectional(fnn.LSTM(3)), fnn.Dense(2))
    ids = np.array([[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 1]])
    task = fnn.Task(model, "sparse_categorical_crossentropy")
    ts, _ = fnn.fit(task, fnn.init(task, jax.random.key(0), ids[:1]), (ids, np.array([0, 1, 1])), verbose=0)
    # Padding changes nothing.
    longer = np.concatenate([ids, np.zeros((3, 2), int)], 1)
    np.testing.assert_allclose(fnn.predict(task, ts, ids), fnn.predict(task, ts, longer), 1e-5)
    wrong = fnn.Sequential(parts[0], fnn.AvgPool())
    with pytest.raises(fnn.InputError, match=r"layer 'avg_pool' \(position 1\) > AvgPool: .*cannot use a mask"):
        wrong.apply(wrong.init(jax.random.key(0), ids)[0], {}, ids)


def test_sequential_explains_arguments_that_are_not_layers():
    with pytest.raises(fnn.InputError, match=r"Call it: Dropout\(\.\.\.\)"):
        fnn.Sequential(fnn.Dense(3), fnn.Dropout)
    with pytest.raises(fnn.InputError, match=r"Use fnn.Activation\('relu'\)"):
        fnn.Sequential(fnn.Dense(3), "relu")


STOPS = [
    (fnn.early_stopping(patience=2),),
    (fnn.early_stopping("val_mae", patience=1, restore_best=False),),
    (fnn.reduce_on_plateau(patience=1, factor=0.2), fnn.early_stopping(patience=3, min_delta=0.05)),
    (fnn.reduce_on_plateau(cooldown=3, patience=1), fnn.early_stopping(patience=4, baseline=0.1, start_from_epoch=2)),
]


@pytest.fixture(scope="module")
def overfitting():
    """A training whose validation loss falls at first and then rises: task, state, data and options."""
    rng = np.random.default_rng(0)
    x, x_val = (rng.normal(size=(16, 6)).astype("float32") for _ in range(2))
    y, y_val = (a[:, :1] + rng.normal(size=(16, 1)).astype("float32") for a in (x, x_val))
    task = fnn.Task(fnn.Sequential(fnn.Dense(16, activation="tanh"), fnn.Dense(1)), "mse", fnn.adam(0.03), ("mae",))
    options = {"epochs": 15, "batch_size": 8, "validation_data": (x_val, y_val)}
    return task, fnn.init(task, jax.random.key(0), x), (x, y), options


@pytest.mark.parametrize("callbacks", [STOPS[0], *(pytest.param(stop, marks=pytest.mark.slow) for stop in STOPS[1:])])
def test_callbacks_in_run_match_those_in_fit(callbacks, overfitting):
    task, ts, data, options = overfitting
    pure, history = fnn.run(task, ts, data, callbacks=callbacks, **options)
    host, seen = fnn.fit(task, ts, data, callbacks=callbacks, verbose=0, **options)
    made = len(seen["loss"])
    assert 2 < made < 15
    assert np.isfinite(history["val_loss"]).sum() == made
    np.testing.assert_allclose(history["val_loss"][:made], seen["val_loss"], 1e-4)
    assert int(pure.step) == int(host.step) == 2 * (int(history["epoch"]) + 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-3, 1e-5), pure.params, host.params)
    assert float(fnn.get_hyper(pure)["learning_rate"]) == pytest.approx(float(fnn.get_hyper(host)["learning_rate"]))


def test_each_member_of_a_vmap_stops_independently(overfitting):
    task, ts, data, options = overfitting

    def trial(rate):
        return fnn.run(task, fnn.set_hyper(ts, learning_rate=rate), data, callbacks=STOPS[0], **options)

    rates = jnp.array([0.1, 0.03, 1e-4])
    together, histories = jax.jit(jax.vmap(trial))(rates)
    epochs = np.isfinite(histories["val_loss"]).sum(1).tolist()
    assert len(set(epochs)) > 1
    assert epochs[2] == 15
    for i, rate in enumerate(rates):
        own, history = trial(rate)
        assert int(history["epoch"]) == int(histories["epoch"][i])
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, 1e-3, 1e-5), together.params, own.params)


def test_equal_callbacks_share_a_program_and_impure_ones_are_rejected(overfitting):
    task, ts, data, options = overfitting
    fnn.run(task, ts, data, callbacks=[fnn.early_stopping(patience=2)], **options)
    with compilations() as count:
        fnn.run(task, ts, data, callbacks=[fnn.early_stopping(patience=2)], **options)
    assert count() == 0
    assert fnn.early_stopping(patience=7) == fnn.early_stopping(patience=7)
    assert fnn.early_stopping(patience=7) != fnn.early_stopping(patience=6)
    assert fnn.reduce_on_plateau(factor=0.5) == fnn.reduce_on_plateau(factor=0.5)
    assert fnn.reduce_on_plateau(factor=0.5) != fnn.reduce_on_plateau(factor=0.4)
    with pytest.raises(fnn.InputError, match="callbacks such as early_stopping"):
        fnn.run(task, ts, data, callbacks=[print], **options)
    for remat in ("yes", 2, None):
        with pytest.raises(fnn.InputError, match="run: expected remat to be True or False, got"):
            fnn.run(task, ts, data, remat=remat, **options)
    with pytest.raises(fnn.InputError, match="'val_loss' in the logs"):
        fnn.run(task, ts, data, callbacks=[fnn.early_stopping()], epochs=2)


def test_reprs_are_short_enough_for_a_notebook(task, ts):
    parts = "BatchNorm(),", "Dropout(0.3),", "Dense(3),"
    model = "".join(f"        {part}\n" for part in parts)
    rest = "    loss='sparse_categorical_crossentropy',\n    optimizer=sgd(0.01, momentum=0.5),\n"
    rest += "    metrics=('accuracy',),\n"
    assert repr(task) == f"Task(\n    Sequential(\n{model}    ),\n{rest})"
    assert repr(ts) == "TrainState(step=0, 28 parameters)"
    assert repr(fnn.Dense(3)) == "Dense(3)"
    assert "penalty=" in repr(task.replace(penalty=fnn.penalties.l2(0.1)))
    assert repr(jax.tree.map(lambda a: None, ts)) == "TrainState(step=None, 0 parameters)"
    assert "parameters)" in str(jax.eval_shape(lambda ts: ts, ts))


def test_a_step_copies_no_matrix_inside_the_loop():
    """Parameters are updated in place, though the products of the way back read them, too."""
    task = fnn.Task(fnn.Sequential(*(fnn.Dense(57, activation="tanh") for _ in range(3)), fnn.Dense(1)), "mse", "adam")
    x, y = jnp.ones((64, 57)), jnp.ones((64, 1))
    ts = fnn.init(task, jax.random.key(0), x)
    program = fnn.train_epoch.lower(task, ts, (x, y), batch_size=16).compile(OPTIMIZED).as_text()
    body = max(re.findall(r"^%?[\w.]*(?:body|region)[\w.]* .*?^}", program, re.S | re.M), key=len)
    assert len(re.findall(r"f32\[57,57\]\S* (?:dot|custom-call|fusion)\(", body)) >= 3, "this is the body of the loop"
    assert re.findall(r"f32\[57,57\]\S* copy\(", body) == []


def test_gradients_pass_unchanged_and_nan_stays_nan():
    from fnn._core.xla import after_all

    grads = {"a": jnp.array([jnp.nan, -0.0, jnp.inf]), "b": jnp.zeros((0, 2)), "c": jnp.array(-3.0, jnp.bfloat16)}
    with jax.numpy_dtype_promotion("strict"):
        jax.tree.map(np.testing.assert_array_equal, after_all(grads), grads)
    assert after_all({}) == {}


def test_a_frozen_part_trains_again_with_another_optimizer():
    x, y = np.eye(4, 3, dtype="f"), np.arange(4, dtype="f")
    model = fnn.Sequential(fnn.Dense(2), fnn.BatchNorm(), fnn.Dense(1))
    task = fnn.Task(model, "mse", fnn.freeze(fnn.sgd(0.1, momentum=0.9), "dense"), ("mae",))
    start = fnn.init(task, jax.random.key(0), x[:1])
    ts, _ = fnn.train_step(task, start, (x, y))
    np.testing.assert_array_equal(ts.params["dense"]["kernel"], start.params["dense"]["kernel"])
    with pytest.raises(fnn.InputError, match=r"write task, ts = fnn\.with_optimizer\(task, ts, optimizer\)"):
        fnn.fit(task.replace(optimizer="adam"), ts, (x, y), verbose=0)
    fine, fine_ts = fnn.with_optimizer(task, ts, "adam")
    assert fine == task.replace(optimizer="adam")
    assert fnn.fingerprint(fine_ts._replace(opt_state=())) == fnn.fingerprint(ts._replace(opt_state=()))
    assert fnn.fingerprint(fine_ts.opt_state) == fnn.fingerprint(fnn.adam().init(ts.params))
    moved, _ = fnn.train_step(fine, fine_ts, (x, y))
    assert (moved.params["dense"]["kernel"] != ts.params["dense"]["kernel"]).any()
    assert int(moved.step) == 2
    for arguments, words in (((model, ts), "an fnn.Task"), ((task, x), "a TrainState")):
        with pytest.raises(fnn.InputError, match=words):
            fnn.with_optimizer(*arguments, "adam")
    with pytest.raises(fnn.InputError, match="freeze: expected a pattern that matches"):
        fnn.with_optimizer(task, ts, fnn.freeze("adam", "convolution"))
