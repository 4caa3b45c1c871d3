"""Attention and MultiHeadAttention: against PyTorch, Keras and jax.nn in values and gradients, with every mask."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is the reference here")

BATCH, TIME, STEPS, HEADS, SIZE, VALUE = 3, 5, 5, 4, 6, 7
RNG = np.random.default_rng(0)
PADDED = {"right": np.arange(STEPS) < [[5], [3], [2]], "left": np.arange(STEPS) >= [[0], [2], [4]]}
CAUSAL = np.tril(np.ones((1, TIME, STEPS), bool))
MASKS = {
    "none": (None, False),
    "causal": (None, True),
    "padding right": (PADDED["right"][:, None], False),
    "padding left": (PADDED["left"][:, None], False),
    "causal and padding right": (PADDED["right"][:, None], True),
    "causal and padding left": (PADDED["left"][:, None], True),  # the first rows may look nowhere
    "arbitrary": (RNG.random((BATCH, TIME, STEPS)) < 0.4, False),
    "by head": (RNG.random((BATCH, HEADS, TIME, STEPS)) < 0.4, False),
    "nowhere at all": (np.zeros((1, 1, 1, STEPS), bool), False),
}


def whole(mask, causal):
    """The mask as (batch, heads, time, steps)."""
    see = np.ones((BATCH, HEADS, TIME, STEPS), bool)
    if mask is not None:
        see = see & (mask if mask.ndim == 4 else mask[:, None])
    return see & CAUSAL if causal else see


@functools.cache
def numbers(dtype="float32", key_heads=HEADS):
    rng = np.random.default_rng(1)
    shapes = [(BATCH, TIME, HEADS, SIZE), (BATCH, STEPS, key_heads, SIZE), (BATCH, STEPS, key_heads, VALUE)]
    rounded = [jnp.asarray(rng.normal(size=shape), dtype) for shape in [*shapes, (BATCH, TIME, HEADS, VALUE)]]
    return rounded[:3], rounded[3]


@functools.partial(jax.jit, static_argnames="causal")
def value_and_gradients(heads, cotangent, mask, causal):
    y, back = jax.vjp(lambda q, k, v: fnn.attention(q, k, v, mask, causal=causal), *heads)
    return y, back(cotangent)


@needs_torch
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float32") for name in MASKS),
        ("causal and padding left", "bfloat16"),
        *(
            pytest.param(name, "bfloat16", marks=pytest.mark.slow)
            for name in MASKS
            if name != "causal and padding left"
        ),
    ],
)
def test_attention_equals_torch(name, dtype, strict_promotion):
    mask, causal = MASKS[name]
    heads, cotangent = numbers(dtype)
    y, grads = value_and_gradients(heads, cotangent, mask, causal)
    see = whole(mask, causal)
    q, k, v = (torch.tensor(np.asarray(a, np.float64), requires_grad=True) for a in heads)
    right = scaled_dot_product(q, k, v, see)
    right.backward(torch.tensor(np.asarray(cotangent, np.float64)))
    tolerance = 5e-6 if dtype == "float32" else 0.05
    assert y.dtype == dtype
    for got, want in zip((y, *grads), (right.detach(), q.grad, k.grad, v.grad), strict=True):
        np.testing.assert_allclose(np.asarray(got, np.float64), want.numpy(), tolerance, tolerance)
    empty = ~see.any(-1).transpose(0, 2, 1)
    assert (np.asarray(y, np.float64)[empty] == 0).all()
    assert (np.asarray(grads[0], np.float64)[empty] == 0).all()


def scaled_dot_product(q, k, v, see):
    """PyTorch's function on the rows that may look somewhere, and 0 for the others."""
    see = torch.tensor(see)
    some = see.any(-1, keepdim=True)
    q, k, v = (a.transpose(1, 2) for a in (q, k, v))
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=see | ~some)
    return torch.where(some, y, 0).transpose(1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["causal", "padding right", "by head"])
def test_attention_equals_jax_nn(name):
    mask, causal = MASKS[name]
    heads, cotangent = numbers()
    heads = [*heads[:2], heads[2][..., :SIZE]]
    y, grads = value_and_gradients(heads, cotangent[..., :SIZE], mask, causal)
    see = whole(mask, causal)
    some = see.any(-1, keepdims=True)
    theirs, back = jax.vjp(lambda q, k, v: jax.nn.dot_product_attention(q, k, v, mask=see | ~some), *heads)
    rows = some.transpose(0, 2, 1, 3)
    for got, want in zip((y, *grads), (np.where(rows, theirs, 0), *back(cotangent[..., :SIZE] * rows)), strict=True):
        np.testing.assert_allclose(got, want, 5e-6, 5e-6)


@needs_torch
def test_fewer_heads_of_keys_equal_repeated_ones():
    """Query heads 0 and 1 look at key head 0, and 2 and 3 at key head 1, as in PyTorch's enable_gqa."""
    heads, cotangent = numbers(key_heads=2)
    mask, _ = MASKS["by head"]
    y, grads = value_and_gradients(heads, cotangent, mask, causal=False)
    q, k, v = (torch.tensor(np.asarray(a, np.float64), requires_grad=True) for a in heads)
    right = scaled_dot_product(q, *(a.repeat_interleave(2, 2) for a in (k, v)), whole(mask, causal=False))
    right.backward(torch.tensor(np.asarray(cotangent, np.float64)))
    for got, want in zip((y, *grads), (right.detach(), q.grad, k.grad, v.grad), strict=True):
        np.testing.assert_allclose(got, want.numpy(), 5e-6, 5e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_a_masked_value_does_not_spread(bad):
    (q, k, v), cotangent = numbers()
    mask, causal = MASKS["causal and padding right"]
    clean = value_and_gradients((q, k, v), cotangent, mask, causal)
    hidden = ~PADDED["right"][:, :, None, None]
    dirty = value_and_gradients((q, jnp.where(hidden, bad, k), jnp.where(hidden, bad, v)), cotangent, mask, causal)
    for got, want in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_allclose(got, want, 1e-6, 1e-6)
    # In the last step of a causal sequence only the last row sees it, and a loss may leave that row out.
    cotangent = cotangent.at[:, -1].set(0)
    clean = value_and_gradients((q, k, v), cotangent, None, True)
    dirty = value_and_gradients((q, k.at[:, -1].set(bad), v.at[0, -1, 0, 0].set(bad)), cotangent, None, True)
    assert np.isnan(dirty[0][:, -1]).all()
    for got, want in zip((dirty[0][:, :-1], *dirty[1]), (clean[0][:, :-1], *clean[1]), strict=True):
        np.testing.assert_allclose(got, want, 1e-6, 1e-6)
    dirty = value_and_gradients((q.at[:, -1].set(bad), k, v), cotangent, None, True)
    for got, want in zip((dirty[0][:, :-1], *dirty[1]), (clean[0][:, :-1], *clean[1]), strict=True):
        np.testing.assert_allclose(got, want, 1e-6, 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["key", "value"])
def test_from_a_bad_step_on_its_head_alone_is_nan(which, bad):
    (q, k, v), _ = numbers()
    clean = fnn.attention(q, k, v, causal=True)
    heads = {"key": k, "value": v}
    heads[which] = heads[which].at[1, 2, 0, 1].set(bad)
    dirty = fnn.attention(q, heads["key"], heads["value"], causal=True)
    want = np.array(clean)
    want[1, 2:, 0] = np.nan
    np.testing.assert_allclose(dirty, want, 1e-6, 1e-6)


@pytest.mark.slow
def test_dropout_of_the_weights():
    (q, k, v), _ = numbers()
    key, rate = jax.random.key(3), 0.4
    y = jax.jit(lambda rate: fnn.attention(q, k, v, causal=True, dropout=rate, dropout_key=key))(rate)
    scores = np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(SIZE)
    weights = np.where(CAUSAL[:, None], np.exp(scores), 0)
    weights = fnn.dropout(key, jnp.asarray(weights / weights.sum(-1, keepdims=True))[:, :, None], rate)[:, :, 0]
    np.testing.assert_allclose(y, np.einsum("bnts,bsnh->btnh", weights, v), 1e-5, 1e-5)
    assert 0.2 < (np.asarray(weights)[np.broadcast_to(CAUSAL[:, None], weights.shape)] == 0).mean() < 0.6


# ------------------------------------------------------------------------------------------------- multi-head attention
FEATURES, OTHER = 6, 8


def randomized(layer, x, seed=0):
    """Parameters that all differ, biases too, and no state."""
    rng = np.random.default_rng(seed)
    params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
    assert not jax.tree.leaves(state)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape) * 0.5, a.dtype), params)


@functools.cache
def sequences():
    rng = np.random.default_rng(2)
    return [rng.normal(size=(BATCH, n, width)).astype("f") for n, width in ((4, FEATURES), (5, OTHER), (5, 3))]


KERAS_CASES = {
    "self": ({}, lambda q, v, k: q, {}),
    "causal": ({"use_bias": False}, lambda q, v, k: q, {"use_causal_mask": True}),
    "cross": ({"output_shape": 7}, lambda q, v, k: (q, v), {}),
    "cross with keys": ({}, lambda q, v, k: (q, v, k), {}),
    "masked": (
        {},
        lambda q, v, k: {"query": q, "value": v, "mask": np.arange(5) <= np.arange(4)[:, None] + [[[0]], [[1]], [[0]]]},
        {},
    ),
}


@pytest.mark.parametrize(
    "name",
    [name if name == "cross with keys" else pytest.param(name, marks=pytest.mark.slow) for name in KERAS_CASES],
)
def test_multi_head_attention_equals_keras(name):
    keras = pytest.importorskip("keras", reason="Keras is the reference here")
    options, choose, call = KERAS_CASES[name]
    x = choose(*sequences())
    ours = fnn.MultiHeadAttention(3, 4, causal=bool(call), **options)
    params = randomized(ours, x)
    theirs = keras.layers.MultiHeadAttention(3, 4, **options)
    parts = (
        x
        if isinstance(x, dict)
        else dict(zip(("query", "value", "key"), x if type(x) is tuple else (x, x), strict=False))
    )
    given = {**call, **({"attention_mask": parts["mask"]} if "mask" in parts else {})}
    inputs = {name: parts[name] for name in ("query", "value", "key") if name in parts}
    theirs.build(*(inputs.get(name, inputs["value"]).shape for name in ("query", "value", "key")))
    names = {"attention_output": "output"}
    places = [[names.get(part, part) for part in v.path.split("/")[-2:]] for v in theirs.weights]
    weights = [params[part][leaf] for part, leaf in places]
    assert [v.shape for v in theirs.weights] == [w.shape for w in weights]
    assert len(weights) == len(jax.tree.leaves(params))

    @jax.jit
    def both(params, inputs, weights, cotangent):
        def mine(params, inputs):
            return ours.apply(params, {}, {**parts, **inputs} if isinstance(x, dict) else _like(x, inputs))[0]

        def reference(weights, inputs):
            return theirs.stateless_call(weights, [], **inputs, **given)[0]

        y, back = jax.vjp(mine, params, inputs)
        right, right_back = jax.vjp(reference, weights, inputs)
        return (y, back(cotangent)), (right, right_back(cotangent))

    if type(x) is not tuple and not isinstance(x, dict):
        inputs = {"query": x, "value": x}
    cotangent = np.random.default_rng(3).normal(size=(BATCH, 4, options.get("output_shape", FEATURES))).astype("f")
    (y, (slope, x_slope)), (right, (right_slope, right_x_slope)) = both(params, inputs, weights, cotangent)
    np.testing.assert_allclose(y, right, 1e-5, 1e-5)
    for (part, leaf), want in zip(places, right_slope, strict=True):
        np.testing.assert_allclose(slope[part][leaf], want, 2e-5, 2e-5)
    np.testing.assert_allclose(sum(map(_flat, x_slope.values())), sum(map(_flat, right_x_slope.values())), 1e-4, 1e-4)


def _like(x, inputs):
    return tuple(inputs[name] for name in ("query", "value", "key")[: len(x)]) if type(x) is tuple else inputs["query"]


def _flat(a):
    return np.asarray(a).sum()


@needs_torch
@pytest.mark.parametrize("side", PADDED)
def test_multi_head_attention_equals_torch(side):
    """Self-attention of a padded, causal sequence, with the weights in PyTorch's packed form."""
    x = np.random.default_rng(4).normal(size=(BATCH, TIME, 8)).astype("f")
    ours = fnn.MultiHeadAttention(2, 4, causal=True)
    params = randomized(ours, x)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    flat = {name: {leaf: np.asarray(a, np.float64) for leaf, a in part.items()} for name, part in params.items()}
    with torch.no_grad():
        packed = [flat[name]["kernel"].reshape(8, 8).T for name in ("query", "key", "value")]
        theirs.in_proj_weight.copy_(torch.tensor(np.concatenate(packed)))
        theirs.in_proj_bias.copy_(
            torch.tensor(np.concatenate([flat[n]["bias"].ravel() for n in ("query", "key", "value")]))
        )
        theirs.out_proj.weight.copy_(torch.tensor(flat["output"]["kernel"].reshape(8, 8).T))
        theirs.out_proj.bias.copy_(torch.tensor(flat["output"]["bias"]))
    real = PADDED[side]
    cotangent = np.random.default_rng(5).normal(size=x.shape) * real[..., None]
    given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    # Rows at the padding, some of which look nowhere, are left out of the loss; PyTorch lets them see themselves.
    see = torch.tensor((CAUSAL & real[:, None]) | np.eye(TIME, dtype=bool)).repeat_interleave(2, 0)
    right, _ = theirs(given, given, given, attn_mask=~see, need_weights=False)
    right.backward(torch.tensor(cotangent))

    @jax.jit
    def mine(params, x):
        def out(params, x):
            y, _ = ours.apply(params, {}, fnn.Masked(x, real))
            assert isinstance(y, fnn.Masked)
            return y.x

        y, back = jax.vjp(out, params, x)
        return y, back(cotangent.astype("f"))

    y, (slope, x_slope) = mine(params, x)
    np.testing.assert_allclose(np.asarray(y)[real], right.detach().numpy()[real], 2e-5, 2e-5)
    np.testing.assert_allclose(np.asarray(x_slope)[real], given.grad.numpy()[real], 2e-5, 2e-5)
    np.testing.assert_allclose(slope["output"]["kernel"].reshape(8, 8).T, theirs.out_proj.weight.grad, 2e-5, 2e-5)
    packed = np.concatenate([slope[name]["kernel"].reshape(8, 8).T for name in ("query", "key", "value")])
    np.testing.assert_allclose(packed, theirs.in_proj_weight.grad, 2e-5, 5e-5)
    # Padding may hold anything.
    bad = mine(params, np.where(real[..., None], x, np.nan).astype("f"))
    for got, want in zip(jax.tree.leaves((bad[0][real], bad[1][0])), jax.tree.leaves((y[real], slope)), strict=True):
        np.testing.assert_allclose(got, want, 1e-5, 1e-5)


def test_initial_values_are_those_of_keras():
    """The limit of Keras's glorot_uniform, whose fans are those of a convolution."""
    params = fnn.multi_head_attention_init(jax.random.key(0), 32, 4, 8)
    for name, fans in (("query", 32 * 4 + 32 * 8), ("output", 4 * 8 + 4 * 32)):
        kernel, limit = np.asarray(params[name]["kernel"]), np.sqrt(6 / fans)
        assert 0.97 * limit < np.abs(kernel).max() <= limit
        assert abs(kernel.std() - limit / 3**0.5) < 0.05 * limit
    assert {leaf for part in params.values() for leaf in part} == {"kernel", "bias"}
    kernels = [np.asarray(params[name]["kernel"]).ravel()[:9] for name in ("query", "key", "value")]
    assert len(np.unique(np.round(kernels, 5))) == 27


def test_forms_of_the_input_agree():
    q, v, k = sequences()
    masks = np.arange(4) < [[4], [2], [3]], np.arange(5) < [[5], [1], [3]]
    cross, alone = fnn.MultiHeadAttention(2, 3), fnn.MultiHeadAttention(2, 4, rotary=True)
    params, own = randomized(cross, (q, v, k)), randomized(alone, q)

    @jax.jit
    def outputs(params, own):
        return (
            cross.apply(params, {}, (fnn.Masked(q, masks[0]), fnn.Masked(v, masks[1]), k))[0],
            cross.apply(params, {}, {"query": fnn.Masked(q, masks[0]), "value": v, "key": fnn.Masked(k, masks[1])})[0],
            cross.apply(params, {}, {"query": q, "value": v, "key": k, "mask": masks[1][:, None, None]})[0],
            fnn.multi_head_attention(params, q, v, k, np.broadcast_to(masks[1][:, None], (3, 4, 5))),
            alone.apply(own, {}, q)[0],
            alone.apply(own, {}, {"query": q})[0],
            fnn.multi_head_attention(own, q, rotary=True),
            fnn.multi_head_attention(own, q),
        )

    out, same, mask, pure, a, b, c, still = outputs(params, own)
    np.testing.assert_array_equal(out.mask, masks[0])
    for other in (same.x, mask, pure):
        np.testing.assert_allclose(other[masks[0]], out.x[masks[0]], 1e-6, 1e-6)
    np.testing.assert_allclose(a, b, 1e-6, 1e-6)
    np.testing.assert_allclose(a, c, 1e-6, 1e-6)
    assert not np.allclose(a, still, atol=1e-3)


def test_masks_of_padding_and_of_the_user_are_joined():
    x, _, _ = sequences()
    layer = fnn.MultiHeadAttention(2, 3)
    params = randomized(layer, x)
    real, mask = np.arange(4) < [[4], [2], [3]], np.arange(4) <= np.arange(4)[:, None]

    @jax.jit
    def outputs(params):
        both = layer.apply(params, {}, {"query": fnn.Masked(x, real), "mask": mask[None]})[0].x
        return both, fnn.multi_head_attention(params, x, mask=mask & real[:, None])

    joined, right = outputs(params)
    np.testing.assert_allclose(joined[real], right[real], 1e-5, 1e-6)
    with pytest.raises(
        fnn.InputError, match=r"MultiHeadAttention, mask: expected a mask that broadcasts to .*\(3, 2, 4, 4"
    ):
        layer.apply(params, {}, {"query": fnn.Masked(x, real), "mask": mask[None, :, :3]})


def test_several_arguments_in_a_model():
    q, v, _ = sequences()
    model = fnn.Model(lambda layers, x: layers.cross(x["a"], x["b"]), cross=fnn.MultiHeadAttention(2, 3, 3))
    x = {"a": q, "b": v}
    params = randomized(model, x)
    both = jax.jit(lambda p: (model.apply(p, {}, x)[0], fnn.multi_head_attention(p["cross"], q, v)))
    np.testing.assert_allclose(*both(params), 1e-5)


def test_dropout_in_training_alone():
    x = sequences()[0]
    layer = fnn.MultiHeadAttention(2, 4, dropout=0.5)
    params = randomized(layer, x)
    run = jax.jit(lambda key, train: layer.apply(params, {}, x, key=key, train=train)[0], static_argnums=1)
    still, same = run(None, False), run(jax.random.key(0), False)
    np.testing.assert_array_equal(still, same)
    one, two = (run(jax.random.key(i), True) for i in range(2))
    assert not np.allclose(one, two, atol=1e-3)
    assert not np.allclose(one, still, atol=1e-3)
    with pytest.raises(fnn.InputError, match=r"attention: expected a key for its dropout, got None"):
        layer.apply(params, {}, x, train=True)
    jax.eval_shape(lambda: fnn.MultiHeadAttention(2, 4).apply(params, {}, x, train=True))


@pytest.mark.slow
def test_attention_is_trained_by_fit():
    """Which of the first four steps is marked? Only attention from the last step can tell."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 5, 6)).astype("f") * 0.1
    y = rng.integers(4, size=256)
    x[np.arange(256), y, 0] = 3
    x[..., 1:5] += np.eye(5, 4, dtype="f")
    model = fnn.Sequential(fnn.MultiHeadAttention(2, 8, rotary=True), fnn.Activation(lambda x: x[:, -1]), fnn.Dense(4))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(2e-2), metrics=("accuracy",))
    ts, history = fnn.fit(task, fnn.init(task, jax.random.key(0), x), (x, y), epochs=15, batch_size=64, verbose=0)
    assert history["accuracy"][-1] > 0.95
    masked = fnn.Masked(x, np.ones((256, 5), bool))
    assert fnn.predict(task, ts, masked.x).shape == (256, 4)
