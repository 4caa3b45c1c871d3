"""What one training step computes, layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same

import fnn
from fnn.nn.observe import observe
from fnn.training.batch import Batch
from fnn.training.probe import _tap, layer_values
from fnn.training.step import gradients

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4)).astype("float32")
Y = np.array([0, 2, 1, 1, 2, 0], "int32")
W = RNG.uniform(0.5, 2, 6).astype("float32")

values_of = jax.jit(layer_values, static_argnums=0)
step_of = jax.jit(lambda task, ts, data, *valid: gradients(task, ts, Batch(*data), *valid), static_argnums=0)


def start(task, x=X):
    """A TrainState of random parameters, of which nothing needs to be compiled."""
    params, state = jax.eval_shape(task.model.init, jax.random.key(0), x[:1])
    params = jax.tree.map(lambda a: (RNG.normal(size=a.shape) / 2).astype(a.dtype), params)
    state = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), state)
    return fnn.TrainState(params, state, task.optimizer.init(params), jax.random.key(1), np.int32(7))


def test_outputs_and_gradients_match_a_handwritten_forward_pass():
    model = fnn.Sequential(fnn.Dense(5, "tanh"), fnn.Residual(fnn.Dense(5, "relu")), fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy", penalty=fnn.penalties.l2(0.01))
    ts = start(task)
    values = values_of(task, ts, (X, Y, W))

    p = jax.tree.map(np.float64, ts.params)
    inner = p["residual"]["body"]["dense"]
    hidden = np.tanh(X @ p["dense"]["kernel"] + p["dense"]["bias"])
    body = np.maximum(hidden @ inner["kernel"] + inner["bias"], 0)
    joined = hidden + body
    logits = joined @ p["dense_1"]["kernel"] + p["dense_1"]["bias"]
    expected = {
        "dense": hidden, "residual/body/dense": body, "residual/body": body, "residual": joined, "dense_1": logits,
    }  # fmt: skip
    assert list(values.outputs) == list(values.output_gradients) == list(expected)
    for path, y in expected.items():
        np.testing.assert_allclose(values.outputs[path], y, rtol=2e-5, atol=1e-6, err_msg=path)

    e = np.exp(logits - logits.max(1, keepdims=True))
    softmax = e / e.sum(1, keepdims=True)
    losses = -np.log(softmax[np.arange(6), Y])
    squares = sum((leaf**2).sum() for path, leaf in fnn.paths(p).items() if path.endswith("kernel"))
    np.testing.assert_allclose(values.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(values.penalty, 0.01 * squares, rtol=1e-5)
    np.testing.assert_allclose(values.loss, (W * losses).sum() / 6 + 0.01 * squares, rtol=1e-5)

    # Backwards by hand: softmax, the last product, the skip connection, relu and its product.
    at_logits = (softmax - np.eye(3)[Y]) * W[:, None] / 6
    at_joined = at_logits @ p["dense_1"]["kernel"].T
    at_hidden = at_joined + (at_joined * (body > 0)) @ inner["kernel"].T
    backward = {
        "dense": at_hidden, "residual/body/dense": at_joined, "residual/body": at_joined, "residual": at_joined,
        "dense_1": at_logits,
    }  # fmt: skip
    for path, g in backward.items():
        np.testing.assert_allclose(values.output_gradients[path], g, rtol=1e-4, atol=1e-6, err_msg=path)
    kernel = joined.T @ at_logits + 0.02 * p["dense_1"]["kernel"]
    np.testing.assert_allclose(values.gradients["dense_1"]["kernel"], kernel, rtol=1e-4, atol=1e-6)


def test_the_probed_step_equals_the_training_step():
    model = fnn.Sequential(
        fnn.Dense(5, "relu"), fnn.Dropout(0.4), fnn.Residual(fnn.BatchNorm()), fnn.ActivityRegularization(l1=0.1),
        fnn.Dense(3),
    )  # fmt: skip
    task = fnn.Task(model, "sparse_categorical_crossentropy", metrics=("accuracy",), penalty=fnn.penalties.l2(0.01))
    ts = start(task)
    values = values_of(task, ts, (X, Y, W))
    grads, state, totals = step_of(task, ts, (X, Y, W))
    assert_same(values.gradients, grads)
    assert_same(values.state, state)
    total, count = totals["loss"]
    np.testing.assert_allclose(values.loss, total / count, rtol=1e-6)
    np.testing.assert_allclose(values.loss, (values.losses * W).mean() + values.penalty, rtol=1e-6)
    assert float(values.penalty) > float(state["activity_regularization"]["penalty"].value) > 0
    # Dropout takes the key of this very step.
    dropped = values.outputs["dropout"] == 0
    assert (dropped != (values.outputs["dense"] == 0)).any()
    other = values_of(task, ts._replace(step=np.int32(8)), (X, Y, W))
    assert not np.array_equal(dropped, other.outputs["dropout"] == 0)


def test_rows_of_weight_0_have_no_gradient():
    task = fnn.Task(fnn.Sequential(fnn.Dense(5, "tanh"), fnn.Dense(3)), "sparse_categorical_crossentropy")
    ts = start(task)
    filled = values_of(task, ts, (X, Y, np.array([1.5, 1.5, 1.5, 1.5, 0, 0], "f")))  # the mean is over 6 rows
    alone = values_of(task, ts, (X[:4], Y[:4]))
    np.testing.assert_array_equal(filled.output_gradients["dense"][4:], 0)
    np.testing.assert_allclose(
        filled.output_gradients["dense"][:4], alone.output_gradients["dense"], rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(filled.loss, alone.loss, rtol=1e-6)
    # The step's own function leaves out rows that pad a batch, whose weights are 1.
    padded, _, totals = step_of(task, ts, (X, Y), np.arange(6) < 4)
    assert_close(padded, alone.gradients, 1e-5, 1e-7)
    assert_close(filled.gradients, alone.gradients, 1e-5, 1e-7)
    np.testing.assert_allclose(totals["loss"][0] / totals["loss"][1], alone.loss, rtol=1e-6)


def test_gradients_at_outputs_match_finite_differences(x64):
    model = fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Residual(fnn.Dense(4, "sigmoid")), fnn.Dense(1))
    task = fnn.Task(model, "mse")
    x, y = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 1))
    ts = start(task, x)
    values = values_of(task, ts, (x, y))

    @jax.jit
    def loss(moves):
        def move(trace):
            path = "/".join(trace.path)
            return trace.y + moves[path] if path in moves else None

        with observe(move):
            return task.loss(task.model.apply(ts.params, ts.state, jnp.asarray(x))[0], y).mean()

    paths = ("dense", "residual/body/dense", "residual")
    for path in paths:
        for place in ((0, 1), (2, 3)):
            moves = {path: np.zeros((3, 4)) for path in paths}
            moves[path][place] = 1e-5
            quotient = (float(loss(moves)) - float(loss({path: -by for path, by in moves.items()}))) / 2e-5
            assert abs(quotient) > 1e-3
            np.testing.assert_allclose(values.output_gradients[path][place], quotient, rtol=1e-8, atol=1e-10)


def test_masked_sequences_are_seen_without_a_gradient_for_the_mask():
    rnn = fnn.Sequential(
        fnn.Embedding(7, 4, mask_zero=True), fnn.Bidirectional(fnn.SimpleRNN(3, return_sequences=True))
    )
    task = fnn.Task(fnn.Sequential(rnn, fnn.SimpleRNN(2)), "mse")
    ids = RNG.integers(1, 7, (3, 5)).astype("int32")
    ids[0, 3:] = 0
    ts = start(task, ids)
    values = values_of(task, ts, (ids, np.ones((3, 2), "float32")))
    inner = ("sequential/bidirectional/forward", "sequential/bidirectional/backward", "sequential/bidirectional")
    assert list(values.outputs) == ["sequential/embedding", *inner, "sequential", "simple_rnn"]
    y, mask = values.outputs["sequential/bidirectional"].x, values.outputs["sequential/bidirectional"].mask
    np.testing.assert_array_equal(mask, ids != 0)
    slopes = values.output_gradients["sequential/bidirectional"]
    g = slopes.x
    assert slopes.mask is None
    assert g.shape == y.shape == (3, 5, 6)
    np.testing.assert_array_equal(g[0, 3:], 0)
    assert (np.abs(g[0, :3]).max(1) > 0).all()


def test_a_model_has_no_name_and_is_seen_if_its_output_is_its_own():
    one = fnn.Task(fnn.Dense(2), "mse")
    single = values_of(one, start(one), (X, X[:, :2]))
    assert list(single.outputs) == [""]
    np.testing.assert_allclose(single.output_gradients[""], (single.outputs[""] - X[:, :2]) / 6, rtol=1e-5)
    task = fnn.Task(fnn.Residual(fnn.Dense(4)), "mse")
    values = values_of(task, start(task), (X, 2 * X))
    assert list(values.outputs) == ["body/dense", "body", ""]
    np.testing.assert_allclose(values.outputs[""], X + values.outputs["body"], rtol=1e-6)
    nothing = fnn.Task(fnn.Sequential(), "mse")
    assert list(values_of(nothing, start(nothing), (X, X + 1)).outputs) == [""]


def test_layers_inside_a_custom_layers_transformation_are_not_probed():
    """A value inside a loop has no meaning outside; a second call has a name of its own."""
    inner = fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Dense(4))

    def apply(params, state, x, *, key=None, train=False):
        x = inner.apply(params, {}, x)[0]
        x = jax.vmap(lambda row: inner.apply(params, {}, row[None])[0][0])(x)
        x = jax.lax.map(lambda row: inner.apply(params, {}, row[None])[0][0], x)
        x = jax.checkpoint(lambda x: inner.apply(params, {}, x)[0])(x)
        return jax.jit(lambda x: inner.apply(params, {}, x)[0])(inner.apply(params, {}, x)[0]), state

    mine = fnn.Layer(lambda key, x: (inner.init(key, x)[0], {}), apply, name="mine")
    task = fnn.Task(fnn.Sequential(mine, fnn.Dense(1)), "mse")
    ts = start(task)
    values = values_of(task, ts, (X, X[:, :1]))
    names = ["mine/dense", "mine/dense_1", "mine/dense (call 2)", "mine/dense_1 (call 2)", "mine", "dense"]
    assert list(values.outputs) == names
    apply_once = jax.jit(lambda x: inner.apply(ts.params["mine"], {}, x)[0])
    once = apply_once(X)
    np.testing.assert_allclose(values.outputs["mine/dense_1"], once, rtol=1e-5, atol=1e-6)
    for _ in range(4):
        once = apply_once(once)
    np.testing.assert_allclose(values.outputs["mine/dense_1 (call 2)"], once, rtol=1e-4, atol=1e-6)
    assert_same(values.gradients, step_of(task, ts, (X, X[:, :1]))[0])


def test_a_tap_does_not_change_any_bit():
    y = jnp.array([-0.0, 0.0, jnp.nan, -jnp.inf])
    out, slope = jax.value_and_grad(lambda probe: (_tap(y, probe)[:2] * jnp.array([2.0, 3.0])).sum())(jnp.zeros(4))
    np.testing.assert_array_equal(np.asarray(_tap(y, jnp.zeros(4))).view("uint32"), np.asarray(y).view("uint32"))
    assert float(out) == 0
    np.testing.assert_array_equal(slope, [2, 3, 0, 0])


def test_values_of_many_training_runs_at_once():
    task = fnn.Task(fnn.Dense(1), "mse")
    kernels = RNG.normal(size=(2, 4, 1)).astype("float32")

    def values(kernel):
        params = {"kernel": kernel, "bias": jnp.ones(1)}
        ts = fnn.TrainState(params, {}, task.optimizer.init(params), jax.random.key(0), jnp.int32(0))
        return layer_values(task, ts, (X, X[:, :1]))

    both = jax.jit(jax.vmap(values))(kernels)
    np.testing.assert_allclose(both.outputs[""], X @ kernels + 1, rtol=1e-4, atol=1e-6)
    expected = (X @ kernels + 1 - X[:, :1]) / 3
    np.testing.assert_allclose(both.output_gradients[""], expected, rtol=1e-4, atol=1e-6)


def test_layer_values_rejects_invalid_tasks_and_batches():
    task = fnn.Task(fnn.Dense(1), "mse")
    ts = start(task)
    with pytest.raises(fnn.InputError, match=r"an fnn\.Task as first argument"):
        layer_values(task.model, ts, (X, X))
    with pytest.raises(fnn.InputError, match="of the same length, got x: 6, y: 5"):
        layer_values(task, ts, (X, X[:5, :1]))
