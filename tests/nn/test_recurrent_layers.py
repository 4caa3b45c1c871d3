"""Recurrent layers against Keras, and in stacks and both directions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recurrent_cases import KINDS, assert_close, draw, kinds, mainly, value_and_gradients

import fnn
from fnn.nn.containers import Sequential
from fnn.nn.dense import Dense
from fnn.nn.embedding import Embedding
from fnn.nn.layer import Layer
from fnn.nn.masks import Masked
from fnn.nn.rnn import functions as rec
from fnn.nn.rnn.bidirectional import Bidirectional
from fnn.nn.rnn.cells import LSTMCarry
from fnn.nn.rnn.layers import GRU, LSTM, SimpleRNN

keras = pytest.importorskip("keras", reason="Keras is the reference here")


# Keras ---------------------------------------------------------------------------------------------------------------


def keras_twins(kind, units, use_bias=True, **options):
    """Our layer and Keras's, which starts with zeros because drawing takes long."""
    options = dict(options, use_bias=use_bias)
    if kind == "gru_before":
        options["reset_after"] = False
    ours, theirs = {
        "simple_rnn": (SimpleRNN, keras.layers.SimpleRNN),
        "lstm": (LSTM, keras.layers.LSTM),
        "gru": (GRU, keras.layers.GRU),
        "gru_before": (GRU, keras.layers.GRU),
    }[kind]
    return ours(units, **options), theirs(units, **options, **ZEROS)


ZEROS = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}


def start(layer, x):
    """Parameters and state from one compiled program, which is much faster than op by op."""
    return jax.jit(lambda key: layer.init(key, x))(jax.random.key(0))


def against_keras(ours, theirs, x, rng, mask=None, pick=lambda y: y):
    """Outputs and gradients with the same random weights; ``pick`` selects from the output of our layer."""
    theirs.build(x.shape)
    params = draw(rng, jax.eval_shape(ours.init, jax.random.key(0), x)[0])
    order = {"kernel": 0, "recurrent_kernel": 1, "bias": 2}

    def flat(params):
        if "forward" in params:
            return flat(params["forward"]) + flat(params["backward"])
        return [params[name] for name in sorted(params, key=order.get)]

    assert [w.shape for w in flat(params)] == [tuple(w.shape) for w in theirs.weights]

    def run_ours(params, x):
        y, _ = ours.apply(params, {}, x if mask is None else Masked(x, mask))
        return jax.tree.leaves(pick(y))

    def run_theirs(weights, x):
        kwargs = {} if mask is None else {"mask": mask}
        return jax.tree.leaves(theirs.stateless_call(weights, constants, x, **kwargs)[0])

    constants = [v.value for v in theirs.non_trainable_variables]

    @jax.jit
    def both(params, x):
        return value_and_gradients(run_ours, params, x), value_and_gradients(run_theirs, flat(params), x)

    (y, (slopes, x_slope)), (keras_y, keras_slopes) = both(params, x)
    assert_close((y, (flat(slopes), x_slope)), (keras_y, keras_slopes), 1e-5, 1e-5)


MASK = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)


LAYER_CASES = [
    (True, True, False, True),
    (False, False, True, True),
    (True, True, True, True),
    (False, True, True, False),
]
FAST = [("lstm", 1), ("gru", 0)]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        pytest.param(*each, marks=[] if each in FAST else pytest.mark.slow)
        for each in itertools.product(KINDS, range(len(LAYER_CASES)))
    ],
)
def test_layers_match_keras(kind, number, rng):
    use_bias, sequences, backwards, masked = LAYER_CASES[number]
    options = {"return_sequences": sequences, "return_state": True, "go_backwards": backwards}
    ours, theirs = keras_twins(kind, 3, use_bias, **options)
    x = jnp.asarray(rng.normal(size=(4, 5, 2)).astype("float32"))
    pair = masked and sequences
    mask = jnp.asarray(MASK) if masked else None
    against_keras(ours, theirs, x, rng, mask, lambda out: (out[0].x, out[1]) if pair else out)


@mainly("lstm")
def test_the_mask_is_passed_on_with_the_outputs(kind):
    x = Masked(np.ones((4, 5, 2), "float32"), MASK)
    layers = [keras_twins(kind, 3, return_sequences=True, go_backwards=backwards)[0] for backwards in (False, True)]
    layers += [keras_twins(kind, 3)[0]]
    params, _ = jax.eval_shape(layers[0].init, jax.random.key(0), x)
    params = draw(np.random.default_rng(0), params)

    def outputs(params, x):
        return [layer.apply(params, {}, x)[0] for layer in layers]

    forwards, backwards, last = jax.eval_shape(outputs, params, x)
    for y in (forwards, backwards):
        assert isinstance(y, Masked)
        assert y.x.shape == (4, 5, 3)
    assert last.shape == (4, 3)
    masks = jax.jit(lambda params, x: [y.mask for y in outputs(params, x)[:2]])(params, x)
    np.testing.assert_array_equal(masks, [MASK, MASK[:, ::-1]])


@pytest.mark.parametrize(
    ("merge_mode", "kind", "sequences", "masked"),
    [
        ("concat", "lstm", True, True),
        pytest.param("sum", "simple_rnn", True, False, marks=pytest.mark.slow),
        (None, "simple_rnn", True, True),
        pytest.param("mul", "simple_rnn", False, True, marks=pytest.mark.slow),
        pytest.param("ave", "gru_before", True, True, marks=pytest.mark.slow),
        pytest.param("sum", "gru", True, False, marks=pytest.mark.slow),
        pytest.param(None, "gru", False, False, marks=pytest.mark.slow),
    ],
)
def test_bidirectional_matches_keras(merge_mode, kind, sequences, masked, rng):
    ours, theirs = keras_twins(kind, 3, return_sequences=sequences)
    x = jnp.asarray(rng.normal(size=(4, 5, 2)).astype("float32"))
    pair = masked and sequences
    mask = jnp.asarray(MASK) if masked else None
    ours, theirs = Bidirectional(ours, merge_mode), keras.layers.Bidirectional(theirs, merge_mode=merge_mode)
    against_keras(
        ours,
        theirs,
        x,
        rng,
        mask,
        lambda y: jax.tree.map(lambda m: m.x, y, is_leaf=lambda m: isinstance(m, Masked)) if pair else y,
    )


@pytest.mark.slow
def test_bidirectional_returns_states_as_keras_does(rng):
    ours, theirs = keras_twins("lstm", 3, return_sequences=True, return_state=True)
    x = jnp.asarray(rng.normal(size=(4, 5, 2)).astype("float32"))
    against_keras(Bidirectional(ours), keras.layers.Bidirectional(theirs), x, rng)
    layer = Bidirectional(ours)
    params = draw(rng, jax.eval_shape(layer.init, jax.random.key(0), x)[0])

    def output(x):
        return layer.apply(params, {}, x)[0]

    merged, (forward, backward) = jax.eval_shape(output, Masked(x, MASK))
    assert merged.x.shape == (4, 5, 6)
    assert isinstance(forward, LSTMCarry)
    assert backward.c.shape == (4, 3)
    np.testing.assert_array_equal(jax.jit(lambda x: output(x)[0].mask)(Masked(x, MASK)), MASK)


def test_a_masked_stack_matches_keras(rng):
    """Embedding with mask_zero, two directions and one more layer: each layer passes the mask through."""
    ids = jnp.asarray([[1, 4, 2, 0, 0], [3, 0, 0, 0, 0], [2, 2, 1, 4, 3]])
    ours = Sequential(
        Embedding(5, 3, mask_zero=True),
        Bidirectional(LSTM(3, return_sequences=True)),
        GRU(4, return_sequences=True),
        SimpleRNN(2),
        Dense(2),
    )
    theirs = keras.Sequential(
        [
            keras.layers.Embedding(5, 3, mask_zero=True),
            keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True, **ZEROS)),
            keras.layers.GRU(4, return_sequences=True, **ZEROS),
            keras.layers.SimpleRNN(2, **ZEROS),
            keras.layers.Dense(2),
        ]
    )
    theirs.build(ids.shape)
    params = draw(rng, jax.eval_shape(ours.init, jax.random.key(0), ids)[0])
    assert set(params) == {"embedding", "bidirectional", "gru", "simple_rnn", "dense"}
    two = params["bidirectional"]
    parts = [two["forward"], two["backward"], params["gru"], params["simple_rnn"]]
    weights = [params["embedding"]["embeddings"]]
    weights += [part[name] for part in parts for name in ("kernel", "recurrent_kernel", "bias")]
    weights += [params["dense"]["kernel"], params["dense"]["bias"]]
    assert [w.shape for w in weights] == [tuple(w.shape) for w in theirs.weights]
    constants = [v.value for v in theirs.non_trainable_variables]
    both = jax.jit(lambda p, w: (ours.apply(p, {}, ids)[0], theirs.stateless_call(w, constants, ids)[0]))
    assert_close(*both(params, weights))


@kinds
def test_initial_parameters_match_keras(kind):
    ours, theirs = keras_twins(kind, 3)
    theirs.build((1, 5, 2))
    params, _ = start(ours, np.ones((1, 5, 2), "float32"))
    assert {n: p.shape for n, p in params.items()} == {w.name: tuple(w.shape) for w in theirs.weights}
    np.testing.assert_array_equal(params["bias"], theirs.weights[2])  # including the forget bias of 1
    r = np.asarray(params["recurrent_kernel"])
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-5)
    assert not np.allclose(np.asarray(params["kernel"])[:2, :3], r[:2, :3])


# Layers --------------------------------------------------------------------------------------------------------------


def test_names_kinds_and_training_through_a_stack(rng):
    model = Sequential(LSTM(4, return_sequences=True, input_dim=6), LSTM(3, return_sequences=True), GRU(2), Dense(1))
    ids = jnp.asarray(rng.integers(0, 6, (5, 7)))
    shapes, state = jax.eval_shape(model.init, jax.random.key(0), ids)
    params = draw(rng, shapes)
    assert set(params) == {"lstm", "lstm_1", "gru", "dense"}
    assert state == {}
    slopes = jax.jit(jax.grad(lambda p: jnp.sum(model.apply(p, {}, ids)[0] ** 2)))(params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slopes))
    kinds = [layer.kind for layer in (SimpleRNN(1), LSTM(1), GRU(1), Bidirectional(LSTM(1)))]
    assert kinds == ["SimpleRNN", "LSTM", "GRU", "Bidirectional"]
    assert Bidirectional(LSTM(1)).name == "bidirectional"
    assert SimpleRNN(1).name == "simple_rnn"


def test_parameters_take_the_dtype_of_x_unless_one_is_given():
    key, x = jax.random.key(0), jax.ShapeDtypeStruct((2, 5, 3), "bfloat16")
    for layer, want in ((LSTM(2), "bfloat16"), (GRU(2, dtype="float16"), "float16")):
        assert {p.dtype.name for p in jax.tree.leaves(jax.eval_shape(layer.init, key, x)[0])} == {want}
    ids = jax.ShapeDtypeStruct((2, 5), "int32")
    assert jax.eval_shape(SimpleRNN(2, input_dim=9).init, key, ids)[0]["kernel"].dtype == "float32"
    assert "bias" not in jax.eval_shape(LSTM(2, use_bias=False).init, key, x)[0]
    np.testing.assert_array_equal(start(LSTM(2, unit_forget_bias=False), x)[0]["bias"], np.zeros(8))


@pytest.mark.slow
def test_bidirectional_takes_two_different_layers_and_draws_two_sets_of_weights(rng):
    x = jnp.asarray(rng.normal(size=(2, 5, 3)).astype("float32"))
    layer = Bidirectional(LSTM(4, return_sequences=True), backward_layer=GRU(2, return_sequences=True))
    params = draw(rng, jax.eval_shape(layer.init, jax.random.key(0), x)[0])
    y, backward = jax.jit(lambda p: (layer.apply(p, {}, x)[0], rec.gru(p["backward"], x, reverse=True)[0]))(params)
    assert y.shape == (2, 5, 6)
    assert_close(np.asarray(y)[..., 4:], backward)
    same, _ = start(Bidirectional(LSTM(4)), x)
    assert not np.allclose(same["forward"]["kernel"], same["backward"]["kernel"])


def test_bidirectional_passes_keys_and_state_to_its_layers():
    def apply(params, state, x, *, key=None, train=False):
        return x + jax.random.uniform(key, x.shape) * train, {"count": state["count"] + 1}

    noisy = Layer(lambda key, x: ({}, {"count": jnp.zeros(())}), apply, "noisy")
    layer, x = Bidirectional(noisy, merge_mode=None), np.ones((2, 3, 4), "float32")
    params, state = start(layer, x)
    apply = jax.jit(lambda state, x: layer.apply(params, state, x, key=jax.random.key(1), train=True))
    (forward, backward), state = apply(state, x)
    assert not np.allclose(forward, np.flip(backward, 1))
    assert state == {"forward": {"count": 1.0}, "backward": {"count": 1.0}}


@pytest.mark.parametrize(
    "layer",
    [
        *(
            fnn.Dense(3, dtype=jnp.float32),
            fnn.Dropout(0.1),
            fnn.Activation("relu"),
            fnn.BatchNorm(),
            fnn.LayerNorm(),
            fnn.RMSNorm(),
        ),
        *(fnn.Embedding(4, 3), fnn.OneHot(3), fnn.GaussianNoise(0.1), fnn.GlobalAvgPool(), fnn.Rescaling(2.0)),
    ],
    ids=lambda layer: layer.kind,
)
def test_bidirectional_refuses_layers_without_a_direction(layer):
    text = r"Bidirectional, {}: expected a layer that reads steps in order, such as LSTM\(64\), got {}\("
    for inner in (layer, fnn.Sequential(layer), fnn.Rematerialized(layer)):
        with pytest.raises(fnn.InputError, match=text.format("forward", inner.config.make.__name__)):
            Bidirectional(inner)
    with pytest.raises(fnn.InputError, match=text.format("backward", layer.kind)):
        Bidirectional(LSTM(4), backward_layer=layer)


@pytest.mark.slow
def test_bidirectional_takes_recurrent_layers_inside_others():
    x = np.ones((2, 3, 4), "float32")
    for inner in (fnn.Sequential(fnn.Dense(4), fnn.GRU(3)), fnn.Rematerialized(LSTM(3))):
        layer = Bidirectional(inner)
        params, state = start(layer, x)
        assert layer.apply(params, state, x)[0].shape == (2, 6)


@pytest.mark.parametrize(
    "inner",
    [
        fnn.Conv(3, 2, padding="causal"),
        pytest.param(fnn.MultiHeadAttention(1, 3, causal=True), marks=pytest.mark.slow),
        pytest.param(
            fnn.Sequential(fnn.Dense(3), fnn.Residual(fnn.Conv(3, 2, padding="causal"))), marks=pytest.mark.slow
        ),
        fnn.Activation(lambda x: jnp.cumsum(x, 1)),
    ],
    ids=lambda layer: layer.kind,
)
def test_bidirectional_takes_layers_that_read_earlier_steps(inner):
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    layer = Bidirectional(inner, "sum")
    params, _ = start(layer, x)
    parts = [params.get(part, {}) for part in ("forward", "backward")]
    forward = inner.apply(parts[0], {}, x)[0]
    backward = np.flip(inner.apply(parts[1], {}, np.flip(x, 1))[0], 1)
    np.testing.assert_allclose(layer.apply(params, {}, x)[0], forward + backward, rtol=1e-5, atol=1e-6)
    later = x.copy()
    later[:, -1] += 1
    assert not np.allclose(layer.apply(params, {}, later)[0][:, -2], forward[:, -2] + backward[:, -2])
