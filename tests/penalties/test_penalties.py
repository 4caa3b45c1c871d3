"""Penalties and constraints of parameters, and penalties of activities, against Keras and plain NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import registry

import fnn
from fnn import penalties

keras = pytest.importorskip("keras", reason="Keras is the reference here")

KEY = jax.random.key(3)


@pytest.fixture
def params(rng):
    """Parameters of a small model, all different, some negative."""

    def draw(*shape):
        return jnp.asarray(rng.normal(0.1, 1.0, shape).astype("f"))

    return {
        "conv": {"kernel": draw(2, 3, 4, 5), "bias": draw(5)},
        "dense": {"kernel": draw(5, 3), "bias": draw(3)},
        "lstm": {"kernel": draw(3, 8), "recurrent_kernel": draw(2, 8), "bias": draw(8)},
    }


def arrays(params, *names):
    return [params[name.partition("/")[0]][name.partition("/")[2]] for name in names]


# ---------------------------------------------------------------------------------------------- penalties of parameters
KERNELS = ("conv/kernel", "dense/kernel", "lstm/kernel", "lstm/recurrent_kernel")
CASES = {
    "l1": (penalties.l1(0.03), keras.regularizers.L1(0.03), KERNELS),
    "l2": (penalties.l2(0.02), keras.regularizers.L2(0.02), KERNELS),
    "l1l2": (penalties.l1l2(0.03, 0.02), keras.regularizers.L1L2(0.03, 0.02), KERNELS),
    "one path": (penalties.l2(0.5, "dense/bias"), keras.regularizers.L2(0.5), ("dense/bias",)),
    "a whole layer": (penalties.l1(0.1, "dense"), keras.regularizers.L1(0.1), ("dense/kernel", "dense/bias")),
    "several": (penalties.l1(0.1, ["dense", "*/kernel"]), keras.regularizers.L1(0.1), (*KERNELS[:3], "dense/bias")),
    "a function": (penalties.l2(0.1, lambda p: p.endswith("t_kernel")), keras.regularizers.L2(0.1), KERNELS[3:]),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_match_keras(params, name):
    ours, theirs, chosen = CASES[name]

    def reference(params):
        return sum(theirs(w) for w in arrays(params, *chosen))

    both = jax.jit(lambda params: [jax.value_and_grad(fn)(params) for fn in (ours, reference)])
    (value, slope), (expected, expected_slope) = both(params)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, expected, 1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), slope, expected_slope)
    touched = {path for path, leaf in fnn.paths(slope).items() if np.any(np.asarray(leaf) != 0)}
    assert touched == set(chosen)


def test_a_total_is_the_sum(params):
    parts = [penalties.l2(0.1), penalties.l1(0.2, "*bias"), lambda p: jnp.max(p["dense"]["bias"])]
    each, total = jax.jit(lambda params: ([part(params) for part in parts], penalties.total(*parts)(params)))(params)
    np.testing.assert_allclose(total, sum(map(float, each)), 1e-6)


def test_the_default_pattern_matches_the_kernel_of_a_bare_layer():
    assert float(penalties.l2(1.0)({"kernel": jnp.array([2.0]), "bias": jnp.array([9.0])})) == 4.0


def test_half_precision_is_summed_in_float32():
    kernel = jnp.asarray(np.full((40, 100), 0.01), jnp.bfloat16)
    value, slope = jax.jit(jax.value_and_grad(penalties.l1(1.0)))({"kernel": kernel})
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 4000 * float(np.asarray(kernel)[0, 0]), 1e-4)
    assert slope["kernel"].dtype == jnp.bfloat16


def test_terms_with_a_rate_of_zero_are_omitted():
    assert float(penalties.l1l2(0.0, 0.0)({"kernel": jnp.array([jnp.inf])})) == 0
    assert float(penalties.l1l2(0.0, 1.0)({"kernel": jnp.array([2.0])})) == 4.0


def test_the_derivative_with_respect_to_the_rate_is_the_norm(params):
    slope = jax.jit(jax.grad(lambda rate: penalties.l1(rate, "dense/kernel")(params)))(0.1)
    np.testing.assert_allclose(slope, np.abs(np.asarray(params["dense"]["kernel"])).sum(), 1e-6)


# ---------------------------------------------------------------------------------------------------------- constraints
@pytest.mark.parametrize(
    ("kind", "axis"),
    [
        *(("max_norm", axis) for axis in (0, -1, (0, 1, 2))),
        *(("unit_norm", axis) for axis in (0, -1, (0, 1, 2))),
        ("non_negative", 0),
    ],
)
def test_constraints_match_keras(params, kind, axis):
    ours, theirs = {
        "max_norm": (penalties.max_norm(1.3, "conv/kernel", axis=axis), keras.constraints.MaxNorm(1.3, axis)),
        "unit_norm": (penalties.unit_norm("conv/kernel", axis=axis), keras.constraints.UnitNorm(axis)),
        "non_negative": (penalties.non_negative("conv/kernel"), keras.constraints.NonNeg()),
    }[kind]
    before = np.asarray(params["conv"]["kernel"])

    @jax.jit
    def both(params):
        new = ours(params)
        for path, leaf in fnn.paths(new).items():
            assert (leaf is fnn.paths(params)[path]) == (path != "conv/kernel")
        return new["conv"]["kernel"], theirs(params["conv"]["kernel"])

    new, expected = both(params)
    np.testing.assert_allclose(new, expected, 1e-6)
    assert np.abs(np.asarray(new) - before).max() > 0.1


def test_only_columns_beyond_the_limit_are_scaled():
    kernel = np.array([[3.0, 0.3], [4.0, -0.4]], "float32")
    new = jax.jit(penalties.max_norm(2.0))({"kernel": kernel})["kernel"]
    np.testing.assert_allclose(new, [[1.2, 0.3], [1.6, -0.4]], 1e-6)


def test_a_chain_applies_in_order():
    params = {"kernel": np.array([[-3.0], [4.0]], "float32")}
    first = jax.jit(penalties.chain(penalties.non_negative(), penalties.unit_norm()))(params)["kernel"]
    second = jax.jit(penalties.chain(penalties.unit_norm(), penalties.non_negative()))(params)["kernel"]
    np.testing.assert_allclose(first, [[0.0], [1.0]], 1e-6)
    np.testing.assert_allclose(second, [[0.0], [0.8]], 1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_constraints_keep_the_dtype(dtype):
    params = {"kernel": jax.ShapeDtypeStruct((2, 2), dtype)}
    for constraint in (penalties.max_norm(2.0), penalties.unit_norm(), penalties.non_negative()):
        assert jax.eval_shape(constraint, params)["kernel"].dtype == jnp.dtype(dtype)


def test_dead_units_have_finite_gradients():
    dead = np.zeros((3, 2), "float32")
    for constraint in (penalties.max_norm(2.0), penalties.unit_norm()):
        slope = jax.jit(jax.grad(lambda k, c=constraint: c({"kernel": k})["kernel"].sum()))(dead)
        assert np.isfinite(slope).all()


# ------------------------------------------------------------------------------------------------ in training, as Keras
def keras_twin(model, params, built):
    """A built Keras model with the weights of dense layers by name."""
    model.build(built)
    for layer in model.layers:
        if layer.name in params:
            # Copies, since Keras frees the memory of its variables during training.
            layer.set_weights([np.array(params[layer.name][name]) for name in ("kernel", "bias")])
    return model


def same_weights(model, params):
    for layer in model.layers:
        if layer.name in params:
            kernel, bias = layer.get_weights()
            np.testing.assert_allclose(params[layer.name]["kernel"], kernel, 2e-5, 2e-6)
            np.testing.assert_allclose(params[layer.name]["bias"], bias, 2e-5, 2e-6)


@pytest.fixture
def data(rng):
    """22 rows: batches of 8, 8 and 6."""
    x = rng.normal(0.2, 1.0, (22, 4)).astype("f")
    y = (x @ rng.normal(size=(4, 2)) + rng.normal(0, 0.1, (22, 2))).astype("f")
    return x, y, rng.uniform(0.2, 2.0, 22).astype("f")


@pytest.mark.slow
def test_training_with_penalties_and_constraints_equals_keras(data):
    x, y, weight = data
    model = fnn.Sequential(fnn.Dense(5, activation="tanh"), fnn.Dense(2))
    task = fnn.Task(
        model,
        "mse",
        fnn.adam(0.05),
        penalty=penalties.total(penalties.l1l2(0.02, 0.01, "dense/kernel"), penalties.l2(0.3, "dense_1/bias")),
        constraint=penalties.chain(penalties.max_norm(0.9, "dense/kernel"), penalties.non_negative("dense_1/kernel")),
    )
    ts = fnn.init(task, KEY, x[:1])
    twin = keras.Sequential(
        [
            keras.layers.Dense(
                5,
                "tanh",
                name="dense",
                kernel_regularizer=keras.regularizers.L1L2(0.02, 0.01),
                kernel_constraint=keras.constraints.MaxNorm(0.9),
            ),
            keras.layers.Dense(
                2,
                name="dense_1",
                bias_regularizer=keras.regularizers.L2(0.3),
                kernel_constraint=keras.constraints.NonNeg(),
            ),
        ]
    )
    keras_twin(twin, ts.params, (None, 4))
    twin.compile(keras.optimizers.Adam(0.05), "mse")
    seen = twin.fit(x, y, 8, epochs=3, sample_weight=weight, shuffle=False, verbose=0).history["loss"]
    ts, history = fnn.fit(task, ts, data, epochs=3, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(history["loss"], seen, 1e-5)
    same_weights(twin, ts.params)
    assert np.linalg.norm(ts.params["dense"]["kernel"], axis=0).max() == pytest.approx(0.9, abs=1e-3), "it must act"
    assert np.asarray(ts.params["dense_1"]["kernel"]).min() == 0
    expected = twin.evaluate(x, y, sample_weight=weight, batch_size=8, verbose=0)
    assert fnn.evaluate(task, ts, data, batch_size=11)["loss"] == pytest.approx(expected, rel=1e-5)


def test_tasks_made_alike_share_their_program(data):
    def step(rate, where, limit):
        model_task = base.replace(penalty=penalties.l2(rate, where), constraint=penalties.max_norm(limit))
        fnn.train_step(model_task, ts, data)
        return fnn.train_step._cache_size()

    base = fnn.Task(fnn.Dense(2), "mse", "sgd")
    ts = fnn.init(base, KEY, data[0])
    jax.clear_caches()  # another file may have run the same programs
    assert step(0.1, ["kernel"], 2.0) == 1
    assert step(np.float64(0.1), ["kernel"], 2.0) == 1
    assert step(0.2, ["kernel"], 2.0) == 2


def test_equal_when_made_alike():
    def chosen(path):
        return path == "kernel"

    alike = [
        lambda: penalties.l1(0.1),
        lambda: penalties.l1l2(0.1, 0.2, ["a", "b"]),
        lambda: penalties.total(penalties.l1(0.1, chosen), penalties.l2(1)),
        lambda: penalties.chain(penalties.max_norm(2, axis=[0, 1]), penalties.unit_norm(), penalties.non_negative()),
    ]
    made, again = ([make() for make in alike] for _ in range(2))
    assert made == again
    assert len(set(made + again)) == len(alike)
    assert penalties.l1(0.1) != penalties.l1l2(0.1)
    rate = jnp.float32(0.1)
    assert penalties.l1(rate) == penalties.l1(rate) != penalties.l1(jnp.float32(0.1))
    assert repr(penalties.l1(0.1)) == "l1(0.1)"


@pytest.mark.slow
def test_rates_and_limits_are_swept_under_vmap(data):
    x, y = (a[:3] for a in data[:2])

    def trial(rate, limit):
        task = fnn.Task(
            fnn.Dense(2), "mse", fnn.sgd(0.1), penalty=penalties.l2(rate), constraint=penalties.max_norm(limit)
        )
        return fnn.train_step(task, fnn.init(task, KEY, x), (x, y))

    rates, limits = jnp.array([0.3, 0.1]), jnp.array([9.0, 0.5])
    together, logs_together = jax.jit(jax.vmap(trial))(rates, limits)
    for i in range(2):
        alone, logs = trial(float(rates[i]), float(limits[i]))
        np.testing.assert_allclose(together.params["kernel"][i], alone.params["kernel"], 1e-5)
        np.testing.assert_allclose(logs_together["loss"][i], logs["loss"], 1e-5)
    assert np.linalg.norm(together.params["kernel"][1], axis=0).max() == pytest.approx(0.5, abs=1e-4)


# ---------------------------------------------------------------------------------------------- penalties of activities
@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 3), (6,)])
def test_activity_penalty_matches_keras(rng, shape):
    x = jnp.asarray(rng.normal(0.3, 1.0, shape).astype("f"))
    regularizer = keras.regularizers.L1L2(0.3, 0.7)

    @jax.jit
    def both(x):
        layer = keras.layers.ActivityRegularization(0.3, 0.7)
        layer(x)
        ours = jax.value_and_grad(partial(fnn.activity_penalty, l1=0.3, l2=0.7))(x)
        return ours, (layer.losses[0], jax.grad(regularizer)(x) / len(x))

    (value, slope), (expected, expected_slope) = both(x)
    np.testing.assert_allclose(value, expected, 1e-6)
    np.testing.assert_allclose(slope, expected_slope, 1e-6)


def test_activity_penalty_in_half_precision_and_without_terms():
    x = jnp.full((2, 3000), 0.01, jnp.bfloat16)
    assert fnn.activity_penalty(x, 1.0).dtype == jnp.float32
    np.testing.assert_allclose(fnn.activity_penalty(x, 1.0), 3000 * float(x[0, 0]), 1e-4)
    assert float(fnn.activity_penalty(jnp.array([[3.0], [jnp.inf]]))) == 0
    assert float(fnn.activity_penalty(jnp.float32(-3.0), l1=2.0)) == 6.0


def activity_model(l1=0.2, l2=0.1):
    return fnn.Sequential(fnn.Dense(5, activation="tanh"), fnn.ActivityRegularization(l1, l2), fnn.Dense(2))


@pytest.mark.slow
def test_training_with_an_activity_penalty_equals_keras(data):
    x, y, weight = data
    task = fnn.Task(activity_model(), "mse", fnn.sgd(0.1, 0.9))
    ts = fnn.init(task, KEY, x[:1])
    layers = keras.layers
    twin = keras.Sequential(
        [
            layers.Dense(5, "tanh", name="dense"),
            layers.ActivityRegularization(0.2, 0.1),
            layers.Dense(2, name="dense_1"),
        ]
    )
    keras_twin(twin, ts.params, (None, 4))
    twin.compile(keras.optimizers.SGD(0.1, 0.9), "mse")
    seen = twin.fit(
        x, y, 8, epochs=3, sample_weight=weight, shuffle=False, verbose=0, validation_data=(x[:5], y[:5])
    ).history
    ts, history = fnn.fit(
        task, ts, data, epochs=3, batch_size=8, shuffle=False, verbose=0, validation_data=(x[:5], y[:5])
    )
    np.testing.assert_allclose(history["loss"], seen["loss"], 1e-5)
    np.testing.assert_allclose(history["val_loss"], seen["val_loss"], 1e-5)
    same_weights(twin, ts.params)
    expected = twin.evaluate(x, y, sample_weight=weight, batch_size=8, verbose=0)
    for batch_size in (8, 100):
        found = fnn.evaluate(task, ts, data, batch_size=batch_size)["loss"]
        assert found == pytest.approx(expected, rel=1e-5), batch_size
    streamed = fnn.evaluate(task, ts, [tuple(a[i : i + 9] for a in data) for i in (0, 9, 18)], batch_size=4)["loss"]
    assert streamed == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_run_adds_it_as_fit_does(data):
    x, y, _ = data
    task = fnn.Task(activity_model(), "mse", fnn.sgd(0.1))
    ts = fnn.init(task, KEY, x[:1])
    options = {"epochs": 2, "batch_size": 8, "validation_data": (x[:5], y[:5])}
    by_fit, history = fnn.fit(task, ts, (x, y), **options, eval_batch_size=2, verbose=0)
    by_run, logs = fnn.run(task, ts, (x, y), **options, eval_batch_size=3)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history[name], logs[name], 1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), by_run.params, by_fit.params)


def nested(inner):
    """A model with ``inner(rate)`` in every place that takes a layer."""
    return fnn.Sequential(
        fnn.Sequential(fnn.Dense(4), inner(0.3)),
        fnn.Residual(fnn.Dense(4), inner(0.2), shortcut=inner(0.1)),
        inner(0.05),
        fnn.Reshape((2, 2)),
        fnn.Bidirectional(fnn.Sequential(fnn.SimpleRNN(3), inner(0.4))),
        fnn.Dropout(0.3),
        inner(0.15),
        fnn.Dense(2),
    )


@pytest.mark.slow
def test_nested_layers_add_the_penalty_of_their_inputs(data):
    """The reference collects the penalty of each layer's input in a list."""
    x, y, seen = jnp.asarray(data[0][:6]), jnp.asarray(data[1][:6]), []

    def spy(l2):
        def apply(params, state, x, *, key=None, train=False):
            seen.append(l2 * jnp.sum(x**2) / len(x))
            return x, state

        return fnn.Layer(lambda key, x: ({}, {}), apply, name="activity_regularization")

    task = fnn.Task(nested(lambda l2: fnn.ActivityRegularization(l2=l2)), "mse", fnn.sgd(1.0))
    ts, plain = fnn.init(task, KEY, x), nested(spy)

    def loss(params):
        seen.clear()
        out, _ = plain.apply(params, {}, x, key=jax.random.fold_in(ts.key, ts.step), train=True)
        assert len(seen) == 7, "two of them in the two directions of one layer"
        return jnp.mean(jnp.square(out - y)) + sum(seen)

    expected, slope = jax.jit(jax.value_and_grad(loss))(ts.params)
    after, logs = fnn.train_step(task, ts, (x, y))
    np.testing.assert_allclose(logs["loss"], expected, 1e-5)
    jax.tree.map(lambda p, q, g: np.testing.assert_allclose(p - q, g, 1e-4, 1e-6), ts.params, after.params, slope)
    assert jax.tree.structure(after) == jax.tree.structure(ts)
    assert not task.model.per_example


@pytest.mark.slow
def test_activity_rates_are_swept_under_vmap(data):
    x, y = (a[:3] for a in data[:2])

    def trial(l1, l2):
        task = fnn.Task(activity_model(l1, l2), "mse", fnn.sgd(0.1))
        return fnn.train_step(task, fnn.init(task, KEY, x), (x, y))

    rates = jnp.array([[0.0, 0.3], [0.2, 0.1]])
    together, logs_together = jax.jit(jax.vmap(trial))(*rates)
    for i in range(2):
        alone, logs = trial(float(rates[0, i]), float(rates[1, i]))
        np.testing.assert_allclose(logs_together["loss"][i], logs["loss"], 1e-5)
        np.testing.assert_allclose(together.params["dense"]["kernel"][i], alone.params["dense"]["kernel"], 1e-4, 1e-6)


def test_a_masked_sequence_passes_through(rng):
    x, mask = (
        jnp.asarray(rng.normal(size=(2, 3, 4)).astype("f")),
        jnp.array([[True, True, False], [True, False, False]]),
    )
    layer = fnn.ActivityRegularization(l2=1.0)
    _, state = layer.init(KEY, fnn.Masked(x, mask))
    y, state = layer.apply({}, state, fnn.Masked(x, mask))
    assert y.x is x
    assert y.mask is mask
    np.testing.assert_allclose(state["penalty"].value, np.sum(np.asarray(x) ** 2) / 2, 1e-6)


@pytest.mark.slow
def test_half_precision_models_train(data):
    x, y = (jnp.asarray(a, jnp.bfloat16) for a in data[:2])
    task = fnn.Task(activity_model(), "mse", fnn.sgd(0.1))
    ts, before = fnn.train_step(task, fnn.init(task, KEY, x[:1]), (x, y))
    ts, after = fnn.train_step(task, ts, (x, y))
    assert after["loss"] < before["loss"]
    assert ts.state["activity_regularization"]["penalty"].value.dtype == jnp.float32


def test_a_custom_layer_may_add_to_the_loss(data):
    """Several values are summed."""
    x, y, _ = data

    def init(key, x):
        return {"w": jnp.ones(x.shape[-1:])}, {"two": fnn.AddedLoss(jnp.zeros(2))}

    def apply(params, state, x, *, key=None, train=False):
        return params["w"] * x, {"two": fnn.AddedLoss(jnp.stack([params["w"].sum(), jnp.square(x).mean()]))}

    own = fnn.Layer(init, apply, name="own")
    task = fnn.Task(fnn.Sequential(own, fnn.Dense(2)), "mse", fnn.sgd(1.0))
    plain = fnn.Task(fnn.Sequential(fnn.Layer(init, lambda *a, **k: (apply(*a, **k)[0], {})), fnn.Dense(2)), "mse")
    ts = fnn.init(task, KEY, x)
    theirs = ts._replace(params={"layer": ts.params["own"], "dense": ts.params["dense"]}, state={})
    theirs = theirs._replace(opt_state=plain.optimizer.init(theirs.params))
    _, logs = fnn.train_step(task, ts, (x, y))
    _, bare = fnn.train_step(plain, theirs, (x, y))
    np.testing.assert_allclose(logs["loss"], float(bare["loss"]) + 4 + np.square(x).mean(), 1e-5)
    evaluated = fnn.evaluate(task, ts, (x, y), batch_size=6)["loss"]
    np.testing.assert_allclose(evaluated, float(bare["loss"]) + 4 + np.square(x).mean(), 1e-5)


# ------------------------------------------------------------------------------------------------------------ bad input
def test_patterns_without_a_match_are_refused_when_the_task_is_initialized():
    model = fnn.Sequential(fnn.Dense(3), fnn.Dense(2))
    hint = r"Paths: \['dense/bias', 'dense/kernel', 'dense_1/bias', 'dense_1/kernel'\]"
    for wrong in (
        {"penalty": penalties.l2(0.1, "conv*")},
        {"penalty": penalties.total(penalties.l1(0.1), penalties.l2(0.1, ("*kernel", "conv*")))},
        {"constraint": penalties.max_norm(1.0, "conv*")},
        {"constraint": penalties.chain(penalties.non_negative(), penalties.unit_norm("conv*"))},
    ):
        with pytest.raises(fnn.InputError, match=rf"a pattern that matches some parameter, got 'conv\*'. {hint}"):
            fnn.init(fnn.Task(model, "mse", **wrong), KEY, (4,))
    ts = fnn.init(fnn.Task(model, "mse", "sgd"), KEY, (4,))
    other = fnn.Task(model, "mse", "sgd", penalty=penalties.l2(0.1, "conv*"))
    with pytest.raises(fnn.InputError, match=hint):  # with a state made for another task
        fnn.fit(other, ts, (np.ones((3, 4), "f"), np.ones((3, 2), "f")), verbose=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: penalties.l1(-0.1), r"penalties.l1: expected rate in \[0, inf\), got -0.1"),
        (lambda: penalties.l2(float("nan")), r"penalties.l2: expected rate in \[0, inf\), got nan"),
        (lambda: penalties.l2("0.1"), "rate to be a number, got '0.1'"),
        (lambda: penalties.l2([0.1]), r"rate to be a number, got \[0.1\]"),
        (lambda: penalties.l1l2(0.1, jnp.ones(2)), r"l2 to be a floating-point scalar, got float32\[2\]"),
        (lambda: penalties.l1(0.1, 3), r"penalties.l1: expected a pattern such as '\*kernel', .*, got 3"),
        (lambda: penalties.l1(0.1, ()), r"a tuple of patterns, or a function, got \(\)"),
        (lambda: penalties.max_norm(0.0), r"limit in \(0, inf\), got 0"),
        (lambda: penalties.max_norm(1.0, axis=1.5), "axis to be an integer or a tuple of integers, got 1.5"),
        (lambda: penalties.total(), "at least one function of the parameters, got none"),
        (lambda: penalties.chain(penalties.unit_norm(), 3), "functions of the parameters, got 3"),
        (lambda: fnn.ActivityRegularization(l1=-1.0), r"ActivityRegularization: expected l1 in \[0, inf\), got -1"),
        (lambda: fnn.activity_penalty(jnp.ones(2), l2=-1.0), r"activity_penalty: expected l2 in \[0, inf\), got -1"),
        (lambda: fnn.activity_penalty(jnp.ones((2, 1), int)), "a floating-point x, got int32"),
        (lambda: fnn.ActivityRegularization().init(KEY, jnp.ones((2, 1), int)), "a floating-point x, got int32"),
        (lambda: fnn.ActivityRegularization().init(KEY, {"a": 1}), r"one array, or fnn.Masked\(x, mask\), got a dict"),
        (lambda: fnn.ActivityRegularization().apply({}, {}, jnp.ones(2)), "a leaf 'penalty'"),
        (lambda: penalties.l2(0.1)({"kernel": jnp.ones(2, int)}), r"'kernel': .*floating-point dtype"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(fnn.InputError, match=message):
        make()


def test_invalid_results_are_refused():
    def started(**options):
        return fnn.init(fnn.Task(fnn.Dense(2), "mse", **options), KEY, (4,))

    with pytest.raises(fnn.InputError, match=r"distinct axes of an array with 1 axis, got axis=1"):
        started(constraint=penalties.max_norm(1.0, ("kernel", "bias"), axis=1))
    with pytest.raises(
        fnn.InputError, match=r"'kernel': expected distinct axes of an array with 2 axes, got axis=\(0, -2"
    ):
        started(constraint=penalties.unit_norm(axis=(0, -2)))
    with pytest.raises(fnn.InputError, match=r"a function params -> scalar, got one that returns float32\[2\]"):
        started(penalty=lambda params: params["bias"])
    with pytest.raises(fnn.InputError, match=r"penalties.total, .*: expected a scalar, got float32\[2\]"):
        started(penalty=penalties.total(lambda params: params["bias"]))
    with pytest.raises(fnn.InputError, match=r"keeps names, shapes and dtypes, got a difference in \['bias'\]"):
        started(constraint=lambda params: {"kernel": params["kernel"]})
    with pytest.raises(
        fnn.InputError, match=r"keeps names, shapes and dtypes, got a difference in \['kernel', 'kernel'\]"
    ):
        started(constraint=lambda params: params | {"kernel": params["kernel"].T})


def test_every_public_name_is_in_the_table():
    covered = {id(thing) for unit in registry.UNITS for thing in unit.covers}
    made_here = {n: v for n, v in vars(penalties).items() if getattr(v, "__module__", "") == penalties.__name__}
    public = {name: value for name, value in made_here.items() if not name.startswith("_")}
    assert len(public) == 8
    assert all(id(value) in covered and value.__doc__ for value in public.values())


def test_a_layer_with_an_added_loss_must_not_be_per_example():
    def init(key, x):
        return {}, {"size": fnn.AddedLoss(jnp.zeros(()))}

    def apply(params, state, x, *, key=None, train=False):
        return x, {"size": fnn.AddedLoss(jnp.square(x).sum())}

    for per_example in (False, True):
        layer = fnn.Layer(init, apply, per_example=per_example)
        task = fnn.Task(fnn.Sequential(fnn.Dense(2), layer), "mse")
        if per_example:
            with pytest.raises(fnn.InputError, match="keep per_example=False"):
                fnn.init(task, jax.random.key(0), (3,))
        else:
            fnn.init(task, jax.random.key(0), (3,))


@jax.jit
def constrained(kernel):
    """A kernel after each constraint, and the slopes of its bounded norm, by limit."""
    bounded = {}
    for limit in (1.0, 1e-31):
        constraint = penalties.max_norm(limit)
        new, back = jax.vjp(lambda k, constraint=constraint: constraint({"kernel": k})["kernel"], kernel)
        bounded[limit] = new, back(jnp.ones_like(new))[0]
    others = penalties.unit_norm(), penalties.non_negative()
    return bounded, [constraint({"kernel": kernel})["kernel"] for constraint in others]


@pytest.mark.parametrize("scale", [1e20, 6e37, 1.0, 1e-30])
def test_constraints_are_accurate_for_huge_and_tiny_weights(scale):
    kernel = np.array([[3.0, 0.1], [4.0, 0.2]], "float32") * np.float32(scale)
    exact = kernel.astype("float64")
    norms = np.linalg.norm(exact, axis=0)
    bounded, (unit, positive) = constrained(kernel)
    for limit, (new, slope) in bounded.items():
        np.testing.assert_allclose(new, exact * np.minimum(1, limit / norms), 1e-5, 1e-37)
        assert np.isfinite(slope).all()
    np.testing.assert_allclose(unit, exact / (1e-7 + norms), 1e-6)
    np.testing.assert_array_equal(positive, kernel)


def test_max_norm_keeps_weights_within_the_limit():
    kernel = np.array([[3e-9, 0.3, 0.0], [4e-9, 0.4, 0.0]], "float32")
    np.testing.assert_array_equal(jax.jit(penalties.max_norm(1.0))({"kernel": kernel})["kernel"], kernel)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, True, None, "0.5", 1j, [0.1]], ids=repr)
def test_rates_and_limits_out_of_range_are_refused(bad):
    for call in (
        lambda: penalties.l1(bad),
        lambda: penalties.l2(bad),
        lambda: penalties.l1l2(l2=bad),
        lambda: penalties.max_norm(bad),
        lambda: fnn.activity_penalty(jnp.ones((2, 2)), l1=bad),
        lambda: fnn.ActivityRegularization(l2=bad),
    ):
        with pytest.raises(fnn.InputError, match=r"(penalties\.|[aA]ctivity).*: expected (rate|l1|l2|limit)"):
            call()


def test_strict_settings_raise_no_error():
    kernel = np.zeros((3, 2), "float32")
    kernel[0, 0] = 2
    sums = (penalties.l1(0.1), penalties.l2(0.1), penalties.l1l2(0.1, 0.2))
    constraints = (penalties.max_norm(1.0), penalties.unit_norm(), penalties.non_negative())

    @jax.jit
    def slopes(params):
        of_constraints = [jax.grad(lambda p, one=one: one(p)["kernel"].sum())(params) for one in constraints]
        return [jax.grad(one)(params) for one in sums], of_constraints

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        of_sums, of_constraints = slopes({"kernel": kernel})
    for slope in (*of_sums, *of_constraints):
        assert np.isfinite(slope["kernel"]).all()
