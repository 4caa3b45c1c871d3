"""Outputs of inner layers: the values that the layers pass on, by name, in batches and inside transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, compilations

import fnn

RNG = np.random.default_rng(2)
X = RNG.normal(size=(7, 5)).astype("f")


@pytest.fixture(scope="module")
def stack():
    encoder = fnn.Sequential(fnn.Dense(4, "relu"), fnn.Dense(3, "tanh"), name="encoder")
    model = fnn.Sequential(encoder, fnn.Residual(fnn.Dense(3)), fnn.Dropout(0.5), fnn.Dense(2))
    task = fnn.Task(model, "mse")
    return task, fnn.init(task, jax.random.key(0), X)


def by_hand(params):
    """The outputs of the stack in NumPy."""

    def dense(p, x):
        return x @ np.asarray(p["kernel"]) + np.asarray(p["bias"])

    first = np.maximum(dense(params["encoder"]["dense"], X), 0)
    code = np.tanh(dense(params["encoder"]["dense_1"], first))
    body = dense(params["residual"]["body"]["dense"], code)
    return {
        "encoder/dense": first,
        "encoder": code,
        "dense_1": code,
        "residual/body": body,
        "residual": code + body,
        "dropout": code + body,
        "dense": dense(params["dense"], code + body),
    }


def test_every_layer_by_path_or_name(stack):
    task, ts = stack
    want = by_hand(ts.params)
    found = fnn.outputs(task, ts, X, list(want), batch_size=3)
    assert list(found) == list(want)
    for name, value in want.items():
        assert_close(found[name], value, 2e-6, 2e-6)
    assert_close(fnn.outputs(task, ts, X, "encoder/dense"), want["encoder/dense"], 2e-6, 2e-6)
    assert_close(fnn.outputs(task, ts, X.tolist(), ("encoder",))["encoder"], want["encoder"], 2e-6, 2e-6)
    assert np.array_equal(fnn.outputs(task, ts, X, "dense"), fnn.predict(task, ts, X))


def test_a_second_call_compiles_nothing(stack):
    task, ts = stack
    fnn.outputs(task, ts, X, "encoder", batch_size=4)
    with compilations() as count:
        fnn.outputs(fnn.Task(task.model, "mse"), ts, X + 1, "encoder", batch_size=4)
    assert count() == 0


def test_inside_transformations(stack):
    task, ts = stack
    want = by_hand(ts.params)["encoder"]
    assert_close(jax.jit(lambda ts, x: fnn.outputs(task, ts, x, "encoder"))(ts, X), want, 2e-6, 2e-6)
    assert_close(jax.vmap(lambda row: fnn.outputs(task, ts, row[None], "encoder")[0])(jnp.asarray(X)), want, 2e-6, 2e-6)
    slope = jax.grad(lambda x: fnn.outputs(task, ts, x, "encoder").sum())(jnp.asarray(X))
    kernels = [np.asarray(ts.params["encoder"][name]["kernel"]) for name in ("dense", "dense_1")]
    first = by_hand(ts.params)["encoder/dense"]
    assert_close(slope, ((1 - want**2) @ kernels[1].T * (first > 0)) @ kernels[0].T, 2e-6, 2e-6)


def test_calls_of_a_shared_layer_and_the_model_itself():
    def forward(layers, x):
        return layers.stem(x["a"]) - 2 * layers.stem(x["b"])

    task = fnn.Task(fnn.Model(forward, stem=fnn.Sequential(fnn.Dense(3), fnn.Activation("tanh"))), "mse")
    x = {"a": X, "b": X[::-1] + 1}
    ts = fnn.init(task, jax.random.key(0), x)
    names = ["stem", "stem (call 2)", "stem/dense (call 2)", "model"]
    found = fnn.outputs(task, ts, x, names, batch_size=4)
    kernel = np.asarray(ts.params["stem"]["dense"]["kernel"])
    assert_close(found["stem"], np.tanh(X @ kernel), 2e-6, 2e-6)
    assert_close(found["stem/dense (call 2)"], x["b"] @ kernel, 2e-6, 2e-6)
    assert_close(found["model"], np.tanh(X @ kernel) - 2 * np.tanh(x["b"] @ kernel), 2e-6, 2e-6)
    with pytest.raises(
        fnn.InputError, match=r"one of the layers 'stem/dense', .* 'stem \(call 2\)' or 'model', got 'trunk"
    ):
        fnn.outputs(task, ts, x, "trunk")


def test_masked_outputs_single_layers_and_outputs_without_rows():
    ids = np.array([[1, 2, 0], [3, 0, 0], [4, 1, 2]])
    task = fnn.Task(fnn.Sequential(fnn.Embedding(5, 2, mask_zero=True), fnn.GRU(2)), "mse")
    ts = fnn.init(task, jax.random.key(0), ids)
    found = fnn.outputs(task, ts, ids, "embedding", batch_size=2)
    assert isinstance(found, fnn.Masked)
    np.testing.assert_array_equal(found.mask, ids != 0)
    np.testing.assert_array_equal(found.x, ts.params["embedding"]["embeddings"][ids])

    single = fnn.Task(fnn.Dense(2, name="only"), "mse")
    ts = fnn.init(single, jax.random.key(0), X)
    assert_close(fnn.outputs(single, ts, X, "only"), X @ np.asarray(ts.params["kernel"]), 2e-6, 2e-6)

    def reshaped(*shape):
        return fnn.Layer(lambda key, x: ({}, {}), lambda p, s, x, *, key=None, train=False: (x.reshape(shape), s), "to")

    both = fnn.Task(fnn.Sequential(reshaped(-1, 1), reshaped(-1, 5)), "mse")
    ts = fnn.init(both, jax.random.key(0), X)
    np.testing.assert_array_equal(fnn.outputs(both, ts, X, "to", batch_size=3), X.reshape(-1, 1))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("conv_9", r"outputs: expected one of the layers 'encoder/dense', .* or 'dense', got 'conv_9'"),
        ("code", "got 'code'"),
        (3, "expected the name of a layer, or several, got 3"),
        ([], r"expected the name of a layer, or several, got \[\]"),
        (["encoder", 2], "expected the name of a layer, or several"),
    ],
)
def test_names_that_are_not_there(stack, names, message):
    with pytest.raises(fnn.InputError, match=message):
        fnn.outputs(*stack, X, names)


@pytest.mark.slow
def test_layers_inside_loops():
    block = fnn.Residual(fnn.Dense(5, "tanh"))
    lean = fnn.Rematerialized(fnn.Sequential(fnn.Dense(3), fnn.Dense(4)), name="lean")
    task = fnn.Task(fnn.Sequential(fnn.Repeated(block, 2), fnn.TimeDistributed(lean), fnn.Dense(2)), "mse")
    x = np.random.default_rng(0).normal(size=(4, 6, 5)).astype("f")
    ts = fnn.init(task, jax.random.key(0), x)
    last = x
    for i in range(2):
        last, _ = block.apply(jax.tree.map(lambda a, i=i: a[i], ts.params["repeated"]), {}, last)
    names = ["repeated", "time_distributed", "lean"]
    found = fnn.outputs(task, ts, x, names, batch_size=4)
    assert_close(found["repeated"], last, 2e-6, 2e-6)
    assert [found[name].shape for name in names[1:]] == [(4, 6, 4), (24, 4)]
    for name, path, around in (
        ("repeated/body/dense", "repeated/body/dense", "repeated"),
        ("body", "repeated/body", "repeated"),
        ("lean/dense", "time_distributed/lean/dense", "time_distributed/lean"),
    ):
        with pytest.raises(fnn.InputError, match=f"got '{path}', whose values do not exist outside '{around}'"):
            fnn.outputs(task, ts, x, name)
    inner = fnn.Task(fnn.Repeated(block, 2), "mse")
    with pytest.raises(fnn.InputError, match="got 'body', whose values do not exist outside 'repeated'"):
        fnn.outputs(inner, fnn.init(inner, jax.random.key(0), x), x, "body")


def test_a_name_of_several_layers_and_bad_input(stack):
    task, ts = stack
    two = fnn.Sequential(*(fnn.Sequential(fnn.Dense(5), name=name) for name in "ab"))
    twin = fnn.Task(two, "mse")
    with pytest.raises(fnn.InputError, match="the path of one of 'a/dense' or 'b/dense', got 'dense'"):
        fnn.outputs(twin, fnn.init(twin, jax.random.key(0), X), X, "dense")
    with pytest.raises(fnn.InputError, match=r"layer 'encoder' .* expected x of shape \(batch, 5\)"):
        fnn.outputs(task, ts, X[:, :3], "encoder")
    with pytest.raises(fnn.InputError, match=r"^x"):
        fnn.outputs(task, ts, X * np.nan, "encoder")
    with pytest.raises(fnn.InputError, match="expected a TrainState"):
        fnn.outputs(task, ts.params, X, "encoder")
