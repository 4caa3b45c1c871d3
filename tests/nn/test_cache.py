"""The cache of keys and values: reading piece by piece equals reading at once, in every container."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

SYMBOLS, WIDTH, LENGTH = 7, 8, 6
IDS = np.random.default_rng(0).integers(SYMBOLS, size=(2, LENGTH))


def attend(**options):
    return fnn.MultiHeadAttention(4, 2, causal=True, **options)


def forward(layers, ids):
    x = layers.positions(layers.embed(ids))
    for block in layers.blocks:
        x = x + block["attend"](layers.norm(x))
        x = x + block["dense"](x)
    return layers.head(x)


MODELS = {
    "Sequential": lambda: fnn.Sequential(
        fnn.Embedding(SYMBOLS, WIDTH),
        fnn.PositionEmbedding(LENGTH),
        fnn.Residual(fnn.RMSNorm(), attend(num_key_value_heads=2)),
        fnn.Sequential(fnn.Dense(WIDTH, "tanh"), attend(rotary=True)),
        fnn.Dense(SYMBOLS),
    ),
    "Model": lambda: fnn.Model(
        forward,
        embed=fnn.Embedding(SYMBOLS, WIDTH),
        positions=fnn.SinusoidalPositions(),
        norm=fnn.LayerNorm(),
        blocks=[{"attend": attend(value_dim=3), "dense": fnn.Dense(WIDTH, "relu")} for _ in range(2)],
        head=fnn.Dense(SYMBOLS),
    ),
    "Repeated": lambda: fnn.Sequential(
        fnn.Embedding(SYMBOLS, WIDTH),
        fnn.Repeated(fnn.Rematerialized(fnn.Residual(fnn.LayerNorm(), attend(rotary=True), fnn.Dense(WIDTH))), 3),
        fnn.Dense(SYMBOLS),
    ),
}


@functools.cache
def made(name):
    model = MODELS[name]()
    params, state = jax.jit(lambda key: model.init(key, jnp.zeros((1, 2), jnp.int32)))(jax.random.key(0))
    rng = np.random.default_rng(1)
    noisy = jax.tree.map(lambda a: np.asarray(a) + rng.normal(0, 0.5, a.shape).astype("f"), params)
    return model, noisy, state


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("Sequential", "Repeated")), "Model"]
)
def test_reading_in_pieces_equals_reading_at_once(name):
    """A prompt of three steps in one call, and then one step at a time in a scan."""
    model, params, state = made(name)

    @jax.jit
    def both(params, ids):
        cached = fnn.with_cache(model, state, ids[:, :1], LENGTH)
        first, cached = model.apply(params, cached, ids[:, :3])

        def step(cached, symbol):
            y, cached = model.apply(params, cached, symbol[:, None])
            return cached, y[:, 0]

        cached, rest = jax.lax.scan(step, cached, ids[:, 3:].T)
        return jnp.concatenate([first, rest.swapaxes(0, 1)], 1), model.apply(params, state, ids)[0], cached

    pieces, whole, cached = both(params, IDS)
    assert np.abs(whole).max() > 1
    np.testing.assert_allclose(pieces, whole, 1e-5, 1e-5)
    counts = [leaf for path, leaf in fnn.paths(cached).items() if "position" in path.split("/")[-2:]]
    assert counts
    assert all((np.asarray(count) == LENGTH).all() for count in counts)


@pytest.mark.slow
def test_padded_prompts_of_several_lengths():
    """Left padding is never looked at, in the prompt or after it."""
    model = fnn.Sequential(fnn.Dense(WIDTH), attend(rotary=True), fnn.Dense(3))
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 5, 4)).astype("f")
    params, state = jax.jit(model.init)(jax.random.key(0), x)
    apply = jax.jit(model.apply)
    real = np.array([[True, True, True], [False, False, True]])
    cached = fnn.with_cache(model, state, x, 5)
    y, cached = apply(params, cached, fnn.Masked(np.where(real[..., None], x[:, :3], np.nan), real))
    outputs = [y.x]
    for i in (3, 4):
        y, cached = apply(params, cached, x[:, i : i + 1])
        outputs.append(y)
    outputs = np.concatenate(outputs, 1)
    # Alone, the second sequence has no padding; a rotation depends on distances alone.
    for row, start in ((0, 0), (1, 2)):
        right, _ = apply(params, state, x[row : row + 1, start:])
        np.testing.assert_allclose(outputs[row, start:], right[0], 1e-5, 1e-5)


@pytest.mark.slow
def test_with_cache_under_vmap_and_on_a_state_that_has_one():
    model, params, state = made("Sequential")
    whole = jax.jit(lambda ids: model.apply(params, state, ids)[0])(IDS)

    def read(ids):
        cached = fnn.with_cache(model, state, ids[None], LENGTH)
        _, cached = model.apply(params, cached, ids[None, :4])
        again = fnn.with_cache(model, cached, ids[None], LENGTH)
        return model.apply(params, again, ids[None])[0][0], model.apply(params, cached, ids[None, 4:])[0][0]

    again, rest = jax.jit(jax.vmap(read))(IDS)
    np.testing.assert_allclose(again, whole, 1e-5, 1e-5)
    np.testing.assert_allclose(rest, whole[:, 4:], 1e-5, 1e-5)


def test_the_rest_of_the_state_is_kept():
    model = fnn.Sequential(attend(), fnn.BatchNorm(), fnn.Dense(2))
    x = np.ones((1, 3, 4), "f")
    _, state = jax.eval_shape(model.init, jax.random.key(0), x)
    state = jax.tree.map(lambda a: np.full(a.shape, 5, a.dtype), state)
    cached = fnn.with_cache(model, state, x, 4)
    assert sorted(cached) == ["batch_norm", "multi_head_attention"]
    np.testing.assert_array_equal(cached["batch_norm"]["moving_mean"], 5)
    cache = cached["multi_head_attention"]["cache"]
    assert isinstance(cache, fnn.KeyValueCache)
    assert cache.key.shape == (1, 4, 4, 2)
    assert "multi_head_attention" not in state


@pytest.mark.slow
def test_steps_past_the_end():
    layer = attend()
    x = np.ones((1, 3, 4), "f")
    params, state = jax.jit(layer.init)(jax.random.key(0), x)
    apply = jax.jit(layer.apply)
    _, cached = apply(params, fnn.with_cache(layer, state, x, 4), x)
    with pytest.raises(
        fnn.InputError, match="MultiHeadAttention: expected at most 4 steps, the length of its cache, got 6"
    ):
        layer.apply(params, cached, x)
    last, full = apply(params, cached, x[:, :1])
    assert np.isfinite(last).all()
    assert np.isnan(apply(params, full, x[:, :1])[0]).all()
    assert np.isnan(apply(params, cached, x[:, :2])[0]).all()


def test_caches_refuse():
    x = np.ones((2, 3, 4), "f")
    key = jax.random.key(0)
    with pytest.raises(fnn.InputError, match=r"with_cache: .*with causal=True, got causal=False in 'body/multi_head"):
        fnn.with_cache(fnn.Residual(fnn.MultiHeadAttention(2, 2)), {}, x, 4)
    with pytest.raises(fnn.InputError, match="got go_backwards=True in 'lstm'"):
        fnn.with_cache(fnn.Sequential(attend(), fnn.LSTM(4, go_backwards=True)), {}, x, 4)
    with pytest.raises(fnn.InputError, match="got Bidirectional, which also reads from the end, in 'bidirectional'"):
        fnn.with_cache(fnn.Sequential(fnn.Bidirectional(fnn.GRU(4))), {}, x, 4)
    with pytest.raises(fnn.InputError, match="with_cache: expected a model with MultiHeadAttention"):
        fnn.with_cache(fnn.Dense(3), {}, x, 4)
    with pytest.raises(fnn.InputError, match=r"with_cache: expected a Layer as model, got a Task\. Pass task\.model"):
        fnn.with_cache(fnn.Task(fnn.Dense(3), "mse"), {}, x, 4)
    with pytest.raises(fnn.InputError, match="with_cache: expected length to be an integer of at least 1, got 0"):
        fnn.with_cache(attend(), {}, x, 0)
    long = fnn.Sequential(fnn.PositionEmbedding(5), attend())
    with pytest.raises(fnn.InputError, match=r"PositionEmbedding: expected a cache of at most 5 steps.*got 6"):
        fnn.with_cache(long, {}, x, 6)
    lstm = fnn.LSTM(2)
    params, state = lstm.init(key, x)
    with pytest.raises(fnn.InputError, match=r"carry.h of dtype float32 and shape \(batch, units\) = \(2, 2\)"):
        lstm.apply(params, fnn.with_cache(lstm, state, x[:1], 4), x)
    params, state = attend().init(key, x)
    cached = fnn.with_cache(attend(), state, x[:1], 4)
    with pytest.raises(fnn.InputError, match=r"keys like those of its cache, float32\[1, 4, 4, 2\], got float32\[2, 3"):
        attend().apply(params, cached, x)
    with pytest.raises(fnn.InputError, match="expected one sequence with a cache"):
        attend().apply(params, cached, {"query": x[:1], "mask": np.ones((1, 3, 3), bool)})


RECURRENT = {
    "LSTM": lambda: fnn.LSTM(4, return_sequences=True),
    "GRU": lambda: fnn.GRU(4, return_sequences=True, reset_after=False),
    "Repeated": lambda: fnn.Repeated(fnn.SimpleRNN(4, return_sequences=True), 2),
    # The steps of the inner sequence are not those that come in pieces: each starts from zeros.
    "TimeDistributed": lambda: fnn.Sequential(
        fnn.Reshape((-1, 2, 2)), fnn.TimeDistributed(fnn.LSTM(4)), fnn.SimpleRNN(4, return_sequences=True)
    ),
}


@pytest.mark.parametrize(
    "name", [name if name == "LSTM" else pytest.param(name, marks=pytest.mark.slow) for name in RECURRENT]
)
def test_recurrent_layers_in_pieces(name):
    """Pieces of 2, 1 and 3 steps, of which some are masked."""
    model = RECURRENT[name]()
    x = np.random.default_rng(3).normal(size=(2, 6, 4)).astype("f")
    masks = [None] if name == "TimeDistributed" else [None, np.array([[False, True] * 3, [True] * 5 + [False]])]
    params, state = jax.jit(model.init)(jax.random.key(0), x)
    apply = jax.jit(model.apply)
    for mask in masks:
        cached, outputs = fnn.with_cache(model, state, x[:, :1], 6), []
        for piece in (slice(0, 2), slice(2, 3), slice(3, 6)):
            y, cached = apply(params, cached, x[:, piece] if mask is None else fnn.Masked(x[:, piece], mask[:, piece]))
            outputs.append(y if mask is None else y.x)
        whole, _ = apply(params, state, x if mask is None else fnn.Masked(x, mask))
        np.testing.assert_allclose(np.concatenate(outputs, 1), whole if mask is None else whole.x, 1e-5, 1e-6)
        carries = [leaf for path, leaf in fnn.paths(cached).items() if "carry" in path]
        assert carries
        assert all(np.abs(carry).max() > 0 for carry in carries)


@pytest.mark.parametrize("layer", ["attend", "positions"])
def test_a_layer_with_a_cache_that_a_model_calls_twice(layer):
    def twice(layers, x):
        x = layers.positions(layers.attend(x))
        return getattr(layers, layer)(x)

    model = fnn.Model(twice, attend=fnn.Residual(attend()), positions=fnn.PositionEmbedding(9))
    x = np.ones((1, 3, 4), "f")
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    assert jax.eval_shape(model.apply, params, state, x)[0].shape == x.shape
    with pytest.raises(fnn.InputError, match=f"layer '{layer}' .*one call of a layer with a cache"):
        jax.eval_shape(model.apply, params, fnn.with_cache(model, {}, x, 4), x)
