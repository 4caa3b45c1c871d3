"""TimeDistributed against Keras and a loop over steps: parameters, dropout, state and masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conv_cases import normal

import fnn

KEY = jax.random.key(1)


def test_it_equals_keras_and_a_loop_over_steps(rng):
    keras = pytest.importorskip("keras")
    x = normal(rng, 2, 3, 5, 4, 2)
    layer = fnn.TimeDistributed(fnn.Sequential(fnn.Conv(3, 2, activation="tanh"), fnn.Flatten(), fnn.Dense(4)))
    params, state = jax.jit(layer.init)(KEY, x)
    inner = keras.Sequential(
        [keras.layers.Conv2D(3, 2, activation="tanh"), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    reference = keras.layers.TimeDistributed(inner)
    reference.build(x.shape)
    own = params["sequential"]
    reference.set_weights([own[name][leaf] for name in ("conv", "dense") for leaf in ("kernel", "bias")])

    @jax.jit
    def every(params, x):
        steps = [layer.config.args[0].apply(params["sequential"], {}, x[:, t])[0] for t in range(3)]
        return layer.apply(params, state, x)[0], reference(x), jnp.stack(steps, 1)

    y, want, steps = every(params, x)
    np.testing.assert_allclose(y, want, 1e-5, 1e-5)
    np.testing.assert_allclose(y, steps, 1e-5, 1e-6)


def test_each_step_draws_its_own_dropout_and_rows_do_not_depend_on_later_ones():
    layer, x = fnn.TimeDistributed(fnn.Dropout(0.5)), np.ones((4, 3, 64), "float32")
    run = jax.jit(lambda x: layer.apply({}, {}, x, key=KEY, train=True)[0])
    y = np.asarray(run(x))
    assert len(np.unique(y.reshape(12, 64), axis=0)) == 12
    np.testing.assert_array_equal(run(x[:2]), y[:2])
    assert layer.per_example


def test_statistics_are_those_of_all_steps(rng):
    x = normal(rng, 3, 4, 5)
    layer = fnn.TimeDistributed(fnn.BatchNorm(momentum=0.5))
    params, state = jax.jit(layer.init)(KEY, x)
    y, new = jax.jit(lambda x: layer.apply(params, state, x, train=True))(x)
    np.testing.assert_allclose(new["batch_norm"]["moving_mean"], 0.5 * x.mean((0, 1)), 1e-4, 1e-6)
    np.testing.assert_allclose(np.asarray(y).mean((0, 1)), 0, atol=1e-6)
    assert not layer.per_example
    with pytest.raises(fnn.InputError, match="a layer without state for a Masked, got BatchNorm with state"):
        layer.apply(params, state, fnn.Masked(x, np.ones((3, 4), bool)))


def test_masks_pass_on_and_several_outputs_keep_their_steps(rng):
    x, mask = normal(rng, 2, 3, 4), np.array([[True, False, True], [True, True, False]])
    y, _ = fnn.TimeDistributed(fnn.Activation("tanh")).apply({}, {}, fnn.Masked(x, mask))
    np.testing.assert_array_equal(y.mask, mask)
    np.testing.assert_allclose(y.x, np.tanh(x), 1e-5)
    twice = fnn.Layer(lambda key, x: ({}, {}), lambda params, state, x, **_: ({"a": x, "b": x.sum(-1)}, state))
    y, _ = fnn.TimeDistributed(twice).apply({}, {}, x)
    assert jax.tree.map(jnp.shape, y) == {"a": (2, 3, 4), "b": (2, 3)}


@pytest.mark.slow
def test_a_recurrent_layer_inside_and_around(rng):
    """Sentences of words: one vector for each sentence, then one for the text; trained, summarized and printed."""
    x, y = normal(rng, 6, 3, 4, 2), np.arange(6) % 2
    model = fnn.Sequential(fnn.TimeDistributed(fnn.GRU(3)), fnn.LSTM(4), fnn.Dense(2))
    task = fnn.Task(model, "sparse_categorical_crossentropy", "sgd")
    ts = fnn.init(task, KEY, x[:1])
    assert set(ts.params) == {"time_distributed", "lstm", "dense"}
    assert "time_distributed" in str(fnn.summary(model, x[:1]))
    _, history = fnn.fit(task, ts, (x, y), epochs=1, batch_size=4, verbose=0)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fnn.TimeDistributed(fnn.Dense),
            r"TimeDistributed: expected a Layer, got .*Dense.*Call it: Dense\(\.\.\.\)",
        ),
        (lambda: fnn.TimeDistributed("relu"), r"TimeDistributed: expected a Layer, got 'relu'"),
        (
            lambda: fnn.TimeDistributed(fnn.Dense(3)).init(KEY, np.ones((2, 3), "float32")),
            r"time_distributed: expected x of shape \(batch, time, \.\.\.\) with at least 3 axes, got float32\[2, 3\]",
        ),
        (
            lambda: fnn.TimeDistributed(fnn.Conv(3, 2)).init(KEY, np.ones((2, 3, 4), "float32")),
            r"time_distributed 'conv' > Conv: expected x of shape",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
