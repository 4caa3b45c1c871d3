"""Mixed precision, `Task(compute_dtype=...)`: products in half precision, everything else in float32."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import some

import fnn
from fnn.training.batch import Batch
from fnn.training.probe import layer_values
from fnn.training.step import gradients
from fnn.training.totals import results

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 6)).astype("float32")
Y = RNG.integers(0, 3, 12).astype("int32")
STEPS = RNG.normal(size=(12, 5, 4)).astype("float32")
IMAGES = RNG.normal(size=(12, 6, 6, 2)).astype("float32")
IDS = RNG.integers(0, 7, (12, 5)).astype("int32")
KEY = jax.random.key(2)
HALF = ["bfloat16", "float16"]

MODELS = {
    "dense": (lambda: [fnn.Dense(5, activation="relu"), fnn.BatchNorm(), fnn.LayerNorm()], X),
    "conv": (lambda: [fnn.Conv(3, 3), fnn.BatchNorm(), fnn.MaxPool(2), fnn.Flatten()], IMAGES),
    "lstm": (lambda: [fnn.LSTM(3)], STEPS),
    "gru": (lambda: [fnn.GRU(3)], STEPS),
    "one-hot": (lambda: [fnn.OneHot(7), fnn.SimpleRNN(3)], IDS),
    "embedding": (lambda: [fnn.Embedding(400, 4, mask_zero=True), fnn.LSTM(3)], IDS),
    "attention": (lambda: [fnn.Dense(4), fnn.MultiHeadAttention(2, 2), fnn.RMSNorm(), fnn.GlobalAvgPool()], STEPS),
}


def task_of(name="dense", dtype="bfloat16", optimizer="adam", **options):
    model = fnn.Sequential(*MODELS[name][0](), fnn.Dense(3))
    options = {"metrics": ("accuracy",), **options}
    return fnn.Task(model, "sparse_categorical_crossentropy", optimizer, compute_dtype=dtype, **options)


def start(task, x=X):
    return fnn.init(task, KEY, x[:1])


def dtypes(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return {str(leaf.dtype) for leaf in leaves}


def bits(tree):
    def plain(leaf):
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    return [np.asarray(plain(leaf)) for leaf in jax.tree.leaves(tree)]


def assert_same_bits(a, b):
    for one, other in zip(bits(a), bits(b), strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def equations(jaxpr):
    """All operations of a program, those inside others too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for part in jax.tree.leaves(eqn.params, is_leaf=lambda node: hasattr(node, "eqns") or hasattr(node, "jaxpr")):
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


# ------------------------------------------------------------------------------------------------------------- the step
@pytest.mark.parametrize("dtype", some(HALF, "bfloat16"))
def test_values_and_gradients_are_those_of_explicit_casts(dtype, rng):
    params = {
        "dense": {"kernel": rng.normal(size=(6, 4)), "bias": rng.normal(size=4)},
        "dense_1": {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)},
    }
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)

    def bias_of(part, y):  # summed in float32 in the backward pass
        return jnp.broadcast_to(part["bias"].astype(dtype).astype(jnp.float32), y.shape).astype(dtype)

    def logits_of(params):
        one, two = params["dense"], params["dense_1"]
        h = X.astype(dtype) @ one["kernel"].astype(dtype)
        h = jnp.maximum(h + bias_of(one, h), 0)
        y = h @ two["kernel"].astype(dtype)
        return (y + bias_of(two, y)).astype(jnp.float32)

    def loss_of(params, scale):
        losses = -jax.nn.log_softmax(logits_of(params))[jnp.arange(12), Y]
        return scale * (losses.mean() + 0.01 * jnp.square(params["dense"]["kernel"]).sum())

    def by_hand(params):
        scale = 2.0**15 if dtype == "float16" else 1.0
        loss, grads = jax.value_and_grad(loss_of)(params, scale)
        return loss / scale, jax.tree.map(lambda g: g / scale, grads), logits_of(params)

    def ours(params, compute):
        model = fnn.Sequential(fnn.Dense(4, activation="relu"), fnn.Dense(3))
        loss, penalty = "sparse_categorical_crossentropy", fnn.penalties.l2(0.01, where="dense/kernel")
        task = fnn.Task(model, loss, fnn.sgd(1.0), penalty=penalty, compute_dtype=compute)
        grads, _, totals = gradients(task, start(task)._replace(params=params), Batch(X, Y))
        return results(task, totals)["loss"], grads, task.network.apply(params, {}, X)[0]

    # Otherwise XLA may leave out any cast to half precision.
    options = {"xla_allow_excess_precision": False}
    expected = jax.jit(by_hand, compiler_options=options)(params)
    errors = {}
    for compute in (dtype, "float32"):
        found = jax.jit(ours, static_argnums=1, compiler_options=options)(params, compute)
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
        errors[compute] = max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)
    # A float32 product in place of one in half precision would be as far away as the float32 network.
    assert errors[dtype] < 1e-5
    assert errors["float32"] > 100 * errors[dtype]


@pytest.mark.parametrize("name", some(MODELS, "dense", "lstm"))
def test_products_are_in_half_precision_and_all_else_in_float32(name):
    x = MODELS[name][1]
    task = task_of(name, optimizer=fnn.ema("adam"))
    ts = start(task, x)
    program = jax.make_jaxpr(lambda ts, data: fnn.train_step(task, ts, data))(ts, (jnp.asarray(x), jnp.asarray(Y)))
    products = [eqn for eqn in equations(program.jaxpr) if eqn.primitive.name in ("dot_general", "fnn_conv")]
    assert len(products) > 2
    assert {str(v.aval.dtype) for eqn in products for v in eqn.invars[:2]} == {"bfloat16"}
    # A sum over rows in bfloat16 would stop growing.
    sums = [eqn for eqn in equations(program.jaxpr) if eqn.primitive.name in ("reduce_sum", "scatter-add")]
    assert {str(eqn.outvars[0].aval.dtype) for eqn in sums} <= {"float32", "int32"}
    assert dtypes(ts) == dtypes(program.out_avals) == {"float32"}
    after, _ = jax.eval_shape(lambda ts, data: fnn.train_step(task, ts, data), ts, (x, Y))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), (ts.params, ts.state, ts.opt_state)) == jax.tree.map(
        lambda a: (a.shape, a.dtype), (after.params, after.state, after.opt_state)
    )


def test_running_statistics_are_those_of_float32(rng):
    """They are updated by sums in float32 of inputs in bfloat16, and are not rounded to it between steps."""
    x = jnp.asarray(100 + rng.normal(size=(512, 3)), "bfloat16")
    model = fnn.Sequential(fnn.BatchNorm(momentum=0.999), fnn.Dense(1))
    task = fnn.Task(model, "mse", "sgd", compute_dtype="bfloat16")
    ts = start(task, x)
    assert dtypes(ts.params) == {"float32"}  # although the data are in bfloat16
    for _ in range(3):
        ts, _ = fnn.train_step(task, ts, (x, jnp.ones((512, 1))))
    expected = x.astype(jnp.float32).mean(0) * (1 - 0.999**3)
    np.testing.assert_allclose(ts.state["batch_norm"]["moving_mean"], expected, 1e-4)


def test_sums_over_rows_keep_growing():
    ids = jnp.full((1000, 3), 5)
    table = jnp.ones((300, 2), "bfloat16")
    grad = jax.grad(lambda table: fnn.embedding({"embeddings": table}, ids).sum().astype(jnp.float32))(table)
    np.testing.assert_array_equal(grad[5], jnp.full(2, 3000, "bfloat16"))
    params = {"kernel": jnp.ones((3, 2), "bfloat16"), "bias": jnp.ones(2, "bfloat16")}
    grad = jax.grad(lambda p: fnn.dense(p, jnp.ones((3000, 3), "bfloat16")).sum().astype(jnp.float32))(params)
    np.testing.assert_array_equal(grad["bias"], jnp.full(2, 3000, "bfloat16"))


def test_float32_is_what_none_is():
    tasks = task_of(dtype=None), task_of(dtype="float32")
    lowered = [jax.jit(fnn.train_step, static_argnums=0).lower(t, start(t), (X, Y)).as_text() for t in tasks]
    assert lowered[0] == lowered[1]
    assert tasks[0] != tasks[1]
    assert tasks[0].network is tasks[0].model


def test_layer_state_of_the_user_keeps_its_dtype():
    def apply(params, state, x, *, key=None, train=False):
        return x, {"last": x.mean(0), "spread": fnn.AddedLoss(jnp.var(x, 0).mean())}

    def init(key, x):
        return {}, {"last": jnp.zeros(x.shape[1:]), "spread": fnn.AddedLoss(jnp.zeros(()))}

    model = fnn.Sequential(fnn.Dense(3), fnn.Layer(init, apply, name="own"), fnn.Dense(1))
    task = fnn.Task(model, "mse", "sgd", compute_dtype="float16")
    ts, history = fnn.fit(task, start(task), (X, Y), epochs=2, batch_size=5, verbose=0)
    assert dtypes(ts) == {"float32"}
    assert np.isfinite(history["loss"]).all()


# ------------------------------------------------------------------------------------------------------------ the doors
@pytest.mark.slow
def test_every_way_to_train_and_evaluate():
    task = task_of(metrics=("accuracy", "f1"))
    ts, order = start(task), {"epochs": 2, "batch_size": 5}
    fitted, history = fnn.fit(task, ts, (X, Y), validation_data=(X, Y), verbose=0, **order)
    again, logs = fnn.run(task, ts, (X, Y), validation_data=(X, Y), **order)
    for name, values in logs.items():
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(history[name], values, 1e-4, 1e-5)
    assert dtypes((fitted, again)) == {"float32"}
    state = ts
    for _ in range(2):
        state, _ = fnn.train_epoch(task, state, (X, Y), batch_size=5)
    np.testing.assert_allclose(state.params["dense"]["kernel"], fitted.params["dense"]["kernel"], 1e-3, 1e-4)
    assert fnn.evaluate(task, fitted, (X, Y)) == pytest.approx({n[4:]: v[-1] for n, v in history.items() if "val" in n})
    outputs = fnn.predict(task, fitted, X)
    assert outputs.dtype == jnp.float32
    np.testing.assert_allclose(outputs, fnn.outputs(task, fitted, X, "dense_1"), 0.01, 0.01)
    stream = fnn.data.Stream(lambda epoch: iter([(X[:5], Y[:5]), (X[5:], Y[5:])]))
    streamed, _ = fnn.fit(task, ts, stream, epochs=1, verbose=0)
    assert dtypes(streamed) == {"float32"}


def small(dtype, optimizer="sgd"):
    model = fnn.Sequential(fnn.Dense(4, activation="tanh"), fnn.Dense(3))
    return fnn.Task(model, "sparse_categorical_crossentropy", optimizer, metrics=("accuracy",), compute_dtype=dtype)


def trial_of(task):
    def trial(key, learning_rate=0.1):
        ts = fnn.set_hyper(fnn.init(task, key, X[:1]), learning_rate=learning_rate)
        return fnn.run(task, ts, (X, Y), epochs=2, batch_size=6)

    return trial


@pytest.mark.slow
def test_many_runs_at_once_and_derivatives_through_one():
    trial = trial_of(small("float16", fnn.dynamic_loss_scale("sgd", growth_interval=3)))
    keys = jax.random.split(KEY, 3)
    ts, history = jax.jit(jax.vmap(trial))(keys)
    assert history["loss"].dtype == jnp.float32
    np.testing.assert_array_equal(ts.opt_state.loss_scale, 2.0**16)
    for i, key in enumerate(keys):
        alone, own = trial(key)
        np.testing.assert_allclose(history["loss"][i], own["loss"], 2e-3)
        np.testing.assert_allclose(ts.params["dense"]["kernel"][i], alone.params["dense"]["kernel"], 0.01, 1e-3)
    slopes = [
        jax.grad(lambda rate, trial=t: trial(KEY, rate)[1]["loss"][-1])(0.1) for t in (trial, trial_of(small(None)))
    ]
    np.testing.assert_allclose(slopes[0], slopes[1], 0.02)


@pytest.mark.slow
def test_sweep():
    found = fnn.sweep(trial_of(small("bfloat16")), {"key": [KEY], "learning_rate": [0.1, 0.01]}, verbose=0)
    assert found.histories[0]["loss"][1] < found.histories[1]["loss"][1]


@pytest.mark.slow
def test_ensemble_of_half_precision_networks():
    members = fnn.ensemble(task_of(), KEY, (X, Y), members=2, epochs=1, verbose=0)
    assert members.predict(X).mean.dtype == jnp.float32
    assert set(members.evaluate((X, Y))) >= {"loss", "accuracy"}


@pytest.mark.slow
def test_several_outputs_and_probabilities():
    """A softmax last is read before it, through the casts; the whole model trains as with logits."""

    def forward(layers, x):
        h = layers.body(x)
        return {"kind": layers.kind(h), "size": layers.size(h)}

    def two(activation):
        layers = {"body": fnn.Dense(4, activation="tanh"), "kind": fnn.Dense(3, activation=activation)}
        model = fnn.Model(forward, **layers, size=fnn.Dense(1))
        loss = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
        return fnn.Task(model, loss, "sgd", metrics={"kind": "accuracy"}, compute_dtype="bfloat16")

    data = X, {"kind": Y, "size": X[:, :1]}
    (probabilities, a), (logits, b) = (
        fnn.fit(task, start(task), data, epochs=2, batch_size=5, verbose=0) for task in (two("softmax"), two(None))
    )
    assert_same_bits(probabilities.params, logits.params)
    assert a["kind_accuracy"] == b["kind_accuracy"]
    outputs = fnn.predict(two("softmax"), probabilities, X)
    assert dtypes(outputs) == {"float32"}
    np.testing.assert_allclose(outputs["kind"].sum(1), 1, 0.01)


@pytest.mark.slow
def test_inspection():
    task = small("bfloat16")
    ts = start(task, X)
    values = layer_values(task, ts, (X, Y))
    grads, _, _ = jax.jit(lambda ts: gradients(task, ts, Batch(X, Y)))(ts)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
    for one, other in zip(jax.tree.leaves(values.gradients), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(one, other, 0.05, 0.02 * largest)
    assert "" not in values.outputs
    assert values.outputs["dense"].dtype == jnp.bfloat16
    assert "dense" in str(fnn.layer_report(task, ts, (X, Y)))
    ids = np.arange(14, dtype=np.int32)[:, None] % 3
    on_ids = fnn.Task(fnn.Sequential(fnn.OneHot(3), fnn.Flatten(), fnn.Dense(2)), "mse", compute_dtype="bfloat16")
    assert "one_hot" in str(fnn.layer_report(on_ids, start(on_ids, ids), (ids, np.ones((14, 2), "f"))))
    examples = fnn.example_gradients(task, ts, (X, Y))
    np.testing.assert_allclose(examples["dense"]["bias"].mean(0), grads["dense"]["bias"], 0.05, 1e-3)


# --------------------------------------------------------------------------------------------------------- descriptions
@pytest.mark.parametrize("dtype", some(HALF, "float16"))
def test_saved_loaded_and_continued(dtype, tmp_path):
    task = task_with_overflow(dtype)
    data = {"data": (X, 1000 * X[:, :1]), "epochs": 4, "batch_size": 5, "verbose": 0}
    assert f"compute_dtype={dtype!r}" in repr(task)
    assert task == task_with_overflow(jnp.dtype(dtype))
    whole, history = fnn.fit(task, start(task), **data)
    half, _ = fnn.fit(task, start(task), **{**data, "epochs": 2})
    fnn.save(tmp_path / "half.safetensors", half, task)
    loaded, ts = fnn.load(tmp_path / "half.safetensors")
    assert loaded == task
    assert loaded.compute_dtype == dtype
    assert_same_bits(ts, half)
    continued, _ = fnn.fit(loaded, ts, **{**data, "epochs": 2})
    assert_same_bits(continued, whole)
    # The same in fit's own checkpoints, in the middle of an epoch.
    options = {**data, "checkpoint": tmp_path / "run", "every": 5}
    with pytest.raises(KeyboardInterrupt):
        fnn.fit(task, start(task), callbacks=[fnn.on_batch(interrupt, every=5)], **options)
    resumed, after = fnn.fit(task, start(task), **options)
    assert_same_bits(resumed, whole)
    assert after["loss"] == history["loss"]


def interrupt(*args):
    raise KeyboardInterrupt


def task_with_overflow(dtype="float16", growth_interval=4, **options):
    """A regression whose first gradients overflow in float16, with statistics and slots that may not change then."""
    model = fnn.Sequential(fnn.BatchNorm(), fnn.Dense(4, activation="tanh"), fnn.Dense(1))
    optimizer = fnn.rmsprop(0.1, momentum=0.5)
    if dtype == "float16":
        optimizer = fnn.dynamic_loss_scale(optimizer, growth_interval=growth_interval)
    return fnn.Task(model, "mse", optimizer, compute_dtype=dtype, **options)


# --------------------------------------------------------------------------------------------------------- loss scaling
def test_an_overflow_skips_the_step_and_halves_the_scale():
    task = task_with_overflow(constraint=fnn.penalties.unit_norm("*kernel"))
    ts, data = start(task), (X, 1000 * X[:, :1])
    scales, skipped = [], 0
    for i in range(30):
        new, logs = fnn.train_step(task, ts, data)
        scales.append(float(new.opt_state.loss_scale))
        assert np.isfinite(logs["loss"])
        assert int(new.step) == i + 1
        if int(new.opt_state.skipped) > skipped:
            skipped += 1
            assert scales[-1] == float(ts.opt_state.loss_scale) / 2
            assert int(new.opt_state.good_steps) == 0
            assert_same_bits((new.params, new.state, new.opt_state.inner), (ts.params, ts.state, ts.opt_state.inner))
        else:
            assert not np.array_equal(new.params["dense_1"]["kernel"], ts.params["dense_1"]["kernel"])
            assert int(new.opt_state.inner.step) == int(ts.opt_state.inner.step) + 1
        ts = new
    assert scales[0] == 2.0**14
    low = min(scales)
    assert 5 <= scales.index(low) < 20  # falls in each step until the gradients fit
    assert scales[: scales.index(low) + 1] == [2.0 ** (14 - i) for i in range(scales.index(low) + 1)]
    at = scales.index(low)
    assert scales[at : at + 4] == [low] * 4  # that step and three more, and then it grows
    assert scales[at + 4] == 2 * low
    assert skipped == sum(b < a for a, b in zip([2.0**15, *scales], scales, strict=False))


def test_the_scale_leaves_the_gradients_alone():
    """Whatever the scale, a step is that of the gradients; a tiny gradient survives only with one."""
    model = fnn.Dense(1, use_bias=False)
    steps = {}
    for scale in (1.0, 2.0**10):
        optimizer = fnn.dynamic_loss_scale(fnn.sgd(1.0), initial_scale=scale)
        task = fnn.Task(model, lambda p, y: 1e-8 * p[:, 0], optimizer, compute_dtype="float16")
        ts = fnn.init(task, KEY, X[:1])._replace(params={"kernel": jnp.zeros((6, 1))})
        new, _ = fnn.train_step(task, ts, (X, Y))
        steps[scale] = -np.asarray(new.params["kernel"][:, 0])
    np.testing.assert_array_equal(steps[1.0], 0)
    np.testing.assert_allclose(steps[2.0**10], 1e-8 * X.mean(0), 0.02, 1e-10)


def test_a_skipped_step_is_no_failure_but_gradients_without_a_cure_are():
    task = task_with_overflow()
    options = {"epochs": 8, "batch_size": 5, "verbose": 0, "check": "finite"}
    ts, history = fnn.fit(task, start(task), (X, 1000 * X[:, :1]), **options)
    assert int(ts.opt_state.skipped) > 5
    assert history["loss"][-1] < history["loss"][0]

    def undefined(predictions, y):  # its derivative at 0 is NaN
        return jnp.sqrt(jnp.square(predictions).sum(-1))

    optimizer = fnn.dynamic_loss_scale("sgd", initial_scale=2.0**-23)
    task = fnn.Task(fnn.Dense(2, kernel_initializer="zeros"), undefined, optimizer, compute_dtype="float16")
    with pytest.raises(fnn.NonFiniteError, match="gradient"):
        fnn.fit(task, start(task), (X, Y), **options)


def test_the_scale_has_bounds():
    optimizer = fnn.dynamic_loss_scale("sgd", 2.0**23, growth_interval=1)
    state = optimizer.init(jnp.zeros(2))
    for scale in (2.0**24, 2.0**24):
        _, state = optimizer.update(jnp.ones(2), state)
        assert float(state.loss_scale) == scale
    state = state._replace(loss_scale=jnp.float32(2.0**-24))
    updates, state = optimizer.update(jnp.array([jnp.nan, 1.0]), state)
    assert float(state.loss_scale) == 2.0**-24
    assert bool(jnp.isnan(updates[0]))
    assert int(state.skipped) == 0


def test_the_task_adds_the_scale_once():
    own = fnn.dynamic_loss_scale("adam", 2.0**10)
    assert task_of(dtype="float16", optimizer=own).optimizer is own
    task = task_of(dtype="float16")
    assert repr(task.optimizer) == "dynamic_loss_scale(adam())"
    assert task_of(dtype="bfloat16").optimizer == task_of(dtype=None).optimizer
    task, ts = fnn.with_optimizer(task, start(task), fnn.freeze("sgd", "dense/*"))
    assert float(ts.opt_state.loss_scale) == 2.0**15
    after, _ = fnn.train_step(task, ts, (X, Y))
    assert_same_bits(after.params["dense"], ts.params["dense"])


# ------------------------------------------------------------------------------------------------------------- mistakes
class Growing:
    """An optimizer of the user's own whose state changes its shape."""

    def init(self, params):
        return {"seen": jnp.zeros(1)}

    def update(self, grads, state, params=None):
        return grads, {"seen": jnp.concatenate([state["seen"], jnp.ones(1)])}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: task_of(dtype="bf16"), r"Task: expected compute_dtype to be .*bfloat16.*, got 'bf16'"),
        (lambda: task_of(dtype="mixed_float16"), r"got 'mixed_float16'\. Write compute_dtype='float16'"),
        (lambda: task_of(dtype="int8"), r"Task: expected compute_dtype to be .*, got int8"),
        (lambda: task_of(dtype="float8_e4m3fn"), r"Task: expected compute_dtype to be .*, got float8_e4m3fn"),
        (lambda: task_of(dtype=16), r"Task: expected compute_dtype to be .*, got 16"),
        (lambda: task_of(dtype="float64"), r"Task: expected a compute_dtype that JAX has enabled, got float64"),
        (lambda: fnn.dynamic_loss_scale("adam", 0.0), r"dynamic_loss_scale: expected initial_scale"),
        (lambda: fnn.dynamic_loss_scale("adam", growth_interval=0), r"dynamic_loss_scale: expected growth_interval"),
        (
            lambda: fnn.train_step(task_of(dtype="float16"), start(task_of(dtype=None)), (X, Y)),
            r"optimizer state: expected one made .*, got .*with_optimizer",
        ),
        (
            lambda: fnn.train_step(task := task_of(dtype="float16", optimizer=Growing()), start(task), (X, Y)),
            r"dynamic_loss_scale: .* whose update .*, got float32\[2\] for 'seen', before float32\[1\]",
        ),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(fnn.InputError, match=message):
        make()


# ----------------------------------------------------------------------------------------------------------- real data
@pytest.mark.slow
@pytest.mark.skipif("FNN_DATA" not in os.environ, reason="FNN_DATA does not name the folder with real data")
@pytest.mark.parametrize("dtype", HALF)
def test_mnist_is_as_accurate_as_in_float32(dtype):
    data = fnn.data.mnist()
    x_train, x_test = fnn.data.scale_images(data.x_train), fnn.data.scale_images(data.x_test)
    model = fnn.Sequential(fnn.Flatten(), fnn.Dense(128, activation="relu"), fnn.Dropout(0.2), fnn.Dense(10))
    accuracy = {}
    for compute in (dtype, None):
        task = fnn.Task(model, "sparse_categorical_crossentropy", "adam", metrics=("accuracy",), compute_dtype=compute)
        ts = fnn.init(task, KEY, x_train[:1])
        ts, _ = fnn.fit(task, ts, (x_train, data.y_train), epochs=4, batch_size=128, verbose=0)
        accuracy[compute] = fnn.evaluate(task, ts, (x_test, data.y_test))["accuracy"]
    print(accuracy)
    assert accuracy[None] > 0.97
    assert accuracy[dtype] > accuracy[None] - 0.003
