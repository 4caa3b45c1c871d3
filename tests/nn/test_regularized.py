"""Penalties and constraints given to a layer, against Keras's and against those given to the task."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

RNG = np.random.default_rng(4)
X = RNG.normal(size=(6, 5, 3)).astype("float32")
Y = RNG.normal(size=(6, 2)).astype("float32")
KEY = jax.random.key(0)


def small(task, ts, batch):
    """Parameters and loss after one step."""
    ts, logs = fnn.train_step(task, ts, batch)
    return ts.params, logs["loss"]


@pytest.mark.slow
def test_against_keras():
    keras = pytest.importorskip("keras")
    layers, limit = keras.layers, keras.constraints.MaxNorm(0.5)
    l1, l2, l1l2 = keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2
    model = fnn.Sequential(
        fnn.LSTM(4, kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer=fnn.penalties.l2(0.3)),
        fnn.Dense(3, "tanh", kernel_regularizer="l1_l2", kernel_constraint=fnn.penalties.max_norm(0.5)),
        fnn.Dense(2, use_bias=False, kernel_constraint="unit_norm", bias_regularizer="l2"),
    )
    task = fnn.Task(model, "mse", fnn.sgd(0.1))
    ts = fnn.init(task, KEY, X)
    peer = keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.LSTM(4, kernel_regularizer=l2(0.01), recurrent_regularizer=l1(0.01), bias_regularizer=l2(0.3)),
            layers.Dense(3, "tanh", kernel_regularizer=l1l2(0.01, 0.01), kernel_constraint=limit),
            layers.Dense(2, use_bias=False, kernel_constraint="unit_norm", bias_regularizer="l2"),
        ]
    )
    peer.compile(keras.optimizers.SGD(0.1), "mse")
    names = [("lstm", "kernel"), ("lstm", "recurrent_kernel"), ("lstm", "bias"), ("dense", "kernel"), ("dense", "bias")]
    names.append(("dense_1", "kernel"))
    peer.set_weights([np.array(ts.params[layer][leaf]) for layer, leaf in names])
    params, loss = small(task, ts, (X, Y))
    np.testing.assert_allclose(loss, peer.train_on_batch(X, Y), rtol=1e-5)
    for (layer, leaf), theirs in zip(names, peer.get_weights(), strict=True):
        np.testing.assert_allclose(params[layer][leaf], theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_layers_and_tasks_agree_in_every_container():
    """The penalties of layers inside others are found under their parameters, however deep."""

    def model(**weights):
        def forward(layers, x):
            return layers.head(layers.blocks[1](layers.blocks[0](x)) + layers.blocks[0](x))

        blocks = [fnn.Residual(fnn.Dense(3, "tanh", **weights), shortcut=fnn.Dense(3)), fnn.Dense(3)]
        inner = fnn.Model(forward, blocks=blocks, head=fnn.Dense(4, **weights))
        return fnn.Sequential(inner, fnn.Bidirectional(fnn.GRU(2, **weights)), fnn.Dense(2))

    where = ("*/body/dense/kernel", "*/head/kernel", "*ward/kernel")
    limit = fnn.penalties.max_norm(0.4, where)
    inside = fnn.Task(model(kernel_regularizer="l2", kernel_constraint=fnn.penalties.max_norm(0.4)), "mse", "sgd")
    outside = fnn.Task(model(), "mse", "sgd", penalty=fnn.penalties.l2(0.01, where), constraint=limit)
    ts = fnn.init(outside, KEY, X)
    both = [small(task, ts, (X, Y)) for task in (inside, outside)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *both)
    plain = fnn.evaluate(fnn.Task(model(), "mse"), ts, (X, Y))["loss"]
    kernels = [leaf for path, leaf in fnn.paths(ts.params).items() if fnn._core.trees.matches(where, path)]
    assert len(kernels) == 4
    added = 0.01 * sum(np.square(np.asarray(leaf, np.float64)).sum() for leaf in kernels)
    np.testing.assert_allclose(fnn.evaluate(inside, ts, (X, Y))["loss"], plain + added, rtol=1e-5)


def test_functions_of_one_array_and_several_penalties():
    model = fnn.Dense(2, kernel_regularizer=lambda w: 2.0 * jnp.max(w))
    task = fnn.Task(model, "mse", penalty=fnn.penalties.l2(0.5))
    x = X[:, 0]
    ts = fnn.init(task, KEY, x)
    kernel = np.asarray(ts.params["kernel"], np.float64)
    expected = np.square(x @ kernel - Y).mean() + 2 * kernel.max() + 0.5 * np.square(kernel).sum()
    np.testing.assert_allclose(fnn.evaluate(task, ts, (x, Y))["loss"], expected, rtol=1e-5)


def test_such_layers_compare_print_and_copy_by_their_call():
    layer = fnn.Embedding(5, 3, embeddings_regularizer=fnn.penalties.l2(0.1), embeddings_constraint="non_neg")
    assert layer == fnn.Embedding(5, 3, embeddings_regularizer=fnn.penalties.l2(0.1), embeddings_constraint="non_neg")
    assert layer != fnn.Embedding(5, 3, embeddings_regularizer=fnn.penalties.l2(0.2), embeddings_constraint="non_neg")
    assert str(layer) == "Embedding(5, 3, embeddings_regularizer=l2(0.1), embeddings_constraint='non_neg')"
    assert pickle.loads(pickle.dumps(layer)) == copy.deepcopy(layer) == layer
    table = {"embeddings": jnp.array([[-1.0, 2.0, 0.5]])}
    np.testing.assert_allclose(layer.penalty(table), 0.1 * 5.25, rtol=1e-6)
    np.testing.assert_array_equal(layer.constraint(table)["embeddings"], [[0.0, 2.0, 0.5]])


def test_normalization_and_convolution():
    model = fnn.Sequential(
        fnn.Conv(2, 3, kernel_regularizer="l1", bias_constraint="non_negative"), fnn.BatchNorm(gamma_regularizer="l2")
    )
    params, _ = jax.jit(model.init)(KEY, X)
    expected = 0.01 * np.abs(np.asarray(params["conv"]["kernel"])).sum() + 0.01 * 2
    np.testing.assert_allclose(jax.jit(model.penalty)(params), expected, rtol=1e-6)


def test_containers_that_repeat_or_rematerialize():
    block = fnn.Dense(4, "tanh", kernel_regularizer="l2", kernel_constraint=fnn.penalties.max_norm(0.4))
    model = fnn.Sequential(fnn.Dense(4), fnn.Repeated(fnn.Rematerialized(block), 3))
    params, _ = jax.jit(model.init)(KEY, X[:, 0])
    stacked = np.asarray(params["repeated"]["kernel"])
    np.testing.assert_allclose(jax.jit(model.penalty)(params), 0.01 * np.square(stacked).sum(), rtol=1e-5)
    limited = jax.jit(model.constraint)(params)["repeated"]["kernel"]
    expected = [jax.jit(block.constraint)({"kernel": kernel})["kernel"] for kernel in stacked]
    np.testing.assert_allclose(limited, expected, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(limited, axis=1).max(), 0.4, rtol=1e-5)
    steps = fnn.TimeDistributed(fnn.Dense(2, kernel_regularizer="l1"))
    params, _ = jax.jit(steps.init)(KEY, X)
    expected = 0.01 * np.abs(np.asarray(params["dense"]["kernel"])).sum()
    np.testing.assert_allclose(jax.jit(steps.penalty)(params), expected, rtol=1e-5)


def test_a_layer_without_the_parameter_has_no_penalty():
    plain = fnn.LayerNorm(center=False, scale=False, gamma_regularizer="l2", gamma_constraint="unit_norm")
    model = fnn.Sequential(fnn.Dense(3), plain, fnn.Repeated(plain, 2))
    params, _ = jax.jit(model.init)(KEY, X[:, 0])
    assert float(model.penalty(params)) == 0
    assert jax.tree.structure(model.constraint(params)) == jax.tree.structure(params)


@pytest.mark.parametrize(
    "frozen", [lambda rule: fnn.freeze(rule, "body"), lambda rule: fnn.by_path({"body": None, "*": rule})]
)
def test_constraints_leave_frozen_parameters_alone(frozen):
    model = fnn.Sequential(
        fnn.Dense(5, kernel_constraint="unit_norm", name="body"), fnn.Dense(2, kernel_constraint="unit_norm")
    )
    task = fnn.Task(model, "mse", frozen(fnn.sgd(0.1)))
    ts = fnn.init(task, KEY, X[:, 0])
    after, _ = fnn.train_step(task, ts, (X[:, 0], Y))
    np.testing.assert_array_equal(after.params["body"]["kernel"], ts.params["body"]["kernel"])
    np.testing.assert_allclose(np.linalg.norm(after.params["dense"]["kernel"], axis=0), 1, rtol=1e-5)


def test_files_compare_the_options_as_arguments(tmp_path):
    def task(**weights):
        return fnn.Task(fnn.Dense(2, **weights), "mse")

    ts = fnn.init(task(), KEY, X[:, 0])
    assert task(kernel_regularizer=None) == task()
    fnn.save(tmp_path / "plain", ts, task())
    fnn.load(tmp_path / "plain", ts, task(kernel_regularizer=None))
    fnn.save(tmp_path / "l2", ts, task(kernel_regularizer="l2"))
    fnn.load(tmp_path / "l2", ts, task(kernel_regularizer=fnn.penalties.l2(0.01)))
    with pytest.raises(fnn.InputError, match=r"kernel_regularizer 'l2' in the file, .*l1"):
        fnn.load(tmp_path / "l2", ts, task(kernel_regularizer="l1"))
    again, _ = fnn.load(tmp_path / "l2")
    assert again == task(kernel_regularizer="l2")


def test_mistakes():
    with pytest.raises(fnn.InputError, match=r"kernel_regularizer: expected the name.*'l3'.*Did you mean 'l2'"):
        fnn.Dense(3, kernel_regularizer="l3")
    with pytest.raises(fnn.InputError, match=r"kernel_constraint: expected the name.*got 0\.1"):
        fnn.Dense(3, kernel_constraint=0.1)
    with pytest.raises(TypeError, match=r"Dense\(\) got an unexpected keyword argument 'recurrent_regularizer'"):
        fnn.Dense(3, recurrent_regularizer="l2")
    with pytest.raises(TypeError, match=r"'activity_regularizer'\. Add fnn\.ActivityRegularization"):
        fnn.Dense(3, activity_regularizer="l2")
    task = fnn.Task(fnn.Dense(2, kernel_regularizer=jnp.abs), "mse")
    with pytest.raises(fnn.InputError, match=r"Dense, regularizer: .*returns a scalar.*float32\[3, 2\]"):
        fnn.init(task, KEY, X[:, 0])
    task = fnn.Task(fnn.Dense(2, kernel_constraint=jnp.transpose), "mse")
    with pytest.raises(fnn.InputError, match=r"constraint: expected a function params -> params that keeps"):
        fnn.init(task, KEY, X[:, 0])
