"""`Masked`, the type of padded sequences, in layers, losses, metrics and data; against Keras."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import fnn
from fnn import InputError, Masked

KEY = jax.random.key(0)
MASK = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]], bool)
LAYERS = {
    "Dense": lambda: fnn.Dense(3),
    "Activation": lambda: fnn.Activation("tanh"),
    "Dropout": lambda: fnn.Dropout(0.5),
    "LayerNorm": lambda: fnn.LayerNorm(),
    "BatchNorm": lambda: fnn.BatchNorm(),
    "ActivityRegularization": lambda: fnn.ActivityRegularization(0.1),
    "SimpleRNN": lambda: fnn.SimpleRNN(3, return_sequences=True),
    "LSTM": lambda: fnn.LSTM(3, return_sequences=True),
    "GRU": lambda: fnn.GRU(3, return_sequences=True),
}
ARRAY_LAYERS = {
    "Flatten": lambda: fnn.Flatten(),
    "Reshape": lambda: fnn.Reshape((2, -1)),
    "Conv": lambda: fnn.Conv(2, 2),
    "DepthwiseConv": lambda: fnn.DepthwiseConv(2),
    "ConvTranspose": lambda: fnn.ConvTranspose(2, 2),
    "MaxPool": lambda: fnn.MaxPool(2),
    "AvgPool": lambda: fnn.AvgPool(2),
}


def floats(rng, *shape):
    return jnp.asarray(rng.normal(size=shape).astype("float32"))


def sequences(rng, width=2):
    return Masked(floats(rng, *MASK.shape, width), jnp.asarray(MASK))


def weights(layer, x):
    """Parameters and state of distinct numbers from NumPy, which compiles nothing."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(layer.init, KEY, x)
    return jax.tree.map(lambda a: np.asarray(rng.uniform(0.5, 2, a.shape), a.dtype), shapes)


def applied(layer, x, **kwargs):
    params, state = weights(layer, x)
    return jax.jit(lambda x: layer.apply(params, state, x, **kwargs)[0])(x)


# ------------------------------------------------------------------------------------------------------------ the type
def test_it_is_a_pytree_but_not_a_tuple(rng):
    x = sequences(rng)
    assert not isinstance(x, tuple)
    assert fnn.paths(x).keys() == {"x", "mask"}
    assert repr(x) == "Masked(float32[5, 4, 2], bool[5, 4])"
    assert x[1:3].x.shape == (2, 4, 2)
    np.testing.assert_array_equal(x[np.array([3, 0])].mask, MASK[[3, 0]])
    np.testing.assert_array_equal(jax.jit(lambda m: m.x * 2)(x), x.x * 2)
    assert jax.eval_shape(lambda m: m, x).mask.dtype == bool
    # Transformations replace arrays by arbitrary objects.
    assert jax.tree.map(lambda _: None, x).x is None
    assert jax.tree.leaves(jax.tree.map(lambda _: object(), x)) != []
    y = jax.vmap(lambda m: Masked(m.x.sum(0), m.mask))(x)
    assert y.x.shape == (5, 2)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda m: np.asarray(m), r"Masked: expected one array, got Masked\(.*masked\.x\[masked\.mask\]"),
        (lambda m: fnn.metrics.accuracy(m, np.zeros(5)), r"Masked: expected one array"),
        (lambda m: m[0], r"Masked: expected a slice or row numbers \(rows,\) as index, got 0.*masked\.x"),
    ],
)
def test_functions_of_arrays_reject_it(use, text, rng):
    with pytest.raises(InputError, match=text):
        use(sequences(rng))


def test_it_cannot_be_unpacked(rng):
    with pytest.raises(TypeError, match="Masked"):
        _, _ = sequences(rng)[:2]


# ---------------------------------------------------------------------------------------------- tuples are refused
@pytest.mark.parametrize("kind", [*LAYERS, *ARRAY_LAYERS])
@pytest.mark.parametrize("made", [tuple, list])
def test_two_inputs_are_never_taken_for_a_masked_sequence(kind, made, rng):
    layer = {**LAYERS, **ARRAY_LAYERS}[kind]()
    x = floats(rng, 2, 3, 4)
    params, state = weights(layer, x)
    two = made([x, floats(rng, 2, 5)])
    got = rf"{kind}: expected one array.*got a {made.__name__} of 2: float32\[2, 3, 4\], float32\[2, 5\]"
    for call in (
        lambda: layer.apply(params, state, two),
        lambda: layer.apply(params, state, two, key=KEY, train=True),
        lambda: fnn.Sequential(layer).apply({layer.name: params}, {layer.name: state}, two),
    ):
        with pytest.raises(InputError, match=got):
            call()
    if kind in LAYERS:
        old = made([x, np.ones((2, 3), bool)])
        with pytest.raises(InputError, match=rf"{kind}: .*Write fnn.Masked\(x, mask\)"):
            layer.apply(params, state, old)
    else:
        with pytest.raises(InputError, match=rf"{kind}: expected one array, got Masked.*cannot use a mask"):
            layer.apply(params, state, Masked(x, jnp.ones((2, 3), bool)))


@pytest.mark.parametrize("kind", ["Dense", "LayerNorm", "BatchNorm", "LSTM", "ActivityRegularization", "Conv"])
def test_init_rejects_a_tuple_of_two(kind, rng):
    two = (floats(rng, 2, 3, 4), floats(rng, 2, 5))
    with pytest.raises(InputError, match=rf"{kind}: expected one array.*a tuple of 2"):
        {**LAYERS, **ARRAY_LAYERS}[kind]().init(KEY, two)


@pytest.mark.parametrize("layer", [fnn.Embedding(5, 2), fnn.OneHot(5), fnn.GlobalAvgPool(), fnn.GlobalMaxPool()])
def test_other_layers_reject_a_tuple_of_two(layer, rng):
    ids = np.ones((2, 3), "int32") if layer.kind in ("Embedding", "OneHot") else floats(rng, 2, 3, 4)
    params, _ = weights(layer, ids)
    with pytest.raises(InputError, match=rf"{layer.kind}: .*a tuple of 2: .*Write fnn.Masked"):
        layer.apply(params, {}, (ids, jnp.ones((2, 3), bool)))
    block = fnn.Residual(fnn.Layer(lambda key, x: ({}, {}), lambda p, s, x, **_: ((x, x), s)))
    with pytest.raises(InputError, match=r"residual body: .*a tuple of 2"):
        block.apply({}, {}, floats(rng, 2, 3))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (jnp.ones((5, 4)), r"a boolean mask of shape \(batch, time\) = \(5, 4\).*float32\[5, 4\].*mask.astype\(bool\)"),
        (jnp.ones((5, 3), bool), r"a boolean mask of shape \(batch, time\) = \(5, 4\).*bool\[5, 3\]"),
        (jnp.ones((), bool), r"a boolean mask"),
        ([True], r"mask: expected a boolean array \(batch, time\), got a list"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(kind, mask, text, rng):
    layer, x = LAYERS[kind](), sequences(rng)
    params, state = weights(layer, x)
    with pytest.raises(InputError, match=rf"{kind}, mask: .*{text}|{kind}, {text}"):
        layer.apply(params, state, Masked(x.x, mask))


def test_swapped_arguments_get_a_hint(rng):
    x = sequences(rng)
    with pytest.raises(InputError, match=r"The order is fnn.Masked\(x, mask\)"):
        applied(fnn.Dense(2), Masked(x.mask, x.x))


# ------------------------------------------------------------------------------------------------------------- layers
@pytest.mark.parametrize("kind", LAYERS)
def test_stepwise_layers_pass_the_mask_through(kind, rng):
    layer, x = LAYERS[kind](), sequences(rng)
    params, state = weights(layer, x)

    @jax.jit
    def outputs(x):
        each = (x, {}), (x, {"key": KEY, "train": True}), (x.x, {})
        return [layer.apply(params, state, given, **kwargs)[0] for given, kwargs in each]

    *masked, plain = outputs(x)
    for y in masked:
        assert isinstance(y, Masked)
        assert y.x.shape[:2] == MASK.shape
        np.testing.assert_array_equal(y.mask, MASK)
    if kind in ("Dense", "Activation", "LayerNorm", "ActivityRegularization"):
        np.testing.assert_array_equal(y.x, plain)


def test_ids_may_be_masked():
    ids = Masked(np.array([[1, 0, 2], [3, 4, 0]], "int32"), np.array([[True, True, False], [True, True, True]]))
    one = applied(fnn.OneHot(5), ids)
    np.testing.assert_array_equal(one.x, np.eye(5)[ids.x])
    np.testing.assert_array_equal(one.mask, ids.mask)
    np.testing.assert_array_equal(applied(fnn.Embedding(5, 2), ids).mask, ids.mask)
    joined = applied(fnn.Embedding(5, 2, mask_zero=True), ids)
    np.testing.assert_array_equal(joined.mask, [[True, False, False], [True, True, False]])
    assert applied(fnn.LSTM(2, input_dim=5), ids).shape == (2, 2)


def test_residual_adds_the_arrays_and_joins_the_masks(rng):
    x = sequences(rng)
    block = fnn.Residual(fnn.Dense(2))
    params, _ = weights(block, x)
    y, _ = jax.jit(block.apply)(params, {}, x)
    dense = params["body"]["dense"]
    np.testing.assert_allclose(y.x, x.x + (np.asarray(x.x) @ dense["kernel"] + dense["bias"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(y.mask, MASK)
    backwards = applied(fnn.Residual(fnn.LSTM(2, return_sequences=True, go_backwards=True)), x)
    np.testing.assert_array_equal(backwards.mask, MASK & MASK[:, ::-1])
    with pytest.raises(InputError, match=r"residual: expected a mask from body and shortcut, or from neither"):
        applied(fnn.Residual(fnn.LSTM(2)), x)


def test_bidirectional_without_merging_gives_two_masked_sequences(rng):
    forward, backward = applied(fnn.Bidirectional(fnn.GRU(3, return_sequences=True), None), sequences(rng))
    assert forward.x.shape == backward.x.shape == (5, 4, 3)
    np.testing.assert_array_equal(forward.mask, MASK)


def test_global_pooling_over_a_masked_sequence(rng):
    x = sequences(rng)
    spoilt = np.where(MASK[..., None], x.x, np.float32(np.nan))
    for layer, reduce in ((fnn.GlobalAvgPool(), np.mean), (fnn.GlobalMaxPool(), np.max)):

        @jax.jit
        def both(v, layer=layer):
            y, pullback = jax.vjp(lambda v: layer.apply({}, {}, Masked(v, x.mask))[0], v)
            return y, pullback(jnp.ones_like(y))[0]

        y, slope = map(np.asarray, both(spoilt))
        some = MASK.any(1)
        expected = [reduce(np.asarray(row)[keep], 0) for row, keep in zip(x.x, MASK, strict=True) if keep.any()]
        np.testing.assert_allclose(y[some], expected, rtol=1e-6)
        np.testing.assert_array_equal(y[~some], 0)
        np.testing.assert_allclose(slope.sum(1)[some], 1, rtol=1e-6)
        np.testing.assert_array_equal(slope[~MASK], 0)
    with pytest.raises(InputError, match=r"global_avg_pool: expected a boolean mask of shape"):
        fnn.global_avg_pool(x.x, mask=MASK[:, :2])


def test_pooling_and_batch_norm_match_keras(rng):
    keras = pytest.importorskip("keras", reason="Keras is the reference here")
    x, mask = floats(rng, 3, 4, 2), jnp.asarray(MASK[[0, 1, 3]])
    out = jnp.asarray(rng.normal(size=(3, 2)).astype("f"))
    pool = keras.layers.GlobalAveragePooling1D()
    ours, theirs = (
        jax.jit(jax.value_and_grad(fn))(x)
        for fn in (
            lambda x: jnp.vdot(out, fnn.GlobalAvgPool().apply({}, {}, Masked(x, mask))[0]),
            lambda x: jnp.vdot(out, pool(x, mask=mask)),
        )
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-7)

    norm, layer = keras.layers.BatchNormalization(), fnn.BatchNorm()
    norm.build(x.shape)
    params, state = jax.jit(lambda: layer.init(KEY, x))()
    cotangent = floats(rng, 3, 4, 2)
    fixed = [v.value for v in norm.non_trainable_variables]
    tuned = {"gamma": jnp.array([0.5, 1.5]), "beta": jnp.array([-1.0, 2.0])}

    def mine(x):
        y, new = layer.apply(tuned, state, Masked(x, mask), train=True)
        return jnp.sum(cotangent * y.x), new

    def keras_s(x):
        y, new = norm.stateless_call([tuned["gamma"], tuned["beta"]], fixed, x, mask=mask, training=True)
        return jnp.sum(cotangent * y), new

    (ours, stats), slope = jax.jit(jax.value_and_grad(mine, has_aux=True))(x)
    (theirs, moving), keras_slope = jax.jit(jax.value_and_grad(keras_s, has_aux=True))(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(slope, keras_slope, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stats["moving_mean"], moving[0], rtol=1e-5)
    np.testing.assert_allclose(stats["moving_variance"], moving[1], rtol=1e-5)
    assert params.keys() == tuned.keys()


# ------------------------------------------------------------------------------------------------------ masked outputs
@pytest.mark.slow
def test_the_loss_of_a_masked_output_matches_keras(rng):
    """Values and gradients, with and without weights; each step that the mask keeps is an example."""
    keras = pytest.importorskip("keras", reason="Keras is the reference here")
    x = sequences(rng, 3)
    params = {"kernel": floats(rng, 3, 2), "bias": floats(rng, 2)}
    weight = jnp.asarray(rng.uniform(0.5, 2, 5).astype("f"))
    dense = keras.layers.Dense(2, kernel_initializer="zeros")
    dense.build((None, 4, 3))
    for name, y, theirs in (
        ("mse", floats(rng, 5, 4, 2), keras.losses.MeanSquaredError()),
        (
            "sparse_categorical_crossentropy",
            jnp.asarray(rng.integers(0, 2, (5, 4))),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ),
    ):
        task = fnn.Task(fnn.Dense(2), name, fnn.sgd(1.0))
        ts = fnn.init(task, KEY, x)._replace(params=params)
        for batch in ((x, y), (x, y, weight)):

            def keras_s(params, batch=batch, theirs=theirs):
                out = dense.stateless_call([params["kernel"], params["bias"]], [], batch[0].x)[0]
                sample = batch[2] if len(batch) == 3 else None
                steps = theirs.__class__(**{**theirs.get_config(), "reduction": None})
                values = steps(batch[1], out)  # (batch, time)
                kept = batch[0].mask * (1 if sample is None else sample[:, None])
                return jnp.sum(jnp.where(batch[0].mask, values, 0) * kept) / batch[0].mask.sum()

            after, logs = fnn.train_step(task, ts, batch)
            loss, slopes = jax.jit(jax.value_and_grad(keras_s))(params)
            np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)
            for leaf, slope in slopes.items():
                step = np.asarray(params[leaf]) - np.asarray(after.params[leaf])
                np.testing.assert_allclose(step, slope, rtol=1e-4, atol=1e-5)


def test_keras_itself_trains_on_the_same_loss(rng):
    """Loss and accuracy from Keras's `fit` and `evaluate` with a propagated mask."""
    keras = pytest.importorskip("keras", reason="Keras is the reference here")
    ids = (rng.integers(1, 6, MASK.shape) * MASK).astype("int32")
    y = rng.integers(0, 3, MASK.shape).astype("int32")
    weight = rng.uniform(0.5, 2, 5).astype("f")
    theirs = keras.Sequential(
        [
            keras.layers.Embedding(6, 2, embeddings_initializer="zeros", mask_zero=True),
            keras.layers.Dense(3, kernel_initializer="zeros"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile("sgd", loss, weighted_metrics=["accuracy"])
    theirs.build((None, 4))
    model = fnn.Sequential(fnn.Embedding(6, 2, mask_zero=True), fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy", metrics=("accuracy",))
    table, kernel, bias = (np.asarray(floats(rng, *w.shape)) for w in theirs.get_weights())
    theirs.set_weights([table, kernel, bias])
    ts = fnn.init(task, KEY, ids)
    ts = ts._replace(
        params={
            "embedding": {"embeddings": jnp.array(table)},
            "dense": {"kernel": jnp.array(kernel), "bias": jnp.array(bias)},
        }
    )
    for data in ((ids, y), (ids, y, weight)):
        steps = np.tile(weight[:, None], 4) if len(data) == 3 else None  # Keras only accepts weights per step here
        expected = theirs.evaluate(*data[:2], sample_weight=steps, verbose=0)
        found = fnn.evaluate(task, ts, data)
        np.testing.assert_allclose([found["loss"], found["accuracy"]], expected, rtol=1e-5)


@pytest.mark.slow
@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(st.integers(0, 2**31))
def test_padding_values_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((4, 3)) < 0.6
    x, y = rng.normal(size=(4, 3, 2)).astype("f"), rng.normal(size=(4, 3, 1)).astype("f")
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1), metrics=("mae",))
    ts = fnn.init(task, KEY, Masked(x, mask))
    wide, end = ((0, 0), (0, 2), (0, 0)), ((0, 0), (0, 2))
    longer = Masked(np.pad(x, wide, constant_values=7), np.pad(mask, end)), np.pad(y, wide, constant_values=99)
    spoilt = Masked(np.where(mask[..., None], x, 50), mask), np.where(mask[..., None], y, -50)
    hypothesis.assume(mask.any())
    kernel = np.asarray(ts.params["kernel"], np.float64)
    error = (x @ kernel - y)[mask]
    slope = 2 * x[mask].astype(np.float64).T @ error / len(error)
    for batch in ((Masked(x, mask), y), longer, spoilt):
        after, logs = fnn.train_step(task, ts, batch)
        np.testing.assert_allclose(after.params["kernel"], kernel - 0.1 * slope, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(logs["loss"], np.square(error).mean(), rtol=1e-5)
        np.testing.assert_allclose(logs["mae"], np.abs(error).mean(), rtol=1e-5)


def test_a_batch_of_only_padding_changes_nothing(rng):
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    x = Masked(floats(rng, 2, 3, 2), np.zeros((2, 3), bool))
    ts = fnn.init(task, KEY, x)
    after, _ = fnn.train_step(task, ts, (x, np.ones((2, 3, 1), "float32")))
    np.testing.assert_array_equal(after.params["kernel"], ts.params["kernel"])


def test_a_loss_that_is_not_finite_at_masked_steps_does_not_matter():
    """A custom loss, -log p, where p is 0 at a masked step."""
    p = Masked(jnp.array([[0.5, 0.0], [0.25, 0.5]]), jnp.array([[True, False], [True, True]]))
    model = fnn.Layer(
        lambda key, x: ({"scale": jnp.ones(())}, {}), lambda q, s, x, **_: (Masked(q["scale"] * x.x, x.mask), s)
    )
    task = fnn.Task(model, lambda p, y: -jnp.log(p), fnn.sgd(1.0))
    ts, logs = fnn.train_step(task, fnn.init(task, KEY, p), (p, jnp.zeros((2, 2))))
    np.testing.assert_allclose(logs["loss"], -np.log([0.5, 0.25, 0.5]).mean(), rtol=1e-6)
    np.testing.assert_allclose(ts.params["scale"], 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("y", "weight", "text"),
    [
        (np.ones((5, 1), "f"), None, r"targets of shape \(5, 4, \.\.\.\), for each step.*return_sequences=False"),
        (np.ones((5, 4, 1), "f"), np.ones((5, 3), "f"), r"sample_weight: expected shape"),
        (Masked(np.ones((5, 4, 1), "f"), MASK), None, r"targets: expected an array, got Masked.*pass y\.x"),
    ],
)
def test_targets_and_weights_that_do_not_fit_a_masked_output(y, weight, text, rng):
    task, x = fnn.Task(fnn.Dense(1), "mse"), sequences(rng)
    ts = fnn.init(task, KEY, x)
    data = (x, y) if weight is None else (x, y, weight)
    with pytest.raises(InputError, match=text):
        fnn.evaluate(task, ts, data)


def test_weights_may_be_given_by_step(rng):
    task, x, y = fnn.Task(fnn.Dense(1), "mse"), sequences(rng), floats(rng, 5, 4, 1)
    ts = fnn.init(task, KEY, x)
    weight = rng.uniform(0, 2, (5, 4)).astype("f")
    errors = np.square(np.asarray(fnn.predict(task, ts, x).x, np.float64) - y)[..., 0]
    expected = (errors * weight)[MASK].sum() / MASK.sum()
    np.testing.assert_allclose(fnn.evaluate(task, ts, (x, y, weight))["loss"], expected, rtol=1e-5)


def test_labels_out_of_range_are_refused_at_masked_steps_too(rng):
    task, x = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy"), sequences(rng)
    with pytest.raises(InputError, match=r"labels in \[0, 3\) for 3 outputs, got labels from -1"):
        fnn.evaluate(task, fnn.init(task, KEY, x), (x, np.where(MASK, 1, -1)))


# --------------------------------------------------------------------------------------------------------------- data
def model_and_data(rng, rows=10):
    mask = rng.random((rows, 4)) < 0.7
    x = Masked(rng.normal(size=(rows, 4, 2)).astype("f"), mask)
    return fnn.Sequential(fnn.Dense(3, activation="tanh"), fnn.GRU(3), fnn.Dense(1)), x, floats(rng, rows, 1)


@pytest.mark.slow
def test_drivers_take_masked_inputs(rng, tmp_path):
    model, x, y = model_and_data(rng)
    y = np.asarray(y)
    task = fnn.Task(model, "mse", fnn.sgd(0.05), metrics=("mae",))
    ts = fnn.init(task, KEY, x[:1])
    assert fnn.summary(task, x[:1]).rows[0].output_shape[0] == (None, 4, 3)
    assert "Masked" not in str(fnn.check(task, x))
    options = {"epochs": 2, "batch_size": 4, "verbose": 0}
    whole, history = fnn.fit(task, ts, (x, y), **options, validation_data=(x, y), checkpoint=tmp_path / "run")
    pieces, _ = fnn.fit(task, ts, (x, y), **options, chunk_bytes=100)
    again, _ = fnn.run(task, ts, (x, y), epochs=2, batch_size=4)
    for other in (pieces, again):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole.params, other.params)
    assert len(history["val_loss"]) == 2
    out = fnn.predict(task, whole, x, batch_size=3)
    direct = model.apply(whole.params, whole.state, jax.tree.map(jnp.asarray, x))[0]
    np.testing.assert_allclose(out, direct, rtol=1e-5, atol=1e-6)
    error = float(np.square(np.asarray(out) - y).mean())
    np.testing.assert_allclose(fnn.evaluate(task, whole, (x, y), batch_size=3)["loss"], error, rtol=1e-5)
    stream = [(x[i : i + 4], y[i : i + 4]) for i in range(0, 10, 4)]
    np.testing.assert_allclose(fnn.evaluate(task, whole, stream)["loss"], error, rtol=1e-5)
    fnn.fit(task, ts, stream, verbose=0)
    fnn.save(tmp_path / "m.safetensors", whole)
    jax.tree.map(np.testing.assert_array_equal, fnn.load(tmp_path / "m.safetensors", ts).params, whole.params)
    report = fnn.layer_report(task, whole, (x, y))
    assert report.rows[0].units == 3


def test_masked_data_is_split_and_folded(rng):
    _, x, y = model_and_data(rng)
    y = np.asarray(y)
    x_train, x_test, y_train, y_test = fnn.data.train_test_split(x, y, test_size=3)
    assert (x_train.x.shape, x_test.mask.shape, y_train.shape, y_test.shape) == ((7, 4, 2), (3, 4), (7, 1), (3, 1))
    rows = [int(np.flatnonzero((y == value).all(1))[0]) for value in y_test]
    np.testing.assert_array_equal(x_test.mask, x.mask[rows])
    np.testing.assert_array_equal(x_test.x, x.x[rows])
    (x_train, y_train), (x_held, _) = fnn.data.take_fold(fnn.data.folds(0, 10, 5)[0], x, y)
    assert x_train.x.shape == (8, 4, 2)
    assert x_held.mask.shape == (2, 4)
    with pytest.raises(InputError, match="arrays of the same length"):
        fnn.data.train_test_split(Masked(x.x, x.mask[:4]), y)


def test_errors_name_the_part(rng):
    model, x, y = model_and_data(rng)
    task = fnn.Task(model, "mse")
    ts = fnn.init(task, KEY, x[:1])
    spoilt = np.array(x.x)
    spoilt[2, 1, 0] = np.nan
    for data, text in (
        ((Masked(spoilt, x.mask), y), r"data, x\.x: expected finite numbers"),
        ((Masked(x.x, x.mask[:4]), y), r"x\.mask: 4"),
        ((Masked(x.x, x.mask.astype("f")), y), r"Dense, mask: expected a boolean mask.*mask.astype\(bool\)"),
        (((x.x, x.mask), y), r"layer 'dense' \(position 0\) > Dense: .*Write fnn.Masked\(x, mask\)"),
        (Masked(x.x, y), r"expected \(x, y\) or \(x, y, sample_weight\), got a Masked"),
    ):
        with pytest.raises(InputError, match=text):
            fnn.fit(task, ts, data, verbose=0)
    lists = Masked(x.x.tolist(), x.mask.tolist())
    np.testing.assert_array_equal(fnn.predict(task, ts, lists), fnn.predict(task, ts, x))


@pytest.mark.slow
def test_predict_of_a_masked_output(rng):
    model = fnn.Sequential(fnn.LSTM(3, return_sequences=True), fnn.Dense(2))
    _, x, _ = model_and_data(rng)
    y = rng.integers(0, 2, (10, 4))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(0.01), metrics=("accuracy",))
    ts = fnn.init(task, KEY, x[:1])
    trained, _ = fnn.fit(task, ts, (x, y), epochs=2, batch_size=4, verbose=0)
    out = fnn.predict(task, trained, x, batch_size=4)
    assert isinstance(out, Masked)
    np.testing.assert_array_equal(out.mask, x.mask)
    found = fnn.evaluate(task, trained, (x, y), batch_size=3)
    right = (np.asarray(out.x.argmax(-1)) == y)[x.mask].mean()
    np.testing.assert_allclose(found["accuracy"], right, rtol=1e-6)
    log_p = np.asarray(fnn.activations.log_softmax(out.x), np.float64)
    steps = -np.take_along_axis(log_p, y[..., None], -1)[..., 0]
    np.testing.assert_allclose(found["loss"], steps[x.mask].mean(), rtol=1e-5)
    with pytest.raises(InputError, match=r"example_gradients: expected a model with one output for each example"):
        fnn.example_gradients(task, ts, (x, y))
    assert np.isfinite(fnn.layer_report(task, trained, (x, y)).loss)


@pytest.mark.slow
def test_ensembles_of_masked_outputs(rng):
    _, x, _ = model_and_data(rng)
    y = rng.integers(0, 2, (10, 4))
    task = fnn.Task(fnn.Dense(2), "sparse_categorical_crossentropy", fnn.adam(0.1), metrics=("accuracy",))
    members = fnn.ensemble(task, KEY, (x, y), members=2, epochs=2, verbose=0)
    said = members.predict(x, batch_size=4)
    p = np.mean([fnn.activations.softmax(fnn.predict(task, ts, x).x) for ts in members], 0)
    np.testing.assert_allclose(said.mean, p, rtol=1e-5)
    np.testing.assert_array_equal(said.mask, x.mask)
    found = members.evaluate((x, y), batch_size=3)
    steps = -np.log(np.take_along_axis(p, y[..., None], -1)[..., 0])
    np.testing.assert_allclose(found["loss"], steps[x.mask].mean(), rtol=1e-5)
    each = [fnn.evaluate(task, ts, (x, y))["loss"] for ts in members]
    np.testing.assert_allclose(found["member_loss"], np.mean(each), rtol=1e-5)
